"""The matrices: implementations x stages, and families x stages of each implementation."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sampler_parity.model.verdict import HARMLESS, SEVERITY, Verdict
from sampler_parity.report.words import implementations, place
from sampler_parity.run.run_file import Cell, FoundDivergence, Run, Shard

Kind = Literal["absent", "equal", "waived", "harmless", "first", "later"]
Key = tuple[str, str, str]
"""Implementation, family and stage."""


AGAINST = {"torch": "torch, live", "recorded": "torch, recorded"}
"""What a shard was compared with, in words."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A cell of a matrix.

    Attributes:
        compared: cases compared; 0 shows as not compared.
        differing: cases that differ.
        first: cases of which it is the first divergent stage.
        verdict: the gravest kind of a cause at this stage, of those that the run keeps; empty where
            none is a cause.
        waived: every divergence kept here is covered by a waiver.
        anchor: what to link to; empty for nothing.
    """

    compared: int
    differing: int
    first: int
    verdict: str = ""
    waived: bool = False
    anchor: str = ""

    @property
    def kind(self) -> Kind:
        """How the cell is shown."""
        if not self.compared and not self.differing:
            return "absent"
        if not self.differing:
            return "equal"
        if self.waived:
            return "waived"
        if self.verdict and Verdict(self.verdict) in HARMLESS:
            return "harmless"
        return "first" if self.first or self.verdict else "later"


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """The cells of a family or an implementation, in the order of the matrix's stages."""

    name: str
    tallies: tuple[Tally, ...]
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
    totals: tuple[Tally, ...]


@dataclass(frozen=True, slots=True)
class ImplementationMatrices:
    """One implementation's matrix over all capabilities, and one for each."""

    name: str
    overall: Matrix
    breakdown: tuple[Matrix, ...]


@dataclass(slots=True)
class Seen:
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
            MatrixRow(name, _tallies(mine, stages, _seen(run, mine), {}), _shows(mine[0]), link)
        )
    if len(names) == 1 and len(run.shards) > 1:
        rows += [
            MatrixRow(
                f"at {shard.capability}, {AGAINST[shard.source]}",
                _tallies([shard], stages, _seen(run, [shard]), {}),
                anchor=f"matrix-1-{number}",
            )
            for number, shard in enumerate(run.shards, 1)
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
                f"{name} at {shard.capability}, against {AGAINST[shard.source]}",
                [shard],
                stages,
                {},
            )
            for place_, shard in enumerate(mine if len(mine) > 1 else (), 1)
        )
        found.append(ImplementationMatrices(name, overall, breakdown))
    return tuple(found)


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


def _seen(run: Run, shards: Sequence[Shard]) -> dict[tuple[str, str], Seen]:
    """Collect by family and stage, and under the family ``""`` for all of them."""
    seen: dict[tuple[str, str], Seen] = {}
    for shard in shards:
        for found in shard.divergences:
            divergence = found.divergence
            covered = waived(run, shard, found)
            for stage in {divergence.first, divergence.stage, *divergence.also}:
                verdicts = [c.verdict for c in divergence.causes if c.stage == stage]
                if not divergence.causes and stage == divergence.stage:
                    verdicts = [divergence.verdict]
                for family in (found.family, ""):
                    cell = seen.setdefault((family, stage), Seen())
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
            MatrixRow(family, _tallies(shards, stages, seen, links, family)) for family in families
        ),
        totals=_tallies(shards, stages, seen, {}),
    )


def _compared(
    shards: Sequence[Shard], stages: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tell the stages that were compared from those that were not."""
    seen = {c.stage for shard in shards for c in shard.cells if c.compared or c.differing}
    return tuple(s for s in stages if s in seen), tuple(s for s in stages if s not in seen)


def _tallies(
    shards: Sequence[Shard],
    stages: tuple[str, ...],
    seen: Mapping[tuple[str, str], Seen],
    links: Mapping[tuple[str, str], str],
    family: str | None = None,
) -> tuple[Tally, ...]:
    cells: dict[str, list[Cell]] = {stage: [] for stage in stages}
    for shard in shards:
        for cell in shard.cells:
            if family in (None, cell.family) and cell.stage in cells:
                cells[cell.stage].append(cell)
    made = []
    for stage, found in cells.items():
        known = seen.get((family or "", stage), Seen())
        gravest = max(known.verdicts, key=SEVERITY.__getitem__, default=None)
        made.append(
            Tally(
                compared=sum(cell.compared for cell in found),
                differing=sum(cell.differing for cell in found),
                first=sum(cell.first for cell in found),
                verdict=gravest.value if gravest else "",
                waived=0 < known.listed == known.waived,
                anchor=links.get((family or "", stage), ""),
            )
        )
    return tuple(made)
