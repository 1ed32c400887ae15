"""What a stage's values truly are, and how far a correct f32 computation can be from them.

Logits are computed with 64 significant bits (x87 extended precision), whose own error is 2^-40 of
what is judged; probabilities with 53, whose error is 2^-29 of it. Bounds are worst cases of
rounding analysis: u = 2^-24 is the relative error of one f32 operation, 2^-149 the absolute one of
a denormal result. They hold for any order of summation, so they admit every implementation that
computes the right thing in f32 or better, and no other.

Source of the rules: N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 2.2 (one
operation), 3.1 (products of errors: gamma), 4.2 (sums of non-negative numbers: n - 1 roundings).
"""

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.model.errors import CannotJudgeError

F32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Exact = npt.NDArray[np.longdouble]
Wide = npt.NDArray[np.float64]

PRECISION = 24
"""Significant bits of f32."""
SMALLEST = 149
"""Every f32 is a multiple of 2 to this power's negative."""
FINE = 1 << (SMALLEST + PRECISION)
"""How often the error of one f32 operation on the smallest f32 goes into 1."""

U = 2.0**-PRECISION
TINY = 2.0**-SMALLEST
LARGEST = float(np.finfo(np.float32).max)

OWN = 6
"""Roundings of one probability that no other token of its row shares: an exponential of up to 2 ulp
is 4 of them; the product or quotient with what is common, and a cast, are 2."""

UNSEEN = 2.0**-70
"""Beside 1, less than this is nothing: f32, f64 and extended precision all give 1 for their sum."""

NEEDED_BITS = 64
"""Significant bits of the long doubles that the bounds of logits rest on."""


def require_long_doubles() -> None:
    """Refuse to judge where numpy's long double is too short: on Windows, and on Macs of ARM.

    Raises:
        CannotJudgeError: it is.
    """
    bits = int(np.finfo(np.longdouble).nmant) + 1
    if bits < NEEDED_BITS:
        raise CannotJudgeError(
            f"the oracle needs long doubles of {NEEDED_BITS} significant bits, and numpy's have "
            f"{bits} on this platform ({platform.system()}, {platform.machine()}): judge on Linux; "
            "the samplers themselves work here"
        )


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

    def may_overflow(self) -> Mask:
        """Mark what a correct computation may round to an infinity, and another not."""
        with np.errstate(all="ignore"):
            found: Mask = np.abs(self.value) + self.bound >= LARGEST
        return found


@dataclass(frozen=True, slots=True)
class Shares:
    """Rows of probabilities: their exact ratios, and how far rounding moves those.

    The error of a row's sum multiplies all of its probabilities alike. It grows with the number of
    tokens; what is left when it is taken out, a ratio's error, does not, and is thousands of times
    smaller in a long row. So ratios are judged by :meth:`ratios`, whatever the common factor is,
    and the common factor by :meth:`sums`.

    Attributes:
        value: the exact probabilities, [..., V].
        low: how small its own errors can make each, [..., V].
        high: how large.
        tiny: the absolute error on top, for denormal results, [..., 1].
        total: how far from 1 a row's sum can be, [..., 1].
    """

    value: Wide
    low: Wide
    high: Wide
    tiny: Wide
    total: Wide

    def excess(self, values: F32) -> Wide:
        """Give each value's distance from the truth, as a share of its bound; at most 1 is right.

        A value that is not finite is infinitely far.
        """
        return np.maximum(self.ratios(values), self.sums(values))

    def ratios(self, values: F32) -> Wide:
        """Give the distances [..., V] with the common factor that suits each row best.

        A value f is right with the factor c if c low - tiny <= f <= c high + tiny: each token
        leaves an interval for c, and all are right if those have a point in common. If they have
        none, c is taken midway between the two that are furthest apart.
        """
        with np.errstate(all="ignore"):
            f = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
            # ``fmax`` and ``fmin`` leave out NaN.
            least = np.fmax.reduce((f - self.tiny) / self.high, axis=-1, keepdims=True)
            most = np.fmin.reduce((f + self.tiny) / self.low, axis=-1, keepdims=True)
            least = np.where(np.isfinite(least), np.maximum(least, TINY), TINY)
            most = np.where(most > 0, most, TINY)
            midway = np.sqrt(least * np.minimum(most, 2 * least))
            factor = np.where((least <= 1) & (most >= 1), 1, midway)
            mean = factor * self.value
            above = (f - mean) / (factor * self.high - mean + self.tiny)
            below = (mean - f) / (mean - factor * self.low + self.tiny)
            share = np.where(f == mean, 0.0, np.where(f > mean, above, below))
        return np.where(np.isnan(share), np.inf, share)

    def sums(self, values: F32) -> Wide:
        """Give each row's distance of its sum from 1, as a share of ``total``, [..., 1]."""
        with np.errstate(all="ignore"):
            distance = np.abs(values.astype(np.float64).sum(axis=-1, keepdims=True) - 1)
            share = np.where(distance == 0, 0.0, distance / self.total)
        return np.where(np.isnan(share), np.inf, share)


def gamma(roundings: Wide | float) -> Wide:
    """Bound the relative error of that many successive roundings; from 2^24 on, there is none."""
    product = np.asarray(roundings * U)
    with np.errstate(all="ignore"):
        return np.where(product < 1, product / (1 - product), np.inf)


def scale_error(temperature: float) -> float:
    """Bound the relative error of a logit that was divided by the temperature; 0 at 1.

    Three roundings: of the temperature or its reciprocal to f32, of a reciprocal taken in f32, and
    of the product or quotient. The first is more than u where the temperature, or its reciprocal,
    is denormal in f32, and as much as 1 where f32 has an infinity or a zero for it.
    """
    if temperature == 1.0 or np.isinf(temperature):
        return 0.0
    with np.errstate(all="ignore"):
        exact = np.longdouble(temperature)
        by_quotient = exact / np.longdouble(np.float32(temperature)) - 1
        by_product = exact * np.longdouble(np.float32(1 / exact)) - 1
    # A quotient by zero, or a product with an infinity, is no correct computation.
    errors = [abs(error) for error in (by_quotient, by_product) if np.isfinite(error)]
    first = max(U, *map(float, errors))
    return first + float(gamma(2)) * (1 + first)


def quotient(logits: F32, temperature: float) -> Truth:
    """Bound logits / temperature by division, or by multiplication with the reciprocal."""
    with np.errstate(all="ignore"):
        value = logits.astype(np.longdouble) / np.longdouble(temperature)
        return Truth(value, scale_error(temperature) * np.abs(value) + 2 * TINY)


def own_error(depth: Wide, total: Wide) -> Wide:
    """Bound the error of the exponent in p = exp(-depth) / total that rounding makes, depth >= 0.

    The difference from the largest logit is rounded. Then an exponential to base 2 rounds the
    product with log2(e), itself rounded; or a log-softmax rounds the difference from log(total).
    Each is a relative error of what is rounded, of u.
    """
    return U * (3 * depth + np.log(total))


def softmax(scaled: F32) -> Shares:
    """Bound e / sum(e) with e = exp(x - max), by row, for scaled logits that are given."""
    with np.errstate(all="ignore"):
        x = scaled.astype(np.float64)
        depth = x.max(axis=-1, keepdims=True) - x
    return exponentials(depth, np.zeros_like(depth))


def exponentials(depth: Wide, moved: Wide) -> Shares:
    """Bound exp(-depth) / sum(exp(-depth)), by row, where each depth is off by up to ``moved``.

    The sum is off by a rounding for each term but the first; zeros add none. The reciprocal is
    another, and for a log-softmax the logarithm and its exponential are. A row's sum is taken of
    the very terms that it divides, whose own errors it shares: only its roundings keep the
    probabilities' sum from 1, but for a log-softmax.
    """
    with np.errstate(all="ignore"):
        terms = np.exp(-depth)
        total = terms.sum(axis=-1, keepdims=True)
        exponent = moved + own_error(depth + moved, total)
        low, high = _moved(terms, depth, np.where(np.isfinite(depth), exponent, 0))
        low, high = low * (1 - gamma(OWN)) / total, high * (1 + gamma(OWN)) / total
        value = terms / total
        added = (high > TINY / 4).sum(axis=-1, keepdims=True)
        spread = (high - value).sum(axis=-1, keepdims=True)
        tiny = np.full_like(total, 4 * TINY)
        return Shares(
            value=value,
            low=low,
            high=high,
            tiny=tiny,
            total=gamma(added + 4 + 4 * np.log(total)) + spread + tiny * depth.shape[-1],
        )


def _moved(terms: Wide, depth: Wide, exponent: Wide) -> tuple[Wide, Wide]:
    """Bound exp(-depth), which ``terms`` are, where each exponent is off by up to ``exponent``."""
    if exponent.max(initial=0) <= 0.5:  # noqa: PLR2004  (up to 1.79, exp(x) <= 1 + x + x^2)
        return terms * (1 - exponent), terms * (1 + exponent + exponent**2)
    return np.exp(-depth - exponent), np.exp(-depth + exponent)


def renormalized(kept: F32, scaled: F32) -> Shares:
    """Bound kept / sum(kept), by row: the quotient, or a new softmax over what is kept.

    ``kept`` are rounded probabilities, zero where dropped; ``scaled`` the logits that they were
    computed from, for which alone a new softmax has errors other than theirs.
    """
    with np.errstate(all="ignore"):
        anew = softmax(np.where(kept > 0, scaled, np.float32(-np.inf)))
        x = kept.astype(np.float64)
        mass = x.sum(axis=-1, keepdims=True)
        value = x / mass
        off = np.where(anew.value > 0, anew.high / anew.value, 1) ** 2 * (1 + gamma(3))
        # Denormal probabilities have lost bits that a new softmax has.
        lost = 2 * anew.tiny / mass
        return Shares(
            value=value,
            low=value / off,
            high=value * off,
            tiny=lost + anew.tiny,
            total=anew.total + lost * (kept > 0).sum(axis=-1, keepdims=True),
        )


def noised(scaled: F32, noise: F32) -> Truth:
    """Bound scaled + noise: one rounding of the noise's product, one of the sum."""
    with np.errstate(all="ignore"):
        x, y = scaled.astype(np.longdouble), noise.astype(np.longdouble)
        return Truth(x + y, gamma(2) * (np.abs(x + y) + np.abs(y)) + 2 * TINY)


def cutoff_in_doubt(descending: F32, top_p: float, first: int, last: int) -> bool:
    """Whether a correct f32 computation may decide otherwise for every token of ``[first, last)``.

    ``descending`` are a row's probabilities in descending order. The token at i is dropped where
    the sum of those before it exceeds ``top_p``. The sum is exact here (integers, in units of the
    smallest f32). In f32 each partial sum that f32 cannot hold adds a rounding; where all can be
    held, as with equal powers of two, there is none, and the decision is not in doubt however near
    it is. Rounding ``top_p`` to f32 may move the decision as well. Nothing exceeds an infinity.
    """
    with np.errstate(over="ignore"):
        single = float(np.float32(top_p))
    if np.isinf(single):
        return False
    # An integer exceeds a number if it exceeds the largest integer that is not above it.
    lower, upper = sorted(floor(Fraction(limit) * FINE) for limit in (top_p, single))
    total = roundings = 0
    for index, value in enumerate(np.ldexp(descending[:last].astype(np.float64), SMALLEST)):
        # Decided either way, if the sum can exceed one of the limits, and not the other.
        if index >= first and not (
            (total << PRECISION) + roundings > lower and (total << PRECISION) - roundings <= upper
        ):
            return False
        total += int(value)
        if total & ((1 << max(0, total.bit_length() - PRECISION)) - 1):
            # U times the sum, in units that are as much finer.
            roundings += total
    return True


def rows_of(*arrays: npt.NDArray[Any]) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    """Give the rows of arrays [..., V], side by side."""
    flat = [array.reshape(-1, array.shape[-1]) for array in arrays]
    return zip(*flat, strict=True)


def largest(logits: F32) -> Mask:
    """Mark, in bool [..., V], each row's largest logits: its NaNs if it has any, as argmax does."""
    undefined = np.isnan(logits)
    with np.errstate(invalid="ignore"):
        greatest = logits == logits.max(axis=-1, keepdims=True)
    found: Mask = np.where(undefined.any(axis=-1, keepdims=True), undefined, greatest)
    return found
