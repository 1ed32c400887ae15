"""The log-probability of a recording's tokens, and its exact distribution at any temperature.

A law p at f times its temperature, on the same tokens, is p^b / sum(p^b) with b = 1 / f: an
exponential family whose sufficient statistic is the sum over calls of log p(token). Its derivative
by log T at f = 1 is minus that sum, up to a constant: it is the score, and no test for temperature
is more powerful in either direction. The sum's cumulant-generating function is known exactly from
the laws, K(s) = sum over calls of log sum p^(1 + s), and the law at another temperature is the same
function further along. So one table of K gives both the p-value and the power.

Tails are Lugannani and Rice's saddlepoint approximation (1980), whose relative error stays small
far out. Where few calls carry the variance the sum has steps, and Chernoff's bound is taken, which
holds always and is some ten times larger at 1e-7.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sampler_parity.statistics.errors import StatisticsError

Floats = npt.NDArray[np.float64]

EXPONENTS: Floats = np.array(
    [
        0.2,
        0.35,
        0.5,
        0.65,
        0.75,
        0.85,
        0.92,
        0.97,
        1.0,
        1.03,
        1.08,
        1.16,
        1.3,
        1.5,
        1.7,
        2,
        2.5,
        3,
        5,
    ]
)
"""Powers of the laws at which K is computed; between them a polynomial of degree 5 that has K's
value, slope and curvature at both ends."""
CUMULANTS = 5
"""Rows of a table: K, and the sum's mean, variance, third and fourth cumulant."""
STEEPEST = 0.05
"""Excess kurtosis of the sum above which Chernoff's bound is taken."""
POWER = 0.99
_FLAT = 1e-12
_CENTRE = 1e-3


def table(logs: Floats, values: Floats | None = None) -> Floats:
    """Give a call's part of a table, f64 [5, exponents].

    Tables of independent calls add up.

    Args:
        logs: f64 [n], the log-probabilities of the tokens that can be drawn; their exponentials
            sum to 1.
        values: f64 [n], each token's part of the sum, if that is not its log-probability. At the
            exponent b the law is then proportional to p exp((b - 1) value): for the log-ratio of
            two laws the one at b = 1 and the other at b = 2.
    """
    values = logs if values is None else values
    weights = np.exp(logs + (EXPONENTS[:, None] - 1) * values)
    total = weights.sum(axis=1)
    weights /= total[:, None]
    mean = weights @ values
    centred = values - mean[:, None]
    square = centred * centred
    variance = np.einsum("kn,kn->k", weights, square)
    third = np.einsum("kn,kn,kn->k", weights, square, centred)
    fourth = np.einsum("kn,kn,kn->k", weights, square, square) - 3 * variance**2
    return np.stack([np.log(total), mean, variance, third, fourth])


class Tilts:
    """The distribution of the sum of log p(token) over calls, at any temperature near the laws'.

    Args:
        sums: f64 [5, exponents], the sum of the calls' tables.
    """

    def __init__(self, sums: Floats) -> None:
        from scipy import interpolate

        self._sums = sums
        self._one = int(np.flatnonzero(EXPONENTS == 1.0)[0])
        self._k = interpolate.BPoly.from_derivatives(EXPONENTS, sums[:3].T)
        self._mean = self._k.derivative()
        self._variance = self._mean.derivative()
        self._criticals: dict[tuple[int, float], float | None] = {}
        information = self.information
        kurtosis = sums[4, self._one] / information**2 if information > _FLAT else 0.0
        self.stepped = bool(abs(kurtosis) > STEEPEST)

    @property
    def information(self) -> float:
        """Fisher's information on log T, the variance of the sum."""
        return float(self._sums[2, self._one])

    @property
    def mean(self) -> float:
        """The sum that is expected."""
        return float(self._sums[1, self._one])

    @property
    def flat(self) -> bool:
        """Whether temperature does not show: equal logits, or one token in every call."""
        return self.information <= _FLAT

    def score(self, total: float) -> float:
        """Give the score of log T, standardised: positive where the tokens look hotter."""
        return (self.mean - total) / float(np.sqrt(self.information))

    def p_value(self, total: float) -> float:
        """Give the two-sided p-value of a sum of log p(token).

        Raises:
            StatisticsError: temperature does not show.
        """
        if self.flat:
            raise StatisticsError("temperature does not show in these laws")
        bound = self.stepped
        smaller = min(self.tail(total, 1, bound=bound), self.tail(total, -1, bound=bound))
        return min(1.0, 2 * smaller)

    def estimate(self, total: float) -> float:
        """Give the factor of the temperature at which the sum is expected: the most likely one."""
        return 1 / self._exponent_of(total)

    def tail(self, total: float, side: int, exponent: float = 1.0, *, bound: bool = False) -> float:
        """Give the probability of a sum of at least (``side`` 1) or at most (-1) ``total``.

        Args:
            total: the sum.
            side: 1 or -1.
            exponent: power of the laws under which it is given.
            bound: give Chernoff's bound.
        """
        return self._tail_at(self._exponent_of(total), total, side, exponent, bound=bound)

    def _tail_at(
        self, at: float, total: float, side: int, exponent: float, *, bound: bool
    ) -> float:
        """Give the tail of ``total``, which is expected at the power ``at``."""
        from scipy import special

        s = at - exponent
        rate = max(s * total - float(self._k(at) - self._k(exponent)), 0.0)
        if bound or not EXPONENTS[0] < at < EXPONENTS[-1]:
            return float(np.exp(-rate)) if s * side > 0 else 1.0
        w = float(np.sign(s) * np.sqrt(2 * rate))
        density = float(np.exp(-rate) / np.sqrt(2 * np.pi))
        if abs(w) < _CENTRE:
            correction = -self._skewness(exponent) / 6
        else:
            correction = 1 / (s * float(np.sqrt(self._variance(at)))) - 1 / w
        found = special.ndtr(-w * side) + side * density * correction
        return float(np.clip(found, 0.0, 1.0))

    def power(self, factor: float, level: float) -> float:
        """Give the probability that ``factor`` times the temperature is rejected at ``level``."""
        if self.flat:
            return 0.0
        found = 0.0
        exponent = float(np.clip(1 / factor, EXPONENTS[0], EXPONENTS[-1]))
        for side in (1, -1):
            critical = self.critical(side, level / 2)
            if critical is not None:
                found += self.tail(critical, side, exponent)
        return min(1.0, found)

    def smallest(self, level: float, power: float = POWER) -> float | None:
        """Give the smallest relative error of the temperature caught with ``power`` both ways.

        Returns:
            0.01 for one percent; ``None`` where not even twice or half would be caught.
        """
        from scipy import optimize

        def short_of(error: float) -> float:
            hotter, colder = self.power(1 + error, level), self.power(1 / (1 + error), level)
            return min(hotter, colder) - power

        if self.flat or short_of(1.0) < 0:
            return None
        found: float = optimize.brentq(short_of, 1e-7, 1.0, rtol=1e-4)
        return found

    def critical(self, side: int, level: float) -> float | None:
        """Give the sum whose tail is ``level``; ``None`` where none has so small a one."""
        if (side, level) not in self._criticals:
            self._criticals[side, level] = self._found_critical(side, level)
        return self._criticals[side, level]

    def _found_critical(self, side: int, level: float) -> float | None:
        def beyond(exponent: float) -> float:
            total = float(self._mean(exponent))
            tail = self._tail_at(exponent, total, side, 1.0, bound=self.stepped)
            return float(np.log(max(tail, 1e-300)) - np.log(level))

        inner, outer = (float(end) for end in EXPONENTS[[0, -1]][::side])
        inner, outer = inner + side * 1e-9, outer - side * 1e-9
        if beyond(outer) > 0:
            return None
        if beyond(inner) < 0:
            return float(self._mean(inner))
        return float(self._mean(_root(beyond, inner, outer)))

    def _exponent_of(self, total: float) -> float:
        """Give the power of the laws at which the sum is expected."""
        low, high = float(EXPONENTS[0]), float(EXPONENTS[-1])
        if total <= self._sums[1, 0]:
            return low
        if total >= self._sums[1, -1]:
            return high
        return _root(lambda exponent: float(self._mean(exponent)) - total, low, high)

    def _skewness(self, exponent: float) -> float:
        third = np.interp(exponent, EXPONENTS, self._sums[3])
        return float(third / float(self._variance(exponent)) ** 1.5)


def _root(of: Callable[[float], float], one: float, other: float) -> float:
    from scipy import optimize

    found: float = optimize.brentq(of, min(one, other), max(one, other), xtol=1e-12, rtol=1e-12)
    return found
