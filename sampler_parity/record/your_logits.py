"""Writes one's own logits to a file that ``run --logits`` takes."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from sampler_parity.cases.logits_file import LOGITS
from sampler_parity.model.files import write_atomically
from sampler_parity.record.recording import RecordError


class LogitsDump:
    """Collects rows of logits, and writes them as one safetensors file in the end.

    ::

        with LogitsDump("mine.safetensors", temperature=0.8, top_p=0.95, top_k=50) as dump:
            for _ in range(100):
                logits = model(tokens).logits[:, -1]
                dump.add(logits)
                tokens = ...

    Where an exception ends the block, the rows until then are written.
    """

    def __init__(self, path: Path | str, **parameters: float) -> None:
        """Write to ``path``; ``parameters`` are the sampler's by name, or its ``seed``."""
        self._path = Path(path)
        self._parameters = parameters
        self._rows: list[npt.NDArray[np.float32]] = []

    def add(self, logits: Any) -> None:
        """Keep the logits of one call: a tensor or an array of f32, f16 or bf16, [V] or [B, V].

        Raises:
            RecordError: they have another shape, or are not as long as those before.
        """
        if hasattr(logits, "detach"):
            logits = logits.detach().float().cpu().numpy()
        rows = np.atleast_2d(np.array(logits, np.float32))
        before = self._rows[-1].shape[-1] if self._rows else rows.shape[-1]
        if rows.ndim != 2 or rows.shape[-1] != before or not rows.size:
            raise RecordError(
                f"logits have shape {list(rows.shape)}: [V] or [B, V], V = {before:,}"
            )
        self._rows.append(rows)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Write the file, atomically; none where there is no row."""
        if not self._rows:
            return
        tensors = {name: np.asarray(value) for name, value in self._parameters.items()}
        tensors[LOGITS] = np.concatenate(self._rows)
        write_atomically(self._path, save(tensors))
