"""A plain sampler, written from the definition in a precision of its own, and mistakes of it.

It shares torch's generator and nothing else with the reference: another arithmetic, another sort.
Each step can be replaced, which is how a mistake is planted.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from sampler_parity.case import Case, SampleLogits
from sampler_parity.outcome import Failure, Outcome

Array = Any  # numpy arrays of any dtype: arithmetic on them is not typed
F32 = np.float32


def scale(x: Array, p: SampleLogits) -> Array:
    return x / x.dtype.type(p.temperature)


def softmax(x: Array, _: SampleLogits) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def top_k(probs: Array, p: SampleLogits) -> Array:
    if p.top_k <= 0:
        return np.ones(probs.shape, bool)
    return probs >= np.sort(probs, axis=-1)[..., -p.top_k, None]


def after_first(crossed: Array) -> Array:
    """Shift by one: the token that crosses stays, and the first one always does."""
    dropped = np.zeros_like(crossed)
    dropped[..., 1:] = crossed[..., :-1]
    return dropped


def unsort(values: Array, order: Array) -> Array:
    result = np.empty_like(values)
    np.put_along_axis(result, order, values, axis=-1)
    return result


def nucleus(
    crosses: Callable[[Array, Any], Array] = operator.gt,
    *,
    shift: bool = True,
    descending: bool = True,
) -> Callable[[Array, SampleLogits], Array]:
    """Stable order; dropped where the sum of those before ``crosses`` top_p, in f32."""

    def stage(probs: Array, p: SampleLogits) -> Array:
        if not p.top_p > 0:
            return np.ones(probs.shape, bool)
        order = np.argsort(-probs if descending else probs, axis=-1, kind="stable")
        sums = np.cumsum(np.take_along_axis(probs, order, axis=-1).astype(np.float64), axis=-1)
        crossed = crosses(sums.astype(F32), F32(p.top_p))
        return unsort(~(after_first(crossed) if shift else crossed), order)

    return stage


top_p = nucleus()


def renormalize(kept: Array, _: SampleLogits) -> Array:
    return kept / kept.sum(axis=-1, keepdims=True)


def draw(probs: Array, generator: torch.Generator) -> Array:
    q = torch.empty(probs.shape).exponential_(generator=generator).numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        return (probs / q).argmax(axis=-1)


@dataclass
class Plain:
    """``sample_logits`` in ``precision``; every stage is rounded to f32 when it is done."""

    name: str = "plain"
    precision: Any = np.float64
    scale: Callable[[Array, SampleLogits], Array] = scale
    softmax: Callable[[Array, SampleLogits], Array] = softmax
    top_k: Callable[[Array, SampleLogits], Array] = top_k
    top_p: Callable[[Array, SampleLogits], Array] = top_p
    renormalize: Callable[[Array, SampleLogits], Array] = renormalize
    draw: Callable[[Array, torch.Generator], Array] = draw
    parameters: Callable[[SampleLogits], SampleLogits] = field(default=lambda p: p)
    mutates: bool = False

    def run(self, case: Case, _: str) -> Outcome:
        assert isinstance(case.parameters, SampleLogits)
        p = self.parameters(case.parameters)
        generator = torch.Generator().manual_seed(case.seed)
        if case.advance:
            torch.empty(case.advance).uniform_(generator=generator)
        logits = case.logits.copy()
        outcome = Outcome(input=logits)
        for call in range(case.draws):
            stages = self.stages(logits, p)
            if not np.isfinite(stages["renormalized"]).all():
                outcome.failure = Failure("RuntimeError", "probabilities", call)
                break
            if call == 0:
                outcome.stages = stages
            outcome.tokens.append(self.draw(stages["renormalized"], generator))
        if self.mutates:
            logits /= F32(2)
        outcome.generator = generator.get_state().numpy().tobytes()
        return outcome

    def stages(self, logits: Array, p: SampleLogits) -> dict[str, Array]:
        wide = self.precision
        with np.errstate(all="ignore"):
            scaled = self.scale(logits.astype(wide), p).astype(F32)
            probs = self.softmax(scaled.astype(wide), p).astype(F32)
            by_k = self.top_k(probs, p)
            by_p = self.top_p(np.where(by_k, probs, F32(0)), p)
            kept = np.where(by_k & by_p, probs, F32(0))
            final = self.renormalize(kept.astype(wide), p).astype(F32)
        return {
            "scaled_logits": scaled,
            "probs": probs,
            "top_k_mask": by_k,
            "top_p_mask": by_p,
            "renormalized": final,
        }
