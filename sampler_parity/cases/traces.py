"""Traces of the reference in little room: a digest of each stage of generated cases.

``traces/cases.json`` lists the cases' ids, from which they are made anew.
``traces/CAPABILITY.safetensors`` has ``digests``, u8 [cases, columns, 8], what torch gave at that
capability: of the case itself, each stage of the first call, all tokens, the logits and the
generator afterwards. :func:`columns` names them; those that a sampler does not need are 0.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from sampler_parity.build.installation import how_to_restore
from sampler_parity.cases.families import FAMILIES, YOURS
from sampler_parity.cases.fixtures import FIXTURES
from sampler_parity.cases.manifest import FileEntry, FixtureError, load_manifest
from sampler_parity.cases.plan import SERIES, case_of, id_of
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import DAMAGED
from sampler_parity.model.outcome import Outcome

FOLDER = "traces"
SEED = 29
COLUMNS = 9
BYTES = 8
"""Of a digest: two outcomes that differ have the same one with a probability of 2^-64."""

Digests = npt.NDArray[np.uint8]

CASES = 60
FEWER = {
    "long-rows": 4,
    "real-whole": 2,
    "real-tts": 40,
    "many-calls": 6,
    SERIES: 2,
    "vast-rows": 0,
}
"""Cases of the families whose cases take long; of the others, :data:`CASES`."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One recorded trace.

    Attributes:
        case: the case, made from its id.
        digests: u8 [columns, 8], what torch gave.
    """

    case: Case
    digests: Digests

    def parted(self, outcome: Outcome) -> str:
        """Name the first column in which an outcome differs from torch's; empty where none does."""
        mine = digests(self.case, outcome)
        for name, ours, theirs in zip(columns(self.case), mine, self.digests, strict=False):
            if not np.array_equal(ours, theirs):
                return name
        return ""


def ids() -> list[str]:
    """Give the ids of the cases that are recorded, family by family."""
    return [
        id_of(family, index, SEED)
        for family in FAMILIES
        if family != YOURS
        for index in range(FEWER.get(family, CASES))
    ]


def columns(case: Case) -> tuple[str, ...]:
    """Name the columns of a case's digests."""
    return ("case", *case.pipeline.names, "input", "generator")


def digests(case: Case, outcome: Outcome) -> Digests:
    """Digest a case and its outcome, u8 [columns, 8]: values with their dtype and shape."""
    described = msgspec.structs.replace(case.described(), id="")
    ended = "" if outcome.failure is None else f"refused at call {outcome.failure.draw}"
    shown = [outcome.stages.get(stage) for stage in case.pipeline.names[:-1]]
    found = (
        _digest(msgspec.json.encode(described, order="sorted"), case.logits),
        *(b"\0" * BYTES if stage is None else _digest(b"", stage) for stage in shown),
        _digest(ended.encode(), *outcome.tokens),
        _digest(b"", outcome.input),
        _digest(outcome.generator),
    )
    rows = np.zeros((COLUMNS, BYTES), np.uint8)
    rows[: len(found)] = [np.frombuffer(one, np.uint8) for one in found]
    return rows


def _digest(text: bytes, *arrays: npt.NDArray[Any]) -> bytes:
    one = hashlib.blake2b(text, digest_size=BYTES)
    for array in arrays:
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        if little.dtype.kind == "f":
            # Which of the many NaN it is, nobody compares.
            little = np.where(np.isnan(little), little.dtype.type(np.nan), little)
        one.update(f"{little.dtype.str}{array.shape}".encode())
        one.update(little.tobytes())
    return one.digest()


def load_traces(capability: str, folder: Path = FIXTURES) -> Iterator[Trace]:
    """Load the traces at ``capability``, and make their cases; nothing where none were recorded.

    Raises:
        CannotJudgeError: they cannot be read.
    """
    path = folder / FOLDER / f"{capability}.safetensors"
    if not path.exists():
        return
    try:
        names = msgspec.json.decode((folder / FOLDER / "cases.json").read_bytes(), type=list[str])
        found = load_file(path)["digests"]
    except DAMAGED as error:
        raise CannotJudgeError(
            f"the recorded traces {path} cannot be read ({error}): {how_to_restore()}"
        ) from error
    if found.shape != (len(names), COLUMNS, BYTES) or found.dtype != np.uint8:
        raise CannotJudgeError(
            f"the recorded traces {path} are {found.dtype} {list(found.shape)}, not those of "
            f"{len(names):,} cases: {how_to_restore()}"
        )
    for name, row in zip(names, found, strict=True):
        yield Trace(case_of(name), row)


def recorded_with(path: str, folder: Path = FIXTURES) -> str:
    """Give the version of torch that a fixture was recorded with.

    Raises:
        CannotJudgeError: the manifest does not say.
    """
    try:
        entries = {entry.path: entry for entry in load_manifest(folder).files}
    except FixtureError as error:
        raise CannotJudgeError(str(error)) from error
    entry: FileEntry | None = entries.get(path)
    version = "" if entry is None else entry.versions.get("torch", "")
    if not version:
        raise CannotJudgeError(f"the manifest does not say which torch recorded {path}")
    return version
