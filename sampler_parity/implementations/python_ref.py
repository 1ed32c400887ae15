"""The reference."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import python_ref
from sampler_parity.model.case import Case, SampleLogits, SimpleBatch
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import SAMPLER_ERRORS, Failure, Outcome


def capability_here() -> str:
    """Name the dispatch level that this process' torch runs at."""
    return torch.backends.cpu.get_cpu_capability().lower()


def forbid(logits: torch.Tensor, case: Case) -> torch.Tensor:
    """Mask the forbidden token of the simple sampler, if there is one, in place."""
    if isinstance(case.parameters, SimpleBatch) and case.parameters.forbid_token is not None:
        logits[..., case.parameters.forbid_token] = -torch.inf
    return logits


def start_generator(case: Case) -> torch.Generator:
    """Give the generator as the case's first call finds it."""
    generator = torch.Generator("cpu").manual_seed(case.seed)
    if case.advance:
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
    parameters = case.parameters
    generator = start_generator(case) if generator is None else generator
    values = {name: torch.from_numpy(np.array(value)) for name, value in stages.items()}
    logits = forbid(torch.from_numpy(case.logits.copy()), case)
    if isinstance(parameters, SampleLogits):
        return _sample_logits_stage(stage, parameters, logits, values, generator).numpy()
    if stage != "scaled_logits":
        logits = values["noised_logits" if stage == "token" else "scaled_logits"]
    noise = parameters.noise if stage == "noised_logits" else 0.0
    temp = parameters.temp if stage == "scaled_logits" else 1.0
    trace = python_ref.trace_sampler_simple_batch(logits, noise, temp, generator=generator)
    found: torch.Tensor = getattr(trace, stage)
    return found.numpy()


def _sample_logits_stage(
    stage: str,
    parameters: SampleLogits,
    logits: torch.Tensor,
    values: Mapping[str, torch.Tensor],
    generator: torch.Generator,
) -> torch.Tensor:
    found: torch.Tensor
    if parameters.temperature == 0 and parameters.zero_temperature == "argmax":
        trace = python_ref.trace_sample_logits(logits, 0.0, zero_temperature="argmax")
        found = getattr(trace, stage)
    elif stage == "scaled_logits":
        found = logits / parameters.temperature if parameters.temperature != 1.0 else logits
    elif stage == "probs":
        found = torch.nn.functional.softmax(values["scaled_logits"], dim=-1)
    elif stage == "top_k_mask":
        found = torch.ones_like(values["probs"], dtype=torch.bool)
        if parameters.top_k > 0:
            found = ~python_ref.top_k_dropped(values["probs"], parameters.top_k)
    elif stage == "top_p_mask":
        found = torch.ones_like(values["probs"], dtype=torch.bool)
        if parameters.top_p > 0:
            kept = values["probs"].masked_fill(~values["top_k_mask"], 0)
            found = ~python_ref.top_p_dropped(kept, parameters.top_p)
    elif stage == "renormalized":
        kept = values["top_k_mask"] & values["top_p_mask"]
        found = python_ref.renormalize(values["probs"].masked_fill(~kept, 0))
    else:
        found = torch.multinomial(values["renormalized"], 1, generator=generator)
    return found


class PythonRef:
    """``python_ref`` on this process' torch."""

    about = About(name="python_ref", version=str(torch.__version__))

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
        self, case: Case, logits: torch.Tensor, generator: torch.Generator, traced: Outcome | None
    ) -> torch.Tensor:
        parameters = case.parameters
        if isinstance(parameters, SampleLogits):
            arguments = (parameters.temperature, parameters.top_p, parameters.top_k)
            zero_temperature = parameters.zero_temperature
            if traced is None:
                return python_ref.sample_logits(
                    logits, *arguments, generator=generator, zero_temperature=zero_temperature
                )
            trace: Any = python_ref.trace_sample_logits(
                logits, *arguments, generator=generator, zero_temperature=zero_temperature
            )
        else:
            forbid(logits, case)
            noise, temp = parameters.noise, parameters.temp
            if traced is None:
                return python_ref.sampler_simple_batch(logits, noise, temp, generator=generator)
            trace = python_ref.trace_sampler_simple_batch(logits, noise, temp, generator=generator)
        for stage in parameters.stages[:-1]:
            traced.stages[stage] = getattr(trace, stage).numpy()
        token: torch.Tensor = trace.token
        return token
