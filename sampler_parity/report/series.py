"""Seed replay: the first call whose token is not torch's, and agreement from there on."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sampler_parity.report.charts import CANDIDATE, HEIGHT, WIDTH, altair, draw
from sampler_parity.report.words import Piece, Sentence, counted
from sampler_parity.run.run_file import Run, Series


@dataclass(frozen=True, slots=True)
class SeriesSection:
    """One implementation's series of one sampler, over all capabilities.

    Attributes:
        sentence: when the first token differs, or that none does.
        chart: the share of agreeing calls; ``None`` where all agree.
        words: what the chart shows.
    """

    sentence: Sentence
    chart: Markup | None = None
    words: str = ""


def series(run: Run) -> tuple[SeriesSection, ...]:
    """Lay out each implementation's series; none where the run has none."""
    kinds: dict[tuple[str, str, int, int], list[Series]] = {}
    for shard in run.shards:
        for part in shard.streams:
            key = (shard.implementation, part.sampler, part.calls, part.window)
            kinds.setdefault(key, []).append(part)
    return tuple(_section(name, parts) for (name, *_), parts in kinds.items())


def _section(name: str, parts: Sequence[Series]) -> SeriesSection:
    calls, window = parts[0].calls, parts[0].window
    firsts = [first for part in parts for first in part.first]
    who = (Piece(name, code=True), Piece(", "), Piece(parts[0].sampler, code=True), Piece(": "))
    of = f"{counted(len(firsts), 'series', 'series')} of {calls:,} successive calls"
    differing = [first for first in firsts if first]
    if not differing:
        return SeriesSection((*who, Piece(f"in {of}, not one token differs.")))
    agreeing = [sum(counts) for counts in zip(*(part.agreeing for part in parts), strict=False)]
    share = sum(agreeing) / (calls * len(firsts))
    found = Piece(
        f"{len(differing):,} of {of} differ, from call {min(differing):,} on at the earliest and "
        f"{max(differing):,} at the latest; {share:.1%} of the calls agree."
    )
    words = (
        f"Share of the calls that draw torch's token, {window} at a time: {of}, one generator each."
    )
    return SeriesSection((*who, found), _chart(agreeing, len(firsts), parts[0], words), words)


def _chart(agreeing: Sequence[int], number: int, part: Series, words: str) -> Markup:
    alt = altair()
    values = [
        {
            "call": place * part.window + 1,
            "share": count / (number * min(part.window, part.calls - place * part.window)),
        }
        for place, count in enumerate(agreeing)
    ]
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_line(color=CANDIDATE, interpolate="step-after")
        .encode(
            x=alt.X(
                "call:Q",
                title="call of the series",
                scale=alt.Scale(domain=[1, part.calls], nice=False),
                axis=alt.Axis(grid=False, tickCount=5, format=",d"),
            ),
            y=alt.Y(
                "share:Q",
                title="agree with torch",
                scale=alt.Scale(domain=[0, 1], nice=False),
                axis=alt.Axis(tickCount=5, format="%"),
            ),
        )
    )
    return draw(chart.properties(width=WIDTH, height=HEIGHT // 2 + 20), words)
