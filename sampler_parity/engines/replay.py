"""The reference on a call's recorded inputs: its law, its token, and how a token is judged.

The port gives both, at every capability and in microseconds; every run of the gate holds it equal
to torch. Where a call is not what the port gives, torch itself decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

from sampler_parity.implementations.registry import PORT, load_implementation
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About, Implementation
from sampler_parity.model.outcome import Failure, Outcome
from sampler_parity.model.pipeline import NoisyArgmax, Parameters, values_of
from sampler_parity.model.verdict import Divergence
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.race import win_probabilities

Logits = npt.NDArray[np.float32]
Law = npt.NDArray[np.float64]

LEVELS_ASKED = ("avx512", "avx2", "default", "neon")
"""The capabilities whose bits are their own, in the order in which they are asked: ``sve256`` has
those of ``avx2``."""

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

    @cached_property
    def outcome(self) -> Outcome:
        """What the port makes of it, at the capability that is asked first."""
        return _port().run(self.case, LEVELS_ASKED[0])


@dataclass(frozen=True, slots=True)
class Answer:
    """What the reference gives: the tokens, and the generator's state afterwards; or it raises."""

    tokens: tuple[int, ...] = ()
    state: bytes = b""
    error: str = ""


@cache
def _port() -> Implementation:
    return load_implementation(PORT)


def answers(inputs: Inputs) -> Iterator[Answer]:
    """Give what the reference may answer: at one capability of torch after the other."""
    yield _answer(inputs.outcome)
    if inputs.parameters.pipeline.level_dependent:
        for capability in LEVELS_ASKED[1:]:
            yield _answer(_port().run(inputs.case, capability))


def later_answers(inputs: Inputs) -> Iterator[tuple[int, Answer]]:
    """Give, with their number, draws after the first one from the same logits."""
    if inputs.parameters.pipeline.in_place:
        return
    for draws in range(2, DRAWS + 1):
        outcome = _port().run(replace(inputs.case, draws=draws), LEVELS_ASKED[0])
        yield draws, _answer(outcome)


def token(inputs: Inputs) -> tuple[int, ...]:
    """Give the reference's tokens; none where it raises."""
    return _answer(inputs.outcome).tokens


def _answer(outcome: Outcome) -> Answer:
    if outcome.failure is not None:
        return Answer(error=outcome.failure.kind)
    return Answer(tuple(outcome.tokens[-1].tolist()), outcome.generator)


def weights_of(inputs: Inputs) -> Logits | None:
    """Give what the draw takes, f32 [B, V]; ``None`` where that is no distribution.

    That is what the reference computes, rounded as it rounds.
    """
    name = inputs.parameters.pipeline.final
    final = np.atleast_2d(inputs.outcome.stages.get(name, np.empty(0, np.float32)))
    usable = final.size and np.isfinite(final).all() and (final >= 0).all()
    return final if usable and (final.sum(axis=-1) > 0).all() else None


def law(inputs: Inputs) -> Law | None:
    """Give the probability of every token, f64 [B, V]; ``None`` where the reference has no law."""
    draw = inputs.parameters.pipeline.draw
    if isinstance(draw, NoisyArgmax):
        scaled = np.atleast_2d(inputs.outcome.stages.get(draw.of, np.empty(0, np.float32)))
        noise = float(np.float32(values_of(inputs.parameters)[draw.noise] or 0))
        if not scaled.size or not np.isfinite(scaled.max(axis=-1)).all() or not noise >= 0:
            return None
        try:
            return np.stack([win_probabilities(row.astype(np.float64), noise) for row in scaled])
        except StatisticsError:
            return None
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
    """Judge a call's tokens by torch on the call's own inputs; ``None`` where they are right.

    Without a state on entry a token only has to be one that some correct sampler draws.
    """
    # Here, not above: torch takes seconds and hundreds of megabytes, and is seldom needed.
    from sampler_parity.implementations.reference import capability_here, reference_here
    from sampler_parity.judge import compare
    from sampler_parity.judge.causes import judge

    case = inputs.case
    about = About(
        name="engine",
        view="tokens",
        stream="torch" if inputs.state else "own",
        effects=("generator",) if inputs.state and state_after else (),
    )
    reference = reference_here().run(case, capability_here())
    candidate = Outcome(
        tokens=[] if error else [np.array(tokens, np.int64)],
        failure=Failure(error, "", 0) if error else None,
        generator=state_after,
    )
    comparison = compare(case, reference, candidate, about)
    return judge(case, reference, candidate, comparison, about)
