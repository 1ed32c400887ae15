"""The process of an implementation in Python: ``python -m sampler_parity.host NAME [DESCRIPTOR]``.

It loads the implementation, forks, and lets the child answer. Where the child dies, this process,
which has run nothing of the candidate but its import, says so on the descriptor and forks again:
a candidate that crashes on every other case costs no more than one that does not.

A child has none of its parent's threads. An implementation that has started some while it was
loaded, as torch does for a model that warms up, would wait for them for ever: it answers in this
process instead, and is started anew where it crashes.
"""

import faulthandler
import os
import sys
from pathlib import Path
from typing import BinaryIO

from sampler_parity.implementations.registry import load_implementation
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import Implementation
from sampler_parity.model.outcome import UnfitError
from sampler_parity.sandbox import wire
from sampler_parity.sandbox.confine import end_with
from sampler_parity.sandbox.wire import OUT_OF_MEMORY, RENEWED, Ask, Hello, Reply

TASKS = Path("/proc/self/task")
"""Where Linux lists a process' threads."""


def answer(implementation: Implementation, ask: Ask, tensors: wire.Tensors) -> bytes:
    """Run one case."""
    try:
        outcome = implementation.run(wire.case_of(ask, tensors), ask.capability)
        return wire.reply_of(outcome, implementation.about)
    except MemoryError:
        # What the candidate holds on to would fail other cases.
        os._exit(OUT_OF_MEMORY)
    except (KeyboardInterrupt, SystemExit):
        raise
    except UnfitError as error:
        return wire.encode(Reply(unfit=str(error)), {})
    except Exception as error:  # noqa: BLE001  (the sampler's own errors are outcomes)
        words = f"the implementation's `run` raised {type(error).__name__}: {error}"
        return wire.encode(Reply(unfit=words), {})
    except BaseException as error:  # noqa: BLE001  (PyO3's PanicException is no Exception)
        return wire.encode(Reply(panicked=f"{type(error).__name__}: {error}"), {})


def _serve(implementation: Implementation, asks: BinaryIO, replies: BinaryIO) -> int:
    """Answer until the asks end, or another process is to answer; give the exit status."""
    while line := asks.readline(wire.LONGEST_LINE):
        if line == wire.RENEW:
            return RENEWED
        replies.write(answer(implementation, *wire.rest_of_ask(line, asks)))
        replies.flush()
    return 0


def _threads() -> int:
    return sum(1 for _ in TASKS.iterdir())


def main() -> None:
    """Serve until standard input ends."""
    asks, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What the candidate prints is no reply.
    os.dup2(2, 1)
    with open(os.devnull) as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    faulthandler.enable()
    # Those of numpy, which is imported already, end before a fork and start again after it.
    before = _threads()
    try:
        implementation = load_implementation(sys.argv[1])
    except CannotJudgeError as error:
        replies.write(wire.encode(Hello(cannot=str(error)), {}))
        return
    forks = _threads() <= before
    replies.write(wire.encode(Hello(about=implementation.about, forks=forks), {}))
    replies.flush()
    if forks:
        _fork(implementation, asks, replies, int(sys.argv[2]) if sys.argv[2:] else 2)
    else:
        _serve(implementation, asks, replies)


def _fork(implementation: Implementation, asks: BinaryIO, replies: BinaryIO, deaths: int) -> None:
    """Have children answer, one after another, until one has come to the end of the asks."""
    here = os.getpid()
    while True:
        child = os.fork()
        if not child:
            end_with(here)
            os._exit(_serve(implementation, asks, replies))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if not status:
            return
        os.write(deaths, f"{status}\n".encode())


if __name__ == "__main__":
    main()
