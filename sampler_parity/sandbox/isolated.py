"""A candidate in a process of its own, with limits: whatever it does is an outcome."""

import contextlib
import fcntl
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from sampler_parity.build.instrumented import build_instrumented
from sampler_parity.implementations.registry import COMMAND, COMPILED, target_of
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Lost, Outcome, UnfitError
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines.references import REFERENCES
from sampler_parity.sandbox import wire
from sampler_parity.sandbox.confine import __file__ as confine
from sampler_parity.sandbox.wire import OUT_OF_MEMORY, Hello, Reply, WireError

GIB = 1 << 30

ENDING = 5.0
"""Seconds that a process may take to end which was killed, or which has closed its output."""

SILENCE = 0.1
"""Seconds after which is looked again who holds the pipe of an ended candidate."""

PIPE = 1 << 20
"""Bytes that a pipe holds: more than nearly every message has."""

CHUNK = 1 << 16
"""Bytes of a candidate's standard error that are read at a time."""

MARK = "SAMPLER_PARITY_CANDIDATE"
"""A variable of the environment by which a candidate's processes are known, wherever they went."""

LAST_WORDS = 24
"""Lines of a candidate's standard error that are kept."""

LONGEST_WORDS = 500
"""Characters of such a line that are kept."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a candidate may use.

    Attributes:
        seconds: for one case, with all its calls.
        memory: bytes of private writable memory, in each of its processes.
        starting: seconds until it has said what it is: importing a large library on a busy
            machine takes its time.
    """

    seconds: float = 20.0
    memory: int = 4 * GIB
    starting: float = 120.0


def options_of(limits: Limits) -> list[str]:
    """Give the options of a command line that ask for ``limits``: none for the usual ones."""
    usual = Limits()
    options = []
    for option, value, default in (
        ("--time-limit", limits.seconds, usual.seconds),
        ("--memory-limit", limits.memory / GIB, usual.memory / GIB),
        ("--start-limit", limits.starting, usual.starting),
    ):
        if value != default:
            options += [option, f"{value:g}"]
    return options


class _LastWords:
    """The last lines of a candidate's standard error, which is read while it is waited for."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.pipe: IO[bytes] | None = pipe
        self._lines: deque[str] = deque(maxlen=LAST_WORDS)
        self._line = b""
        os.set_blocking(pipe.fileno(), False)

    def take(self) -> bool:
        """Take in what there is, up to :data:`CHUNK` bytes; say whether there may be more."""
        if self.pipe is None:
            return False
        try:
            said = os.read(self.pipe.fileno(), CHUNK)
        except BlockingIOError:
            return False
        if not said:
            self.close()
            return False
        *whole, self._line = (self._line + said).split(b"\n")
        self._lines.extend(line.decode(errors="replace").rstrip()[:LONGEST_WORDS] for line in whole)
        # Of a line without an end, no more than its beginning is of use.
        self._line = self._line[: 4 * LONGEST_WORDS]
        return True

    def drain(self) -> str:
        """Take in what is left, no more than a pipe holds, and give the last lines."""
        for _ in range(PIPE // CHUNK):
            if not self.take():
                break
        last = self._line.decode(errors="replace").rstrip()[:LONGEST_WORDS]
        lines = [*self._lines, *([last] if last else [])]
        self._lines.clear()
        self._line = b""
        return "\n".join(lines[-LAST_WORDS:])

    def close(self) -> None:
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None

    def end(self, seconds: float, still: Callable[[], None]) -> None:
        """Wait until nobody holds the pipe any more, and take in what is said.

        ``still`` is called whenever nothing was said for a while: somebody holds it.
        """
        deadline = time.monotonic() + seconds
        while self.pipe is not None and (left := deadline - time.monotonic()) > 0:
            poll = select.poll()
            poll.register(self.pipe, select.POLLIN)
            if not poll.poll(min(left, SILENCE) * 1000):
                still()
            self.take()
        self.close()


@dataclass(slots=True)
class _Process:
    """One start of the candidate.

    Attributes:
        running: the process; the leader of its session.
        asks: what it reads.
        answers: what it writes.
        replies: what it has said so far and nobody has read.
        deaths: where a host tells of its children's deaths; ``None`` for other programs.
        ended: a descriptor that can be read when the process has ended, whoever holds its pipes.
        errors: its standard error.
        mark: what all its processes have in their environment.
        forks: whether another child can answer without a new start.
    """

    running: "subprocess.Popen[bytes]"
    asks: IO[bytes]
    answers: IO[bytes]
    replies: bytearray
    deaths: int | None
    ended: int
    errors: _LastWords
    mark: str
    forks: bool = False


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

    Attributes:
        earlier: the ids of the cases that the process which answers now was asked, in order.
    """

    def __init__(
        self,
        name: str,
        limits: Limits | None = None,
        environment: dict[str, str] | None = None,
        also: str = "",
        *,
        wait: bool = True,
    ) -> None:
        """Start the candidate ``name``: a registered name, ``module:object`` or ``command:...``.

        It may have, beside the samplers that come with the harness, the one called ``also``.
        Without ``wait``, what it says that it is comes with the first use of ``about``, or with
        :meth:`wait`, which may raise the same.

        Raises:
            CannotJudgeError: it cannot be started.
        """
        self._name = name
        self._also = also
        self._limits = limits or Limits()
        self._environment = {**os.environ, **(environment or {})}
        self._command = command_of(name)
        if name in COMPILED:
            # Here, where it may take its time: a case may not.
            build_instrumented()
        self._process: _Process | None = None
        self._deadline = 0.0
        self._starting = False
        self._case: Case | None = None
        self._early: Outcome | None = None
        self._about: About | None = None
        self.earlier: list[str] = []
        self._begin()
        if wait:
            self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def forks(self) -> bool:
        """Whether a process that was asked nothing costs a fork, and no start."""
        return self._process is not None and self._process.forks

    @property
    def about(self) -> About:
        """What the candidate says it is."""
        return self.wait()

    def wait(self) -> About:
        """Wait until the candidate has said what it is, if it has not yet.

        Raises:
            CannotJudgeError: it cannot be started.
        """
        if self._about is None:
            self._about = self._greeted()
        return self._about

    def close(self) -> None:
        """End the candidate, and every process that it has started."""
        if self._process is None:
            return
        process, self._process = self._process, None
        self.earlier = []
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.running.pid, signal.SIGKILL)
        _kill_marked(process.mark)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.running.wait(ENDING)
        # Everything that it started has its standard error, and has ended when that is closed. What
        # was just being started had no environment yet, by which it would have been known.
        process.errors.end(ENDING, lambda: _kill_marked(process.mark))
        for pipe in (process.asks, process.answers):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        os.close(process.ended)
        if process.deaths is not None:
            os.close(process.deaths)

    def renew(self) -> None:
        """Have the next case answered by a process that was asked nothing before."""
        if self._process is None or not self.earlier:
            return
        if not self._process.forks:
            self.close()
            return
        self._deadline = time.monotonic() + self._limits.seconds
        try:
            self._send(wire.RENEW)
            while True:
                self._fill()
        except _EndedError as ended:
            # That the child made way is told as a death.
            if ended.gone:
                self.close()
            self.earlier = []

    def run(self, case: Case, capability: str) -> Outcome:
        """Run one case."""
        self.ask(case, capability)
        return self.answer()

    def ask(self, case: Case, capability: str) -> None:
        """Let the candidate begin with a case; not if it says that it lacks the sampler."""
        self._early = None
        sampler = case.parameters.sampler
        if sampler not in self.about.samplers:
            self._early = Outcome(declined=f"{self.about.name} has no {sampler}")
            return
        if self._process is None:
            try:
                self._begin()
                about = self._greeted()
            except CannotJudgeError as error:
                self._early = Outcome(lost=Lost(Verdict.CRASHED, f"no second start: {error}"))
                return
            if about != self.about:
                words = "at its second start the candidate says that it is something else"
                self._early = Outcome(lost=Lost(Verdict.UNFIT, f"{words}: {about}"))
                return
        self._case = case
        self._deadline = time.monotonic() + self._limits.seconds
        try:
            self.earlier.append(case.id)
            self._send(wire.ask_of(case, capability))
        except _EndedError as ended:
            self._early = self._lose(ended)

    def answer(self) -> Outcome:
        """Wait for the outcome of what was asked."""
        if self._early is None:
            try:
                self._early = self._outcome()
            except _EndedError as ended:
                self._early = self._lose(ended)
        return self._early

    def _outcome(self) -> Outcome:
        if self._case is None:
            raise RuntimeError("no case was asked")
        try:
            line, payload = self._receive(wire.largest_reply(self._case))
            try:
                reply, tensors = wire.decode(line, payload, Reply)
                return wire.outcome_of(reply, tensors, self._case, self.about)
            except UnfitError as error:
                return Outcome(lost=Lost(Verdict.UNFIT, str(error)))
        except WireError as error:
            # Where the next answer begins nobody knows.
            raise _EndedError(Verdict.UNFIT, f"answered what is no reply: {error}") from error

    def _lose(self, ended: _EndedError) -> Outcome:
        errors = self._now.errors
        if ended.gone:
            self.close()
        else:
            self.earlier = []
        said = errors.drain()
        return Outcome(lost=Lost(ended.verdict, f"{ended}\n{said}".strip()))

    @property
    def _now(self) -> _Process:
        if self._process is None:
            raise RuntimeError("the candidate is closed")
        return self._process

    def _begin(self) -> None:
        self._process = self._spawn()
        self._deadline = time.monotonic() + self._limits.starting

    def _greeted(self) -> About:
        self._starting = True
        try:
            hello, _ = wire.decode(*self._receive(wire.LONGEST_LINE), Hello)
        except (_EndedError, WireError, UnfitError) as error:
            ended = error if isinstance(error, _EndedError) else None
            lost = self._lose(ended or _EndedError(Verdict.CRASHED, str(error))).lost
            words = lost.words if lost else ""
            raise CannotJudgeError(f"{self._name} could not be started: {words}") from error
        finally:
            self._starting = False
        about, words = hello.about, _refused(hello, self._also)
        if about is None or words:
            self.close()
            raise CannotJudgeError(hello.cannot or f"{self._name} {words}")
        self._now.forks = hello.forks
        return about

    def _spawn(self) -> _Process:
        deaths, theirs = os.pipe()
        mark = f"{MARK}={uuid.uuid4()}"
        running = subprocess.Popen(
            [sys.executable, "-I", "-S", confine, str(self._limits.memory), str(os.getpid())]
            + [word.format(deaths=theirs) for word in self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Ctrl-C is for the gate, which ends the candidate and all that it started.
            start_new_session=True,
            pass_fds=(theirs,),
            env={**self._environment, **dict([mark.split("=")])},
        )
        os.close(theirs)
        if running.stdin is None or running.stdout is None or running.stderr is None:
            raise RuntimeError("pipes were asked for")
        for pipe in (running.stdin, running.stdout):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)
            os.set_blocking(pipe.fileno(), False)
        host = not self._name.startswith(COMMAND)
        if not host:
            os.close(deaths)
        return _Process(
            running=running,
            asks=running.stdin,
            answers=running.stdout,
            replies=bytearray(),
            deaths=deaths if host else None,
            ended=os.pidfd_open(running.pid),
            errors=_LastWords(running.stderr),
            mark=mark,
        )

    def _send(self, message: bytes) -> None:
        pipe = self._now.asks
        rest = memoryview(message)
        while rest:
            taken = len(message) - len(rest)
            self._wait(
                pipe,
                select.POLLOUT,
                f"the case was not read within {self._limits.seconds:g} seconds: {taken:,} of its "
                f"{len(message):,} bytes were taken",
            )
            try:
                rest = rest[os.write(pipe.fileno(), rest) :]
            except BrokenPipeError:
                raise self._died() from None
            except BlockingIOError:
                continue

    def _receive(self, most: int) -> tuple[bytes, bytes]:
        """Wait for a whole message of up to ``most`` bytes after its line."""
        buffer = self._now.replies
        end = -1
        while end < 0:
            if len(buffer) > wire.LONGEST_LINE:
                raise WireError("a line without an end")
            seen = len(buffer)
            self._fill()
            end = buffer.find(b"\n", max(seen - 1, 0))
        line = bytes(buffer[:end])
        size = wire.payload_size(line)
        if size > most:
            raise WireError(f"a message of {size:,} bytes, where at most {most:,} make sense")
        whole = end + 1 + size
        while len(buffer) < whole:
            self._fill(f"{len(buffer) - end - 1:,} of its {size:,} bytes came")
        payload = bytes(buffer[end + 1 : whole])
        del buffer[:whole]
        return line, payload

    def _fill(self, partly: str = "") -> None:
        """Wait for more of what the candidate says; ``partly`` tells what came of it."""
        process = self._now
        if not partly and process.replies:
            partly = f"{len(process.replies):,} bytes of a line came, and not its end"
        late = f"no answer within {self._limits.seconds:g} seconds"
        if self._starting:
            late = (
                f"it did not say what it is within {self._limits.starting:g} seconds: a line "
                '{"about": ...} was waited for'
            )
        self._wait(process.answers, select.POLLIN, f"{late}; {partly}" if partly else late)
        try:
            read = os.read(process.answers.fileno(), 1 << 20)
        except BlockingIOError:
            return
        if not read:
            raise self._died()
        process.replies.extend(read)

    def _wait(self, pipe: IO[bytes], event: int, late: str) -> None:
        """Wait for the pipe, a death, or the deadline, which ``late`` tells of.

        Meanwhile the candidate's standard error is read, so that what it says there does not hold
        it up.
        """
        process = self._now
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise _EndedError(Verdict.TIMED_OUT, late)
            poll = select.poll()
            poll.register(pipe, event)
            if process.errors.pipe is not None:
                poll.register(process.errors.pipe, select.POLLIN)
            for descriptor in (process.deaths, process.ended):
                if descriptor is not None:
                    poll.register(descriptor, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll(left * 1000)}
            if event == select.POLLIN and pipe.fileno() in ready:
                # First what was said, then who has died since.
                return
            if process.deaths in ready:
                self._bury(asked=event == select.POLLOUT)
            if process.ended in ready:
                raise self._died()
            if pipe.fileno() in ready:
                return
            process.errors.take()

    def _bury(self, *, asked: bool) -> None:
        """Raise what a host tells of its child's death, or its own."""
        process = self._now
        status = os.read(process.deaths or 0, 64)
        if not status:
            raise self._died()
        process.replies.clear()
        # A child that died while it was being asked has left half an ask in the pipe.
        raise _EndedError(Verdict.CRASHED, self._ending(int(status.split()[0])), gone=asked)

    def _died(self) -> _EndedError:
        try:
            status = self._now.running.wait(ENDING)
        except subprocess.TimeoutExpired:
            return _EndedError(Verdict.CRASHED, "closed its standard output instead of an answer")
        return _EndedError(Verdict.CRASHED, self._ending(status))

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
        words = _words(name)
        if not words:
            raise CannotJudgeError(f"{COMMAND} names no program")
        if shutil.which(words[0]) is None:
            raise CannotJudgeError(f"{name!r}: there is no program {words[0]!r} that can be run")
        return [word.replace("{", "{{").replace("}", "}}") for word in words]
    target_of(name)
    return [sys.executable, "-m", "sampler_parity.sandbox.host", name, "{deaths}"]


def _words(name: str) -> list[str]:
    try:
        return shlex.split(name.removeprefix(COMMAND))
    except ValueError as error:
        raise CannotJudgeError(f"{name!r} is no command: {error}") from error


def _refused(hello: Hello, also: str) -> str:
    """Say why a candidate cannot be asked; nothing if it can. It may have the sampler ``also``."""
    if hello.about is None:
        return "does not say what it is"
    if hello.protocol != wire.PROTOCOL:
        return f"speaks protocol {hello.protocol}, this version {wire.PROTOCOL}"
    unknown = [sampler for sampler in hello.about.samplers if sampler not in (*REFERENCES, also)]
    if unknown:
        return (
            f"says that it has the sampler {unknown[0]!r}, which is none of {', '.join(REFERENCES)}"
        )
    return "" if hello.about.samplers else "says that it has no sampler"


def _kill_marked(mark: str) -> None:
    """End the processes that have left the candidate's session, if it has started such ones."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in environment.read_bytes().split(b"\0"):
                os.kill(int(environment.parent.name), signal.SIGKILL)
