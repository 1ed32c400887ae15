"""Records the conformance files of recordings: what a reader has to make of each."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sampler_parity.cases.manifest import describe_file, update_manifest
from sampler_parity.engines.recording import (
    Call,
    CallError,
    End,
    Fed,
    Header,
    Random,
    Recording,
    encode,
)
from sampler_parity.model.files import write_atomically
from sampler_parity.record.recording import LICENCE, versions

_FOLDER = "recordings"
_COMMAND = "sampler-parity record recordings"

_HEADER = Header(
    version=1, engine="conformance", engine_version="1", about={"made": "by hand, no engine"}
)


def record_recordings(folder: Path) -> list[Path]:
    """Write ``recordings/NAME.calls`` and ``NAME.json``, what a reader has to make of it.

    Args:
        folder: the fixtures folder; its manifest is updated.

    Returns:
        The files written.

    Raises:
        FixtureError: the folder has a manifest, but not a valid one.
    """
    entries = []
    for name, (content, why) in _files().items():
        path = folder / _FOLDER / f"{name}.calls"
        write_atomically(path, content)
        write_atomically(path.with_suffix(".json"), expected(path))
        entries += [
            describe_file(
                folder,
                f"{_FOLDER}/{written.name}",
                origin="synthetic",
                licence=LICENCE,
                command=_COMMAND,
                versions=versions(),
                notes=why,
            )
            for written in (path, path.with_suffix(".json"))
        ]
    update_manifest(folder, entries)
    return [folder / entry.path for entry in entries]


def expected(path: Path) -> bytes:
    """Give what a reader makes of a recording, as JSON, a line a record."""
    recording = Recording.open(path)
    calls = []
    for index, call in enumerate(recording.calls):
        tensors = {
            name: {
                "dtype": str(values.dtype),
                "shape": values.shape,
                "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
            }
            for name, values in sorted(recording.tensors(index).items())
        }
        calls.append({**msgspec.to_builtins(call), "tensors": tensors})
    lines = [
        {"header": msgspec.to_builtins(recording.header)},
        *({"call": call} for call in calls),
        *({"fed": msgspec.to_builtins(fed)} for fed in recording.fed),
        {"ending": recording.ending.kind, "skipped": recording.skipped},
    ]
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def _call(number: int, token: tuple[int, ...] = (2,), **changes: Any) -> Call:
    call = Call(
        generation=0,
        phase="global",
        call=number,
        site="engine.c:40 step",
        sampler="sample_logits",
        parameters={"temperature": 1.0, "top_p": 0.95, "top_k": 20},
        shape=(1, 5),
        dtype="F32",
        slice=(0, 5),
        vocabulary=9,
        random=Random(source="torch", generator=0, seed=2**64 - 1),
        token=token,
    )
    return msgspec.structs.replace(call, **changes)


def _logits(rows: int = 1, vocab: int = 5) -> Any:
    values = np.linspace(-2, 2, rows * vocab, dtype=np.float32).reshape(rows, vocab)
    values[0, 0] = -np.inf
    return values


def _encode(call: Call, **tensors: Any) -> bytes:
    return encode(call, {"logits": (call.dtype, _logits()), **tensors})


def _files() -> dict[str, tuple[bytes, str]]:
    state = np.arange(5056, dtype=np.uint64).astype(np.uint8)
    before, after = ("U8", state), ("U8", state[::-1].copy())
    header = encode(_HEADER)
    one = _encode(_call(0), state_before=before, state_after=after)
    two = _encode(_call(1, (4,)), history=("I64", np.array([3, 2], np.int64)))
    fed = encode(Fed(generation=0, after=0, tokens=(8198,)))
    other = _encode(_call(0, generation=1, phase="semantic", continued=(1,)))
    whole = header + one + fed + other + two + encode(End(calls=3))
    return {
        "whole": (whole, "two interleaved generations, one forced, with states and a history"),
        **{name: (header + record + encode(End(calls=1)), why) for name, record, why in _forms()},
        "open": (header + one + two, "not closed: its last record is whole"),
        "cut-in-tensors": (whole[:-300], "cut off in a call's tensors"),
        "cut-in-line": (header + one + two[:40], "cut off in a call's line"),
        "unknown": (
            header + one + b'{"record":"note","bytes":2,"why":1}\nab' + encode(End(calls=1)),
            "a record of unknown kind, with bytes, is skipped",
        ),
        "damaged": (
            header + one + _encode(_call(2)) + two,
            "a call is left out: nothing after it is read",
        ),
        "stopped": (
            header + one + encode(End(calls=1, stopped="no space")),
            "recording stopped before the engine did",
        ),
    }


def _forms() -> Iterator[tuple[str, bytes, str]]:
    bits = np.array([[0xFF80, 0x3F80, 0xBF80, 0x4000, 0x0001]], np.uint16)
    yield (
        "bf16",
        encode(_call(0, dtype="BF16"), {"logits": ("BF16", bits)}),
        "bf16 logits; the digest is of the values as f32",
    )
    yield (
        "top",
        encode(
            _call(0, keep="top"),
            {
                "tokens": ("I64", np.array([[4, 3]], np.int64)),
                "logits": ("F32", np.array([[2.0, 1.0]], np.float32)),
                "rest": ("F64", np.array([0.25])),
            },
        ),
        "the two largest logits, and the mass of the rest",
    )
    digest = hashlib.sha256(_logits().tobytes()).hexdigest()
    yield "digest", encode(_call(0, keep="digest", digest=digest)), "no logits"
    batch = _call(0, (1, 6, 0), shape=(3, 7), slice=None, random=None, parameters={"p": "nan"})
    drawn = ("F64", np.array([0.5, 2.0**-53, 1.0 - 2.0**-53]))
    yield (
        "batch",
        encode(batch, {"logits": ("F32", _logits(3, 7)), "drawn": drawn}),
        "three rows, the drawn values, and a parameter that JSON has no number for",
    )
    failed = _call(0, (), error=CallError(kind="RuntimeError", message="probability tensor"))
    yield "failed", _encode(failed), "a call that raised"
