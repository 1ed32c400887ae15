"""Recordings of engines: the form, which ``docs/recordings.md`` describes, and how one is read.

A recording is read in two steps. Opening it walks all records and keeps what their lines say; the
logits and other tensors of a call are read when they are asked for. So a recording of gigabytes
takes as much memory as its lines.
"""

import inspect
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize

from sampler_parity.model.bfloat16 import from_bf16
from sampler_parity.model.errors import CannotJudgeError

VERSION = 1
"""The version of the form that this code reads and writes."""

LONGEST_LINE = 1 << 20
"""Bytes that a record's line may have."""

Value = float | int | str | bool | None
Keep = Literal["whole", "top", "digest"]
Dtype = Literal["F64", "F32", "F16", "BF16"]
Count = Annotated[int, msgspec.Meta(ge=0)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")]
Tensors = dict[str, npt.NDArray[Any]]


class RecordingError(CannotJudgeError):
    """A file is no recording, or a call in it does not hold what its line says."""


class Header(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="header"):
    """The first record.

    Attributes:
        version: of the form.
        engine: the engine's name.
        engine_version: the engine's version, in any form.
        writer: what wrote the file, with its version.
        about: anything else, text by name.
    """

    version: int
    engine: str
    engine_version: str = ""
    writer: str = ""
    about: dict[str, str] = {}


class Random(msgspec.Struct, frozen=True, kw_only=True):
    """Where a draw's random numbers came from.

    Attributes:
        source: ``torch``, ``numpy.RandomState``, ``numpy.Generator``, ``f32-walk`` or another name.
        generator: number of the generator object within the recording, if it is known.
        seed: what the generator was made from, if it is known.
    """

    source: str
    generator: Count | None = None
    seed: int | None = None


class CallError(msgspec.Struct, frozen=True, kw_only=True):
    """What a call raised: the exception's class by name, and its text."""

    kind: str
    message: str = ""


class Call(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="call"):
    """One call of a sampler; ``docs/recordings.md`` describes every field."""

    generation: Count
    phase: str
    call: Count
    site: str = ""
    sampler: str
    parameters: dict[str, Value] = {}
    shape: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1, max_length=2)]
    dtype: Dtype
    keep: Keep = "whole"
    slice: tuple[Count, Count] | None = None
    vocabulary: Count | None = None
    digest: Sha256 = ""
    random: Random | None = None
    token: tuple[int, ...]
    continued: tuple[int, ...] | None = None
    error: CallError | None = None
    bytes: Count = 0

    @property
    def went_on_with(self) -> tuple[int, ...]:
        """The tokens that the engine continued with."""
        return self.token if self.continued is None else self.continued


class Fed(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="fed"):
    """What was handed to the model: ``tokens``, after call ``after`` of ``generation``."""

    generation: Count
    after: Annotated[int, msgspec.Meta(ge=-1)]
    tokens: tuple[int, ...]
    bytes: Count = 0


class End(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="end"):
    """The last record: how many calls there are, and why recording stopped early, if it did."""

    calls: Count
    stopped: str = ""
    bytes: Count = 0


Record = Header | Call | Fed | End
_RECORDS = {"header", "call", "fed", "end"}


class _Line(msgspec.Struct):
    record: str
    bytes: Count = 0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a recording ends.

    Attributes:
        kind: ``closed`` where the engine closed it; ``open`` where it did not, and the last record
            is whole; ``cut`` where the last record is not; ``damaged`` where a record is none, so
            that nothing after it can be read.
        words: the same in a sentence, for people.
    """

    kind: Literal["closed", "open", "cut", "damaged"]
    words: str


@dataclass(slots=True)
class Recording:
    """What an engine did.

    Attributes:
        path: the file.
        header: its first record.
        calls: every call, in the order in which they returned.
        fed: what was handed to the model, in order.
        ending: how the file ends.
        skipped: how many records of unknown kinds there are.
    """

    path: Path
    header: Header
    calls: list[Call] = field(default_factory=list)
    fed: list[Fed] = field(default_factory=list)
    ending: Ending = field(default_factory=lambda: Ending("open", ""))
    skipped: int = 0
    _offsets: list[int] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path | str) -> "Recording":
        """Read all lines of a recording.

        What comes after a cut or a damaged record is not read; ``ending`` says so.

        Raises:
            RecordingError: the file cannot be read, does not begin with a header, or is of another
                version.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(0)
                recording = cls(path, _header(path, file))
                recording.ending = recording._walk(file, size)
        except OSError as error:
            raise RecordingError(f"{path} cannot be read: {error.strerror or error}") from error
        return recording

    def _walk(self, file: BinaryIO, size: int) -> Ending:
        numbers: dict[int, int] = {}
        shared: dict[str, Any] = {}
        while True:
            at = file.tell()
            line = file.readline(LONGEST_LINE)
            if not line:
                words = f"{self.path} was not closed: its engine still runs, or was ended"
                return Ending("open", words)
            if not line.endswith(b"\n") and len(line) < LONGEST_LINE:
                return self._cut(at)
            payload = file.tell()
            try:
                record = _decode(line)
                if payload + record.bytes > size:
                    return self._cut(at)
                if isinstance(record, End):
                    return self._closed(record, at, last=payload + record.bytes == size)
                self._take(record, payload, numbers, shared)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                return self._damaged(at, str(error))
            file.seek(payload + record.bytes)

    def _take(
        self, record: "Call | Fed | _Line", at: int, numbers: dict[int, int], shared: dict[str, Any]
    ) -> None:
        """Keep a record whose tensors begin at byte ``at``.

        Raises:
            ValueError: it is a call with another number than the next one.
        """
        if isinstance(record, Call):
            expected = numbers.get(record.generation, 0)
            if record.call != expected:
                raise ValueError(
                    f"it is call {record.call} of generation {record.generation}, where call "
                    f"{expected} comes next"
                )
            numbers[record.generation] = expected + 1
            self.calls.append(_sharing(record, shared))
            self._offsets.append(at)
        elif isinstance(record, Fed):
            self.fed.append(record)
        else:
            self.skipped += 1

    def _closed(self, end: End, at: int, *, last: bool) -> Ending:
        if end.calls != len(self.calls):
            words = f"it speaks of {end.calls:,} calls, and {len(self.calls):,} precede it"
            return self._damaged(at, words)
        if not last:
            return self._damaged(at, "it is the end, and something follows it")
        if end.stopped:
            return Ending("closed", f"recording stopped before the engine did: {end.stopped}")
        return Ending("closed", "")

    def _cut(self, at: int) -> Ending:
        return Ending("cut", f"{self.path} is cut off in the record that begins at byte {at:,}")

    def _damaged(self, at: int, why: str) -> Ending:
        words = f"{self.path} cannot be read from byte {at:,} on: the record there is none: {why}"
        return Ending("damaged", words)

    def generations(self) -> dict[int, list[int]]:
        """Give the indices of the calls of each generation, in order."""
        found: dict[int, list[int]] = {}
        for index, call in enumerate(self.calls):
            found.setdefault(call.generation, []).append(index)
        return found

    def tensors(self, index: int) -> Tensors:
        """Read the tensors of the call at ``index``; bf16 logits come as f32.

        Raises:
            RecordingError: they are not what the call's line says.
        """
        call = self.calls[index]
        try:
            with self.path.open("rb") as file:
                file.seek(self._offsets[index])
                payload = file.read(call.bytes)
            found = _tensors(payload)
            _check(call, found)
        except OSError as error:
            raise RecordingError(f"{self.path} cannot be read: {error.strerror}") from error
        except (SafetensorError, ValueError, KeyError) as error:
            raise RecordingError(
                f"{self.path}: call {call.call} of generation {call.generation} ({call.phase}) "
                f"does not hold what its line says: {error}"
            ) from error
        return found


def _header(path: Path, file: BinaryIO) -> Header:
    line = file.readline(LONGEST_LINE)
    try:
        if not line.endswith(b"\n"):
            raise RecordingError(f"{path} is no recording: its first line is not whole")
        version = msgspec.json.decode(line, type=_Version).version
        if version != VERSION:
            raise RecordingError(
                f"{path} is a recording of version {version}, and this code reads {VERSION}"
            )
        return msgspec.json.decode(line, type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordingError(
            f"{path} is no recording: it does not begin with a header: {error}"
        ) from error


class _Version(msgspec.Struct, tag_field="record", tag="header"):
    version: int


def _decode(line: bytes) -> Call | Fed | End | _Line:
    if not line.endswith(b"\n"):
        raise ValueError(f"its line is longer than {LONGEST_LINE:,} bytes")
    kind = msgspec.json.decode(line, type=_Line)
    if kind.record not in _RECORDS:
        return kind
    return msgspec.json.decode(line, type=Call | Fed | End)


def _sharing(call: Call, shared: dict[str, Any]) -> Call:
    """Have equal parts of many calls be one object."""

    def one(value: Any) -> Any:
        return shared.setdefault(repr(value), value)

    return msgspec.structs.replace(
        call,
        phase=one(call.phase),
        site=one(call.site),
        sampler=one(call.sampler),
        parameters=one(call.parameters),
        shape=one(call.shape),
        slice=one(call.slice),
        random=one(call.random),
    )


class _Raw(msgspec.Struct):
    dtype: str
    shape: tuple[Count, ...]
    data: bytes


_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "U8": "u1"}


def _tensors(payload: bytes) -> Tensors:
    found: Tensors = {}
    if not payload:
        return found
    entries: Any = deserialize(payload)  # type: ignore[no-untyped-call]  # its stub has no types
    for name, raw in entries:
        kind = _NUMPY.get(raw["dtype"])
        if kind is None:
            raise ValueError(f"{name} has the dtype {raw['dtype']}")
        values = np.frombuffer(bytes(raw["data"]), kind).reshape(raw["shape"])
        found[name] = from_bf16(values) if raw["dtype"] == "BF16" else values
    return found


def _check(call: Call, found: Tensors) -> None:
    rows, vocab = (1, *call.shape)[-2:]
    held: tuple[int, ...] = call.shape
    if call.keep == "digest":
        if not call.digest:
            raise ValueError("it keeps a digest of its logits and has none")
    else:
        logits = found["logits"]
        if call.keep == "top":
            tokens, rest = found["tokens"], found["rest"]
            held = (rows, tokens.shape[-1] if tokens.ndim else 0)
            if tokens.shape != held or rest.shape != (rows,):
                raise ValueError(f"tokens are {list(tokens.shape)} and rest {list(rest.shape)}")
            if tokens.size and not 0 <= tokens.min() <= tokens.max() < vocab:
                raise ValueError(f"it keeps a token beyond its {vocab:,} logits")
        if logits.shape != held:
            raise ValueError(f"logits are {list(logits.shape)}, not {list(held)}")
        expected = np.dtype(_NUMPY["F32" if call.dtype == "BF16" else call.dtype])
        if logits.dtype != expected:
            raise ValueError(f"logits are {logits.dtype}, not {call.dtype}")
    if call.error is None and len(call.token) != rows:
        raise ValueError(f"it has {len(call.token)} tokens for {rows} rows")
    if call.slice is not None and call.slice[1] - call.slice[0] != vocab:
        raise ValueError(f"its slice {list(call.slice)} is not of {vocab:,} logits")


Kind = TypeVar("Kind", Header, Call, Fed, End)


def encode(
    record: Kind, tensors: Mapping[str, tuple[str, npt.NDArray[Any]]] | None = None
) -> bytes:
    """Give a record's bytes; ``tensors`` has a safetensors dtype and an array for each name."""
    if not tensors:
        return msgspec.json.encode(record) + b"\n"
    payload = _safetensors(tensors)
    sized: Any = msgspec.structs.replace(record, bytes=len(payload))
    return msgspec.json.encode(sized) + b"\n" + payload


def _safetensors(tensors: Mapping[str, tuple[str, npt.NDArray[Any]]]) -> bytes:
    """Write safetensors; the library's own writer for numpy has no bf16.

    The format: the header's length, u64; the header, JSON, padded by spaces to a multiple of 8; the
    tensors' bytes, little endian, without gaps.
    """
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    at = 0
    for name, (dtype, values) in tensors.items():
        data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": (at, at + len(data))}
        parts.append(data)
        at += len(data)
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % 8)
    return b"".join((len(text).to_bytes(8, "little"), text, *parts))


def json_value(value: Any) -> Value:
    """Give a parameter's value in a form that JSON has; what has none is told as text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return repr(value)


def schema() -> str:
    """Give the JSON schema of a record's line, as ``docs/recordings.schema.json`` holds it."""
    found = msgspec.json.schema(Header | Call | Fed | End)
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = "A record's line in a recording of an engine"
    for kind in found["$defs"].values():
        if "description" in kind:
            # msgspec takes the docstring with its indentation before 0.23, and without since.
            kind["description"] = inspect.cleandoc(kind["description"])
    return json.dumps(found, indent=2) + "\n"


def values_of(recording: Recording) -> Iterator[tuple[Call, Tensors]]:
    """Give every call with its tensors, in order. Raises as :meth:`Recording.tensors` does."""
    for index, call in enumerate(recording.calls):
        yield call, recording.tensors(index)
