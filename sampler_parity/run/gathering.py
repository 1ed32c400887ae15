"""Puts together what all workers found."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from sampler_parity.engines.findings import EngineFault
from sampler_parity.faults.found import Correct, Planted
from sampler_parity.run.orders import CompareCases, Order, Result
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import Shard
from sampler_parity.run.waivers import AppliedWaiver, Waiver, expired
from sampler_parity.statistics.result import StatisticsResult


@dataclass(slots=True)
class Found:
    """What all workers found.

    Attributes:
        shards: what was compared.
        planted: every planted fault, over all capabilities at which it was planted.
        correct: every sampler that must not be called wrong.
        waivers: every waiver, with what it covered.
        statistics: what each implementation's frequencies say.
        engine_faults: every fault of engines.
    """

    shards: tuple[Shard, ...] = ()
    planted: tuple[Planted, ...] = ()
    correct: tuple[Correct, ...] = ()
    waivers: tuple[AppliedWaiver, ...] = ()
    statistics: tuple[StatisticsResult, ...] = ()
    engine_faults: tuple[EngineFault, ...] = ()


def gather(request: Request, orders: Sequence[Order], results: Sequence[Result]) -> Found:
    """Put the workers' results together: ``results`` are those of ``orders``, one each."""
    covered: Counter[Waiver] = Counter()
    for order, result in zip(orders, results, strict=True):
        if isinstance(order, CompareCases):
            covered.update(dict(zip(order.waivers, result.covered, strict=True)))
    return Found(
        shards=tuple(shard for result in results for shard in result.shards),
        planted=merged([fault for result in results for fault in result.planted]),
        engine_faults=tuple(fault for result in results for fault in result.engine_faults),
        correct=tuple(sampler for result in results for sampler in result.correct),
        statistics=tuple(r.statistics for r in results if r.statistics is not None),
        waivers=tuple(
            AppliedWaiver(
                waiver=waiver, cases=covered[waiver], expired=expired(waiver, request.today)
            )
            for waiver in request.waivers
        ),
    )


def merged(planted: list[Planted]) -> tuple[Planted, ...]:
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
