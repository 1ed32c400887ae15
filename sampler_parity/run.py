"""A run of the gate: planned, handed to worker processes, judged, stored."""

import os
import queue
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import msgspec

from sampler_parity.case import CAPABILITIES
from sampler_parity.cases.families import FAMILIES
from sampler_parity.cases.fixtures import check_fixtures
from sampler_parity.cases.plan import PROFILES, planned
from sampler_parity.errors import CannotJudgeError
from sampler_parity.extension import load_extension
from sampler_parity.noise import sentences
from sampler_parity.orders import Message, Order
from sampler_parity.provenance import provenance
from sampler_parity.run_file import EVIDENCE, SCHEMA, Run, Shard, Status, write_run

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
    """

    profile: str = "quick"
    seed: int = 0
    implementations: tuple[str, ...] = ("rust_ext",)
    capabilities: tuple[str, ...] = CAPABILITIES
    families: tuple[str, ...] = tuple(FAMILIES)
    jobs: int | None = None
    folder: Path = field(default_factory=lambda: Path("reports/latest"))


def run_gate(request: Request, progress: Progress = lambda *_: None) -> Run:
    """Compare every planned case, and store the run in ``request.folder``.

    Raises:
        CannotJudgeError: the extension is missing or stale, fixtures are missing or damaged, an
            argument is unknown, or a worker ended without a result.
    """
    _check(request)
    started, clock = datetime.now(UTC), time.monotonic()
    request.folder.mkdir(parents=True, exist_ok=True)
    # What an earlier run left stays until this one has come to its end.
    with tempfile.TemporaryDirectory(prefix=".run-", dir=request.folder) as staging:
        shards = tuple(_work(request, Path(staging), progress))
        run = _conclude(request, shards, started, time.monotonic() - clock)
        _replace(request.folder / EVIDENCE, Path(staging) / EVIDENCE)
        write_run(request.folder, run)
    return run


def _conclude(
    request: Request, shards: tuple[Shard, ...], started: datetime, seconds: float
) -> Run:
    status, reasons = judge(request, shards)
    return Run(
        schema=SCHEMA,
        status=status,
        reasons=reasons,
        started=started.isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        command=_command(request),
        profile=request.profile,
        seed=request.seed,
        shards=shards,
        provenance=provenance(request.implementations),
        findings=sentences(shards),
    )


def _replace(old: Path, new: Path) -> None:
    if old.exists():
        shutil.rmtree(old)
    if new.exists():
        new.replace(old)


def judge(request: Request, shards: tuple[Shard, ...]) -> tuple[Status, tuple[str, ...]]:
    """Conclude: a divergence outweighs everything, and nothing missing passes."""
    divergent = [shard for shard in shards if shard.divergent]
    if divergent:
        return "diverges", tuple(
            f"{shard.implementation} differs from the reference in {shard.divergent:,} of "
            f"{shard.compared:,} cases at capability {shard.capability} "
            f"({'live torch' if shard.source == 'torch' else 'recorded torch'}): "
            + ", ".join(f"{count:,} {verdict}" for verdict, count in shard.verdicts.items())
            for shard in divergent
        )
    reasons = []
    for name, wanted, given in (
        ("capability", CAPABILITIES, request.capabilities),
        ("family", tuple(FAMILIES), request.families),
    ):
        missing = [value for value in wanted if value not in given]
        if missing:
            reasons.append(
                f"{name} deselected: {', '.join(missing)}; the gate needs all of them, "
                f"run it without --{name}"
            )
    for shard in shards:
        if shard.compared + shard.waived != shard.planned:
            reasons.append(
                f"{shard.implementation} at capability {shard.capability}: {shard.planned:,} cases "
                f"planned, {shard.compared:,} compared and {shard.waived:,} waived"
            )
        if shard.source == "recorded" and not shard.compared:
            reasons.append(f"no recorded trace was compared at capability {shard.capability}")
    for implementation in dict.fromkeys(shard.implementation for shard in shards):
        live = [s for s in shards if s.implementation == implementation and s.source == "torch"]
        if not any(shard.compared for shard in live):
            reasons.append(f"nothing was compared with torch for {implementation}")
    if not shards:
        reasons.append("nothing was compared: name an implementation")
    return ("unjudged", tuple(reasons)) if reasons else ("holds", ())


def _check(request: Request) -> None:
    for name, known, given in (
        ("profile", tuple(PROFILES), (request.profile,)),
        ("capability", CAPABILITIES, request.capabilities),
        ("family", tuple(FAMILIES), request.families),
    ):
        for value in given:
            if value not in known:
                raise CannotJudgeError(f"{name} {value!r} is none of {', '.join(known)}")
    if "rust_ext" in request.implementations:
        load_extension()
    check_fixtures()


def _command(request: Request) -> str:
    command = ["sampler-parity", "run", "--profile", request.profile, "--seed", str(request.seed)]
    for option, given, every in (
        ("--implementation", request.implementations, ("rust_ext",)),
        ("--capability", request.capabilities, CAPABILITIES),
        ("--family", request.families, tuple(FAMILIES)),
    ):
        if given != every:
            command += [word for value in given for word in (option, value)]
    return shlex.join(command)


def _work(request: Request, staging: Path, progress: Progress) -> Iterable[Shard]:
    total = planned(PROFILES[request.profile], request.families)
    orders = [
        Order(
            implementation=implementation,
            capability=capability,
            profile=request.profile,
            seed=request.seed,
            families=request.families,
            folder=str(staging.resolve()),
        )
        for implementation in request.implementations
        for capability in request.capabilities
    ]
    jobs = request.jobs or os.cpu_count() or 1
    said: queue.Queue[tuple[Order, Message | None]] = queue.Queue()
    waiting, running = list(orders), dict[str, subprocess.Popen[bytes]]()
    shards: dict[str, tuple[Shard, ...]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                order = waiting.pop(0)
                running[_name(order)] = _start(order, said)
                progress(_name(order), 0, total)
            order, message = said.get()
            name = _name(order)
            if message is None:
                status = _end(running.pop(name))
                if name not in shards:
                    raise CannotJudgeError(f"the worker for {name} ended with status {status}")
                progress(name, total, total)
            elif message.cannot_judge:
                raise CannotJudgeError(message.cannot_judge)
            elif message.shards:
                shards[name] = message.shards
            else:
                progress(name, message.done, total)
    finally:
        for process in running.values():
            process.kill()
            _end(process)
    return [shard for order in orders for shard in shards[_name(order)]]


def _end(process: "subprocess.Popen[bytes]") -> int:
    if process.stdin is not None:
        process.stdin.close()
    return process.wait()


def _name(order: Order) -> str:
    return f"{order.implementation} at {order.capability}"


def _start(
    order: Order, said: "queue.Queue[tuple[Order, Message | None]]"
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "sampler_parity.worker"],
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
    process.stdin.write(msgspec.json.encode(order) + b"\n")
    process.stdin.flush()
    threading.Thread(target=_listen, args=(order, process.stdout, said), daemon=True).start()
    return process


def _listen(
    order: Order, lines: IO[bytes], said: "queue.Queue[tuple[Order, Message | None]]"
) -> None:
    with lines:
        for line in lines:
            said.put((order, msgspec.json.decode(line, type=Message)))
    said.put((order, None))
