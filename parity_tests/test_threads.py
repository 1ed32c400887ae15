"""The reference's renormalisation sum of one long row depends on torch's thread count."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import python_ref
import rust_ext
from sampler_parity.model.case import CAPABILITIES

VOCABULARIES = [32_767, 32_768, 32_769, 49_152, 65_536, 65_537, 98_305, 131_073, 151_936]


@pytest.fixture(params=[1, 2, 4])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("vocab", VOCABULARIES)
@pytest.mark.parametrize("rows", [1, 2])
def test_renormalized(threads: int, vocab: int, rows: int) -> None:
    rng = np.random.default_rng([vocab, rows])
    logits = (rng.standard_normal((rows, vocab)) * 2).astype(np.float32)
    reference = python_ref.trace_sample_logits(
        torch.from_numpy(logits), 1.0, 0.99, generator=torch.Generator().manual_seed(1)
    )
    port = rust_ext.trace_sample_logits(
        logits, 1.0, 0.99, generator=rust_ext.Generator(1), threads=threads
    )
    for stage in ("probs", "renormalized"):
        expected, actual = getattr(reference, stage).numpy(), getattr(port, stage)
        np.testing.assert_array_equal(expected.view(np.uint32), actual.view(np.uint32))
    assert reference.token.tolist() == port.token.tolist()


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_the_thread_count_shows(capability: str) -> None:
    """Finding F7; without rows on which it shows, the test above would prove nothing."""
    differing = set()
    for seed, vocab in itertools.product(range(4), (65_536, 98_305, 151_936)):
        rng = np.random.default_rng([seed, vocab])
        logits = rng.standard_normal((1, vocab)).astype(np.float32)
        one, two = (
            rust_ext.trace_sample_logits(
                logits,
                1.0,
                0.99,
                generator=rust_ext.Generator(1),
                capability=capability,  # type: ignore[arg-type]
                threads=threads,
            ).renormalized
            for threads in (1, 2)
        )
        if (one.view(np.uint32) != two.view(np.uint32)).any():
            differing.add((seed, vocab))
    assert differing
