"""One error budget for a whole run: how often it may reject a sampler that is right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import Rule

FAMILY_WISE = 1e-6
TAIL_ACCURACY = 2.0
"""At the levels used here the true chance of a chi-square statistic beyond its critical value is
up to this factor from the nominal one, with at least ``MIN_EXPECTED`` draws expected in each cell.
``test_goodness.py`` computes the exact one."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The chance of any false rejection in a run, and the tests it is split over.

    Attributes:
        alpha: the budget.
        tests: how many tests are planned.

    Raises:
        StatisticsError: no test is planned, or the budget is not within (0, 0.01].
    """

    alpha: float
    tests: int

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 0.01:  # noqa: PLR2004  (more is no gate)
            raise StatisticsError(f"a budget within (0, 0.01] is needed, this one is {self.alpha}")
        if self.tests < 1:
            raise StatisticsError("no test is planned: nothing can be judged")

    @property
    def nominal(self) -> float:
        """What the p-values are held against, all tests together."""
        return self.alpha / TAIL_ACCURACY

    @property
    def rule(self) -> Rule:
        """What a test has for itself, were it the only one to reject: Holm's first step."""
        return Rule(self.nominal / self.tests)

    def sentence(self) -> str:
        """Say it in words."""
        return (
            f"A run of a sampler that is right rejects it with probability at most "
            f"{self.alpha:.0e}: half of that allows for the inaccuracy of chi-square tails, the "
            f"rest is shared by {self.tests} planned tests by Holm's procedure, so that a lone "
            f"p-value rejects at {self.rule.alpha:.1e} or below, both looks together."
        )


def holm(p_values: Sequence[float], alpha: float) -> tuple[list[float], list[bool]]:
    """Adjust p-values for their number by Holm's procedure, and reject those at most ``alpha``.

    Holm, A simple sequentially rejective multiple test procedure (1979); valid however the tests
    depend on one another.

    Raises:
        StatisticsError: a p-value is NaN or not within [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise StatisticsError("a p-value is not within [0, 1]")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted.tolist(), (adjusted <= alpha).tolist()
