"""``sampler-parity calls`` as a person, and as a program, uses it."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import python_ref
from sampler_parity.build.installation import REPOSITORY
from sampler_parity.cli import app
from sampler_parity.engines import Recorder, Recording
from sampler_parity.engines.small_engine import FAULTS, SmallEngine
from sampler_parity.model.errors import CannotJudgeError


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "one.calls", tmp_path / "other.calls"
    SmallEngine().run(one)
    SmallEngine(frozenset({"wrong-parameters"})).run(other)
    return one, other


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["calls", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_equal(pair: tuple[Path, Path]) -> None:
    status, printed, _ = run(pair[0], pair[0])
    assert status == 0
    assert printed.startswith("holds: A and B are equal at each of 32 calls of 2 generations")
    assert "64 calls planned, 64 compared, 0 not" in printed


def test_different(pair: tuple[Path, Path]) -> None:
    status, printed, _ = run(*pair)
    assert status == 1
    assert printed.startswith("diverges: At call 0 of the semantic phase of generation 0, B passes")
    assert "parameters: wrong parameters, B, first at call 0 of phase semantic" in printed
    assert "  A  20 calls  sample_logits(temperature=1.0, top_p=0.95, top_k=80)" in printed
    assert "  B  20 calls  sample_logits(temperature=1.0, top_p=0.95, top_k=20)" in printed


def test_quiet(pair: tuple[Path, Path]) -> None:
    _, printed, said = run(*pair, "--quiet")
    assert len(printed.splitlines()) == 1
    assert said == ""


@pytest.mark.proof
def test_json(pair: tuple[Path, Path], tmp_path: Path) -> None:
    status, printed, _ = run(*pair, "--json", "--out", tmp_path / "out")
    found = json.loads(printed)
    assert status == 1
    assert (found["status"], found["planned"], found["compared"]) == ("diverges", 64, 64)
    first = found["findings"][0]
    keys = {"kind", "generation", "phase", "call", "side", "words"}
    assert keys <= first.keys()
    assert {key: first[key] for key in keys - {"words"}} == {
        "kind": "parameters",
        "generation": 0,
        "phase": "semantic",
        "call": 0,
        "side": "B",
    }
    assert json.loads((tmp_path / "out" / "calls.json").read_text()) == found


def test_one_recording(pair: tuple[Path, Path]) -> None:
    assert run(pair[0])[0] == 0
    status, printed, _ = run(pair[0], "--contract", "tts")
    assert status == 1
    assert "where [0, 4096] is asked for" in printed


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"", "its first line is not whole"),
        (b"\x7fELF\n", "does not begin with a header"),
        (b'{"record": "header", "version": 2, "engine": "x"}\n', "of version 2"),
        (b'{"record": "call"}\n', "does not begin with a header"),
    ],
)
def test_files_that_are_no_recordings(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "bad.calls"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CannotJudgeError, match=words):
        run(path)


def test_a_call_that_lies(tmp_path: Path) -> None:
    """The line says f32 [1, 200], and the tensors are cut short within the record."""
    path = tmp_path / "one.calls"
    SmallEngine().run(path, 1)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"shape":[1,200]', b'"shape":[1,199]', 1))
    with pytest.raises(CannotJudgeError, match="does not hold what its line says"):
        run(path, path)


def test_sizes_that_lie(tmp_path: Path) -> None:
    """A record whose size is wrong ends what can be read; what is before it is judged."""
    path, whole = tmp_path / "one.calls", tmp_path / "whole.calls"
    SmallEngine().run(whole, 1)
    content = whole.read_bytes()
    at = [found.start(1) for found in re.finditer(rb'"bytes":(\d+)', content)][5]
    path.write_bytes(content[:at] + b"9" + content[at + 1 :])
    status, printed, _ = run(whole, path)
    assert status == 2
    assert printed.startswith("unjudged: Nothing differs in what could be read.")


HOSTILE = "<b>x</b>[bold red]\x1b[31m\u202e"


def test_names_with_markup(tmp_path: Path) -> None:
    paths = [tmp_path / "one.calls", tmp_path / "other.calls"]
    for token, path in enumerate(paths):
        with Recorder(path, HOSTILE) as recorder, recorder.phase(HOSTILE):
            logits = np.zeros((1, 4), np.float32)
            with recorder.call(HOSTILE, logits, parameters={HOSTILE: token}, source="x") as call:
                call.returned(token)
    status, printed, _ = run(*paths)
    assert status == 1
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "<b>x</b>[bold red]" in printed, "as it is, without being obeyed"


@pytest.mark.proof
def test_a_long_recording_of_one_token(tmp_path: Path) -> None:
    """The same call again and again: no mistake, and a timeline that stays finite."""
    path = tmp_path / "one.calls"
    with Recorder(path, "mine") as recorder:
        for _ in range(3000):
            with recorder.call("mine", np.zeros(1, np.float32), source="none") as call:
                call.returned(0)
    status, printed, _ = run(path, path)
    assert status == 0
    assert "6,000 calls planned, 6,000 compared" in printed


def listing(page: str, name: str) -> str:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\n```\w*\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("page", "name"), [("README.md", "engine"), ("docs/engines.md", "recorder")]
)
def test_the_newcomer_s_path(
    page: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten lines record an engine, and the recording holds."""
    text = listing(page, name)
    assert len([line for line in text.splitlines() if line]) <= 10
    monkeypatch.chdir(tmp_path)
    fed: list[int] = []

    def logits() -> torch.Tensor:
        rng = np.random.default_rng(len(fed))
        return torch.from_numpy((2 * rng.standard_normal((1, 300))).astype(np.float32))

    names: dict[str, Any] = {
        "sample_logits": python_ref.sample_logits,
        "generator": torch.Generator().manual_seed(1),
        "model": SimpleNamespace(logits=logits, feed=lambda token: fed.append(int(token))),
    }
    exec(text, names)  # noqa: S102  (is our own)
    assert len(Recording.open(tmp_path / "python.calls").calls) == 64
    assert run("python.calls")[0] == 0


def test_the_faults_in_the_docs_are_those_that_are_planted() -> None:
    text = (REPOSITORY / "docs/engines.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (.+) \| `(\w+)`: (.+) \|$", text, re.MULTILINE)
    assert rows == [(name, f.words, f.kind, f.what) for name, f in FAULTS.items()]
