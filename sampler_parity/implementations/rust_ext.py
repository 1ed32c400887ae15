"""The port."""

from types import ModuleType
from typing import Any

import numpy as np

from sampler_parity.build.extension import load_extension
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import SAMPLER_ERRORS, Failure, Outcome
from sampler_parity.model.pipeline import values_of


def port_generator(extension: Any, case: Case) -> Any:
    """Give the port's generator as the case's first call finds it."""
    generator = extension.Generator(case.seed)
    if case.state:
        generator.set_state(case.state)
    elif case.advance:
        advance(extension, generator, case.advance)
    return generator


def advance(extension: Any, generator: Any, steps: int) -> None:
    """Step a generator of the port by so many 32-bit outputs."""
    extension.simple_batch_sampler(np.zeros(steps, np.float32), generator=generator)


class RustExt:
    """``rust_ext``: the port behind its Python binding."""

    def __init__(self, extension: ModuleType | None = None, name: str = "rust_ext") -> None:
        """Use ``extension``, or the installed one after checking that it is fresh."""
        self._extension: Any = load_extension() if extension is None else extension
        version = self._extension.build_info()["version"]
        self.about = About(name=name, version=version, longest_row=None, capabilities="asked")

    def run(self, case: Case, capability: str) -> Outcome:
        """Run the case at ``capability``, whatever this machine's is."""
        return self.calls(case, capability, case.threads, case.draws)

    def calls(self, case: Case, capability: str, threads: int, calls: int) -> Outcome:
        """Make so many of a case's calls at ``capability``, as torch has it with ``threads``."""
        pipeline = case.pipeline
        arguments: dict[str, Any] = values_of(case.parameters)
        if pipeline.level_dependent:
            arguments |= {"capability": capability, "threads": threads}
        generator = port_generator(self._extension, case)
        logits = case.logits.copy()
        outcome = Outcome()
        traced = getattr(self._extension, f"trace_{pipeline.name}")
        sample = getattr(self._extension, pipeline.name)
        try:
            trace = traced(logits, generator=generator, **arguments)
            outcome.stages = {stage: getattr(trace, stage) for stage in pipeline.names[:-1]}
            outcome.tokens.append(trace.token.reshape(-1))
            for _ in range(1, calls):
                token = sample(logits, generator=generator, **arguments)
                outcome.tokens.append(token.reshape(-1))
        except SAMPLER_ERRORS as error:
            outcome.failure = Failure(type(error).__name__, str(error), len(outcome.tokens))
        outcome.input = logits
        outcome.generator = generator.get_state()
        return outcome
