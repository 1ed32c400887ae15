"""Engines in another repository's test suite: two recordings, or two commands that make them."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from sampler_parity.commands.calls_in_tests import Asked, compare
from sampler_parity.engines.small_engine import SmallEngine
from sampler_parity.model.errors import CannotJudgeError

ENGINE = """
import sys
from pathlib import Path
from sampler_parity.engines.small_engine import SmallEngine

recording, other, *faults = sys.argv[1:]
print("an engine of", faults)
SmallEngine(frozenset(faults)).run(Path(recording), 1, Path(other) if recording != other else None)
"""
SILENT = "print('nothing is recorded')"
FAILING = "raise SystemExit('no model')"
WAITING = "import threading; threading.Event().wait()"
USES_IT = """
def test_mine(parity_calls):
    assert parity_calls.status == "holds"
"""


def python(*words: str) -> str:
    return " ".join([sys.executable, *words])


@pytest.fixture
def repository_of_engines(tmp_path: Path) -> Path:
    """Make a repository with an engine, and two recordings: of a clean one and a faulty one."""
    (tmp_path / "engine.py").write_text(ENGINE, encoding="utf-8")
    SmallEngine().run(tmp_path / "a.calls", 1)
    SmallEngine(frozenset({"wrong-sampler"})).run(tmp_path / "b.calls", 1)
    return tmp_path


def session(
    folder: Path, *arguments: str, ini: str = "", test: str = "def test_mine(): pass\n"
) -> "subprocess.CompletedProcess[str]":
    """Run pytest in a repository of its own, without a conftest."""
    (folder / "test_mine.py").write_text(test, encoding="utf-8")
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def lines_of(name: str, lines: Sequence[str]) -> str:
    return f"{name} =\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.slow
@pytest.mark.proof
def test_two_recordings_that_differ_fail(repository_of_engines: Path) -> None:
    folder = repository_of_engines
    done = session(folder, "--parity-recording=a.calls", "--parity-recording=b.calls")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "diverges: At call 0 of the semantic phase" in done.stdout
    assert "  sampler: wrong sampler, B: " in done.stdout
    assert "Traceback" not in done.stdout
    report = folder / "reports" / "calls" / "index.html"
    assert f"report: {report}" in done.stdout
    assert report.is_file()


@pytest.mark.slow
@pytest.mark.proof
def test_two_engines_are_run_and_compared(repository_of_engines: Path) -> None:
    """The second one is forced to the first one's tokens; both are named in the ini file."""
    folder = repository_of_engines
    engines = [python("engine.py", "{recording}", "{other}")] * 2
    done = session(folder, ini=lines_of("parity_engines", engines), test=USES_IT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    kept = sorted(path.name for path in (folder / "reports" / "calls").glob("*.*"))
    assert kept == ["A.calls", "A.log", "B.calls", "B.log", "calls.json", "index.html"]
    again = session(
        folder, "--parity-recording=a.calls", "--parity-recording=b.calls",
        ini=lines_of("parity_engines", engines), test=USES_IT,
    )  # fmt: skip
    assert "2 failed" in again.stdout, "what an option names replaces what the ini file names"


@pytest.mark.slow
@pytest.mark.proof
def test_workers_share_one_comparison(repository_of_engines: Path) -> None:
    """Two tests in two workers, and an engine that may run once."""
    folder = repository_of_engines
    once = ENGINE.replace("import sys", "import os, sys; os.mkdir('ran')")
    (folder / "once.py").write_text(once, encoding="utf-8")
    engines = [python("once.py", "{recording}", "{other}")]
    done = session(
        folder, "--numprocesses=2", ini=lines_of("parity_engines", engines), test=USES_IT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


@pytest.mark.slow
@pytest.mark.proof
def test_a_missing_recording_and_no_recording_fail(repository_of_engines: Path) -> None:
    folder = repository_of_engines
    missing = session(folder, ini=lines_of("parity_recordings", ["a.calls", "missing.calls"]))
    assert missing.returncode == 1
    assert "missing.calls cannot be read: No such file" in missing.stdout
    assert "skipped" not in missing.stdout
    unnamed = session(folder, test=USES_IT)
    assert unnamed.returncode == 1
    assert "name recordings or engines: --parity-recording=FILE" in unnamed.stdout


@pytest.mark.proof
def test_one_recording_is_held_against_its_contract(repository_of_engines: Path) -> None:
    folder = repository_of_engines
    contract = folder / "parity.toml"
    contract.write_text(
        '[[phase]]\nname = "global"\n[[phase]]\nname = "semantic"\nsampler = "sample_logits"\n'
    )
    asked = Asked((folder / "a.calls",), contract=str(contract), folder=folder / "out")
    assert compare(asked).status == "holds"
    asked = Asked((folder / "b.calls",), contract=str(contract), folder=folder / "out")
    assert compare(asked).findings[0].what == "wrong sampler"


@pytest.mark.parametrize(
    ("engines", "words"),
    [
        ([python("-c", '"{recording}"')] * 3, "name one recording or engine, or two: 3 are named"),
        ([], "0 are named"),
        ([python("-c", "pass")], "{recording} has to stand in it"),
        (["no-such-engine {recording}"], "cannot be run: No such file or directory"),
        ([python("-c", f'"{SILENT}"', "{recording}")], r"recorded nothing in .*A.calls\n  nothing"),
        ([python("-c", f'"{FAILING}"', "{recording}")], "ended with status 1\n  no model"),
        ([python("-c", f'"{WAITING}"', "{recording}")], "takes longer than 0.5 s: it was ended"),
    ],
    ids=["three", "none", "no-recording", "unknown", "silent", "failing", "waiting"],
)
def test_an_engine_that_records_nothing_is_told(
    tmp_path: Path, engines: list[str], words: str
) -> None:
    """The recording of an earlier session is none of this one."""
    folder = tmp_path / "out"
    folder.mkdir()
    SmallEngine().run(folder / "A.calls", 1)
    limit = 0.5 if "longer" in words else 600.0
    asked = Asked(engines=tuple(engines), folder=folder, root=tmp_path, limit=limit)
    with pytest.raises(CannotJudgeError, match=words):
        compare(asked)


def test_recordings_and_engines_at_once_are_refused(repository_of_engines: Path) -> None:
    asked = Asked((repository_of_engines / "a.calls",), ("x {recording}",))
    with pytest.raises(CannotJudgeError, match="and not both"):
        compare(asked)


@pytest.mark.proof
def test_a_recording_that_is_cut_off_is_no_pass(repository_of_engines: Path) -> None:
    folder = repository_of_engines
    cut = folder / "cut.calls"
    cut.write_bytes((folder / "a.calls").read_bytes()[:-2000])
    found = compare(Asked((folder / "a.calls", cut), folder=folder / "out"))
    assert found.status == "unjudged"
    page = (folder / "out" / "index.html").read_text("utf-8")
    assert re.search(r'id="verdict" class="unjudged"', page)
