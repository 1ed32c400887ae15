"""A run of the gate: its workers do what it orders, it concludes, and the run is stored."""

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sampler_parity.build.extension import load_extension
from sampler_parity.build.installation import has_sources
from sampler_parity.build.instrumented import build_instrumented
from sampler_parity.build.processor import architecture_here, architecture_of
from sampler_parity.cases.fixtures import check_fixtures
from sampler_parity.cases.plan import CASE_COUNTS, LOOK, planned
from sampler_parity.model.case import LEVELS
from sampler_parity.run.command_words import run_command
from sampler_parity.run.conclusion import conclude
from sampler_parity.run.gathering import Found, gather
from sampler_parity.run.lacking import counts_frequencies, lacking
from sampler_parity.run.orders import (
    CompareCases,
    CountFrequencies,
    Order,
    PlantInEngines,
    PlantInPlain,
    PlantInPort,
    PlantInStages,
    Result,
)
from sampler_parity.run.part_file import PART_NAME, Part, write_part
from sampler_parity.run.part_file import SCHEMA as PART_SCHEMA
from sampler_parity.run.provenance import provenance
from sampler_parity.run.reproducibility import sentences
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import EVIDENCE, SCHEMA, Run, write_run
from sampler_parity.run.scheduler import Progress, run_workers
from sampler_parity.run.your_cases import opened
from sampler_parity.sandbox.together import processes_for


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
        about = {"your logits": yours.words()} if yours else {}
        about |= provenance()
        since = started.isoformat(timespec="seconds")
        seconds = round(time.monotonic() - clock, 1)
        run = run_of(request, found, since, seconds, about)
        replace_evidence(request.folder, Path(staging))
        _write_part(request, orders, results, run)
        write_run(request.folder, run)
    return run


def _write_part(
    request: Request, orders: Sequence[Order], results: Sequence[Result], run: Run
) -> None:
    """Leave what the parts of a run are put together from; nothing where it is all of it."""
    if request.part is None:
        (request.folder / PART_NAME).unlink(missing_ok=True)
        return
    part = Part(
        schema=PART_SCHEMA,
        request=request,
        results={order.name: one for order, one in zip(orders, results, strict=True)},
        provenance=run.provenance,
        started=run.started,
        seconds=run.seconds,
    )
    write_part(request.folder, part)


def orders_of(request: Request, staging: Path, architecture: str = "") -> list[Order]:
    """List what the workers of a run are to do; evidence goes into ``staging``.

    A run that leaves nothing out also counts frequencies and plants faults. A part of a run
    compares its share of the cases, and does its share of the rest.

    ``architecture`` is that of the run's processor, if it is not this one's.
    """
    number, of = request.part or (1, 1)
    levels = LEVELS[architecture or architecture_here()]
    compared = _comparisons(request, staging, (number - 1, of), levels)
    return [*compared, *_others(request, levels)[number - 1 :: of]]


def first_of(request: Request, levels: Sequence[str]) -> str:
    """Give the first capability of a run that is one of ``levels``, or the first of all."""
    return next((one for one in request.capabilities if one in levels), request.capabilities[0])


def _comparisons(
    request: Request, staging: Path, part: tuple[int, int], levels: Sequence[str]
) -> list[Order]:
    return [
        CompareCases(
            implementation=implementation,
            capability=capability,
            first=capability == first_of(request, levels),
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
            part=part,
        )
        for implementation in request.implementations
        for capability in request.capabilities
    ]


def _others(request: Request, levels: Sequence[str]) -> list[Order]:
    """List what a run does beside comparing cases; ``levels`` are its processor's, lowest first."""
    lowest, next_one = levels[:2]
    if not request.whole or not request.implementations:
        return []
    orders: list[Order] = [
        CountFrequencies(
            implementation=implementation,
            capability=first_of(request, levels),
            profile=request.profile,
            seed=request.seed,
            limits=request.limits,
            logits=request.logits,
            reference=request.reference,
            processes=processes_for(request.jobs),
        )
        for implementation in request.implementations
        if counts_frequencies()
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
        # So do some at a level of another architecture, where recorded traces tell.
        orders += [
            PlantInPort(capability=others[0], profile=request.profile)
            for others in LEVELS.values()
            if levels[0] not in others
        ]
    if counts_frequencies():
        # What tells one generator's draws from another's are tests of places.
        orders.append(PlantInEngines(capability=lowest))
    return orders


def run_of(
    request: Request,
    found: Found,
    started: str,
    seconds: float,
    about: dict[str, dict[str, str]],
) -> Run:
    """Conclude: put what was found into a run; ``about`` is its provenance."""
    status, reasons = conclude(request, found)
    number, of = request.part or (0, 0)
    return Run(
        schema=SCHEMA,
        status=status,
        reasons=reasons,
        started=started,
        seconds=seconds,
        command=run_command(request),
        profile=request.profile,
        seed=request.seed,
        shards=found.shards,
        provenance=about,
        findings=sentences(found.shards),
        planted=found.planted,
        engine_faults=found.engine_faults,
        correct=found.correct,
        waivers=found.waivers,
        statistics=found.statistics,
        reference=request.reference,
        logits=request.logits,
        part=f"{number}/{of}" if of else "",
        benchmark=request.benchmark,
        lacking=lacking(
            request, found, architecture_of(about.get("machine", {}).get("system", ""))
        ),
    )


def replace_evidence(folder: Path, staging: Path) -> None:
    """Put the evidence in ``staging`` in the place of what a folder has."""
    old, new = folder / EVIDENCE, staging / EVIDENCE
    if old.exists():
        shutil.rmtree(old)
    if new.exists():
        new.replace(old)
