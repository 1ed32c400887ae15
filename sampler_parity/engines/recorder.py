"""Writes a recording of an engine, call by call.

An engine is never ended by its recorder: where something cannot be recorded, recording stops, and
:meth:`Recorder.close` says why.
"""

import functools
import hashlib
import inspect
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import msgspec
import numpy as np

from sampler_parity.engines.forcing import Forcing
from sampler_parity.engines.recording import (
    VERSION,
    Call,
    CallError,
    End,
    Fed,
    Header,
    Keep,
    Random,
    RecordingError,
    Value,
    encode,
    json_value,
)
from sampler_parity.engines.sources import (
    Array,
    default_generator,
    largest,
    like,
    logits_of,
    seed_of,
    source_of,
    state_of,
    tokens_of,
)

P = ParamSpec("P")
R = TypeVar("R")

_TOP = "top:"


class Recorder:
    """A recording that is being written.

    ``wrap`` records every call of a function; ``call`` is for everything else. Several threads may
    use one recorder; each has a generation and a phase of its own.
    """

    def __init__(
        self,
        path: Path | str,
        engine: str = "",
        *,
        engine_version: str = "",
        about: Mapping[str, str] | None = None,
        keep: str = "whole",
        overwrite: bool = False,
    ) -> None:
        """Begin a recording.

        Args:
            path: the file, whose name ends in ``.calls``.
            engine: the engine's name; by default that of the program.
            engine_version: its version.
            about: anything else worth keeping, text by name.
            keep: how much of the logits: ``whole``, ``top:N`` or ``digest``.
            overwrite: whether an existing file may be replaced.

        Raises:
            RecordingError: the file exists already, or cannot be written.
            ValueError: ``keep`` is none of the three.
        """
        self._keep, self._count = _kept(keep)
        self._path = Path(path)
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if overwrite else os.O_EXCL)
        try:
            self._file = os.open(self._path, flags, 0o666)
        except FileExistsError:
            raise RecordingError(
                f"{path} exists already: name another file, or say overwrite=True"
            ) from None
        except OSError as error:
            raise RecordingError(f"{path} cannot be written: {error.strerror}") from error
        self._lock = threading.Lock()
        self._place: ContextVar[tuple[int, str]] = ContextVar("place", default=(0, ""))
        self._begun = 0
        self._numbers: dict[int, int] = {}
        self._generators: dict[int, tuple[Any, int]] = {}
        self._calls = 0
        self._forcing: Forcing | None = None
        self._closed = False
        self.stopped = ""
        """Why recording stopped before the engine did; empty where it did not."""
        self._append(
            encode(
                Header(
                    version=VERSION,
                    engine=engine or Path(sys.argv[0]).stem or "engine",
                    engine_version=engine_version,
                    writer="sampler-parity",
                    about=dict(about or {}),
                )
            )
        )

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
        """End the recording; where it stopped early, a warning says why."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # A record that was cut off must stay the last one.
            if not self.stopped.startswith(_UNWRITABLE):
                self._write(encode(End(calls=self._calls, stopped=self.stopped)))
            os.close(self._file)
        for words in filter(None, (self.stopped, self._forcing and self._forcing.missing)):
            warnings.warn(f"{self._path}: {words}", RuntimeWarning, stacklevel=2)

    def forcing(self, other: Path | str) -> Self:
        """Have the engine go on with the tokens of another recording, call by call.

        Every wrapped call returns the other's token, whatever its sampler gave, so that all later
        calls stay comparable. Where the other has no such call, the sampler's own token is
        returned, and :meth:`close` says so.

        Raises:
            RecordingError: the other recording cannot be read.
        """
        self._forcing = Forcing(other)
        return self

    @contextmanager
    def generation(self) -> Iterator[int]:
        """Begin the next generation, for the length of a ``with``; gives its number, from 0."""
        with self._lock:
            number = self._begun
            self._begun += 1
        with self._at(number, self._place.get()[1]):
            yield number

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Name the phase of the calls within a ``with``."""
        with self._at(self._place.get()[0], name):
            yield

    @contextmanager
    def _at(self, generation: int, phase: str) -> Iterator[None]:
        token = self._place.set((generation, phase))
        try:
            yield
        finally:
            self._place.reset(token)

    def wrap(
        self,
        function: Callable[P, R],
        *,
        phase: str | None = None,
        sampler: str | None = None,
        logits: str | None = None,
        generator: str = "generator",
        history: str | None = None,
        slice: tuple[int, int] | None = None,  # noqa: A002  (the form's own word)
        vocabulary: int | None = None,
    ) -> Callable[P, R]:
        """Give a function that calls ``function`` and records the call.

        Args:
            function: a sampler: takes logits and parameters, returns a token or a token a row.
            phase: the phase of all its calls; by default that of :meth:`phase`.
            sampler: the sampler's name; by default the function's.
            logits: the parameter that takes the logits; by default the first one.
            generator: the parameter that takes the generator. Where there is none, or it is
                ``None``, the draw is taken to come from torch's default generator.
            history: the parameter that takes earlier tokens, if there is one.
            slice: which of the model's logits are passed, ``(first, last + 1)``.
            vocabulary: how many logits the model gives.

        Raises:
            ValueError: the function has no such parameter.
        """
        signature = inspect.signature(function)
        name = logits or next(iter(signature.parameters), "")
        for wanted in filter(None, (name, history)):
            if wanted not in signature.parameters:
                raise ValueError(f"{function!r} has no parameter {wanted!r}")
        variable = inspect.Parameter.VAR_KEYWORD
        rest = next((n for n, p in signature.parameters.items() if p.kind is variable), None)
        names = {"logits": name, "generator": generator, "history": history}

        @functools.wraps(function)
        def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
            if self.stopped or self._closed:
                return function(*args, **kwargs)
            try:
                bound = signature.bind(*args, **kwargs)
                bound.apply_defaults()
                arguments = dict(bound.arguments)
                if rest is not None:
                    arguments |= arguments.pop(rest)
                call = self._begin(
                    sampler or str(getattr(function, "__name__", "sampler")),
                    arguments,
                    names,
                    phase,
                    sys._getframe(1),  # noqa: SLF001  (the caller's line is what is recorded)
                    slice,
                    vocabulary,
                )
            except Exception as error:  # noqa: BLE001  (an engine is never ended by its recorder)
                self._stop(error)
                return function(*args, **kwargs)
            try:
                token = function(*args, **kwargs)
            except Exception as error:
                call.failed(error)
                raise
            forced = call.returned(token)
            return token if forced is None else like(token, forced)

        return recorded

    @contextmanager
    def call(
        self,
        sampler: str,
        logits: Any,
        *,
        parameters: Mapping[str, Any] | None = None,
        phase: str | None = None,
        generator: Any = None,
        history: Any = None,
        drawn: Any = None,
        source: str = "",
        slice: tuple[int, int] | None = None,  # noqa: A002  (the form's own word)
        vocabulary: int | None = None,
    ) -> Iterator["OpenCall"]:
        """Record one call, made within a ``with``, whose token is given to ``returned``.

        Arguments are :meth:`wrap`'s, as values; ``drawn`` are the random values that the call
        uses, and ``source`` names where they come from, if that is no generator that Python has. A
        call that leaves the ``with`` without a token is not recorded; one that raises is recorded
        with what it raised.
        """
        call = OpenCall(self, None)
        try:
            if not self.stopped and not self._closed:
                # The caller's frame is two up: contextlib's is between.
                frame = sys._getframe(2)  # noqa: SLF001
                arguments = {**(parameters or {}), _LOGITS: logits, _GENERATOR: generator}
                names: dict[str, str | None] = {"logits": _LOGITS, "generator": _GENERATOR}
                if history is not None:
                    arguments[_HISTORY] = history
                    names["history"] = _HISTORY
                call = self._begin(sampler, arguments, names, phase, frame, slice, vocabulary)
                call.drawn = drawn
                if source:
                    call.draws_from(source)
        except Exception as error:  # noqa: BLE001  (an engine is never ended by its recorder)
            self._stop(error)
        try:
            yield call
        except Exception as error:
            call.failed(error)
            raise

    def fed(self, tokens: Any, *, generation: int | None = None) -> None:
        """Record what the engine hands to its model: a token, or several."""
        if self.stopped or self._closed:
            return
        try:
            number = self._place.get()[0] if generation is None else generation
            given = tokens_of(tokens)
            with self._lock:
                after = self._numbers.get(number, 0) - 1
                if self._forcing is not None:
                    self._forcing.fed(number)
                self._write(encode(Fed(generation=number, after=after, tokens=given)))
        except Exception as error:  # noqa: BLE001  (an engine is never ended by its recorder)
            self._stop(error)

    def _begin(
        self,
        sampler: str,
        arguments: Mapping[str, Any],
        names: Mapping[str, str | None],
        phase: str | None,
        frame: FrameType,
        cut: tuple[int, int] | None,
        vocabulary: int | None,
    ) -> "OpenCall":
        generation, current = self._place.get()
        dtype, values = logits_of(arguments[names["logits"] or ""])
        generator = arguments.get(names.get("generator") or "")
        assumed = generator is None
        if assumed:
            generator = default_generator()
        random, state = None, b""
        if generator is not None:
            random, state = self._random(generator), state_of(generator)
        history = names.get("history")
        parameters: dict[str, Value] = {
            name: json_value(value)
            for name, value in arguments.items()
            if name not in names.values()
        }
        draft = Call(
            generation=generation,
            phase=current if phase is None else phase,
            call=0,
            site=f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}",
            sampler=sampler,
            parameters=parameters,
            shape=values.shape,
            dtype=dtype,  # type: ignore[arg-type]  # one of the form's names
            keep=self._keep,
            slice=cut,
            vocabulary=vocabulary,
            random=random,
            token=(),
        )
        tensors = self._sparing(dtype, values)
        if state:
            tensors["state_before"] = ("U8", np.frombuffer(state, np.uint8))
        if history is not None:
            tokens = np.array(tokens_of(arguments[history]), np.int64)
            tensors["history"] = ("I64", tokens)
        if self._keep == "digest":
            draft = msgspec.structs.replace(draft, digest=_digest(values))
        return OpenCall(self, draft, tensors, generator, assumed=assumed)

    def _sparing(self, dtype: str, values: Array) -> dict[str, tuple[str, Array]]:
        if self._keep == "whole":
            return {"logits": (dtype, values)}
        if self._keep == "digest":
            return {}
        tokens, kept, rest = largest(np.atleast_2d(values), self._count, bf16=dtype == "BF16")
        return {"tokens": ("I64", tokens), "logits": (dtype, kept), "rest": ("F64", rest)}

    def _random(self, generator: Any) -> Random:
        # The object is kept: another one could get its identity.
        with self._lock:
            _, number = self._generators.setdefault(
                id(generator), (generator, len(self._generators))
            )
        return Random(source=source_of(generator), generator=number, seed=seed_of(generator))

    def _finish(self, draft: Call, tensors: dict[str, tuple[str, Array]]) -> tuple[int, ...] | None:
        """Number a call and append it; give the tokens to go on with, where it is forced."""
        with self._lock:
            number = self._numbers.get(draft.generation, 0)
            forced = None
            if self._forcing is not None and draft.error is None:
                mark = draft.digest.encode() or tensors["logits"][1].tobytes()
                forced = self._forcing.token(draft.generation, draft.phase, mark, len(draft.token))
            call = msgspec.structs.replace(draft, call=number, continued=forced)
            self._write(encode(call, tensors))
            if not self.stopped:
                self._numbers[draft.generation] = number + 1
                self._calls += 1
        return forced

    def _append(self, record: bytes) -> None:
        with self._lock:
            self._write(record)

    def _write(self, record: bytes) -> None:
        """Write a whole record at once, or stop."""
        if self.stopped.startswith(_UNWRITABLE):
            return
        try:
            view = memoryview(record)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            self.stopped = f"{_UNWRITABLE}: {error.strerror}"

    def _stop(self, error: Exception) -> None:
        with self._lock:
            self.stopped = self.stopped or f"{type(error).__name__}: {error}"


_UNWRITABLE = "the file cannot be written"
_LOGITS, _GENERATOR, _HISTORY = "(logits)", "(generator)", "(history)"


class OpenCall:
    """A call that has begun; what it returns is given to :meth:`returned`."""

    def __init__(
        self,
        recorder: Recorder,
        draft: Call | None,
        tensors: dict[str, tuple[str, Array]] | None = None,
        generator: Any = None,
        *,
        assumed: bool = False,
    ) -> None:
        """Begin; without a ``draft`` nothing is recorded.

        A generator that was ``assumed``, since none was named, is forgotten if the call leaves it
        as it was: then the call has drawn from something else.
        """
        self._recorder = recorder
        self._draft = draft
        self._tensors = tensors or {}
        self._generator = generator
        self._assumed = assumed
        self.drawn: Any = None
        """The random values that the call has used, if they are known."""

    def returned(self, token: Any) -> tuple[int, ...] | None:
        """Record the token, or tokens; gives those to go on with where the engine is forced."""
        return self._end(lambda: {"token": tokens_of(token)})

    def draws_from(self, source: str) -> None:
        """Name where the call's random numbers come from, in place of a generator."""
        self._generator = None
        self._tensors.pop("state_before", None)
        if self._draft is not None:
            random = Random(source=source)
            self._draft = msgspec.structs.replace(self._draft, random=random)

    def failed(self, error: Exception) -> None:
        """Record that the call raised."""
        told = CallError(kind=type(error).__name__, message=str(error))
        self._end(lambda: {"error": told})

    def _end(self, result: Callable[[], dict[str, Any]]) -> tuple[int, ...] | None:
        draft, self._draft = self._draft, None
        if draft is None or self._recorder.stopped:
            return None
        try:
            draft = msgspec.structs.replace(draft, **result())
            state = b"" if self._generator is None else state_of(self._generator)
            before = self._tensors.get("state_before")
            if self._assumed and before is not None and before[1].tobytes() == state:
                del self._tensors["state_before"]
                draft = msgspec.structs.replace(draft, random=None)
            elif state:
                self._tensors["state_after"] = ("U8", np.frombuffer(state, np.uint8))
            if self.drawn is not None:
                values = np.atleast_1d(np.asarray(self.drawn))
                single = values.dtype == np.float32
                self._tensors["drawn"] = (
                    ("F32", values) if single else ("F64", values.astype(np.float64))
                )
            return self._recorder._finish(draft, self._tensors)  # noqa: SLF001  (its other half)
        except Exception as error:  # noqa: BLE001  (an engine is never ended by its recorder)
            self._recorder._stop(error)  # noqa: SLF001
            return None


def _kept(keep: str) -> tuple[Keep, int]:
    if keep in {"whole", "digest"}:
        return ("whole", 0) if keep == "whole" else ("digest", 0)
    count = keep.removeprefix(_TOP)
    if not keep.startswith(_TOP) or not count.isdecimal() or not int(count):
        raise ValueError(f"keep = {keep!r} is none of 'whole', 'top:N', 'digest'")
    return "top", int(count)


def _digest(values: Array) -> str:
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(little.tobytes()).hexdigest()
