"""What a worker does: it carries out one order, of whatever kind.

It imports what the order needs and no more: scipy's statistics take a second, and most need none.
"""

from typing import assert_never

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


def work(order: Order, say: Say) -> Result:
    """Carry out an order.

    Raises:
        CannotJudgeError: see :func:`sampler_parity.run.gate.run_gate`.
    """
    match order:
        case CompareCases():
            from sampler_parity.run.comparing import compare_cases

            return compare_cases(order, say)
        case CountFrequencies():
            return _count(order, say)
        case PlantInPort():
            from sampler_parity.run.planting import plant_port

            return plant_port(order, say)
        case PlantInPlain():
            from sampler_parity.run.planting import plant_plain

            return plant_plain(order, say)
        case PlantInStages():
            from sampler_parity.run.planting import plant_stages

            return plant_stages(order, say)
        case PlantInEngines():
            from sampler_parity.run.planting import plant_engines

            return plant_engines(order, say)
        case _:
            assert_never(order)


def _count(order: CountFrequencies, say: Say) -> Result:
    from sampler_parity.statistics.frequencies import frequencies

    def progress(_: str, done: int, total: int) -> None:
        say(Message(done=done, total=total))

    found = frequencies(order.implementation, order.profile, order.seed, order.limits, progress)
    return Result(statistics=found)
