"""Every wait has a limit, and the sentence names what was waited for."""

import itertools
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sampler_parity.cases.plan import case_of
from sampler_parity.cli import main
from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.outcome import Lost, Outcome
from sampler_parity.model.verdict import Verdict
from sampler_parity.run import scheduler
from sampler_parity.run.gate import run_gate
from sampler_parity.run.request import Request
from sampler_parity.sandbox import isolated
from sampler_parity.sandbox.isolated import LAST_WORDS, LONGEST_WORDS, Isolated, Limits

CASE = case_of("flat-0@0")
LARGE = replace(CASE, logits=np.zeros((8, 100_000), np.float32))
"""Its logits fill every pipe."""

FOREVER = "import time; time.sleep(1e6)"
HELLO = """
import json, os, sys, time
about = {"name": "mute", "view": "tokens", "stream": "own", "effects": []}
print(json.dumps({"about": about}), flush=True)
"""
ASKED = """
ask = json.loads(sys.stdin.buffer.readline())
sys.stdin.buffer.read(ask["bytes"])
"""


def program(folder: Path, text: str) -> str:
    path = folder / "program.py"
    path.write_text(text, encoding="utf-8")
    return f"command:{shlex.join([sys.executable, str(path)])}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'it did not say what it is within 2 seconds: a line {"about": ...} was waited for'),
        ("print('{\"about\"', end='', flush=True)", "; 8 bytes of a line came, and not its end"),
        ("print('{\"bytes\": 99}', end='\\n12', flush=True)", "; 2 of its 99 bytes came"),
        ("import os; os.dup2(os.open(os.devnull, os.O_WRONLY), 1)", "its standard output instead"),
    ],
)
@pytest.mark.proof
def test_a_mute_program_is_not_waited_for(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolated, "ENDING", 0.2)
    with pytest.raises(CannotJudgeError) as caught:
        Isolated(program(tmp_path, f"{text}\n{FOREVER}"), Limits(starting=2))
    assert words in str(caught.value)


@pytest.mark.proof
@pytest.mark.parametrize("command", ["run", "explain", "frequencies"])
def test_no_command_waits_for_a_mute_program(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mute = program(tmp_path, FOREVER)
    arguments = {
        "run": ["--out", str(tmp_path), "--family", "flat", "--capability", capability_here()],
        "explain": ["flat-0@0", "--capability", capability_here()],
        "frequencies": [mute, "--out", str(tmp_path)],
    }[command]
    if command != "frequencies":
        arguments += ["--implementation", mute]
    monkeypatch.setattr("sys.argv", ["sampler-parity", command, *arguments, "--start-limit=0.5"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "it did not say what it is within 0.5 seconds" in capsys.readouterr().err


def lost(candidate: str, seconds: float = 1, case: object = CASE) -> Lost:
    assert isinstance(case, type(CASE))
    with Isolated(candidate, Limits(seconds=seconds)) as one:
        outcome: Outcome = one.run(case, "")
    assert outcome.lost is not None
    return outcome.lost


@pytest.mark.proof
def test_a_program_that_does_not_read(tmp_path: Path) -> None:
    found = lost(program(tmp_path, HELLO + FOREVER), case=LARGE)
    assert found.verdict is Verdict.TIMED_OUT
    assert found.words.startswith("the case was not read within 1 seconds: ")
    assert " of its 3,200," in found.words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sys.stdout.write('{')", "; 1 bytes of a line came, and not its end"),
        ("sys.stdout.write('{\"bytes\": 100}\\n1234567890')", "; 10 of its 100 bytes came"),
    ],
)
@pytest.mark.proof
def test_half_an_answer(text: str, words: str, tmp_path: Path) -> None:
    found = lost(program(tmp_path, f"{HELLO}{ASKED}{text}; sys.stdout.flush(); {FOREVER}"))
    assert found == Lost(Verdict.TIMED_OUT, f"no answer within 1 seconds{words}")


@pytest.mark.proof
def test_a_flood_of_words_is_read_and_cut(tmp_path: Path) -> None:
    """Neither a line without an end nor lines without number: no answer is held up by them."""
    flood = "while True: os.write(2, b'x' * 65536)"
    found = lost(program(tmp_path, f"{HELLO}{ASKED}{flood}"))
    assert found.verdict is Verdict.TIMED_OUT
    assert len(found.words) < 2 * LONGEST_WORDS
    flood = "for _ in range(100000): os.write(2, b'many words\\n')"
    found = lost(program(tmp_path, f"{HELLO}{ASKED}{flood}\nos._exit(3)"), seconds=60)
    assert found.words.startswith("ended with status 3 instead of an answer")
    assert found.words.count("many words") == LAST_WORDS


def test_an_answer_without_an_end(tmp_path: Path) -> None:
    found = lost(program(tmp_path, f"{HELLO}{ASKED}print('{{\"bytes\": 4000000000}}', flush=True)"))
    assert found.verdict is Verdict.UNFIT
    assert "a message of 4,000,000,000 bytes, where at most" in found.words


@pytest.mark.parametrize("looks_in_vain", [0, 1])
def test_what_a_candidate_leaves_behind_is_ended(
    looks_in_vain: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process in a session of its own has the pipes of its parent, and would outlive it.

    One that was only just started has no environment by which it would be known at once.
    """
    looks, kill = itertools.count(), isolated._kill_marked
    monkeypatch.setattr(
        isolated, "_kill_marked", lambda mark: next(looks) < looks_in_vain or kill(mark)
    )
    left = (
        "import subprocess\n"
        f"left = subprocess.Popen([sys.executable, '-c', {FOREVER!r}], start_new_session=True)\n"
        "os.write(2, f'left {left.pid}'.encode())\n"
        "os._exit(4)"
    )
    found = lost(program(tmp_path, f"{HELLO}{ASKED}{left}"), seconds=60)
    ended, said = found.words.splitlines()
    assert ended == "ended with status 4 instead of an answer"
    left_over = Path("/proc", said.removeprefix("left "), "cmdline")
    # Of a process that nobody has waited for, nothing else is left.
    assert not left_over.exists() or not left_over.read_bytes()


def test_a_second_start_that_fails_is_a_lost_case(tmp_path: Path) -> None:
    """The run goes on: it has been judged until then."""
    once = (
        f"import os, sys\nif os.path.exists({str(tmp_path / 'seen')!r}): sys.exit('no licence')\n"
    )
    once += f"open({str(tmp_path / 'seen')!r}, 'w').close()\n"
    with Isolated(program(tmp_path, f"{once}{HELLO}{ASKED}os._exit(5)")) as one:
        first, second = one.run(CASE, ""), one.run(CASE, "")
    assert first.lost == Lost(Verdict.CRASHED, "ended with status 5 instead of an answer")
    assert second.lost is not None
    assert second.lost.words.startswith("no second start: ")
    assert "no licence" in second.lost.words


def test_a_silent_worker_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "WORKER", ("-c", FOREVER))
    monkeypatch.setattr(scheduler, "QUIET", 0.1)
    monkeypatch.setattr(scheduler, "ENDING", 0.1)
    limits = Limits(seconds=0.001, starting=0.001)
    with pytest.raises(CannotJudgeError, match="has said nothing for 0 seconds: word of its next"):
        run_gate(Request(families=("flat",), folder=tmp_path, limits=limits))


def test_what_is_no_message_of_a_worker_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "WORKER", ("-c", "print('hello')"))
    with pytest.raises(
        CannotJudgeError, match="the worker for rust_ext at default said what is no"
    ):
        run_gate(Request(families=("flat",), capabilities=("default",), folder=tmp_path))
