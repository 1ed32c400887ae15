"""A case in one safetensors file: what is needed to run it again, and both sides' stages."""

from pathlib import Path

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from sampler_parity.model.case import Case, SampleLogits, SimpleBatch
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import write_atomically
from sampler_parity.model.outcome import Outcome

SCHEMA = "1"


class _Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The metadata. Parameters are text: JSON has neither NaN nor infinity."""

    id: str
    family: str
    sampler: str
    parameters: dict[str, str]
    seed: int
    draws: int
    advance: int
    threads: int
    capability: str


def save_case(
    path: Path, case: Case, capability: str, reference: Outcome, candidate: Outcome | None
) -> None:
    """Write the case and both outcomes, or the reference's alone, atomically."""
    tensors = {"logits": np.ascontiguousarray(case.logits)}
    for side, outcome in (("reference", reference), ("candidate", candidate)):
        if outcome is None:
            continue
        for stage, values in outcome.stages.items():
            tensors[f"{side}.{stage}"] = np.ascontiguousarray(values)
        if outcome.tokens:
            tensors[f"{side}.token"] = np.stack(outcome.tokens, axis=-1)
        tensors[f"{side}.input"] = np.ascontiguousarray(outcome.input)
        tensors[f"{side}.generator"] = np.frombuffer(outcome.generator, np.uint8)
    note = _Note(
        id=case.id,
        family=case.family,
        sampler=case.parameters.sampler,
        parameters=case.parameter_text(),
        seed=case.seed,
        draws=case.draws,
        advance=case.advance,
        threads=case.threads,
        capability=capability,
    )
    metadata = {"schema": SCHEMA, "case": msgspec.json.encode(note).decode()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(tensors, metadata=metadata))


def load_case(path: Path) -> tuple[Case, str]:
    """Read a case, and the capability it was compared at.

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
        logits = load_file(path)["logits"]
        parameters = _parameters(note)
    except (OSError, SafetensorError, msgspec.MsgspecError, KeyError, ValueError) as error:
        raise CannotJudgeError(f"{path} cannot be read as a case: {error}") from error
    if logits.dtype != np.float32:
        raise CannotJudgeError(f"{path} cannot be read as a case: logits are {logits.dtype}")
    case = Case(
        id=note.id,
        family=note.family,
        logits=logits,
        parameters=parameters,
        seed=note.seed,
        draws=note.draws,
        advance=note.advance,
        threads=note.threads,
    )
    return case, note.capability


def _parameters(note: _Note) -> SampleLogits | SimpleBatch:
    text = note.parameters
    if note.sampler == SimpleBatch.sampler:
        forbidden = text["forbid_token"]
        return SimpleBatch(
            noise=float(text["noise"]),
            temp=float(text["temp"]),
            forbid_token=None if forbidden == "None" else int(forbidden),
        )
    if note.sampler != SampleLogits.sampler:
        raise ValueError(f"sampler {note.sampler!r} is unknown")
    return SampleLogits(
        temperature=float(text["temperature"]),
        top_p=float(text["top_p"]),
        top_k=int(text["top_k"]),
        zero_temperature="argmax" if text["zero_temperature"] == "argmax" else "raise",
    )
