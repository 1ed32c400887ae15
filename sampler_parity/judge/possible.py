"""Tokens that no correct sampler draws, however it rounds and whatever its generator."""

from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.judge import oracle
from sampler_parity.judge.bits import Difference
from sampler_parity.judge.fates import fates
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines import SampleLogits


def impossible(case: Case) -> npt.NDArray[np.bool_]:
    """Mark, in bool [B, V], the tokens that the first call cannot give.

    A token of the simple sampler is the largest once noise is added, so that its logit is within
    the noise of the largest one.
    """
    parameters: Any = case.parameters
    if isinstance(parameters, SampleLogits):
        if parameters.temperature == 0:
            logits = np.atleast_2d(case.logits)
            below: npt.NDArray[np.bool_] = logits < logits.max(axis=-1, keepdims=True)
            return below
        return np.atleast_2d(fates(case.logits, parameters).dropped)
    logits = np.atleast_2d(case.logits).copy()
    if parameters.forbid_token is not None:
        logits[:, parameters.forbid_token] = -np.inf
    scaled = oracle.quotient(logits, parameters.temp)
    top = scaled.value.max(axis=-1, keepdims=True)
    noise = np.longdouble(parameters.noise)
    # The sum with the noise is rounded as well: once for each side.
    with np.errstate(invalid="ignore"):
        slack = 2 * scaled.bound + 2 * oracle.gamma(2) * (np.abs(top) + noise)
        found: npt.NDArray[np.bool_] = scaled.value + noise + slack < top
    return found


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
