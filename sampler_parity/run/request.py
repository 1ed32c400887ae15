"""What to run."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from sampler_parity.build.processor import levels_here
from sampler_parity.cases.families import FAMILIES, YOURS
from sampler_parity.cases.plan import CASE_COUNTS, LOOK, planned_ids
from sampler_parity.cases.your_logits import YourLogits, is_yours
from sampler_parity.implementations.reference import require_reference
from sampler_parity.implementations.registry import PORT
from sampler_parity.model.case import CAPABILITIES
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.pipelines.exact import require_long_doubles
from sampler_parity.pipelines.references import reference_of
from sampler_parity.run.benchmark_file import Benchmark
from sampler_parity.run.run_file import read_run
from sampler_parity.run.waivers import Waiver, expired
from sampler_parity.sandbox.isolated import Limits, command_of

LONGEST = 1_000
"""Characters of a sentence that repeats what was asked for."""

LATEST = Path("reports/latest")
"""Where a run is stored that is told nothing else."""


def usual_folder(profile: str) -> Path:
    """Give where a run of ``profile`` is stored that is told nothing else.

    A quick look leaves what the gate has stored.
    """
    return LATEST.with_name(LOOK) if profile == LOOK else LATEST


def diverged_last_time(folder: Path) -> tuple[str, ...]:
    """Give the ids of the divergent cases that the run in ``folder`` keeps, each once.

    Raises:
        CannotJudgeError: there is no run in it, or one that cannot be read.
    """
    run = read_run(folder)
    return tuple(
        dict.fromkeys(
            found.case for shard in run.shards if shard.live for found in shard.divergences
        )
    )


def usual_capabilities(profile: str) -> tuple[str, ...]:
    """Give the capabilities of a run of ``profile`` that is told nothing else.

    A quick look is at the lowest of this processor's architecture.
    """
    return levels_here()[:1] if profile == LOOK else CAPABILITIES


def usual_families(logits: YourLogits | None) -> tuple[str, ...]:
    """Give the families of a run that is told none: all, and one's own logits first."""
    return tuple(FAMILIES) if logits is None else (YOURS, *FAMILIES)


@dataclass(frozen=True, slots=True)
class Request:
    """What to run.

    Attributes:
        profile: ``quick`` or ``full``, or ``quick-look``, which is not the gate.
        seed: every case is generated from it.
        implementations: the candidates.
        capabilities: those to compare at; fewer than all cannot be judged as holding.
        families: the families of cases; fewer than all likewise.
        jobs: worker processes at a time; ``None`` for one a processor.
        folder: where the run is stored.
        limits: what a candidate may use.
        reference: the pipeline that candidates are held against, as
            :func:`sampler_parity.pipelines.references.reference_of` finds it; empty for the two of
            the port.
        waivers: the divergences that are accepted.
        waivers_file: where they are, if not in ``parity.toml`` of the folder that the run is
            started in.
        today: the day on which waivers have expired or not.
        benchmark: what the report shows of speed; nothing is judged by it.
        logits: somebody's own, which are the family ``your-logits``.
        evidence: whether divergent cases are kept, with their logits, and made small.
        failed: the ids of cases that diverged last time, which are compared first.
        part: which part of the run this is, from 1, and of how many; ``None`` for all of it.
    """

    profile: str = "quick"
    seed: int = 0
    implementations: tuple[str, ...] = (PORT,)
    capabilities: tuple[str, ...] = CAPABILITIES
    families: tuple[str, ...] = tuple(FAMILIES)
    jobs: int | None = None
    folder: Path = LATEST
    limits: Limits = field(default_factory=Limits)
    reference: str = ""
    waivers: tuple[Waiver, ...] = ()
    waivers_file: Path | None = None
    today: date = field(default_factory=lambda: datetime.now(UTC).date())
    benchmark: Benchmark | None = None
    logits: YourLogits | None = None
    evidence: bool = True
    failed: tuple[str, ...] = ()
    part: tuple[int, int] | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is deselected."""
        if self.profile == LOOK:
            return False
        return set(self.capabilities) >= set(CAPABILITIES) and set(self.families) >= set(FAMILIES)

    @property
    def first(self) -> tuple[str, ...]:
        """The ids of the cases that diverged last time and that this run has as well."""
        counts = CASE_COUNTS[self.profile]
        ids = planned_ids(counts, self.seed, self.families, self.reference)
        yours = self.logits is not None
        return tuple(name for name in self.failed if name in ids or (yours and is_yours(name)))

    def waivers_of(self, implementation: str) -> tuple[Waiver, ...]:
        """Give the waivers that count for ``implementation``."""
        return tuple(
            waiver
            for waiver in self.waivers
            if waiver.implementation == implementation and not expired(waiver, self.today)
        )

    def check_names(self) -> None:
        """Look whether what is named is there, once, without loading any of it.

        Raises:
            CannotJudgeError: it is not, or the part is none.
        """
        for name, known, given in (
            ("profile", tuple(CASE_COUNTS), (self.profile,)),
            ("capability", CAPABILITIES, self.capabilities),
            ("family", usual_families(self.logits), self.families),
        ):
            for value in given:
                if value not in known:
                    raise CannotJudgeError(f"{name} {value!r} is none of {', '.join(known)}")
            if len(set(given)) < len(given):
                raise CannotJudgeError(f"a {name} is named twice: {', '.join(given)}"[:LONGEST])
        number, of = self.part or (1, 1)
        if not 1 <= number <= of:
            raise CannotJudgeError(f"part {number} is none of 1 to {of}: --shard I/N")

    def check(self) -> None:
        """Look whether the run can be made as it is asked for.

        Raises:
            CannotJudgeError: a value is unknown, or a waiver is for an implementation that is not
                run; or this platform cannot judge at all.
        """
        require_long_doubles()
        self.check_names()
        if self.logits is not None and YOURS not in self.families:
            raise CannotJudgeError(f"logits are given, and not compared: add --family {YOURS}")
        if self.reference:
            reference_of(self.reference)
        for name in self.implementations:
            command_of(name)
            require_reference(name, self.reference)
        if self.part and (self.profile == LOOK or self.failed):
            raise CannotJudgeError("a quick look, or --failed, is not for several machines")
        if self.failed and not self.first:
            raise CannotJudgeError(
                f"none of the {len(self.failed):,} cases that diverged last time, {self.failed[0]} "
                "among them, is one of this run: give the last run's seed and profile, or leave "
                "out --failed"
            )
        for waiver in self.waivers:
            if waiver.implementation not in self.implementations:
                raise CannotJudgeError(
                    f"the waiver of {waiver.words()} is for an implementation that is not run: "
                    f"add --implementation {waiver.implementation}, or name another file of waivers"
                )
