"""How fast the port was measured to be, and whether that is still true of what the run judged."""

import re
from dataclasses import dataclass

from markupsafe import Markup

from sampler_parity.report.charts import CANDIDATE, NEITHER, TORCH, WIDTH, altair, draw
from sampler_parity.report.words import Sentence, cut, duration, marked, moment
from sampler_parity.run.benchmark_file import (
    Bar,
    Benchmark,
    Ratio,
    Timing,
    Where,
    faster_peers,
)
from sampler_parity.run.run_file import Run

WHERE: dict[Where, str] = {"python": "from Python", "rust": "in Rust"}
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")


@dataclass(frozen=True, slots=True)
class BarRow:
    """A bar.

    Attributes:
        call: what was called.
        where: on which logits, from Python or in Rust.
        words: what the ratio is.
        measured: the median with the lowest and highest round.
        bound: what it is held against.
        reached: whether it passes.
    """

    call: Sentence
    where: str
    words: str
    measured: str
    bound: str
    reached: bool


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """A call.

    Attributes:
        call: its function and parameters.
        logits: where they come from.
        us: the port's microseconds a token.
        ratios: for each column its ratio, and whether that is a peer that is faster.
    """

    call: Sentence
    logits: str
    us: str
    ratios: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class SpeedTable:
    """The calls that were timed in one language.

    Attributes:
        heading: which.
        sides: its columns.
        rows: its rows.
    """

    heading: str
    sides: tuple[str, ...]
    rows: tuple[SpeedRow, ...]


@dataclass(frozen=True, slots=True)
class SpeedSection:
    """The section.

    Attributes:
        measured: where, when and how.
        doubts: why it may not be true of what the run judged.
        reached: how many bars are.
        bars: missed ones first.
        chart: ratios of single rows; ``None`` where nothing is to be drawn.
        words: what the chart shows.
        faster: peers that are faster than the port, one sentence each.
        tables: every timing.
        peers: each peer with its version and what was called, or why it was not measured.
    """

    measured: str
    doubts: tuple[str, ...]
    reached: int
    bars: tuple[BarRow, ...]
    chart: Markup | None
    words: str
    faster: tuple[Sentence, ...]
    tables: tuple[SpeedTable, ...]
    peers: tuple[tuple[str, str], ...]


def speed(run: Run) -> SpeedSection | None:
    """Lay out the run's benchmark; ``None`` where it has none."""
    found = run.benchmark
    if found is None:
        return None
    machine = found.provenance.get("machine", {}).get("processor", "an unknown processor")
    measured = (
        f"Measured on {moment(found.started)}, on {machine}, in {duration(found.seconds)}, at "
        f"{found.capability}; all threads are {found.threads}."
    )
    words, chart = _chart(found)
    bars = sorted(found.bars, key=lambda bar: bar.reached)
    return SpeedSection(
        measured=cut(measured),
        doubts=doubts(found, run),
        reached=len(found.bars) - len(found.missed),
        bars=tuple(map(_bar, bars)),
        chart=chart,
        words=words,
        faster=tuple(map(marked, faster_peers(found))),
        tables=tuple(
            table for where in ("python", "rust") if (table := _table(found, where)) is not None
        ),
        peers=tuple(
            (
                cut(f"{peer.name} {peer.version}".strip()),
                cut(f"not measured: {peer.missing}" if peer.missing else peer.words),
            )
            for peer in found.peers
        ),
    )


def doubts(found: Benchmark, run: Run) -> tuple[str, ...]:
    """Say what sets the benchmark apart from the run: its build, its commit, torch, the machine."""

    def both(heading: str, name: str) -> tuple[str, str]:
        unknown = "unknown"
        sides = (found.provenance, run.provenance)
        theirs, ours = (cut(side.get(heading, {}).get(name, unknown)) for side in sides)
        return theirs, ours

    said = []
    built, build = both("extension", "source_hash")
    measured, commit = map(_short, both("sources", "commit"))
    if built != build or built == "unknown":
        said.append(
            "It was not measured with the extension that this run judged: that was built from "
            f"other Rust sources (measured at commit {measured}; this run is of {commit}). "
            "Measure again with make bench."
        )
    elif measured != commit:
        said.append(
            f"It was measured at another commit, {measured}, from the same Rust sources; this run "
            f"is of {commit}."
        )
    for heading, name, words in (
        ("versions", "torch", "with another torch"),
        ("machine", "processor", "on another machine"),
    ):
        other, here = both(heading, name)
        if other != here:
            said.append(f"It was measured {words}: {other}; this run has {here}.")
    if found.disturbed:
        said.append(found.disturbed)
    if found.quick:
        said.append("It is a quick measurement: its rounds are few and short.")
    return tuple(said)


def _short(commit: str) -> str:
    """Leave twelve digits of a commit's hash, and what is said after it."""
    return re.sub(r"^([0-9a-f]{12})[0-9a-f]{28}", r"\1", commit)


def _bar(bar: Bar) -> BarRow:
    return BarRow(
        call=marked(bar.work.words()),
        where=cut(f"{bar.work.logits} logits, {WHERE[bar.where]}"),
        words=cut(bar.words),
        measured=_ratio(bar.ratio),
        bound=f"at {'least' if bar.at_least else 'most'} {bar.bound:g}",
        reached=bar.reached,
    )


def _ratio(ratio: Ratio) -> str:
    median, lowest, highest = (
        f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"  # noqa: PLR2004
        for value in (ratio.median, ratio.lowest, ratio.highest)
    )
    return f"{median} ({lowest} to {highest})"


def _table(found: Benchmark, where: Where) -> SpeedTable | None:
    timings = [timing for timing in found.timings if timing.where == where]
    if not timings:
        return None
    names = tuple(dict.fromkeys(side.name for timing in timings for side in timing.sides))
    peers = {peer.name for peer in found.peers}
    rows = tuple(_row(timing, names, peers) for timing in timings)
    return SpeedTable(f"Calls {WHERE[where]}", tuple(map(cut, names)), rows)


def _row(timing: Timing, names: tuple[str, ...], peers: set[str]) -> SpeedRow:
    ratios = {side.name: side.ratio for side in timing.sides}
    return SpeedRow(
        call=marked(timing.work.words()),
        logits=cut(timing.work.logits),
        us=f"{timing.us:,.1f}",
        ratios=tuple(
            (_ratio(ratios[name]), name in peers and ratios[name].median < 1)
            if name in ratios
            else ("", False)
            for name in names
        ),
    )


def _chart(found: Benchmark) -> tuple[str, Markup | None]:
    """Draw single rows of Gaussian logits: how many times the port's time the others take."""
    peers = {peer.name for peer in found.peers}
    points = [
        {"vocab": f"{timing.work.vocab:,}", "side": cut(side.name), "ratio": side.ratio.median}
        for timing in found.timings
        for side in timing.sides
        if (timing.work.function, timing.work.batch) == ("sample_logits", 1)
        if timing.work.logits == "Gaussian"
        if timing.where == "python" or side.name in peers
    ]
    if not points:
        return "", None
    vocabs = list(dict.fromkeys(point["vocab"] for point in points))
    sides = list(dict.fromkeys(str(point["side"]) for point in points))
    words = (
        "How many times as long as the port each of them takes for one row of Gaussian logits, by "
        f"the row's length: {', '.join(sides)}. Left of the line, at 1, is faster than the port."
    )
    alt = altair()
    x = alt.X(
        "ratio:Q",
        title="times the port's time (log scale)",
        scale=alt.Scale(type="log", nice=True),
        axis=alt.Axis(tickCount=4, format="~g"),
    )
    shown = {
        "color": alt.Color(
            "side:N",
            scale=alt.Scale(
                domain=sides,
                range=[TORCH if side.startswith("torch,") else NEITHER for side in sides],
            ),
        ),
        "shape": alt.Shape(
            "side:N",
            scale=alt.Scale(
                domain=sides, range=[SHAPES[n % len(SHAPES)] for n in range(len(sides))]
            ),
        ),
    }
    chart = alt.layer(
        alt.Chart(alt.Data(values=[{"ratio": 1}]))
        .mark_rule(color=CANDIDATE, strokeDash=[4, 3])
        .encode(x=x),
        alt.Chart(alt.Data(values=points))
        .mark_point(filled=True, size=45, opacity=1)
        .encode(
            x=x, y=alt.Y("vocab:N", sort=vocabs, title="V", axis=alt.Axis(titleAngle=0)), **shown
        ),
    )
    return words, draw(chart.properties(width=WIDTH, height=24 * len(vocabs)), words)
