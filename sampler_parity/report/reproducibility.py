"""How often torch differs from itself, beside how often each candidate differs from torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from sampler_parity.report.words import implementations, place
from sampler_parity.run.run_file import Run, Shard


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
class ReproducibilityRow:
    """How often one sampler differs from torch, stage by stage."""

    name: str
    against: str
    itself: bool
    rates: tuple[Rate, ...]


@dataclass(frozen=True, slots=True)
class ReproducibilityTable:
    """The reference's differences from itself, beside each candidate's.

    Attributes:
        stages: the columns.
        rows: torch first, then the candidates.
    """

    stages: tuple[str, ...]
    rows: tuple[ReproducibilityRow, ...]


def reproducibility(run: Run) -> ReproducibilityTable | None:
    """Put how often torch differs from itself beside how often each candidate differs from it."""
    names = {stage for shard in run.shards for found in shard.noise for stage in found.differing}
    if not names:
        return None
    stages = tuple(sorted(names, key=place))
    rows = []
    for shard in run.shards:
        for found in shard.noise:
            sides = f"{shard.capability} and {found.against.removeprefix('at ')}"
            if not found.against.startswith("at "):
                sides = f"{shard.capability} with two threads and {found.against}"
            rows.append(
                ReproducibilityRow(
                    "torch",
                    f"torch: {sides}",
                    itself=True,
                    rates=tuple(
                        Rate(found.differing.get(stage, 0), found.cases) for stage in stages
                    ),
                )
            )
    for name in implementations(run.shards):
        mine = [s for s in run.shards if s.implementation == name and s.live]
        rows.append(
            ReproducibilityRow(
                name, "torch", itself=False, rates=tuple(_rate(mine, s) for s in stages)
            )
        )
    return ReproducibilityTable(stages, tuple(rows))


def _rate(shards: Sequence[Shard], stage: str) -> Rate:
    found = [cell for shard in shards for cell in shard.cells if cell.stage == stage]
    return Rate(sum(cell.differing for cell in found), sum(cell.compared for cell in found))
