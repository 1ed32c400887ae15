"""A recording as one of two: what is laid beside another one, call by call."""

from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from sampler_parity.engines.known import parameters_of, sampler_of
from sampler_parity.engines.recording import Call, Recording, Tensors
from sampler_parity.engines.replay import Inputs
from sampler_parity.engines.stream import TORCH, TORCH_STATE
from sampler_parity.engines.turns import Progress, Turn, lay_out, marks_of

Name = Literal["A", "B"]
Logits = npt.NDArray[np.float32]


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
        self.marks = marks_of(recording, f"reading {name}", progress)
        self.generations = lay_out(recording, self.marks)
        self.tensors = lru_cache(maxsize=8)(recording.tensors)
        self.inputs = lru_cache(maxsize=8)(self._inputs)

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
        """Give a call's logits as f32 [B, V]; ``None`` where they are not all here.

        One row is one row, whether it was passed as [V] or as [1, V].

        f16 and bf16 are widened. f64 is no input of a sampler that the harness knows; it is rounded
        to f32 here, and never replayed.
        """
        if self.call(index).keep != "whole":
            return None
        with np.errstate(over="ignore"):
            found = np.ascontiguousarray(self.tensors(index)["logits"], np.float32)
        return np.atleast_2d(found)

    def drawn(self, turn: Turn) -> tuple[int, ...]:
        """Give every token that was drawn at a turn, those that were refused as well."""
        return tuple(token for index in turn.draws for token in self.call(index).token)

    def states(self, index: int) -> tuple[bytes, bytes]:
        """Give the generator's states on entry and on exit; empty where they are not recorded."""
        found: Tensors = self.tensors(index)
        return tuple(  # type: ignore[return-value]  # two of them
            found[name].tobytes() if name in found else b""
            for name in ("state_before", "state_after")
        )

    def _inputs(self, index: int) -> Inputs | None:
        """Give what the reference needs of a call; ``None`` where it cannot be replayed.

        As ``inputs`` it is kept for the latest calls, with what the reference made of them.
        """
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


def rows_of(call: Call) -> int:
    """Give how many rows of logits a call passes."""
    return call.shape[0] if len(call.shape) > 1 else 1


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
