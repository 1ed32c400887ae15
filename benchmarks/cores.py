"""Whether two cores are worth two: the same batches in two processes, by turns.

rayon takes its number of threads when its pool starts, so each number has a process of its own,
``benchmarks/cores_worker.py``.
"""

import os
import subprocess
import sys
from contextlib import ExitStack

import msgspec

from benchmarks.timing import ratio
from sampler_parity.build.installation import REPOSITORY
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run.benchmark_file import Bar, Work

CORES = (1, 2)
BAR = 1.6


class Turn(msgspec.Struct):
    """What a process is told.

    Attributes:
        work: the call.
        seconds: how long it may take.
    """

    work: Work
    seconds: float


class Answer(msgspec.Struct):
    """What it answers.

    Attributes:
        us: microseconds a call, the median.
        tokens: hash of the tokens of the first two calls, from the same seed in every turn.
    """

    us: float
    tokens: str


def bars(works: list[Work], rounds: int, seconds: float) -> list[Bar]:
    """Time each call on one core and on two, by turns.

    Raises:
        CannotJudgeError: a process ends early, or their tokens differ.
    """
    with ExitStack() as stack:
        workers = [stack.enter_context(_start(cores)) for cores in CORES]
        return [_bar(workers, work, rounds, seconds) for work in works]


def _start(cores: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.cores_worker"],
        cwd=REPOSITORY,
        env=os.environ | {"RAYON_NUM_THREADS": str(cores)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _bar(workers: "list[subprocess.Popen[bytes]]", work: Work, rounds: int, seconds: float) -> Bar:
    turn = Turn(work, seconds)
    answers = [[_ask(worker, turn) for worker in workers] for _ in range(rounds)]
    if len({answer.tokens for both in answers for answer in both}) > 1:
        raise CannotJudgeError(f"{work.words()}: other tokens with other numbers of threads")
    one, two = ([answer.us for answer in side] for side in zip(*answers, strict=True))
    return Bar(
        words="times as fast on two cores as on one",
        work=work,
        where="python",
        ratio=ratio(one, two),
        bound=BAR,
        at_least=True,
    )


def _ask(worker: "subprocess.Popen[bytes]", turn: Turn) -> Answer:
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(msgspec.json.encode(turn) + b"\n")
        worker.stdin.flush()
        return msgspec.json.decode(worker.stdout.readline(), type=Answer)
    except (OSError, msgspec.DecodeError) as error:
        raise CannotJudgeError(f"a process of the benchmark ended early: {error}") from error
