"""Both sides' stages of a divergent case, from the file that the run keeps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sampler_parity.report.words import relative_link

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A case's tensors.

    Attributes:
        logits: f32 [B, V] or [V].
        reference: the reference's stages, tokens i64 [B, draws] and effects, by name.
        candidate: the candidate's.
    """

    logits: Array
    reference: dict[str, Array]
    candidate: dict[str, Array]

    def rows(self, stage: str, row: int) -> tuple[Array, Array] | None:
        """Give one row of a stage of both sides, if both have it in the same form."""
        pair = self.reference.get(stage), self.candidate.get(stage)
        if pair[0] is None or pair[1] is None or pair[0].shape != pair[1].shape:
            return None
        left, right = np.atleast_2d(pair[0]), np.atleast_2d(pair[1])
        return (left[row], right[row]) if row < len(left) and left.size else None

    def reference_row(self, stage: str, row: int) -> Array | None:
        """Give one row of a stage of the reference."""
        values = self.reference.get(stage)
        if values is None:
            return None
        flat = np.atleast_2d(values)
        return flat[row] if row < len(flat) and flat.size else None


def load_evidence(folder: Path | None, path: str | None) -> Evidence | None:
    """Read a file of the run's folder; ``None`` where there is none that can be read."""
    if folder is None or not path or not relative_link(path):
        return None
    try:
        tensors = load_file(folder / path)
        return Evidence(
            logits=tensors["logits"],
            reference=_side(tensors, "reference."),
            candidate=_side(tensors, "candidate."),
        )
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def _side(tensors: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {
        name.removeprefix(prefix): values
        for name, values in tensors.items()
        if name.startswith(prefix)
    }


def ulps(reference: Array, candidate: Array) -> npt.NDArray[np.int64]:
    """Give the signed distance of f32 values in units of the last place, NaN and infinity as 0.

    The bits of an f32, read as a sign and a magnitude, count the values between it and zero.
    """

    def steps(values: Array) -> npt.NDArray[np.int64]:
        bits = np.ascontiguousarray(values, np.float32).view(np.int32).astype(np.int64)
        return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)

    finite = np.isfinite(reference) & np.isfinite(candidate)
    return np.where(finite, steps(candidate) - steps(reference), 0)
