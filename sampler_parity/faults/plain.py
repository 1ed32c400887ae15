"""Plain samplers, written from the definition in a precision of their own.

They share torch's generator and nothing else with the reference: another arithmetic, another sort.
Each step can be replaced, which is how a mistake is planted.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from sampler_parity.implementations.reference import start_generator, state_of
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Failure, Outcome
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.pipelines.numbers import exponentials, uniforms

AnyArray = Any
"""A numpy array; arithmetic on arrays of any precision is not typed."""

F32 = np.float32


def scale(x: AnyArray, p: SampleLogits) -> AnyArray:
    """Divide by the temperature."""
    return x / x.dtype.type(p.temperature)


def softmax(x: AnyArray, _: SampleLogits) -> AnyArray:
    """Normalise exp(x - max)."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def top_k(probs: AnyArray, p: SampleLogits) -> AnyArray:
    """Keep what is not below the k-th largest, ties included."""
    if p.top_k <= 0:
        return np.ones(probs.shape, bool)
    return probs >= np.sort(probs, axis=-1)[..., -p.top_k, None]


def after_first(crossed: AnyArray) -> AnyArray:
    """Shift by one: the token that crosses stays, and the first one always does."""
    dropped = np.zeros_like(crossed)
    dropped[..., 1:] = crossed[..., :-1]
    return dropped


def unsort(values: AnyArray, order: AnyArray) -> AnyArray:
    """Put values that were taken in ``order`` back."""
    result = np.empty_like(values)
    np.put_along_axis(result, order, values, axis=-1)
    return result


def nucleus(
    crosses: Callable[[AnyArray, Any], AnyArray] = operator.gt,
    shifted: Callable[[AnyArray], AnyArray] = after_first,
    *,
    descending: bool = True,
) -> Callable[[AnyArray, SampleLogits], AnyArray]:
    """Give a nucleus in stable order, cut where the f32 sum ``crosses`` top_p."""

    def stage(probs: AnyArray, p: SampleLogits) -> AnyArray:
        if not p.top_p > 0:
            return np.ones(probs.shape, bool)
        order = np.argsort(-probs if descending else probs, axis=-1, kind="stable")
        sums = np.cumsum(np.take_along_axis(probs, order, axis=-1).astype(np.float64), axis=-1)
        return unsort(~shifted(crosses(sums.astype(F32), F32(p.top_p))), order)

    return stage


top_p = nucleus()


def renormalize(kept: AnyArray, _: SampleLogits) -> AnyArray:
    """Divide by the sum."""
    return kept / kept.sum(axis=-1, keepdims=True)


def draw(probs: AnyArray, generator: Any) -> AnyArray:
    """Draw as torch does: the largest p / q, q exponential."""
    q = exponentials(probs.shape, generator)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (probs / q).argmax(axis=-1)


@dataclass(frozen=True)
class Plain:
    """``sample_logits`` in ``precision``; every stage is rounded to f32 when it is done."""

    name: str = "plain"
    precision: Any = np.float64
    scale: Callable[[AnyArray, SampleLogits], AnyArray] = scale
    softmax: Callable[[AnyArray, SampleLogits], AnyArray] = softmax
    top_k: Callable[[AnyArray, SampleLogits], AnyArray] = top_k
    top_p: Callable[[AnyArray, SampleLogits], AnyArray] = top_p
    renormalize: Callable[[AnyArray, SampleLogits], AnyArray] = renormalize
    draw: Callable[[AnyArray, Any], AnyArray] = draw
    parameters: Callable[[SampleLogits], SampleLogits] = field(default=lambda p: p)
    mutates: bool = False

    @property
    def about(self) -> About:
        """What it is."""
        return About(name=self.name, samplers=(SampleLogits.sampler,))

    def run(self, case: Case, _: str) -> Outcome:
        """Run a case of ``sample_logits``."""
        if case.pipeline.name not in self.about.samplers:
            return Outcome(declined=f"{self.name} has no {case.pipeline.name}")
        p = self.parameters(cast("SampleLogits", case.parameters))
        generator = start_generator(case)
        logits = case.logits.copy()
        outcome = Outcome(input=logits)
        if p.top_k > logits.shape[-1]:
            outcome.failure = Failure("RuntimeError", "top_k", 0)
        for call in range(0 if outcome.failure else case.draws):
            stages = self.stages(logits, p)
            if not np.isfinite(stages["renormalized"]).all():
                outcome.failure = Failure("RuntimeError", "probabilities", call)
                break
            if call == 0:
                outcome.stages = stages
            outcome.tokens.append(self.draw(stages["renormalized"], generator))
        if self.mutates:
            logits /= F32(2)
        outcome.generator = state_of(case, generator)
        return outcome

    def stages(self, logits: AnyArray, p: SampleLogits) -> dict[str, AnyArray]:
        """Compute every stage but the token."""
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


def forbid(x: AnyArray, p: SimpleBatch) -> AnyArray:
    """Mask the forbidden token."""
    if p.forbid_token is not None:
        x[..., p.forbid_token] = -np.inf
    return x


def scale_simple(x: AnyArray, p: SimpleBatch) -> AnyArray:
    """Multiply by the reciprocal."""
    return x * F32(1 / p.temp) if p.temp != 1 else x


def add_noise(x: AnyArray, p: SimpleBatch, generator: Any) -> AnyArray:
    """Add uniform noise from torch's generator."""
    if p.noise == 0:
        return x
    return x + uniforms(x.shape, p.noise, generator)


def largest(x: AnyArray) -> AnyArray:
    """Take the first of the largest."""
    return x.argmax(axis=-1)


@dataclass(frozen=True)
class PlainSimple:
    """``simple_batch_sampler`` in f32, which leaves only rounding of the product open."""

    name: str = "plain"
    forbid: Callable[[AnyArray, SimpleBatch], AnyArray] = forbid
    scale: Callable[[AnyArray, SimpleBatch], AnyArray] = scale_simple
    add_noise: Callable[[AnyArray, SimpleBatch, Any], AnyArray] = add_noise
    take: Callable[[AnyArray], AnyArray] = largest
    parameters: Callable[[SimpleBatch], SimpleBatch] = field(default=lambda p: p)
    mutates: bool = True

    @property
    def about(self) -> About:
        """What it is."""
        return About(name=self.name, samplers=(SimpleBatch.sampler,))

    def run(self, case: Case, _: str) -> Outcome:
        """Run a case of ``simple_batch_sampler``."""
        if case.pipeline.name not in self.about.samplers:
            return Outcome(declined=f"{self.name} has no {case.pipeline.name}")
        p = self.parameters(cast("SimpleBatch", case.parameters))
        generator = start_generator(case)
        logits = case.logits.copy()
        outcome = Outcome()
        for call in range(case.draws):
            with np.errstate(all="ignore"):
                scaled = self.scale(self.forbid(logits.copy(), p), p)
                noised = self.add_noise(scaled, p, generator)
            if call == 0:
                outcome.stages = {"scaled_logits": scaled, "noised_logits": noised}
            outcome.tokens.append(self.take(noised).astype(np.int64).reshape(-1))
            if self.mutates:
                logits = noised
        outcome.input = logits
        outcome.generator = state_of(case, generator)
        return outcome
