"""A recording as generations, phases and turns."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sampler_parity.engines.recording import Call, Recording

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and of how much."""


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


def marks_of(
    recording: Recording, words: str = "reading", progress: Progress | None = None
) -> list[bytes]:
    """Give, for each call, what tells whether two calls of a recording have the same logits.

    Raises:
        RecordingError: a call does not hold what its line says.
    """
    marks = []
    total = len(recording.calls)
    for index, call in enumerate(recording.calls):
        if call.keep == "digest":
            marks.append(bytes.fromhex(call.digest))
        else:
            tensors = recording.tensors(index)
            found = hashlib.blake2b(tensors["logits"].tobytes(), digest_size=16)
            if call.keep == "top":
                found.update(tensors["tokens"].tobytes() + tensors["rest"].tobytes())
            marks.append(found.digest())
        if progress is not None:
            progress(words, index + 1, total)
    return marks


def lay_out(recording: Recording, marks: Sequence[bytes]) -> dict[int, Generation]:
    """Give every generation by its number."""
    found = {number: Generation() for number in recording.generations()}
    for fed in recording.fed:
        generation = found.setdefault(fed.generation, Generation())
        generation.fed[fed.after] = generation.fed.get(fed.after, ()) + fed.tokens
    for number, indices in recording.generations().items():
        calls = [(index, recording.calls[index], marks[index]) for index in indices]
        found[number].turns = list(_turns(calls, found[number].fed))
    return found


def _turns(
    calls: Sequence[tuple[int, Call, bytes]], fed: dict[int, tuple[int, ...]]
) -> Iterator[Turn]:
    """Tell calls apart from draws that were refused and made again."""
    numbers: dict[str, int] = {}
    draws: list[int] = []
    told = min(fed, default=None)
    for (index, call, mark), following in zip(calls, (*calls[1:], None), strict=True):
        draws.append(index)
        if following is not None:
            _, later, other = following
            tells = told is not None and told < call.call
            if tells and again(call.phase, later.phase, mark, other, fed=call.call in fed):
                continue
        number = numbers.get(call.phase, 0)
        numbers[call.phase] = number + 1
        yield Turn(call.phase, number, tuple(draws))
        draws = []


def again(phase: str, later: str, mark: bytes, other: bytes, *, fed: bool) -> bool:
    """Whether a call draws again from what the call before it drew from.

    It does where both have one phase and the same logits, and the model was ``fed`` nothing in
    between; of a generation of which nothing is known to be fed, that cannot be told.
    """
    return not fed and phase == later and mark == other
