"""Candidates that do not answer: each a black box that takes the largest logit, and then some."""

import ctypes
import os
import subprocess
import sys
import time

from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome

MARK = "parity-unruly-child"


class Calm:
    """Answers."""

    about = About(name="calm", view="tokens", stream="own", effects=())

    def run(self, case: Case, _: str) -> Outcome:
        index = case.id.rpartition("-")[2].partition("@")[0]
        self.misbehave(int(index) if index.isdecimal() else 0)
        return Outcome(tokens=[case.logits.argmax(axis=-1)] * case.draws)

    def misbehave(self, _: int) -> None:
        """Do nothing."""


class Segfaults(Calm):
    """Crashes on every seventh case."""

    def misbehave(self, index: int) -> None:
        if index % 7 == 0:
            ctypes.string_at(0)


class Sleeps(Calm):
    """Never answers."""

    def misbehave(self, _: int) -> None:
        time.sleep(1e6)


class Allocates(Calm):
    """Allocates without end."""

    def misbehave(self, _: int) -> None:
        hoard = []
        while True:
            hoard.append(bytearray(1 << 26))


class Panics(Calm):
    """Raises what is no error of a sampler."""

    def misbehave(self, _: int) -> None:
        raise BaseException("thread 'main' panicked")  # noqa: TRY002  (as PyO3's is)


class Leaves(Calm):
    """Ends its process as if all were well."""

    def misbehave(self, _: int) -> None:
        os._exit(0)


class Chatters(Calm):
    """Prints where the replies go, and reads where the questions come from."""

    def misbehave(self, index: int) -> None:
        print("token", index)  # noqa: T201  (that is its fault)
        assert not sys.stdin.read()


class Breeds(Calm):
    """Starts a process that never ends, and crashes."""

    def misbehave(self, _: int) -> None:
        program = "import time; time.sleep(1e6)"
        subprocess.Popen([sys.executable, "-c", program, MARK])
        os.abort()
