"""What is kept of the draws while they come, and what it says at the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import stats

from sampler_parity.pipelines import SampleLogits
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
from sampler_parity.statistics.sources import Seeds, Source, Tokens


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
        """Draw ``n`` tokens from a fresh seed."""
        self.counts += drawn(source, self.subject, seeds.take(), n)

    def look(self, *, finished: bool = True) -> Look:
        """Hold the counts against the law."""
        stray = outside(self.counts, self.subject.law.possible)
        observed = self.cells.counts(self.counts)
        found = None
        if finished and not stray:
            found = goodness(observed, self.cells.probabilities)
        expected = self.cells.probabilities * observed.sum()
        return _look(int(self.counts.sum()), observed, expected, found, stray)


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
        """Draw ``n`` tokens on either side."""
        self.one += drawn(source, self.subject, seeds.take(), n)
        self.other += drawn(self.reference, self.subject, seeds.take(), n)

    def look(self, *, finished: bool = True) -> Look:
        """Hold the counts against each other."""
        stray = outside(self.one, self.subject.law.possible)
        one, other = self.cells.counts(self.one), self.cells.counts(self.other)
        found = homogeneity(one, other) if finished and not stray else None
        total = max(1, int(one.sum() + other.sum()))
        expected = np.asarray((one + other) * (int(one.sum()) / total), dtype=np.float64)
        look = _look(int(self.one.sum()), one, expected, found, stray)
        return msgspec.structs.replace(look, reference=tuple(other.tolist()))


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
    stray: dict[int, int] = field(default_factory=dict)
    n: int = 0

    def __post_init__(self) -> None:
        self.table = np.zeros(len(self.cells[0]) * len(self.cells[1]), np.int64)

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
            places.append(cells.cell_of[pairs[:, column]])
        inside = (places[0] >= 0) & (places[1] >= 0)
        width = len(self.cells[1])
        np.add.at(self.table, places[0][inside] * width + places[1][inside], 1)
        self.n += n

    def look(self, *, finished: bool = True) -> Look:
        """Hold the pairs against the product of their laws."""
        probabilities = product(*self.cells)
        found = goodness(self.table, probabilities) if finished and not self.stray else None
        return _look(self.n, self.table, probabilities * self.table.sum(), found, self.stray)


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
        """Take pairs from one seed's stream."""
        blocks = -(-n // self.lag)
        subject = self.subject
        tokens = source.draws(
            subject.logits, subject.parameters, seeds.take(), 2 * self.lag * blocks
        )
        _check_range(tokens, 2 * self.lag * blocks)
        folded = tokens.reshape(blocks, 2, self.lag)
        return np.stack([folded[:, 0].ravel(), folded[:, 1].ravel()], axis=1)[:n]


@dataclass
class ConsecutiveSeeds:
    """The first draws of seeds ``start``, ``start`` + 1, ...: pairs of neighbouring seeds."""

    subject: Subject
    start: int

    def draw(self, source: Source, _seeds: Seeds, n: int) -> Tokens:
        """Take the next ``2 n`` seeds, whatever the run's own are."""
        subject = self.subject
        firsts = [
            source.draws(subject.logits, subject.parameters, seed, 1)
            for seed in range(self.start, self.start + 2 * n)
        ]
        self.start += 2 * n
        tokens = np.concatenate(firsts)
        _check_range(tokens, 2 * n)
        return tokens.reshape(n, 2)


@dataclass(frozen=True)
class Rows:
    """The draws of two different rows that lie side by side in one batch."""

    subjects: tuple[Subject, Subject]

    def draw(self, source: Source, seeds: Seeds, n: int) -> Tokens:
        """Draw batches of two; of the simple sampler, which spoils its logits, one of 2 n rows."""
        batch = np.stack([subject.logits for subject in self.subjects])
        parameters = self.subjects[0].parameters
        if isinstance(parameters, SampleLogits):
            return source.batches(batch, parameters, seeds.take(), n)
        tiled = np.tile(batch, (n, 1))
        return source.batches(tiled, parameters, seeds.take(), 1).reshape(n, 2)


@dataclass
class UniformityTally:
    """The p-values of many small frequency tests, each with a seed of its own."""

    cases: Sequence[tuple[Subject, Cells]]
    draws: int
    p_values: list[float] = field(default_factory=list)
    stray: dict[int, int] = field(default_factory=dict)

    def add(self, source: Source, seeds: Seeds, n: int) -> None:
        """Draw ``n`` cases."""
        for _ in range(n):
            subject, cells = self.cases[len(self.p_values) % len(self.cases)]
            counts = drawn(source, subject, seeds.take(), self.draws)
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
        if not finished or self.stray:
            return look
        found = stats.kstest(self.p_values, "uniform")
        return Look(
            n=n,
            observed=look.observed,
            expected=look.expected,
            residuals=look.residuals,
            statistics={"ks": float(found.statistic)},
            df=0,
            p=float(found.pvalue),
        )


def drawn(source: Source, subject: Subject, seed: int, n: int) -> Counts:
    """Draw ``n`` tokens and count them, i64 [V].

    Raises:
        StatisticsError: the sampler gave other than n tokens of [0, V).
    """
    tokens = source.draws(subject.logits, subject.parameters, seed, n)
    _check_range(tokens, n)
    return count(tokens, len(subject.logits))


def _check_range(tokens: Tokens, n: int) -> None:
    if tokens.shape != (n,):
        raise StatisticsError(f"{n} draws were asked for, an array {list(tokens.shape)} came")


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
