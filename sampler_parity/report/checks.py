"""What stands beside the comparison: planted faults, the noise floor, waivers and findings."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from markupsafe import Markup

from sampler_parity.faults.found import Correct, Planted
from sampler_parity.model.verdict import SEVERITY
from sampler_parity.report.charts import CANDIDATE, WIDTH, altair, draw
from sampler_parity.report.words import (
    Sentence,
    counted,
    cut,
    implementations,
    marked,
    place,
)
from sampler_parity.run.run_file import Run, Shard

PLACES = {
    "shipped": "Planted in what users run: shortcuts, draw, batches",
    "port": "Planted in the port's stages",
    "plain": "Planted in a plain sampler",
    "specimen": "Found: samplers as they were in use",
}
"""Where faults are planted, as a heading says it."""

FINDINGS = Path(__file__).parent / "findings.md"
"""A link to ``docs/findings.md``, which a wheel follows."""


@dataclass(frozen=True, slots=True)
class KillCell:
    """Faults that must be found at one stage with one verdict."""

    planted: int
    killed: int


@dataclass(frozen=True, slots=True)
class Group:
    """Faults of one place."""

    heading: str
    faults: tuple[Planted, ...]

    @property
    def killed(self) -> int:
        """How many were caught as declared."""
        return sum(fault.killed for fault in self.faults)

    @property
    def missed(self) -> float | None:
        """How probable it is, at most, that the cases miss one; ``None`` if that is not known."""
        return max((f.missed for f in self.faults if f.missed is not None), default=None)


@dataclass(frozen=True, slots=True)
class Kills:
    """The kill matrix.

    Attributes:
        verdicts: its columns.
        rows: stages, with a cell for each verdict; ``None`` where no fault is planted.
        groups: every fault, by place.
        correct: the samplers that must not be called wrong.
    """

    verdicts: tuple[str, ...]
    rows: tuple[tuple[str, tuple[KillCell | None, ...]], ...]
    groups: tuple[Group, ...]
    correct: tuple[Correct, ...]

    @property
    def planted(self) -> int:
        """How many faults there are."""
        return sum(len(group.faults) for group in self.groups)

    @property
    def killed(self) -> int:
        """How many were caught as declared."""
        return sum(group.killed for group in self.groups)


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of how many differ."""

    differing: int
    compared: int

    @property
    def words(self) -> str:
        """Per cent, with as many digits as the count has meaning."""
        if not self.compared:
            return "not compared"
        share = 100 * self.differing / self.compared
        if not self.differing:
            return "0"
        return f"{share:.2g} %" if share < 10 else f"{share:.0f} %"  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class NoiseRow:
    """How often one sampler differs from torch, stage by stage."""

    name: str
    against: str
    itself: bool
    rates: tuple[Rate, ...]


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """The reference's differences from itself, beside each candidate's.

    Attributes:
        stages: the columns.
        rows: torch first, then the candidates.
    """

    stages: tuple[str, ...]
    rows: tuple[NoiseRow, ...]


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


@dataclass(frozen=True, slots=True)
class WaiverRow:
    """A waiver with its age.

    Attributes:
        words: what it accepts.
        owner: who accepted it.
        reason: why.
        expires: its last day.
        left: how long it lasts from the day of the run, in words.
        cases: divergent cases that it covers.
        fails: it has expired, or covers nothing.
    """

    words: str
    owner: str
    reason: str
    expires: str
    left: str
    cases: int
    fails: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding of ``docs/findings.md``: its number, heading, and first paragraph."""

    number: str
    heading: Sentence
    words: Sentence


def kills(run: Run) -> Kills | None:
    """Lay out the planted faults; ``None`` where there are none."""
    if not run.planted and not run.correct:
        return None
    counts: Counter[tuple[str, str]] = Counter()
    killed: Counter[tuple[str, str]] = Counter()
    for fault in run.planted:
        counts[fault.stage, fault.verdict.value] += 1
        killed[fault.stage, fault.verdict.value] += fault.killed
    found = {fault.verdict for fault in run.planted}
    verdicts = tuple(verdict.value for verdict in sorted(found, key=SEVERITY.__getitem__))
    stages = sorted({fault.stage for fault in run.planted}, key=place)
    places = dict.fromkeys((*PLACES, *(fault.where for fault in run.planted)))
    return Kills(
        verdicts=verdicts,
        rows=tuple(
            (
                stage,
                tuple(
                    KillCell(counts[stage, verdict], killed[stage, verdict])
                    if counts[stage, verdict]
                    else None
                    for verdict in verdicts
                ),
            )
            for stage in stages
        ),
        groups=tuple(
            Group(PLACES.get(where, where), faults)
            for where in places
            if (faults := tuple(fault for fault in run.planted if fault.where == where))
        ),
        correct=run.correct,
    )


def noise_floor(run: Run) -> NoiseFloor | None:
    """Put how often torch differs from itself beside how often each candidate differs from it."""
    names = {stage for shard in run.shards for noise in shard.noise for stage in noise.differing}
    if not names:
        return None
    stages = tuple(sorted(names, key=place))
    rows = []
    for shard in run.shards:
        for noise in shard.noise:
            sides = f"{shard.capability} and {noise.against.removeprefix('at ')}"
            if not noise.against.startswith("at "):
                sides = f"{shard.capability} with two threads and {noise.against}"
            rows.append(
                NoiseRow(
                    "torch",
                    f"torch: {sides}",
                    itself=True,
                    rates=tuple(
                        Rate(noise.differing.get(stage, 0), noise.cases) for stage in stages
                    ),
                )
            )
    for name in implementations(run.shards):
        mine = [s for s in run.shards if s.implementation == name and s.source == "torch"]
        rows.append(
            NoiseRow(name, "torch", itself=False, rates=tuple(_rate(mine, s) for s in stages))
        )
    return NoiseFloor(stages, tuple(rows))


def _rate(shards: Sequence[Shard], stage: str) -> Rate:
    found = [cell for shard in shards for cell in shard.cells if cell.stage == stage]
    return Rate(sum(cell.differing for cell in found), sum(cell.compared for cell in found))


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


def waiver_rows(run: Run) -> tuple[WaiverRow, ...]:
    """Show every waiver with how long it still lasts, from the day of the run."""
    try:
        today = datetime.fromisoformat(run.started).date()
    except ValueError:
        today = None
    return tuple(
        WaiverRow(
            words=cut(entry.waiver.words()),
            owner=cut(entry.waiver.owner),
            reason=cut(entry.waiver.reason),
            expires=entry.waiver.expires.isoformat(),
            left=_left(entry.waiver.expires, today),
            cases=entry.cases,
            fails=entry.expired or not entry.cases,
        )
        for entry in run.waivers
    )


def _left(expires: date, today: date | None) -> str:
    if today is None:
        return ""
    days = (expires - today).days
    if days < 0:
        return f"expired {counted(-days, 'day')} before this run"
    return "its last day" if not days else f"{counted(days, 'day')} left"


def findings() -> tuple[Finding, ...]:
    """Read the findings' headings and first paragraphs; none where they are missing."""
    try:
        text = FINDINGS.read_text(encoding="utf-8")
    except OSError:
        return ()
    found = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        match = re.fullmatch(r"(F\d+)\. (.+)", heading.strip())
        if match:
            first = body.strip().split("\n\n", 1)[0]
            found.append(Finding(match[1], marked(match[2]), marked(" ".join(first.split()))))
    return tuple(found)
