"""How the logits of two calls differ."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sampler_parity.engines.values import apart, masks

LOGITS = (2.5 * np.random.default_rng(0).standard_normal(1000)).astype(np.float32)


def rounded(dtype: torch.dtype) -> npt.NDArray[np.float32]:
    """Round by torch's own conversion."""
    return torch.from_numpy(LOGITS).to(dtype).float().numpy()


@pytest.mark.parametrize(("grid", "dtype"), [("bf16", torch.bfloat16), ("f16", torch.float16)])
def test_a_coarser_grid(grid: str, dtype: torch.dtype) -> None:
    coarse = rounded(dtype)
    found = apart(LOGITS, coarse)
    assert found is not None
    assert (found.what, found.side, found.beyond) == ("coarser grid", "B", False)
    assert f"every logit of B is a {grid} number, which are A's rounded to it" in found.words
    other_way = apart(coarse, LOGITS)
    assert other_way is not None
    assert other_way.side == "A"
    elsewhere = apart(LOGITS[::-1].copy(), coarse)
    assert elsewhere is not None
    assert elsewhere.beyond, "on the grid, and of other logits"


def test_rounding_and_more() -> None:
    found = apart(LOGITS, LOGITS * np.float32(1 + 2e-7))
    assert found is not None
    assert found.what == "rounding"
    found = apart(LOGITS, LOGITS[::-1].copy())
    assert found is not None
    assert found.what == "other"


def test_one_bit() -> None:
    changed = LOGITS.copy()
    changed.view(np.uint32)[17] ^= 1
    found = apart(LOGITS, changed)
    assert found is not None
    assert found.words.startswith("1 of 1,000 logits differ")


def test_what_is_not_finite() -> None:
    one, other = LOGITS.copy(), LOGITS.copy()
    one[3] = other[3] = np.nan
    other.view(np.uint32)[3] ^= 1
    assert apart(one, other) is None, "NaN is NaN, whatever its payload"
    other[4] = np.inf
    found = apart(one, other)
    assert found is not None
    assert found.what == "other"
    assert "not finite on one side alone" in found.words
    one[5], other[5] = 0.0, -0.0
    other[4] = one[4]
    assert apart(one, other) is not None, "-0.0 is not 0.0"


def test_masks() -> None:
    one, other = LOGITS.copy(), LOGITS.copy()
    one[[1, 2]] = -np.inf
    other[[2, 3]] = -np.inf
    found = masks(one, other)
    assert (found.only_a.tolist(), found.only_b.tolist()) == ([1], [3])
    assert apart(one, other) is None, "masks are no values"
