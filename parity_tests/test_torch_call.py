"""The call that takes a tensor and a torch generator is the reference's own."""

import copy
import math
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import python_ref
import rust_ext


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_of_every_exponent_and_layout(dtype: torch.dtype) -> None:
    bits = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)
    finite = bits[bits.isfinite()]
    ours, theirs = (torch.Generator().manual_seed(5) for _ in range(2))
    least = math.ceil(math.log10(finite[finite > 0].min()))
    # At its own temperature, each size of value makes a difference.
    for power in range(least, 36, 4):
        temperature = 10.0**power
        near = finite[finite.abs().double() / temperature < 1e4]
        near = near[: len(near) // 64 * 64]
        for values in (near.reshape(-1, 64), near[::7][None], near.reshape(64, -1).t()):
            token = rust_ext.sample_logits_torch(values, temperature, 0.95, generator=ours)
            expected = python_ref.sample_logits(values.float(), temperature, 0.95, generator=theirs)
            assert torch.equal(token, expected)
            assert torch.equal(ours.get_state(), theirs.get_state())


@pytest.mark.skipif(
    not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"),
    reason="torch gives no address of values",
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_values_are_read_where_they_lie(dtype: torch.dtype) -> None:
    """numpy's view of a tensor keeps torch from resizing it ever after; no such view is made."""
    generator = torch.Generator().manual_seed(5)
    few = torch.zeros(1, 2**18).to(dtype)
    rust_ext.sample_logits_torch(few, generator=generator)
    few.resize_(2, 2**18)
    # Of more of them, or more rows, other threads of Python run meanwhile, and must free none.
    for rows, vocab in ((1, 2**18 + 1), (2, 9)):
        many = torch.zeros(rows, vocab).to(dtype)
        rust_ext.sample_logits_torch(many, generator=generator)
        with pytest.raises(RuntimeError, match="resiz"):
            many.resize_(2 * rows, vocab)


@pytest.mark.parametrize("shape", [(300,), (1, 300), (1, 1, 300)])
def test_tokens_are_tensors_of_their_own(shape: tuple[int, ...]) -> None:
    """Each has its own memory, for as long as it is there, whoever lets it go."""
    temperature = 0.0 if len(shape) == 3 else 1.0
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    ours, theirs = (torch.Generator().manual_seed(5) for _ in range(2))
    # The reference takes a row of one dimension where top-p is off.
    arguments: dict[str, Any] = {"temperature": temperature, "top_p": 0.0}
    arguments["zero_temperature"] = "argmax"
    tokens = [rust_ext.sample_logits_torch(logits, **arguments, generator=ours) for _ in range(500)]
    expected = [python_ref.sample_logits(logits, **arguments, generator=theirs) for _ in range(500)]
    for token in tokens[::2]:
        token.fill_(-1)
    assert all(torch.equal(*pair) for pair in zip(tokens[1::2], expected[1::2], strict=True))
    assert all(token.dtype == torch.int64 for token in tokens)
    assert len({token.data_ptr() for token in tokens}) == len(tokens)
    assert torch.equal(copy.deepcopy(tokens[1]), expected[1])
    assert torch.equal(logits.gather(-1, tokens[1]), logits.gather(-1, expected[1]))
    del token
    with ThreadPoolExecutor(1) as pool:
        pool.submit(tokens.clear).result()
    assert not tokens


def test_tokens_that_are_let_go_are_freed() -> None:
    def pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    def draw(times: int) -> None:
        for _ in range(times):
            rust_ext.sample_logits_torch(logits, generator=generator)

    logits, generator = torch.zeros(1, 8), torch.Generator().manual_seed(5)
    draw(1000)
    before = pages()
    draw(100_000)
    # The least that the allocator hands out is 32 bytes.
    assert (pages() - before) * resource.getpagesize() < 2_000_000


def test_tensors_of_other_forms_are_read_as_well() -> None:
    """A subclass, what needs a gradient, slices, strides, a row of one value, odd addresses."""
    row = torch.randn(1, 600, generator=torch.Generator().manual_seed(3)) * 3
    forms = (
        torch.nn.Parameter(row.clone()),
        row.clone().requires_grad_(),
        torch.cat([row, row])[1:],
        torch.cat([row, row], -1)[:, 600:],
        row.t().contiguous().t(),
        torch.stack([row, row], -1)[..., 0],
        row[0, :1].expand(1, 600),
        torch.frombuffer(bytearray(4 * 600 + 1), dtype=torch.float32, offset=1, count=600)[None],
    )
    for logits in forms:
        ours, theirs = (torch.Generator().manual_seed(5) for _ in range(2))
        token = rust_ext.sample_logits_torch(logits, 0.9, 0.95, 20, generator=ours)
        plain = logits.detach().clone()
        assert torch.equal(token, python_ref.sample_logits(plain, 0.9, 0.95, 20, generator=theirs))
        assert torch.equal(ours.get_state(), theirs.get_state())


def test_a_tensor_without_memory_is_refused() -> None:
    generator = torch.Generator().manual_seed(5)
    with pytest.raises(RuntimeError, match="ZeroTensor"):
        rust_ext.sample_logits_torch(torch._efficientzerotensor((1, 600)), generator=generator)
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(5).get_state())
