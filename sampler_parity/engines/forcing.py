"""The tokens of another recording, which an engine goes on with whatever its own sampler gives."""

from dataclasses import dataclass, field
from pathlib import Path

from sampler_parity.engines.recording import Recording
from sampler_parity.engines.turns import again, lay_out, marks_of


@dataclass(slots=True)
class _Place:
    """Where the engine is in one generation.

    Attributes:
        numbers: how many turns of each phase have begun.
        phase: the latest call's.
        mark: what tells its logits from others.
        told: whether the model is known to have been fed anything before that call.
        fed: whether it was fed anything after it.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    phase: str = ""
    mark: bytes = b""
    told: bool = False
    fed: bool = False


class Forcing:
    """Another recording's tokens, by generation, phase and turn.

    A draw that is made again from the same logits goes on with the same token, so that an engine
    that draws more often than the other stays beside it.
    """

    def __init__(self, path: Path | str) -> None:
        """Read the other recording.

        Raises:
            RecordingError: it cannot be read, or a call does not hold what its line says.
        """
        recording = Recording.open(path)
        self._path = path
        self._tokens = {
            (number, turn.phase, turn.number): recording.calls[turn.last].went_on_with
            for number, generation in lay_out(recording, marks_of(recording)).items()
            for turn in generation.turns
        }
        self._places: dict[int, _Place] = {}
        self.missing = ""
        """The first call that the other recording lacks, in a sentence; empty if it has all."""

    def fed(self, generation: int) -> None:
        """Note that the model was fed something."""
        self._places.setdefault(generation, _Place()).fed = True

    def token(self, generation: int, phase: str, mark: bytes, rows: int) -> tuple[int, ...] | None:
        """Give the tokens to go on with; ``None`` where the other recording has none.

        ``mark`` tells the call's logits from others.
        """
        place = self._places.setdefault(generation, _Place())
        repeated = place.told and again(place.phase, phase, place.mark, mark, fed=place.fed)
        if not repeated:
            place.numbers[phase] = place.numbers.get(phase, 0) + 1
            place.told = place.told or place.fed
        place.phase, place.mark, place.fed = phase, mark, False
        number = place.numbers[phase] - 1
        found = self._tokens.get((generation, phase, number))
        if found is not None and len(found) == rows:
            return found
        if not self.missing:
            where = f"generation {generation}" + (f", phase {phase}" if phase else "")
            self.missing = (
                f"{self._path} has no token for call {number} of {where}: from there on the engine "
                "goes on with its own"
            )
        return None
