"""Makes an implementation of one function: the shortest way to have your own sampler judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About, Effect, Stream, View
from sampler_parity.model.outcome import Failure, Outcome
from sampler_parity.model.pipeline import Parameters
from sampler_parity.pipelines import SampleLogits

Logits = npt.NDArray[np.float32]
Answer = Mapping[str, Any] | int | npt.NDArray[np.int64]
Call = Callable[[Logits, Any, Any], Answer]
"""Called with logits, parameters (the case's, such as :class:`SampleLogits`) and generator."""


@dataclass(frozen=True, slots=True)
class PlugIn:
    """A function as an implementation; what :func:`plug_in` gives.

    Attributes:
        about: what it is.
        call: the function.
        generator: makes the generator from a seed.
        advance: steps it by so many 32-bit outputs; without one, cases that begin in mid-stream
            are declined where the stream is torch's.
        state: gives torch's form of its state, 5,056 bytes.
        batched: whether ``call`` takes all rows, [B, V], or one, [V].
        accepts: says of a case why it is declined; nothing, if it is not.
    """

    about: About
    call: Call
    generator: Callable[[int], Any]
    advance: Callable[[Any, int], Any] | None = None
    state: Callable[[Any], bytes] | None = None
    batched: bool = False
    accepts: Callable[[Case], str] = field(default=lambda _: "")

    def run(self, case: Case, capability: str) -> Outcome:
        """Run the case; ``capability`` is not for functions that compute in one way only."""
        del capability
        late = "it cannot begin in mid-stream" if case.advance and not self._can_advance else ""
        if declined := late or self.accepts(case):
            return Outcome(declined=declined)
        generator = self.generator(case.seed)
        if case.advance and self.advance is not None:
            self.advance(generator, case.advance)
        outcome = Outcome(input=case.logits.copy())
        for draw in range(case.draws):
            try:
                stages = self._call(outcome.input, case.parameters, generator)
                tokens = np.asarray(stages.pop("token"), np.int64).reshape(-1)
            except Exception as error:  # noqa: BLE001  (whatever it raises is what is compared)
                outcome.failure = Failure(type(error).__name__, str(error), draw)
                break
            outcome.tokens.append(tokens)
            if not draw:
                outcome.stages = {k: v.reshape(case.logits.shape) for k, v in stages.items()}
        if self.state is not None:
            outcome.generator = self.state(generator)
        return outcome

    @property
    def _can_advance(self) -> bool:
        return self.advance is not None or self.about.stream == "own"

    def _call(
        self, logits: Logits, parameters: Parameters, generator: Any
    ) -> dict[str, npt.NDArray[Any]]:
        if self.batched or logits.ndim == 1:
            return _stages(self.call(logits, parameters, generator))
        rows = [_stages(self.call(row, parameters, generator)) for row in logits]
        return {stage: np.stack([row[stage] for row in rows]) for stage in rows[0]}


def plug_in(
    name: str,
    *,
    generator: Callable[[int], Any],
    version: str = "",
    view: View = "tokens",
    stream: Stream = "own",
    samplers: tuple[str, ...] = (SampleLogits.sampler,),
    advance: Callable[[Any, int], Any] | None = None,
    state: Callable[[Any], bytes] | None = None,
    batched: bool = False,
    accepts: Callable[[Case], str] = lambda _: "",
) -> Callable[[Call], PlugIn]:
    """Decorate a function that makes one call of a sampler.

    The function takes logits (f32 [V], or [B, V] if ``batched``), parameters and generator, and
    gives the token (or i64 [B]); or, to show more than tokens, a mapping with ``token`` and
    ``renormalized`` (``view="probs"``), or with every stage (``view="trace"``). What it raises is
    compared with what the reference raises.

    Args:
        name: how reports call it.
        generator: makes the generator from a seed; successive calls of a case share one.
        version: its own, in any form.
        view: how much it shows.
        stream: ``torch`` if it is meant to draw torch's tokens for torch's seeds.
        samplers: which of the two samplers it has.
        advance: steps a generator by so many 32-bit outputs.
        state: gives a generator's state in torch's form; it is then compared as well.
        batched: whether the function takes all rows at once.
        accepts: says of a case why it is not taken; the case is then waived, in these words.
    """
    effects: tuple[Effect, ...] = ("input", "generator") if state is not None else ("input",)
    about = About(
        name=name, version=version, view=view, stream=stream, effects=effects, samplers=samplers
    )

    def decorate(call: Call) -> PlugIn:
        return PlugIn(about, call, generator, advance, state, batched, accepts)

    return decorate


def _stages(answer: Answer) -> dict[str, npt.NDArray[Any]]:
    if isinstance(answer, Mapping):
        return {stage: np.asarray(value) for stage, value in answer.items()}
    return {"token": np.asarray(answer)}
