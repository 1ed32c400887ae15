"""Portable vectors, ``fixtures/vectors/``: what a reference gives, for use in any language.

``docs/vectors.md`` describes the files for who reads them elsewhere. A small vector is a line of a
JSON file; a large one has its numbers in a safetensors file, and the rest in that file's metadata.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import load_file

from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import DAMAGED

FOLDER = "vectors"
"""Their folder in the fixtures folder."""

SCHEMA = 1
"""The version of the form."""

_Array = npt.NDArray[Any]


class Vector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vector without its large numbers.

    Attributes:
        id: the case's, which ``sampler-parity explain`` takes as well.
        pipeline: the sampler's name.
        flags: what it stresses, of :data:`sampler_parity.record.vectors.FLAGS`.
        parameters: by name; numbers that JSON lacks are ``"nan"``, ``"inf"`` and ``"-inf"``.
        seed: of the generator.
        advance: how many 32-bit outputs the generator gives before the first call.
        draws: how many calls are made with one generator.
        shape: of the logits, [B, V] or [V].
        history: the tokens before each call, i64 [B, n]; ``None`` where the sampler takes none.
        refused: index of the call that the reference refuses, and ``None`` where it refuses none.
        token: i64 [B, calls that returned].
        next_outputs: the next four 32-bit outputs of the generator after all calls.
        state_sha256: of the generator's state after all calls.
    """

    id: str
    pipeline: str
    flags: tuple[str, ...]
    parameters: dict[str, float | int | str | None]
    seed: int
    advance: int
    draws: int
    shape: tuple[int, ...]
    history: tuple[tuple[int, ...], ...] | None
    refused: int | None
    token: tuple[tuple[int, ...], ...]
    next_outputs: tuple[int, ...]
    state_sha256: str


class VectorLine(Vector, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vector with its large numbers in text: f32 by their bits, eight hexadecimal digits each.

    Attributes:
        logits: f32, row by row.
        stages: of the first call, by name and in order: f32, or 0 and 1 of a mask.
        logits_after: f32, the logits after all calls.
    """

    logits: str
    stages: dict[str, str]
    logits_after: str


class SmallFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON file of small vectors.

    Attributes:
        schema: see :data:`SCHEMA`.
        capability: torch's dispatch level.
        torch: its version.
        vectors: one a line.
    """

    schema: int
    capability: str
    torch: str
    vectors: list[VectorLine]


class _Metadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: int
    capability: str
    torch: str
    vectors: list[Vector]


@dataclass(frozen=True, slots=True)
class VectorNumbers:
    """What is large of a vector.

    Attributes:
        logits: f32, of the vector's shape.
        stages: of the first call, by name: f32, and bool of masks; none where it was refused.
        logits_after: f32, the logits after all calls.
        state: the generator's state after all calls; empty where the file has only its digest.
    """

    logits: _Array
    stages: dict[str, _Array]
    logits_after: _Array
    state: bytes = field(default=b"", repr=False)


def as_text(values: _Array) -> str:
    """Write a mask as 0 and 1, and f32 by their bits, in the order of memory."""
    if values.dtype == np.bool_:
        return "".join("01"[int(one)] for one in values.ravel())
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return " ".join(f"{one:08x}" for one in bits.ravel().tolist())


def from_text(text: str, shape: tuple[int, ...], *, mask: bool) -> _Array:
    """Read what :func:`as_text` writes.

    Raises:
        ValueError: it is not that, or has another number of values.
    """
    if mask:
        if not set(text) <= set("01"):
            raise ValueError(f"a mask is written in 0 and 1, not {text[:20]!r}")
        return np.array([one == "1" for one in text], np.bool_).reshape(shape)
    bits = np.array([int(one, 16) for one in text.split()], np.uint32)
    return bits.view(np.float32).reshape(shape)


def small_file(capability: str, torch: str, vectors: list[tuple[Vector, VectorNumbers]]) -> bytes:
    """Write vectors as JSON, one a line."""
    head = msgspec.json.encode({"schema": SCHEMA, "capability": capability, "torch": torch})
    lines = [
        msgspec.json.encode(
            VectorLine(
                **msgspec.structs.asdict(vector),
                logits=as_text(numbers.logits),
                stages={name: as_text(values) for name, values in numbers.stages.items()},
                logits_after=as_text(numbers.logits_after),
            )
        )
        for vector, numbers in vectors
    ]
    return head[:-1] + b',"vectors":[\n' + b",\n".join(lines) + b"\n]}\n"


def large_file(
    capability: str, torch: str, vectors: list[tuple[Vector, VectorNumbers]]
) -> tuple[dict[str, _Array], dict[str, str]]:
    """Give tensors and metadata of a safetensors file of vectors."""
    tensors: dict[str, _Array] = {}
    for vector, numbers in vectors:
        named = {"logits": numbers.logits, "logits_after": numbers.logits_after, **numbers.stages}
        tensors |= {f"{vector.id} {name}": np.array(values) for name, values in named.items()}
        tensors[f"{vector.id} state"] = np.frombuffer(numbers.state, np.uint8)
    listed = _Metadata(
        schema=SCHEMA, capability=capability, torch=torch, vectors=[one for one, _ in vectors]
    )
    return tensors, {"vectors": msgspec.json.encode(listed).decode()}


def load_vectors(path: Path) -> tuple[str, list[tuple[Vector, VectorNumbers]]]:
    """Read a file of vectors; give the capability that they were recorded at, and the vectors.

    Raises:
        CannotJudgeError: the file is missing, damaged, or of another version.
    """
    try:
        return _load_large(path) if path.suffix == ".safetensors" else _load_small(path)
    except DAMAGED as error:
        raise CannotJudgeError(f"{path} cannot be read as vectors: {error}") from error


def _check(path: Path, schema: int) -> None:
    if schema != SCHEMA:
        raise CannotJudgeError(f"{path} has schema {schema}, and this version reads {SCHEMA}")


def _load_small(path: Path) -> tuple[str, list[tuple[Vector, VectorNumbers]]]:
    file = msgspec.json.decode(path.read_bytes(), type=SmallFile)
    _check(path, file.schema)
    return file.capability, [(_without_numbers(line), _numbers(line)) for line in file.vectors]


def _without_numbers(line: VectorLine) -> Vector:
    return Vector(**{name: getattr(line, name) for name in Vector.__struct_fields__})


def _numbers(line: VectorLine) -> VectorNumbers:
    shape = line.shape
    return VectorNumbers(
        from_text(line.logits, shape, mask=False),
        {
            name: from_text(text, shape, mask=name.endswith("_mask"))
            for name, text in line.stages.items()
        },
        from_text(line.logits_after, shape, mask=False),
    )


def _load_large(path: Path) -> tuple[str, list[tuple[Vector, VectorNumbers]]]:
    with safe_open(path, "numpy") as file:
        metadata = file.metadata() or {}
    listed = msgspec.json.decode(metadata["vectors"], type=_Metadata)
    _check(path, listed.schema)
    tensors = load_file(path)
    found = []
    for vector in listed.vectors:
        own = {
            name.removeprefix(f"{vector.id} "): values
            for name, values in tensors.items()
            if name.startswith(f"{vector.id} ")
        }
        logits, after, state = (own.pop(name) for name in ("logits", "logits_after", "state"))
        found.append((vector, VectorNumbers(logits, own, after, state.tobytes())))
    return listed.capability, found
