"""The cells of a histogram: head tokens one by one, rank bands of equal mass, the tail pooled.

Thousands of thin cells have almost no power against a difference that is spread over all of them;
few bands have nearly all of it, but two tokens swapped inside a band stay unseen. So candidates are
built, and the one is taken that catches the most of the declared differences; among those, the one
that needs the fewest draws for the hardest that it catches. Only probabilities enter: the choice is
made before any draw, and shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sampler_parity.statistics.alternatives import Alternative
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import Rule
from sampler_parity.statistics.goodness import MIN_EXPECTED, Counts
from sampler_parity.statistics.law import Law
from sampler_parity.statistics.power import draws_needed, pool, pooled

HEADS = (0, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96)
BANDS = (2, 4, 8, 12, 16, 24, 32)


@dataclass(frozen=True)
class Cells:
    """A partition of the possible tokens.

    Attributes:
        scheme: how it was made, in words.
        cell_of: i64 [V], each token's cell, -1 for those that cannot be drawn.
        probabilities: f64 [cells].
        words: what each cell holds.
    """

    scheme: str
    cell_of: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    words: tuple[str, ...]

    def __len__(self) -> int:
        """Give the number of cells."""
        return len(self.probabilities)

    @property
    def df(self) -> int:
        """Degrees of freedom against known probabilities."""
        return len(self) - 1

    def masses(self, law: Law) -> npt.NDArray[np.float64]:
        """Give the mass of another law in each cell, f64 [cells]; what is outside is left out."""
        return pooled(law, self.cell_of, len(self))

    def blur(self, law: Law) -> float:
        """Give the noncentrality of one draw that the law's slack can make, at the most."""
        slack = np.broadcast_to(np.asarray(law.slack, np.float64), law.probabilities.shape)
        return float((pool(slack, self.cell_of, len(self)) ** 2 / self.probabilities).sum())

    def counts(self, counts: Counts) -> Counts:
        """Pool the counts of tokens, i64 [V], into i64 [cells]."""
        inside = self.cell_of >= 0
        pooled = np.zeros(len(self), np.int64)
        np.add.at(pooled, self.cell_of[inside], counts[inside])
        return pooled


@dataclass(frozen=True, slots=True)
class Considered:
    """One candidate partition.

    Attributes:
        scheme: how it was made, in words.
        cells: how many cells it has.
        caught: how many of the declared differences it catches at the power asked for.
        draws: how many draws it needs for the hardest of those.
        hardest: that one.
    """

    scheme: str
    cells: int
    caught: int
    draws: float
    hardest: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The partition taken, and those considered, the best first."""

    cells: Cells
    considered: tuple[Considered, ...]


def build(law: Law, draws: int, head: int, bands: int, fewest: int = MIN_EXPECTED) -> Cells:
    """Take the ``head`` most probable tokens one by one, and the others in ``bands`` bands.

    A cell never expects fewer than ``fewest`` of the ``draws``: tokens too rare for one of their
    own go into bands, and a last band that is too thin joins the one before.

    Raises:
        StatisticsError: fewer than two cells are left.
    """
    ranked = law.ranked
    mass = law.probabilities[ranked]
    enough = fewest / draws
    head = min(head, int(np.searchsorted(-mass, -enough, side="right")))
    starts = list(range(head))
    if head < len(ranked):
        target = max(mass[head:].sum() / bands, enough)
        starts.append(head)
        filled = 0.0
        for rank in range(head, len(ranked)):
            # A token of an equal share closes its band, whatever the last bit of the sum is.
            if filled >= target * (1 - 1e-9):
                starts.append(rank)
                filled = 0.0
            filled += mass[rank]
        if filled < enough and len(starts) > 1:
            starts.pop()
    if len(starts) < 2:  # noqa: PLR2004  (one cell has nothing to say)
        raise StatisticsError(f"{draws} draws of this law fill one cell only: nothing to test")
    cell_of = np.full(len(law.probabilities), -1, np.int64)
    ends = [*starts[1:], len(ranked)]
    for cell, (start, end) in enumerate(zip(starts, ends, strict=True)):
        cell_of[ranked[start:end]] = cell
    probabilities = np.array([mass[s:e].sum() for s, e in zip(starts, ends, strict=True)])
    words = tuple(
        f"token {ranked[start]}" if end - start == 1 else f"ranks {start + 1} to {end}"
        for start, end in zip(starts, ends, strict=True)
    )
    alone = sum(end - start == 1 for start, end in zip(starts, ends, strict=True))
    bands = len(starts) - alone
    scheme = f"{alone} tokens one by one, {bands} rank bands of about equal mass"
    return Cells(scheme, cell_of, probabilities, words)


def choose(
    law: Law,
    draws: int,
    alternatives: Sequence[Alternative],
    rule: Rule,
    power: float = 0.99,
    fewest: int = MIN_EXPECTED,
) -> Choice:
    """Take the partition that catches the most of ``alternatives``, and needs the fewest draws.

    Raises:
        StatisticsError: no partition has two cells.
    """
    candidates: dict[tuple[str, ...], Cells] = {}
    for head in HEADS:
        for bands in BANDS:
            try:
                cells = build(law, draws, head, bands, fewest)
            except StatisticsError:
                continue
            candidates.setdefault(cells.words, cells)
    if not candidates:
        raise StatisticsError(f"{draws} draws of this law fill one cell only: nothing to test")
    weighed = [
        (_weigh(cells, draws, alternatives, rule, power), cells) for cells in candidates.values()
    ]
    weighed.sort(key=lambda pair: (-pair[0].caught, pair[0].draws, pair[0].cells))
    return Choice(weighed[0][1], tuple(considered for considered, _ in weighed))


def _weigh(
    cells: Cells, draws: int, alternatives: Sequence[Alternative], rule: Rule, power: float
) -> Considered:
    needed = [
        (draws_needed(cells.probabilities, cells.masses(alternative.law), rule, power), alternative)
        for alternative in alternatives
    ]
    caught = [(n, alternative.words) for n, alternative in needed if n <= draws]
    most, hardest = max(caught, default=(np.inf, "none of them"))
    return Considered(cells.scheme, len(cells), len(caught), float(most), hardest)


def product(one: Cells, other: Cells) -> npt.NDArray[np.float64]:
    """Give the probabilities of pairs of independent draws, f64 [cells of one * of the other]."""
    return np.outer(one.probabilities, other.probabilities).ravel()
