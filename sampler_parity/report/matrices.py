"""The matrices: implementations x stages, and families x stages of each implementation."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sampler_parity.model.verdict import HARMLESS, SEVERITY, Verdict
from sampler_parity.report.words import implementations, place
from sampler_parity.run.run_file import Cell, FoundDivergence, Run, Shard
from sampler_parity.run.words import AGAINST, at

CellKind = Literal["absent", "equal", "waived", "harmless", "first", "later"]
Key = tuple[str, str, str]
"""Implementation, family and stage."""


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """A cell of a matrix.

    Attributes:
        compared: cases compared; 0 shows as not compared.
        differing: cases that differ.
        decided: cases whose verdict this stage decides, being their gravest cause: the gravest
            verdict first, each with its number of cases.
        verdict: the gravest kind of a cause at this stage which is not the case's gravest or
            first, of those that the run keeps; empty where the stage decides or is no cause.
        waived: every divergence kept here is covered by a waiver.
        anchor: what to link to; empty for nothing.
    """

    compared: int
    differing: int
    decided: tuple[tuple[str, int], ...] = ()
    verdict: str = ""
    waived: bool = False
    anchor: str = ""

    @property
    def kind(self) -> CellKind:
        """How the cell is shown."""
        if not self.compared and not self.differing:
            return "absent"
        if not self.differing:
            return "equal"
        if self.waived:
            return "waived"
        gravest = self.decided[0][0] if self.decided else self.verdict
        if not gravest:
            return "later"
        return "harmless" if Verdict(gravest) in HARMLESS else "first"


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """The cells of a family or an implementation, in the order of the matrix's stages."""

    name: str
    cells: tuple[MatrixCell, ...]
    note: str = ""
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Something x stages.

    Attributes:
        anchor: the caption's id.
        caption: what it shows.
        what: what the rows are.
        stages: the columns.
        unseen: stages without a column: compared in none of the rows.
        rows: one a family, or an implementation.
        totals: all families; none where rows do not add up to anything.
    """

    anchor: str
    caption: str
    what: str
    stages: tuple[str, ...]
    unseen: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    totals: tuple[MatrixCell, ...]


@dataclass(frozen=True, slots=True)
class ImplementationMatrices:
    """One implementation's matrix over all capabilities, and one for each."""

    name: str
    overall: Matrix
    breakdown: tuple[Matrix, ...]


@dataclass(slots=True)
class Kept:
    """What the kept divergences say of a cell: the kinds of its causes, and whether waived."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    waived: int = 0
    listed: int = 0


def implementations_by_stage(run: Run, stages: tuple[str, ...]) -> Matrix:
    """Lay out all implementations, each over all its capabilities."""
    stages, unseen = _compared(run.shards, stages)
    names = implementations(run.shards)
    rows = []
    for number, name in enumerate(names, 1):
        mine = [shard for shard in run.shards if shard.implementation == name]
        link = f"matrix-{number}"
        rows.append(
            MatrixRow(name, _cells(mine, stages, _seen(run, mine), {}), _shows(mine[0]), link)
        )
    if len(names) == 1 and len(run.shards) > 1:
        rows += [
            MatrixRow(
                f"{_at(group)}, {AGAINST[group[0].source]}",
                _cells(group[:1], stages, _seen(run, group[:1]), {}),
                anchor=f"matrix-1-{number}",
            )
            for number, group in enumerate(_alike(run.shards), 1)
        ]
    return Matrix(
        "matrix-all",
        "Implementations and stages",
        "implementation",
        stages,
        unseen,
        tuple(rows),
        (),
    )


def _shows(shard: Shard) -> str:
    about = shard.about
    shows = {
        "trace": "shows every stage",
        "probs": "shows its final distribution and its tokens",
        "tokens": "shows its tokens only",
    }[about.view]
    if about.stream == "own":
        shows += ", has its own generator"
    return f"{about.version}, {shows}" if about.version else shows


def matrices(
    run: Run, stages: tuple[str, ...], anchors: Mapping[Key, str]
) -> tuple[ImplementationMatrices, ...]:
    """Lay out families x stages of every implementation."""
    found: list[ImplementationMatrices] = []
    for number, name in enumerate(implementations(run.shards), 1):
        mine = [shard for shard in run.shards if shard.implementation == name]
        at = f"at {mine[0].capability}" if len(mine) == 1 else "over all capabilities"
        overall = _matrix(run, f"matrix-{number}", f"{name} {at}", mine, stages, anchors)
        breakdown = tuple(
            _matrix(
                run,
                f"matrix-{number}-{place_}",
                f"{name} {_at(group)}, against {AGAINST[group[0].source]}",
                group[:1],
                stages,
                {},
            )
            for place_, group in enumerate(_alike(mine) if len(mine) > 1 else (), 1)
        )
        found.append(ImplementationMatrices(name, overall, breakdown))
    return tuple(found)


def _alike(shards: Sequence[Shard]) -> tuple[tuple[Shard, ...], ...]:
    """Put shards together that were compared with the same and have the same cells."""
    groups: list[list[Shard]] = []
    for shard in shards:
        for group in groups:
            if (group[0].source, group[0].cells) == (shard.source, shard.cells):
                group.append(shard)
                break
        else:
            groups.append([shard])
    return tuple(tuple(group) for group in groups)


def _at(group: Sequence[Shard]) -> str:
    return at((shard.capability for shard in group), each=True)


def used_stages(run: Run, known: Iterable[str]) -> tuple[str, ...]:
    """Name every stage that a run knows, in the order of comparison."""
    stages = {cell.stage for shard in run.shards for cell in shard.cells}
    return tuple(sorted(stages | set(known), key=place))


def waived(run: Run, shard: Shard, found: FoundDivergence) -> bool:
    """Whether a waiver in force covers a divergence of ``shard``."""
    return shard.accepted > 0 and any(
        not entry.expired and entry.waiver.covers(found.family, found.divergence)
        for entry in run.waivers
        if entry.cases
    )


def _seen(run: Run, shards: Sequence[Shard]) -> dict[tuple[str, str], Kept]:
    """Collect by family and stage, and under the family ``""`` for all of them."""
    seen: dict[tuple[str, str], Kept] = {}
    for shard in shards:
        for found in shard.divergences:
            divergence = found.divergence
            covered = waived(run, shard, found)
            for stage in {divergence.first, divergence.stage, *divergence.also}:
                verdicts = [c.verdict for c in divergence.causes if c.stage == stage]
                if not divergence.causes and stage == divergence.stage:
                    verdicts = [divergence.verdict]
                for family in (found.family, ""):
                    cell = seen.setdefault((family, stage), Kept())
                    cell.verdicts.update(verdicts)
                    cell.waived += covered
                    cell.listed += 1
    return seen


def _matrix(
    run: Run,
    anchor: str,
    caption: str,
    shards: Sequence[Shard],
    stages: tuple[str, ...],
    anchors: Mapping[Key, str],
) -> Matrix:
    stages, unseen = _compared(shards, stages)
    seen = _seen(run, shards)
    families = dict.fromkeys(cell.family for shard in shards for cell in shard.cells)
    links = {key[1:]: link for key, link in anchors.items() if key[0] == shards[0].implementation}
    return Matrix(
        anchor=anchor,
        caption=caption,
        what="family",
        stages=stages,
        unseen=unseen,
        rows=tuple(
            MatrixRow(family, _cells(shards, stages, seen, links, family)) for family in families
        ),
        totals=_cells(shards, stages, seen, {}),
    )


def _compared(
    shards: Sequence[Shard], stages: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tell the stages that were compared from those that were not."""
    seen = {c.stage for shard in shards for c in shard.cells if c.compared or c.differing}
    return tuple(s for s in stages if s in seen), tuple(s for s in stages if s not in seen)


def _cells(
    shards: Sequence[Shard],
    stages: tuple[str, ...],
    seen: Mapping[tuple[str, str], Kept],
    links: Mapping[tuple[str, str], str],
    family: str | None = None,
) -> tuple[MatrixCell, ...]:
    counted: dict[str, list[Cell]] = {stage: [] for stage in stages}
    for shard in shards:
        for cell in shard.cells:
            if family in (None, cell.family) and cell.stage in counted:
                counted[cell.stage].append(cell)
    made = []
    for stage, found in counted.items():
        known = seen.get((family or "", stage), Kept())
        lesser = max(known.verdicts, key=SEVERITY.__getitem__, default=None)
        decided = _decided(found)
        made.append(
            MatrixCell(
                compared=sum(cell.compared for cell in found),
                differing=sum(cell.differing for cell in found),
                decided=decided,
                verdict=lesser.value if lesser and not decided else "",
                waived=0 < known.listed == known.waived,
                anchor=links.get((family or "", stage), ""),
            )
        )
    return tuple(made)


def _decided(cells: Sequence[Cell]) -> tuple[tuple[str, int], ...]:
    counts: Counter[str] = Counter()
    for cell in cells:
        counts.update(cell.verdicts)
    return tuple(sorted(counts.items(), key=lambda item: -SEVERITY[Verdict(item[0])]))
