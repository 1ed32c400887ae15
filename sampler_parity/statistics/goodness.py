"""Counts against probabilities, and counts against counts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from sampler_parity.statistics.errors import StatisticsError

MIN_EXPECTED = 1000
"""Draws expected in every cell, at the least: the chi-square tail is used down to 1e-9, where a
cell of 5 expected draws, the rule of thumb for 0.05, is wrong by orders of magnitude."""

STATISTICS = 2
"""Pearson's and G; the p-value is this many times the smaller of theirs."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Goodness:
    """Pearson's chi-square and G on the same cells.

    Attributes:
        pearson: sum of (observed - expected)^2 / expected.
        g: twice the sum of observed * ln(observed / expected).
        df: degrees of freedom.
        pearson_p: Pearson's own p-value.
        g_p: G's own p-value.
        p: twice the smaller p-value of the two, at most 1.
    """

    pearson: float
    g: float
    df: int
    pearson_p: float
    g_p: float
    p: float


def count(tokens: npt.NDArray[np.int64], vocab: int) -> Counts:
    """Count every token of [0, vocab), i64 [vocab].

    Raises:
        StatisticsError: there are no draws, they are not integers [n], or one is out of range.
    """
    if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
        raise StatisticsError(f"tokens must be integers [n], not {tokens.dtype} {tokens.shape}")
    if not tokens.size:
        raise StatisticsError("there are no draws")
    if tokens.min() < 0 or tokens.max() >= vocab:
        raise StatisticsError(
            f"a token is out of range: {tokens.min()} to {tokens.max()} of [0, {vocab})"
        )
    return np.bincount(tokens, minlength=vocab)


def outside(counts: Counts, possible: npt.NDArray[np.bool_]) -> dict[int, int]:
    """Give the tokens drawn that cannot be, with how often: one is enough to reject.

    Raises:
        StatisticsError: the shapes differ.
    """
    if counts.shape != possible.shape:
        raise StatisticsError(f"{counts.shape} counts for {possible.shape} tokens")
    return {int(token): int(counts[token]) for token in np.flatnonzero((counts > 0) & ~possible)}


def goodness(observed: Counts, probabilities: npt.NDArray[np.float64]) -> Goodness:
    """Hold the counts of cells against their probabilities.

    Raises:
        StatisticsError: fewer than two cells, no draws, a negative count, or probabilities that are
            NaN, not positive, or do not sum to 1.
    """
    _check_counts(observed)
    if observed.shape != probabilities.shape or observed.ndim != 1:
        raise StatisticsError(f"{observed.shape} counts for {probabilities.shape} probabilities")
    if not np.isfinite(probabilities).all() or not (probabilities > 0).all():
        raise StatisticsError("a cell's probability is zero, negative or NaN")
    if abs(probabilities.sum() - 1) > 1e-9:  # noqa: PLR2004  (cells are sums of a law's)
        raise StatisticsError(f"the cells' probabilities sum to {probabilities.sum()}, not to 1")
    expected = probabilities * (observed.sum() / probabilities.sum())
    found = [
        stats.power_divergence(observed, expected, lambda_=lambda_)
        for lambda_ in ("pearson", "log-likelihood")
    ]
    return _goodness(found, len(observed) - 1)


def homogeneity(one: Counts, other: Counts) -> Goodness:
    """Hold two samples' counts of the same cells against each other; cells empty in both drop out.

    Raises:
        StatisticsError: a sample without draws, a negative count, or fewer than two cells.
    """
    _check_counts(one)
    _check_counts(other)
    if one.shape != other.shape:
        raise StatisticsError(f"{one.shape} counts against {other.shape}")
    table = np.stack([one, other])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:  # noqa: PLR2004  (one cell has nothing to say)
        raise StatisticsError("both samples are in one and the same cell")
    found = [
        stats.chi2_contingency(table, correction=False, lambda_=lambda_)
        for lambda_ in ("pearson", "log-likelihood")
    ]
    return _goodness(found, table.shape[1] - 1)


def _goodness(found: list[tuple[float, ...]], df: int) -> Goodness:
    (pearson, pearson_p), (g, g_p) = (each[:2] for each in found)
    p = min(1.0, STATISTICS * min(float(pearson_p), float(g_p)))
    return Goodness(float(pearson), float(g), df, float(pearson_p), float(g_p), p)


def _check_counts(counts: Counts) -> None:
    if not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise StatisticsError("counts must be integers and not negative")
    if counts.size < 2:  # noqa: PLR2004  (one cell has nothing to say)
        raise StatisticsError("at least two cells are needed")
    if not counts.sum():
        raise StatisticsError("there are no draws")
