"""What frequencies say: observed against expected, what would have been caught, p-values."""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from sampler_parity.report.charts import BOTH, CANDIDATE, HEIGHT, TORCH, WIDTH, altair, draw
from sampler_parity.report.words import counted, cut
from sampler_parity.run.run_file import Run
from sampler_parity.statistics.result import (
    Control,
    DecidedTest,
    Ecdf,
    Look,
    PowerStatement,
    StatisticsResult,
    Status,
)
from sampler_parity.statistics.words import PASSED

CHARTED = 12
"""Tests of a candidate that are drawn: rejected ones first."""

BARS = 64
"""Cells of a test that are drawn: those with the largest residuals."""

STEPS = 200
"""Points of the p-values' distribution function that are drawn."""

BAND = 3.0
"""Residuals beyond it are rare in a cell by itself: normal ones are in 1 of 370."""


@dataclass(frozen=True, slots=True)
class ShownTest:
    """A test with its outcome.

    Attributes:
        name: how reports call it.
        question: what it asks.
        catches: the smallest differences that it would have caught.
        decision: what follows.
        reason: why.
        looks: draws of each look, in words.
        p: the p-value of all looks; empty where there is none.
        adjusted: the same, adjusted for the number of tests.
        level: its level, were it the only one.
        statistics: those of the last look, by name.
        case: the sampler's parameters.
        scheme: how the cells were made.
        outside: tokens that cannot be drawn and were, with how often.
        power: the declared differences with the power against each.
        chart: observed against expected; ``None`` where nothing is drawn.
        words: what the chart shows.
    """

    name: str
    question: str
    catches: str
    decision: str
    reason: str
    looks: str
    p: str
    adjusted: str
    level: str
    statistics: tuple[tuple[str, str], ...]
    case: str
    scheme: str
    outside: tuple[tuple[str, int], ...]
    power: tuple[PowerStatement, ...]
    chart: Markup | None
    words: str


@dataclass(frozen=True, slots=True)
class EcdfFigure:
    """The p-values of many cases as a distribution function.

    Attributes:
        chart: it, with the diagonal and its band.
        words: what it shows.
    """

    chart: Markup
    words: str


@dataclass(frozen=True, slots=True)
class FrequenciesSection:
    """One candidate's frequencies.

    Attributes:
        anchor: the heading's id.
        candidate: the sampler.
        status: what follows from all of it.
        sentence: the same with its counts.
        reasons: why it does not hold.
        budget: the run's error budget in words.
        tests: every test, rejected ones first.
        waived: tests that were not planned, and why.
        controls: planted faults that must be caught, and the reference, that must not.
        held: how many of them came out as they should.
        ecdf: p-values of many cases; ``None`` where none were made.
        uniforms: constructed uniforms in a sentence, or that they were not tried, and why.
        missteps: where the sampler took another token than the one that owns the uniform.
    """

    anchor: str
    candidate: str
    status: Status
    sentence: str
    reasons: tuple[str, ...]
    budget: str
    tests: tuple[ShownTest, ...]
    waived: tuple[str, ...]
    controls: tuple[Control, ...]
    held: int
    ecdf: EcdfFigure | None
    uniforms: str
    missteps: tuple[str, ...]


def frequencies(run: Run) -> tuple[FrequenciesSection, ...]:
    """Lay out every candidate's frequencies; none where the run did not count."""
    return tuple(_section(number, result) for number, result in enumerate(run.statistics, 1))


def caught(run: Run) -> str:
    """Say the smallest temperature error that every run of frequencies would have caught."""
    smallest = []
    for result in run.statistics:
        errors = [
            test.planned.smallest_temperature
            for test in result.tests
            if test.planned.smallest_temperature is not None
        ]
        if not result.finished or not errors:
            return ""
        smallest.append(min(errors))
    if not smallest:
        return ""
    budgets = max(result.alpha for result in run.statistics)
    return (
        f"By frequencies alone, a temperature off by {max(smallest):.2%} would have been caught "
        f"with a probability of 0.99, at a false alarm in {budgets:g} of runs."
    )


def _section(number: int, result: StatisticsResult) -> FrequenciesSection:
    order = {"rejects": 0, "unfinished": 1, "tie_order": 2, "passes": 3}
    tests = sorted(result.tests, key=lambda test: order[test.decision])
    passed = sum(test.decision in PASSED for test in tests)
    ordered = sum(test.decision == "tie_order" for test in tests)
    held = sum(control.holds for control in result.controls)
    sentence = (
        f"{result.draws:,} draws in {result.seconds:.0f} s: {passed:,} of "
        f"{counted(len(tests), 'test')} pass, {held:,} of "
        f"{counted(len(result.controls), 'control')} came out as they must."
    )
    if ordered:
        sentence += (
            f" {counted(ordered, 'test')} of those that pass found another order of equal tokens."
        )
    undecided = sum(test.decision == "unfinished" for test in tests)
    if undecided and result.finished:
        sentence += (
            f" {counted(undecided, 'test')} came out marginal, and had no second look, since "
            "another had rejected before."
        )
    if not result.finished:
        sentence += " It was not finished, which is never a pass."
    uniforms = f"{result.untried[0].upper()}{result.untried[1:]}." if result.untried else ""
    if result.uniforms is not None:
        uniforms = (
            f"{result.uniforms.edges:,} constructed uniforms, at the edges between tokens: "
            f"{counted(len(result.uniforms.missteps), 'kind')} of misstep. {uniforms}"
        ).strip()
    return FrequenciesSection(
        anchor=f"frequencies-{number}",
        candidate=result.candidate,
        status=result.status,
        sentence=sentence,
        reasons=tuple(map(cut, result.reasons)),
        budget=cut(result.budget),
        tests=tuple(_test(test, drawn=place < CHARTED) for place, test in enumerate(tests)),
        waived=tuple(map(cut, result.waived)),
        controls=result.controls,
        held=held,
        ecdf=None if result.ecdf is None or not result.ecdf.p_values else _ecdf(result.ecdf),
        uniforms=cut(uniforms),
        missteps=() if result.uniforms is None else tuple(map(cut, result.uniforms.missteps)),
    )


def _test(test: DecidedTest, *, drawn: bool) -> ShownTest:
    planned = test.planned
    last = test.looks[-1] if test.looks else None
    words = ""
    chart = None
    if drawn and last is not None and len(last.observed) > 1:
        words = _words(last)
        chart = _residuals(last, words)
    units = counted(last.n, planned.unit.removesuffix("s")) if last else "nothing drawn"
    return ShownTest(
        name=planned.name,
        question=cut(planned.question),
        catches=cut(planned.catches),
        decision=test.decision,
        reason=cut(test.reason),
        looks=f"{units}, after a first look" if len(test.looks) > 1 else units,
        p=_p(test.p),
        adjusted=_p(test.adjusted),
        level=_p(planned.alpha),
        statistics=tuple(
            (name, f"{value:.4g}") for name, value in (last.statistics if last else {}).items()
        ),
        case=", ".join(f"{name} {value}" for name, value in planned.case.items()),
        scheme=cut(planned.scheme),
        outside=tuple(last.outside.items()) if last else (),
        power=planned.power,
        chart=chart,
        words=words,
    )


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _words(look: Look) -> str:
    largest = max(look.residuals, key=abs, default=0.0)
    beyond = sum(abs(residual) > BAND for residual in look.residuals)
    shown = min(len(look.residuals), BARS)
    which = "" if shown == len(look.residuals) else f", the {shown} farthest of them shown"
    return (
        f"Residuals, (observed - expected) / sqrt(expected), of {len(look.residuals):,} "
        f"cells{which}: {beyond:,} are beyond {BAND:g}, the largest is {largest:.2f}."
    )


def _residuals(look: Look, words: str) -> Markup:
    alt = altair()
    order = sorted(range(len(look.residuals)), key=lambda cell: -abs(look.residuals[cell]))
    values = [
        {
            "cell": cell + 1,
            "residual": round(look.residuals[cell], 3),
            "side": "beyond the band" if abs(look.residuals[cell]) > BAND else "inside",
        }
        for cell in sorted(order[:BARS])
    ]
    largest = max([BAND + 1, *map(abs, look.residuals)])
    y = alt.Y(
        "residual:Q",
        title="residual",
        scale=alt.Scale(
            domain=[-largest, largest], type="linear" if largest <= 10 * BAND else "symlog"
        ),
        axis=alt.Axis(tickCount=5),
    )
    ends = [1, len(look.residuals)]
    x = alt.X(
        "cell:Q",
        title="cell, as planned",
        scale=alt.Scale(domain=[ends[0] - 0.5, ends[1] + 0.5], nice=False),
        axis=alt.Axis(grid=False, tickCount=5, tickMinStep=1, format=",d"),
    )
    band = alt.Chart(alt.Data(values=[{"residual": BAND}, {"residual": -BAND}]))
    bars = alt.Chart(alt.Data(values=values)).mark_rule(strokeWidth=3)
    colours = alt.Scale(domain=["inside", "beyond the band"], range=[TORCH, CANDIDATE])
    chart = alt.layer(
        band.mark_rule(color=BOTH, strokeDash=[4, 3]).encode(y=y),
        bars.encode(x=x, y=y, y2=alt.datum(0), color=alt.Color("side:N", scale=colours)),
    )
    return draw(chart.properties(width=WIDTH, height=HEIGHT // 2 + 20), words)


def _ecdf(found: Ecdf) -> EcdfFigure:
    count = len(found.p_values)
    words = (
        f"Distribution function of the p-values of {count:,} cases, which follows the diagonal if "
        f"the sampler is right. It is {found.largest:.4f} from it at the farthest; uniform "
        f"p-values stay within the band, {found.band:.4f}, with a probability of {found.level:g}."
    )
    places = sorted({round(step * (count - 1) / STEPS) for step in range(STEPS + 1)})
    alt = altair()
    steps = [{"p": found.p_values[place], "share": (place + 1) / count} for place in places]
    edges: list[dict[str, Any]] = [
        {"p": p, "low": max(p - found.band, 0), "high": min(p + found.band, 1)}
        for p in (0, found.band, 1 - found.band, 1)
    ]
    x = alt.X("p:Q", title="p-value", scale=alt.Scale(domain=[0, 1], nice=False))
    y = alt.Y("share:Q", title="share of cases", scale=alt.Scale(domain=[0, 1], nice=False))
    band = alt.Chart(alt.Data(values=edges))
    chart = alt.layer(
        band.mark_line(color=BOTH, strokeDash=[4, 3]).encode(
            x=x, y=alt.Y("low:Q", title="share of cases")
        ),
        band.mark_line(color=BOTH, strokeDash=[4, 3]).encode(
            x=x, y=alt.Y("high:Q", title="share of cases")
        ),
        alt.Chart(alt.Data(values=steps))
        .mark_line(color=CANDIDATE, interpolate="step-after")
        .encode(x=x, y=y),
    )
    return EcdfFigure(draw(chart.properties(width=WIDTH, height=HEIGHT), words), words)
