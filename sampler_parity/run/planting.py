"""Plants faults, and tries what must be caught or must not be called wrong.

At a capability that torch does not reach on this processor, nothing is planted; at one of another
architecture's torch, mistakes of the port's stages, which are judged by what was recorded there.
"""

from collections.abc import Callable

from sampler_parity.build.processor import stands_at
from sampler_parity.faults.kill import (
    kill_cases,
    plant_in_plain,
    plant_in_port,
    recorded_kill_cases,
    try_correct,
    try_specimens,
)
from sampler_parity.faults.mistakes import CORRECT, MISTAKES
from sampler_parity.faults.port import port_faults
from sampler_parity.faults.shipped import plant_in_shipped, shipped_faults
from sampler_parity.faults.staged import plant_in_stages, stage_cases, try_variations
from sampler_parity.implementations.reference import capability_here
from sampler_parity.implementations.specimens import SPECIMENS
from sampler_parity.pipelines.references import reference_of
from sampler_parity.run.orders import (
    Message,
    PlantInEngines,
    PlantInPlain,
    PlantInPort,
    PlantInStages,
    Result,
    Say,
)


def plant_port(order: PlantInPort, say: Say) -> Result:
    """Plant every fault of the port, in its stages and in what users run of it."""
    here = capability_here()
    if here != order.capability:
        return Result()
    if stands_at():
        step = _steps(say, len(port_faults()))
        return Result(planted=tuple(plant_in_port(recorded_kill_cases(here), here, step)))
    step = _steps(say, len(port_faults()) + len(shipped_faults()))
    stages = plant_in_port(kill_cases(order.profile, here), here, step)
    return Result(planted=(*stages, *plant_in_shipped(here, step)))


def plant_plain(order: PlantInPlain, say: Say) -> Result:
    """Plant every mistake in a plain sampler, and try the specimens and the correct samplers."""
    here = capability_here()
    if here != order.capability:
        return Result()
    found = len(SPECIMENS) if order.specimens else 0
    step = _steps(say, len(MISTAKES) + found + len(CORRECT))
    cases = kill_cases(order.profile, here)
    planted = tuple(plant_in_plain(cases, here, step))
    if order.specimens:
        planted += tuple(try_specimens(cases, here, step))
    return Result(planted=planted, correct=tuple(try_correct(cases, here, step)))


def plant_stages(order: PlantInStages, say: Say) -> Result:
    """Plant every mistake of a reference's stages, and try what is right in other arithmetic."""
    here = capability_here()
    if here != order.capability:
        return Result()
    kind = reference_of(order.reference)
    step = _steps(say, sum(len(stage.variations) for stage in kind.pipeline.stages))
    cases = stage_cases(order.reference, order.profile, here)
    return Result(
        planted=tuple(plant_in_stages(kind, cases, here, step)),
        correct=tuple(try_variations(kind, cases, here, step)),
    )


def plant_engines(_: PlantInEngines, say: Say) -> Result:
    """Plant every fault of engines in the small one, free and forced."""
    from sampler_parity.engines.planted import ENGINES, plant_in_engines

    return Result(engine_faults=tuple(plant_in_engines(_steps(say, ENGINES))))


def _steps(say: Say, total: int) -> Callable[[], None]:
    """Give what is called after each of ``total`` faults, to say how far the worker is."""
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        say(Message(done=done, total=total))

    return step
