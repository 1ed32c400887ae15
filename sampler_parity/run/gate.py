"""A run of the gate: its workers do what it orders, it concludes, and the run is stored."""

import os
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sampler_parity.build.extension import load_extension
from sampler_parity.build.installation import has_sources
from sampler_parity.build.instrumented import build_instrumented
from sampler_parity.cases.fixtures import check_fixtures
from sampler_parity.cases.plan import CASE_COUNTS, LOOK, planned
from sampler_parity.cases.your_logits import YourCases
from sampler_parity.model.case import CAPABILITIES
from sampler_parity.run.command_words import run_command
from sampler_parity.run.conclusion import conclude
from sampler_parity.run.gathering import Found, gather
from sampler_parity.run.orders import (
    CompareCases,
    CountFrequencies,
    Order,
    PlantInEngines,
    PlantInPlain,
    PlantInPort,
    PlantInStages,
)
from sampler_parity.run.provenance import provenance
from sampler_parity.run.reproducibility import sentences
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import EVIDENCE, SCHEMA, Run, write_run
from sampler_parity.run.scheduler import Progress, run_workers
from sampler_parity.run.your_cases import opened


def run_gate(request: Request, progress: Progress = lambda *_: None) -> Run:
    """Compare every planned case, and store the run in ``request.folder``.

    Raises:
        CannotJudgeError: the extension is missing or stale, fixtures are missing or damaged, an
            argument is unknown, a candidate cannot be started, or a worker ended without a result.
    """
    request.check()
    load_extension()
    check_fixtures()
    if request.whole and has_sources() and not request.reference:
        build_instrumented()
    started, clock = datetime.now(UTC), time.monotonic()
    request.folder.mkdir(parents=True, exist_ok=True)
    # What an earlier run left stays until this one has come to its end.
    with tempfile.TemporaryDirectory(prefix=".run-", dir=request.folder) as staging:
        yours = None
        if request.logits is not None:
            yours = opened(request.logits, request.reference, request.seed)
        orders = orders_of(request, Path(staging))
        generated = planned(CASE_COUNTS[request.profile], request.families)
        cases = generated + (len(yours) if yours else 0)
        jobs = request.jobs or os.cpu_count() or 1
        results = run_workers(orders, cases, jobs, request.limits, progress)
        found = gather(request, orders, results)
        run = _run(request, found, started, time.monotonic() - clock, yours)
        _replace(request.folder / EVIDENCE, Path(staging) / EVIDENCE)
        write_run(request.folder, run)
    return run


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
            # The port stands for the reference at other capabilities: for its own two alone.
            reproducibility=request.profile != LOOK
            and implementation == request.implementations[0]
            and not request.reference,
            reference=request.reference,
            logits=request.logits,
            evidence=request.evidence,
            failed=request.first,
        )
        for implementation in request.implementations
        for capability in request.capabilities
    ]
    lowest, next_one = CAPABILITIES[:2]
    if not request.whole or not request.implementations:
        return orders
    orders += [
        CountFrequencies(
            implementation=implementation,
            capability=request.capabilities[0],
            profile=request.profile,
            seed=request.seed,
            limits=request.limits,
            logits=request.logits,
            reference=request.reference,
        )
        for implementation in request.implementations
    ]
    if request.reference:
        orders.append(
            PlantInStages(capability=lowest, profile=request.profile, reference=request.reference)
        )
        return orders
    sources = has_sources()
    if sources:
        orders.append(PlantInPort(capability=lowest, profile=request.profile))
    # A plain sampler's mistakes show at any capability.
    orders.append(PlantInPlain(capability=lowest, profile=request.profile, specimens=sources))
    if sources:
        # Some of the port's faults show at one capability only.
        orders.append(PlantInPort(capability=next_one, profile=request.profile))
    orders.append(PlantInEngines(capability=lowest))
    return orders


def _run(
    request: Request,
    found: Found,
    started: datetime,
    seconds: float,
    yours: YourCases | None = None,
) -> Run:
    status, reasons = conclude(request, found)
    own = {"your logits": yours.words()} if yours else {}
    return Run(
        schema=SCHEMA,
        status=status,
        reasons=reasons,
        started=started.isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        command=run_command(request),
        profile=request.profile,
        seed=request.seed,
        shards=found.shards,
        provenance={**own, **provenance()},
        findings=sentences(found.shards),
        planted=found.planted,
        engine_faults=found.engine_faults,
        correct=found.correct,
        waivers=found.waivers,
        statistics=found.statistics,
        reference=request.reference,
        logits=request.logits,
        benchmark=request.benchmark,
    )


def _replace(old: Path, new: Path) -> None:
    if old.exists():
        shutil.rmtree(old)
    if new.exists():
        new.replace(old)
