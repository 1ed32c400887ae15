"""``run --watch``: each change of the candidate's files is a new run, in a new process."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from sampler_parity import cli
from sampler_parity.commands import watch
from sampler_parity.commands.watch import Watched, changes, run_again, run_in_new_process, watched
from sampler_parity.model.errors import CannotJudgeError


def console() -> Console:
    return Console(file=io.StringIO(), width=100, highlight=False)


def said(out: Console) -> str:
    return out.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def given(*sets: set[str]) -> Iterator[frozenset[Path]]:
    yield from (frozenset(map(Path, names)) for names in sets)


def test_each_change_is_one_more_run_whose_status_is_the_last() -> None:
    out, statuses = console(), iter((0, 1, 0, 1))
    status = run_again(
        lambda: next(statuses), given({"/a/mine.py", "/a/also.py"}, {"/a/b.so"}), out
    )
    assert (status, next(statuses)) == (0, 1)
    assert "changed: also.py, mine.py" in said(out)
    assert "changed: b.so" in said(out)


def test_ctrl_c_while_it_waits_leaves_the_last_status() -> None:
    def interrupted() -> Iterator[frozenset[Path]]:
        yield frozenset({Path("mine.py")})
        raise KeyboardInterrupt

    out, statuses = console(), iter((0, 1))
    assert run_again(lambda: next(statuses), interrupted(), out) == 1
    assert "no longer watched" in said(out)


def test_ctrl_c_in_the_first_run_judges_nothing() -> None:
    def run() -> int:
        raise KeyboardInterrupt

    assert run_again(run, given({"mine.py"}), console()) == 2


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_module_is_watched_with_what_stands_beside_it(here: Path) -> None:
    (here / "watched_alone.py").write_text("raise RuntimeError", encoding="utf-8")
    what = watched(("watched_alone:sample",))
    assert what.folders == (here,)
    assert what.has(here / "watched_alone.py")
    assert what.has(here / "kernels.so")
    assert not what.has(here / "notes.txt")
    assert not what.has(here / "below" / "other.py")
    assert str(here) in what.words


def test_a_package_is_watched_as_a_whole_and_not_imported(here: Path) -> None:
    below = here / "watched_whole" / "below"
    below.mkdir(parents=True)
    (below.parent / "__init__.py").write_text("raise RuntimeError", encoding="utf-8")
    what = watched(("watched_whole.below.mine:Sampler",))
    assert what.folders == (below.parent, below)
    assert what.has(below / "mine.py")
    assert not what.has(here / "other.py")


def test_a_command_is_watched_with_the_files_that_it_names(here: Path) -> None:
    script = here / "answer.py"
    script.write_text("", encoding="utf-8")
    what = watched((f"command:{sys.executable} answer.py --fast",))
    assert what.files == {Path(sys.executable).resolve(), script}
    assert what.has(script)
    assert not what.has(here / "other.py")


def test_the_port_is_watched_with_its_library() -> None:
    import rust_ext

    assert watched(("rust_ext",)).has(Path(rust_ext.__file__ or "").resolve())


def test_a_reference_of_ones_own_is_watched_and_one_of_the_harness_is_not(here: Path) -> None:
    (here / "watched_pipeline.py").write_text("", encoding="utf-8")
    (here / "answer").touch(mode=0o755)
    candidate = f"command:{here / 'answer'}"
    assert not watched((candidate,), "transformers").beside
    assert watched((candidate,), "watched_pipeline:MINE").has(here / "watched_pipeline.py")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("not_there_at_all:sample", "it is not found|it has no file here"),
        ("command:not-there-at-all", "there is no 'not-there-at-all'"),
        ("sys:sample", "it has no file here"),
        ("unknown", "is unknown"),
    ],
)
def test_what_has_no_file_is_an_error(name: str, words: str) -> None:
    with pytest.raises(CannotJudgeError, match=words):
        watched((name,))


def test_a_change_is_seen_whether_a_file_is_written_or_replaced(tmp_path: Path) -> None:
    file, other = tmp_path / "mine.py", tmp_path / "other.py"
    file.write_text("1", encoding="utf-8")
    events = changes(Watched(files=frozenset({file})))
    other.write_text("2", encoding="utf-8")
    file.write_text("2", encoding="utf-8")
    assert next(events) == {file}
    other.replace(file)
    assert next(events) == {file}


def test_without_the_library_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(CannotJudgeError, match="pip install watchfiles"):
        changes(Watched(files=frozenset({tmp_path / "mine.py"})))


def test_each_run_is_a_new_process_whose_status_counts(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_in_new_process(["run", "--seed", "-1"]) == 2
    assert "seed" in capfd.readouterr().err


INTERRUPTED = """
import os, signal, sys
from sampler_parity.commands import watch
sys.executable = sys.argv[1]
try:
    watch.run_in_new_process([])
except KeyboardInterrupt:
    sys.exit(7)
"""

ENDS_ITSELF = """#!{python}
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
os.kill(os.getppid(), signal.SIGINT)
signal.sigwait([signal.SIGINT])
open("ended", "w").close()
sys.exit(2)
"""
"""Blocked, the signal that it waits for cannot come between the question and the waiting."""


def test_an_interrupted_run_ends_itself_before_the_watch_does(here: Path) -> None:
    """The run takes away what it has begun: it must not be killed."""
    child = here / "child"
    child.write_text(ENDS_ITSELF.format(python=sys.executable), encoding="utf-8")
    child.chmod(0o755)
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(child)],
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
        check=False,
    )
    assert done.returncode == 7
    assert (here / "ended").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_command_line_runs_what_it_was_given_and_what_failed_from_the_second_time_on(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "answer").touch(mode=0o755)
    runs: list[list[str]] = []

    def run(arguments: list[str]) -> int:
        runs.append(arguments)
        Path("kept").mkdir(exist_ok=True)
        Path("kept/run.json").touch()
        return 1

    monkeypatch.setattr(watch, "run_in_new_process", run)
    monkeypatch.setattr(watch, "changes", lambda _: given({"answer"}))
    arguments = ["run", "--quick-look", "--watch", "--failed", "--quiet", "--out", "kept"]
    arguments += ["--junit", "a.xml", "--implementation", f"command:{here / 'answer'}"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 1, result.output
    first, second = runs
    assert first[:2] == ["run", "--quick-look"]
    assert "--watch" not in first
    assert "--failed" not in first
    assert first[-3:] == ["--quiet", "--junit", "a.xml"]
    assert second == [*first, "--failed"]
