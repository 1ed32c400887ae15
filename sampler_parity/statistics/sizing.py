"""How many draws a difference needs, and which difference draws show: both directions."""

from collections.abc import Callable

from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import Rule
from sampler_parity.statistics.kinds_of_test import frequencies
from sampler_parity.statistics.law import Subject
from sampler_parity.statistics.result import Planned

FEWEST = 4000
MOST = 2**40
PRECISION = 1.01


def shown_by(subject: Subject, draws: int, rule: Rule) -> Planned:
    """Plan a test of ``draws`` draws: the plan says what it catches.

    Raises:
        StatisticsError: the draws fill one cell only.
    """
    return frequencies(subject, draws, rule).planned


def for_temperature(subject: Subject, error: float, rule: Rule) -> int:
    """Give the draws that catch a temperature off by ``error``, 0.01 for one percent.

    Raises:
        StatisticsError: no number of draws does.
    """
    _check(error)

    def enough(planned: Planned) -> bool:
        smallest = planned.smallest_temperature
        return smallest is not None and smallest <= error

    return _fewest(subject, rule, enough)


def for_distance(subject: Subject, distance: float, rule: Rule) -> int:
    """Give the draws that catch ``distance`` of the mass moved between cells.

    Raises:
        StatisticsError: no number of draws does.
    """
    _check(distance)
    return _fewest(subject, rule, lambda planned: planned.smallest_distance <= distance)


def _check(difference: float) -> None:
    if not 0 < difference < 1:
        raise StatisticsError(f"a difference within (0, 1) is needed, not {difference}")


def _fewest(subject: Subject, rule: Rule, enough: Callable[[Planned], bool]) -> int:
    """Double until it is enough, then halve the gap, to one percent."""

    def shows(draws: int) -> bool:
        try:
            return enough(shown_by(subject, draws, rule))
        except StatisticsError:
            return False

    high = FEWEST
    while not shows(high):
        high *= 2
        if high > MOST:
            raise StatisticsError(f"no number of draws shows that difference on {subject.name}")
    low = high // 2
    while high > low * PRECISION + 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high
