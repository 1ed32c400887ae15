"""Where torch or a program is missing, every command ends with a sentence, and never as if judged.

Exit status 1 is a divergence and nothing else.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from benchmarks.without_torch import NO_TORCH, asked
from parity_tests.conftest import Shared
from parity_tests.runs import make_run, make_shard
from sampler_parity import cli
from sampler_parity.engines.small_engine import SmallEngine
from sampler_parity.run.part_file import Part, write_part
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import write_run

COMMANDS: tuple[str, ...] = tuple(getattr(get_command(cli.app), "commands", ()))
"""Every command that there is: a new one is asked too."""

ARGUMENTS = {
    "calls": ["one.calls", "one.calls"],
    "diff": ["stored", "stored"],
    "explain": ["flat-0@0"],
    "identify": ["rust_ext"],
    "frequencies": ["rust_ext"],
    "list": ["specimens"],
    "merge": ["stored", "--out", "merged"],
    "record": ["cases", "--out", "fixtures"],
    "report": ["stored"],
    "run": ["--family", "flat", "--capability", "default", "--out", "run"],
}
"""What a command needs to begin with its work."""

WITHOUT_TORCH = ("calls", "diff", "doctor", "list", "power", "report")
"""Commands that do what they do without it."""


IN_TURN = """
import io, json, os, sys
from contextlib import redirect_stderr, redirect_stdout
from sampler_parity import cli

ended = {}
for command, arguments in json.loads(sys.argv[1]).items():
    sys.argv = ["sampler-parity", command, *arguments]
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
    ended[command] = status, printed.getvalue()
print(json.dumps([ended, "torch" in sys.modules]))
"""
"""Runs commands one after the other in one process, of which each start takes a second."""


def run_commands(folder: Path) -> None:
    """Run the commands where no process can import torch, which every process is told."""
    (folder / "stored").mkdir()
    (folder / "sitecustomize.py").write_text(NO_TORCH, encoding="utf-8")
    write_run(folder / "stored", make_run(make_shard(), status="holds"))
    # A part of nothing, which is all of it: no candidate, and nothing to compare.
    request = Request(implementations=(), part=(1, 1))
    about = {"machine": {"processor": "one"}}
    part = Part(schema=1, request=request, results={}, provenance=about, started="", seconds=0.0)
    write_part(folder / "stored", part)
    SmallEngine().run(folder / "one.calls", 1)
    asked_of = {command: ARGUMENTS.get(command, []) for command in COMMANDS}
    done = subprocess.run(
        [sys.executable, "-c", IN_TURN, json.dumps(asked_of)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    (folder / "ended.json").write_text(done.stdout, encoding="utf-8")


@pytest.fixture(scope="session")
def ended(shared: Shared) -> dict[str, tuple[int, str]]:
    """Give of each command its exit status, and what it printed."""
    stored = shared.once("without-torch", run_commands) / "ended.json"
    found, had_torch = json.loads(stored.read_text(encoding="utf-8"))
    assert not had_torch
    return {command: (status, printed) for command, (status, printed) in found.items()}


def test_there_are_commands() -> None:
    assert set(ARGUMENTS) | {"doctor", "power"} <= set(COMMANDS)


@pytest.mark.proof
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_that_torch_is_missing(
    command: str, ended: dict[str, tuple[int, str]]
) -> None:
    status, printed = ended[command]
    assert "Traceback" not in printed
    if command == "merge":
        # It has put together a run of nothing, which needs no torch either.
        assert status == 2, printed
        assert "nothing was compared: name an implementation" in printed
        return
    if command in WITHOUT_TORCH:
        assert status == 0, printed
        return
    assert status == 2, printed
    assert "torch" in printed


@pytest.mark.parametrize("command", ["run", "explain", "frequencies"])
def test_every_command_says_that_a_program_is_missing(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = "command:/no/such/program --option"
    arguments = ["--implementation", missing]
    if command == "explain":
        arguments += ["flat-0@0"]
    if command == "frequencies":
        arguments = [missing]
    monkeypatch.setattr("sys.argv", ["sampler-parity", command, *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert "there is no program '/no/such/program' that can be run" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "torch cannot be imported"),
        (PermissionError(13, "Permission denied", "reports"), "Permission denied: 'reports'"),
        (ZeroDivisionError("division by zero"), "this is a mistake of the harness"),
    ],
)
def test_nothing_that_is_raised_is_taken_for_a_divergence(
    error: Exception,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def raising(*_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "examine", raising)
    monkeypatch.setattr("sys.argv", ["sampler-parity", "doctor"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.proof
def test_the_package_is_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sampler_parity", "list", "cases"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "odd-parameters" in done.stdout


@pytest.mark.slow
@pytest.mark.proof
def test_specimens_are_judged_alike_without_torch() -> None:
    """`python -m benchmarks.without_torch` judges 1,000 cases of each."""
    with_torch, had = asked(12, torch=True)
    without, had_too = asked(12, torch=False)
    assert had
    assert not had_too
    assert with_torch == without
    verdicts = {verdict for cases in with_torch.values() for verdict in cases.values()}
    assert {"equal", "semantic at renormalized"} <= verdicts
    assert len(with_torch) == 8
