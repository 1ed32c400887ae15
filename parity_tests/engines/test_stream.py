"""How far apart two generators are, against torch's and numpy's own."""

import numpy as np
import pytest
import torch

from sampler_parity.engines.sources import state_of
from sampler_parity.engines.stream import (
    FARTHEST,
    GENERATOR,
    RANDOM_STATE,
    TORCH,
    is_new,
    outputs_between,
    outputs_since,
)

SEED = (1 << 40) + 7
"""More than 32 bits, of which torch takes the low ones."""


@pytest.mark.parametrize("taken", [0, 1, 2, 623, 624, 625, 1247, 1248, 1249, 16_386])
@pytest.mark.parametrize("before", [0, 1, 623, 624])
def test_outputs_of_torch(before: int, taken: int) -> None:
    generator = torch.Generator().manual_seed(SEED)
    start = state_of(generator)
    torch.randint(0, 10, (before,), generator=generator)
    left = state_of(generator)
    torch.randint(0, 10, (taken,), generator=generator)
    assert outputs_between(TORCH, left, state_of(generator)) == taken
    assert outputs_since(TORCH, SEED, state_of(generator)) == before + taken
    assert is_new(TORCH, start, SEED)
    assert is_new(TORCH, state_of(generator), SEED) == (before + taken == 0)


def test_outputs_of_numpy() -> None:
    generator = np.random.RandomState(5)
    start = state_of(generator)
    assert is_new(RANDOM_STATE, start, 5)
    generator.random_sample(1000)
    assert outputs_between(RANDOM_STATE, start, state_of(generator)) == 2000
    assert not is_new(RANDOM_STATE, state_of(generator), 5)
    pcg = np.random.default_rng(5)
    assert is_new(GENERATOR, state_of(pcg), 5)
    pcg.random()
    assert not is_new(GENERATOR, state_of(pcg), 5)
    assert outputs_between(GENERATOR, start, start) is None, "no Mersenne twister"


def test_a_state_that_does_not_follow() -> None:
    one, other = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    assert outputs_between(TORCH, state_of(one), state_of(other)) is None
    later = state_of(one)
    torch.randint(0, 10, (5,), generator=one)
    assert outputs_between(TORCH, state_of(one), later) is None, "backwards"
    torch.randint(0, 10, (FARTHEST,), generator=one)
    assert outputs_between(TORCH, later, state_of(one)) is None, "too far"


@pytest.mark.parametrize("state", [b"", b"x", bytes(5056), bytes([255]) * 5056])
def test_bytes_that_are_no_state(state: bytes) -> None:
    real = state_of(torch.Generator().manual_seed(1))
    assert outputs_between(TORCH, real, state) is None
    assert not is_new(TORCH, state, 0)
    assert not is_new(GENERATOR, state, 0)
