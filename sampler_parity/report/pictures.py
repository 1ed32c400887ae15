"""Pictures that show a divergence, from its evidence.

Each one is chosen by the stage of the gravest cause: masks are shown on the sorted probabilities
and on the cumulative sum near ``top_p``, numbers by their distance in ulps or, where they are far
apart, side by side.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from sampler_parity.model.verdict import Divergence
from sampler_parity.report.charts import (
    BOTH,
    CANDIDATE,
    HEIGHT,
    NEITHER,
    TORCH,
    WIDTH,
    altair,
    draw,
)
from sampler_parity.report.evidence import Array, Evidence, ulps

POINTS = 60
"""Tokens in a picture: more cannot be told apart, and every one has its weight."""
NEAR = 7
"""Tokens to either side of a decision in the picture of the cumulative sum."""
LINEAR = 64
"""Ulps up to which a distance is drawn as it is, and not as its logarithm."""
WIDE = 30
"""The ratio of two probabilities beyond which an axis is logarithmic."""
FAINT = 1e-3
"""A token that nobody keeps, and this much less likely than all that are kept, is not shown."""
FAR = 1 << 16
"""Ulps beyond which two values are shown side by side and not by their distance."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart.

    Attributes:
        svg: the chart itself.
        words: what it shows, in a sentence.
    """

    svg: Markup
    words: str


def pictures(
    evidence: Evidence, divergence: Divergence, parameters: Mapping[str, object], candidate: str
) -> tuple[Picture, ...]:
    """Draw what shows a divergence; nothing where no stage can be shown."""
    row = divergence.index[0] if len(divergence.index) > 1 else 0
    stage = divergence.stage
    found: list[Picture | None] = []
    kept = _kept(evidence, stage, row)
    if kept is not None and (kept[0] != kept[1]).any():
        found.append(_masks(evidence, stage, row, kept, candidate))
        if stage != "top_k_mask":
            top_p = _number(str(parameters.get("top_p", "")))
            found.append(_crossing(evidence, row, top_p, kept, candidate))
    elif (sides := evidence.rows(stage, row)) is not None and sides[0].dtype == np.float32:
        found.append(_numbers(stage, *sides, candidate))
    return tuple(picture for picture in found if picture is not None)


def _kept(evidence: Evidence, stage: str, row: int) -> tuple[Array, Array] | None:
    """Give the tokens that each side has left after a stage that takes some away."""
    if stage not in {"top_k_mask", "top_p_mask", "renormalized"}:
        return None
    sides = evidence.rows(stage, row)
    if sides is None:
        return None
    torch, other = (side > 0 for side in sides)
    before = evidence.rows("top_k_mask", row)
    if stage == "top_p_mask" and before is not None:
        torch, other = torch & (before[0] > 0), other & (before[1] > 0)
    return torch, other


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _series(order: list[str], colours: list[str], shapes: list[str]) -> dict[str, Any]:
    alt = altair()
    return {
        "color": alt.Color("side:N", scale=alt.Scale(domain=order, range=colours)),
        "shape": alt.Shape("side:N", scale=alt.Scale(domain=order, range=shapes)),
    }


def _masks(
    evidence: Evidence, stage: str, row: int, kept: tuple[Array, Array], candidate: str
) -> Picture | None:
    """Sorted probabilities, each with who keeps it, and where each side's kept ones end."""
    probs = evidence.reference_row("probs", row)
    if probs is None:
        return None
    torch, other = kept
    order = np.argsort(-probs, kind="stable")
    # Where ties are cut, the kept ones come first, so that each side's cutoff is one place.
    order = order[np.lexsort((~torch[order], ~(torch & other)[order], -probs[order]))]
    ends = [int(mask.sum()) for mask in (torch, other)]
    ranks = _window(len(order), np.flatnonzero((torch != other)[order]), ends)
    kept_ones = probs[torch | other]
    faint = FAINT * float(kept_ones.min()) if kept_ones.size else 0.0
    names = ["kept by both", "torch only", f"{candidate} only", "by neither"]
    values = [
        {
            "rank": int(rank) + 1,
            "p": float(probs[order[rank]]),
            "side": names[_who(bool(torch[order[rank]]), bool(other[order[rank]]))],
        }
        for rank in ranks
        if probs[order[rank]] > faint
    ]
    if not values:
        return None
    alt = altair()
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_point(filled=True, size=26, opacity=1)
        .encode(
            x=_rank_axis(alt, ranks),
            y=_probability_axis(alt, values),
            **_series(
                names,
                [BOTH, TORCH, CANDIDATE, NEITHER],
                ["circle", "square", "triangle-up", "diamond"],
            ),
        )
    )
    rules = _cutoffs(alt, ends, ranks)
    lines = [
        f"{line} line" if ranks[0] <= end <= ranks[-1] + 1 else "beyond the picture"
        for line, end in zip(("solid", "dashed"), ends, strict=True)
    ]
    words = (
        f"Probabilities, sorted, with who keeps each token after {_AFTER[stage]}: "
        f"torch keeps {ends[0]:,} ({lines[0]}), {candidate} {ends[1]:,} ({lines[1]})."
    )
    return Picture(draw((chart + rules).properties(width=WIDTH, height=HEIGHT), words), words)


_AFTER = {
    "top_k_mask": "top-k",
    "top_p_mask": "top-k and top-p",
    "renormalized": "all truncation",
}


def _who(torch: bool, other: bool) -> int:
    return {(True, True): 0, (True, False): 1, (False, True): 2, (False, False): 3}[torch, other]


def _window(length: int, differing: Array, ends: list[int]) -> list[int]:
    """Choose the ranks to show: from the first one where that fits, else about the decisions."""
    last = int(differing.max()) if differing.size else max(ends)
    if last + NEAR < POINTS:
        return list(range(min(length, POINTS, last + 3 * NEAR)))
    first = min([*ends, int(differing.min()) if differing.size else last])
    start = max(min(first - NEAR, last - POINTS // 2), 0)
    return list(range(start, min(length, start + POINTS)))


def _rank_axis(alt: Any, ranks: list[int]) -> Any:
    first, last = ranks[0] + 1, ranks[-1] + 1
    step = max((last - first) // 5, 1)
    return alt.X(
        "rank:Q",
        title="rank, likeliest first",
        scale=alt.Scale(domain=[first - 0.5, last + 0.5], nice=False),
        axis=alt.Axis(grid=False, values=list(range(first, last + 1, step)), format=",d"),
    )


def _probability_axis(alt: Any, values: list[dict[str, Any]]) -> Any:
    sizes = [value["p"] for value in values]
    if max(sizes) <= WIDE * min(sizes):
        # Equal ones need room, or the axis has no number.
        scale = alt.Scale(zero=min(sizes) == max(sizes))
        return alt.Y("p:Q", title="probability", scale=scale, axis=alt.Axis(tickCount=5))
    powers = range(math.floor(math.log10(min(sizes))), math.ceil(math.log10(max(sizes))) + 1)
    axis = alt.Axis(values=[10.0**power for power in powers], format="~g")
    return alt.Y("p:Q", title="probability", scale=alt.Scale(type="log"), axis=axis)


def _cutoffs(alt: Any, ends: list[int], ranks: list[int]) -> Any:
    layers = []
    for end, colour, dash in zip(ends, (TORCH, CANDIDATE), ([1, 0], [4, 3]), strict=True):
        shown = [{"end": end + 0.5}] if ranks[0] <= end <= ranks[-1] + 1 else []
        rule = alt.Chart(alt.Data(values=shown)).mark_rule(color=colour, strokeDash=dash)
        layers.append(rule.encode(x="end:Q"))
    return alt.layer(*layers)


def _crossing(
    evidence: Evidence,
    row: int,
    top_p: float | None,
    kept: tuple[Array, Array],
    candidate: str,
) -> Picture | None:
    """The cumulative sum near top_p, with the last token that each side keeps."""
    probs = evidence.reference_row("probs", row)
    whole = evidence.reference_row("top_k_mask", row)
    if probs is None or whole is None or not top_p or top_p < 0:
        return None
    order = np.argsort(-probs, kind="stable")
    order = order[whole[order].astype(bool)]
    sums = np.cumsum(probs[order].astype(np.float64))
    ends = [int(mask.sum()) for mask in kept]
    if not len(order) or not min(ends):
        return None
    # Where the two decisions are far apart, the stretch between them is thinned out.
    start, stop = max(min(ends) - 1 - NEAR, 0), min(max(ends) + NEAR, len(order))
    shown = np.unique(np.linspace(start, stop - 1, POINTS).astype(int))
    alt = altair()
    line = [{"rank": rank + 1, "sum": float(sums[rank])} for rank in shown.tolist()]
    marks = [
        {"rank": end, "sum": float(sums[end - 1]), "side": side}
        for end, side in zip(
            ends, (f"torch ends at {ends[0]:,}", f"{candidate} at {ends[1]:,}"), strict=True
        )
        if start < end <= stop
    ]
    x = _rank_axis(alt, list(range(start, stop)))
    y = alt.Y(
        "sum:Q",
        title="cumulative probability",
        scale=alt.Scale(zero=False, nice=False),
        axis=alt.Axis(tickCount=5),
    )
    curve = (
        alt.Chart(alt.Data(values=line))
        .mark_line(interpolate="step-after", color=NEITHER, strokeWidth=1.5)
        .encode(x=x, y=y)
    )
    rule = (
        alt.Chart(alt.Data(values=[{"sum": top_p}]))
        .mark_rule(color="#1c1d1f", strokeDash=[2, 2])
        .encode(y="sum:Q")
    )
    sides = [str(mark["side"]) for mark in marks]
    points = (
        alt.Chart(alt.Data(values=marks))
        .mark_point(size=80, strokeWidth=2)
        .encode(
            x="rank:Q",
            y="sum:Q",
            **_series(sides, [TORCH, CANDIDATE][: len(sides)], ["circle", "diamond"][: len(sides)]),
        )
    )
    words = (
        f"The cumulative sum in exact order near top_p = {top_p:g} (dotted): torch's last token is "
        f"the {_ordinal(ends[0])}, where it reaches {sums[ends[0] - 1]:.7g}; {candidate}'s the "
        f"{_ordinal(ends[1])}, at {sums[min(ends[1], len(sums)) - 1]:.7g}."
    )
    layers = alt.layer(curve, rule, points).properties(width=WIDTH, height=HEIGHT)
    return Picture(draw(layers, words), words)


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    if number % 100 in {11, 12, 13}:
        ending = "th"
    return f"{number:,}{ending}"


def _numbers(stage: str, torch: Array, other: Array, candidate: str) -> Picture | None:
    distance = ulps(torch, other)
    if not np.abs(distance).max(initial=0):
        return None
    if np.abs(distance).max() > FAR:
        return _side_by_side(stage, torch, other, candidate)
    return _strip(stage, distance, candidate)


def _strip(stage: str, distance: Array, candidate: str) -> Picture:
    """How many ulps above or below the reference, token by token."""
    places = np.flatnonzero(distance)
    shown = places[np.argsort(-np.abs(distance[places]), kind="stable")][:POINTS]
    alt = altair()
    values = [{"token": int(i), "ulps": int(distance[i])} for i in sorted(shown)]
    largest = int(np.abs(distance).max())
    chart = alt.Chart(alt.Data(values=values)).mark_tick(
        orient="horizontal", color=CANDIDATE, thickness=2, size=7
    )
    zero = alt.Chart(alt.Data(values=[{"ulps": 0}])).mark_rule(color=TORCH).encode(y="ulps:Q")
    bars = (
        alt.Chart(alt.Data(values=values))
        .mark_rule(color=CANDIDATE, opacity=0.4)
        .encode(x="token:Q", y="ulps:Q", y2=alt.datum(0))
    )
    marks = chart.encode(
        x=alt.X("token:Q", title="token", scale=alt.Scale(domain=[0, max(len(distance) - 1, 1)],
                nice=False), axis=alt.Axis(grid=False, tickCount=6, format=",d")),
        y=alt.Y("ulps:Q", title="ulps from torch", axis=alt.Axis(tickMinStep=1, tickCount=5),
                scale=alt.Scale(type="linear" if largest <= LINEAR else "symlog")),
    )  # fmt: skip
    count = f"{len(places):,} of {len(distance):,} tokens"
    which = "" if len(places) <= POINTS else f", the {POINTS} farthest of them shown"
    words = (
        f"How far {candidate}'s {stage} are from torch's (the line at 0): {count} differ{which}, "
        f"by {largest:,} ulp at most."
    )
    layers = alt.layer(zero, bars, marks).properties(width=WIDTH, height=HEIGHT // 2)
    return Picture(draw(layers, words), words)


def _side_by_side(stage: str, torch: Array, other: Array, candidate: str) -> Picture | None:
    """Both sides' values, in the order of the reference's."""
    order = np.argsort(-np.nan_to_num(torch, nan=-np.inf), kind="stable")
    # What is zero on both sides shows nothing.
    order = order[(torch[order] != 0) | (other[order] != 0)]
    differing = np.flatnonzero(torch[order] != other[order])
    ranks = _window(len(order), differing[:1], [0, 0]) if len(order) else []
    names = ["torch", candidate]
    values = [
        {"rank": rank + 1, "p": float(side[order[rank]]), "side": name}
        for rank in ranks[: POINTS // 2]
        for side, name in zip((torch, other), names, strict=True)
        if np.isfinite(side[order[rank]])
    ]
    if not values:
        return None
    alt = altair()
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_point(size=34, strokeWidth=1.5)
        .encode(
            x=_rank_axis(alt, ranks[: POINTS // 2]),
            y=alt.Y("p:Q", title=stage, scale=alt.Scale(zero=False)),
            **_series(names, [TORCH, CANDIDATE], ["circle", "cross"]),
        )
    )
    kept = [int(np.count_nonzero(side)) for side in (torch, other)]
    words = f"Both sides' {stage}, in the order of torch's"
    if stage == "renormalized":
        words += f": torch keeps {kept[0]:,} of {len(torch):,} tokens, {candidate} {kept[1]:,}"
    return Picture(draw(chart.properties(width=WIDTH, height=HEIGHT), f"{words}."), f"{words}.")
