"""A result in a few lines, for a terminal."""

from collections.abc import Iterator

from sampler_parity.statistics.result import Checked, Control, StatisticsResult

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


def tested(test: Checked, result: StatisticsResult) -> str:
    """Say a test's outcome: its p-value, its statistics, and the level at which it is rejected."""
    words = [f"{result.candidate}, {test.planned.name}: {test.decision}"]
    words += [test.reason] if test.reason else []
    for look in test.looks:
        statistics = ", ".join(f"{name} {value:.4g}" for name, value in look.statistics.items())
        impossible = ", ".join(f"{token} ({n:,} times)" for token, n in look.outside.items())
        words += [statistics] if statistics else []
        words += [f"drawn, and impossible: {impossible}"] if impossible else []
    words.append(
        f"level {test.planned.alpha:.3g} by itself, of an error budget of {result.alpha:g} for all "
        "tests"
    )
    return "; ".join(words)


def controlled(control: Control) -> str:
    """Say what a control had to be, and was."""
    p = "" if control.p is None else f", p = {control.p:.3g}"
    return (
        f"{control.name}, before {control.test}: should be decided as {control.should!r} with a "
        f"probability of {control.power:.4g}, and was {control.decision!r}{p}"
    )
