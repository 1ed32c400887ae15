"""What a worker does: it carries out one order, of whatever kind.

What an order needs is imported when it comes: torch takes two seconds, scipy one more, and the
candidate starts meanwhile.
"""

from typing import assert_never

from sampler_parity.pipelines.references import reference_of
from sampler_parity.run.orders import (
    CompareCases,
    CountFrequencies,
    Message,
    Order,
    PlantInEngines,
    PlantInPlain,
    PlantInPort,
    PlantInStages,
    Result,
    Say,
)
from sampler_parity.sandbox.isolated import Isolated


def work(order: Order, say: Say) -> Result:
    """Carry out an order.

    Raises:
        CannotJudgeError: see :func:`sampler_parity.run.gate.run_gate`.
    """
    match order:
        case CompareCases():
            return _compare(order, say)
        case CountFrequencies():
            return _count(order, say)
        case PlantInPort() | PlantInPlain() | PlantInStages() | PlantInEngines():
            return _plant(order, say)
        case _:
            assert_never(order)


def _compare(order: CompareCases, say: Say) -> Result:
    also = reference_of(order.reference).sampler if order.reference else ""
    with Isolated(order.implementation, order.limits, also=also, wait=False) as candidate:
        from sampler_parity.run.comparing import compare_cases

        return compare_cases(order, say, candidate)


def _plant(order: PlantInPort | PlantInPlain | PlantInStages | PlantInEngines, say: Say) -> Result:
    from sampler_parity.run.planting import plant_engines, plant_plain, plant_port, plant_stages

    match order:
        case PlantInPort():
            return plant_port(order, say)
        case PlantInPlain():
            return plant_plain(order, say)
        case PlantInStages():
            return plant_stages(order, say)
        case PlantInEngines():
            return plant_engines(order, say)


def _count(order: CountFrequencies, say: Say) -> Result:
    from sampler_parity.run.your_cases import opened
    from sampler_parity.statistics.frequencies import frequencies
    from sampler_parity.statistics.your_rows import subjects

    def progress(_: str, done: int, total: int) -> None:
        say(Message(done=done, total=total))

    own = order.logits
    yours = () if own is None else subjects(opened(own, order.reference, order.seed))
    found = frequencies(
        order.implementation,
        order.profile,
        order.seed,
        order.limits,
        progress,
        yours,
        order.reference,
        order.processes,
    )
    return Result(statistics=found)
