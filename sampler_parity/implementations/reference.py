"""The reference of this process: torch's, or the port in its place where torch is not installed.

The port also stands there where a process judges traces that were recorded at a level of another
architecture's torch.

Both modules have what is here. Whoever compares says which of them it was: see
:mod:`sampler_parity.run.certificate`.
"""

import importlib
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.build.installation import how_to_install, is_installed
from sampler_parity.build.processor import stands_at
from sampler_parity.implementations.registry import PORT
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import Implementation
from sampler_parity.model.pipeline import HISTORY, LOGITS


def torch_is_here() -> bool:
    """Whether torch is installed: where it is and cannot be imported, that is an error."""
    return is_installed("torch")


def require_torch(what: str) -> None:
    """Refuse what only torch can answer, where it is not installed.

    Raises:
        CannotJudgeError: it is not.
    """
    if not torch_is_here():
        raise CannotJudgeError(
            f"torch is not installed, and {what} needs it: {how_to_install('torch')}"
        )


def require_reference(implementation: str, reference: str = "") -> None:
    """Refuse to hold a candidate against the port where it is the port, or meant to be another one.

    Raises:
        CannotJudgeError: torch is not installed, and it must be.
    """
    if reference:
        require_torch(f"--reference {reference}")
    if implementation == PORT:
        require_torch(f"a comparison of {PORT}")


@cache
def _here() -> ModuleType:
    name = "python_ref" if torch_is_here() and not stands_at() else "certified_port"
    return importlib.import_module(f"{__package__}.{name}")


def reference_here() -> Implementation:
    """Give the reference, which runs cases at this process' capability."""
    found: Implementation = _here().reference()
    return found


def capability_here() -> str:
    """Name the dispatch level that the reference runs at in this process."""
    name: str = _here().capability_here()
    return name


def start_generator(case: Case) -> Any:
    """Give the generator as the case's first call finds it: torch's, or the pipeline's own."""
    if case.pipeline.stream is not None:
        return case.pipeline.stream.start(case.seed, case.advance, case.state)
    return _here().start_generator(case)


def seeded(seed: int) -> Any:
    """Give torch's generator of a seed."""
    return _here().seeded(seed)


def copied(case: Case, generator: Any) -> Any:
    """Give a generator that goes on as ``generator`` does."""
    if case.pipeline.stream is None:
        return generator.clone_state()
    return case.pipeline.stream.start(0, 0, case.pipeline.stream.state(generator))


def state_of(case: Case, generator: Any) -> bytes:
    """Give the state of a generator that :func:`start_generator` has made, 5,056 bytes."""
    if case.pipeline.stream is not None:
        return case.pipeline.stream.state(generator)
    found: bytes = _here().state_of(generator)
    return found


def sources(case: Case) -> dict[str, npt.NDArray[Any]]:
    """Give what a case's stages start from: the logits, and the history where they look back."""
    found: dict[str, npt.NDArray[Any]] = {LOGITS: case.logits}
    if case.pipeline.looks_back:
        none = np.empty((*case.logits.shape[:-1], 0), np.int64)
        found[HISTORY] = none if case.history is None else case.history
    return found


def reference_stage(
    stage: str,
    case: Case,
    stages: Mapping[str, npt.NDArray[Any]],
    generator: Any = None,
) -> npt.NDArray[Any]:
    """Compute one stage of a case's first call from the given values of earlier stages.

    ``generator`` goes on from where it is; without one, the case's own is started for a stage that
    takes values from it.

    Raises:
        CannotJudgeError: torch is not installed, and the port has no such stage.
    """
    step = case.pipeline.stage(stage)
    values = {**sources(case), **stages}
    if generator is None and step.random:
        generator = start_generator(case)
    found: npt.NDArray[Any] = _here().computed(
        step, case, {name: np.array(values[name]) for name in step.reads}, generator
    )
    return found
