"""A run of the gate: planned, handed to worker processes, judged, stored."""

import contextlib
import os
import queue
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO

import msgspec

from sampler_parity.build.extension import load_extension
from sampler_parity.build.installation import has_sources
from sampler_parity.build.instrumented import build_instrumented
from sampler_parity.cases.families import FAMILIES
from sampler_parity.cases.fixtures import check_fixtures
from sampler_parity.cases.plan import PROFILES, planned
from sampler_parity.faults.found import Correct, Planted
from sampler_parity.implementations.registry import PORT
from sampler_parity.model.case import CAPABILITIES
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.verdict import Verdict
from sampler_parity.run.benchmark_file import Benchmark
from sampler_parity.run.noise import sentences
from sampler_parity.run.orders import (
    CompareCases,
    CountFrequencies,
    Message,
    Order,
    PlantInPlain,
    PlantInPort,
    Result,
)
from sampler_parity.run.provenance import provenance
from sampler_parity.run.run_file import EVIDENCE, SCHEMA, Run, Shard, Status, write_run
from sampler_parity.run.waivers import AppliedWaiver, Waiver, expired, problems
from sampler_parity.run.words import differences
from sampler_parity.sandbox.isolated import Limits, command_of, options_of
from sampler_parity.statistics.result import StatisticsResult

LATEST = Path("reports/latest")
"""Where a run is stored that is told nothing else."""

WORKER = ("-m", "sampler_parity.run.worker")

PATIENCE = 100.0
"""Times a candidate's limit for a case that a worker may say nothing: it tells of every 50th case,
of every case that it tries to make another one small, and of every chunk of draws."""

QUIET = 900.0
"""Seconds that a worker may say nothing beside what the candidate takes: while it imports torch,
builds what faults are planted in, or walks through a fault's cases on a busy machine."""

ENDING = 10.0
"""Seconds that a worker may take to end."""

Progress = Callable[[str, int, int], None]
"""Called with a worker's name, and how many of its cases are done of how many."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to run.

    Attributes:
        profile: ``quick`` or ``full``.
        seed: every case is generated from it.
        implementations: the candidates.
        capabilities: those to compare at; fewer than all cannot be judged as holding.
        families: the families of cases; fewer than all likewise.
        jobs: worker processes at a time; ``None`` for one a processor.
        folder: where the run is stored.
        limits: what a candidate may use.
        waivers: the divergences that are accepted.
        waivers_file: where they are, if not in ``parity.toml`` of the folder that the run is
            started in.
        today: the day on which waivers have expired or not.
        benchmark: what the report shows of speed; nothing is judged by it.
    """

    profile: str = "quick"
    seed: int = 0
    implementations: tuple[str, ...] = (PORT,)
    capabilities: tuple[str, ...] = CAPABILITIES
    families: tuple[str, ...] = tuple(FAMILIES)
    jobs: int | None = None
    folder: Path = LATEST
    limits: Limits = field(default_factory=Limits)
    waivers: tuple[Waiver, ...] = ()
    waivers_file: Path | None = None
    today: date = field(default_factory=lambda: datetime.now(UTC).date())
    benchmark: Benchmark | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is deselected."""
        return set(self.capabilities) >= set(CAPABILITIES) and set(self.families) >= set(FAMILIES)

    def waivers_of(self, implementation: str) -> tuple[Waiver, ...]:
        """Give the waivers that count for ``implementation``."""
        return tuple(
            waiver
            for waiver in self.waivers
            if waiver.implementation == implementation and not expired(waiver, self.today)
        )


@dataclass(slots=True)
class Found:
    """What all workers found.

    Attributes:
        shards: what was compared.
        planted: every planted fault, over all capabilities at which it was planted.
        correct: every sampler that must not be called wrong.
        waivers: every waiver, with what it covered.
        statistics: what each implementation's frequencies say.
    """

    shards: tuple[Shard, ...] = ()
    planted: tuple[Planted, ...] = ()
    correct: tuple[Correct, ...] = ()
    waivers: tuple[AppliedWaiver, ...] = ()
    statistics: tuple[StatisticsResult, ...] = ()


def run_gate(request: Request, progress: Progress = lambda *_: None) -> Run:
    """Compare every planned case, and store the run in ``request.folder``.

    Raises:
        CannotJudgeError: the extension is missing or stale, fixtures are missing or damaged, an
            argument is unknown, a candidate cannot be started, or a worker ended without a result.
    """
    _check(request)
    started, clock = datetime.now(UTC), time.monotonic()
    request.folder.mkdir(parents=True, exist_ok=True)
    # What an earlier run left stays until this one has come to its end.
    with tempfile.TemporaryDirectory(prefix=".run-", dir=request.folder) as staging:
        found = _work(request, Path(staging), progress)
        run = _conclude(request, found, started, time.monotonic() - clock)
        _replace(request.folder / EVIDENCE, Path(staging) / EVIDENCE)
        write_run(request.folder, run)
    return run


def _conclude(request: Request, found: Found, started: datetime, seconds: float) -> Run:
    status, reasons = judge(request, found)
    return Run(
        schema=SCHEMA,
        status=status,
        reasons=reasons,
        started=started.isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        command=_command(request),
        profile=request.profile,
        seed=request.seed,
        shards=found.shards,
        provenance=provenance(),
        findings=sentences(found.shards),
        planted=found.planted,
        correct=found.correct,
        waivers=found.waivers,
        statistics=found.statistics,
        benchmark=request.benchmark,
    )


def _replace(old: Path, new: Path) -> None:
    if old.exists():
        shutil.rmtree(old)
    if new.exists():
        new.replace(old)


def judge(request: Request, found: Found) -> tuple[Status, tuple[str, ...]]:
    """Conclude: a divergence outweighs everything, and nothing missing passes.

    An answer of a wrong form is no divergence: it could not be compared.
    """
    divergences = [*differences([s for s in found.shards if s.divergent - _unfit(s) > s.accepted])]
    divergences += [
        _frequencies_differ(result) for result in found.statistics if result.status == "diverges"
    ]
    divergences += problems(found.waivers)
    if divergences:
        return "diverges", tuple(divergences)
    reasons = (
        *_deselected(request),
        *_misshapen(found.shards),
        *_missing(found.shards),
        *_survivors(request, found),
        *_uncounted(request, found),
    )
    return ("unjudged", reasons) if reasons else ("holds", ())


def _frequencies_differ(result: StatisticsResult) -> str:
    first, *others = result.reasons
    more = f"; so do {len(others)} other tests" if others else ""
    return f"the frequencies of {result.candidate} are not the reference's: {first}{more}"


def _unfit(shard: Shard) -> int:
    return shard.verdicts.get(Verdict.UNFIT, 0)


def _misshapen(shards: tuple[Shard, ...]) -> Iterable[str]:
    for shard in shards:
        first = next(
            (one for one in shard.divergences if one.divergence.verdict is Verdict.UNFIT), None
        )
        if first is not None:
            yield (
                f"{_unfit(shard):,} answers of {shard.implementation} at capability "
                f"{shard.capability} could not be compared, the first to {first.case}: "
                f"{first.divergence.candidate}"
            )


def _deselected(request: Request) -> Iterable[str]:
    for name, wanted, given in (
        ("capability", CAPABILITIES, request.capabilities),
        ("family", tuple(FAMILIES), request.families),
    ):
        missing = [value for value in wanted if value not in given]
        if missing:
            yield (
                f"{name} deselected: {', '.join(missing)}; the gate needs all of them, "
                f"run it without --{name}"
            )


def _missing(shards: tuple[Shard, ...]) -> Iterable[str]:
    for shard in shards:
        if shard.compared + shard.not_compared != shard.planned:
            yield (
                f"{shard.implementation} at capability {shard.capability}: {shard.planned:,} cases "
                f"planned, {shard.compared:,} compared and {shard.not_compared:,} not compared"
            )
        if shard.source == "recorded" and not shard.compared:
            yield f"no recorded trace was compared at capability {shard.capability}"
    for implementation in dict.fromkeys(shard.implementation for shard in shards):
        live = [s for s in shards if s.implementation == implementation and s.source == "torch"]
        if not any(shard.compared for shard in live):
            yield f"nothing was compared with torch for {implementation}"
    if not shards:
        yield "nothing was compared: name an implementation"


def _survivors(request: Request, found: Found) -> Iterable[str]:
    """A gate that misses a fault, or calls a correct sampler wrong, cannot be believed."""
    if not request.whole:
        return
    if not found.planted or not found.correct:
        yield "no fault was planted: the run has not shown that it can fail"
    for fault in found.planted:
        if not fault.killed:
            yield f"the gate missed a planted fault: {fault.words}"
    for sampler in found.correct:
        if not sampler.passed:
            verdicts = ", ".join(f"{n:,} {verdict}" for verdict, n in sampler.verdicts.items())
            got = verdicts or "nothing"
            yield f"the gate misjudged a correct sampler: {sampler.name} got {got}"


def _uncounted(request: Request, found: Found) -> Iterable[str]:
    if request.whole and len(found.statistics) < len(request.implementations):
        yield "the frequencies of an implementation were not counted"
    for result in found.statistics:
        for reason in result.reasons:
            yield f"the frequencies of {result.candidate} could not be judged: {reason}"


def _check(request: Request) -> None:
    for name, known, given in (
        ("profile", tuple(PROFILES), (request.profile,)),
        ("capability", CAPABILITIES, request.capabilities),
        ("family", tuple(FAMILIES), request.families),
    ):
        for value in given:
            if value not in known:
                raise CannotJudgeError(f"{name} {value!r} is none of {', '.join(known)}")
    for name in request.implementations:
        command_of(name)
    for waiver in request.waivers:
        if waiver.implementation not in request.implementations:
            raise CannotJudgeError(
                f"the waiver of {waiver.words()} is for an implementation that is not run: "
                f"add --implementation {waiver.implementation}, or name another file of waivers"
            )
    load_extension()
    check_fixtures()
    if request.whole and has_sources():
        build_instrumented()


def _command(request: Request) -> str:
    """Give the command that was given, or that asks for the same."""
    command = ["sampler-parity", "run", "--profile", request.profile, "--seed", str(request.seed)]
    for option, given, every in (
        ("--implementation", request.implementations, (PORT,)),
        ("--capability", request.capabilities, CAPABILITIES),
        ("--family", request.families, tuple(FAMILIES)),
    ):
        if given != every:
            command += [word for value in given for word in (option, value)]
    for option, value, default in (
        ("--out", request.folder, LATEST),
        ("--jobs", request.jobs, None),
        ("--waivers", request.waivers_file, None),
    ):
        if value != default:
            command += [option, str(value)]
    return shlex.join([*command, *options_of(request.limits)])


def orders_of(request: Request, staging: Path) -> list[Order]:
    """List what the workers of a run are to do; evidence goes into ``staging``.

    A run that leaves nothing out also counts frequencies and plants faults.
    """
    orders: list[Order] = [
        CompareCases(
            implementation=implementation,
            capability=capability,
            first=capability == request.capabilities[0],
            profile=request.profile,
            seed=request.seed,
            families=request.families,
            folder=str(staging.resolve()),
            home=str(request.folder),
            limits=request.limits,
            waivers=request.waivers_of(implementation),
            noise=implementation == request.implementations[0],
        )
        for implementation in request.implementations
        for capability in request.capabilities
    ]
    if request.whole and request.implementations:
        orders += [
            CountFrequencies(
                implementation=implementation,
                capability=request.capabilities[0],
                profile=request.profile,
                seed=request.seed,
                limits=request.limits,
            )
            for implementation in request.implementations
        ]
        lowest, next_one = CAPABILITIES[:2]
        sources = has_sources()
        if sources:
            orders.append(PlantInPort(capability=lowest, profile=request.profile))
        # A plain sampler's mistakes show at any capability.
        orders.append(PlantInPlain(capability=lowest, profile=request.profile, specimens=sources))
        if sources:
            # Some of the port's faults show at one capability only.
            orders.append(PlantInPort(capability=next_one, profile=request.profile))
    return orders


def _work(request: Request, staging: Path, progress: Progress) -> Found:
    orders = orders_of(request, staging)
    jobs = request.jobs or os.cpu_count() or 1
    said: queue.Queue[tuple[Order, Message | None]] = queue.Queue()
    waiting, running = list(orders), dict[str, subprocess.Popen[bytes]]()
    results: dict[str, Result] = {}
    heard: dict[str, float] = {}
    total = planned(PROFILES[request.profile], request.families)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                order = waiting.pop(0)
                running[order.name] = _start(order, said)
                heard[order.name] = time.monotonic()
                progress(order.name, 0, total)
            order, message = _next(said, heard, request.limits)
            heard[order.name] = time.monotonic()
            if message is None:
                status = _end(running.pop(order.name))
                heard.pop(order.name)
                if order.name not in results:
                    raise CannotJudgeError(
                        f"the worker for {order.name} ended with status {status}"
                    )
                progress(order.name, 1, 1)
            elif message.cannot_judge:
                raise CannotJudgeError(message.cannot_judge)
            elif message.result is not None:
                results[order.name] = message.result
            else:
                progress(order.name, message.done, message.total)
    finally:
        for process in running.values():
            process.kill()
            _end(process)
    return _gather(request, orders, results)


def _next(
    said: "queue.Queue[tuple[Order, Message | None]]", heard: dict[str, float], limits: Limits
) -> tuple[Order, Message | None]:
    """Wait for what a worker says next, as long as none has been silent for too long.

    Raises:
        CannotJudgeError: one has.
    """
    allowed = limits.starting + limits.seconds * PATIENCE + QUIET
    name = min(heard, key=heard.__getitem__)
    try:
        return said.get(timeout=max(0.0, heard[name] + allowed - time.monotonic()))
    except queue.Empty:
        raise CannotJudgeError(
            f"the worker for {name} has said nothing for {allowed:,.0f} seconds: word of its next "
            "cases was waited for, and the run was ended"
        ) from None


def _gather(request: Request, orders: list[Order], results: dict[str, Result]) -> Found:
    ordered = [results[order.name] for order in orders]
    covered: Counter[Waiver] = Counter()
    for order, result in zip(orders, ordered, strict=True):
        if isinstance(order, CompareCases):
            covered.update(dict(zip(order.waivers, result.covered, strict=True)))
    return Found(
        shards=tuple(shard for result in ordered for shard in result.shards),
        planted=_merged([fault for result in ordered for fault in result.planted]),
        correct=tuple(sampler for result in ordered for sampler in result.correct),
        statistics=tuple(r.statistics for r in ordered if r.statistics is not None),
        waivers=tuple(
            AppliedWaiver(
                waiver=waiver, cases=covered[waiver], expired=expired(waiver, request.today)
            )
            for waiver in request.waivers
        ),
    )


def _merged(planted: list[Planted]) -> tuple[Planted, ...]:
    """Count a fault over the capabilities at which it was planted: it must be named at one.

    What is planted in what users run must be caught at each: its calls are made for each.
    """
    faults: dict[tuple[str, str], Planted] = {}
    for fault in planted:
        key = (fault.where, fault.name)
        before = faults.get(key)
        if before is None:
            faults[key] = fault
            continue
        faults[key] = msgspec.structs.replace(
            fault,
            cases=before.cases + fault.cases,
            caught=before.caught + fault.caught,
            others=dict(Counter(before.others) + Counter(fault.others)),
            killed=(before.killed and fault.killed)
            if fault.where == "shipped"
            else (before.killed or not before.caught)
            and (fault.killed or not fault.caught)
            and before.caught + fault.caught > 0,
        )
    return tuple(faults.values())


def _end(process: "subprocess.Popen[bytes]") -> int:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(ENDING)
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(ENDING)
    return -signal.SIGKILL


def _start(
    order: Order, said: "queue.Queue[tuple[Order, Message | None]]"
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, *WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Ctrl-C is for the gate, which ends its workers.
        start_new_session=True,
        env={
            **os.environ,
            "ATEN_CPU_CAPABILITY": order.capability,
            "OMP_NUM_THREADS": "2",
            # Threads that spin while they wait starve the other workers.
            "OMP_WAIT_POLICY": "passive",
        },
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("pipes were asked for")
    with contextlib.suppress(BrokenPipeError):
        # One that has ended already is told by the end of what it says.
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        process.stdin.flush()
    threading.Thread(target=_listen, args=(order, process.stdout, said), daemon=True).start()
    return process


def _listen(
    order: Order, lines: IO[bytes], said: "queue.Queue[tuple[Order, Message | None]]"
) -> None:
    with lines:
        for line in lines:
            try:
                message = msgspec.json.decode(line, type=Message)
            except msgspec.MsgspecError as error:
                words = f"the worker for {order.name} said what is no message: {error}"
                message = Message(cannot_judge=words)
            said.put((order, message))
    said.put((order, None))
