"""``sampler_simple_batch``: argmax of scaled logits plus uniform noise."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True)
class SimpleBatchTrace:
    """Every stage of one ``sampler_simple_batch`` call, in order.

    Attributes:
        scaled_logits: f32 [B, V], logits * (1 / temp).
        noised_logits: f32 [B, V], with U[0, noise) added; what the call leaves in ``logits``.
        token: i64 [B, 1].
    """

    scaled_logits: Tensor
    noised_logits: Tensor
    token: Tensor


def sampler_simple_batch(
    logits: Tensor,
    noise: float = 1.0,
    temp: float = 1.0,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Take the argmax of each row after scaling it and adding noise, in place.

    Args:
        logits: f32 [B, V]; holds the scaled, noised logits afterwards, even when ``noise`` is
            rejected (then they are scaled only).
        noise: upper end of the uniform noise; 0 adds none and leaves the generator alone.
        temp: the logits are multiplied by 1 / temp.
        generator: where the noise comes from; torch's default generator if ``None``.

    Returns:
        i64 [B, 1]: the first index of the largest value; a NaN counts as the largest.

    Raises:
        AssertionError: temp <= 0 or NaN.
        RuntimeError: noise that is negative, NaN, infinite or beyond f32.
        IndexError: V = 0.
    """
    return _run(logits, noise, temp, generator, trace=None)


def trace_sampler_simple_batch(
    logits: Tensor,
    noise: float = 1.0,
    temp: float = 1.0,
    *,
    generator: torch.Generator | None = None,
) -> SimpleBatchTrace:
    """:func:`sampler_simple_batch`, keeping every stage. Same arguments, effects and errors."""
    stages: dict[str, Tensor] = {}
    token = _run(logits, noise, temp, generator, trace=stages)
    return SimpleBatchTrace(**stages, token=token)


def _run(
    logits: Tensor,
    noise: float,
    temp: float,
    generator: torch.Generator | None,
    trace: dict[str, Tensor] | None,
) -> Tensor:
    assert temp > 0, "use noise=0 for greedy decoding"
    with torch.no_grad():
        if temp != 1.0:
            logits.mul_(1.0 / temp)
        if trace is not None:
            trace["scaled_logits"] = logits.clone()
        if noise != 0.0:
            logits.add_(torch.empty_like(logits).uniform_(0.0, noise, generator=generator))
        if trace is not None:
            trace["noised_logits"] = logits.clone()
        return torch.argmax(logits, dim=-1, keepdim=True)
