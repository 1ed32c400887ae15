"""How far divergences are from torch, in ulps."""

from collections import Counter
from dataclasses import dataclass

from markupsafe import Markup

from sampler_parity.report.charts import CANDIDATE, WIDTH, altair, draw
from sampler_parity.report.words import place
from sampler_parity.run.run_file import Run


@dataclass(frozen=True, slots=True)
class Bucket:
    """First differences of one size: between 2^n and 2^(n + 1) ulps."""

    words: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Distances:
    """Histogram of distances in ulps, by stage.

    Attributes:
        stages: its columns.
        buckets: its rows.
        kept: how many divergences it counts.
        chart: the same as a chart.
    """

    stages: tuple[str, ...]
    buckets: tuple[Bucket, ...]
    kept: int
    chart: Markup


def distances(run: Run) -> Distances | None:
    """Count the kept divergences that have a distance in ulps, by stage and power of two."""
    counts: Counter[tuple[str, int]] = Counter()
    for shard in run.shards:
        for found in shard.divergences:
            if found.divergence.ulps:
                counts[found.divergence.stage, found.divergence.ulps.bit_length() - 1] += 1
    if not counts:
        return None
    stages = tuple(sorted({stage for stage, _ in counts}, key=place))
    largest = max(power for _, power in counts)
    powers = [p for p in range(largest + 1) if any(counts[stage, p] for stage in stages)]
    return Distances(
        stages=stages,
        buckets=tuple(
            Bucket(_ulps(power), tuple(counts[stage, power] for stage in stages))
            for power in powers
        ),
        kept=counts.total(),
        chart=_histogram(counts, stages, powers),
    )


def _ulps(power: int) -> str:
    low, high = 1 << power, (2 << power) - 1
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _histogram(
    counts: Counter[tuple[str, int]], stages: tuple[str, ...], powers: list[int]
) -> Markup:
    alt = altair()
    values = [
        {"stage": stage, "ulps": f"2^{power}", "cases": counts[stage, power]}
        for stage in stages
        for power in powers
        if counts[stage, power]
    ]
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_bar(color=CANDIDATE)
        .encode(
            x=alt.X(
                "ulps:O",
                sort=[f"2^{power}" for power in powers],
                title="distance of the first difference, in ulps",
                axis=alt.Axis(labelAngle=0, labelOverlap=True),
            ),
            y=alt.Y("cases:Q", title=None, axis=alt.Axis(tickCount=2, tickMinStep=1)),
        )
        .properties(width=WIDTH, height=44)
        .facet(row=alt.Row("stage:N", sort=list(stages), title=None,
                           header=alt.Header(labelAngle=0, labelAlign="left", labelOrient="top",
                                             labelColor="#1c1d1f", labelPadding=2)),
               spacing=8)
    )  # fmt: skip
    words = f"Histogram of distances in ulps, one row a stage: {', '.join(stages)}."
    return draw(chart, words)
