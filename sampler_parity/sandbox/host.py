"""The process of an implementation in Python: ``python -m sampler_parity.host NAME [DESCRIPTOR]``.

It loads the implementation, forks, and lets the child answer. Where the child dies, this process,
which has run nothing of the candidate but its import, says so on the descriptor and forks again:
a candidate that crashes on every other case costs no more than one that does not.
"""

import faulthandler
import os
import sys
from typing import BinaryIO

from sampler_parity.implementations.registry import load_implementation
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import Implementation
from sampler_parity.sandbox import wire
from sampler_parity.sandbox.confine import end_with
from sampler_parity.sandbox.wire import OUT_OF_MEMORY, Ask, Hello, Reply


def answer(implementation: Implementation, ask: Ask, tensors: wire.Tensors) -> bytes:
    """Run one case."""
    about = implementation.about
    if ask.sampler not in about.samplers:
        return wire.encode(Reply(declined=f"{about.name} has no {ask.sampler}"), {})
    try:
        outcome = implementation.run(wire.case_of(ask, tensors), ask.capability)
        return wire.reply_of(outcome, about)
    except MemoryError:
        # What the candidate holds on to would fail other cases.
        os._exit(OUT_OF_MEMORY)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  (PyO3's PanicException is no Exception)
        return wire.encode(Reply(panicked=f"{type(error).__name__}: {error}"), {})


def _serve(implementation: Implementation, asks: BinaryIO, replies: BinaryIO) -> None:
    while (message := wire.read(asks, Ask)) is not None:
        replies.write(answer(implementation, *message))
        replies.flush()


def main() -> None:
    """Serve until standard input ends."""
    asks, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What the candidate prints is no reply.
    os.dup2(2, 1)
    with open(os.devnull) as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    faulthandler.enable()
    try:
        implementation = load_implementation(sys.argv[1])
    except CannotJudgeError as error:
        replies.write(wire.encode(Hello(cannot=str(error)), {}))
        return
    replies.write(wire.encode(Hello(about=implementation.about), {}))
    replies.flush()
    deaths = int(sys.argv[2]) if sys.argv[2:] else 2
    here = os.getpid()
    while True:
        child = os.fork()
        if not child:
            end_with(here)
            _serve(implementation, asks, replies)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if not status:
            return
        os.write(deaths, f"{status}\n".encode())


if __name__ == "__main__":
    main()
