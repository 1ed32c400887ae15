"""What the report says, as plain values: every count, order and sentence; the template lays out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sampler_parity.report.distances import Distances, distances
from sampler_parity.report.divergences import DETAILED, Divergences, divergences
from sampler_parity.report.findings import Finding, findings
from sampler_parity.report.frequencies import FrequenciesSection, frequencies
from sampler_parity.report.headline import Headline, contradictions, headline
from sampler_parity.report.kill_matrix import Kills, kills
from sampler_parity.report.matrices import (
    ImplementationMatrices,
    Matrix,
    implementations_by_stage,
    matrices,
    used_stages,
)
from sampler_parity.report.reproducibility import ReproducibilityTable, reproducibility
from sampler_parity.report.series import SeriesSection, series
from sampler_parity.report.speed import SpeedSection, speed
from sampler_parity.report.waivers import WaiverRow, waiver_rows
from sampler_parity.report.words import (
    STAGES,
    VERDICTS,
    Piece,
    Sentence,
    cases,
    cut,
    duration,
    marked,
    moment,
    stages_of,
)
from sampler_parity.run.proved import torch_remark
from sampler_parity.run.run_file import Against, Run, Shard
from sampler_parity.run.words import AGAINST, at

__all__ = ["DETAILED", "STAGES", "VERDICTS", "Report", "build", "contradictions"]


@dataclass(frozen=True, slots=True)
class ShardRow:
    """One shard's numbers, or the totals.

    Attributes:
        implementation: its name.
        capability: torch's dispatch level.
        source: where the reference's side came from.
        planned: cases planned.
        compared: cases compared.
        not_compared: cases planned and not compared.
        balanced: whether planned = compared + not compared.
        note: number of the footnote that says why; 0 for none.
        stages: stage comparisons.
        elements: numbers compared.
        tokens: tokens compared.
        divergent: cases that differ.
        accepted: of those, how many a waiver covers.
        threads: torch's thread counts, with the cases of each.
    """

    implementation: str
    capability: str
    source: str
    planned: int
    compared: int
    not_compared: int
    balanced: bool
    note: int
    stages: int
    elements: int
    tokens: int
    divergent: int
    accepted: int
    threads: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Numbers:
    """The table of key numbers.

    Attributes:
        rows: one a shard.
        totals: their sum.
        notes: why cases were not compared, numbered from 1.
    """

    rows: tuple[ShardRow, ...]
    totals: ShardRow
    notes: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the provenance."""

    name: str
    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The whole page, from top to bottom."""

    headline: Headline
    overview: Matrix
    numbers: Numbers
    matrices: tuple[ImplementationMatrices, ...]
    legend: tuple[tuple[str, str], ...]
    verdicts: tuple[tuple[str, str], ...]
    divergences: Divergences
    reproducibility: ReproducibilityTable | None
    distances: Distances | None
    series: tuple[SeriesSection, ...]
    frequencies: tuple[FrequenciesSection, ...]
    kills: Kills | None
    also: tuple[Sentence, ...]
    findings: tuple[Finding, ...]
    speed: SpeedSection | None
    waivers: tuple[WaiverRow, ...]
    started: str
    started_words: str
    command: str
    torch: str
    provenance: tuple[Heading, ...]


def build(run: Run, folder: Path | None = None) -> Report:
    """Work out everything the report says.

    Args:
        run: the run.
        folder: where its evidence is; without it there are no pictures of single cases.
    """
    shown, anchors = divergences(run, folder)
    stages = used_stages(run, stages_of(run.reference))
    started = moment(run.started)
    itself = reproducibility(run)
    this_run = {
        "profile": run.profile,
        "seed": str(run.seed),
        "started": started,
        "took": duration(run.seconds),
    }
    return Report(
        headline=headline(run),
        overview=implementations_by_stage(run, stages),
        numbers=_numbers(run.shards),
        matrices=matrices(run, stages, anchors),
        legend=tuple((stage, STAGES.get(stage, "not described here")) for stage in stages),
        verdicts=tuple((verdict.value, words) for verdict, words in VERDICTS.items()),
        divergences=shown,
        reproducibility=itself,
        distances=distances(run),
        series=series(run),
        frequencies=frequencies(run),
        kills=kills(run),
        # What the table of reproducibility shows is not said again.
        also=tuple(
            marked(finding)
            for finding in run.findings
            if itself is None or not finding.startswith("Torch differs from torch ")
        ),
        findings=findings(),
        speed=speed(run),
        waivers=waiver_rows(run),
        started=run.started,
        started_words=started,
        command=run.command,
        torch=cut(torch_remark(run)),
        provenance=(
            Heading("this run", tuple(this_run.items())),
            *(Heading(name, tuple(entries.items())) for name, entries in run.provenance.items()),
        ),
    )


def _numbers(shards: Sequence[Shard]) -> Numbers:
    notes: dict[tuple[str, Against, int, str], list[str]] = {}
    rows = []
    for shard in shards:
        note = 0
        if shard.not_compared:
            key = (shard.implementation, shard.source, shard.not_compared, shard.reason.strip())
            notes.setdefault(key, []).append(shard.capability)
            note = 1 + list(notes).index(key)
        rows.append(_row(shard, note=note))
    sentences = tuple(
        (
            Piece(name, code=True),
            Piece(
                f" {at(capabilities, each=True)}, {cases(count)} not compared with "
                f"{AGAINST[source]}: "
            ),
            *marked(reason or "no reason is given."),
        )
        for (name, source, count, reason), capabilities in notes.items()
    )
    threads: Counter[str] = Counter()
    for shard in shards:
        threads.update(shard.threads)
    totals = ShardRow(
        implementation="all",
        capability="",
        source="",
        planned=sum(row.planned for row in rows),
        compared=sum(row.compared for row in rows),
        not_compared=sum(row.not_compared for row in rows),
        balanced=all(row.balanced for row in rows),
        note=0,
        stages=sum(row.stages for row in rows),
        elements=sum(row.elements for row in rows),
        tokens=sum(row.tokens for row in rows),
        divergent=sum(row.divergent for row in rows),
        accepted=sum(row.accepted for row in rows),
        threads=_threads(threads),
    )
    return Numbers(tuple(rows), totals, sentences)


def _row(shard: Shard, *, note: int) -> ShardRow:
    return ShardRow(
        implementation=shard.implementation,
        capability=shard.capability,
        source=AGAINST[shard.source],
        planned=shard.planned,
        compared=shard.compared,
        not_compared=shard.not_compared,
        balanced=shard.planned == shard.compared + shard.not_compared,
        note=note,
        stages=shard.stages,
        elements=shard.elements,
        tokens=shard.tokens,
        divergent=shard.divergent,
        accepted=shard.accepted,
        threads=_threads(shard.threads),
    )


def _threads(threads: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(threads.items(), key=lambda item: (len(item[0]), item[0])))
