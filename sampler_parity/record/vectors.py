"""Records the portable vectors: ``python -m sampler_parity.record.vectors CAPABILITY FOLDER``.

torch fixes its CPU capability when it is imported, so they are recorded by a process of its own.
"""

import hashlib
import inspect
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors.numpy

from sampler_parity.cases.families import FAMILIES
from sampler_parity.cases.manifest import describe_file, update_manifest
from sampler_parity.cases.plan import case_of, id_of
from sampler_parity.cases.vectors import (
    FOLDER,
    SmallFile,
    Vector,
    VectorNumbers,
    large_file,
    small_file,
)
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import write_atomically
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.pipeline import to_json, values_of
from sampler_parity.pipelines import PIPELINES
from sampler_parity.pipelines.references import REFERENCES
from sampler_parity.record.golden import run_worker
from sampler_parity.record.recording import LICENCE, versions

CAPABILITY = "avx2"
"""torch's dispatch level of the vectors: no C library shapes its bits, and it is common."""

FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "tie": "a row has equal logits, other than -inf",
        "tie_at_top_k": "top-k keeps more than k tokens, since several tie at its threshold",
        "tie_at_top_p": "top-p keeps one and drops another of equal ones: the sort's order shows",
        "boundary_of_top_p": "a cumulative sum is top_p, or one ulp beside it",
        "zero_temperature": "the temperature is 0",
        "negative_temperature": "the temperature is below 0",
        "nan": "a logit is NaN",
        "infinity": "a logit is +inf",
        "masked": "a logit is -inf",
        "denormal": "a logit or a probability is a denormal number",
        "refused": "the reference raises",
        "batch": "several rows share a generator",
        "one_dimension": "the logits are [V]",
        "advanced": "the generator has given outputs before the first call",
        "wide_seed": "the seed has more than 32 bits",
        "repeated_history": "a token stands several times in the history",
        "changed_logits": "the calls change their logits",
    }
)
"""What a vector may stress; all flags are computed from the case and the reference's answer."""

_COMMAND = "sampler-parity record vectors"
_EACH = 3
"""So many vectors of a pipeline have each flag, if as many are found."""

_CASES = 40
"""Cases of a family that are looked at."""

_LARGEST = 64
"""Logits of a small vector."""

_MOST_CALLS = 5
_LARGE = {"real-tts": 6, "long-streams": 9}
"""The families of large vectors, and how many cases of each are looked at: real logits first."""

_MOST_LARGE = 2

_Array = npt.NDArray[Any]


def record_vectors(folder: Path) -> list[Path]:
    """Record the portable vectors of every pipeline, at the capability :data:`CAPABILITY`.

    Args:
        folder: the fixtures folder; its manifest is updated.

    Returns:
        The files written.

    Raises:
        RecordError: the recording process failed.
    """
    home = folder / FOLDER
    home.mkdir(parents=True, exist_ok=True)
    run_worker("sampler_parity.record.vectors", CAPABILITY, home, environment=numpy_at_avx2())
    write_atomically(home / "schema.json", schema())
    names = ["schema.json"]
    names += [f"{name}{suffix}" for name in REFERENCES for suffix in (".json", ".safetensors")]
    update_manifest(
        folder,
        [
            describe_file(
                folder,
                f"{FOLDER}/{name}",
                origin="the pipeline's reference under torch and numpy, on synthetic logits"
                + (" and smollm2/logits.safetensors" if name.endswith(".safetensors") else ""),
                licence=LICENCE,
                command=_COMMAND,
                versions=versions("torch"),
                notes=f"ATEN_CPU_CAPABILITY={CAPABILITY}; numpy without AVX-512",
            )
            for name in names
        ],
    )
    return [home / name for name in names]


def flags_of(case: Case, outcome: Outcome) -> tuple[str, ...]:
    """Say what a case stresses, of :data:`FLAGS`."""
    parameters = values_of(case.parameters)
    temperature = parameters.get("temperature", parameters.get("temp"))
    rows = np.atleast_2d(case.logits)
    history = [] if case.history is None else np.atleast_2d(case.history).tolist()
    numbers = [rows, *(v for v in outcome.stages.values() if v.dtype == np.float32)]
    found = {
        "tie": any(_ties(row) for row in rows),
        "tie_at_top_k": _ties_at_top_k(case, outcome),
        "tie_at_top_p": _ties_at_top_p(case, outcome),
        "boundary_of_top_p": _lands_on_top_p(case, outcome),
        "zero_temperature": temperature == 0,
        "negative_temperature": isinstance(temperature, float) and temperature < 0,
        "nan": bool(np.isnan(rows).any()),
        "infinity": bool(np.isposinf(rows).any()),
        "masked": bool(np.isneginf(rows).any()),
        "denormal": any(((v != 0) & (abs(v) < np.finfo(np.float32).tiny)).any() for v in numbers),
        "refused": outcome.failure is not None,
        "batch": len(rows) > 1,
        "one_dimension": case.logits.ndim == 1,
        "advanced": case.advance > 0,
        "wide_seed": case.seed >= 1 << 32,
        "repeated_history": any(len(set(row)) < len(row) for row in history),
        "changed_logits": outcome.input.tobytes() != case.logits.tobytes(),
    }
    return tuple(name for name in FLAGS if found[name])


def _ties(row: _Array) -> bool:
    finite = row[np.isfinite(row)]
    return len(np.unique(finite)) < len(finite)


def _ties_at_top_k(case: Case, outcome: Outcome) -> bool:
    k = values_of(case.parameters).get("top_k")
    mask = outcome.stages.get("top_k_mask")
    if mask is None or not isinstance(k, int) or not 0 < k < mask.shape[-1]:
        return False
    return bool((np.atleast_2d(mask).sum(-1) > k).any())


def _cut_by_top_p(case: Case, outcome: Outcome) -> Iterator[tuple[_Array, _Array]]:
    """Give, of each row, the probabilities that top-p is cut from, and which of them stay."""
    if "top_p_mask" not in outcome.stages:
        return
    stage = case.pipeline.stage("top_p_mask")
    values = {"logits": case.logits, **outcome.stages}
    numbers = np.atleast_2d(case.pipeline.mask_input(stage, values)).astype(np.float64)
    for row, kept in zip(numbers, np.atleast_2d(outcome.stages["top_p_mask"]), strict=True):
        if stage.absent == 0:
            yield row, kept
        elif np.isfinite(row.max()):
            weights = np.exp(row - row.max())
            yield weights / weights.sum(), kept


def _ties_at_top_p(case: Case, outcome: Outcome) -> bool:
    return any(
        bool(set(row[kept].tolist()) & set(row[~kept & (row > 0)].tolist()))
        for row, kept in _cut_by_top_p(case, outcome)
    )


def _lands_on_top_p(case: Case, outcome: Outcome) -> bool:
    top_p = np.float32(values_of(case.parameters).get("top_p") or 0)
    if not 0 < top_p < 1:
        return False
    for row, _ in _cut_by_top_p(case, outcome):
        sums = np.cumsum(np.sort(row)[::-1]).astype(np.float32)
        if (abs(sums - top_p) <= np.spacing(top_p)).any():
            return True
    return False


def _cases(name: str, families: Mapping[str, int]) -> Iterator[Case]:
    """Generate a pipeline's cases: of a family one after the other, a case of each in turn."""
    reference = "" if name in PIPELINES else name
    for index in range(max(families.values())):
        for family, count in families.items():
            if index < count:
                case = case_of(id_of(family, index, 0, reference))
                if case.pipeline.name == name:
                    yield case


def numpy_at_avx2() -> dict[str, str]:
    """Give the variables with which a process' numpy uses no instruction of AVX-512.

    With them, numpy's powers have other last bits, and its sorts another order of equal numbers.
    """
    found = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    wider = [name for name in found if name == "X86_V4" or name.startswith("AVX512")]
    return {"NPY_DISABLE_CPU_FEATURES": " ".join(wider)} if wider else {}


def _small(name: str, capability: str) -> list[tuple[Vector, VectorNumbers]]:
    """Choose small cases: each has a flag that fewer than :data:`_EACH` of those before it have."""
    heavy = ("real-", "long-", "vast-", "many-")
    families = {family: _CASES for family in FAMILIES if not family.startswith(heavy)}
    found: list[tuple[Vector, VectorNumbers]] = []
    seen: Counter[str] = Counter()
    for case in _cases(name, families):
        if not 1 < case.logits.size <= _LARGEST or case.draws > _MOST_CALLS or case.threads > 1:
            continue
        vector, numbers = _vector(case, capability)
        if any(seen[flag] < _EACH for flag in vector.flags or ("none",)):
            seen.update(vector.flags or ("none",))
            found.append((vector, numbers))
    return found


def _large(name: str, capability: str) -> list[tuple[Vector, VectorNumbers]]:
    """Take the first cases of one long row, of real logits where the pipeline has such cases."""
    found = [
        case
        for family, count in _LARGE.items()
        for case in _cases(name, {family: count})
        if case.logits.ndim > 1 and len(case.logits) == 1 and case.logits.size > 4 * _LARGEST
    ]
    return [_vector(case, capability) for case in found[:_MOST_LARGE]]


def _vector(case: Case, capability: str) -> tuple[Vector, VectorNumbers]:
    from sampler_parity.implementations.python_ref import PythonRef

    outcome = PythonRef().run(case, capability)
    history = None if case.history is None else np.atleast_2d(case.history).tolist()
    token = np.stack(outcome.tokens, axis=-1).tolist() if outcome.tokens else []
    vector = Vector(
        id=case.id,
        pipeline=case.pipeline.name,
        flags=flags_of(case, outcome),
        parameters={k: v for k, v in to_json(case.parameters).items() if k != "sampler"},
        seed=case.seed,
        advance=case.advance,
        draws=case.draws,
        shape=case.logits.shape,
        history=None if history is None else tuple(map(tuple, history)),
        refused=None if outcome.failure is None else outcome.failure.draw,
        token=tuple(map(tuple, token)),
        next_outputs=_next_outputs(case, outcome.generator),
        state_sha256=hashlib.sha256(outcome.generator).hexdigest(),
    )
    return vector, VectorNumbers(case.logits, outcome.stages, outcome.input, outcome.generator)


def _next_outputs(case: Case, state: bytes) -> tuple[int, ...]:
    """Give the next four 32-bit outputs of a generator in ``state``."""
    import torch

    if case.pipeline.stream is not None:
        generator = case.pipeline.stream.start(0, 0, state)
        words = getattr(generator, "words", generator)
        return tuple(np.frombuffer(words.bytes(16), "<u4").tolist())
    own = torch.Generator("cpu")
    own.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    # All 64 bits of two outputs, the first one the high half.
    wide = torch.empty(2, dtype=torch.int64).random_(-(1 << 63), None, generator=own)
    pairs = [divmod(one % (1 << 64), 1 << 32) for one in wide.tolist()]
    return tuple(word for pair in pairs for word in pair)


def schema() -> bytes:
    """Give the JSON schema of the small files."""
    found = msgspec.json.schema(SmallFile)
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
    for kind in found["$defs"].values():
        # msgspec takes the docstring with its indentation before 0.23, and without since.
        kind["description"] = inspect.cleandoc(kind.get("description", ""))
    flags = found["$defs"]["VectorLine"]["properties"]["flags"]
    flags["items"] = {"enum": list(FLAGS), "description": "; ".join(
        f"{name}: {words}" for name, words in FLAGS.items()
    )}  # fmt: skip
    return msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"


def main() -> int:
    """Record into a folder, at the capability of this process."""
    import torch

    capability, folder = sys.argv[1:]
    home, version = Path(folder), str(torch.__version__)
    try:
        for name in REFERENCES:
            small = small_file(capability, version, _small(name, capability))
            write_atomically(home / f"{name}.json", small)
            tensors, metadata = large_file(capability, version, _large(name, capability))
            large = safetensors.numpy.save(tensors, metadata)
            write_atomically(home / f"{name}.safetensors", large)
    except CannotJudgeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
