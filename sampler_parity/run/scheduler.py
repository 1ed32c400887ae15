"""Gives orders to worker processes, a few at a time, and listens to them."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO

import msgspec

from sampler_parity.build.processor import environment_at
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run.orders import Message, Order, Result
from sampler_parity.sandbox.isolated import Limits

THREADS = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
"""What torch's threads are told in a worker: two, and those that spin while they wait would starve
the other workers."""

WORKER = ("-m", "sampler_parity.run.worker")

PATIENCE = 100.0
"""Times a candidate's limit for a case that a worker may say nothing: it tells of every 50th case,
of every case that it tries to make another one small, and of every chunk of draws."""

QUIET = 900.0
"""Seconds that a worker may say nothing beside what the candidate takes: while it imports torch,
builds what faults are planted in, or walks through a fault's cases on a busy machine."""

ENDING = 10.0
"""Seconds that a worker may take to end."""

Progress = Callable[[str, int, int], None]
"""Called with a worker's name or what it does, and how much of that is done of how much."""


def run_workers(
    orders: Sequence[Order], cases: int, jobs: int, limits: Limits, progress: Progress
) -> list[Result]:
    """Have a worker process carry out each order, ``jobs`` at a time.

    Args:
        orders: what is to be done, in the order in which it is begun.
        cases: the total that progress has until a worker tells its own.
        jobs: worker processes at a time.
        limits: what a candidate may use, from which follows how long a worker may be silent.
        progress: called whenever a worker has said something.

    Returns:
        What each worker found, in the order of ``orders``.

    Raises:
        CannotJudgeError: a worker ended without a result, was silent for too long, said what is no
            message, or could not judge.
    """
    said: queue.Queue[tuple[Order, Message | None]] = queue.Queue()
    waiting, running = list(orders), dict[str, subprocess.Popen[bytes]]()
    results: dict[str, Result] = {}
    heard: dict[str, float] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                order = waiting.pop(0)
                running[order.name] = _start(order, said)
                heard[order.name] = time.monotonic()
                progress(order.name, 0, cases)
            order, message = _next(said, heard, limits)
            heard[order.name] = time.monotonic()
            if message is None:
                status = _end(running.pop(order.name))
                heard.pop(order.name)
                if order.name not in results:
                    raise CannotJudgeError(
                        f"the worker for {order.name} ended with status {status}"
                    )
                progress(order.name, 1, 1)
            elif message.cannot_judge:
                raise CannotJudgeError(message.cannot_judge)
            elif message.result is not None:
                results[order.name] = message.result
            else:
                doing = f": {message.doing}" if message.doing else ""
                progress(f"{order.name}{doing}", message.done, message.total)
    finally:
        for process in running.values():
            process.kill()
            _end(process)
    return [results[order.name] for order in orders]


def _next(
    said: "queue.Queue[tuple[Order, Message | None]]", heard: dict[str, float], limits: Limits
) -> tuple[Order, Message | None]:
    """Wait for what a worker says next, as long as none has been silent for too long.

    Raises:
        CannotJudgeError: one has.
    """
    allowed = limits.starting + limits.seconds * PATIENCE + QUIET
    name = min(heard, key=heard.__getitem__)
    try:
        return said.get(timeout=max(0.0, heard[name] + allowed - time.monotonic()))
    except queue.Empty:
        raise CannotJudgeError(
            f"the worker for {name} has said nothing for {allowed:,.0f} seconds: word of its next "
            "cases was waited for, and the run was ended"
        ) from None


def _end(process: "subprocess.Popen[bytes]") -> int:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(ENDING)
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(ENDING)
    return -signal.SIGKILL


def _start(
    order: Order, said: "queue.Queue[tuple[Order, Message | None]]"
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, *WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Ctrl-C is for the gate, which ends its workers.
        start_new_session=True,
        env={
            **os.environ,
            **environment_at(order.capability),
            **THREADS,
        },
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("pipes were asked for")
    with contextlib.suppress(BrokenPipeError):
        # One that has ended already is told by the end of what it says.
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        process.stdin.flush()
    threading.Thread(target=_listen, args=(order, process.stdout, said), daemon=True).start()
    return process


def _listen(
    order: Order, lines: IO[bytes], said: "queue.Queue[tuple[Order, Message | None]]"
) -> None:
    with lines:
        for line in lines:
            try:
                message = msgspec.json.decode(line, type=Message)
            except msgspec.MsgspecError as error:
                words = f"the worker for {order.name} said what is no message: {error}"
                message = Message(cannot_judge=words)
            said.put((order, message))
    said.put((order, None))
