"""In a session that pytest-xdist distributes, each gate runs once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sampler_parity.build.installation import REPOSITORY

# The run is made up: that it is made once is shown, not what it finds.
CONFTEST = """
import os
from parity_tests.runs import make_run, make_shard
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run import gate
from sampler_parity.run.run_file import write_run


def run_gate(request):
    with open("asked", "a", encoding="utf-8") as asked:
        asked.write(f"{request.implementations[0]}\\n")
    if "refuses" in request.implementations:
        raise CannotJudgeError("there is no torch")
    request.folder.mkdir(parents=True)
    run = make_run(make_shard(), status="holds")
    write_run(request.folder, run)
    return run


gate.run_gate = run_gate


def pytest_runtest_setup():
    open(os.environ["PYTEST_XDIST_WORKER"], "w", encoding="utf-8").close()
"""
TESTS = """
import pytest

@pytest.mark.parametrize("number", range(8))
def test_it(parity_run, number):
    assert parity_run.status == "holds"
    assert parity_run.shards
"""


def session(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the tests of a repository of its own in two workers."""
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "test_mine.py").write_text(TESTS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n2", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (folder / "gw0").exists(), done.stdout + done.stderr
    assert (folder / "gw1").exists(), "one worker alone shares nothing"
    return done


@pytest.mark.slow
@pytest.mark.proof
def test_workers_share_a_run(tmp_path: Path) -> None:
    done = session(tmp_path, "--parity-implementation=one", "--parity-implementation=other")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 passed" in done.stdout, "eight tests, and a gate of each implementation"
    assert sorted((tmp_path / "asked").read_text().split()) == ["one", "other"]


@pytest.mark.slow
@pytest.mark.proof
def test_workers_share_why_there_is_none(tmp_path: Path) -> None:
    done = session(tmp_path, "--parity-implementation=refuses")
    assert done.returncode == 1
    assert "1 failed, 8 errors" in done.stdout
    assert done.stdout.count("there is no torch") >= 9
    assert (tmp_path / "asked").read_text().split() == ["refuses"]
