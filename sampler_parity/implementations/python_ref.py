"""The reference."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import SAMPLER_ERRORS, Failure, Outcome
from sampler_parity.model.pipeline import LOGITS, TOKEN, Parameters, Pipeline

NO_AVX = "no avx"
"""What torch 2.7 calls the level ``default``."""


def capability_here() -> str:
    """Name the dispatch level that this process' torch runs at."""
    name = torch.backends.cpu.get_cpu_capability().lower()
    return "default" if name == NO_AVX else name


def start_generator(case: Case) -> torch.Generator:
    """Give the generator as the case's first call finds it."""
    generator = torch.Generator("cpu").manual_seed(case.seed)
    if case.state:
        generator.set_state(torch.frombuffer(bytearray(case.state), dtype=torch.uint8))
    elif case.advance:
        torch.empty(case.advance).uniform_(generator=generator)
    return generator


def reference_stage(
    stage: str,
    case: Case,
    stages: Mapping[str, npt.NDArray[Any]],
    generator: torch.Generator | None = None,
) -> npt.NDArray[Any]:
    """Compute one stage of a case's first call from the given values of earlier stages.

    ``generator`` goes on from where it is; without one, the case's own is started.
    """
    step = case.pipeline.stage(stage)
    values = {LOGITS: case.logits, **stages}
    tensors = {name: torch.from_numpy(np.array(values[name])) for name in step.reads}
    if generator is None:
        generator = start_generator(case)
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
        generator = start_generator(case)
        logits = torch.from_numpy(case.logits.copy())
        outcome = Outcome()
        for draw in range(case.draws):
            try:
                token = self._call(case, logits, generator, outcome if draw == 0 else None)
            except SAMPLER_ERRORS as error:
                outcome.failure = Failure(type(error).__name__, str(error), draw)
                break
            outcome.tokens.append(token.numpy().reshape(-1))
        outcome.input = logits.numpy()
        outcome.generator = generator.get_state().numpy().tobytes()
        return outcome

    def _call(
        self, case: Case, logits: torch.Tensor, generator: torch.Generator, kept: Outcome | None
    ) -> torch.Tensor:
        """Make one call; its stages go into ``kept``, if that is given."""
        pipeline, arguments = case.pipeline, (logits, case.parameters, generator)
        stages: dict[str, torch.Tensor]
        if pipeline.whole is None:
            stages = _composed(pipeline, *arguments)
        elif kept is None:
            token: torch.Tensor = pipeline.whole(*arguments, traced=False)
            return token
        else:
            trace = pipeline.whole(*arguments, traced=True)
            stages = {name: getattr(trace, name) for name in pipeline.names}
        if kept is not None:
            kept.stages = {name: stages[name].numpy() for name in pipeline.names[:-1]}
        return stages[TOKEN]


def _composed(
    pipeline: Pipeline, logits: torch.Tensor, parameters: Parameters, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Compute a pipeline's stages one after the other; ``logits`` are changed where it does so.

    A test shows that this is ``python_ref``, bit for bit, for the pipelines that it has.
    """
    tensors = {LOGITS: logits}
    for stage in pipeline.stages:
        tensors[stage.name] = stage.reference(tensors, parameters, generator)
        if pipeline.in_place and stage.kind != "draw":
            logits.copy_(tensors[stage.name])
    return tensors
