"""What an engine hands over, in the forms that a recording has: logits, generators, tokens.

Nothing here imports torch: a tensor is known by its class.
"""

import json
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.model.bfloat16 import from_bf16

Array = npt.NDArray[Any]

_DTYPES = {np.dtype(np.float64): "F64", np.dtype(np.float32): "F32", np.dtype(np.float16): "F16"}


def is_tensor(value: Any) -> bool:
    """Whether ``value`` is a torch tensor."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def logits_of(value: Any) -> tuple[str, Array]:
    """Give the dtype in safetensors' names and a copy of the values; bf16 as bit patterns, u16.

    Takes numpy arrays, torch tensors and lists of numbers, [V] or [B, V].

    Raises:
        ValueError: they are of another type or shape.
    """
    if is_tensor(value):
        tensor = value.detach().cpu()
        torch = sys.modules["torch"]
        if tensor.dtype == torch.bfloat16:
            bits: Array = tensor.contiguous().view(torch.int16).numpy().view(np.uint16).copy()
            return "BF16", _shaped(bits)
        value = tensor.numpy()
    values = np.array(value, copy=True)
    dtype = _DTYPES.get(values.dtype)
    if dtype is None:
        raise ValueError(f"logits are {values.dtype}: a recording holds f64, f32, f16 or bf16")
    return dtype, _shaped(values)


def _shaped(values: Array) -> Array:
    if values.ndim not in {1, 2}:
        raise ValueError(f"logits have shape {list(values.shape)}: [V] or [B, V] is recorded")
    return values


def tokens_of(value: Any) -> tuple[int, ...]:
    """Give the tokens that a sampler returned: a number, an array, a tensor or a list."""
    if is_tensor(value):
        value = value.detach().cpu().numpy()
    return tuple(int(token) for token in np.asarray(value).reshape(-1))


def like(value: Any, tokens: tuple[int, ...]) -> Any:
    """Give ``tokens`` in the form of ``value``, which a sampler returned."""
    if is_tensor(value):
        return value.new_tensor(tokens).reshape(value.shape)
    if isinstance(value, np.ndarray):
        return np.asarray(tokens, value.dtype).reshape(value.shape)
    if isinstance(value, list | tuple):
        return type(value)(_nested(value, list(tokens)))
    return type(value)(tokens[0])


def _nested(value: Any, tokens: list[int]) -> list[Any]:
    return [
        _nested(part, tokens) if isinstance(part, list | tuple) else tokens.pop(0) for part in value
    ]


def source_of(generator: Any) -> str:
    """Name the stream that a generator gives."""
    if hasattr(generator, "bit_generator"):
        return "numpy.Generator"
    if isinstance(generator, np.random.RandomState):
        return "numpy.RandomState"
    if hasattr(generator, "initial_seed") and hasattr(generator, "get_state"):
        return "torch"
    return f"{type(generator).__module__}.{type(generator).__qualname__}"


def state_of(generator: Any) -> bytes:
    """Give a generator's state in its source's form; empty where it has none that is known."""
    source = source_of(generator)
    if source == "torch":
        state = generator.get_state()
        return state.numpy().tobytes() if is_tensor(state) else bytes(state)
    if source == "numpy.RandomState":
        found = generator.get_state(legacy=False)["state"]
        words = np.asarray(found["key"], "<u4")
        return words.tobytes() + np.uint32(found["pos"]).tobytes()
    if source == "numpy.Generator":
        return json.dumps(generator.bit_generator.state, default=_plain).encode()
    return b""


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else int(value)


def seed_of(generator: Any) -> int | None:
    """Give the seed that a generator was made from, if it tells."""
    return int(generator.initial_seed()) if hasattr(generator, "initial_seed") else None


def default_generator() -> Any:
    """Give torch's default generator, from which calls without one draw; ``None`` without torch."""
    torch: Any = sys.modules.get("torch")
    return None if torch is None else torch.default_generator


def largest(values: Array, count: int, *, bf16: bool) -> tuple[Array, Array, Array]:
    """Give the ``count`` largest logits of each row: tokens, values, and the rest's log-sum.

    Of equal logits the lower token comes first. ``values`` are [B, V]; of bf16, bit patterns.
    """
    wide = (from_bf16(values) if bf16 else values).astype(np.float64)
    count = min(count, wide.shape[-1])
    kept = np.stack([_first(row, count) for row in wide])
    others = wide.copy()
    np.put_along_axis(others, kept, -np.inf, axis=-1)
    top = others.max(axis=-1, initial=-np.inf)
    base = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        rest = base + np.log(np.exp(others - base[:, None]).sum(axis=-1))
    return kept, np.take_along_axis(values, kept, axis=-1), rest


def _first(row: Array, count: int) -> npt.NDArray[np.int64]:
    """Give the tokens of the ``count`` largest of a row, in order; NaN counts as the largest."""
    ranked = np.where(np.isnan(row), np.inf, row)
    threshold = np.partition(ranked, len(row) - count)[len(row) - count]
    candidates = np.flatnonzero(ranked >= threshold)
    return candidates[np.argsort(-ranked[candidates], kind="stable")][:count]
