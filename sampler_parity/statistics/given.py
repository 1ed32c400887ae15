"""Constructed uniforms put before a whole sampler, as its users call it.

Of equal logits, a power of two in number, every correct arithmetic makes probabilities that are
exact, and exact cumulative sums; a token that is masked, by -inf or by top-k, has none. So each
token that is left owns an equal share [j / N, (j + 1) / N) of the uniforms, whichever share its
sampler's own order gives it. The middle of a share says whose it is. Its lower end, which is its
own, one step above that and one step below its upper end must be the same token's. A step is
2^-24 or 2^-53: generators give multiples of it, so that a sampler may also draw with 1 - u.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sampler_parity.model.case import Case
from sampler_parity.model.implementation import Implementation
from sampler_parity.pipelines import SampleLogits
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.result import Uniforms
from sampler_parity.statistics.sources import ImplementationSource, Logits, PortSource, Source
from sampler_parity.statistics.uniforms import once

PLAIN = SampleLogits(temperature=1.0, top_p=1.0, top_k=0)
MASKED = -np.inf
STEPS = {"float32": 2.0**-24, "float64": 2.0**-53}
"""Generators give multiples of it."""


@dataclass(frozen=True, eq=False)
class EqualRow:
    """Logits that leave N tokens of equal probability, N a power of two.

    Attributes:
        words: what they are.
        logits: f32 [V].
        parameters: the sampler's.
    """

    words: str
    logits: Logits
    parameters: SampleLogits

    @property
    def left(self) -> list[int]:
        """The tokens that can be drawn."""
        return np.flatnonzero(self.logits == 0).tolist()


class DeclinedError(Exception):
    """The sampler does not take such a case, or takes no uniform after all."""


@dataclass(frozen=True)
class Taking:
    """An implementation that takes its uniform.

    Attributes:
        implementation: its ``about.uniform`` says of which type.
        capability: torch's dispatch level.
    """

    implementation: Implementation
    capability: str

    def token(self, row: EqualRow, uniform: float) -> int | str:
        """Draw once; what kept the sampler from it, in words, where it did not draw.

        Raises:
            DeclinedError: it does not take the case.
        """
        case = Case(
            f"uniform@{uniform!r}", "statistics", row.logits[None], row.parameters, 0,
            uniform=uniform,
        )  # fmt: skip
        outcome = self.implementation.run(case, self.capability)
        if outcome.declined:
            raise DeclinedError(outcome.declined)
        if outcome.lost is not None:
            return f"the sampler gave no token: {outcome.lost.words}"
        if outcome.failure is not None:
            return f"the sampler raised {outcome.failure.kind}: {outcome.failure.message}"
        if len(outcome.tokens) != 1 or outcome.tokens[0].shape != (1,):
            return "the sampler gave another number of tokens than one"
        return int(outcome.tokens[0][0])


def rows() -> tuple[EqualRow, ...]:
    """Give every row: first and last token masked, most masked, one left, cut by top-k."""
    few = np.array([MASKED, 0, MASKED, 0, 0, MASKED, 0, MASKED], np.float32)
    many = np.full(97, MASKED, np.float32)
    many[np.arange(64) * 3 // 2 + 1] = 0
    one = np.array([MASKED, 0, MASKED], np.float32)
    cut = np.array([-1, 0, -2, 0, 0, -1, 0, -3], np.float32)
    return (
        EqualRow("4 equal tokens among masked ones", few, PLAIN),
        EqualRow("64 equal tokens among masked ones", many, PLAIN),
        EqualRow("one token that is not masked", one, PLAIN),
        EqualRow("4 equal tokens that top-k leaves", cut, SampleLogits(1.0, 1.0, 4)),
    )


MisstepInWords = tuple[tuple[str, str], str]
"""A misstep: what is alike in several, and this one in words."""


def given(taking: Taking, *, inclusive: bool = False) -> Uniforms:
    """Put a sampler before every edge.

    Args:
        taking: the sampler.
        inclusive: plant ``<=`` for ``<``: at each boundary the sampler is given one step less, by
            which it does there what a walk that takes the boundary for the token below does.

    Raises:
        DeclinedError: it declines a case.
        StatisticsError: its ``about`` names no type of uniform.
    """
    about = taking.implementation.about
    if not about.uniform:
        raise StatisticsError(f"{about.name} takes no uniform")
    edges = 0
    found: list[MisstepInWords] = []
    for row in rows():
        edges += 4 * len(row.left)
        found += _of_a_row(taking, row, STEPS[about.uniform], inclusive=inclusive)
    return Uniforms(edges=edges, missteps=once(found))


def _of_a_row(
    taking: Taking, row: EqualRow, step: float, *, inclusive: bool
) -> Iterator[MisstepInWords]:
    shares = len(row.left)
    owners: list[int] = []
    for share in range(shares):
        lower, upper = share / shares, (share + 1) / shares
        middle = (lower + upper) / 2
        owner = taking.token(row, middle)
        if isinstance(owner, str):
            yield ("failed", owner), f"uniform {middle!r}, {row.words}: {owner}"
            continue
        owners.append(owner)
        if owner not in row.left:
            words = f"uniform {middle!r}, {row.words}: token {owner} was drawn, which is masked"
            yield (row.words, "masked"), words
            continue
        for place, uniform in (
            ("the lower end", lower),
            ("one step above the lower end", lower + step),
            ("one step below the upper end", upper - step),
        ):
            planted = inclusive and uniform == lower > 0
            drawn = taking.token(row, uniform - step if planted else uniform)
            if drawn != owner:
                failed = isinstance(drawn, str)
                words = f"{drawn}" if failed else f"token {drawn} was drawn"
                yield (
                    ("failed", words) if failed else (row.words, place),
                    f"uniform {uniform!r}, {row.words}, {place} of token {owner}'s share: {words}",
                )
    for token, times in Counter(owners).items():
        if token in row.left and times > 1:
            words = (
                f"{row.words}: token {token} was drawn for {times} of {shares} equal shares of the "
                "uniforms, of which one is its own"
            )
            yield (row.words, "shares"), words


def taken_by(source: Source) -> Taking | None:
    """Give the source's sampler, if it takes its uniform."""
    if not isinstance(source, ImplementationSource):
        return None
    about = source.implementation.about
    if not about.uniform or SampleLogits.sampler not in about.samplers:
        return None
    return Taking(source.implementation, source.capability)


def untried(source: Source, reason: str = "") -> str:
    """Say that constructed uniforms were not tried, why, and what that leaves open."""
    torch_s = isinstance(source, PortSource) or (
        isinstance(source, ImplementationSource) and source.implementation.about.stream == "torch"
    )
    if torch_s and not reason:
        return (
            f"constructed uniforms were not tried: {source.name} is meant to draw torch's tokens "
            "from torch's seeds, and the comparison of cases tries that"
        )
    why = reason or "it takes no uniform (`uniform` of plug_in, or of a program's `about`)"
    return (
        f"constructed uniforms were not tried on {source.name}: {why}. A walk with <= for <, or "
        "one that falls off its end, differs from a right one in about one draw of 2^24 (6e-8): "
        "no test of frequencies shows it"
    )
