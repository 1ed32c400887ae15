"""Makes an implementation of one function: the shortest way to have your own sampler judged."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sampler_parity.model.case import Case
from sampler_parity.model.implementation import (
    LONGEST_ROW,
    About,
    Capabilities,
    Effect,
    Stream,
    Uniform,
    View,
)
from sampler_parity.model.outcome import Failure, Lost, Outcome, UnfitError, dtype_of, fit
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines import SampleLogits

Array = npt.NDArray[Any]
Logits = npt.NDArray[np.float32]
Answer = Mapping[str, Any] | int | npt.NDArray[np.int64]
Call = Callable[..., Answer]
"""Called with logits, parameters (the case's, such as :class:`SampleLogits`) and generator; of a
sampler that looks back, with ``history`` as well."""


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
        uniform: makes a generator whose next uniform is the given number of [0, 1).
    """

    about: About
    call: Call
    generator: Callable[[int], Any]
    advance: Callable[[Any, int], Any] | None = None
    state: Callable[[Any], bytes] | None = None
    batched: bool = False
    accepts: Callable[[Case], str] = field(default=lambda _: "")
    uniform: Callable[[float], Any] | None = None

    def run(self, case: Case, capability: str) -> Outcome:
        """Run the case; ``capability`` is not for functions that compute in one way only."""
        del capability
        late = "it cannot begin in mid-stream" if case.advance and not self._can_advance else ""
        if declined := late or self.accepts(case):
            return Outcome(declined=declined)
        if case.uniform is not None and self.uniform is None:
            return Outcome(declined="it takes no uniform that is given")
        try:
            return self._outcome(case)
        except UnfitError as error:
            return Outcome(lost=Lost(Verdict.UNFIT, str(error)))

    def _outcome(self, case: Case) -> Outcome:
        if case.uniform is not None and self.uniform is not None:
            generator = _given("uniform", self.uniform, case.uniform)
        else:
            generator = _given("generator", self.generator, case.seed)
        if case.advance and self.advance is not None:
            _given("advance", self.advance, generator, case.advance)
        outcome = Outcome(input=case.logits.copy())
        for draw in range(case.draws):
            try:
                answers = self._answers(outcome.input, case, generator)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001  (whatever it raises is what is compared)
                outcome.failure = Failure(type(error).__name__, str(error), draw)
                break
            shown = self.about.stages(case) if not draw else ("token",)
            stages = self._stages(answers, case.logits, shown)
            outcome.tokens.append(stages.pop("token"))
            if not draw:
                outcome.stages = stages
        if self.state is not None and case.uniform is None:
            outcome.generator = _given("state", self.state, generator)
        return outcome

    @property
    def _can_advance(self) -> bool:
        return self.advance is not None or self.about.stream == "own"

    def _answers(self, logits: Logits, case: Case, generator: Any) -> list[Answer]:
        arguments = (case.parameters, generator)
        whole = self.batched or logits.ndim == 1
        rows, histories = ([logits], [case.history]) if whole else (logits, case.history)
        if not case.pipeline.looks_back or histories is None:
            return [self.call(row, *arguments) for row in rows]
        return [
            self.call(row, *arguments, history=history)
            for row, history in zip(rows, histories, strict=True)
        ]

    def _stages(
        self, answers: list[Answer], logits: Logits, shown: tuple[str, ...]
    ) -> dict[str, Array]:
        """Give what one call shows, its values as they are.

        Raises:
            UnfitError: something is missing, or has another form.
        """
        whole = self.batched or logits.ndim == 1
        shape = logits.shape if whole else logits.shape[1:]
        rows = math.prod(shape[:-1])
        found = {name: [_value(answer, name) for answer in answers] for name in shown}
        stages: dict[str, Array] = {}
        for name, values in found.items():
            if name == "token":
                tokens = [fit(name, value, np.int64) for value in values]
                flat = [fit(name, _column(value), np.int64, (rows,)) for value in tokens]
                stages[name] = np.concatenate(flat) if flat else np.empty(0, np.int64)
                continue
            fitting = [fit(name, value, dtype_of(name), shape) for value in values]
            # Of no row at all, an empty array of the dtype.
            rows_of = np.array(fitting, dtype_of(name)).reshape(logits.shape)
            stages[name] = fitting[0] if whole else rows_of
        return stages


def _column(tokens: Array) -> Array:
    """Give tokens [B, 1] as [B], and one token as [1]; others as they are."""
    if tokens.ndim > 1 and tokens.shape[-1] == 1:
        return tokens.reshape(tokens.shape[:-1])
    return tokens.reshape(1) if not tokens.ndim else tokens


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
    capabilities: Capabilities = "all",
    accepts: Callable[[Case], str] = lambda _: "",
    uniform: Callable[[float], Any] | None = None,
    precision: Literal["float32", "float64"] = "float64",
    longest_row: int | None = LONGEST_ROW,
) -> Callable[[Call], PlugIn]:
    """Decorate a function that makes one call of a sampler.

    The function takes logits (f32 [V], or [B, V] if ``batched``), parameters and generator, and
    gives the token (an int or i64 [1]; i64 [B] or [B, 1] if ``batched``); or, to show more than
    tokens, a mapping with ``token`` and ``renormalized`` (``view="probs"``), or with every stage
    (``view="trace"``): f32, or bool for masks, of the shape of its logits. Nothing is converted:
    an answer of another form gets the verdict ``unfit``, in words. What the function raises is
    compared with what the reference raises.

    Args:
        name: how reports call it.
        generator: makes the generator from a seed, an unsigned number of 64 bits; successive calls
            of a case share one.
        version: its own, in any form.
        view: how much it shows.
        stream: ``torch`` if it is meant to draw torch's tokens for torch's seeds.
        samplers: which samplers it has, by the names of their pipelines. One that looks back is
            called with the keyword ``history``, i64 [n], or [B, n] if ``batched``.
        advance: steps a generator by so many 32-bit outputs.
        state: gives a generator's state in torch's form; it is then compared as well.
        batched: whether the function takes all rows at once.
        capabilities: ``one`` if its answers do not depend on torch's dispatch level, the
            environment variable ``ATEN_CPU_CAPABILITY``: it is then compared at one of them only.
        accepts: says of a case why it is not taken; the case is then not compared, in these words.
        uniform: makes a generator whose next uniform is the given number of [0, 1). With it the
            harness draws at the very edges between tokens, which chance does not meet.
        precision: the type of the uniforms that the function draws with.
        longest_row: tokens of the longest row that it takes; ``None`` for any.
    """
    takes: Uniform = "" if uniform is None else precision
    effects: tuple[Effect, ...] = ("input", "generator") if state is not None else ("input",)
    about = About(
        name=name,
        version=version,
        view=view,
        stream=stream,
        effects=effects,
        samplers=samplers,
        uniform=takes,
        longest_row=longest_row,
        capabilities=capabilities,
    )

    def decorate(call: Call) -> PlugIn:
        return PlugIn(about, call, generator, advance, state, batched, accepts, uniform)

    return decorate


def _given(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call what the plug-in gives beside the sampler, whose errors are not the sampler's."""
    try:
        return function(*arguments)
    except MemoryError:
        raise
    except Exception as error:
        words = f"its `{name}` raised {type(error).__name__}: {error}"
        raise UnfitError(f"{words}, called with {', '.join(map(repr, arguments))}") from error


def _value(answer: Answer, name: str) -> Array:
    """Give a stage of an answer as an array of its own dtype."""
    if isinstance(answer, Mapping):
        if name not in answer:
            given = ", ".join(f"`{other}`" for other in answer) or "nothing"
            raise UnfitError(f"there is no `{name}`: the answer has {given}")
        value = answer[name]
    elif name == "token":
        value = answer
    else:
        raise UnfitError(f"there is no `{name}`: the answer is the token alone")
    try:
        return np.asarray(value)
    except Exception as error:
        kind = type(value).__name__
        raise UnfitError(f"`{name}` is of type {kind}, and no array: {error}") from error
