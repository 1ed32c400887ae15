"""Whatever a candidate does is an outcome: the run goes on, and nothing of it is left."""

import os
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from parity_tests.meta.unruly import MARK
from sampler_parity.cases.plan import CASE_COUNTS, case_of
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines import SampleLogits
from sampler_parity.run.comparing import IN_A_ROW
from sampler_parity.run.gate import run_gate
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import Run, Shard
from sampler_parity.sandbox.isolated import Isolated, Limits
from sampler_parity.statistics.frequencies import frequencies

SMALL = Limits(seconds=60, memory=256 << 20)
CASES = CASE_COUNTS["quick"].count("flat")


def limits(seconds: float) -> Limits:
    return Limits(seconds=seconds, memory=SMALL.memory)


def candidate(name: str) -> str:
    return f"parity_tests.meta.unruly:{name}"


@pytest.fixture(autouse=True)
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mark what a test starts: other tests start the same candidates at the same time."""
    monkeypatch.setenv(MARK, uuid.uuid4().hex)


def left() -> list[str]:
    """Command lines of the processes that this test has started and that still run."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return found


def outcomes(name: str, count: int, allowed: Limits = SMALL) -> list[Outcome]:
    cases = [case_of(f"flat-{index}@0") for index in range(count)]
    with Isolated(candidate(name), allowed) as isolated:
        assert left() != [], "a candidate that is not seen would not be seen to be left either"
        found = [isolated.run(case, "") for case in cases]
    assert left() == []
    return found


def lost(outcome: Outcome) -> tuple[Verdict, str] | None:
    return None if outcome.lost is None else (outcome.lost.verdict, outcome.lost.words)


def test_a_calm_candidate_answers() -> None:
    found = outcomes("Calm", 10)
    assert [lost(outcome) for outcome in found] == [None] * 10
    assert all(outcome.tokens for outcome in found)


def test_a_crash_costs_its_case_only() -> None:
    found = outcomes("Segfaults", 15)
    crashed = [index for index, outcome in enumerate(found) if outcome.lost]
    assert crashed == [0, 7, 14]
    verdict, words = lost(found[7]) or ("", "")
    assert verdict is Verdict.CRASHED
    assert words.startswith("ended by SIGSEGV")


@pytest.mark.proof
def test_a_candidate_that_sleeps_is_ended() -> None:
    [outcome] = outcomes("Sleeps", 1, limits(seconds=0.2))
    assert lost(outcome) == (Verdict.TIMED_OUT, "no answer within 0.2 seconds")


@pytest.mark.proof
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Allocates", "ran out of memory: the limit is 0.25 GiB"),
        ("Panics", "panicked: BaseException: thread 'main' panicked"),
        ("Leaves", "ended with status 0 instead of an answer"),
        ("Breeds", "ended by SIGABRT"),
    ],
)
def test_what_does_not_answer_has_crashed(name: str, words: str) -> None:
    for outcome in outcomes(name, 2):
        verdict, said = lost(outcome) or ("", "")
        assert verdict is Verdict.CRASHED
        assert said.startswith(words)
    assert left() == []


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize(("name", "crashes"), [("WarmsUp", [1, 4]), ("StartsAThread", [])])
def test_threads_that_were_started_at_import_work(name: str, crashes: list[int]) -> None:
    """A fork would have none of them, and wait for them for ever."""
    found = outcomes(name, 6, Limits(seconds=120))
    assert [index for index, outcome in enumerate(found) if outcome.lost] == crashes
    for index in crashes:
        verdict, words = lost(found[index]) or ("", "")
        assert verdict is Verdict.CRASHED
        assert words.startswith("ended by SIGSEGV")


@pytest.mark.proof
def test_a_crash_of_what_has_no_threads_costs_a_fork() -> None:
    with Isolated(candidate("Segfaults"), SMALL) as isolated:
        assert isolated.forks
    with Isolated(candidate("StartsAThread"), SMALL) as isolated:
        assert not isolated.forks


@pytest.mark.proof
def test_what_a_candidate_prints_is_no_answer() -> None:
    assert [lost(outcome) for outcome in outcomes("Chatters", 3)] == [None] * 3


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("pass", "ended with status 0"),
        ("raise SystemExit('no licence')", "no licence"),
        ("print('hello')", "is no message"),
        ("print('{}')", "does not say what it is"),
        ("print('{\"bytes\": -1}')", "a message of -1 bytes is none"),
        ("print('x' * (1 << 21))", "a line without an end"),
        ('print(\'{"about": {"name": "x"}, "protocol": 99}\')', "speaks protocol 99"),
        ('print(\'{"about": {"name": "x", "view": "all"}}\')', "Invalid enum value 'all'"),
    ],
)
def test_a_program_that_is_no_candidate(program: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(program)
    with pytest.raises(CannotJudgeError, match=words):
        Isolated(f"command:{sys.executable} {path}")


ANSWERS = """
import json, sys
about = {"name": "odd", "view": "tokens", "stream": "own", "effects": []}
print(json.dumps({"about": about}), flush=True)
while line := sys.stdin.buffer.readline():
    sys.stdin.buffer.read(json.loads(line)["bytes"])
    print(%s, flush=True)
"""


@pytest.mark.parametrize(
    "answer",
    ["'hello'", "'[]'", "'{\"bytes\": 3}\\nabc'", "'{\"error\": 7}'", "'{\"bytes\": 1e99}'"],
)
def test_an_answer_that_is_none_is_unfit(answer: str, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(ANSWERS % answer)
    with Isolated(f"command:{sys.executable} {path}") as isolated:
        for _ in range(2):
            verdict, words = lost(isolated.run(case_of("flat-0@0"), "")) or ("", "")
            assert verdict is Verdict.UNFIT
            assert words.startswith("answered what is no reply")


def test_a_candidate_without_torch_starts_without_it() -> None:
    """It takes seconds and half a gigabyte, which belong to the candidates that need it."""
    imports = "import sys, sampler_parity.cli, sampler_parity.host"
    program = f"{imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.proof
def test_everything_of_a_case_comes_through(tmp_path: Path) -> None:
    """NaN and infinity as parameters, 64-bit seeds, NaN payloads: as in one's own process."""
    parameters = SampleLogits(float("nan"), float("inf"), -1, "argmax")
    logits = case_of("odd-logits-3@0").logits
    case = replace(
        case_of("flat-0@0"), logits=logits, parameters=parameters, seed=2**64 - 1, advance=3
    )
    (tmp_path / "echo.py").write_text(
        "from sampler_parity.model.implementation import About\n"
        "from sampler_parity.model.outcome import Failure, Outcome\n"
        "class Echo:\n"
        "    about = About(name='echo')\n"
        "    def run(self, case, capability):\n"
        "        said = repr((case.parameters, case.seed, case.draws, case.advance, case.threads,\n"
        "                     case.id, case.family, capability))\n"
        "        failure = Failure('RuntimeError', said, 0)\n"
        "        return Outcome(input=case.logits, generator=bytes(5056), failure=failure)\n"
    )
    with Isolated("echo:Echo", environment={"PYTHONPATH": str(tmp_path)}) as isolated:
        outcome = isolated.run(case, "avx2")
    assert outcome.input.tobytes() == logits.tobytes()
    expected = (parameters, case.seed, case.draws, 3, case.threads, case.id, "flat", "avx2")
    assert outcome.failure is not None
    assert outcome.failure.message == repr(expected)


def gate(name: str, folder: Path, seconds: float = 60) -> Run:
    return run_gate(
        Request(
            implementations=(candidate(name),),
            families=("flat",),
            capabilities=("avx2",),
            folder=folder,
            limits=limits(seconds),
        )
    )


def counted(run: Run) -> Shard:
    [shard] = run.shards
    assert run.status == "diverges"
    assert shard.planned == CASES == shard.compared + shard.not_compared
    assert left() == []
    return shard


@pytest.mark.slow
@pytest.mark.proof
def test_a_run_outlasts_a_candidate_that_crashes(tmp_path: Path) -> None:
    shard = counted(gate("Segfaults", tmp_path))
    assert shard.verdicts["crashed"] == -(-CASES // 7)
    assert shard.not_compared == 0
    found = [f for f in shard.divergences if f.divergence.verdict is Verdict.CRASHED]
    assert {f.divergence.first for f in found} == {"error"}
    assert "SIGSEGV" in found[0].divergence.candidate
    assert found[0].shrunken is not None


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize(("name", "verdict"), [("Sleeps", "timed_out"), ("Allocates", "crashed")])
def test_a_run_gives_up_a_candidate_that_never_answers(
    name: str, verdict: str, tmp_path: Path
) -> None:
    shard = counted(gate(name, tmp_path, seconds=0.3 if name == "Sleeps" else 60))
    assert shard.verdicts == {verdict: IN_A_ROW}
    assert shard.not_compared == CASES - IN_A_ROW
    assert f"given up after {IN_A_ROW} cases without an answer" in shard.reason


@pytest.mark.slow
@pytest.mark.proof
def test_frequencies_of_what_does_not_answer_are_given_up_at_once() -> None:
    """The first case that is lost decides: no test waits for another one."""
    result = frequencies(candidate("Sleeps"), "quick", 0, limits(0.02), lambda *_: None)
    assert result.status == "diverges"
    assert {test.decision for test in result.tests} == {"rejects"}
    assert "no answer within 0.2 seconds" in result.reasons[0]
