"""What the gate and a candidate's process say to each other.

A message is one line of JSON, then as many bytes of safetensors as its field ``bytes`` says. The
candidate begins with :class:`Hello`; then every :class:`Ask` gets one :class:`Reply`. Parameters
are JSON numbers, or ``"nan"``, ``"inf"``, ``"-inf"``, which JSON has no numbers for.

An ask carries the tensor ``logits`` (f32 [B, V] or [V]) and, where the case begins with a
generator's state, ``state`` (u8 [5056]). A reply carries ``token`` (i64 [B, calls
that returned]) and, where the candidate shows them, the first call's stages by name, ``input``
(f32) and ``generator`` (u8 [5056]).
"""

from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sampler_parity.model.case import Case, Described
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Failure, Outcome
from sampler_parity.pipelines import KINDS

PROTOCOL = 1
OUT_OF_MEMORY = 77
"""Exit status of a candidate that could not allocate."""

LONGEST_LINE = 1 << 20
LARGEST = 1 << 32

Tensors = dict[str, npt.NDArray[Any]]


class WireError(Exception):
    """What came is no message."""


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """Who the candidate is; ``cannot`` says why it cannot be asked, if it cannot."""

    about: About | None = None
    protocol: int = PROTOCOL
    cannot: str = ""
    bytes: int = 0


class Ask(Described, frozen=True, kw_only=True):
    """A case, and what else is needed to run it.

    Attributes:
        sampler: the sampler's name, as in ``parameters``.
        capability: torch's dispatch level.
        bytes: how many bytes of safetensors follow.
    """

    sampler: str
    capability: str
    bytes: int = 0


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome.

    Attributes:
        bytes: how many bytes of safetensors follow.
        error: the exception that ended the calls.
        declined: why the candidate does not take such a case.
        panicked: what ended the calls and is no error of a sampler.
    """

    bytes: int = 0
    error: Failure | None = None
    declined: str = ""
    panicked: str = ""


Message = TypeVar("Message", Hello, Ask, Reply)


class Reader(Protocol):
    """A binary file that blocks until it has what is asked for."""

    def readline(self, limit: int, /) -> bytes:
        """Read a line."""

    def read(self, size: int, /) -> bytes:
        """Read so many bytes."""


class _Sized(msgspec.Struct):
    bytes: int = 0


def encode(message: Message, tensors: Tensors) -> bytes:
    """Give the message's bytes."""
    payload = save({k: np.ascontiguousarray(v) for k, v in tensors.items()}) if tensors else b""
    line = msgspec.json.encode(msgspec.structs.replace(message, bytes=len(payload)))
    return line + b"\n" + payload


def decode(line: bytes, payload: bytes, kind: type[Message]) -> tuple[Message, Tensors]:
    """Read a message.

    Raises:
        WireError: it is none.
    """
    try:
        return msgspec.json.decode(line, type=kind), load(payload) if payload else {}
    except (msgspec.MsgspecError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise WireError(f"{line[:200]!r} is no {kind.__name__}: {error}") from error


def payload_size(line: bytes) -> int:
    """Give the number of bytes that follow a line.

    Raises:
        WireError: the line is none of a message.
    """
    try:
        size = msgspec.json.decode(line, type=_Sized).bytes
    except msgspec.MsgspecError as error:
        raise WireError(f"{line[:200]!r} is no message: {error}") from error
    if not 0 <= size <= LARGEST:
        raise WireError(f"a message of {size} bytes is none")
    return size


def read(reader: Reader, kind: type[Message]) -> tuple[Message, Tensors] | None:
    """Read one message; ``None`` at the end of the file.

    Raises:
        WireError: what came is none.
    """
    line = reader.readline(LONGEST_LINE)
    return decode(line, reader.read(payload_size(line)), kind) if line else None


def ask_of(case: Case, capability: str) -> bytes:
    """Give the message that asks for ``case``."""
    described = msgspec.structs.asdict(case.described())
    message = Ask(**described, sampler=case.pipeline.name, capability=capability)
    tensors: Tensors = {"logits": case.logits}
    if case.state:
        tensors["state"] = np.frombuffer(case.state, np.uint8)
    return encode(message, tensors)


def case_of(ask: Ask, tensors: Tensors) -> Case:
    """Give the case that is asked for."""
    state = tensors.get("state", np.empty(0, np.uint8)).tobytes()
    return ask.case(tensors["logits"], KINDS, state)


def reply_of(outcome: Outcome, about: About) -> bytes:
    """Give the message that answers with ``outcome``."""
    if outcome.declined:
        return encode(Reply(declined=outcome.declined), {})
    tensors: Tensors = dict(outcome.stages)
    if outcome.tokens:
        tensors["token"] = np.stack(outcome.tokens, axis=-1)
    if "input" in about.effects:
        tensors["input"] = outcome.input
    if "generator" in about.effects:
        tensors["generator"] = np.frombuffer(outcome.generator, np.uint8)
    return encode(Reply(error=outcome.failure), tensors)


def outcome_of(reply: Reply, tensors: Tensors) -> Outcome:
    """Give the outcome that a reply tells."""
    tokens = tensors.pop("token", np.empty((0, 0), np.int64))
    if tokens.ndim == 1:
        tokens = tokens[None]
    outcome = Outcome(
        tokens=[tokens[..., call] for call in range(tokens.shape[-1])],
        failure=reply.error,
        declined=reply.declined,
    )
    outcome.input = tensors.pop("input", outcome.input)
    outcome.generator = tensors.pop("generator", np.empty(0, np.uint8)).tobytes()
    outcome.stages = tensors
    return outcome
