"""The two engines of ``examples/engine``: they do the same, and each fault shows where it is said.

``README.md`` there has a table of the faults, which is read here.
"""

import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest

from examples.engine.engine import main
from parity_tests.programs import compiled
from sampler_parity.build.installation import REPOSITORY
from sampler_parity.engines import Call, Recording

FOLDER = REPOSITORY / "examples" / "engine"
PAIRS = 12

pytestmark = [pytest.mark.slow, pytest.mark.proof]


@dataclass(frozen=True, slots=True)
class Place:
    """Where two recordings differ.

    Attributes:
        generation: its number.
        phase: its name.
        call: its number within the phase.
        fields: what differs there, sorted.
    """

    generation: int
    phase: str
    call: int
    fields: tuple[str, ...]


def read_table() -> dict[str, tuple[str, list[str], Place]]:
    """Read of each fault what is said of it, the options that it needs, and where it shows."""
    found = {}
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    row = re.compile(r"^\| `([\w-]+)` \| (.+) \| (global|semantic) (\d+) \| (.+) \|$", re.MULTILINE)
    for name, said, phase, call, fields in row.findall(text):
        options = re.findall(r"`(--[^`]+)`", said)
        place = Place(0, phase, int(call), tuple(sorted(fields.split(", "))))
        found[name] = (said, " ".join(options).split(), place)
    return found


TABLE = read_table()


@pytest.fixture(scope="session")
def program() -> Path:
    return compiled("bin", "example-engine")


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Record the Python engine, by the generator's scope."""
    folder = tmp_path_factory.mktemp("python")
    return {
        scope: python(folder / f"{scope}.calls", "--scope", scope)
        for scope in ("generation", "phase")
    }


def python(path: Path, *options: str) -> Path:
    main(["--record", str(path), *options])
    return path


def rust(program: Path, path: Path, *options: str) -> Path:
    command: list[str | Path] = [program, "--record", path, *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path


def differences(one: Path, other: Path) -> Iterator[Place]:
    """Give every place at which two recordings differ, generation by generation."""
    left, right = Recording.open(one), Recording.open(other)
    generations = left.generations().keys() | right.generations().keys()
    for generation in sorted(generations):
        begun: dict[str, int] = {}
        indices = [r.generations().get(generation, []) for r in (left, right)]
        fed = [fed_after(r, generation) for r in (left, right)]
        if fed[0].get(-1) != fed[1].get(-1):
            yield Place(generation, "", -1, ("fed",))
        for number, (i, j) in enumerate(zip_longest(*indices)):
            call = left.calls[i] if i is not None else right.calls[j]
            number_in_phase = number - begun.setdefault(call.phase, number)
            fields = {"calls"} if i is None or j is None else differing(left, i, right, j)
            if fed[0].get(number) != fed[1].get(number):
                fields.add("fed")
            if fields:
                yield Place(generation, call.phase, number_in_phase, tuple(sorted(fields)))


def fed_after(recording: Recording, generation: int) -> dict[int, list[tuple[int, ...]]]:
    found: dict[int, list[tuple[int, ...]]] = {}
    for fed in recording.fed:
        if fed.generation == generation:
            found.setdefault(fed.after, []).append(fed.tokens)
    return found


def differing(left: Recording, i: int, right: Recording, j: int) -> set[str]:
    def told(call: Call) -> dict[str, object]:
        return {
            "phase": call.phase,
            "sampler": call.sampler,
            "parameters": call.parameters,
            "slice": (call.slice, call.vocabulary, call.shape, call.dtype),
            "logits": call.digest,
            "generator": call.random,
            "token": call.token,
            "error": call.error,
        }

    one, other = told(left.calls[i]), told(right.calls[j])
    fields = {name for name in one if one[name] != other[name]}
    mine, theirs = left.tensors(i), right.tensors(j)
    for state in ("state_before", "state_after"):
        if mine[state].tobytes() != theirs[state].tobytes():
            fields.add(state.replace("_", " "))
    if "logits" in mine:
        most = min(mine["logits"].size, theirs["logits"].size)
        row, its = (held["logits"].reshape(-1)[:most] for held in (mine, theirs))
        masked = np.isinf(row) | np.isinf(its)
        if not np.array_equal(row[~masked].view(np.uint32), its[~masked].view(np.uint32)):
            fields.add("logits")
        if not np.array_equal(row[masked], its[masked]):
            fields.add("mask")
    return fields


@pytest.mark.parametrize(
    "options",
    [
        ("--generations", "3"),
        ("--generations", "2", "--seed", "7000000000", "--scope", "phase"),
        ("--seed", "3", "--semantic", "30", "--keep", "digest"),
        ("--seed", "3", "--semantic", "10", "--pace", "4", "--keep", "top:100"),
    ],
    ids=" ".join,
)
def test_both_do_the_same(program: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    mine = python(tmp_path / "python.calls", *options)
    theirs = rust(program, tmp_path / "rust.calls", *options)
    assert list(differences(mine, theirs)) == []
    recording = Recording.open(theirs)
    assert recording.ending.kind == "closed"
    assert len(recording.calls) >= 32
    assert {call.random and call.random.source for call in recording.calls} == {"torch"}


def test_both_do_the_same_when_forced(
    program: Path, recorded: dict[str, Path], tmp_path: Path
) -> None:
    options = ("--seed", "5", "--semantic", "40", "--force", str(recorded["generation"]))
    mine = python(tmp_path / "python.calls", *options)
    theirs = rust(program, tmp_path / "rust.calls", *options)
    assert list(differences(mine, theirs)) == []
    calls = Recording.open(mine).calls
    assert [c.continued for c in calls] == [
        c.token for c in Recording.open(recorded["generation"]).calls[: len(calls)]
    ]
    assert sum(c.continued != c.token for c in calls) > len(calls) / 2


def test_generations_end_by_themselves_and_are_not_alike(
    recorded: dict[str, Path], tmp_path: Path, program: Path
) -> None:
    theirs = rust(program, tmp_path / "rust.calls", "--generations", "12", "--keep", "digest")
    recording = Recording.open(theirs)
    lengths = [len(indices) - 32 for indices in recording.generations().values()]
    ended = [recording.calls[indices[-1]].token for indices in recording.generations().values()]
    assert min(lengths) > 40
    assert len(set(lengths)) > 8
    assert ended.count((8_192,)) > 8
    assert Recording.open(recorded["generation"]).calls[-1].token == (8_192,)


def test_every_fault_has_a_row() -> None:
    source = (FOLDER / "src" / "fault.rs").read_text(encoding="utf-8")
    names = re.findall(r'^    "([\w-]+)" \w+,$', source, re.MULTILINE)
    assert list(TABLE) == names
    assert len(names) == 18


def planted(
    program: Path, path: Path, recorded: dict[str, Path], *faults: str
) -> tuple[Path, Path]:
    """Record with faults, forced; give the Python recording that it is held against as well."""
    options = [option for fault in faults for option in TABLE[fault][1]]
    mine = recorded["phase" if "--scope" in options else "generation"]
    named = [word for fault in faults for word in ("--fault", fault)]
    return mine, rust(program, path, "--force", str(mine), *options, *named)


@pytest.mark.parametrize("name", TABLE)
def test_a_fault_shows_where_it_is_said(
    program: Path, recorded: dict[str, Path], tmp_path: Path, name: str
) -> None:
    mine, theirs = planted(program, tmp_path / "rust.calls", recorded, name)
    assert next(differences(mine, theirs)) == TABLE[name][2]


def order(place: Place) -> tuple[bool, int]:
    return place.phase == "semantic", place.call


def test_of_two_faults_the_earlier_shows_first(
    program: Path, recorded: dict[str, Path], tmp_path: Path
) -> None:
    pairs = [
        (a, b)
        for a in TABLE
        for b in TABLE
        if order(TABLE[a][2]) < order(TABLE[b][2]) and TABLE[a][1] == TABLE[b][1]
    ]
    for a, b in random.Random(15).sample(pairs, PAIRS):  # noqa: S311
        mine, theirs = planted(program, tmp_path / "rust.calls", recorded, a, b)
        found = list(differences(mine, theirs))
        assert found[0] == TABLE[a][2], (a, b)
        at = TABLE[b][2]
        [there] = [p for p in found if (p.phase, p.call) == (at.phase, at.call)]
        assert set(there.fields) >= {f for f in at.fields if f != "token"}, (a, b)


def test_the_command_of_the_page(recorded: dict[str, Path], tmp_path: Path) -> None:
    command = "examples/engine/engine.py --record python.calls"
    assert f"\npython {command}\n" in (FOLDER / "README.md").read_text(encoding="utf-8")
    words = command.replace("python.calls", str(tmp_path / "python.calls")).split()
    done = subprocess.run(
        [sys.executable, *words], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    calls = Recording.open(recorded["generation"]).calls
    assert done.stdout == f"generation 0: {len(calls)} tokens, the last 8192\n"
    assert list(differences(recorded["generation"], tmp_path / "python.calls")) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fault", "none"], "--fault none: there is no such fault"),
        (["--keep", "top"], "--keep top is none of whole, top:N, digest"),
        (["--nothing", "1"], "there is no option --nothing"),
        (["--seed"], "--seed is given no value"),
        (["--pace", "3"], "--pace is no power of two"),
    ],
)
def test_a_wrong_option_is_told(program: Path, options: list[str], words: str) -> None:
    done = subprocess.run([program, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert words in done.stderr
