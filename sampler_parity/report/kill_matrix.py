"""The kill matrix: which planted faults the gate named, and which correct samplers it let pass."""

from collections import Counter
from dataclasses import dataclass

from sampler_parity.engines.findings import EngineFault
from sampler_parity.faults.found import Correct, Planted
from sampler_parity.model.verdict import SEVERITY
from sampler_parity.report.words import place
from sampler_parity.run.run_file import Run

PLACES = {
    "shipped": "Planted in what users run: shortcuts, draw, batches",
    "port": "Planted in the port's stages",
    "plain": "Planted in a plain sampler",
    "stage": "Planted in a stage of the reference",
    "specimen": "Found: samplers as they were in use",
}
"""Where faults are planted, as a heading says it."""


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
    engines: tuple[EngineFault, ...] = ()

    @property
    def named(self) -> int:
        """How many engines were told apart as declared."""
        return sum(fault.killed for fault in self.engines)

    @property
    def planted(self) -> int:
        """How many faults there are."""
        return sum(len(group.faults) for group in self.groups)

    @property
    def killed(self) -> int:
        """How many were caught as declared."""
        return sum(group.killed for group in self.groups)


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
        engines=run.engine_faults,
    )
