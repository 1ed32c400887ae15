"""Mistakes that ports make, each planted in a plain sampler, with what the gate must say of it."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec import structs

from sampler_parity.cases.families import PRESETS
from sampler_parity.faults import plain
from sampler_parity.faults.plain import F32, AnyArray, Plain, PlainSimple, nucleus
from sampler_parity.implementations.reference import torch_is_here
from sampler_parity.model.implementation import Implementation
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.pipelines.numbers import doubles, uniforms


@dataclass(frozen=True, slots=True)
class Mistake:
    """A planted mistake.

    Attributes:
        name: the mistake in words.
        sampler: a plain sampler that makes it.
        stage: where the gate must find its gravest cause.
        verdict: of which kind.
        spreads: whether later stages may depart of their own accord as well.
        cases: ids of the cases that it is tried on; none for those that all others are tried on.
    """

    name: str
    sampler: Implementation
    stage: str
    verdict: Verdict
    spreads: bool = False
    cases: tuple[str, ...] = ()


def _f16_logits(x: AnyArray, p: SampleLogits) -> AnyArray:
    return (x / p.temperature).astype(np.float16).astype(x.dtype)


def _untempered(x: AnyArray, _: SampleLogits) -> AnyArray:
    return x


def _hotter(x: AnyArray, p: SampleLogits) -> AnyArray:
    return x / (p.temperature * 1.01)


def _multiplied(x: AnyArray, p: SampleLogits) -> AnyArray:
    return x * p.temperature


def _flushed(x: AnyArray, _: SampleLogits) -> AnyArray:
    probs = plain.softmax(x, _).astype(F32)
    return np.where(probs < np.finfo(F32).tiny, F32(0), probs)


def _half(x: AnyArray, _: SampleLogits) -> AnyArray:
    return plain.softmax(x, _).astype(np.float16)


def _unnormalized(x: AnyArray, _: SampleLogits) -> AnyArray:
    return np.exp(x - x.max(axis=-1, keepdims=True))


def _no_last_token(x: AnyArray, _: SampleLogits) -> AnyArray:
    if x.shape[-1] > 1:
        x = x.copy()
        x[..., -1] = -np.inf
    return plain.softmax(x, _)


def _shifted_vocabulary(x: AnyArray, _: SampleLogits) -> AnyArray:
    return np.roll(plain.softmax(x, _), 1, axis=-1)


def _over_the_batch(x: AnyArray, _: SampleLogits) -> AnyArray:
    e = np.exp(x - x.max())
    return e / e.sum()


def _exactly_k(probs: AnyArray, p: SampleLogits) -> AnyArray:
    if p.top_k <= 0:
        return np.ones(probs.shape, bool)
    ranks = np.argsort(np.argsort(-probs, axis=-1, kind="stable"), axis=-1)
    return ranks < p.top_k


def _above_threshold(probs: AnyArray, p: SampleLogits) -> AnyArray:
    kept = plain.top_k(probs, p)
    if p.top_k > 0:
        kept &= probs > np.sort(probs, axis=-1)[..., -p.top_k, None]
    kept[probs == probs.max(axis=-1, keepdims=True)] = True
    return kept


def _one_more(probs: AnyArray, p: SampleLogits) -> AnyArray:
    more = min(p.top_k + 1, probs.shape[-1]) if p.top_k > 0 else 0
    return plain.top_k(probs, structs.replace(p, top_k=more))


def _one_fewer(probs: AnyArray, p: SampleLogits) -> AnyArray:
    return plain.top_k(probs, structs.replace(p, top_k=max(p.top_k - 1, 1) if p.top_k > 0 else 0))


def _no_top_k(probs: AnyArray, _: SampleLogits) -> AnyArray:
    return np.ones(probs.shape, bool)


def _not_shifted(crossed: AnyArray) -> AnyArray:
    return crossed


def _first_droppable(crossed: AnyArray) -> AnyArray:
    dropped = plain.after_first(crossed)
    dropped[..., 0] = crossed[..., 0]
    return dropped


def _shifted_twice(crossed: AnyArray) -> AnyArray:
    return plain.after_first(plain.after_first(crossed))


def _renormalized_between(probs: AnyArray, p: SampleLogits) -> AnyArray:
    return plain.top_p(probs / probs.sum(axis=-1, keepdims=True), p)


def _greedy_without_nucleus(probs: AnyArray, p: SampleLogits) -> AnyArray:
    if p.top_p > 0:
        return plain.top_p(probs, p)
    return np.arange(probs.shape[-1]) == probs.argmax(axis=-1)[..., None]


def _untouched(kept: AnyArray, _: SampleLogits) -> AnyArray:
    return kept


def _smoothed(kept: AnyArray, _: SampleLogits) -> AnyArray:
    kept = kept + 1e-6
    return kept / kept.sum(axis=-1, keepdims=True)


def _tempered_again(kept: AnyArray, p: SampleLogits) -> AnyArray:
    kept = kept ** (1 / p.temperature)
    return kept / kept.sum(axis=-1, keepdims=True)


def _softmax_again(kept: AnyArray, p: SampleLogits) -> AnyArray:
    return plain.softmax(np.where(kept > 0, kept, -np.inf), p)


def _inverse_cdf(probs: AnyArray, generator: Any) -> AnyArray:
    u = uniforms((probs.shape[0], 1), 1.0, generator)
    return (np.cumsum(probs, axis=-1) <= u).sum(axis=-1).clip(max=probs.shape[-1] - 1)


def _argmax(probs: AnyArray, _: Any) -> AnyArray:
    return probs.argmax(axis=-1)


def _rows_reversed(probs: AnyArray, generator: Any) -> AnyArray:
    return plain.draw(probs[::-1], generator)[::-1]


def _twice(probs: AnyArray, generator: Any) -> AnyArray:
    plain.draw(probs, generator)
    return plain.draw(probs, generator)


def _log_for_log1p(probs: AnyArray, generator: Any) -> AnyArray:
    u = doubles(probs.shape, generator)
    with np.errstate(all="ignore"):
        return (probs / -np.log(u)).argmax(axis=-1)


def _not_advanced(probs: AnyArray, generator: Any) -> AnyArray:
    return plain.draw(probs, generator.clone_state())


def _survivors_only(probs: AnyArray, generator: Any) -> AnyArray:
    """Takes numbers of the stream for the tokens that are left, and for no other."""
    tokens = []
    for row in probs:
        left = np.flatnonzero(row)
        tokens.append(left[plain.draw(row[left], generator)])
    return np.array(tokens, np.int64)


def _in_bits(bits: int) -> Callable[[AnyArray, Any], AnyArray]:
    def draw(probs: AnyArray, generator: Any) -> AnyArray:
        return plain.draw(probs, generator) & ((1 << bits) - 1)

    return draw


def _swapped(p: SampleLogits) -> SampleLogits:
    return structs.replace(p, temperature=p.top_p or 1.0, top_p=p.temperature)


def _other_preset(p: SampleLogits) -> SampleLogits:
    one, other = (parameters.top_k for parameters, _ in PRESETS.values())
    return structs.replace(p, top_k={one: other, other: one}.get(p.top_k, p.top_k))


def _divided_by_half(x: AnyArray, p: SimpleBatch) -> AnyArray:
    return x * F32(0.5 / p.temp)


def _untempered_simple(x: AnyArray, _: SimpleBatch) -> AnyArray:
    return x


def _not_forbidden(x: AnyArray, _: SimpleBatch) -> AnyArray:
    return x


def _forbidden_by_zero(x: AnyArray, p: SimpleBatch) -> AnyArray:
    if p.forbid_token is not None:
        x[..., p.forbid_token] = 0
    return x


def _normal_noise(x: AnyArray, p: SimpleBatch, generator: Any) -> AnyArray:
    # Box and Muller, "A note on the generation of random normal deviates", 1958.
    radius, angle = doubles((2, *x.shape), generator)
    with np.errstate(divide="ignore"):
        normal = np.sqrt(-2 * np.log(radius)) * np.cos(2 * np.pi * angle)
    return (x + p.noise * normal).astype(F32)


def _centred_noise(x: AnyArray, p: SimpleBatch, generator: Any) -> AnyArray:
    return plain.add_noise(x, p, generator) - F32(p.noise / 2)


def _noise_without_forbidden(x: AnyArray, p: SimpleBatch, generator: Any) -> AnyArray:
    """Gives the forbidden token no number of the stream, as if it had been taken out."""
    rest = np.isfinite(x)
    noised = x.copy()
    noised[rest] = plain.add_noise(x[rest], p, generator)
    return noised


def _last_of_largest(x: AnyArray) -> AnyArray:
    return x.shape[-1] - 1 - x[..., ::-1].argmax(axis=-1)


_S, _G, _E = Verdict.SEMANTIC, Verdict.GENERATOR, Verdict.EFFECT


def _top_p(**changes: Callable[..., AnyArray] | bool) -> Plain:
    return Plain(top_p=nucleus(**changes))  # type: ignore[arg-type]  # the arguments of nucleus


MISTAKES = (
    Mistake("logits rounded to f16", Plain(scale=_f16_logits), "scaled_logits", _S),
    Mistake("temperature forgotten", Plain(scale=_untempered), "scaled_logits", _S),
    Mistake("temperature off by 1 %", Plain(scale=_hotter), "scaled_logits", _S),
    Mistake("multiplied by the temperature", Plain(scale=_multiplied), "scaled_logits", _S),
    Mistake(
        "softmax before temperature",
        Plain(scale=_untempered, softmax=lambda x, p: _tempered_again(plain.softmax(x, p), p)),
        "scaled_logits", _S, spreads=True,
    ),
    Mistake(
        "temperature after truncation",
        Plain(scale=_untempered, renormalize=_tempered_again), "scaled_logits", _S, spreads=True,
    ),
    Mistake("denormals flushed", Plain(softmax=_flushed), "probs", _S),
    Mistake("probabilities in f16", Plain(softmax=_half), "probs", _S),
    Mistake("softmax not normalised", Plain(softmax=_unnormalized), "probs", _S),
    Mistake("softmax over the whole batch", Plain(softmax=_over_the_batch), "probs", _S),
    Mistake("vocabulary one short", Plain(softmax=_no_last_token), "probs", _S),
    Mistake("vocabulary off by one", Plain(softmax=_shifted_vocabulary), "probs", _S),
    Mistake("top-k by exactly k", Plain(top_k=_exactly_k), "top_k_mask", _S),
    Mistake("top-k <= for <", Plain(top_k=_above_threshold), "top_k_mask", _S),
    Mistake("top-k one more", Plain(top_k=_one_more), "top_k_mask", _S),
    Mistake("top-k one fewer", Plain(top_k=_one_fewer), "top_k_mask", _S),
    Mistake("top-k forgotten", Plain(top_k=_no_top_k), "top_k_mask", _S),
    Mistake("Global and Semantic swapped", Plain(parameters=_other_preset), "top_k_mask", _S),
    Mistake("top-p >= for >", _top_p(crosses=operator.ge), "top_p_mask", _S),
    Mistake("top-p without the shift", _top_p(shifted=_not_shifted), "top_p_mask", _S),
    # Whatever comes after a first token that crosses is dropped as well: nothing is left.
    Mistake("top-p may drop the first", _top_p(shifted=_first_droppable), "error", Verdict.ERROR),
    Mistake("top-p shifted twice", _top_p(shifted=_shifted_twice), "top_p_mask", _S),
    Mistake("top-p renormalised before", Plain(top_p=_renormalized_between), "top_p_mask", _S),
    Mistake("top_p = 0 as greedy", Plain(top_p=_greedy_without_nucleus), "top_p_mask", _S),
    Mistake("top-p ascending", _top_p(descending=False), "top_p_mask", _S),
    Mistake("not renormalised", Plain(renormalize=_untouched), "renormalized", _S),
    Mistake("smoothed", Plain(renormalize=_smoothed), "renormalized", _S),
    Mistake("temperature once more", Plain(renormalize=_tempered_again), "renormalized", _S),
    Mistake("softmax once more", Plain(renormalize=_softmax_again), "renormalized", _S),
    Mistake("draw by inverse CDF", Plain(draw=_inverse_cdf), "token", _G),
    Mistake("draw is argmax", Plain(draw=_argmax), "token", _G),
    Mistake("draw out of row order", Plain(draw=_rows_reversed), "token", _G),
    Mistake("draw for survivors only", Plain(draw=_survivors_only), "token", _G),
    Mistake("generator advanced twice", Plain(draw=_twice), "token", _G),
    Mistake("generator not advanced", Plain(draw=_not_advanced), "token", _G),
    Mistake("log for log1p", Plain(draw=_log_for_log1p), "token", _G),
    Mistake("token in 16 bits", Plain(draw=_in_bits(16)), "token", _G, cases=("vast-rows-0@5",)),
    Mistake("token in 18 bits", Plain(draw=_in_bits(18)), "token", _G, cases=("vast-rows-1@5",)),
    Mistake("token in 20 bits", Plain(draw=_in_bits(20)), "token", _G, cases=("vast-rows-4@5",)),
    Mistake(
        "temperature and top_p swapped", Plain(parameters=_swapped), "scaled_logits", _S,
        spreads=True,
    ),
    Mistake("input mutated", Plain(mutates=True), "input", _E),
    Mistake("simple: temperature forgotten", PlainSimple(scale=_untempered_simple),
            "scaled_logits", _S),
    Mistake("simple: temperature halved", PlainSimple(scale=_divided_by_half),
            "scaled_logits", _S),
    Mistake("simple: forbidden token allowed", PlainSimple(forbid=_not_forbidden),
            "scaled_logits", _S),
    Mistake("simple: forbidden token at zero", PlainSimple(forbid=_forbidden_by_zero),
            "scaled_logits", _S),
    Mistake("simple: forbidden token out of the stream",
            PlainSimple(add_noise=_noise_without_forbidden), "noised_logits", _G),
    Mistake("simple: normal noise", PlainSimple(add_noise=_normal_noise), "noised_logits", _G),
    Mistake("simple: noise around zero", PlainSimple(add_noise=_centred_noise),
            "noised_logits", _G),
    Mistake("simple: last of equal maxima", PlainSimple(take=_last_of_largest), "token",
            Verdict.TIE_ORDER),
    Mistake("simple: input not mutated", PlainSimple(mutates=False), "input", _E),
)  # fmt: skip
"""Every mistake in the plain samplers."""


def _by_torch_f64(x: AnyArray, _: SampleLogits) -> AnyArray:
    import torch

    return torch.softmax(torch.from_numpy(x).double(), dim=-1).numpy()


def _by_reciprocal(kept: AnyArray, _: SampleLogits) -> AnyArray:
    return kept * (1 / kept.sum(axis=-1, keepdims=True))


CORRECT = (
    Plain("numpy f64"),
    Plain("numpy f32", precision=np.float32),
    Plain("numpy f32, by reciprocals", precision=np.float32, renormalize=_by_reciprocal),
    *([Plain("torch f64 cast back", softmax=_by_torch_f64)] if torch_is_here() else []),
)
"""Samplers that make no mistake, and have other bits than the reference."""
