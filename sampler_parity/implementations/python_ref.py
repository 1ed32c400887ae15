"""The reference on torch."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy.typing as npt
import torch

from sampler_parity.build.processor import level_called
from sampler_parity.implementations import reference as shared
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import SAMPLER_ERRORS, Failure, Outcome
from sampler_parity.model.pipeline import LOGITS, TOKEN, Stage


def capability_here() -> str:
    """Name the dispatch level that this process' torch runs at."""
    return level_called(torch.backends.cpu.get_cpu_capability())


def start_generator(case: Case) -> torch.Generator:
    """Give torch's generator as the case's first call finds it."""
    generator = seeded(case.seed)
    if case.state:
        generator.set_state(torch.frombuffer(bytearray(case.state), dtype=torch.uint8))
    elif case.advance:
        torch.empty(case.advance).uniform_(generator=generator)
    return generator


def seeded(seed: int) -> torch.Generator:
    """Give torch's generator of a seed."""
    return torch.Generator("cpu").manual_seed(seed)


def state_of(generator: torch.Generator) -> bytes:
    """Give a generator's state."""
    found: bytes = generator.get_state().numpy().tobytes()
    return found


def computed(
    step: Stage, case: Case, values: Mapping[str, npt.NDArray[Any]], generator: Any
) -> npt.NDArray[Any]:
    """Compute a stage from what it reads, arrays that are not used any further."""
    tensors = {name: torch.from_numpy(value) for name, value in values.items()}
    found: torch.Tensor = step.reference(tensors, case.parameters, generator)
    return found.numpy()


class PythonRef:
    """``python_ref`` on this process' torch."""

    about = About(name="python_ref", version=str(torch.__version__), longest_row=None)

    def run(self, case: Case, capability: str) -> Outcome:
        """Run the case; this process' torch must be at ``capability``."""
        here = capability_here()
        if here != capability:
            raise CannotJudgeError(
                f"torch runs at capability {here} here, not {capability}: "
                f"set ATEN_CPU_CAPABILITY={capability} before Python starts"
            )
        if torch.get_num_threads() != case.threads:
            torch.set_num_threads(case.threads)
        generator = shared.start_generator(case)
        logits = torch.from_numpy(case.logits.copy())
        outcome, same = Outcome(), dict[str, torch.Tensor]()
        for draw in range(case.draws):
            try:
                token = _call(case, logits, generator, outcome if draw == 0 else None, same)
            except SAMPLER_ERRORS as error:
                outcome.failure = Failure(type(error).__name__, str(error), draw)
                break
            outcome.tokens.append(token.numpy().reshape(-1))
        outcome.input = logits.numpy()
        outcome.generator = shared.state_of(case, generator)
        return outcome


@cache
def reference() -> PythonRef:
    """Give the reference."""
    return PythonRef()


def _call(
    case: Case,
    logits: torch.Tensor,
    generator: Any,
    kept: Outcome | None,
    same: dict[str, torch.Tensor],
) -> torch.Tensor:
    """Make one call; its stages go into ``kept``, if that is given.

    ``same`` keeps, from call to call, what no call changes: of a sampler that leaves its logits as
    they are, the reference's function is called once, and every later call draws from what it gave.
    A test shows that this is the function called each time, bit for bit.
    """
    pipeline = case.pipeline
    if pipeline.whole is None or (kept is None and same):
        stages = _composed(case, logits, generator, same)
    elif kept is None:
        token: torch.Tensor = pipeline.whole(logits, case.parameters, generator, traced=False)
        return token
    else:
        trace = pipeline.whole(logits, case.parameters, generator, traced=True)
        stages = {name: getattr(trace, name) for name in pipeline.names}
        same.update({name: stages[name] for name in pipeline.unchanged})
    if kept is not None:
        kept.stages = {name: stages[name].numpy() for name in pipeline.names[:-1]}
    return stages[TOKEN]


def _composed(
    case: Case, logits: torch.Tensor, generator: Any, same: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Compute a pipeline's stages one after the other; ``logits`` are changed where it does so.

    What no call changes is taken from ``same``, or kept there. A test shows that this is
    ``python_ref``, bit for bit, for the pipelines that it has.
    """
    pipeline = case.pipeline
    tensors = {name: torch.from_numpy(values) for name, values in shared.sources(case).items()}
    tensors[LOGITS] = logits
    tensors |= same
    for stage in pipeline.stages:
        if stage.name in same:
            continue
        tensors[stage.name] = stage.reference(tensors, case.parameters, generator)
        if pipeline.in_place and stage.kind != "draw":
            logits.copy_(tensors[stage.name])
    if not same:
        same.update({name: tensors[name] for name in pipeline.unchanged})
    return tensors
