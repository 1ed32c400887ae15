"""Cases made of your own logits: rows of a file, with parameters of the file or of the request.

Such a case is ``your-logits-INDEX@DIGEST``, after ``REFERENCE/`` where it is for one. The digest is
of all that the case says, so that a file that has changed is noticed.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sampler_parity.cases.draws import Logits
from sampler_parity.cases.families import YOURS
from sampler_parity.cases.plan import MOST_CALLS, OF
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.pipeline import Parameters, from_json

DRAWS = 3
"""Calls of a case that is told nothing else."""

Value = float | int | str | None


class YourLogits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files of logits, and what is asked of their rows.

    Attributes:
        files: their paths; ``docs/your-logits.md`` says what each form holds.
        parameters: the sampler's, by name; they count before those of a file, and what neither
            says has its default.
        sampler: the pipeline, where the run has no reference of its own.
        rows: the first row, or call of a recording, and the one after the last; ``None`` for all
            that follow.
        vocabulary: the first token, and the one after the last, that the sampler is given.
        batch: rows that are passed together.
        seeds: those of the generator that each case is run with, once for each; of a file, or made
            of the run's seed, where there are none.
        draws: successive calls of a case.
    """

    files: tuple[str, ...]
    parameters: dict[str, Value] = {}
    sampler: str = "sample_logits"
    rows: tuple[int, int | None] = (0, None)
    vocabulary: tuple[int, int | None] = (0, None)
    batch: int = 1
    seeds: tuple[int, ...] = ()
    draws: int = DRAWS


@dataclass(frozen=True, slots=True)
class LogitsPart:
    """What a file has for one case.

    Attributes:
        file: as it was asked for.
        where: it stands in the file, for people: which of its rows or calls.
        read: gives the logits, f32 [B, V].
        parameters: the sampler's.
        seed: of the generator; ``None`` where the file has none.
        state: of the generator, where a recording has it; empty otherwise.
        history: the tokens before, i64 [B, n]; ``None`` where the file has none.
    """

    file: str
    where: str
    read: Callable[[], Logits] = field(repr=False)
    parameters: Parameters
    seed: int | None = None
    state: bytes = field(default=b"", repr=False)
    history: npt.NDArray[np.int64] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class YourCases:
    """The cases that files give: made one by one, each read when its turn comes.

    Attributes:
        asked: what was asked for.
        parts: of all files, in their order.
        reference: the pipeline that they are for; empty for those of the port.
        seed: the run's, from which generators' seeds follow where nobody gives one.
        left_out: what the files hold that becomes no case, by file, in words.
    """

    asked: YourLogits
    parts: Sequence[LogitsPart] = field(repr=False)
    reference: str = ""
    seed: int = 0
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Look whether there is anything.

        Raises:
            CannotJudgeError: there is nothing to compare.
        """
        if not self.parts:
            raise CannotJudgeError(
                f"{', '.join(self.asked.files)}: no row of logits is left to compare"
            )

    def __len__(self) -> int:
        return len(self.parts) * self._each

    def __iter__(self) -> Iterator[Case]:
        return (self[index] for index in range(len(self)))

    @property
    def _each(self) -> int:
        return max(1, len(self.asked.seeds))

    def __getitem__(self, index: int) -> Case:
        """Make the case of number ``index``.

        Raises:
            IndexError: there is none.
            CannotJudgeError: the file has changed, or its rows are shorter than what was asked for.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = self.parts[index // self._each]
        first, last = self.asked.vocabulary
        whole = part.read()
        logits = np.ascontiguousarray(whole[..., first:last])
        if not logits.size or (last is not None and last > whole.shape[-1]):
            raise CannotJudgeError(
                f"{part.file}, {part.where}, has {whole.shape[-1]:,} logits a row: there is no "
                f"slice {first}:{'' if last is None else last} of it"
            )
        case = Case(
            id="",
            family=YOURS,
            logits=logits,
            parameters=part.parameters,
            seed=self._seed(part, index),
            draws=min(self.asked.draws, MOST_CALLS) if self.reference else self.asked.draws,
            threads=1 + index % 2,
            state=part.state if not self.asked.seeds else b"",
            history=_history(part, len(np.atleast_2d(logits))),
        )
        before = f"{self.reference}{OF}" if self.reference else ""
        return replace(case, id=f"{before}{YOURS}-{index}@{_digest(case)}")

    def by_id(self, case_id: str) -> Case:
        """Make a case again.

        Raises:
            CannotJudgeError: there is no such case, or the file's rows are others by now.
        """
        name, _, digest = case_id.rpartition(OF)[2].partition("@")
        number = name.removeprefix(f"{YOURS}-")
        if not number.isdecimal() or int(number) >= len(self):
            raise CannotJudgeError(
                f"case {case_id!r} is unknown: {', '.join(self.asked.files)} give the cases "
                f"{YOURS}-0 to {YOURS}-{len(self) - 1}"
            )
        case = self[int(number)]
        if not case.id.endswith(f"@{digest}"):
            raise CannotJudgeError(
                f"case {case_id!r} is not there any more: the file, or what was asked of it, has "
                f"changed, and {name} is now {case.id}"
            )
        return case

    def _seed(self, part: LogitsPart, index: int) -> int:
        if self.asked.seeds:
            seed = self.asked.seeds[index % self._each]
        elif part.seed is not None:
            seed = part.seed
        else:
            rng = np.random.default_rng([self.seed, index])
            seed = int(rng.integers(0, 2**64, dtype=np.uint64))
            stream = part.parameters.pipeline.stream
            return seed if stream is None else seed % stream.seeds
        most = getattr(part.parameters.pipeline.stream, "seeds", 2**64)
        if not 0 <= seed < most:
            raise CannotJudgeError(
                f"{part.file}, {part.where}: seed {seed} is none of 0 to {most - 1}"
            )
        return seed

    def words(self) -> dict[str, str]:
        """Say of each file what is compared of it, and what is not."""
        found: dict[str, str] = {}
        for name in self.asked.files:
            own = [number for number, part in enumerate(self.parts) if part.file == name]
            told = []
            if own:
                first, last = own[0] * self._each, (own[-1] + 1) * self._each - 1
                shapes = dict.fromkeys(str(list(self[n].logits.shape)) for n in (first, last))
                told.append(
                    f"cases {YOURS}-{first} to {last}, logits of shape {' to '.join(shapes)}"
                )
            left_out = self.left_out.get(name)
            told += [left_out] if left_out else []
            found[name] = "; ".join(told) or "nothing of it was asked for"
        return found


def is_yours(case_id: str) -> bool:
    """Whether a case is made of somebody's own logits."""
    return case_id.rpartition(OF)[2].startswith(f"{YOURS}-")


def parameters_given(
    kind: type[Parameters], given: dict[str, Value], of_file: dict[str, Value], where: str
) -> Parameters:
    """Put parameters together: those ``given`` count before those of a file.

    Raises:
        CannotJudgeError: the sampler has no parameter of a name, or takes no such value.
    """
    both = {**of_file, **given}
    unknown = [name for name in both if name not in kind.__struct_fields__]
    if unknown:
        raise CannotJudgeError(
            f"{where}: {kind.sampler} has no parameter {unknown[0]!r}, but "
            f"{', '.join(kind.__struct_fields__)}"
        )
    values = {name: _fitting(value, getattr(kind(), name)) for name, value in both.items()}
    try:
        return from_json({"sampler": kind.sampler, **values}, kind)
    except (msgspec.ValidationError, ValueError) as error:
        raise CannotJudgeError(f"{where}: parameters of {kind.sampler}: {error}") from error


def _fitting(value: Value, default: Any) -> Value:
    """Give a number as its parameter's type has it: 40.0 for a count is 40, and 1 is 1.0."""
    if isinstance(value, float) and isinstance(default, int) and value.is_integer():
        return int(value)
    return value


def _history(part: LogitsPart, rows: int) -> npt.NDArray[np.int64] | None:
    if not part.parameters.pipeline.looks_back:
        return None
    if part.history is None:
        return np.empty((rows, 0), np.int64)
    return part.history


def _digest(case: Case) -> str:
    """Tell a case from every other one: its logits, history and all that is asked."""
    found = hashlib.sha256(msgspec.json.encode(case.described(), order="sorted"))
    for values in (case.logits, case.history):
        if values is not None:
            found.update(values.tobytes())
    found.update(case.state)
    return found.hexdigest()[:12]
