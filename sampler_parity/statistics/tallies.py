"""What is kept of the draws while they come, and what it says at the end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import stats

from sampler_parity.statistics.cells import Cells, product
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.goodness import (
    Counts,
    Goodness,
    count,
    goodness,
    homogeneity,
    outside,
)
from sampler_parity.statistics.law import Subject
from sampler_parity.statistics.result import Look
from sampler_parity.statistics.sources import Seeds, Source, Tokens, Wanted, at_once, draw_each
from sampler_parity.statistics.support import draws_of_ties, left_out


class Tally(Protocol):
    """The draws of one look."""

    def add(self, source: Source, seeds: Seeds, n: int) -> None:
        """Draw ``n`` units more."""

    def look(self, *, finished: bool = True) -> Look:
        """Say what was drawn so far, with a p-value if that is all."""


@dataclass
class FrequencyTally:
    """How often each token was drawn."""

    subject: Subject
    cells: Cells
    counts: Counts = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.subject.logits), np.int64)

    def add(self, source: Source, seeds: Seeds, n: int) -> None:
        """Draw ``n`` tokens, each chunk from a fresh seed."""
        asks = [_ask(self.subject, seeds, part) for part in parts(n, source.chunk)]
        self.counts += sum(counted(source, asks))

    def look(self, *, finished: bool = True) -> Look:
        """Hold the counts against the law."""
        stray = outside(self.counts, self.subject.law.possible)
        observed = self.cells.counts(self.counts)
        found = None
        if finished and not stray:
            found = goodness(observed, self.cells.probabilities)
        expected = self.cells.probabilities * observed.sum()
        look = _look(int(self.counts.sum()), observed, expected, found, stray)
        missing = left_out(self.subject.law, self.counts)
        return msgspec.structs.replace(
            look,
            missing={str(token): round(n, 1) for token, n in missing.items()},
            tied=draws_of_ties(self.subject.law, self.counts),
        )


@dataclass
class HomogeneityTally:
    """How often each token was drawn by the candidate and by the reference, with other seeds."""

    subject: Subject
    cells: Cells
    reference: Source
    one: Counts = field(init=False)
    other: Counts = field(init=False)

    def __post_init__(self) -> None:
        self.one = np.zeros(len(self.subject.logits), np.int64)
        self.other = self.one.copy()

    def add(self, source: Source, seeds: Seeds, n: int) -> None:
        """Draw ``n`` tokens on either side, each chunk from a fresh seed."""
        asks = [
            (_ask(self.subject, seeds, part), _ask(self.subject, seeds, part))
            for part in parts(n, source.chunk)
        ]
        self.one += sum(counted(source, [one for one, _ in asks]))
        self.other += sum(counted(self.reference, [other for _, other in asks]))

    def look(self, *, finished: bool = True) -> Look:
        """Hold the counts against each other."""
        stray = outside(self.one, self.subject.law.possible)
        one, other = self.cells.counts(self.one), self.cells.counts(self.other)
        found = homogeneity(one, other) if finished and not stray else None
        total = max(1, int(one.sum() + other.sum()))
        expected = np.asarray((one + other) * (int(one.sum()) / total), dtype=np.float64)
        look = _look(int(self.one.sum()), one, expected, found, stray)
        return msgspec.structs.replace(
            look,
            reference=tuple(other.tolist()),
            tied=draws_of_ties(self.subject.law, self.one, self.other),
        )


@dataclass
class PairTally:
    """How often each pair of cells came together.

    ``pairs`` makes i64 [n, 2] tokens; the two are independent draws of the two subjects if the
    sampler is right.
    """

    subjects: tuple[Subject, Subject]
    cells: tuple[Cells, Cells]
    pairs: "Pairs"
    table: Counts = field(init=False)
    counts: tuple[Counts, Counts] = field(init=False)
    stray: dict[int, int] = field(default_factory=dict)
    n: int = 0

    def __post_init__(self) -> None:
        self.table = np.zeros(len(self.cells[0]) * len(self.cells[1]), np.int64)
        one, other = (np.zeros(len(each.logits), np.int64) for each in self.subjects)
        self.counts = one, other

    def add(self, source: Source, seeds: Seeds, n: int) -> None:
        """Draw ``n`` pairs."""
        pairs = self.pairs.draw(source, seeds, n)
        if pairs.shape != (n, 2):
            raise StatisticsError(f"{n} pairs were asked for, {pairs.shape} came")
        places = []
        for column, (subject, cells) in enumerate(zip(self.subjects, self.cells, strict=True)):
            counts = count(pairs[:, column], len(subject.logits))
            for token, times in outside(counts, subject.law.possible).items():
                self.stray[token] = self.stray.get(token, 0) + times
            self.counts[column][:] += counts
            places.append(cells.cell_of[pairs[:, column]])
        inside = (places[0] >= 0) & (places[1] >= 0)
        width = len(self.cells[1])
        np.add.at(self.table, places[0][inside] * width + places[1][inside], 1)
        self.n += n

    def look(self, *, finished: bool = True) -> Look:
        """Hold the pairs against the product of their laws."""
        probabilities = product(*self.cells)
        found = goodness(self.table, probabilities) if finished and not self.stray else None
        look = _look(self.n, self.table, probabilities * self.table.sum(), found, self.stray)
        tied = [
            draws_of_ties(subject.law, counts)
            for subject, counts in zip(self.subjects, self.counts, strict=True)
        ]
        return msgspec.structs.replace(look, tied=tied[0] + tied[1])


class Pairs(Protocol):
    """Makes pairs of tokens that should be independent."""

    def draw(self, source: Source, seeds: Seeds, n: int) -> Tokens:
        """Give i64 [n, 2]."""


@dataclass(frozen=True)
class Successive:
    """Draws of one stream that are ``lag`` apart; no draw is in two pairs."""

    subject: Subject
    lag: int

    def draw(self, source: Source, seeds: Seeds, n: int) -> Tokens:
        """Take pairs from streams, each chunk from a fresh seed's."""
        sizes = list(parts(n, max(1, source.chunk // 2)))
        asks = [_ask(self.subject, seeds, 2 * self.lag * -(-size // self.lag)) for size in sizes]
        pairs = []
        for size, tokens in zip(sizes, _checked(source, asks), strict=True):
            folded = tokens.reshape(-1, 2, self.lag)
            pairs.append(np.stack([folded[:, 0].ravel(), folded[:, 1].ravel()], axis=1)[:size])
        return np.concatenate(pairs)


@dataclass
class ConsecutiveSeeds:
    """The first draws of seeds ``start``, ``start`` + 1, ...: pairs of neighbouring seeds."""

    subject: Subject
    start: int

    def draw(self, source: Source, _seeds: Seeds, n: int) -> Tokens:
        """Take the next ``2 n`` seeds, whatever the run's own are."""
        subject = self.subject
        asks = [
            Wanted(subject.logits, subject.parameters, seed, 1)
            for seed in range(self.start, self.start + 2 * n)
        ]
        self.start += 2 * n
        return np.concatenate(_checked(source, asks)).reshape(n, 2)


@dataclass(frozen=True)
class Rows:
    """The draws of two different rows that lie side by side in one batch."""

    subjects: tuple[Subject, Subject]

    def draw(self, source: Source, seeds: Seeds, n: int) -> Tokens:
        """Draw batches of two; of a sampler that works in place, one of 2 n rows."""
        batch = np.stack([subject.logits for subject in self.subjects])
        parameters = self.subjects[0].parameters
        drawn = []
        for part in parts(n, max(1, source.chunk // 2)):
            if parameters.pipeline.in_place:
                tiled = np.tile(batch, (part, 1))
                drawn.append(source.batches(tiled, parameters, seeds.take(), 1).reshape(part, 2))
            else:
                drawn.append(source.batches(batch, parameters, seeds.take(), part))
        return np.concatenate(drawn)


@dataclass
class UniformityTally:
    """The p-values of many small frequency tests, each with a seed of its own."""

    cases: Sequence[tuple[Subject, Cells]]
    draws: int
    p_values: list[float] = field(default_factory=list)
    stray: dict[int, int] = field(default_factory=dict)
    counts: dict[int, Counts] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = {
            place: np.zeros(len(subject.logits), np.int64)
            for place, (subject, _) in enumerate(self.cases)
            if subject.law.tied
        }

    def add(self, source: Source, seeds: Seeds, n: int) -> None:
        """Draw ``n`` cases."""
        begun = len(self.p_values)
        places = [place % len(self.cases) for place in range(begun, begun + n)]
        asks = [_ask(self.cases[place][0], seeds, self.draws) for place in places]
        for place, tokens in zip(places, _checked(source, asks), strict=True):
            subject, cells = self.cases[place]
            counts = count(tokens, len(subject.logits))
            if place in self.counts:
                self.counts[place] += counts
            self.stray.update(outside(counts, subject.law.possible))
            observed = cells.counts(counts)
            # With a token outside the mask the p-value is not used any more.
            p = 0.0 if self.stray else goodness(observed, cells.probabilities).pearson_p
            self.p_values.append(p)

    def look(self, *, finished: bool = True) -> Look:
        """Hold the p-values against the uniform distribution: Kolmogorov and Smirnov, exact."""
        n = len(self.p_values)
        observed, _ = np.histogram(self.p_values, bins=10, range=(0, 1))
        expected = np.full(10, n / 10)
        look = _look(n, observed.astype(np.int64), expected, None, self.stray)
        tied = [
            each
            for place, counts in self.counts.items()
            for each in draws_of_ties(self.cases[place][0].law, counts)
        ]
        look = msgspec.structs.replace(look, tied=tuple(tied))
        if not finished or self.stray:
            return look
        found = stats.kstest(self.p_values, "uniform")
        statistics = {"ks": float(found.statistic)}
        return msgspec.structs.replace(look, statistics=statistics, p=float(found.pvalue))


def steps(units: int, draws_a_unit: int, source: Source) -> Iterator[int]:
    """Cut units, of so many draws each, into as many as a source carries out at a time."""
    return parts(units, at_once(source) * max(1, source.chunk // draws_a_unit))


def parts(n: int, most: int) -> Iterator[int]:
    """Cut ``n`` into parts of ``most``, and a rest."""
    for start in range(0, n, most):
        yield min(most, n - start)


def drawn(source: Source, subject: Subject, seed: int, n: int) -> Counts:
    """Draw ``n`` tokens and count them, i64 [V]. Raises as :func:`counted` does."""
    [counts] = counted(source, [Wanted(subject.logits, subject.parameters, seed, n)])
    return counts


def counted(source: Source, asks: Sequence[Wanted]) -> list[Counts]:
    """Draw for every ask, and count its tokens, i64 [V] each.

    Raises:
        StatisticsError: the sampler gave other than n tokens of [0, V).
    """
    drawn = zip(asks, _checked(source, asks), strict=True)
    return [count(tokens, len(ask.logits)) for ask, tokens in drawn]


def _ask(subject: Subject, seeds: Seeds, n: int) -> Wanted:
    return Wanted(subject.logits, subject.parameters, seeds.take(), n)


def _checked(source: Source, asks: Sequence[Wanted]) -> list[Tokens]:
    drawn = draw_each(source, asks)
    for ask, tokens in zip(asks, drawn, strict=True):
        if tokens.shape != (ask.n,):
            raise StatisticsError(
                f"{ask.n} draws were asked for, an array {list(tokens.shape)} came"
            )
    return drawn


def _look(
    n: int,
    observed: Counts,
    expected: npt.NDArray[np.float64],
    found: Goodness | None,
    stray: dict[int, int],
) -> Look:
    with np.errstate(divide="ignore", invalid="ignore"):
        residuals = np.where(expected > 0, (observed - expected) / np.sqrt(expected), 0.0)
    statistics = {}
    if found is not None:
        statistics = {
            "pearson": found.pearson,
            "g": found.g,
            "pearson_p": found.pearson_p,
            "g_p": found.g_p,
        }
    return Look(
        n=n,
        observed=tuple(observed.tolist()),
        expected=tuple(np.round(expected, 3).tolist()),
        residuals=tuple(np.round(residuals, 4).tolist()),
        statistics=statistics,
        df=0 if found is None else found.df,
        p=None if found is None else found.p,
        outside={str(token): times for token, times in stray.items()},
    )
