"""What one side's calls make of their own inputs, and how their generators follow one another."""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from sampler_parity.engines import replay
from sampler_parity.engines.known import sampler_of
from sampler_parity.engines.recording import Call
from sampler_parity.engines.replay import Inputs
from sampler_parity.engines.sides import Name, Side
from sampler_parity.engines.stream import Entry, entry, outputs_between
from sampler_parity.engines.turns import Turn
from sampler_parity.engines.uniform import fits, uniform_of
from sampler_parity.model.errors import CannotJudgeError

SEARCHES = 32
"""How many states that do not follow from the one before are searched for in its stream: a search
that fails takes some 20 ms, and what fails so often is no generator that goes on."""


@dataclass(frozen=True, slots=True)
class Own:
    """What is known of one turn of one side, from its own recording alone.

    Attributes:
        side: ``A`` or ``B``.
        source: where its random numbers come from; empty where that is not known.
        entry: how its generator stands to the call before.
        state: the generator's state on entry; empty where it is not recorded.
        first_of_phase: whether it is its phase's first turn.
        drawn: the random values that its first call has used; ``None`` where they are not recorded.
        earlier: the generator's state on entry to the turn before; empty as above.
        extra: how many draws more than one its token took inside the call.
        strayed: how the generator was left elsewhere than by the reference, though the token is
            the reference's; empty where it was not.
        wrong: the fault and the words, where the token is not what the reference gives; else
            ``None``.
        judged: whether the token was held against the reference's, or its law.
    """

    side: Name
    source: str
    entry: Entry
    state: bytes
    first_of_phase: bool
    drawn: npt.NDArray[Any] | None = None
    earlier: bytes = b""
    extra: int = 0
    strayed: str = ""
    wrong: tuple[str, str] | None = None
    judged: bool = False


class Watch:
    """Follows one side, turn after turn."""

    def __init__(self, side: Side) -> None:
        """Begin before the first call."""
        self._side = side
        self._earlier: Call | None = None
        self._left = b""
        self._began = b""
        self._searches = 0

    def turn(self, turn: Turn) -> Own:
        """Look at the next turn."""
        side = self._side
        call = side.call(turn.first)
        state, _after = side.states(turn.first)
        how = self._entry(call, state)
        last = side.call(turn.last)
        earlier, self._began = self._began, state
        self._earlier, self._left = last, side.states(turn.last)[1]
        made = [self._answer(index) for index in turn.draws]
        wrong = next((one.wrong for one in made if one.wrong is not None), None)
        return Own(
            side=side.name,
            source=call.random.source if call.random is not None else "",
            entry=how,
            state=state,
            first_of_phase=turn.number == 0,
            drawn=side.tensors(turn.first).get("drawn"),
            earlier=earlier,
            extra=sum(one.extra for one in made),
            strayed=next((one.strayed for one in made if one.strayed), ""),
            wrong=wrong,
            judged=all(one.judged for one in made),
        )

    def _entry(self, call: Call, state: bytes) -> Entry:
        search = self._searches < SEARCHES
        found = entry(call, state, self._earlier, self._left, search=search)
        if state and found.how == "other":
            self._searches += 1
        return found

    def _answer(self, index: int) -> "Made":
        side, call = self._side, self._side.call(index)
        inputs = side.inputs(index)
        if inputs is None:
            return Made()
        after = side.states(index)[1]
        error = call.error.kind if call.error is not None else ""
        if inputs.state:
            return _replayed(inputs, call, after, error)
        return _in_law(inputs, side, index, error)


@dataclass(frozen=True, slots=True)
class Made:
    """What a call made of its own inputs; see :class:`Own`."""

    extra: int = 0
    strayed: str = ""
    wrong: tuple[str, str] | None = None
    judged: bool = False


def _replayed(inputs: Inputs, call: Call, after: bytes, error: str) -> Made:
    """Hold a call against the reference on the same generator."""
    answer = replay.Answer()
    for answer in replay.answers(inputs):
        if error or answer.error:
            if bool(error) == bool(answer.error):
                return Made(judged=True)
            told = f"raises {error}" if error else f"gives token {list(call.token)}"
            expected = f"raises {answer.error}" if answer.error else "gives a token"
            return Made(judged=True, wrong=("error", f"{told} where the reference {expected}"))
        if call.token == answer.tokens and after in {b"", answer.state}:
            return Made(judged=True)
    for draws, later in replay.later_answers(inputs):
        if after == later.state and call.token in {later.tokens, replay.token(inputs)}:
            return Made(judged=True, extra=draws - 1)
    if call.token == answer.tokens:
        taken = outputs_between("torch", inputs.state, after)
        asked = outputs_between("torch", inputs.state, answer.state)
        took = "an unknown number of" if taken is None else f"{taken:,}"
        words = (
            f"takes {took} 32-bit outputs from its generator where the reference takes {asked:,}"
        )
        return Made(judged=True, strayed=words)
    return Made(judged=True, wrong=_wrong(inputs, call, after))


def _wrong(inputs: Inputs, call: Call, after: bytes) -> tuple[str, str]:
    divergence = replay.judged(inputs, call.token, after)
    if divergence is None:
        raise CannotJudgeError(
            f"the port does not give torch's token at call {call.call} of generation "
            f"{call.generation}: run `sampler-parity run`, which must hold"
        )
    cause = divergence.causes[0].words if divergence.causes else divergence.candidate
    words = (
        f"gives token {list(call.token)} on its own inputs where {sampler_of(call)} gives "
        f"{divergence.reference}: {divergence.verdict} at {divergence.stage}: {cause}"
    )
    return str(divergence.verdict), words


def _in_law(inputs: Inputs, side: Side, index: int, error: str) -> Made:
    """Hold a call against the reference's law, and its one uniform where that is known."""
    call = side.call(index)
    weights = replay.weights_of(inputs)
    if weights is None or error or len(call.token) != 1:
        return Made()
    token = call.token[0]
    inside = 0 <= token < weights.shape[-1] and weights[0, token] > 0
    if not inside:
        divergence = replay.judged(inputs, call.token, b"")
        if divergence is not None:
            words = (
                f"gives token {token}, which {sampler_of(call)} cannot draw from its own inputs: "
                f"{divergence.verdict} at {divergence.stage}"
            )
            return Made(judged=True, wrong=(str(divergence.verdict), words))
        return Made(judged=True)
    source = call.random.source if call.random is not None else ""
    uniform = uniform_of(source, side.tensors(index))
    if uniform is None or fits(weights[0], uniform, token):
        return Made(judged=True)
    words = (
        f"gives token {token} for its uniform {uniform:.9g}, where a walk along the law of "
        f"{sampler_of(call)} ends at another, in either order"
    )
    return Made(judged=True, wrong=("walk", words))
