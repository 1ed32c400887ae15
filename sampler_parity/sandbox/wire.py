"""What the gate and a candidate's process say to each other.

A message is one line of JSON, then as many bytes of safetensors as its field ``bytes`` says. The
candidate begins with :class:`Hello`; then every :class:`Ask` gets one :class:`Reply`. Parameters
are JSON numbers, or ``"nan"``, ``"inf"``, ``"-inf"``, which JSON has no numbers for.

An ask carries the tensor ``logits`` (f32 [B, V] or [V]) and, where the case begins with a
generator's state, ``state`` (u8 [5056]); of a sampler that looks back, ``history`` (i64 [B, n], or
[n]). A reply carries ``token`` (i64 [B, calls that returned])
and, where the candidate shows them, the first call's stages by name (f32, or bool for masks, of the
logits' shape), ``input`` (f32, the logits' shape) and ``generator`` (u8 [5056]). What has another
form is never converted: :func:`outcome_of` says what is wrong with it.
"""

import math
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from sampler_parity.model.case import Case, Described
from sampler_parity.model.files import DAMAGED
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Failure, Lost, Outcome, UnfitError, dtype_of, fit
from sampler_parity.model.pipeline import HISTORY, LOGITS
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines.references import REFERENCES, name_of, reference_of

PROTOCOL = 1
OUT_OF_MEMORY = 77
"""Exit status of a candidate that could not allocate."""

RENEWED = 78
"""Exit status of a host's child that made way for one that was asked nothing."""

RENEW = b'{"renew":true}\n'
"""Asks a host to answer the next case in a process that was asked nothing; only hosts get it."""

STATE = 5056
"""Bytes of a torch generator's state."""

LONGEST_LINE = 1 << 20
LARGEST = 1 << 32
WIDEST = 64
"""Bytes for each logit of a case that a reply may have: more than all stages take."""

Tensors = dict[str, npt.NDArray[Any]]


class WireError(Exception):
    """What came is no message."""


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """Who the candidate is.

    Attributes:
        about: what it is; ``None`` if it cannot be asked.
        protocol: the version of these messages that it speaks.
        cannot: why it cannot be asked, if it cannot.
        forks: whether every crash costs a fork only, and :data:`RENEW` is understood.
        bytes: how many bytes of safetensors follow.
    """

    about: About | None = None
    protocol: int = PROTOCOL
    cannot: str = ""
    forks: bool = False
    bytes: int = 0


class Ask(Described, frozen=True, kw_only=True):
    """A case, and what else is needed to run it.

    Attributes:
        sampler: the sampler's name, as in ``parameters``.
        capability: torch's dispatch level.
        reference: where the sampler is none that comes with the harness: ``module:OBJECT``.
        bytes: how many bytes of safetensors follow.
    """

    sampler: str
    capability: str
    reference: str = ""
    bytes: int = 0


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome.

    Attributes:
        bytes: how many bytes of safetensors follow.
        error: the exception that ended the calls.
        declined: why the candidate does not take such a case.
        panicked: what ended the calls and is no error of a sampler.
        unfit: what is wrong with the form of the answer.
    """

    bytes: int = 0
    error: Failure | None = None
    declined: str = ""
    panicked: str = ""
    unfit: str = ""


Form = TypeVar("Form", Hello, Ask, Reply)


class Reader(Protocol):
    """A binary file that blocks until it has what is asked for."""

    def read(self, size: int, /) -> bytes:
        """Read so many bytes."""


class _Sized(msgspec.Struct):
    bytes: int = 0


def encode(message: Form, tensors: Tensors) -> bytes:
    """Give the message's bytes."""
    payload = save({k: np.ascontiguousarray(v) for k, v in tensors.items()}) if tensors else b""
    line = msgspec.json.encode(msgspec.structs.replace(message, bytes=len(payload)))
    return line + b"\n" + payload


def decode(line: bytes, payload: bytes, kind: type[Form]) -> tuple[Form, Tensors]:
    """Read a message.

    Raises:
        WireError: it is none.
        UnfitError: a tensor has a dtype that numpy does not know.
    """
    try:
        message = msgspec.json.decode(line, type=kind)
        return message, load(payload) if payload else {}
    except KeyError as error:
        # What the library says of such a dtype: its name, and nothing else.
        raise UnfitError(f"a tensor is {error.args[0]}, which no stage is") from error
    except (*DAMAGED, TypeError) as error:
        raise WireError(f"{line[:200]!r} is no {kind.__name__}: {error}") from error


def payload_size(line: bytes) -> int:
    """Give the number of bytes that follow a line.

    Raises:
        WireError: the line is none of a message.
    """
    try:
        size = msgspec.json.decode(line, type=_Sized).bytes
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"{line[:200]!r} is no message: {error}") from error
    if not 0 <= size <= LARGEST:
        raise WireError(f"a message of {size} bytes is none")
    return size


def rest_of_ask(line: bytes, reader: Reader) -> tuple[Ask, Tensors]:
    """Read the rest of an ask whose first line is ``line``.

    Raises:
        WireError: it is none.
    """
    return decode(line, reader.read(payload_size(line)), Ask)


def largest_reply(case: Case) -> int:
    """Give the number of bytes beyond which no reply to ``case`` goes."""
    rows = math.prod(case.logits.shape[:-1])
    return WIDEST * case.logits.size + 8 * rows * case.draws + LONGEST_LINE


def ask_of(case: Case, capability: str) -> bytes:
    """Give the message that asks for ``case``."""
    described = msgspec.structs.asdict(case.described())
    kind = type(case.parameters)
    own = "" if kind.sampler in REFERENCES else name_of(kind)
    message = Ask(**described, sampler=kind.sampler, capability=capability, reference=own)
    tensors: Tensors = {LOGITS: case.logits}
    if case.history is not None:
        tensors[HISTORY] = case.history
    if case.state:
        tensors["state"] = np.frombuffer(case.state, np.uint8)
    return encode(message, tensors)


def case_of(ask: Ask, tensors: Tensors) -> Case:
    """Give the case that is asked for.

    Raises:
        CannotJudgeError: its sampler cannot be loaded.
    """
    state = tensors.get("state", np.empty(0, np.uint8)).tobytes()
    kind = reference_of(ask.reference or ask.sampler)
    return ask.case(tensors[LOGITS], kind, state, tensors.get(HISTORY))


def reply_of(outcome: Outcome, about: About) -> bytes:
    """Give the message that answers with ``outcome``.

    Raises:
        UnfitError: something cannot be put into a tensor as it is.
    """
    if outcome.declined:
        return encode(Reply(declined=outcome.declined), {})
    if outcome.lost is not None:
        return encode(Reply(unfit=outcome.lost.words), {})
    tensors = {name: fit(name, values, dtype_of(name)) for name, values in outcome.stages.items()}
    if outcome.tokens:
        rows = np.shape(outcome.tokens[0])
        calls = [fit("token", tokens, np.int64, rows) for tokens in outcome.tokens]
        tensors["token"] = np.stack(calls, axis=-1)
    if "input" in about.effects:
        tensors["input"] = fit("input", outcome.input, np.float32)
    if "generator" in about.effects:
        if not isinstance(outcome.generator, bytes):
            kind = type(outcome.generator).__name__
            raise UnfitError(f"the generator's state is of type {kind}, and no bytes")
        tensors["generator"] = np.frombuffer(outcome.generator, np.uint8)
    return encode(Reply(error=outcome.failure), tensors)


def outcome_of(reply: Reply, tensors: Tensors, case: Case, about: About) -> Outcome:
    """Give the outcome of ``case`` that a reply tells, its values as they came.

    Raises:
        UnfitError: something that ``about`` promises is missing, or has another form.
    """
    if reply.panicked:
        return Outcome(lost=Lost(Verdict.CRASHED, f"panicked: {reply.panicked}"))
    if reply.unfit:
        raise UnfitError(reply.unfit)
    if reply.declined:
        return Outcome(declined=reply.declined)
    calls = _calls(reply, case)
    shape = case.logits.shape
    outcome = Outcome(failure=reply.error)
    if calls:
        tokens = _tokens(tensors, shape, calls)
        outcome.tokens = [tokens[:, call] for call in range(calls)]
    for stage in about.stages(case) if calls else ():
        if stage != "token":
            outcome.stages[stage] = fit(stage, _given(tensors, stage), dtype_of(stage), shape)
    if "input" in about.effects:
        outcome.input = fit("input", _given(tensors, "input"), np.float32, shape)
    if "generator" in about.effects:
        state = fit("generator", _given(tensors, "generator"), np.uint8, (STATE,))
        outcome.generator = state.tobytes()
    return outcome


def _calls(reply: Reply, case: Case) -> int:
    """Count the calls that returned."""
    if reply.error is None:
        return case.draws
    if not 0 <= reply.error.draw < case.draws:
        words = f"call {reply.error.draw} is said to have raised, of {case.draws} calls"
        raise UnfitError(f"{words}; calls are counted from 0")
    return reply.error.draw


def _tokens(tensors: Tensors, shape: tuple[int, ...], calls: int) -> npt.NDArray[np.int64]:
    tokens = _given(tensors, "token")
    if len(shape) == 1 and tokens.ndim == 1:
        # Of one row, [V], the calls' tokens may stand for themselves.
        tokens = tokens[None]
    return fit("token", tokens, np.int64, (math.prod(shape[:-1]), calls))


def _given(tensors: Tensors, name: str) -> npt.NDArray[Any]:
    if name not in tensors:
        given = ", ".join(f"`{other}`" for other in sorted(tensors)) or "nothing"
        raise UnfitError(f"there is no `{name}`: the answer has {given}")
    return tensors[name]
