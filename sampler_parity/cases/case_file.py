"""A case in one safetensors file: what is needed to run it again, and both sides' stages."""

from pathlib import Path
from typing import Any, Union

import msgspec
import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save

from sampler_parity.model.case import Case, Described
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import DAMAGED, write_atomically
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines.references import REFERENCES

SCHEMA = "2"
KINDS: Any = Union[tuple(REFERENCES.values())]  # noqa: UP007  (of a tuple)
"""Parameters of every pipeline that comes with the harness."""


class _Note(Described, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The metadata."""

    capability: str


def save_case(
    path: Path, case: Case, capability: str, reference: Outcome | None, candidate: Outcome | None
) -> None:
    """Write the case and the outcomes that are given, atomically."""
    tensors = {"logits": np.ascontiguousarray(case.logits)}
    if case.history is not None:
        tensors["history"] = np.ascontiguousarray(case.history)
    if case.state:
        tensors["state"] = np.frombuffer(case.state, np.uint8)
    for side, outcome in (("reference", reference), ("candidate", candidate)):
        if outcome is None:
            continue
        for stage, values in outcome.stages.items():
            tensors[f"{side}.{stage}"] = np.ascontiguousarray(values)
        if outcome.tokens:
            tensors[f"{side}.token"] = np.stack(outcome.tokens, axis=-1)
        tensors[f"{side}.input"] = np.ascontiguousarray(outcome.input)
        tensors[f"{side}.generator"] = np.frombuffer(outcome.generator, np.uint8)
    note = _Note(**msgspec.structs.asdict(case.described()), capability=capability)
    metadata = {"schema": SCHEMA, "case": msgspec.json.encode(note).decode()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(tensors, metadata=metadata))


def load_case(path: Path, kinds: Any = KINDS) -> tuple[Case, str]:
    """Read a case, and the capability it was compared at.

    ``kinds`` is the union of the parameters that may be meant: a file loads no code.

    Raises:
        CannotJudgeError: the file is missing, damaged, or not a case.
    """
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
        if metadata.get("schema") != SCHEMA:
            raise CannotJudgeError(
                f"{path} has schema {metadata.get('schema')}, and this version reads {SCHEMA}"
            )
        note = msgspec.json.decode(metadata["case"], type=_Note)
        tensors = load_file(path)
        logits = tensors["logits"]
        state = tensors.get("state", np.empty(0, np.uint8)).tobytes()
        case = note.case(logits, kinds, state, tensors.get("history"))
    except DAMAGED as error:
        raise CannotJudgeError(f"{path} cannot be read as a case: {error}") from error
    if logits.dtype != np.float32:
        raise CannotJudgeError(f"{path} cannot be read as a case: logits are {logits.dtype}")
    return case, note.capability
