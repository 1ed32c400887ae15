"""The reference on a call's recorded inputs: its law, its token, and how a token is judged."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from sampler_parity.implementations.python_ref import (
    PythonRef,
    capability_here,
    composed,
    reference_stage,
)
from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import SAMPLER_ERRORS, Failure, Outcome
from sampler_parity.model.pipeline import NoisyArgmax, Parameters
from sampler_parity.model.verdict import Divergence
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.law import law_of

Logits = npt.NDArray[np.float32]
Law = npt.NDArray[np.float64]

DRAWS = 4
"""How many draws of a call are looked through for its token."""


@dataclass(frozen=True)
class Inputs:
    """What the reference needs of a call.

    Attributes:
        parameters: which sampler, and its parameters.
        logits: f32 [V] or [B, V], as they were passed.
        state: the generator's state on entry, in torch's form; empty where it is not known.
    """

    parameters: Parameters
    logits: Logits = field(repr=False)
    state: bytes = field(default=b"", repr=False)

    @cached_property
    def case(self) -> Case:
        """The call as a case."""
        return Case("call", "call", self.logits, self.parameters, seed=0, state=self.state)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the reference gives: the tokens, and the generator's state afterwards; or it raises."""

    tokens: tuple[int, ...] = ()
    state: bytes = b""
    error: str = ""


def answers(inputs: Inputs, draws: int = 1) -> Answer:
    """Draw ``draws`` times with the generator that the call began with, and give the last answer.

    Each draw is from the logits as they were passed.
    """
    generator = torch.Generator("cpu")
    generator.set_state(torch.frombuffer(bytearray(inputs.state), dtype=torch.uint8))
    whole = inputs.parameters.pipeline.whole
    tokens: tuple[int, ...] = ()
    for _ in range(draws):
        logits = torch.from_numpy(inputs.logits.copy())
        try:
            if whole is not None:
                found = whole(logits, inputs.parameters, generator)
            else:
                stages = composed(inputs.parameters.pipeline)
                found = stages(logits, inputs.parameters, generator)[inputs.parameters.stages[-1]]
        except SAMPLER_ERRORS as error:
            return Answer(error=type(error).__name__)
        tokens = tuple(found.reshape(-1).tolist())
    return Answer(tokens, generator.get_state().numpy().tobytes())


def weights_of(inputs: Inputs) -> Logits | None:
    """Give what the draw takes, f32 [B, V]; ``None`` where that is no distribution.

    That is what the reference computes, rounded as it rounds.
    """
    if not inputs.parameters.pipeline.final:
        return None
    values: dict[str, npt.NDArray[np.float32]] = {}
    case = inputs.case
    try:
        for stage in case.pipeline.names:
            values[stage] = reference_stage(stage, case, values)
            if stage == case.pipeline.final:
                break
    except SAMPLER_ERRORS:
        return None
    final = np.atleast_2d(values[case.pipeline.final])
    usable = np.isfinite(final).all() and (final >= 0).all() and (final.sum(axis=-1) > 0).all()
    return final if usable else None


def law(inputs: Inputs) -> Law | None:
    """Give the probability of every token, f64 [B, V]; ``None`` where the reference has no law."""
    if isinstance(inputs.parameters.pipeline.draw, NoisyArgmax):
        try:
            rows = [
                law_of(row, inputs.parameters).probabilities for row in np.atleast_2d(inputs.logits)
            ]
        except StatisticsError:
            return None
        return np.stack(rows)
    weights = weights_of(inputs)
    if weights is None:
        return None
    wide = weights.astype(np.float64)
    found: Law = wide / wide.sum(axis=-1, keepdims=True)
    return found


def variation(one: Law | None, other: Law | None) -> float | None:
    """Give the largest total variation between two laws' rows; a token that one lacks has 0."""
    if one is None or other is None or len(one) != len(other):
        return None
    longest = max(one.shape[-1], other.shape[-1])
    padded = [np.pad(p, ((0, 0), (0, longest - p.shape[-1]))) for p in (one, other)]
    return float(np.abs(padded[0] - padded[1]).sum(axis=-1).max() / 2)


def judged(
    inputs: Inputs, tokens: tuple[int, ...], state_after: bytes, error: str = ""
) -> Divergence | None:
    """Judge a call's tokens by the reference on the call's own inputs; ``None`` where it is right.

    Without a state on entry a token only has to be one that some correct sampler draws.
    """
    case = inputs.case
    stream = "torch" if inputs.state else "own"
    shows = ("generator",) if inputs.state and state_after else ()
    about = About(name="engine", view="tokens", stream=stream, effects=shows)  # type: ignore[arg-type]  # literals
    reference = PythonRef().run(case, capability_here())
    candidate = Outcome(
        tokens=[] if error else [np.array(tokens, np.int64)],
        failure=Failure(error, "", 0) if error else None,
        generator=state_after,
    )
    comparison = compare(case, reference, candidate, about)
    return judge(case, reference, candidate, comparison, about)
