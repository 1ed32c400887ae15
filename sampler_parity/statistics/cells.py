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
from sampler_parity.statistics.escalation import GROWTH, Rule
from sampler_parity.statistics.goodness import MIN_EXPECTED, Counts
from sampler_parity.statistics.law import Law
from sampler_parity.statistics.power import draws_needed, pool, pooled

HEADS = (0, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96)
BANDS = (2, 4, 8, 12, 16, 24, 32)
MOST_BLUR = 0.01
"""Noncentrality that f32 may make: it moves a p-value near 1e-8 by less than a factor of 2."""


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
    starts = _starts(law, draws, head, bands, fewest)
    if len(starts) < TWO:
        raise StatisticsError(f"{draws} draws of this law fill one cell only: nothing to test")
    return _cells(law, starts)


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
    candidates = {
        starts: None
        for head in HEADS
        for bands in BANDS
        if len(starts := _starts(law, draws, head, bands, fewest)) >= TWO
    }
    if not candidates:
        raise StatisticsError(f"{draws} draws of this law fill one cell only: nothing to test")
    ranked = [(each.words, each.law.probabilities[law.ranked]) for each in alternatives]
    weighed = [(_weigh(law, starts, draws, ranked, rule, power), starts) for starts in candidates]
    weighed.sort(key=lambda pair: (-pair[0].caught, pair[0].draws, pair[0].cells))
    return Choice(_cells(law, weighed[0][1]), tuple(considered for considered, _ in weighed))


TWO = 2
"""One cell has nothing to say."""
Starts = tuple[int, ...]
"""The first rank, from 0, of every cell: tied tokens are never in two of them."""


def _starts(law: Law, draws: int, head: int, bands: int, fewest: int) -> Starts:
    mass = np.add.reduceat(law.probabilities[law.ranked], law.atoms)
    enough = fewest / draws
    head = min(head, int(np.searchsorted(-mass, -enough, side="right")))
    starts = list(range(head))
    if head < len(mass):
        # A token of an equal share closes its band, whatever the last bit of the sum is.
        target = max(float(mass[head:].sum()) / bands, enough) * (1 - 1e-9)
        filled = target
        for rank, share in enumerate(mass[head:].tolist(), head):
            if filled >= target:
                starts.append(rank)
                filled = 0.0
            filled += share
        if filled < enough and len(starts) > 1:
            starts.pop()
    return tuple(law.atoms[starts].tolist())


def _scheme(law: Law, starts: Starts) -> str:
    ends = (*starts[1:], len(law.ranked))
    alone = sum(end - start == 1 for start, end in zip(starts, ends, strict=True))
    words = f"{alone} tokens one by one, {len(starts) - alone} rank bands of about equal mass"
    together = [len(tie.tokens) for tie in law.tied]
    if not together:
        return words
    return f"{words}; {' and '.join(map(str, together))} tied tokens always together in a cell"


def _cells(law: Law, starts: Starts) -> Cells:
    ranked = law.ranked
    ends = (*starts[1:], len(ranked))
    spans = list(zip(starts, ends, strict=True))
    cell_of = np.full(len(law.probabilities), -1, np.int64)
    cell_of[ranked] = np.repeat(np.arange(len(starts)), [end - start for start, end in spans])
    words = tuple(
        f"token {ranked[start]}" if end - start == 1 else f"ranks {start + 1} to {end}"
        for start, end in spans
    )
    masses = np.add.reduceat(law.probabilities[ranked], starts)
    return Cells(_scheme(law, starts), cell_of, masses, words)


def _weigh(
    law: Law,
    starts: Starts,
    draws: int,
    alternatives: Sequence[tuple[str, npt.NDArray[np.float64]]],
    rule: Rule,
    power: float,
) -> Considered:
    """Count what a partition catches; the alternatives come by the law's ranks."""
    p = np.add.reduceat(law.probabilities[law.ranked], starts)
    caught = [
        (needed, words)
        for words, q in alternatives
        if (needed := draws_needed(p, np.add.reduceat(q, starts), rule, power)) <= draws
    ]
    most, hardest = max(caught, default=(np.inf, "none of them"))
    return Considered(_scheme(law, starts), len(starts), len(caught), float(most), hardest)


def blurred(law: Law, cells: Cells, draws: int) -> bool:
    """Whether the second look at ``draws`` draws might show what rounding makes of the law."""
    return GROWTH * draws * cells.blur(law) > MOST_BLUR


def product(one: Cells, other: Cells) -> npt.NDArray[np.float64]:
    """Give the probabilities of pairs of independent draws, f64 [cells of one * of the other]."""
    return np.outer(one.probabilities, other.probabilities).ravel()
