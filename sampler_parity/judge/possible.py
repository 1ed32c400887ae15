"""Tokens that no correct sampler draws, however it rounds and whatever its generator."""

import numpy as np
import numpy.typing as npt

from sampler_parity.judge import oracle
from sampler_parity.judge.bits import Difference
from sampler_parity.judge.fates import fates
from sampler_parity.model.case import Case, SampleLogits
from sampler_parity.model.outcome import Outcome


def largest(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Mark, in bool [..., V], each row's largest logits: its NaNs if it has any, as argmax does."""
    undefined = np.isnan(logits)
    with np.errstate(invalid="ignore"):
        greatest = logits == logits.max(axis=-1, keepdims=True)
    found: npt.NDArray[np.bool_] = np.where(
        undefined.any(axis=-1, keepdims=True), undefined, greatest
    )
    return found


def impossible(case: Case) -> npt.NDArray[np.bool_]:
    """Mark, in bool [B, V], the tokens that the first call cannot give.

    A token of the simple sampler is the largest once noise is added, so that its logit is within
    the noise of the largest one.
    """
    if isinstance(case.parameters, SampleLogits):
        if case.parameters.temperature == 0:
            return ~largest(np.atleast_2d(case.logits))
        return np.atleast_2d(fates(case.logits, case.parameters).dropped)
    logits = np.atleast_2d(case.logits).copy()
    if case.parameters.forbid_token is not None:
        logits[:, case.parameters.forbid_token] = -np.inf
    scaled = oracle.quotient(logits, case.parameters.temp)
    noise = np.longdouble(case.parameters.noise)
    with np.errstate(all="ignore"):
        # What is beyond f32 is an infinity there, as large as any other; a mask stays one.
        value = np.where(
            scaled.value == -np.inf,
            scaled.value,
            np.clip(scaled.value, -oracle.LARGEST, oracle.LARGEST),
        )
        # The sum with the noise is rounded as well.
        slack = scaled.bound + oracle.gamma(2) * (np.abs(value) + noise)
        slack = np.where(np.isfinite(slack), slack, 0)
        found: npt.NDArray[np.bool_] = value + noise + slack < (value - slack).max(
            axis=-1, keepdims=True
        )
        # An infinity by a reciprocal of zero, or zero by one that is infinite, is NaN, which wins.
        products = logits * np.float32(np.float64(1) / np.float64(case.parameters.temp))
        undefined: npt.NDArray[np.bool_] = (np.isnan(products) | np.isnan(value)).any(
            axis=-1, keepdims=True
        )
    possible: npt.NDArray[np.bool_] = ~found | undefined
    return ~possible


def impossible_token(case: Case, candidate: Outcome) -> Difference | None:
    """Find the first token that cannot have been drawn.

    Later calls of the simple sampler start from what earlier ones left behind, and are not judged.
    """
    cannot = impossible(case)
    calls = candidate.tokens if isinstance(case.parameters, SampleLogits) else candidate.tokens[:1]
    drawn = np.stack(calls, axis=-1)
    outside = (drawn < 0) | (drawn >= cannot.shape[-1])
    rows = np.arange(len(drawn))[:, None]
    wrong = outside | cannot[rows, np.where(outside, 0, drawn)]
    if not wrong.any():
        return None
    at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    index = (int(at[0]), int(at[1]))
    possible = f"one of {int((~cannot[index[0]]).sum()):,} possible tokens"
    return Difference(index, possible, str(drawn[index]), None, int(wrong.sum()), wrong.size)
