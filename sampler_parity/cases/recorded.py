"""The golden traces: the reference's outcomes, recorded at every capability."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from sampler_parity.build.installation import how_to_restore
from sampler_parity.cases.draws import Logits, round_bf16
from sampler_parity.cases.fixtures import FIXTURES, real_logits
from sampler_parity.cases.golden import ARM, GOLDEN, GoldenCase, LogitsSource
from sampler_parity.model.case import LEVELS, Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import DAMAGED
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines import KINDS

ALSO = {"neon": ("sve128",)}
"""Traces that torch left under another name at a capability whose bits it has: torch on Arm calls
``neon`` ``DEFAULT``, or ``SVE128``."""


def load_golden(golden: Path, folder: Path = FIXTURES) -> Iterator[tuple[str, Case]]:
    """Load every golden case from the folder ``golden``, with its name; ``folder`` has real logits.

    Raises:
        CannotJudgeError: the cases cannot be read, or there are none.
    """
    try:
        cases = msgspec.json.decode((golden / "cases.json").read_bytes(), type=list[GoldenCase])
        inputs = load_file(golden / "cases.safetensors")
        for entry in cases:
            logits = _logits(entry.logits, inputs, folder)
            if logits.shape != entry.case.shape:
                raise CannotJudgeError(
                    f"the logits of the golden case {entry.id} have shape {list(logits.shape)}, "
                    f"not {list(entry.case.shape)}: {how_to_restore()}"
                )
            yield entry.id, entry.case.case(logits, KINDS)
    except DAMAGED as error:
        raise CannotJudgeError(
            f"the golden cases cannot be read ({error}): {how_to_restore()}"
        ) from error
    if not cases:
        raise CannotJudgeError(f"{golden / 'cases.json'} lists no case")


def recorded_cases(capability: str, folder: Path = FIXTURES) -> Iterator[tuple[Case, "Recorded"]]:
    """Load every recorded case with its outcome at ``capability``.

    On Arm, there are more cases. Where torch has another name for the capability as well, what was
    recorded under that follows; the name is in those cases' ids.

    Raises:
        CannotJudgeError: the recordings cannot be read.
    """
    places = (GOLDEN, ARM) if capability in LEVELS["Arm"] else (GOLDEN,)
    for recording in (capability, *ALSO.get(capability, ())):
        for place in places:
            for name, case, found in _recording(recording, folder / place, folder):
                also = recording != capability
                one = replace(case, id=f"recorded:{recording}/{name}") if also else case
                yield one, Recorded(one, found)


def _recording(
    name: str, place: Path, folder: Path
) -> Iterator[tuple[str, Case, dict[str, npt.NDArray[Any]]]]:
    """Load the cases of a folder, with their names and the tensors of the recording ``name``."""
    try:
        tensors = load_file(place / f"{name}.safetensors")
    except DAMAGED as error:
        raise CannotJudgeError(
            f"the recorded traces cannot be read ({error}): {how_to_restore()}"
        ) from error
    of_case: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for key, value in tensors.items():
        case_id, _, stage = key.partition(".")
        of_case.setdefault(case_id, {})[stage] = value
    for case_id, case in load_golden(place, folder):
        yield case_id, case, of_case.get(case_id, {})


class Recorded:
    """The reference's outcome of one case as it was recorded."""

    def __init__(self, case: Case, tensors: dict[str, npt.NDArray[Any]]) -> None:
        """Take the recorded tensors of ``case`` by stage."""
        self._case = case
        self._tensors = tensors

    @property
    def in_full(self) -> bool:
        """Whether the values of every stage were recorded, and of none only a digest."""
        return not any(name.endswith(".sha256") for name in self._tensors)

    def outcome(self, candidate: Outcome) -> Outcome:
        """Give the recorded outcome.

        Of a large stage only the digest was recorded: where the candidate's has the same, its
        values are the recorded ones.

        Raises:
            CannotJudgeError: the recording lacks a tensor of the case.
        """
        try:
            return self._outcome(candidate)
        except (KeyError, IndexError) as error:
            raise CannotJudgeError(
                f"the recorded trace of {self._case.id} is not whole ({error}): {how_to_restore()}"
            ) from error

    def _outcome(self, candidate: Outcome) -> Outcome:
        case = self._case
        stages = {
            stage: self._stage(stage, candidate.stages.get(stage))
            for stage in case.pipeline.names[:-1]
        }
        after: npt.NDArray[Any] = case.logits
        if case.pipeline.in_place:
            after = self._stage("logits_after", candidate.input)
        tokens = self._tensors["token"]
        return Outcome(
            stages=stages,
            tokens=[tokens[:, draw] for draw in range(case.draws)],
            input=after,
            generator=self._tensors["state"].tobytes(),
        )

    def _stage(self, stage: str, candidate: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
        if stage in self._tensors:
            values = self._tensors[stage]
            return values.astype(np.bool_) if stage.endswith("_mask") else values
        digest = self._tensors[f"{stage}.sha256"].tobytes()
        if candidate is not None and hashlib.sha256(candidate.tobytes()).digest() == digest:
            return candidate
        # Nothing else is known of it: any array of another shape differs.
        return np.empty(0, np.float32)


def _logits(
    source: LogitsSource, inputs: dict[str, npt.NDArray[np.float32]], folder: Path
) -> Logits:
    if isinstance(source.tensor, str):
        return inputs[source.tensor]
    if isinstance(source.rows, msgspec.UnsetType) or isinstance(source.vocab, msgspec.UnsetType):
        raise CannotJudgeError("a recorded case names neither a tensor nor rows")
    values = np.ascontiguousarray(real_logits(folder)[list(source.rows), : source.vocab])
    return round_bf16(values) if source.bf16 is True else values
