"""The port's stages by themselves are torch's own operations, on any values."""

from typing import Any

import numpy as np
import pytest
import torch

import rust_ext
from python_ref import renormalize, top_k_dropped, top_p_dropped
from sampler_parity.cases.plan import case_of
from sampler_parity.pipelines import SampleLogits

Array = np.ndarray[Any, np.dtype[Any]]

FAMILIES = ("gaussian", "flat", "bf16", "top-k-tie", "top-p-tie", "masked", "denormal", "crossing")


def rows() -> list[tuple[Array, int, float]]:
    """Give probabilities with what is cut from them: of cases, and what no softmax gives."""
    found = []
    for family in FAMILIES:
        for number in range(12):
            case = case_of(f"{family}-{number}@3")
            if (
                case.logits.size
                and case.logits.ndim == 2
                and isinstance(case.parameters, SampleLogits)
            ):
                probs = torch.softmax(torch.from_numpy(case.logits.copy()), -1).numpy()
                vocab = probs.shape[-1]
                p = case.parameters
                found.append((probs, min(max(p.top_k, vocab // 3, 1), vocab), p.top_p))
    rng = np.random.default_rng(8)
    for place in range(60):
        values = rng.normal(size=(2, int(rng.integers(1, 40)))).astype(np.float32)
        odd = (np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, values[0, 0])
        for value in rng.choice(odd, size=place % 4):
            values[rng.integers(2), rng.integers(values.shape[1])] = value
        found.append((values, int(rng.integers(1, values.shape[1] + 1)), float(rng.random())))
    return found


ROWS = rows()
CALLS: Any = rust_ext
"""What it is called with here is wrong on purpose."""


def same(ours: Array, theirs: torch.Tensor) -> bool:
    other = theirs.numpy()
    return (
        ours.dtype == other.dtype
        and ours.shape == other.shape
        and np.array_equal(ours, other, equal_nan=ours.dtype.kind == "f")
    )


def test_softmax_is_torch_s() -> None:
    for values, _, __ in ROWS:
        for given in (values, values[0]):
            assert same(rust_ext.softmax(given), torch.softmax(torch.from_numpy(given), -1))


def test_masks_are_torch_s() -> None:
    for values, top_k, top_p in ROWS:
        tensor = torch.from_numpy(values)
        assert same(rust_ext.top_k_mask(values, top_k), ~top_k_dropped(tensor, top_k)), values
        if top_p > 0:
            ours, theirs = rust_ext.top_p_mask(values, top_p), ~top_p_dropped(tensor, top_p)
            assert same(ours, theirs), values
    assert rust_ext.top_k_mask(values, 0).all()
    assert rust_ext.top_p_mask(values, 0.0).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_renormalising_is_torch_s(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        long = torch.rand(1, 50_000, generator=torch.Generator().manual_seed(1)).numpy()
        for values in [*(row for row, _, __ in ROWS), long]:
            ours = rust_ext.renormalize(values, threads=threads)
            assert same(ours, renormalize(torch.from_numpy(values)))
    finally:
        torch.set_num_threads(before)


def test_draws_are_torch_s() -> None:
    drawn = 0
    for seed, (values, _, __) in enumerate(ROWS):
        theirs, ours = torch.Generator().manual_seed(seed), rust_ext.Generator(seed)
        try:
            expected = torch.multinomial(torch.from_numpy(values), 1, generator=theirs)
        except RuntimeError:
            with pytest.raises(RuntimeError):
                rust_ext.multinomial(values, generator=ours)
        else:
            drawn += 1
            assert same(rust_ext.multinomial(values, generator=ours), expected)
        assert ours.get_state() == theirs.get_state().numpy().tobytes()
    assert 80 < drawn < len(ROWS)


def test_numbers_are_torch_s() -> None:
    theirs, ours = torch.Generator().manual_seed(7), rust_ext.Generator(7)
    expected = torch.empty(5000).exponential_(generator=theirs)
    assert same(rust_ext.exponentials(5000, generator=ours), expected)
    wide = torch.empty(777, dtype=torch.float64).uniform_(generator=theirs)
    assert same(rust_ext.uniforms(777, generator=ours), wide)
    assert ours.get_state() == theirs.get_state().numpy().tobytes()
    assert not rust_ext.uniforms(0, generator=ours).size


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: CALLS.softmax(np.zeros((1, 2))), TypeError, "scores must be a numpy array"),
        (lambda: CALLS.softmax(np.zeros((1, 2, 3), np.float32)), ValueError, "has shape"),
        (lambda: rust_ext.top_k_mask(np.ones(2, np.float32), 3), RuntimeError, "top_k = 3"),
        (lambda: CALLS.multinomial(np.ones(2, np.float32), generator=1), TypeError, "generator"),
        (lambda: rust_ext.uniforms(-1, generator=rust_ext.Generator(0)), ValueError, "n = -1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(call: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        call()
