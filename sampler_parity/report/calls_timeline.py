"""The calls of one recording or two along a line: where they part, and what differs where."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup

from sampler_parity.engines.findings import KINDS, Kind, Step
from sampler_parity.report.charts import BOTH, CANDIDATE, NEITHER, TORCH, altair, draw

HEIGHT, ROW, BAND = 110, 17, 16
"""Pixels of the laws' panel, of a row of marks, and of the band that names the phases."""

SMALLEST = 1e-9
"""The smallest total variation that is drawn; a smaller one is drawn as this."""

DECADES = 1e-3
"""Where the axis of total variations ends at the latest: it has three powers of ten at least."""

LETTER = 6.5
"""Pixels that a letter of a band's name takes."""

MOST_BANDS = 80
"""Bands that can be told apart; where there are more, generations or none are shown."""

APART = 40
"""Marks of a row stand at least this share of the line apart: 1 / 40."""

SHAPES: dict[Kind, str] = {
    "loop": "circle",
    "sampler": "square",
    "parameters": "triangle-up",
    "vocabulary": "diamond",
    "stream": "cross",
    "logits": "triangle-down",
    "arithmetic": "triangle-right",
    "consequence": "triangle-left",
}

# Each stands for a variable of the page's style, which has it in light and in dark.
_COLOURS: dict[Kind, str] = {kind: f"#00000{place}" for place, kind in enumerate(KINDS, 1)}
_TINTS = ("#00000a", "#00000b")
_PAPER = "#00000c"
_VARIABLES = {
    _PAPER: "var(--paper)",
    **{colour: f"var(--kind-{kind})" for kind, colour in _COLOURS.items()},
    _TINTS[0]: "var(--tint)",
    _TINTS[1]: "var(--line)",
}


@dataclass(frozen=True, slots=True)
class Timeline:
    """The picture, wide and narrow.

    Attributes:
        wide: for windows of 48 rem and more.
        narrow: for the others.
        words: what it shows.
        laws: whether it shows how far the laws are apart.
    """

    wide: Markup
    narrow: Markup
    words: str
    laws: bool


@dataclass(frozen=True, slots=True)
class Column:
    """Successive places on the line, drawn as one.

    Attributes:
        first: number of the first place.
        last: number after the last one.
        variation: the largest total variation that is known of them; ``None`` where none is.
        marks: in which rows they stand.
    """

    first: int
    last: int
    variation: float | None
    marks: frozenset[str]


EQUAL, DIFFER, ALONE, UNKNOWN = "tokens equal", "tokens differ", "one side only", "law not known"


def columns(steps: Sequence[Step], most: int, *, pair: bool) -> tuple[Column, ...]:
    """Draw places together, so that there are at most ``most`` columns."""
    each = max(math.ceil(len(steps) / most), 1)
    return tuple(
        Column(
            first,
            min(first + each, len(steps)),
            max((s.variation for s in part if s.variation is not None), default=None),
            frozenset(mark for step in part for mark in _marks(step, pair=pair)),
        )
        for first in range(0, len(steps), each)
        for part in [steps[first : first + each]]
    )


def _marks(step: Step, *, pair: bool) -> Iterator[str]:
    yield from step.kinds
    if not pair:
        return
    if None in step.tokens:
        yield ALONE
    else:
        yield EQUAL if step.tokens[0] == step.tokens[1] else DIFFER
        if step.variation is None:
            yield UNKNOWN


def timeline(steps: Sequence[Step], *, pair: bool) -> Timeline | None:
    """Draw what happens at each place; ``None`` where there is none."""
    if not steps:
        return None
    words = in_words(steps, pair=pair)
    return Timeline(
        wide=_drawn(steps, 660, pair, words),
        narrow=_drawn(steps, 235, pair, words),
        words=words,
        laws=pair and any(step.variation for step in steps),
    )


def in_words(steps: Sequence[Step], *, pair: bool) -> str:
    """Say what the picture shows, with its numbers."""
    if not pair:
        marked = sum(bool(step.kinds) for step in steps)
        return f"{len(steps):,} places at which a token is drawn; at {marked:,} something is found."
    both = [step for step in steps if None not in step.tokens]
    differ = [step for step in both if step.tokens[0] != step.tokens[1]]
    known = [step.variation for step in both if step.variation is not None]
    places = f"{len(steps):,} places at which a token is drawn, {len(both):,} of them on both sides"
    told = [f"{places}; the tokens differ at {len(differ):,}"]
    if differ:
        told.append(f", first at call {differ[0].call} of phase {differ[0].phase}")
        told.append(f", generation {differ[0].generation}")
    told.append(". ")
    if known and max(known) > 0:
        apart = sum(one > 0 for one in known)
        told.append(
            f"The laws of the calls as each side made them are known at {len(known):,}, and differ "
            f"at {apart:,}, by {max(known):.3g} at most (total variation)."
        )
    elif known:
        told.append(f"The laws are known at {len(known):,} places, and equal at each.")
    else:
        told.append("The laws are known at no place.")
    return "".join(told)


def _drawn(steps: Sequence[Step], width: int, pair: bool, words: str) -> Markup:
    alt = altair()
    found = columns(steps, width // 3, pair=pair)
    x = alt.Scale(domain=[0, len(steps)], nice=False)
    first = parted(steps)
    panels = [
        panel
        for panel in (
            _bands(alt, steps, x, width),
            _laws(alt, found, x, width, first) if pair else None,
            _rows(alt, found, x, width, len(steps), first),
        )
        if panel is not None
    ]
    svg = draw(alt.vconcat(*panels, spacing=6), words)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg


def _bands(alt: Any, steps: Sequence[Step], x: Any, width: int) -> Any:
    """The phases, or the generations where there are too many phases."""
    several = len({step.generation for step in steps}) > 1

    def phase(step: Step) -> str:
        name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in step.phase)
        return f"{step.generation} {name}" if several else name

    values = _segments(steps, phase)
    if len(values) > MOST_BANDS:
        values = _segments(steps, lambda step: f"{step.generation}")
    if len(values) > MOST_BANDS:
        values = []
    for value in values:
        fits = int(width * (value["to"] - value["from"]) / len(steps) / LETTER)
        names = (value["label"], value["label"].partition(" ")[2])
        value["label"] = next((name for name in names if len(name) <= fits), "")
        value["middle"] = (value["from"] + value["to"]) / 2
    if not values:
        return None
    base = alt.Chart(alt.Data(values=values))
    place = alt.X("from:Q", scale=x, axis=None)
    rects = [
        base.transform_filter(f"datum.odd == {odd}")
        .mark_rect(color=tint)
        .encode(x=place, x2="to:Q")
        for odd, tint in enumerate(_TINTS)
    ]
    labels = base.mark_text(fontSize=11, color="#1c1d1f").encode(
        x=alt.X("middle:Q", scale=x, axis=None), text="label:N"
    )
    return alt.layer(*rects, labels).properties(width=width, height=BAND)


def _segments(steps: Sequence[Step], name: Callable[[Step], str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    at = 0
    for (_, _, label), part in groupby(steps, lambda step: (step.generation, "", name(step))):
        length = sum(1 for _ in part)
        found.append({"from": at, "to": at + length, "label": label, "odd": len(found) % 2})
        at += length
    return found


def parted(steps: Sequence[Step]) -> int | None:
    """Give the first place at which something is found; ``None`` where nothing is."""
    return next((place for place, step in enumerate(steps) if step.kinds), None)


def _rule(alt: Any, x: Any, first: int | None) -> Any:
    values = [] if first is None else [{"first": first}]
    rule = alt.Chart(alt.Data(values=values)).mark_rule(color="#1c1d1f", strokeDash=[3, 2])
    return rule.encode(x=alt.X("first:Q", scale=x))


def _laws(alt: Any, found: Iterable[Column], x: Any, width: int, first: int | None) -> Any:
    """The total variation between both sides' laws, the largest of each column."""
    known = [(one, one.variation) for one in found if one.variation]
    if not known:
        return None
    least = max(min(variation for _, variation in known), SMALLEST)
    floor = 10.0 ** min(math.floor(math.log10(least)), round(math.log10(DECADES)))
    values = [
        {"from": one.first, "to": one.last, "tv": max(variation, floor * 1.2)}
        for one, variation in known
    ]
    powers = range(round(math.log10(floor)), 1)
    step = max(len(powers) // 4, 1)
    axis = alt.Axis(values=[10.0**power for power in powers[::-1][::step]], format="~g")
    scale = alt.Scale(type="log", domain=[floor, 1], nice=False)
    bars = (
        alt.Chart(alt.Data(values=values))
        .mark_rect(color=TORCH)
        .encode(
            x=alt.X("from:Q", scale=x, axis=None),
            x2="to:Q",
            y=alt.Y("tv:Q", scale=scale, axis=axis, title="total variation"),
            y2=alt.datum(floor),
        )
    )
    return alt.layer(bars, _rule(alt, x, first)).properties(width=width, height=HEIGHT)


def _rows(
    alt: Any, found: Sequence[Column], x: Any, width: int, length: int, part: int | None
) -> Any:
    """A row for tokens that are equal, for those that differ, and for each kind there is."""
    marks = {mark for one in found for mark in one.marks}
    names = [name for name in (EQUAL, DIFFER, ALONE, UNKNOWN, *KINDS) if name in marks]
    if not names:
        return None
    colours: dict[str, str] = {str(kind): colour for kind, colour in _COLOURS.items()}
    colours |= {EQUAL: BOTH, DIFFER: CANDIDATE, ALONE: NEITHER, UNKNOWN: NEITHER}
    shapes: dict[str, str] = {str(kind): shape for kind, shape in SHAPES.items()}
    shapes[DIFFER] = "square"
    runs = [
        {"row": name, "from": first, "to": last}
        for name in names
        for first, last in _runs(found, name)
    ]
    marked = [
        {"row": name, "at": (first + min(last, first + length // APART)) / 2}
        for name in names
        if name in shapes
        for first, last in _spread(_runs(found, name), length)
    ]
    y = alt.Y(
        "row:N",
        sort=names,
        scale=alt.Scale(domain=names, padding=0.3),
        axis=alt.Axis(title=None, grid=False, ticks=False, domain=False),
    )
    colour = alt.Color(
        "row:N",
        scale=alt.Scale(domain=names, range=[colours[name] for name in names]),
        legend=None,
    )
    axis = alt.Axis(
        title="place in the recording", grid=False, tickCount=5, tickMinStep=1, format=",d"
    )
    rects = (
        alt.Chart(alt.Data(values=runs))
        .mark_rect()
        .encode(x=alt.X("from:Q", scale=x, axis=axis), x2="to:Q", y=y, color=colour)
    )
    points = (
        alt.Chart(alt.Data(values=marked))
        .mark_point(size=46, opacity=1, fill=_PAPER, strokeWidth=1.6)
        .encode(
            x=alt.X("at:Q", scale=x, axis=axis),
            y=y,
            stroke=colour,
            shape=alt.Shape(
                "row:N",
                scale=alt.Scale(domain=names, range=[shapes.get(name, "circle") for name in names]),
                legend=None,
            ),
        )
    )
    return alt.layer(rects, _rule(alt, x, part), points).properties(
        width=width, height=ROW * len(names)
    )


def _runs(found: Sequence[Column], name: str) -> Iterator[tuple[int, int]]:
    """Give the stretches of columns that stand in a row."""
    for there, part in groupby(found, lambda one: name in one.marks):
        if there:
            stretch = list(part)
            yield stretch[0].first, stretch[-1].last


def _spread(runs: Iterable[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    """Give the stretches that get a mark: the first, and those far enough from the last one."""
    before = -math.inf
    for first, last in runs:
        if first - before >= length / APART:
            before = first
            yield first, last
