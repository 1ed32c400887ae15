"""What a test catches: by the noncentral chi-square distribution, both looks of a rule together.

Where the truth q differs from the law p, Pearson's statistic of n draws in k cells is, for large n,
noncentral chi-square with k - 1 degrees of freedom and noncentrality n * sum((q - p)^2 / p).
"""

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import GROWTH, Rule
from sampler_parity.statistics.goodness import STATISTICS
from sampler_parity.statistics.law import Law, Subject

POWER = 0.99
CERTAIN = 20_000.0
"""Above this noncentrality the chance of a miss is beyond f64."""

Masses = npt.NDArray[np.float64]


def chance(noncentrality: float, df: int, rule: Rule) -> float:
    """Give the probability that a rule rejects.

    Pearson's p-value alone is counted, at half the level since the smaller of two statistics
    decides: G can only add to it.

    Args:
        noncentrality: of the first look; the second one's is four times it.
        df: degrees of freedom.
        rule: the levels of both looks.

    Raises:
        StatisticsError: no degree of freedom, or a noncentrality that is negative or NaN.
    """
    if df < 1 or not noncentrality >= 0:
        raise StatisticsError(f"no power for df = {df} and noncentrality {noncentrality}")
    at_once = _beyond(rule.first, df, noncentrality)
    marginal = _beyond(rule.margin, df, noncentrality) - at_once
    again = _beyond(rule.second, df, GROWTH * noncentrality)
    return min(1.0, at_once + max(marginal, 0.0) * again)


def _beyond(level: float, df: int, noncentrality: float) -> float:
    critical = special.chdtri(df, level / STATISTICS)
    if noncentrality == 0:
        return float(special.chdtrc(df, critical))
    return float(1 - special.chndtr(critical, df, min(noncentrality, CERTAIN)))


@cache
def noncentrality_needed(df: int, rule: Rule, power: float = POWER) -> float:
    """Give the noncentrality of the first look at which a rule rejects with ``power``.

    Raises:
        StatisticsError: ``power`` is not within (0.01, 1).
    """
    if not 0.01 < power < 1:  # noqa: PLR2004  (nothing is left to solve below)
        raise StatisticsError(f"a power within (0.01, 1) is needed, not {power}")
    found: float = optimize.brentq(
        lambda noncentrality: chance(noncentrality, df, rule) - power, 0.0, CERTAIN, xtol=1e-6
    )
    return found


def per_draw(p: Masses, q: Masses) -> float:
    """Give the noncentrality of one draw: sum((q - p)^2 / p) over the cells, q made to sum to 1."""
    return float(((q / q.sum() - p) ** 2 / p).sum())


def draws_needed(p: Masses, q: Masses, rule: Rule, power: float = POWER) -> float:
    """Give the draws with which q, where p is right, is rejected with ``power``.

    Args:
        p: f64 [cells], the law's masses.
        q: f64 [cells], the difference's; what it puts outside every cell does not count.
        rule: the levels.
        power: how surely.

    Returns:
        The draws of the first look; infinite where q is p.
    """
    one = per_draw(p, q)
    if one < _NONE:
        return np.inf
    return noncentrality_needed(len(p) - 1, rule, power) / one


_NONE = 1e-18
"""Noncentrality of one draw that rounding makes."""


def chance_of(p: Masses, q: Masses, draws: int, rule: Rule, *, outside: float = 0.0) -> float:
    """Give the probability that ``draws`` draws of q are rejected where p is right.

    ``outside`` is the mass that q has where nothing may be drawn: one such draw rejects.
    """
    stray = -np.expm1(draws * np.log1p(-min(outside, 1 - 1e-12)))
    unseen = 1 - chance(draws * per_draw(p, q), len(p) - 1, rule)
    return float(1 - (1 - stray) * unseen)


def smallest_distance(draws: int, df: int, rule: Rule, power: float = POWER) -> float:
    """Give the share of the mass that, moved between cells in any way, is caught with ``power``.

    A total-variation distance d moves d from some cells, whose mass is P, to the others; the
    smallest noncentrality has d^2 (1 / P + 1 / (1 - P)) >= 4 d^2 a draw.
    """
    return float(min(1.0, np.sqrt(noncentrality_needed(df, rule, power) / (4 * draws))))


def smallest_temperature(
    subject: Subject,
    cell_of: npt.NDArray[np.int64],
    p: Masses,
    draws: int,
    rule: Rule,
    power: float = POWER,
) -> float | None:
    """Give the smallest temperature error that is caught with ``power`` in either direction.

    Returns:
        A relative error, 0.01 for one percent; ``None`` if not even half or twice the temperature
        would be caught (equal logits have no temperature).
    """
    needed = noncentrality_needed(len(p) - 1, rule, power)

    def short_of(error: float, sign: int) -> float:
        law = subject.mistempered(1 + error if sign > 0 else 1 / (1 + error))
        return draws * _per_draw(law, cell_of, p) - needed

    found = 0.0
    for sign in (1, -1):
        if short_of(1.0, sign) < 0:
            return None
        root: float = optimize.brentq(short_of, 1e-7, 1.0, args=(sign,), rtol=1e-4)
        found = max(found, root if sign > 0 else root / (1 + root))
    return found


def _per_draw(law: Law, cell_of: npt.NDArray[np.int64], p: Masses) -> float:
    return per_draw(p, pooled(law, cell_of, len(p)))


def pooled(law: Law, cell_of: npt.NDArray[np.int64], cells: int) -> Masses:
    """Give the mass of ``law`` in each cell, f64 [cells]; what is outside them is left out."""
    return pool(law.probabilities, cell_of, cells)


def pool(values: Masses, cell_of: npt.NDArray[np.int64], cells: int) -> Masses:
    """Sum the values of tokens, f64 [V], by cell, f64 [cells]."""
    sums = np.zeros(cells)
    inside = cell_of >= 0
    np.add.at(sums, cell_of[inside], values[inside])
    return sums
