"""A candidate in a process of its own, with limits: whatever it does is an outcome."""

import contextlib
import fcntl
import os
import select
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

import msgspec

from sampler_parity.build.instrumented import build_instrumented
from sampler_parity.implementations.registry import COMMAND, SPECIMEN, target_of
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Lost, Outcome
from sampler_parity.model.verdict import Verdict
from sampler_parity.sandbox import wire
from sampler_parity.sandbox.confine import __file__ as confine
from sampler_parity.sandbox.wire import OUT_OF_MEMORY, Hello, Reply, WireError

GIB = 1 << 30

STARTING = 300.0
"""Seconds that a candidate may take to start: importing a large library on a busy machine."""

PIPE = 1 << 20
"""Bytes that a pipe holds: more than nearly every message has."""

LAST_WORDS = 12
"""Lines of a candidate's standard error that are kept."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a candidate may use.

    Attributes:
        seconds: for one case, with all its calls.
        memory: bytes of private writable memory, in each of its processes.
    """

    seconds: float = 20.0
    memory: int = 4 * GIB


@dataclass(slots=True)
class _Process:
    """One start of the candidate.

    Attributes:
        running: the process; the leader of its session.
        replies: what it has said so far and nobody has read.
        deaths: where a host tells of its children's deaths; ``None`` for other programs.
        last_words: the last lines of its standard error.
    """

    running: "subprocess.Popen[bytes]"
    replies: bytearray
    deaths: int | None
    last_words: deque[str]
    listener: threading.Thread


class _EndedError(Exception):
    """The process ended, or was ended, before it answered."""

    def __init__(self, verdict: Verdict, words: str, *, gone: bool = True) -> None:
        super().__init__(words)
        self.verdict = verdict
        self.gone = gone


class Isolated:
    """An implementation in another process; an :class:`Implementation` itself.

    ``run`` is ``ask`` and then ``answer``, between which the caller can do something else. Use it
    as a context manager, in the thread that lives longest: a candidate ends with that thread.
    """

    def __init__(
        self, name: str, limits: Limits | None = None, environment: dict[str, str] | None = None
    ) -> None:
        """Start the candidate ``name``: a registered name, ``module:object`` or ``command:...``.

        Raises:
            CannotJudgeError: it cannot be started.
        """
        self._name = name
        self._limits = limits or Limits()
        self._environment = {**os.environ, **(environment or {})}
        self._command = command_of(name)
        if name.startswith(SPECIMEN):
            # Here, where it may take its time: a case may not.
            build_instrumented()
        self._process: _Process | None = None
        self._deadline = 0.0
        self._early: Lost | None = None
        self.about = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the candidate, and every process that it has started."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.running.pid, signal.SIGKILL)
        process.running.wait()
        for pipe in (process.running.stdin, process.running.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        process.listener.join()
        if process.running.stderr is not None:
            process.running.stderr.close()
        if process.deaths is not None:
            os.close(process.deaths)

    def run(self, case: Case, capability: str) -> Outcome:
        """Run one case."""
        self.ask(case, capability)
        return self.answer()

    def ask(self, case: Case, capability: str) -> None:
        """Let the candidate begin with a case."""
        self._early = None
        if self._process is None:
            self.about = self._start()
        self._deadline = time.monotonic() + self._limits.seconds
        try:
            self._send(wire.ask_of(case, capability))
        except _EndedError as ended:
            self._early = self._lose(ended)

    def answer(self) -> Outcome:
        """Wait for the outcome of what was asked."""
        if self._early is None:
            try:
                return self._outcome()
            except _EndedError as ended:
                self._early = self._lose(ended)
        return Outcome(lost=self._early)

    def _outcome(self) -> Outcome:
        try:
            reply, tensors = wire.decode(*self._receive(), Reply)
            if reply.panicked:
                return Outcome(lost=Lost(Verdict.CRASHED, f"panicked: {reply.panicked}"))
            return wire.outcome_of(reply, tensors)
        except WireError as error:
            raise _EndedError(Verdict.CRASHED, f"answered what is no reply: {error}") from error

    def _lose(self, ended: _EndedError) -> Lost:
        if ended.gone:
            process = self._process
            self.close()
            said = "\n".join(process.last_words) if process else ""
        else:
            said = "\n".join(self._now.last_words)
            self._now.last_words.clear()
        return Lost(ended.verdict, f"{ended}\n{said}".strip())

    @property
    def _now(self) -> _Process:
        if self._process is None:
            raise RuntimeError("the candidate is closed")
        return self._process

    def _start(self) -> About:
        deaths, theirs = os.pipe()
        running = subprocess.Popen(
            [sys.executable, "-I", "-S", confine, str(self._limits.memory), str(os.getpid())]
            + [word.format(deaths=theirs) for word in self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Ctrl-C is for the gate, which ends the candidate and all that it started.
            start_new_session=True,
            pass_fds=(theirs,),
            env=self._environment,
        )
        os.close(theirs)
        for pipe in (running.stdin, running.stdout):
            if pipe is not None:
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)
        if running.stdin is None or running.stdout is None or running.stderr is None:
            raise RuntimeError("pipes were asked for")
        os.set_blocking(running.stdin.fileno(), False)
        os.set_blocking(running.stdout.fileno(), False)
        last_words: deque[str] = deque(maxlen=LAST_WORDS)
        listener = threading.Thread(target=_listen, args=(running.stderr, last_words), daemon=True)
        listener.start()
        host = not self._name.startswith(COMMAND)
        if not host:
            os.close(deaths)
        self._process = _Process(
            running, bytearray(), deaths if host else None, last_words, listener
        )
        self._deadline = time.monotonic() + STARTING
        try:
            hello, _ = wire.decode(*self._receive(), Hello)
        except (_EndedError, WireError) as error:
            ended = error if isinstance(error, _EndedError) else None
            words = self._lose(ended or _EndedError(Verdict.CRASHED, str(error))).words
            raise CannotJudgeError(f"{self._name} could not be started: {words}") from error
        if hello.about is None:
            self.close()
            raise CannotJudgeError(hello.cannot or f"{self._name} does not say what it is")
        if hello.protocol != wire.PROTOCOL:
            self.close()
            raise CannotJudgeError(
                f"{self._name} speaks protocol {hello.protocol}, this version {wire.PROTOCOL}"
            )
        return hello.about

    def _send(self, message: bytes) -> None:
        pipe = self._now.running.stdin
        rest = memoryview(message)
        while pipe is not None and rest:
            self._wait(pipe, select.POLLOUT)
            try:
                rest = rest[os.write(pipe.fileno(), rest) :]
            except BrokenPipeError:
                raise self._died() from None
            except BlockingIOError:
                continue

    def _receive(self) -> tuple[bytes, bytes]:
        """Wait for a whole message."""
        buffer = self._now.replies
        end = -1
        while end < 0:
            if len(buffer) > wire.LONGEST_LINE:
                raise WireError("a line without an end")
            seen = len(buffer)
            self._fill()
            end = buffer.find(b"\n", max(seen - 1, 0))
        line = bytes(buffer[:end])
        whole = end + 1 + wire.payload_size(line)
        while len(buffer) < whole:
            self._fill()
        payload = bytes(buffer[end + 1 : whole])
        del buffer[:whole]
        return line, payload

    def _fill(self) -> None:
        pipe = self._now.running.stdout
        if pipe is None:
            raise RuntimeError("pipes were asked for")
        self._wait(pipe, select.POLLIN)
        try:
            read = os.read(pipe.fileno(), 1 << 20)
        except BlockingIOError:
            return
        if not read:
            raise self._died()
        self._now.replies.extend(read)

    def _wait(self, pipe: IO[bytes], event: int) -> None:
        """Wait for the pipe, a death, or the deadline."""
        process = self._now
        poll = select.poll()
        poll.register(pipe, event)
        if process.deaths is not None:
            poll.register(process.deaths, select.POLLIN)
        ready = poll.poll(max(0.0, self._deadline - time.monotonic()) * 1000)
        if not ready:
            raise _EndedError(
                Verdict.TIMED_OUT, f"no answer within {self._limits.seconds:g} seconds"
            )
        if any(descriptor == process.deaths for descriptor, _ in ready):
            status = os.read(process.deaths or 0, 64)
            if status:
                process.replies.clear()
                # A child that died while it was being asked has left half an ask in the pipe.
                gone = event == select.POLLOUT
                raise _EndedError(Verdict.CRASHED, self._ending(int(status.split()[0])), gone=gone)
            raise self._died()

    def _died(self) -> _EndedError:
        return _EndedError(Verdict.CRASHED, self._ending(self._now.running.wait()))

    def _ending(self, status: int) -> str:
        if status == OUT_OF_MEMORY:
            return f"ran out of memory: the limit is {self._limits.memory / (1 << 30):g} GiB"
        if status < 0:
            return f"ended by {signal.Signals(-status).name}"
        return f"ended with status {status} instead of an answer"


def command_of(name: str) -> list[str]:
    """Give a candidate's program and arguments; ``{deaths}`` stands for a descriptor's number.

    Raises:
        CannotJudgeError: there is no such candidate.
    """
    if name.startswith(COMMAND):
        words = [word.replace("{", "{{").replace("}", "}}") for word in _words(name)]
        if not words:
            raise CannotJudgeError(f"{COMMAND} names no program")
        return words
    target_of(name)
    return [sys.executable, "-m", "sampler_parity.sandbox.host", name, "{deaths}"]


def _words(name: str) -> list[str]:
    try:
        return shlex.split(name.removeprefix(COMMAND))
    except ValueError as error:
        raise CannotJudgeError(f"{name!r} is no command: {error}") from error


def _listen(errors: IO[bytes], last_words: deque[str]) -> None:
    for line in errors:
        last_words.append(line.decode(errors="replace").rstrip()[:500])
