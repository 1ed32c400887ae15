"""Chi-square and G: right where they are used, and no p-value for wrong input."""

import numpy as np
import pytest
from scipy import stats

from sampler_parity.statistics.budget import TAIL_ACCURACY
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.goodness import MIN_EXPECTED, count, goodness, homogeneity, outside

HALF = np.array([0.5, 0.5])


def test_against_the_formulas() -> None:
    observed = np.array([310, 480, 210])
    p = np.array([0.3, 0.5, 0.2])
    expected = p * 1000
    found = goodness(observed, p)
    assert found.df == 2
    assert found.pearson == pytest.approx(((observed - expected) ** 2 / expected).sum())
    assert found.g == pytest.approx(2 * (observed * np.log(observed / expected)).sum())
    assert found.pearson_p == pytest.approx(stats.chi2.sf(found.pearson, 2))
    assert found.p == pytest.approx(2 * min(found.pearson_p, found.g_p))


def test_two_samples() -> None:
    one, other = np.array([100, 200, 300, 0]), np.array([130, 190, 280, 0])
    found = homogeneity(one, other)
    assert found.df == 2, "a cell that is empty on both sides says nothing"
    total = (one + other)[:3] / 2
    assert found.pearson == pytest.approx(2 * ((one[:3] - total) ** 2 / total).sum(), rel=1e-3)
    assert homogeneity(one, one).p == 1
    assert homogeneity(one * 100, other * 100).p < 1e-9


@pytest.mark.parametrize(
    ("observed", "probabilities"),
    [
        ([0, 0], [0.5, 0.5]),
        ([5, 5], [0.5, 0.4]),
        ([5, 5], [0.5, 0.5 + 1e-6]),
        ([5, 5], [1.0, 0.0]),
        ([5, 5], [1.5, -0.5]),
        ([5, 5], [np.nan, 0.5]),
        ([5, 5, 5], [0.5, 0.5]),
        ([-1, 11], [0.5, 0.5]),
        ([10], [1.0]),
        ([5.5, 4.5], [0.5, 0.5]),
    ],
)
def test_wrong_input_has_no_p_value(observed: list[int], probabilities: list[float]) -> None:
    with pytest.raises(StatisticsError):
        goodness(np.array(observed), np.array(probabilities))


@pytest.mark.parametrize(
    ("one", "other"),
    [([0, 0], [1, 2]), ([1, 2], [0, 0]), ([1, 2, 3], [1, 2]), ([5, 0], [5, 0]), ([-1, 3], [1, 1])],
)
def test_wrong_samples_have_no_p_value(one: list[int], other: list[int]) -> None:
    with pytest.raises(StatisticsError):
        homogeneity(np.array(one), np.array(other))


@pytest.mark.parametrize(
    "tokens",
    [
        np.array([], np.int64),
        np.array([0, 5]),
        np.array([0, -1]),
        np.array([0.0, 1.0]),
        np.array([np.nan]),
        np.array([[0, 1]]),
    ],
)
def test_wrong_tokens_are_not_counted(tokens: np.ndarray) -> None:
    with pytest.raises(StatisticsError):
        count(tokens, 5)


def test_one_draw_outside_is_enough() -> None:
    possible = np.array([True, False, True, False])
    counts = count(np.array([0, 2] * 100_000), 4)
    assert outside(counts, possible) == {}
    assert outside(counts + np.array([0, 1, 0, 0]), possible) == {1: 1}
    with pytest.raises(StatisticsError):
        outside(counts, possible[:3])


def true_size(expected: float, level: float) -> float:
    """The exact chance of Pearson's p <= level with a cell of few and one of many draws."""
    n = 10_000_000
    p = expected / n
    reach = np.sqrt(stats.chi2.isf(level, 1) * n * p * (1 - p))
    below, above = np.floor(expected - reach), np.ceil(expected + reach)
    law = stats.binom(n, p)
    return float(law.cdf(below) + law.sf(above - 1))


@pytest.mark.parametrize("level", [1e-3, 1e-4, 1e-6, 1e-8, 5e-9, 1e-9])
def test_the_tail_is_as_accurate_as_declared(level: float) -> None:
    assert true_size(MIN_EXPECTED, level) <= TAIL_ACCURACY * level


def test_fewer_expected_draws_would_not_do() -> None:
    assert true_size(MIN_EXPECTED / 2, 5e-9) > TAIL_ACCURACY * 5e-9
    # The rule of thumb is off by hundreds of times.
    assert true_size(5, 1e-8) > 100 * 1e-8


def test_the_tail_of_many_cells() -> None:
    """Twelve cells of the fewest draws, as independent Poisson counts: convolved on a grid."""
    step, most = 0.05, 6000
    counts = np.arange(0, 3000)
    places = np.rint((counts - MIN_EXPECTED) ** 2 / MIN_EXPECTED / step).astype(np.int64)
    one = np.bincount(
        np.minimum(places, most),
        weights=stats.poisson.pmf(counts, MIN_EXPECTED),
        minlength=most + 1,
    )
    law = one
    for _ in range(11):
        law = np.convolve(law, one)[: most + 1]
    beyond = law[::-1].cumsum()[::-1]
    for level in (1e-4, 1e-6, 1e-8):
        critical = int(np.ceil(stats.chi2.isf(level, 12) / step))
        assert level / TAIL_ACCURACY < beyond[critical] < TAIL_ACCURACY * level


def test_half_of_the_cells_exactly() -> None:
    assert goodness(np.array([500, 500]), HALF).p == 1
