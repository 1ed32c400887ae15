"""Starts a candidate's program within limits: ``confine.py MEMORY PARENT PROGRAM [ARGUMENT ...]``.

Runs by itself, without the package, so that it costs a few milliseconds.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From Linux' ``sys/prctl.h``."""


def end_with(parent: int) -> None:
    """Have this process killed when ``parent``, its parent, ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    """Set the limits, which the program and its children inherit, and become the program."""
    memory, parent, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    end_with(parent)
    # Private writable memory: what is allocated, but no library's code.
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.execvp(program[0], program)  # noqa: S606  (a candidate is a program)


if __name__ == "__main__":
    main()
