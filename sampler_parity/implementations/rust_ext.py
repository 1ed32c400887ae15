"""The port."""

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

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
        generator = port_generator(self._extension, case)
        logits = case.logits.copy()
        outcome = Outcome()
        for draw in range(case.draws):
            try:
                token = self._call(
                    case, capability, logits, generator, outcome if draw == 0 else None
                )
            except SAMPLER_ERRORS as error:
                outcome.failure = Failure(type(error).__name__, str(error), draw)
                break
            outcome.tokens.append(token.reshape(-1))
        outcome.input = logits
        outcome.generator = generator.get_state()
        return outcome

    def _call(
        self,
        case: Case,
        capability: str,
        logits: npt.NDArray[np.float32],
        generator: Any,
        traced: Outcome | None,
    ) -> npt.NDArray[np.int64]:
        arguments: dict[str, Any] = dict(values_of(case.parameters))
        if case.pipeline.level_dependent:
            arguments |= {"capability": capability, "threads": case.threads}
        if traced is None:
            call = getattr(self._extension, case.pipeline.name)
            token: npt.NDArray[np.int64] = call(logits, generator=generator, **arguments)
            return token
        call = getattr(self._extension, f"trace_{case.pipeline.name}")
        trace = call(logits, generator=generator, **arguments)
        for stage in case.pipeline.names[:-1]:
            traced.stages[stage] = getattr(trace, stage)
        traced_token: npt.NDArray[np.int64] = trace.token
        return traced_token
