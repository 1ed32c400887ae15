"""Noise so small that its product with a uniform rounds up to the noise itself."""

import numpy as np
import pytest
import torch

import rust_ext
from parity_tests.installed_torch import ROUNDS_UP

TINY = 2.0**-149
"""The smallest positive f32."""


@pytest.mark.parametrize("rows", [1, 50])
def test_denormal_noise_stays_below_itself(rows: int) -> None:
    """torch gives 0 where the product would be the noise itself, and not the number below it."""
    brought_down = 0
    for steps in (*range(1, 200), 1000, 4097, 2**20, 2**23 - 1, 2**23, 2**24):
        noise, seed = steps * TINY, steps
        expected = torch.zeros(2000 // rows, rows).T
        expected.add_(
            torch.empty_like(expected).uniform_(
                0.0, noise, generator=torch.Generator().manual_seed(seed)
            )
        )
        ours = np.zeros((2000 // rows, rows), np.float32).T
        rust_ext.simple_batch_sampler(ours, noise, generator=rust_ext.Generator(seed))
        if ROUNDS_UP:  # It gives the noise itself.
            expected[expected == noise] = 0
        np.testing.assert_array_equal(
            expected.contiguous().numpy().view(np.uint32),
            np.ascontiguousarray(ours).view(np.uint32),
        )
        uniforms = torch.rand(2000, generator=torch.Generator().manual_seed(seed)).numpy()
        brought_down += int((uniforms * np.float32(noise) == np.float32(noise)).sum())
    assert brought_down > 1000
