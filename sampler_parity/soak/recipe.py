"""What a soak's cases are made of: a number, and what is changed of the case that it gives.

A recipe holds every changed value itself, so that a case is made again anywhere, without torch.
"""

from dataclasses import dataclass

import msgspec
import numpy as np

from sampler_parity.cases.draws import Logits, gaussian, pick, round_bf16
from sampler_parity.model.case import Case
from sampler_parity.pipelines import SampleLogits

FAMILY = "soak"
"""What the family of a soak's cases is called: ``soak-NUMBER@SEED`` is the id of one."""

CALLS = 2
"""Calls of a case: the first one shows its stages, the second one is made as users make it."""

LONG_FROM, LONG_TO = 2048, 4200
"""Lengths of half the rows: from so many tokens on, a port may decide from estimates."""

MOST_ADVANCE = 700
"""The generator has given fewer outputs before, of which 624 make a state."""

SHORT_FROM = 16
"""Tokens of the shortest row: a shorter one leaves little to be close."""

MOST_CHANGED = 48
"""Logits that a recipe may change."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A case, by the number that it began with and all that was changed since.

    Attributes:
        root: the number whose case it begins with.
        seed: the generator's, if it is not the root's.
        temperature: likewise.
        top_p: likewise.
        top_k: likewise.
        raised: by how much the largest logit is raised.
        logits: the logits that are changed: token and value, after the largest was raised.
    """

    root: int
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    raised: float = 0.0
    logits: tuple[tuple[int, float], ...] = ()

    def changed(self, token: int, value: float) -> "Recipe":
        """Give the recipe with another logit; one that was changed before is changed again."""
        logits = {**dict(self.logits), token: value}
        return msgspec.structs.replace(self, logits=tuple(sorted(logits.items())))

    @property
    def full(self) -> bool:
        """Whether as many logits are changed as may be."""
        return len(self.logits) >= MOST_CHANGED


@dataclass(frozen=True, slots=True)
class _Root:
    """The case of a number, as nothing has changed it.

    Attributes:
        logits: f32 [1, V].
        parameters: of ``sample_logits``.
        seed: the generator's.
        advance: how many outputs the generator has given before.
    """

    logits: Logits
    parameters: SampleLogits
    seed: int
    advance: int


def case_of_recipe(recipe: Recipe, number: int, seed: int) -> Case:
    """Make the case of a recipe.

    Args:
        recipe: what it is made of.
        number: the case's own, which is its root's if nothing is changed.
        seed: the soak's.
    """
    root = _root(recipe.root, seed)
    logits = root.logits
    if recipe.raised:
        logits[0, int(logits[0].argmax())] += np.float32(recipe.raised)
    for token, value in recipe.logits:
        logits[0, token] = value
    given = {
        name: getattr(recipe, name)
        for name in ("temperature", "top_p", "top_k")
        if getattr(recipe, name) is not None
    }
    return Case(
        id=f"{FAMILY}-{number}@{seed}",
        family=FAMILY,
        logits=logits,
        parameters=msgspec.structs.replace(root.parameters, **given),
        seed=root.seed if recipe.seed is None else recipe.seed,
        draws=CALLS,
        advance=root.advance,
    )


def stream_of_number(number: int, seed: int, use: int) -> np.random.Generator:
    """Give the random numbers that a case's number is used for: 0 makes it, 1 changes another."""
    return np.random.default_rng([seed, 0x50A4, number, use])


def _root(number: int, seed: int) -> _Root:
    rng = stream_of_number(number, seed, 0)
    if rng.integers(2):
        vocab = int(rng.integers(LONG_FROM, LONG_TO))
    else:
        vocab = int(SHORT_FROM * 2 ** rng.uniform(0, 7))
    spread = pick(rng, (0.5, 1.0, 2.0, 2.0, 4.0, 8.0, 15.0))
    logits = gaussian(rng, 1, vocab, spread)
    match int(rng.integers(8)):
        case 0:
            logits = round_bf16(logits)
        case 1:
            logits = -np.sort(-logits, axis=-1)
        case 2:
            ranks = rng.permutation(vocab)[None] + 1
            logits = (-pick(rng, (0.8, 1.2, 2.0)) * np.log(ranks)).astype(np.float32)
        case 3:
            logits += np.float32(rng.uniform(-1, 1) * pick(rng, (100.0, 100.0, 3000.0, 1e5)))
    listed = bool(rng.integers(2))
    parameters = SampleLogits(
        temperature=pick(rng, (1.0, 1.0, 1.0, 0.7, 1.3, 0.8, float(rng.uniform(0.3, 2.0)))),
        top_p=pick(rng, (0.0, 0.95, 0.85, 0.5, *(float(rng.uniform(0.05, 1.0)),) * 4)),
        top_k=int(rng.integers(1, max(2, vocab // 64))) if listed else 0,
    )
    advance = int(rng.integers(MOST_ADVANCE)) if rng.integers(2) else 0
    return _Root(logits, parameters, int(rng.integers(0, 2**63)), advance)
