"""A recording as generations, phases and turns: what is laid beside another one, call by call."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from sampler_parity.engines.known import parameters_of, sampler_of
from sampler_parity.engines.recording import Call, Recording, Tensors
from sampler_parity.engines.replay import Inputs
from sampler_parity.engines.stream import TORCH, TORCH_STATE

Name = Literal["A", "B"]
Logits = npt.NDArray[np.float32]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Turn:
    """A place of a phase at which a token is drawn, once, or again where it was refused.

    Attributes:
        phase: the phase's name.
        number: of the turn within its phase, from 0.
        draws: the recorded calls, by index: of all but the last, the engine refused the token.
    """

    phase: str
    number: int
    draws: tuple[int, ...]

    @property
    def first(self) -> int:
        """Index of the first call."""
        return self.draws[0]

    @property
    def last(self) -> int:
        """Index of the call whose token the engine went on with."""
        return self.draws[-1]


@dataclass(slots=True)
class Generation:
    """All turns of one request.

    Attributes:
        turns: in the order in which they were taken.
        fed: what the model was given, by the number of the call after which it was; -1 before any.
    """

    turns: list[Turn] = field(default_factory=list)
    fed: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def phases(self) -> dict[str, list[Turn]]:
        """Give the turns of each phase, the phases in the order in which they began."""
        found: dict[str, list[Turn]] = {}
        for turn in self.turns:
            found.setdefault(turn.phase, []).append(turn)
        return found


class Side:
    """One of two recordings.

    Attributes:
        name: ``A`` or ``B``.
        recording: what was read.
        marks: for each call, what tells whether two calls of this recording have the same logits.
        generations: by number.
    """

    def __init__(self, name: Name, recording: Recording, progress: Progress | None = None) -> None:
        """Lay a recording out; reads the logits of every call once.

        Raises:
            RecordingError: a call does not hold what its line says.
        """
        self.name: Name = name
        self.recording = recording
        self.marks: list[bytes] = []
        total = len(recording.calls)
        for index in range(total):
            self.marks.append(self._mark(index))
            if progress is not None:
                progress(f"reading {name}", index + 1, total)
        self.generations = self._laid_out()
        self.tensors = lru_cache(maxsize=8)(recording.tensors)

    def _mark(self, index: int) -> bytes:
        call = self.recording.calls[index]
        if call.keep == "digest":
            return bytes.fromhex(call.digest)
        tensors = self.recording.tensors(index)
        found = hashlib.blake2b(tensors["logits"].tobytes(), digest_size=16)
        if call.keep == "top":
            found.update(tensors["tokens"].tobytes() + tensors["rest"].tobytes())
        return found.digest()

    def _laid_out(self) -> dict[int, Generation]:
        found = {number: Generation() for number in self.recording.generations()}
        for fed in self.recording.fed:
            generation = found.setdefault(fed.generation, Generation())
            generation.fed[fed.after] = generation.fed.get(fed.after, ()) + fed.tokens
        for number, indices in self.recording.generations().items():
            found[number].turns = list(self._turns(indices, found[number].fed))
        return found

    def _turns(self, indices: list[int], fed: dict[int, tuple[int, ...]]) -> Iterator[Turn]:
        """Tell calls apart from draws that were refused and made again.

        A call is drawn again where the next one has the same phase and logits, and the model was
        given nothing in between, in a recording that says what it was given.
        """
        calls, numbers = self.recording.calls, dict[str, int]()
        tells = 2 * sum(calls[index].call in fed for index in indices) >= len(indices) - 1
        draws: list[int] = []
        for place, index in enumerate(indices):
            draws.append(index)
            following = indices[place + 1] if place + 1 < len(indices) else None
            again = (
                following is not None
                and tells
                and calls[index].call not in fed
                and calls[following].phase == calls[index].phase
                and self.marks[following] == self.marks[index]
            )
            if not again:
                phase = calls[index].phase
                number = numbers.get(phase, 0)
                numbers[phase] = number + 1
                yield Turn(phase, number, tuple(draws))
                draws = []

    @property
    def whole(self) -> bool:
        """Whether the engine closed its recording, and recorded all of its run."""
        return self.recording.ending.kind == "closed" and not self.recording.ending.words

    @property
    def tells_what_was_fed(self) -> bool:
        """Whether the recording says what the model was given."""
        return bool(self.recording.fed)

    def call(self, index: int) -> Call:
        """Give a call's line."""
        return self.recording.calls[index]

    def logits(self, index: int) -> Logits | None:
        """Give a call's logits as f32, as they were passed; ``None`` where they are not all here.

        f16 and bf16 are widened. f64 is no input of a sampler that the harness knows; it is rounded
        to f32 here, and never replayed.
        """
        if self.call(index).keep != "whole":
            return None
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(self.tensors(index)["logits"], np.float32)

    def states(self, index: int) -> tuple[bytes, bytes]:
        """Give the generator's states on entry and on exit; empty where they are not recorded."""
        found: Tensors = self.tensors(index)
        return tuple(  # type: ignore[return-value]  # two of them
            found[name].tobytes() if name in found else b""
            for name in ("state_before", "state_after")
        )

    def inputs(self, index: int) -> Inputs | None:
        """Give what the reference needs of a call; ``None`` where it cannot be replayed."""
        call = self.call(index)
        parameters, logits = parameters_of(call), self.logits(index)
        if parameters is None or logits is None or call.dtype == "F64" or not logits.size:
            return None
        state = self.states(index)[0]
        replayed = call.random is not None and call.random.source == TORCH
        return Inputs(parameters, logits, state if replayed and len(state) == TORCH_STATE else b"")

    def why_not_replayed(self, index: int) -> str:
        """Say why :meth:`inputs` gives nothing."""
        call = self.call(index)
        if call.keep != "whole":
            kept = _KEPT[call.keep]
            return f"{self.name} keeps {kept}: what its sampler makes of them cannot be told"
        if call.dtype == "F64":
            return f"{self.name} passes f64 logits, which no sampler here takes"
        if 0 in call.shape:
            return f"{self.name} passes no logits"
        return f"{sampler_of(call)}, as {self.name} calls it, is no sampler that is known here"


_KEPT = {"top": "the largest logits only", "digest": "a digest of its logits"}


def start_of(call: Call) -> int:
    """Give the first of the model's logits that a call passes; 0 where the slice is not known."""
    return call.slice[0] if call.slice is not None else 0


def overlap(one: Call, other: Call) -> tuple[slice, slice]:
    """Give the part of each call's logits that both have, as slices of its last axis."""
    first = max(start_of(one), start_of(other))
    last = min(start_of(one) + one.shape[-1], start_of(other) + other.shape[-1])
    last = max(first, last)
    return (
        slice(first - start_of(one), last - start_of(one)),
        slice(first - start_of(other), last - start_of(other)),
    )
