"""``sample_logits``: temperature, softmax, top-k, top-p, renormalise, draw."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

ZeroTemperature = Literal["raise", "argmax"]


@dataclass(slots=True)
class SampleLogitsTrace:
    """Every stage of one ``sample_logits`` call, in order.

    Attributes:
        scaled_logits: f32 [B, V], logits / temperature.
        probs: f32 [B, V], the softmax.
        top_k_mask: bool [B, V], true where top-k keeps the token (everywhere if the stage is off).
        top_p_mask: bool [B, V], true where top-p keeps the token (everywhere if the stage is off).
        renormalized: f32 [B, V], the distribution that the token is drawn from.
        token: i64 [B, 1].
    """

    scaled_logits: Tensor
    probs: Tensor
    top_k_mask: Tensor
    top_p_mask: Tensor
    renormalized: Tensor
    token: Tensor


def sample_logits(
    logits: Tensor,
    temperature: float = 1.0,
    top_p: float = 0.85,
    top_k: int = 0,
    *,
    generator: torch.Generator | None = None,
    zero_temperature: ZeroTemperature = "raise",
) -> Tensor:
    """Draw one token a row.

    Args:
        logits: f32 [B, V]; never modified. [V] works only when top-p is off.
        temperature: divisor of the logits. 0 turns top-p off and then raises, since the
            probabilities are NaN; see ``zero_temperature``.
        top_p: nucleus mass, measured on the probabilities as top-k left them (not renormalised);
            the token that crosses it stays. Off when not > 0.
        top_k: probabilities below the ``top_k``-th largest are dropped; ties at it stay.
            Off when not > 0.
        generator: where the draws come from; torch's default generator if ``None``.
        zero_temperature: ``"argmax"`` gives what temperature 0 was meant for: the first index of
            the largest logit, without touching the generator.

    Returns:
        i64 [B, 1].

    Raises:
        RuntimeError: probabilities that are NaN, infinite or negative; ``top_k`` > V;
            logits of more than two dimensions; V > 2**24.
        IndexError: 1-D logits while top-p is on; V = 0.
    """
    return _run(logits, temperature, top_p, top_k, generator, zero_temperature, trace=None)


def trace_sample_logits(
    logits: Tensor,
    temperature: float = 1.0,
    top_p: float = 0.85,
    top_k: int = 0,
    *,
    generator: torch.Generator | None = None,
    zero_temperature: ZeroTemperature = "raise",
) -> SampleLogitsTrace:
    """:func:`sample_logits`, keeping every stage. Same arguments, same errors."""
    stages: dict[str, Tensor] = {}
    token = _run(logits, temperature, top_p, top_k, generator, zero_temperature, trace=stages)
    return SampleLogitsTrace(**stages, token=token)


def top_k_dropped(probs: Tensor, top_k: int) -> Tensor:
    """Mark, bool [B, V], what is below the ``top_k``-th largest probability of its row."""
    return probs < torch.topk(probs, top_k)[0][..., -1, None]


def top_p_dropped(probs: Tensor, top_p: float) -> Tensor:
    """Mark, bool [B, V], what comes after the cumulative sum has exceeded ``top_p``."""
    sorted_probs, sorted_indices = torch.sort(probs, descending=True)
    cumulative_probs = torch.cumsum(sorted_probs, dim=-1)
    sorted_dropped = cumulative_probs > top_p
    sorted_dropped[..., 1:] = sorted_dropped[..., :-1].clone()
    sorted_dropped[..., 0] = False
    return sorted_dropped.scatter(dim=1, index=sorted_indices, src=sorted_dropped)


def renormalize(probs: Tensor) -> Tensor:
    """Divide each row by its sum."""
    return probs / probs.sum(dim=-1, keepdim=True)


def _run(  # noqa: C901  (the seven steps, and keeping each, read best in one piece)
    logits: Tensor,
    temperature: float,
    top_p: float,
    top_k: int,
    generator: torch.Generator | None,
    zero_temperature: ZeroTemperature,
    trace: dict[str, Tensor] | None,
) -> Tensor:
    if temperature == 0:
        if zero_temperature == "argmax":
            return _argmax(logits, trace)
        top_p = 0.0
    if temperature != 1.0:
        logits = logits / temperature
    if trace is not None:
        trace["scaled_logits"] = logits.clone()

    probs = torch.nn.functional.softmax(logits, dim=-1)
    if trace is not None:
        trace["probs"] = probs.clone()
        trace["top_k_mask"] = torch.ones_like(probs, dtype=torch.bool)
        trace["top_p_mask"] = torch.ones_like(probs, dtype=torch.bool)

    if top_k > 0:
        dropped = top_k_dropped(probs, top_k)
        probs[dropped] = 0
        if trace is not None:
            trace["top_k_mask"] = ~dropped

    if top_p > 0:
        dropped = top_p_dropped(probs, top_p)
        probs[dropped] = 0
        if trace is not None:
            trace["top_p_mask"] = ~dropped

    probs = renormalize(probs)
    if trace is not None:
        trace["renormalized"] = probs.clone()
    return torch.multinomial(probs, 1, generator=generator)


def _argmax(logits: Tensor, trace: dict[str, Tensor] | None) -> Tensor:
    token = torch.argmax(logits, dim=-1, keepdim=True)
    if trace is not None:
        one_hot = torch.zeros_like(logits).scatter_(-1, token, 1.0)
        trace["scaled_logits"] = logits.clone()
        trace["probs"] = one_hot
        trace["top_k_mask"] = torch.ones_like(logits, dtype=torch.bool)
        trace["top_p_mask"] = torch.ones_like(logits, dtype=torch.bool)
        trace["renormalized"] = one_hot.clone()
    return token
