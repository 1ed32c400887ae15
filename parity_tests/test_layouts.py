"""Logits that are not contiguous."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

import python_ref
import rust_ext

Layout = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]

LAYOUTS: dict[str, Layout] = {
    "contiguous": lambda base: base[:6, :8].copy(),
    "first columns": lambda base: base[:6, :8],
    "every second column": lambda base: base[:6, ::2],
    "every second row": lambda base: base[::2],
    "transposed": lambda base: base[:8, :6].copy().T,
    "transposed slice": lambda base: base[::2, :5].T,
    "one row": lambda base: base[3:4, ::3],
    "one column": lambda base: base[:, 3:4],
}


def base() -> npt.NDArray[np.float32]:
    return np.random.default_rng(5).standard_normal((12, 20)).astype(np.float32)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_sample_logits_reads_any_strides(layout: Layout) -> None:
    logits = layout(base())
    expected = python_ref.sample_logits(
        torch.from_numpy(logits), 0.7, generator=torch.Generator().manual_seed(1)
    )
    drawn = rust_ext.sample_logits(logits, 0.7, generator=rust_ext.Generator(1))
    assert drawn.tolist() == expected.tolist()


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_noise_follows_the_memory(layout: Layout) -> None:
    """torch fills noise in the order of the memory: column by column where that is transposed."""
    ours, theirs = base(), base()
    generator, port = torch.Generator().manual_seed(1), rust_ext.Generator(1)
    expected = python_ref.sampler_simple_batch(
        torch.from_numpy(layout(theirs)), 0.5, 0.7, generator=generator
    )
    drawn = rust_ext.simple_batch_sampler(layout(ours), 0.5, 0.7, generator=port)
    assert drawn.tolist() == expected.tolist()
    assert port.get_state() == generator.get_state().numpy().tobytes()

    mine, reference = layout(base()), torch.from_numpy(layout(base()))
    rust_ext.simple_batch_sampler(mine, 0.5, 0.7, generator=rust_ext.Generator(1))
    python_ref.sampler_simple_batch(reference, 0.5, 0.7, generator=torch.Generator().manual_seed(1))
    np.testing.assert_array_equal(
        np.ascontiguousarray(mine).view(np.uint32),
        np.ascontiguousarray(reference.numpy()).view(np.uint32),
    )


def test_only_the_slice_is_written() -> None:
    whole = base()
    rust_ext.simple_batch_sampler(whole[:6, :8], generator=rust_ext.Generator(1))
    untouched = np.ones(whole.shape, bool)
    untouched[:6, :8] = False
    np.testing.assert_array_equal(whole[untouched], base()[untouched])


def test_three_dimensions() -> None:
    """The simple sampler takes any number of them, contiguous."""
    values = base().reshape(3, 4, 20)
    expected = python_ref.sampler_simple_batch(
        torch.from_numpy(values.copy()), generator=torch.Generator().manual_seed(1)
    )
    drawn = rust_ext.simple_batch_sampler(values.copy(), generator=rust_ext.Generator(1))
    assert drawn.tolist() == expected.tolist()
    with pytest.raises(ValueError, match="strides"):
        rust_ext.simple_batch_sampler(values[..., ::2], generator=rust_ext.Generator(1))


def test_negative_strides() -> None:
    with pytest.raises(ValueError, match="negative"):
        torch.from_numpy(base()[::-1])
    with pytest.raises(ValueError, match="negative stride"):
        rust_ext.simple_batch_sampler(base()[::-1], generator=rust_ext.Generator(1))
