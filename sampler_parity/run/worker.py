"""A process of the gate: one implementation at one capability.

torch fixes its capability when it is imported, so each needs a process of its own. The order
comes on standard input, which then stays open; progress and the result go to what was standard
output when the process began.
"""

import os
import sys
import threading

import msgspec

from sampler_parity.model.errors import CannotJudgeError, not_importable
from sampler_parity.run.orders import Message, Order


def _end_with_the_gate() -> None:
    """The gate keeps the pipe open for as long as it wants the worker, however it ends."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def main() -> None:
    """Carry out the order that is the first line of standard input."""
    messages = os.fdopen(os.dup(1), "wb")
    # What a library prints is no message.
    os.dup2(2, 1)

    def say(message: Message) -> None:
        messages.write(msgspec.json.encode(message) + b"\n")
        messages.flush()

    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    threading.Thread(target=_end_with_the_gate, daemon=True).start()
    try:
        # Here, not above: where torch cannot be imported, the gate is told.
        from sampler_parity.run.work import work

        say(Message(result=work(order, say)))
    except CannotJudgeError as error:
        say(Message(cannot_judge=str(error)))
    except ImportError as error:
        say(Message(cannot_judge=not_importable(error)))


if __name__ == "__main__":
    main()
