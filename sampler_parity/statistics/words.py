"""A result in a few lines, for a terminal."""

from collections.abc import Iterator, Sequence

from sampler_parity.statistics.result import Control, DecidedTest, StatisticsResult

SHOWN = 3
"""Rejected tests that are named."""

MARGINAL = "marginal, and not looked at again, since another test had rejected before"
"""Why a test decides nothing of a candidate that is rejected anyway."""

PASSED = ("passes", "tie_order")
"""Decisions that reject nothing."""


def summary(result: StatisticsResult) -> Iterator[str]:
    """Say what was drawn, what it would have caught, and what was rejected."""
    passed = sum(test.decision in PASSED for test in result.tests)
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
    rejected = grouped([test for test in result.tests if test.decision == "rejects"])
    for words in rejected[:SHOWN]:
        yield f"  rejected: {words}"
    if len(rejected) > SHOWN:
        yield f"  rejected: {len(rejected) - SHOWN} more"
    for words in grouped([test for test in result.tests if test.decision == "tie_order"]):
        yield f"  not rejected: {words}"
    undecided = [test.planned.name for test in result.tests if test.decision == "unfinished"]
    if undecided and result.finished:
        yield f"  not decided: {_with_others(undecided)}: {MARGINAL}"
    if result.status == "unjudged":
        for reason in result.reasons:
            yield f"  not judged: {reason}"
    yield from _uniforms(result)
    for reason in result.waived:
        yield f"  waived: {reason}"


def _uniforms(result: StatisticsResult) -> Iterator[str]:
    if result.uniforms is not None:
        missteps = result.uniforms.missteps
        yield (
            f"  {result.uniforms.edges:,} constructed uniforms: "
            f"{len(missteps) or 'no'} kind{'' if len(missteps) == 1 else 's'} of misstep"
        )
        for misstep in missteps[:SHOWN]:
            yield f"  misstep: {misstep}"
    if result.untried:
        yield f"  {result.untried}"


def grouped(tests: Sequence[DecidedTest]) -> tuple[str, ...]:
    """Say why each test was decided as it was; what several tests say alike is said once."""
    names: dict[str, list[str]] = {}
    for test in tests:
        names.setdefault(test.reason, []).append(test.planned.name)
    return tuple(f"{_with_others(said)}: {reason}" for reason, said in names.items())


def _with_others(names: Sequence[str]) -> str:
    first, *others = names
    more = f" and {len(others)} other test{'s' if len(others) > 1 else ''}" if others else ""
    return f"{first}{more}"


def tested(test: DecidedTest, result: StatisticsResult) -> str:
    """Say a test's outcome: its p-value, its statistics, and the level at which it is rejected."""
    words = [f"{result.candidate}, {test.planned.name}: {test.decision}"]
    words += [test.reason] if test.reason else []
    for look in test.looks:
        statistics = ", ".join(f"{name} {value:.4g}" for name, value in look.statistics.items())
        impossible = ", ".join(f"{token} ({n:,} times)" for token, n in look.outside.items())
        words += [statistics] if statistics else []
        left_out = ", ".join(
            f"{token} ({n:,.0f} draws expected)" for token, n in look.missing.items()
        )
        words += [f"drawn, and impossible: {impossible}"] if impossible else []
        words += [f"never drawn, and kept by the reference: {left_out}"] if left_out else []
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
