"""The tokens of another recording, which an engine goes on with whatever its own sampler gives."""

from pathlib import Path

from sampler_parity.engines.recording import Recording


class Forcing:
    """Another recording's tokens, by generation and call."""

    def __init__(self, path: Path | str) -> None:
        """Read the other recording.

        Raises:
            RecordingError: it cannot be read.
        """
        recording = Recording.open(path)
        self._path = path
        self._tokens = {(call.generation, call.call): call.went_on_with for call in recording.calls}
        self.missing = ""
        """The first call that the other recording lacks, in a sentence; empty if it has all."""

    def token(self, generation: int, call: int, rows: int) -> tuple[int, ...] | None:
        """Give the tokens to go on with; ``None`` where the other recording has none."""
        found = self._tokens.get((generation, call))
        if found is not None and len(found) == rows:
            return found
        if not self.missing:
            self.missing = (
                f"{self._path} has no token for call {call} of generation {generation}: from there "
                "on the engine goes on with its own"
            )
        return None
