"""Files that are damaged, or meant to do harm: every reader refuses them in its own words.

A reader may give what a file still holds, or raise the error that it documents. It may not end in
another exception, take for ever, or take memory that the file does not have.
"""

import copy
import io
import json
import re
import resource
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.numpy

from sampler_parity.build.installation import REPOSITORY
from sampler_parity.cases.case_file import load_case
from sampler_parity.cases.fixtures import FIXTURES
from sampler_parity.cases.logits_file import parts_of
from sampler_parity.cases.manifest import FixtureError, load_manifest
from sampler_parity.cases.recorded import load_golden, recorded_cases
from sampler_parity.cases.traces import load_traces
from sampler_parity.cases.vectors import load_vectors
from sampler_parity.cases.your_logits import YourLogits
from sampler_parity.commands.question import Question, found_case
from sampler_parity.engines.contract import load_contract
from sampler_parity.engines.recording import Recording, values_of
from sampler_parity.implementations.reference import capability_here
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines import SampleLogits
from sampler_parity.run.gate import run_gate
from sampler_parity.run.merging import merge
from sampler_parity.run.orders import Result
from sampler_parity.run.part_file import PART_NAME, Part, read_part, write_part
from sampler_parity.run.part_file import SCHEMA as PART_SCHEMA
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import read_run, write_run
from sampler_parity.run.waivers import load_waivers

ROOM = 1 << 30
"""Bytes that a reader may take beyond what the process has: far more than any file here."""

DEPTH = 100_000


def read_logits(path: Path) -> None:
    for part in parts_of(path, YourLogits(files=(str(path),)), SampleLogits):
        part.read()


def read_recording(path: Path) -> None:
    for _ in values_of(Recording.open(path)):
        pass


def read_golden_cases(path: Path) -> None:
    folder = path.parent
    for name in ("cases.json", "cases.safetensors"):
        if not (folder / name).exists():
            shutil.copy(FIXTURES / "golden" / name, folder)
    for _ in load_golden(folder):
        pass


def read_golden_traces(path: Path) -> None:
    """Read traces from a folder that has everything else of the fixtures."""
    home = path.parent / "fixtures"
    if not home.exists():
        (home / "golden").mkdir(parents=True)
        for name in ("cases.json", "cases.safetensors"):
            shutil.copy(FIXTURES / "golden" / name, home / "golden")
        (home / "smollm2").symlink_to(FIXTURES / "smollm2")
    shutil.copy(path, home / "golden" / "avx2.safetensors")
    for _, recorded in recorded_cases("avx2", home):
        recorded.outcome(Outcome())


def read_traces(path: Path) -> None:
    home = path.parent / "traces"
    if not home.exists():
        home.mkdir()
        shutil.copy(FIXTURES / "traces" / "cases.json", home)
    if path.name != "cases.json":
        shutil.copy(path, home / "avx2.safetensors")
    next(load_traces("avx2", path.parent), None)


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader, and a file that it reads.

    Attributes:
        read: reads the file, which has the name of ``sound``.
        sound: a file without fault.
        error: what the reader says of others.
    """

    read: Callable[[Path], None]
    sound: Path
    error: type[Exception] = CannotJudgeError


def of_folder(read: Callable[[Path], object]) -> Callable[[Path], None]:
    return lambda path: void(read(path.parent))


def void(_: object) -> None:
    """Give nothing."""


READERS = {
    "run": Reader(of_folder(read_run), REPOSITORY / "reports" / "sample" / "run.json"),
    "recording": Reader(read_recording, FIXTURES / "recordings" / "whole.calls"),
    "case": Reader(
        lambda path: void(load_case(path)), FIXTURES / "cases" / "top-k-tie-4@0.safetensors"
    ),
    "golden-cases": Reader(read_golden_cases, FIXTURES / "golden" / "cases.json"),
    "golden-logits": Reader(read_golden_cases, FIXTURES / "golden" / "cases.safetensors"),
    "golden-traces": Reader(read_golden_traces, FIXTURES / "golden" / "avx2.safetensors"),
    "traces": Reader(read_traces, FIXTURES / "traces" / "avx2.safetensors"),
    "manifest": Reader(of_folder(load_manifest), FIXTURES / "manifest.json", FixtureError),
    "logits": Reader(read_logits, Path("logits.safetensors")),
    "part": Reader(of_folder(read_part), Path(PART_NAME)),
    "vectors": Reader(lambda path: void(load_vectors(path)), FIXTURES / "vectors" / "rwkv.json"),
    "large-vectors": Reader(
        lambda path: void(load_vectors(path)), FIXTURES / "vectors" / "rwkv.safetensors"
    ),
}  # fmt: skip


def sound(reader: Reader) -> bytes:
    if reader.sound.is_absolute():
        return reader.sound.read_bytes()
    if reader.sound.name == PART_NAME:
        return made_part()
    arrays: dict[str, Any] = {
        "logits": np.zeros((4, 8), np.float32),
        "temperature": np.ones(4, np.float32),
        "seed": np.arange(4),
    }
    return safetensors.numpy.save(arrays)


def made_part() -> bytes:
    """Give a part of a run with something of everything that a part holds."""
    from parity_tests.runs import make_divergence, make_shard  # imports torch

    shard = make_shard(make_divergence(0), divergent=1)
    part = Part(
        schema=PART_SCHEMA,
        request=Request(part=(1, 2), logits=YourLogits(files=("mine.npy",))),
        results={"rust_ext at avx2": Result(shards=(shard,))},
        provenance={"machine": {"processor": "one"}},
        started="2026-11-29T12:00:00+00:00",
        seconds=1.5,
    )
    with TemporaryDirectory() as folder:
        write_part(Path(folder), part)
        return (Path(folder) / PART_NAME).read_bytes()


def bent(sound: bytes) -> Iterator[tuple[str, bytes]]:
    """Damage a file in ways that any form can be damaged in."""
    rng = np.random.default_rng(0)
    size = len(sound)
    early = min(size, 4096)
    for at in (0, 1, 7, 8, 9, size // 2, size - 1, *rng.integers(0, early, 12).tolist()):
        yield f"cut at {at}", sound[:at]
    for at in (
        *range(8),
        *rng.integers(0, early, 40).tolist(),
        *rng.integers(0, size, 12).tolist(),
    ):
        flipped = bytearray(sound)
        flipped[at] ^= 1 << int(rng.integers(8))
        yield f"bit flipped in byte {at}", bytes(flipped)
    yield "bytes follow", sound + b"\0" * 9
    yield "text of another encoding", b"\xff\xfe" + sound
    yield "zeros", bytes(early)
    yield "noise", rng.bytes(early)


def of_json(sound: bytes) -> Iterator[tuple[str, bytes]]:
    """Damage JSON that is still JSON, or nearly so."""
    text = sound.decode()
    numbers = list(re.finditer(r"(?<=[:,\[])-?\d[\d.e+-]*(?=[,\]}])", text))
    chosen = np.random.default_rng(1).choice(len(numbers), min(6, len(numbers)), replace=False)
    for at in chosen.tolist():
        found = numbers[at]
        for value in (
            "NaN",
            "1e999",
            "-1",
            "9" * 400,
            "1.5",
            "null",
            '"nan"',
            "[]",
            "18446744073709551616",
        ):
            yield (
                f"{value[:20]} at {found.start()}",
                (text[: found.start()] + value + text[found.end() :]).encode(),
            )
    yield "deep", b"[" * DEPTH
    yield "deep objects", b'{"schema":' * DEPTH
    first = re.search(r"[{,]\s*(\"\w+\":)", text)
    if first is not None:
        deep = first[1] + "[" * DEPTH + "]" * DEPTH + ","
        yield "deep value", (text[: first.start(1)] + deep + text[first.start(1) :]).encode()
        unknown = '"x":' + "[" * DEPTH + "]" * DEPTH + ","
        yield "deep unknown", (text[: first.start(1)] + unknown + text[first.start(1) :]).encode()
        pair = re.search(r"(\"\w+\":\s*(?:\d+|\"[^\"]*\"),)", text)
        assert pair is not None
        yield "duplicate key", (text[: pair.start()] + pair[1] + text[pair.start() :]).encode()
    yield "a lone surrogate", text.replace('":"', '":"\\ud800', 1).encode()
    yield "nothing in it", b"{}"
    yield "null", b"null"
    yield "an empty list", b"[]"


def of_safetensors(sound: bytes) -> Iterator[tuple[str, bytes]]:
    """Damage the header, whose lengths and offsets a reader believes at its own risk."""
    length = int.from_bytes(sound[:8], "little")
    header, data = json.loads(sound[8 : 8 + length]), sound[8 + length :]
    for huge in (1 << 62, (1 << 64) - 1, 1 << 40, 0, length + 8, length - 8):
        yield f"header of {huge} bytes", huge.to_bytes(8, "little") + sound[8:]

    def written(changed: bytes) -> bytes:
        return len(changed).to_bytes(8, "little") + changed + data

    tensors = [name for name in header if name != "__metadata__"]
    first = tensors[0]
    for key, value in (
        ("shape", [1 << 40]),
        ("shape", [1 << 62, 1 << 62]),
        ("shape", [-1]),
        ("shape", []),
        ("shape", [0]),
        ("dtype", "F64"),
        ("dtype", "F8_E5M2"),
        ("dtype", "nothing"),
        ("data_offsets", [0, 1 << 40]),
        ("data_offsets", [8, 0]),
        ("data_offsets", [0]),
    ):
        changed = {**header, first: {**header[first], key: value}}
        yield f"{key} {value} of {first}", written(json.dumps(changed).encode())
    for name in (first, tensors[-1], *(n for n in tensors if n.endswith(("logits", "digests")))):
        left = {key: value for key, value in header.items() if key != name}
        yield f"no {name}", written(json.dumps(left).encode())
    yield "no metadata", written(json.dumps({n: header[n] for n in tensors}).encode())
    yield "deep header", written(b"[" * DEPTH)
    for name, text in header.get("__metadata__", {}).items():
        for words, bent_text in of_json(text.encode()) if text.startswith("{") else ():
            metadata = {**header["__metadata__"], name: bent_text.decode()}
            yield (
                f"{name}: {words}",
                written(json.dumps({**header, "__metadata__": metadata}).encode()),
            )


def hostile(sound: bytes) -> Iterator[tuple[str, bytes]]:
    yield from bent(sound)
    if sound.lstrip()[:1] in {b"{", b"["} and b'\n{"record"' not in sound:
        yield from of_json(sound)
    elif sound[8:9] == b"{":
        yield from of_safetensors(sound)
    else:
        line, rest = sound.split(b"\n", 1)
        for words, changed in of_json(line):
            yield f"header: {words}", changed + b"\n" + rest
        second, rest = rest.split(b"\n", 1)
        for words, changed in of_json(second):
            yield f"call: {words}", line + b"\n" + changed + b"\n" + rest


@contextmanager
def little_room() -> Iterator[None]:
    """Let this process have :data:`ROOM` more memory, and no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def answers(reader: Reader, path: Path) -> str:
    """Say how a reader takes a file: empty where it reads it, else in the reader's words."""
    try:
        with little_room():
            reader.read(path)
    except reader.error as error:
        return str(error)
    return ""


@pytest.mark.proof
@pytest.mark.parametrize("name", READERS)
def test_a_reader_says_what_is_wrong(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    path = tmp_path / reader.sound.name
    path.write_bytes(sound(reader))
    assert answers(reader, path) == ""
    refused, wrong = 0, []
    for words, content in hostile(sound(reader)):
        path.write_bytes(content)
        try:
            said = answers(reader, path)
        except Exception as error:  # noqa: BLE001  (all of them are told)
            wrong.append(f"{words}: {type(error).__name__}: {str(error)[:200]}")
            continue
        refused += bool(said)
        if said and len(said) > 2000:
            wrong.append(f"{words}: {len(said)} characters: {said[:200]}")
    assert "\n".join(wrong) == ""
    assert refused > 20


FOUND = REPOSITORY / "fuzz" / "corpus"
"""What was found by fuzzing, in folders with the names of readers."""


@pytest.mark.parametrize(
    ("name", "found"), [(name, one) for name in READERS for one in sorted(FOUND.glob(f"{name}/*"))]
)
def test_what_was_found_is_read_or_refused(name: str, found: Path, tmp_path: Path) -> None:
    reader = READERS[name]
    path = tmp_path / reader.sound.name
    shutil.copy(found, path)
    said = answers(reader, path)
    assert bool(said) == (found.name not in {"fed", "header"})


def test_what_takes_much_memory_is_seen(tmp_path: Path) -> None:
    greedy = Reader(lambda _: void(bytearray(2 * ROOM)), tmp_path)
    with pytest.raises(MemoryError):
        answers(greedy, tmp_path)


# Parts of a run, which are put together.


@pytest.fixture(scope="module")
def two_parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a run in two parts, of a candidate that differs, with the files of what it keeps."""
    home = tmp_path_factory.mktemp("parts")
    request = Request(
        implementations=("specimen-not-renormalised",),
        capabilities=(capability_here(),),
        families=("long-streams",),
    )
    for number in (1, 2):
        run_gate(replace(request, folder=home / str(number), part=(number, 2)))
    return home / "1", home / "2"


@pytest.fixture
def parts(two_parts: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Copy the two parts, which may be damaged then."""
    first, second = (Path(shutil.copytree(one, tmp_path / one.name)) for one in two_parts)
    return first, second


def places_in(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Give the place of every value in JSON; of a list, of the first three."""
    if place:
        yield place
    if isinstance(value, dict):
        for name, one in value.items():
            yield from places_in(one, (*place, name))
    if isinstance(value, list):
        for number, one in enumerate(value[:3]):
            yield from places_in(one, (*place, number))


STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 10**18, 10**30, 1.5, "", "x", "'", "os:path", "../../elsewhere/x",
    [], {}, ["x"], [0, 0], [1, 2**62], [3, 2],
)  # fmt: skip
"""What may stand where something else belongs."""


def put(json_: Any, place: tuple[str | int, ...], value: Any) -> Any:
    changed = copy.deepcopy(json_)
    at = changed
    for name in place[:-1]:
        at = at[name]
    at[place[-1]] = value
    return changed


def strange(sound: bytes) -> Iterator[tuple[str, bytes]]:
    """Put something else in the place of one value after the other."""
    whole = json.loads(sound)
    places = list(places_in(whole))
    for number in np.random.default_rng(3).permutation(len(places) * len(STRANGE))[:600].tolist():
        place, value = places[number // len(STRANGE)], STRANGE[number % len(STRANGE)]
        yield f"{place}: {value!r}", json.dumps(put(whole, place, value)).encode()


def as_the_second(first: bytes, second: bytes) -> bytes:
    """Have the second part ask for what the first one does, so that this is not what differs."""
    try:
        request = {**json.loads(first)["request"]}
        number, of = request["part"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return second
    request["part"] = [2 if number == 1 else number, of]
    return json.dumps({**json.loads(second), "request": request}).encode()


@pytest.mark.proof
def test_parts_that_are_damaged_are_put_together_or_refused(
    parts: tuple[Path, Path], tmp_path: Path
) -> None:
    home = tmp_path / "merged"
    together = Reader(lambda _: void(merge(parts, home)), parts[0] / PART_NAME)
    assert answers(together, parts[0]) == ""
    sound_ones = [(part / PART_NAME).read_bytes() for part in parts]
    refused, wrong = 0, []
    for words, content in (*hostile(sound_ones[0]), *strange(sound_ones[0])):
        (parts[0] / PART_NAME).write_bytes(content)
        (parts[1] / PART_NAME).write_bytes(as_the_second(content, sound_ones[1]))
        try:
            said = answers(together, parts[0])
        except Exception as error:  # noqa: BLE001  (all of them are told)
            wrong.append(f"{words}: {type(error).__name__}: {str(error)[:200]}")
            continue
        refused += bool(said)
        if len(said) > 2000:
            wrong.append(f"{words}: {len(said)} characters: {said[:200]}")
    assert "\n".join(wrong) == ""
    assert refused > 300
    # Nothing is written beside the run.
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2", "merged"}


def with_evidence(part: Path, path: str) -> None:
    """Have the first divergence of a part name another file."""
    whole = json.loads((part / PART_NAME).read_bytes())
    (result,) = whole["results"].values()
    result["shards"][0]["divergences"][0]["evidence"] = path
    (part / PART_NAME).write_text(json.dumps(whole))


@pytest.mark.proof
@pytest.mark.parametrize("link", [False, True])
def test_a_part_names_no_file_of_another_folder(
    parts: tuple[Path, Path], tmp_path: Path, link: bool
) -> None:
    (tmp_path / "secret.safetensors").write_text("secret")
    if link:
        (parts[0] / "evidence" / "link.safetensors").symlink_to(tmp_path / "secret.safetensors")
    path = "evidence/link.safetensors" if link else "evidence/../../secret.safetensors"
    with_evidence(parts[0], path)
    home = tmp_path / "merged"
    with pytest.raises(CannotJudgeError, match="is no file of its evidence"):
        merge(parts, home)
    assert list(home.rglob("*")) == []


def test_no_stored_file_decides_what_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from parity_tests.runs import make_run

    (tmp_path / "harm.py").write_text("from pathlib import Path\nPath('harmed').write_text('')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = Request(reference="harm:Own", part=(1, 1), logits=YourLogits(files=("a.npy",)))
    part = msgspec.json.decode(made_part(), type=dict)
    part["request"] = msgspec.to_builtins(own, enc_hook=str)
    (tmp_path / PART_NAME).write_bytes(msgspec.json.encode(part))
    with pytest.raises(CannotJudgeError, match="name it as well, --reference harm:Own"):
        merge([tmp_path], tmp_path / "merged")
    for changes, why in (
        ({"reference": "harm:Own"}, "name it as well, --reference harm:Own"),
        ({"logits": YourLogits(files=("a.npy",), sampler="harm:Own")}, "'harm:Own' is none of"),
    ):
        run = msgspec.structs.replace(make_run(), **{"logits": own.logits, **changes})
        write_run(tmp_path, run)
        question = Question("your-logits-0@0", run=tmp_path)
        with pytest.raises(CannotJudgeError, match=why):
            found_case(question, question.case, "avx2")
    assert not (tmp_path / "harmed").exists()


# Forms of numpy's own.


def archive(*members: tuple[str, bytes], compressed: bool = True) -> bytes:
    file = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", kind) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return file.getvalue()


def npy(shape: tuple[int, ...] | str, dtype: str = "<f4", data: bytes = b"") -> bytes:
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}"
    header = text.ljust(118 - 1) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


BOMB_BYTES = 5 << 28
"""More than a reader may take, so that one that unfolds it is seen."""


def bomb() -> bytes:
    """Make an archive of a few MB whose one array is 1.25 GB of zeros."""
    file = io.BytesIO()
    header, zeros = npy((BOMB_BYTES // 4,)), bytes(1 << 24)
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as opened,
        opened.open("logits.npy", "w", force_zip64=True) as member,
    ):
        member.write(header)
        for _ in range(BOMB_BYTES >> 24):
            member.write(zeros)
    return file.getvalue()


ARRAYS = {
    "one row.npy": npy((1, 2), data=bytes(8)),
    "huge.npy": npy((1 << 40,)),
    "beyond.npy": npy((1 << 62, 1 << 62)),
    "negative.npy": npy((-1,)),
    "objects.npy": npy((1,), "|O", b"cos\nsystem\n(S'true'\ntR."),
    "code.npy": npy("__import__('os')"),
    "deep.npy": npy("(" * 5000),
    "cut.npy": npy((4,), data=bytes(8)),
    "empty.npy": b"",
    "magic.npy": b"\x93NUMPY",
    "version.npy": b"\x93NUMPY\x09\x00" + bytes(100),
    "long header.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100),
    "words.npy": npy((2,), "<U4", bytes(32)),
    "cut.npz": archive(("logits.npy", npy((4,), data=bytes(8)))),
    "short.npz": archive(("logits.npy", npy((2,), data=bytes(8))))[:-30],
    "nothing.npz": archive(),
    "no zip.npz": b"PK\x03\x04" + bytes(100),
    "pickle.npz": archive(("logits.npy", b"cos\nsystem\n(S'true'\ntR.")),
    "huge.npz": archive(("logits.npy", npy((1 << 40,)))),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_is_read_or_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(ARRAYS[name])
    said = answers(Reader(read_logits, path), path)
    assert bool(said) == (name != "one row.npy")
    assert not said or str(path) in said


@pytest.mark.proof
def test_an_archive_that_unfolds_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    path.write_bytes(bomb())
    assert path.stat().st_size < 32 << 20
    assert f"it unfolds to {BOMB_BYTES + 128:,} bytes of memory" in answers(
        Reader(read_logits, path), path
    )


@pytest.mark.parametrize("content", [b"a = " + b"[" * DEPTH, b"\xff\xfe", b"a = 1\na = 2"])
def test_a_contract_and_waivers_that_are_none_are_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "parity.toml"
    path.write_bytes(content)
    with pytest.raises(CannotJudgeError, match="is no contract"):
        load_contract(str(path))
    with pytest.raises(CannotJudgeError, match="cannot be read"):
        load_waivers(path)
