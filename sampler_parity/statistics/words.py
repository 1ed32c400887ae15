"""A result in a few lines, for a terminal."""

from collections.abc import Iterator

from sampler_parity.statistics.result import StatisticsResult

SHOWN = 3
"""Rejected tests that are named."""


def summary(result: StatisticsResult) -> Iterator[str]:
    """Say what was drawn, what it would have caught, and what was rejected."""
    passed = sum(test.decision == "passes" for test in result.tests)
    held = sum(control.holds for control in result.controls)
    yield (
        f"frequencies of {result.candidate}: {result.draws:,} draws, {passed} of "
        f"{len(result.tests)} tests pass, {held} of {len(result.controls)} controls hold, "
        f"error budget {result.alpha:g}"
    )
    smallest = [
        (test.planned.smallest_temperature, test.planned.name)
        for test in result.tests
        if test.planned.smallest_temperature is not None
    ]
    if smallest:
        error, name = min(smallest)
        yield f"  caught with power 0.99: a temperature off by {error:.2%} ({name})"
    rejected = [test for test in result.tests if test.decision == "rejects"]
    for test in rejected[:SHOWN]:
        yield f"  rejected: {test.planned.name}: {test.reason}"
    if len(rejected) > SHOWN:
        yield f"  rejected: {len(rejected) - SHOWN} more"
    if result.status == "unjudged":
        for reason in result.reasons:
            yield f"  not judged: {reason}"
    for reason in result.waived:
        yield f"  waived: {reason}"
