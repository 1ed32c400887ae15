"""The p-values of many tests, whose distribution function must be the diagonal.

The band of Dvoretzky, Kiefer and Wolfowitz with Massart's constant holds everywhere at once:
P(sup |F_n - F| > e) <= 2 exp(-2 n e^2).
"""

from collections.abc import Sequence

import numpy as np

from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import GROWTH, Rule
from sampler_parity.statistics.result import Ecdf

LEVEL = 0.99


def half_width(n: int, miss: float) -> float:
    """Give the band's half width, outside of which n values come with probability ``miss``."""
    return float(np.sqrt(np.log(2 / miss) / (2 * n)))


def smallest_deviation(n: int, rule: Rule, power: float = 0.99) -> float:
    """Give the distance from the diagonal that is caught with ``power``, both looks together.

    A look finds at least the true distance less the band's half width, which it leaves with half
    of the misses allowed; that must be beyond its critical value.
    """
    from scipy import stats

    miss = (1 - power) / 2
    first = stats.kstwo.isf(rule.margin, n) + half_width(n, miss)
    second = stats.kstwo.isf(rule.second, GROWTH * n) + half_width(GROWTH * n, miss)
    return float(min(1.0, max(first, second)))


def ecdf(p_values: Sequence[float], level: float = LEVEL) -> Ecdf:
    """Sort p-values for the picture, with the band in which they stay with probability ``level``.

    Raises:
        StatisticsError: there are none, or one is not within [0, 1].
    """
    ordered = np.sort(np.asarray(p_values, dtype=np.float64))
    if not ordered.size or not ((ordered >= 0) & (ordered <= 1)).all():
        raise StatisticsError("p-values within [0, 1] are needed, and at least one")
    steps = np.arange(len(ordered) + 1) / len(ordered)
    largest = max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max())
    return Ecdf(
        p_values=tuple(np.round(ordered, 6).tolist()),
        band=half_width(len(ordered), 1 - level),
        level=level,
        largest=float(largest),
    )
