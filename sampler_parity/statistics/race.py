"""Who wins where every value gets uniform noise of its own: the integral behind the simple sampler.

With noise U[0, w), the value x_i wins with probability

    P(i) = 1/w * integral over t of product over j != i of F_j(t),
    F_j(t) = clip((t - x_j) / w, 0, 1),

over the t that x_i can reach. Below the largest value its own F is 0, and at each x_j + w one
factor becomes 1, so that between two such points the integrand is a polynomial. Gauss-Legendre
quadrature with enough nodes for its degree is exact there. Every factor is positive: nothing
cancels, and rounding alone is left, about 1e-14 for a few hundred values.
"""

import numpy as np
import numpy.typing as npt

from sampler_parity.statistics.errors import StatisticsError

MOST_RACERS = 512
"""Beyond it the integral, whose work grows as the cube, takes more than a second."""


def win_probabilities(values: npt.NDArray[np.float64], noise: float) -> npt.NDArray[np.float64]:
    """Give the probability that each value is the largest after adding noise of U[0, noise).

    Args:
        values: f64 [V]; -inf never wins.
        noise: without noise, the first of the largest values wins.

    Returns:
        f64 [V].

    Raises:
        StatisticsError: a value is NaN or +inf, all are -inf, ``noise`` is negative or not
            finite, or more than 512 values are within ``noise`` of the largest.
    """
    if values.ndim != 1 or not values.size or np.isnan(values).any():
        raise StatisticsError("values [V] without NaN are needed, and at least one of them")
    if not 0 <= noise < np.inf:
        raise StatisticsError(f"noise must be finite and not negative, it is {noise}")
    largest = values.max()
    if not np.isfinite(largest):
        raise StatisticsError(f"the largest value must be finite, it is {largest}")
    found = np.zeros(len(values))
    if noise == 0:
        found[values.argmax()] = 1.0
        return found
    racers = np.flatnonzero(values > largest - noise)
    if len(racers) > MOST_RACERS:
        raise StatisticsError(
            f"{len(racers)} values are within the noise of the largest, at most {MOST_RACERS} "
            "can be integrated"
        )
    racers = racers[np.argsort(values[racers], kind="stable")]
    found[racers] = _integrals((values[racers] - largest) / noise)
    return found


def _integrals(behind: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Integrate for values in units of the noise relative to the largest: ascending, (-1, 0]."""
    count = len(behind)
    found = np.zeros(count)
    # A polynomial of degree count - 1 needs count / 2 nodes.
    nodes, weights = np.polynomial.legendre.leggauss(count // 2 + 1)
    start = 0.0
    for first, end in enumerate(behind + 1.0):
        width = end - start
        if width > 0:
            # From here on, those before `first` have their factor at 1 and cannot win any more.
            at = start + width * (nodes + 1) / 2
            logs = np.log(at[:, None] - behind[None, first:])
            product = np.exp(logs.sum(axis=1, keepdims=True) - logs)
            found[first:] += (weights * width / 2) @ product
        start = end
    return found
