"""One part of a run that several machines share: what it was to do, and what its workers found."""

from pathlib import Path
from typing import Any

import msgspec

from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import write_atomically
from sampler_parity.run.orders import Result
from sampler_parity.run.request import Request
from sampler_parity.run.stored import decoded

PART_NAME = "part.json"
SCHEMA = 1


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a run.

    Attributes:
        schema: version of this form.
        request: what was asked for, with the part's number and how many there are.
        results: what its workers found, by the name of their order.
        provenance: what it ran on.
        started: time of day, ISO 8601, UTC.
        seconds: how long it took.
    """

    schema: int
    request: Request
    results: dict[str, Result]
    provenance: dict[str, dict[str, str]]
    started: str
    seconds: float


def write_part(folder: Path, part: Part) -> None:
    """Write ``part.json`` atomically."""
    write_atomically(folder / PART_NAME, msgspec.json.encode(part, enc_hook=_as_text))


def read_part(folder: Path) -> Part:
    """Read the part in ``folder``.

    Raises:
        CannotJudgeError: there is none, it is damaged, or of another schema.
    """
    path = folder / PART_NAME
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CannotJudgeError(
            f"there is no part of a run in {folder} ({error.strerror}): `run --shard I/N` leaves "
            "one"
        ) from error
    return decoded(path, content, Part, SCHEMA, "run the part again", _of_text)


def _as_text(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{value!r} is not stored")


def _of_text(kind: type, value: Any) -> Any:
    if issubclass(kind, Path):
        return Path(value)
    raise NotImplementedError(f"{kind} is not read")
