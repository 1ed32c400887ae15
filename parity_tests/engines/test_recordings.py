"""Recordings: what is written is read back, and what is broken is said to be so."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from sampler_parity.engines.recording import (
    LONGEST_LINE,
    Call,
    End,
    Fed,
    Header,
    Random,
    Recording,
    RecordingError,
    encode,
    schema,
    values_of,
)

DOCS = Path(__file__).parents[2] / "docs"
HEADER = Header(version=1, engine="made-up")


def a_call(number: int = 0, generation: int = 0, **changes: Any) -> Call:
    call = Call(
        generation=generation,
        phase="global",
        call=number,
        site="loop.py:12 step",
        sampler="sample_logits",
        parameters={"temperature": 1.0, "top_p": 0.95, "top_k": 20, "odd": "nan"},
        shape=(1, 4),
        dtype="F32",
        slice=(0, 4),
        vocabulary=8,
        random=Random(source="torch", generator=0, seed=2**64 - 1),
        token=(3,),
    )
    return msgspec.structs.replace(call, **changes)


LOGITS = np.array([[0.5, -1.0, np.inf, np.nan]], np.float32)


def a_record(call: Call, values: Any = LOGITS) -> bytes:
    return encode(call, {"logits": (call.dtype, values)})


def whole() -> list[bytes]:
    """Give the records of a recording of two interleaved generations."""
    return [
        encode(HEADER),
        a_record(a_call()),
        encode(Fed(generation=0, after=0, tokens=(8199,))),
        a_record(a_call(generation=1)),
        a_record(a_call(1)),
        encode(End(calls=3)),
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made-up.calls"


def read(path: Path, *records: bytes) -> Recording:
    path.write_bytes(b"".join(records))
    return Recording.open(path)


def test_what_is_written_is_read_back(path: Path) -> None:
    recording = read(path, *whole())
    assert recording.header == HEADER
    assert recording.ending.kind == "closed"
    assert recording.generations() == {0: [0, 2], 1: [1]}
    assert recording.fed == [Fed(generation=0, after=0, tokens=(8199,))]
    call, tensors = next(values_of(recording))
    assert call == a_call(bytes=call.bytes)
    assert tensors["logits"].tobytes() == LOGITS.tobytes()


@pytest.mark.proof
def test_a_cut_loses_one_record(path: Path) -> None:
    """Every prefix of a recording is read up to the last whole record."""
    records = whole()
    ends = np.cumsum([len(record) for record in records])
    content = b"".join(records)
    for length in range(len(records[0]), len(content)):
        recording = read(path, content[:length])
        complete = int((ends <= length).sum())
        kinds = [b'"record":"call"' in record.partition(b"\n")[0] for record in records[:complete]]
        assert len(recording.calls) == sum(kinds), length
        assert recording.ending.kind == ("open" if length in ends else "cut"), length
        assert str(path) in recording.ending.words
        for _ in values_of(recording):
            pass
    for length in range(len(records[0])):
        with pytest.raises(RecordingError, match="is no recording"):
            read(path, content[:length])


def damaged() -> Iterator[tuple[str, bytes, str]]:
    call = a_record(a_call(1))
    yield "no JSON", b"calls\n", "malformed"
    yield "an array", b"[]\n", "Expected `object`"
    yield "a negative size", call.replace(b'"bytes":', b'"bytes":-'), ">= 0"
    yield "a call twice", a_record(a_call(0)), "where call 1 comes next"
    yield "a call left out", a_record(a_call(2)), "where call 1 comes next"
    yield "no sampler", call.replace(b'"sampler"', b'"simpler"'), "missing required field"
    yield "a second header", encode(HEADER), "Invalid value 'header'"
    yield "a long line", b'{"record":"' + b"x" * LONGEST_LINE + b'"}\n', "longer than"
    yield "an end of other calls", encode(End(calls=7)), "it speaks of 7 calls"
    yield "no UTF-8", b'{"record":"call","phase":"\xff"}\n', ""
    yield "a number beyond i64", call.replace(b'"generation":0', b'"generation":1' + b"0" * 400), ""


@pytest.mark.parametrize(
    ("record", "words"), [d[1:] for d in damaged()], ids=[d[0] for d in damaged()]
)
def test_what_is_damaged_is_said_to_be(path: Path, record: bytes, words: str) -> None:
    """The calls before it are judged; nothing after it is."""
    recording = read(path, *whole()[:3], record, a_record(a_call(1)))
    assert recording.ending.kind == "damaged"
    assert words in recording.ending.words
    assert len(recording.calls) == 1


def test_something_after_the_end(path: Path) -> None:
    assert read(path, *whole(), b" ").ending.kind == "damaged"


def test_unknown_kinds_and_fields_are_kept_quiet_about(path: Path) -> None:
    known = whole()
    note = b'{"record":"note","bytes":3,"why":1}\nabc'
    call = known[3].replace(b'{"record"', b'{"mood":"good","record"')
    recording = read(path, *known[:3], note, call, *known[4:])
    assert recording.ending.kind == "closed"
    assert recording.skipped == 1
    assert len(recording.calls) == 3


def test_another_version_is_refused(path: Path) -> None:
    with pytest.raises(RecordingError, match="is a recording of version 2, and this code reads 1"):
        read(path, encode(msgspec.structs.replace(HEADER, version=2)))
    with pytest.raises(RecordingError, match="cannot be read: No such file"):
        Recording.open(path.with_name("missing.calls"))
    with pytest.raises(RecordingError, match="cannot be read: Is a directory"):
        Recording.open(path.parent)


LIES = {
    "another shape": (a_call(shape=(1, 5), slice=None), LOGITS, "not [1, 5]"),
    "another dtype": (a_call(dtype="F16"), LOGITS, "invalid shape, data type, or offset"),
    "another slice": (a_call(slice=(0, 9)), LOGITS, "is not of 4 logits"),
    "a token too many": (a_call(token=(1, 2)), LOGITS, "2 tokens for 1 rows"),
}


@pytest.mark.parametrize(("call", "values", "words"), LIES.values(), ids=LIES)
def test_a_call_that_lies(path: Path, call: Call, values: Any, words: str) -> None:
    recording = read(path, encode(HEADER), a_record(call, values))
    with pytest.raises(RecordingError, match=r"call 0 of generation 0 \(global\) does not hold"):
        recording.tensors(0)
    with pytest.raises(RecordingError, match=words.replace("[", r"\[").replace("]", r"\]")):
        recording.tensors(0)


def test_tensors_that_are_none(path: Path) -> None:
    record = encode(a_call(bytes=9)) + b"not these"
    with pytest.raises(RecordingError, match="does not hold"):
        read(path, encode(HEADER), record).tensors(0)
    with pytest.raises(RecordingError, match="logits"):
        read(path, encode(HEADER), encode(a_call())).tensors(0)


def test_bf16_is_widened(path: Path) -> None:
    bits = np.array([[0x3F80, 0xC000, 0x7F80, 0x0001]], np.uint16)
    call = a_call(dtype="BF16")
    found = read(path, encode(HEADER), encode(call, {"logits": ("BF16", bits)})).tensors(0)
    assert found["logits"].tolist() == [[1.0, -2.0, np.inf, 2.0**-133]]


def test_many_calls_share_what_is_equal(path: Path) -> None:
    """A line's parts that recur are one object, so that a million calls fit into memory."""
    recording = read(path, encode(HEADER), *(a_record(a_call(number)) for number in range(50)))
    first, last = recording.calls[0], recording.calls[-1]
    assert first.parameters is last.parameters
    assert first.random is last.random
    assert first.site is last.site


def test_the_schema_is_the_code() -> None:
    assert (DOCS / "recordings.schema.json").read_text() == schema()
    page = (DOCS / "recordings.md").read_text()
    for record in (Header, Call, Fed, End, Random):
        for name in record.__struct_fields__:
            assert f"`{name}`" in page, name
    json.loads(schema())
