"""Logits made up for benchmarks; without torch, which takes seconds to import."""

import numpy as np
import numpy.typing as npt

SEED = 20240229


def gaussian(vocab: int, batch: int, batches: int) -> list[npt.NDArray[np.float32]]:
    """Make batches [batch, vocab] of Gaussian logits of scale 2."""
    generator = np.random.default_rng(SEED)
    shape = (batch, vocab)
    return [generator.standard_normal(shape, np.float32) * 2 for _ in range(batches)]
