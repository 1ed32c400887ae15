"""The exact law of the simple sampler, against closed forms and rational arithmetic."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.race import win_probabilities


def exact(values: list[Fraction], noise: Fraction) -> list[Fraction]:
    """The integral piece by piece, each polynomial multiplied out in rationals."""
    points = sorted({point for x in values for point in (x, x + noise)})
    found = []
    for i, x in enumerate(values):
        total = Fraction(0)
        for start, end in pairwise(points):
            if start < x or end > x + noise:
                continue
            polynomial = [Fraction(1)]
            for j, y in enumerate(values):
                if j == i or y + noise <= start:
                    continue
                factor = [Fraction(0)] if y >= end else [-y / noise, 1 / noise]
                polynomial = [
                    sum(
                        (
                            polynomial[k] * factor[n - k]
                            for k in range(len(polynomial))
                            if 0 <= n - k < len(factor)
                        ),
                        Fraction(0),
                    )
                    for n in range(len(polynomial) + len(factor) - 1)
                ]
            total += sum(
                (
                    c * (end ** (k + 1) - start ** (k + 1)) / (k + 1)
                    for k, c in enumerate(polynomial)
                ),
                Fraction(0),
            )
        found.append(total / noise)
    return found


def test_two_values() -> None:
    for gap in (0.0, 0.1, 0.5, 0.999):
        first, second = win_probabilities(np.array([3.0, 3.0 - gap]), 1.0)
        assert second == pytest.approx((1 - gap) ** 2 / 2, abs=1e-14)
        assert first + second == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("noise", [Fraction(1), Fraction(1, 3), Fraction(7, 2)])
def test_rational_arithmetic(noise: Fraction) -> None:
    rng = np.random.default_rng(3)
    for count in (1, 2, 3, 5, 7):
        values = [Fraction(int(n), 64) for n in rng.integers(-8, 9, count)]
        values[-1] = values[0]
        expected = exact(values, noise)
        assert sum(expected) == 1
        found = win_probabilities(np.array([float(v) for v in values]), float(noise))
        np.testing.assert_allclose(found, [float(p) for p in expected], rtol=0, atol=1e-13)
        wrong = win_probabilities(np.array([float(v) for v in values]), float(noise) * 0.99)
        assert len(set(values)) == 1 or np.abs(wrong - found).max() > 1e-5


@pytest.mark.parametrize("count", [1, 2, 17, 100, 400])
def test_the_sum_is_one(count: int) -> None:
    values = np.random.default_rng(count).normal(0, 0.4, count)
    found = win_probabilities(values, 1.0)
    assert abs(found.sum() - 1) < 1e-12
    assert (np.diff(found[np.argsort(values)]) >= 0).all()


def test_equal_values_win_alike() -> None:
    np.testing.assert_allclose(win_probabilities(np.full(300, -7.25), 0.5), 1 / 300, rtol=1e-12)


def test_who_can_never_win() -> None:
    found = win_probabilities(np.array([0.0, -np.inf, -1.0, -0.999, -5.0]), 1.0)
    assert found[[1, 2, 4]].tolist() == [0, 0, 0]
    assert found[3] > 0
    assert win_probabilities(np.array([1.0, 2.0, 2.0]), 0.0).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("values", "noise"),
    [
        ([], 1.0),
        ([1.0, np.nan], 1.0),
        ([1.0, np.inf], 1.0),
        ([-np.inf], 1.0),
        ([1.0], -1.0),
        ([1.0], np.nan),
        ([1.0], np.inf),
        ([0.0] * 513, 1.0),
    ],
)
def test_no_law(values: list[float], noise: float) -> None:
    with pytest.raises(StatisticsError):
        win_probabilities(np.array(values), noise)
