"""A stored run: everything the report is written from."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from sampler_parity.cases.your_logits import YourLogits
from sampler_parity.engines.findings import EngineFault
from sampler_parity.faults.found import Correct, Planted
from sampler_parity.model.case import Described
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import write_atomically
from sampler_parity.model.implementation import About
from sampler_parity.model.verdict import SEVERITY, Divergence
from sampler_parity.run.benchmark_file import Benchmark
from sampler_parity.run.stored import decoded
from sampler_parity.run.waivers import AppliedWaiver
from sampler_parity.statistics.result import StatisticsResult, Status

SCHEMA = 3
RunStatus = Status | Literal["equal"]
"""A gate's status; or that nothing differs in a quick look, which is not the gate."""
RUN_NAME = "run.json"
EVIDENCE = "evidence"


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of one family.

    Attributes:
        family: the kind of logits.
        stage: a stage, ``error`` or effect.
        compared: cases in which it was compared.
        differing: cases in which it differs.
        first: cases of which it is the first divergent stage.
        verdicts: cases whose verdict this stage decides, being their gravest cause, by verdict.
    """

    family: str
    stage: str
    compared: int
    differing: int
    first: int
    verdicts: dict[str, int] = {}


class Shrunken(msgspec.Struct, frozen=True, kw_only=True):
    """A divergent case made small.

    Attributes:
        described: the case without its logits' values.
        logits: its logits in words, row by row; empty where they are too many to be read.
        divergence: its divergence: the same verdict at the same stage.
        evidence: safetensors file of both sides' stages, relative to the run.
        replay: the command that runs it again.
        tried: how many cases were run to find it.
    """

    described: Described
    logits: tuple[str, ...]
    divergence: Divergence
    evidence: str
    replay: str
    tried: int


class FoundDivergence(msgspec.Struct, frozen=True, kw_only=True):
    """A divergent case.

    Attributes:
        case: the case's id.
        family: the kind of logits.
        described: the case without its logits' values.
        divergence: the first divergent stage.
        evidence: safetensors file of both sides' stages, relative to the run; ``None`` past the
            number of files a run keeps.
        replay: the command that runs this case again.
        shrunken: the smallest case found that has the same verdict at the same stage.
        earlier: files of the earlier cases that a ``stateful`` one depends on, in order, relative
            to the run; empty where they are many, or recorded.
    """

    case: str
    family: str
    described: Described
    divergence: Divergence
    evidence: str | None
    replay: str
    shrunken: Shrunken | None = None
    earlier: tuple[str, ...] = ()


class Reproducibility(msgspec.Struct, frozen=True, kw_only=True):
    """How far the reference is from itself, computed otherwise.

    Attributes:
        against: at which other capability, or with which other thread count.
        cases: cases of ``sample_logits`` that were compared.
        differing: of those, how many differ, by stage; the token is the first call's.
    """

    against: str
    cases: int
    differing: dict[str, int]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Series of calls with one generator: for how long torch's tokens were drawn.

    Attributes:
        sampler: which of the two.
        calls: how many calls a series has.
        first: of each series, the number of the first call whose token differs, from 1; 0 where
            none does.
        window: calls that are counted together.
        agreeing: how many calls agree in each window, over all series.
    """

    sampler: str
    calls: Annotated[int, msgspec.Meta(ge=1)]
    first: tuple[int, ...]
    window: Annotated[int, msgspec.Meta(ge=1)]
    agreeing: tuple[int, ...]


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """What explains semantic divergences best.

    Attributes:
        function: the known sampler, in words: a pipeline, perhaps with one change at a stage.
        change: what it does otherwise than the pipeline; empty for another function.
        stage: where; empty for another function.
        cases: in how many cases the candidate gives what that one gives.
        looked_at: of how many.
    """

    function: str
    change: str
    stage: str
    cases: int
    looked_at: int

    @property
    def words(self) -> str:
        """Say it in a sentence without its end."""
        count = f"{self.cases:,} of {self.looked_at:,} semantic cases"
        if self.change:
            return f"{count} are explained by one change, at {self.stage}: {self.change}"
        return f"{count} are what {self.function} gives, another function"


Against = Literal["torch", "port", "recorded"]


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """Why the port stood in torch's place.

    Attributes:
        traces: how many recorded traces of torch it equalled on this machine, all that there are.
        torch: which version recorded them.
    """

    traces: int
    torch: str


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One implementation at one capability.

    Attributes:
        implementation: its name.
        capability: torch's dispatch level.
        source: ``torch`` where the reference ran live, ``port`` where the port ran in its place,
            ``recorded`` where recorded traces of torch were compared.
        planned: cases planned.
        compared: cases compared.
        not_compared: cases planned and not compared, for ``reason``.
        reason: why they were not, in one sentence; empty if all were.
        stages: stage comparisons made, errors and effects included.
        elements: numbers compared.
        tokens: tokens compared.
        divergent: cases that differ somewhere.
        threads: torch's thread counts, with the cases of each.
        cells: stages x families.
        divergences: some divergent cases of every kind, the gravest first.
        noise: the reference's reproducibility, where the implementation can stand for it.
        verdicts: how many of the divergent cases have each verdict.
        about: what the implementation says it is, and how much it shows.
        accepted: how many of the divergent cases a waiver covers.
        streams: long series of calls, by sampler, where the candidate draws from torch's stream.
        explained: what explains the semantic divergences, if one known change does.
        declines: how many cases the candidate declined, by its reason.
        why: why other cases were not compared; ``reason`` says both.
        left_out: what a quick look did not do with divergent cases, each with its count.
        failed_before: cases that were compared first, since they diverged last time.
        failed_again: as many of them as diverge.
        certificate: why the port was the reference, where torch is not installed.
    """

    implementation: str
    capability: str
    source: Against
    planned: int
    compared: int
    not_compared: int
    reason: str
    stages: int
    elements: int
    tokens: int
    divergent: int
    threads: dict[str, int]
    cells: tuple[Cell, ...]
    divergences: tuple[FoundDivergence, ...]
    noise: tuple[Reproducibility, ...] = ()
    verdicts: dict[str, int] = {}
    about: About = About(name="")
    accepted: int = 0
    streams: tuple[Series, ...] = ()
    explained: Explained | None = None
    declines: dict[str, int] = {}
    why: str = ""
    left_out: tuple[str, ...] = ()
    failed_before: int = 0
    failed_again: int = 0
    certificate: Certificate | None = None

    @property
    def live(self) -> bool:
        """Whether the reference ran, and its recorded traces were not taken instead."""
        return self.source != "recorded"


def gravity(found: FoundDivergence) -> tuple[int, bool]:
    """Rank a divergence: the gravest first, and what was made small."""
    return -SEVERITY[found.divergence.verdict], found.shrunken is None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run of the gate.

    Attributes:
        schema: version of this form.
        status: what the gate concluded.
        reasons: why, one sentence each; empty when the gate holds.
        started: time of day, ISO 8601, UTC.
        seconds: how long it took.
        command: the command that makes the same run.
        profile: ``quick`` or ``full``.
        seed: the run's seed, from which every case is generated.
        shards: what was compared.
        provenance: what it ran on, heading by heading: name and value.
        findings: other checks of the run with what they measured, one sentence each.
        planted: every planted fault.
        engine_faults: every fault that was planted in an engine, and engines without one.
        correct: every sampler that must not be called wrong.
        waivers: every waiver, with what it covered.
        statistics: what each implementation's frequencies say.
        lacking: what the run did without, since a package is not installed, a sentence each.
        lacking: what was left out since a package is not installed, a sentence each.
        benchmark: how fast the port was measured to be, if that was given.
        reference: the pipeline that candidates were held against; empty for the port's two.
        logits: somebody's own logits, which were compared as well: where they are, not what.
        part: which part it is of a run that several machines share, ``I/N``; empty for all of it.
    """

    schema: int
    status: RunStatus
    reasons: tuple[str, ...]
    started: str
    seconds: float
    command: str
    profile: str
    seed: int
    shards: tuple[Shard, ...]
    provenance: dict[str, dict[str, str]]
    findings: tuple[str, ...] = ()
    planted: tuple[Planted, ...] = ()
    engine_faults: tuple[EngineFault, ...] = ()
    correct: tuple[Correct, ...] = ()
    waivers: tuple[AppliedWaiver, ...] = ()
    statistics: tuple[StatisticsResult, ...] = ()
    benchmark: Benchmark | None = None
    lacking: tuple[str, ...] = ()
    reference: str = ""
    logits: YourLogits | None = None
    part: str = ""


def write_run(folder: Path, run: Run) -> Path:
    """Write ``run.json`` atomically."""
    path = folder / RUN_NAME
    write_atomically(path, encoded(run))
    return path


def encoded(run: Run) -> bytes:
    """Give the content of ``run.json``."""
    return msgspec.json.format(msgspec.json.encode(run), indent=1)


def read_run(folder: Path) -> Run:
    """Read ``run.json`` of a run's folder.

    Raises:
        CannotJudgeError: there is none, it is damaged, or of another schema.
    """
    path = folder / RUN_NAME
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CannotJudgeError(f"there is no run in {folder}: {error}") from error
    return decoded(path, content, Run, SCHEMA, "make the run again")
