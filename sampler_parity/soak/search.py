"""Where a soak's cases come from: half of them explore, half go on from the closest so far.

A case that explores is what its number gives. One that goes on takes a parent, a close case or a
new one, changes it a little, and then aims: it sets one logit or one parameter so that a decision
comes out close, by the reference's own stages. What it sets is written into its recipe.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sampler_parity.implementations.reference import reference_stage
from sampler_parity.model.case import Case
from sampler_parity.model.pipeline import values_of
from sampler_parity.soak.closeness import (
    ESTIMATE_ERROR,
    LISTED_FROM,
    Cutoffs,
    cutoffs_of,
    may_estimate,
    noise_of,
    ratios_of,
)
from sampler_parity.soak.recipe import Recipe, case_of_recipe, stream_of_number

OF_NEW = 0.25
"""The share of the cases that go on which begin with a new case, and not with a close one."""

NEAR_TOP = 60
"""Of so many most probable tokens, some are changed by a few ulps."""

FEWEST = 0.02
"""The least mass that a nucleus is cut at."""

Rng = np.random.Generator


def explores(number: int) -> bool:
    """Whether the case of a number is taken as it is; the others go on from close ones."""
    return number % 2 == 0


def recipe_of(number: int, seed: int, parents: Sequence[Recipe]) -> Recipe:
    """Give the recipe of a case that goes on from one of ``parents``, or from a new case.

    It depends on what is given, and on the torch of this process and its capability.
    """
    rng = stream_of_number(number, seed, 1)
    parent = Recipe(root=number)
    if parents and rng.random() >= OF_NEW:
        parent = parents[int(rng.integers(len(parents)))]
    if parent.full:
        parent = msgspec.structs.replace(parent, logits=())
    recipe = parent
    for _ in range(int(rng.integers(0, 3))):
        change = CHANGES[int(rng.integers(len(CHANGES)))]
        recipe = change(recipe, case_of_recipe(recipe, number, seed), rng)
    aim = AIMS[int(rng.integers(len(AIMS)))]
    return aim(recipe, _Draft(case_of_recipe(recipe, number, seed)), rng)


def _new_seed(recipe: Recipe, _: Case, rng: Rng) -> Recipe:
    return msgspec.structs.replace(recipe, seed=int(rng.integers(0, 2**63)))


def _few_ulps(recipe: Recipe, case: Case, rng: Rng) -> Recipe:
    row = case.logits[0]
    top = np.argsort(-row)[:NEAR_TOP]
    for token in rng.choice(top, size=int(rng.integers(1, 5))):
        recipe = recipe.changed(int(token), _steps(row[token], int(rng.integers(-16, 17))))
    return recipe


def _next_temperature(recipe: Recipe, case: Case, rng: Rng) -> Recipe:
    temperature = np.float32(values_of(case.parameters)["temperature"])
    step = int(rng.integers(-3, 4))
    return msgspec.structs.replace(recipe, temperature=_steps(temperature, step))


def _raise_the_largest(recipe: Recipe, _: Case, rng: Rng) -> Recipe:
    # Far below the largest, differences from it are rounded coarsely: logits that differ share a
    # probability.
    return msgspec.structs.replace(recipe, raised=float(np.float32(rng.uniform(0, 50))))


CHANGES: tuple[Callable[[Recipe, Case, Rng], Recipe], ...] = (
    _new_seed,
    _few_ulps,
    _next_temperature,
    _raise_the_largest,
)
"""What may be changed of a parent, before it is aimed."""


@dataclass(slots=True)
class _Draft:
    """A case that is aimed, with those of the reference's stages that aiming asks for."""

    case: Case

    def stages(self) -> dict[str, npt.NDArray[Any]]:
        found: dict[str, npt.NDArray[Any]] = {}
        for stage in ("scaled_logits", "probs", "top_k_mask", "top_p_mask"):
            found[stage] = reference_stage(stage, self.case, found)
        return found

    def cutoffs(self) -> Cutoffs:
        return cutoffs_of(self.case, self.stages())

    @property
    def temperature(self) -> float:
        return float(values_of(self.case.parameters)["temperature"] or 1)


def _at_a_sum(recipe: Recipe, draft: _Draft, _: Rng) -> Recipe:
    """Have ``top_p`` turn where a cumulative sum is: at the one that is nearest to such a place."""
    sums = draft.cutoffs().sums()
    sums = sums[(sums > FEWEST) & (sums < 1)]
    if not sums.size:
        return recipe
    rounded = sums.astype(np.float32)
    below = np.nextafter(rounded, np.float32(0))
    above = np.nextafter(rounded, np.float32(2))
    places = np.stack(
        [(below.astype(np.float64) + rounded) / 2, (rounded + above.astype(float)) / 2]
    )
    apart = np.abs(places - sums) / np.spacing(rounded)
    side, at = np.unravel_index(int(apart.argmin()), apart.shape)
    return msgspec.structs.replace(recipe, top_p=float((below, rounded)[side][at]))


def _at_the_winner(recipe: Recipe, draft: _Draft, rng: Rng) -> Recipe:
    """Have the nucleus end at the token that wins, if it is kept, or near it."""
    cutoffs = draft.cutoffs()
    ratios = ratios_of(cutoffs.kept, noise_of(draft.case)[-1])
    p = cutoffs.kept[int(ratios.argmax())]
    before = float(cutoffs.kept[cutoffs.kept > p].sum(dtype=np.float64))
    apart = _small(rng, -9, -2.2) if rng.random() < 0.8 else 0.0  # noqa: PLR2004
    top_p = float(np.float32(before * (1 + apart)))
    return msgspec.structs.replace(recipe, top_p=top_p) if FEWEST < top_p < 1 else recipe


def _at_the_threshold(recipe: Recipe, draft: _Draft, rng: Rng) -> Recipe:
    """Bring the logit after the k-th largest within a few ulps of it; at times the winner's."""
    row = draft.case.logits[0]
    order, most = np.argsort(-row), max(2, row.size // LISTED_FROM)
    k, apart = int(rng.integers(1, most)), int(2 ** rng.uniform(0, 5))
    match int(rng.integers(3)):
        case 0:
            ratios = ratios_of(draft.stages()["probs"][0], noise_of(draft.case)[-1])
            [place] = np.flatnonzero(order == ratios.argmax())
            k = int(place) if 0 < place < most else k
        case 1 if k > 1 and not recipe.raised:
            # So far below the largest, logits that are a few ulps apart share a probability.
            recipe = msgspec.structs.replace(recipe, raised=float(np.float32(rng.uniform(16, 50))))
            apart = int(2 ** rng.uniform(0, 3))
    kth, after = order[k - 1 : k + 1]
    # Down is away from the largest.
    changed = recipe.changed(int(after), _steps(row[kth], -apart))
    return msgspec.structs.replace(changed, top_k=k)


def _in_the_race(recipe: Recipe, draft: _Draft, rng: Rng) -> Recipe:
    """Bring the second p / q of a call close to the best, or to where estimates leave no doubt."""
    stages = draft.stages()
    kept = stages["top_k_mask"][0] & stages["top_p_mask"][0]
    if np.count_nonzero(kept) < 2:  # noqa: PLR2004
        return recipe
    # The second call is made as users make it.
    noise = noise_of(draft.case)[0 if rng.random() < 0.25 else -1]  # noqa: PLR2004
    ratios = ratios_of(np.where(kept, stages["probs"][0], np.float32(0)), noise)
    second, best = np.argsort(ratios)[-2:]
    if ratios[second] <= 0:
        return recipe
    choice = rng.random()
    apart = 0.0
    if choice < 0.25:  # noqa: PLR2004
        apart = _small(rng, -7, -2)
    elif choice < 0.5 and may_estimate(draft.case):  # noqa: PLR2004
        apart = -4 * ESTIMATE_ERROR * (1 + abs(_small(rng, -6, -1)))
    row = draft.case.logits[0].astype(np.float64)
    by = draft.temperature * np.log(ratios[best] / ratios[second] * (1 + apart))
    value = _steps(np.float32(row[second] + by), int(rng.integers(-2, 3)))
    return recipe.changed(int(second), value)


AIMS: tuple[Callable[[Recipe, _Draft, Rng], Recipe], ...] = (
    _at_a_sum,
    _at_the_winner,
    _at_the_threshold,
    _in_the_race,
    _in_the_race,
)
"""The decisions that a case is aimed at; the race is at two: a tie, and a bound."""


def _small(rng: Rng, least: float, most: float) -> float:
    """Give a number of either sign, whose decimal exponent is between ``least`` and ``most``."""
    return float((-1) ** int(rng.integers(2)) * 10 ** rng.uniform(least, most))


def _steps(value: np.float32, steps: int) -> float:
    """Give the float that is so many away."""
    towards = np.float32(np.inf if steps > 0 else -np.inf)
    for _ in range(abs(steps)):
        value = np.nextafter(value, towards)
    return float(value)
