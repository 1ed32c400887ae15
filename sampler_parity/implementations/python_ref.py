"""The reference."""

from typing import Any

import torch

import python_ref
from sampler_parity.case import Case, SampleLogits
from sampler_parity.errors import CannotJudgeError
from sampler_parity.outcome import SAMPLER_ERRORS, Failure, Outcome


class PythonRef:
    """``python_ref`` on this process' torch."""

    name = "python_ref"

    def run(self, case: Case, capability: str) -> Outcome:
        """Run the case; this process' torch must be at ``capability``."""
        here = torch.backends.cpu.get_cpu_capability().lower()
        if here != capability:
            raise CannotJudgeError(
                f"torch runs at capability {here} here, not {capability}: "
                f"set ATEN_CPU_CAPABILITY={capability} before Python starts"
            )
        if torch.get_num_threads() != case.threads:
            torch.set_num_threads(case.threads)
        generator = torch.Generator("cpu").manual_seed(case.seed)
        if case.advance:
            torch.empty(case.advance).uniform_(generator=generator)
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
            if parameters.forbid_token is not None:
                logits[..., parameters.forbid_token] = -torch.inf
            noise, temp = parameters.noise, parameters.temp
            if traced is None:
                return python_ref.sampler_simple_batch(logits, noise, temp, generator=generator)
            trace = python_ref.trace_sampler_simple_batch(logits, noise, temp, generator=generator)
        for stage in parameters.stages[:-1]:
            traced.stages[stage] = getattr(trace, stage).numpy()
        token: torch.Tensor = trace.token
        return token
