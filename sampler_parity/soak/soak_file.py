"""The file of a soak: a line for its beginning, and one for every lease that came to its end.

Lines are only added. Where the machine stops in the middle of one, that one is lost, and its lease
is made again.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec
from filelock import FileLock, Timeout

from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.soak.lease import LeaseResult

SOAK_NAME = "soak.jsonl"
SCHEMA = 1


class SoakBegun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="begun"):
    """The first line.

    Attributes:
        schema: version of this form.
        version: of the package, and of what makes its cases.
        seed: every case is made from it.
        implementation: the candidate, as a command line calls it.
        size: the numbers of a lease.
        search: whether half of the cases go on from close ones.
        started: time of day, ISO 8601, UTC.
    """

    schema: Literal[1] = 1
    version: str
    seed: int
    implementation: str
    size: int
    search: bool
    started: str


class SoakSaid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="said"):
    """Something that befell the soak: the scheduler was lost, a lease was given up.

    Attributes:
        at: time of day, ISO 8601, UTC.
        words: what.
    """

    at: str
    words: str


Line = SoakBegun | LeaseResult | SoakSaid


class SoakFile:
    """A soak's file, opened by one process at a time; use it as a context manager.

    Attributes:
        path: where it is.
        cut: whether its last line was cut, and is gone.
    """

    def __init__(self, folder: Path, begun: SoakBegun) -> None:
        """Open the file in ``folder`` to go on with it, or begin it.

        Raises:
            CannotJudgeError: it is of another soak, damaged, or another process has it open.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / SOAK_NAME
        self.cut = False
        self._lock = FileLock(folder / f".{SOAK_NAME}.lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise CannotJudgeError(f"another soak has {self.path} open") from error
        try:
            self.begun = self._opened(begun)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._lock.release()

    def _opened(self, begun: SoakBegun) -> SoakBegun:
        whole = self.path.stat().st_size if self.path.exists() else 0
        kept = _whole_lines(self.path) if whole else 0
        if kept < whole:
            os.truncate(self.path, kept)
            self.cut = True
        if not kept:
            self.add(begun)
            return begun
        first = next(read_lines(self.path))
        if not isinstance(first, SoakBegun):
            raise CannotJudgeError(
                f"{self.path} does not begin as a soak's file: name another --out"
            )
        for name in ("version", "seed", "implementation", "size", "search"):
            here, there = getattr(begun, name), getattr(first, name)
            if here != there:
                raise CannotJudgeError(
                    f"{self.path} is of another soak, its {name} is {there} and not {here}: "
                    "name another --out"
                )
        return first

    def add(self, line: Line) -> None:
        """Add a line, and see it on the disk."""
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def results(self) -> Iterator[LeaseResult]:
        """Give what all leases found that came to their end."""
        return (line for line in read_lines(self.path) if isinstance(line, LeaseResult))


def read_lines(path: Path) -> Iterator[Line]:
    """Read a soak's file line by line; a last line that was cut is left out.

    Raises:
        CannotJudgeError: there is none, or another line is damaged.
    """
    decoder = msgspec.json.Decoder(Line)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield decoder.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                    raise CannotJudgeError(
                        f"line {number} of {path} is damaged, or of another version ({error}): "
                        "name another --out"
                    ) from error
    except OSError as error:
        raise CannotJudgeError(f"there is no soak in {path}: {error.strerror}") from error


def _whole_lines(path: Path) -> int:
    """Count the bytes up to the end of the last whole line."""
    kept = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                kept += len(line)
    return kept
