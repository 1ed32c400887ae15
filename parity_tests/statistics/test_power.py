"""Declared power, held against simulation; both directions agree."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from sampler_parity.statistics.alternatives import swapped, without_tail
from sampler_parity.statistics.cells import Cells, build
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import GROWTH, Rule
from sampler_parity.statistics.law import Law, Subject
from sampler_parity.statistics.power import (
    chance,
    chance_of,
    draws_needed,
    noncentrality_needed,
    per_draw,
    smallest_distance,
    smallest_temperature,
)
from sampler_parity.statistics.sizing import for_distance, for_temperature, shown_by
from sampler_parity.statistics.subjects import flat, noisy, tempered

RULE = Rule(2e-8)
REPETITIONS = 4000


@pytest.fixture(scope="module")
def subject() -> Subject:
    return tempered()


@pytest.fixture(scope="module")
def cells(subject: Subject) -> Cells:
    return build(subject.law, 200_000, 8, 8)


BOTH = ("pearson", "log-likelihood")


def simulated(
    cells: Cells, law: Law, draws: int, rule: Rule, seed: int, statistics: tuple[str, ...] = BOTH
) -> float:
    """How often the rule rejects multinomial counts of ``law``: the test as it is carried out."""
    rng = np.random.default_rng(seed)
    q = cells.masses(law)

    def p_values(n: int) -> npt.NDArray[np.float64]:
        counts = rng.multinomial(n, q / q.sum(), size=REPETITIONS)
        found = [
            stats.power_divergence(counts, cells.probabilities * n, axis=1, lambda_=lambda_)[1]
            for lambda_ in statistics
        ]
        p: npt.NDArray[np.float64] = np.minimum(1.0, 2 * np.min(found, axis=0))
        return p

    first, second = p_values(draws), p_values(GROWTH * draws)
    again = (first > rule.first) & (first <= rule.margin)
    return float(((first <= rule.first) | (again & (second <= rule.second))).mean())


@pytest.mark.parametrize("power", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("fault", ["warmer", "colder", "tail", "swap"])
def test_declared_power_is_what_happens(
    subject: Subject, cells: Cells, fault: str, power: float
) -> None:
    one, other = subject.law.ranked[[1, 4]].tolist()
    law = {
        "warmer": subject.mistempered(1.01),
        "colder": subject.mistempered(0.99),
        "tail": without_tail(subject.law, 0.01),
        "swap": swapped(subject.law, one, other),
    }[fault]
    q = cells.masses(law)
    draws = round(draws_needed(cells.probabilities, q, RULE, power))
    declared = chance_of(cells.probabilities, q, draws, RULE)
    assert declared == pytest.approx(power, abs=0.01)
    # A finite difference is not as local as the noncentral law takes it: where tokens are missing,
    # the counts vary less than it says, and more is caught.
    spread = 4 * np.sqrt(declared * (1 - declared) / REPETITIONS)
    alone = simulated(cells, law, draws, RULE, seed=1, statistics=("pearson",))
    assert declared - 0.02 - spread < alone < declared + 0.06 + spread
    # G adds to Pearson's power: for a deleted tail, a great deal.
    assert simulated(cells, law, draws, RULE, seed=1) >= alone


def test_the_smallest_temperature_error_is_caught(subject: Subject, cells: Cells) -> None:
    draws = 200_000
    error = smallest_temperature(subject, cells.cell_of, cells.probabilities, draws, RULE)
    assert error is not None
    for factor in (1 + error, 1 - error):
        assert simulated(cells, subject.mistempered(factor), draws, RULE, 1) > 0.98
    # Half of it is not: the statement is no exaggeration.
    assert simulated(cells, subject.mistempered(1 + error / 2), draws, RULE, 2) < 0.5


def test_a_right_sampler_is_hardly_ever_rejected(subject: Subject, cells: Cells) -> None:
    """At a level that can be seen in a simulation."""
    rule = Rule(0.02, margin=0.2)
    assert simulated(cells, subject.law, 50_000, rule, 3) < 0.02 + 4 * np.sqrt(0.02 / REPETITIONS)
    assert chance(0.0, 15, rule) <= rule.alpha


def test_equal_logits_have_no_temperature() -> None:
    subject = flat()
    cells = build(subject.law, 200_000, 0, 8)
    found = smallest_temperature(subject, cells.cell_of, cells.probabilities, 10**6, RULE)
    assert found is None


def test_the_smallest_distance_holds_for_the_hardest_move() -> None:
    """From half of the mass to the other half: no move of that distance is harder to see."""
    p = np.full(8, 1 / 8)
    draws = 100_000
    distance = smallest_distance(draws, 7, RULE)
    q = p + np.where(np.arange(8) < 4, distance / 4, -distance / 4)
    assert np.abs(q - p).sum() / 2 == pytest.approx(distance)
    assert draws * per_draw(p, q) == pytest.approx(noncentrality_needed(7, RULE), rel=1e-6)
    rng = np.random.default_rng(0)
    for _ in range(100):
        move = rng.normal(size=8)
        move -= move.mean()
        q = p + move * distance / (np.abs(move).sum() / 2)
        if (q > 0).all():
            assert draws * per_draw(p, q) >= noncentrality_needed(7, RULE) * (1 - 1e-9)


def test_more_is_caught_with_more() -> None:
    powers = [chance(x, 10, RULE) for x in (0, 10, 30, 60, 100, 1e9)]
    assert powers == sorted(powers)
    assert powers[0] <= RULE.alpha
    assert powers[-1] == 1
    assert noncentrality_needed(20, RULE) > noncentrality_needed(5, RULE)
    assert noncentrality_needed(5, Rule(1e-9)) > noncentrality_needed(5, RULE)


def test_what_cannot_be_seen_needs_infinitely_many_draws() -> None:
    p = np.array([0.5, 0.5])
    assert draws_needed(p, p.copy(), RULE) == np.inf
    assert chance_of(p, p, 10**9, RULE, outside=1e-6) > 0.99


@pytest.mark.proof
def test_both_directions() -> None:
    draws = for_temperature(tempered(), 0.03, RULE)
    shown = shown_by(tempered(), draws, RULE).smallest_temperature
    assert shown is not None
    assert 0.028 < shown <= 0.03
    draws = for_distance(noisy(), 0.02, RULE)
    assert 0.0185 < shown_by(noisy(), draws, RULE).smallest_distance <= 0.02


def test_no_power() -> None:
    for call in (
        lambda: chance(-1.0, 3, RULE),
        lambda: chance(np.nan, 3, RULE),
        lambda: chance(1.0, 0, RULE),
        lambda: noncentrality_needed(3, RULE, 1.0),
        lambda: for_temperature(tempered(), 0.0, RULE),
        lambda: for_distance(tempered(), 1.5, RULE),
        lambda: for_temperature(flat(), 0.01, RULE),
    ):
        with pytest.raises(StatisticsError):
            call()
