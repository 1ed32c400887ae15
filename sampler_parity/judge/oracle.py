"""What a stage's values truly are, and how far a correct f32 computation can be from them.

Values are computed with 64 significant bits (x87 extended precision), whose own error is 2^-40 of
what is judged. Bounds are worst cases of rounding analysis: u = 2^-24 is the relative error of one
f32 operation, 2^-149 the absolute one of a denormal result. They hold for any order of summation,
so they admit every implementation that computes the right thing in f32 or better, and no other.

Source of the rules: N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 2.2 (one
operation), 3.1 (products of errors: gamma), 4.2 (sums of non-negative numbers: n - 1 roundings).
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
Exact = npt.NDArray[np.longdouble]

U = np.longdouble(2.0) ** -24
TINY = np.longdouble(2.0) ** -149

if np.finfo(np.longdouble).nmant < 63:  # noqa: PLR2004  (the format's own number)
    raise ImportError("the oracle needs long doubles of 64 significant bits, which x86-64 has")


@dataclass(frozen=True, slots=True)
class Truth:
    """Exact values, and the error that a correct f32 computation of each can have."""

    value: Exact
    bound: Exact

    def excess(self, values: F32) -> Exact:
        """Give each value's distance from the truth, as a share of its bound."""
        with np.errstate(all="ignore"):
            distance = np.abs(values.astype(np.longdouble) - self.value)
            share = distance / self.bound
        return np.where(distance == 0, np.longdouble(0), share)


def gamma(roundings: Exact | float) -> Exact:
    """Bound the relative error of that many successive roundings."""
    product = roundings * U
    return np.asarray(product / (1 - product))


def quotient(logits: F32, temperature: float) -> Truth:
    """Bound logits / temperature by division, or by multiplication with the reciprocal.

    Three roundings: of the temperature or its reciprocal to f32, of a reciprocal taken in f32, and
    of the product or quotient. The first is more than u where the temperature is denormal in f32.
    """
    with np.errstate(all="ignore"):
        x = logits.astype(np.longdouble)
        value = x / np.longdouble(temperature)
        rounded = np.abs(x / np.longdouble(np.float32(temperature)) - value)
        rounded = np.where(np.isfinite(rounded), rounded, 0)
        first = np.maximum(rounded, U * np.abs(value))
        return Truth(value, first + gamma(2) * (np.abs(value) + first) + 2 * TINY)


def softmax(logits: F32) -> Truth:
    """Bound e / sum(e) with e = exp(x - max), by row.

    An e is off by |x - max| * u for the difference's rounding and 4 u for an exponential of up to 2
    ulp; the sum by n - 1 roundings beside the errors of its terms, each by its weight; then there
    are up to three roundings: the reciprocal, the product, and a cast.
    """
    x = logits.astype(np.longdouble)
    with np.errstate(all="ignore"):
        below = x - x.max(axis=-1, keepdims=True)
        terms = np.exp(below)
        value = terms / terms.sum(axis=-1, keepdims=True)
        depth = np.where(terms > 0, np.abs(below), 0)
        count = (terms > 0).sum(axis=-1, keepdims=True)
        weighted = (value * depth).sum(axis=-1, keepdims=True)
        roundings = depth + 4 + weighted + 4 + (count - 1) + 3
        return Truth(value, gamma(roundings) * value + 4 * TINY)


def renormalized(kept: F32) -> Truth:
    """Bound kept / sum(kept), by row: n - 1 roundings of the sum, and up to three as above."""
    x = kept.astype(np.longdouble)
    with np.errstate(all="ignore"):
        value = x / x.sum(axis=-1, keepdims=True)
        roundings = (kept > 0).sum(axis=-1, keepdims=True) - 1 + 3
        return Truth(value, np.where(x > 0, gamma(roundings) * value + 2 * TINY, 0))


def noised(scaled: F32, noise: F32) -> Truth:
    """Bound scaled + noise: one rounding of the noise's product, one of the sum."""
    with np.errstate(all="ignore"):
        x, y = scaled.astype(np.longdouble), noise.astype(np.longdouble)
        return Truth(x + y, gamma(2) * (np.abs(x + y) + np.abs(y)) + 2 * TINY)


def cutoff_in_doubt(descending: F32, top_p: float, first: int, last: int) -> bool:
    """Whether a correct f32 computation may decide otherwise for every token of ``[first, last)``.

    ``descending`` are a row's probabilities in descending order. The token at i is dropped where
    the sum of those before it exceeds ``top_p``. The sum is exact here (rationals). In f32 each
    partial sum that f32 cannot hold adds a rounding; where all can be held, as with equal powers
    of two, there is none, and the decision is not in doubt however near it is. Rounding ``top_p``
    to f32 may move the decision as well.
    """
    exact_p, rounded_p = Fraction(top_p), Fraction(float(np.float32(top_p)))
    total = roundings = Fraction(0)
    for index in range(last):
        if index >= first:
            slack = roundings + abs(exact_p - rounded_p)
            if not min(exact_p, rounded_p) - slack <= total <= max(exact_p, rounded_p) + slack:
                return False
            if slack == 0:
                return False
        total += Fraction(float(descending[index]))
        if Fraction(float(np.float32(float(total)))) != total:
            roundings += Fraction(float(U)) * total
    return True
