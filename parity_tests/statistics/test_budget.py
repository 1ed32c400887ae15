"""One budget, and a second look that stays within it."""

import numpy as np
import pytest

from sampler_parity.statistics.budget import Budget, holm
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import Rule


def test_the_looks_add_up_to_the_level() -> None:
    rule = Rule(1e-8)
    assert rule.first + rule.margin * rule.second == pytest.approx(rule.alpha)


def test_a_combined_p_value_is_one() -> None:
    """At most x with probability at most x, by simulation where the margin matters."""
    rule = Rule(0.02, margin=0.1)
    rng = np.random.default_rng(1)
    looks = rng.random((60_000, 2))
    found = np.array(
        [
            rule.combined(first, second if rule.looks_again(first) else None)
            for first, second in looks.tolist()
        ]
    )
    for x in (0.005, 0.02, 0.05, 0.2):
        assert (found <= x).mean() <= x + 4 * np.sqrt(x / len(found))
    assert (found <= 0.02).mean() > 0.015, "and the level is used"
    # What is forbidden: looking again at every failure until one passes, or until one fails.
    until_it_fails = np.minimum(looks[:, 0], looks[:, 1])
    assert (until_it_fails <= 0.02).mean() > 0.03


def test_when_a_second_look_is_taken() -> None:
    rule = Rule(1e-6)
    assert not rule.looks_again(rule.first)
    assert rule.looks_again(rule.margin)
    assert not rule.looks_again(rule.margin * 1.001)
    assert rule.combined(0.4) == 0.8
    assert rule.combined(1e-4, 1e-4) == pytest.approx(2 * 1e-3 * 1e-4)
    for first, second in ((0.5, 0.1), (1e-9, 0.1), (np.nan, None), (1e-4, 1.5), (-0.1, None)):
        with pytest.raises(StatisticsError):
            rule.combined(first, second)
    for alpha in (0.0, -1.0, 0.01, np.nan):
        with pytest.raises(StatisticsError):
            Rule(alpha)


def test_holm() -> None:
    """The example of R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")."""
    adjusted, rejected = holm([0.01, 0.04, 0.03, 0.005], 0.05)
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert rejected == [True, False, False, True]
    assert holm([], 0.05) == ([], [])
    for bad in ([np.nan], [-0.1], [1.1]):
        with pytest.raises(StatisticsError):
            holm(bad, 0.05)


def test_the_family_is_within_the_budget() -> None:
    rng = np.random.default_rng(2)
    runs = rng.random((20_000, 12))
    any_rejected = np.mean([any(holm(run, 0.05)[1]) for run in runs[:4000].tolist()])
    assert any_rejected < 0.05 + 4 * np.sqrt(0.05 / 4000)
    uncorrected = (runs <= 0.05).any(axis=1).mean()
    assert uncorrected > 0.4, "without it, nearly every second run of a right sampler fails"


def test_a_budget() -> None:
    budget = Budget(1e-6, 20)
    assert budget.rule.alpha == pytest.approx(1e-6 / 2 / 20)
    assert "1e-06" in budget.sentence()
    assert "20 planned tests" in budget.sentence()
    for alpha, tests in ((0.0, 5), (0.5, 5), (np.nan, 5), (1e-6, 0)):
        with pytest.raises(StatisticsError):
            Budget(alpha, tests)
