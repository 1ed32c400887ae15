"""The call that takes a tensor and a torch generator is the reference's own."""

import pytest
import torch

import python_ref
import rust_ext


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "top_k"), [(1, 20), (1, 0), (9, 50)])
def test_tokens_and_generator_are_the_references(dtype: torch.dtype, rows: int, top_k: int) -> None:
    logits = (torch.randn(rows, 6000, generator=torch.Generator().manual_seed(3)) * 3).to(dtype)
    ours, theirs = (torch.Generator().manual_seed(5) for _ in range(2))
    for _ in range(4):
        token = rust_ext.sample_logits_torch(logits, 0.9, 0.95, top_k, generator=ours)
        expected = python_ref.sample_logits(logits.float(), 0.9, 0.95, top_k, generator=theirs)
        assert torch.equal(token, expected)
        assert torch.equal(ours.get_state(), theirs.get_state())
    assert not torch.equal(ours.get_state(), torch.Generator().manual_seed(5).get_state())


def test_a_refused_call_leaves_the_generator_alone() -> None:
    generator = torch.Generator().manual_seed(5)
    with pytest.raises(RuntimeError, match="nan"):
        rust_ext.sample_logits_torch(torch.full((1, 9), torch.nan), generator=generator)
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(5).get_state())


def test_a_gradient_is_no_obstacle_and_another_type_is_refused() -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.zeros(1, 9, requires_grad=True)
    assert rust_ext.sample_logits_torch(logits, generator=generator).shape == (1, 1)
    with pytest.raises(TypeError, match="float32"):
        rust_ext.sample_logits_torch(logits.double(), generator=generator)
