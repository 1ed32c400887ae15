"""Tokens that a correct sampler may draw from the reference's own stream."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sampler_parity.implementations.python_ref import reference_stage, start_generator
from sampler_parity.judge import oracle
from sampler_parity.judge.fates import fates
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines import SampleLogits, SimpleBatch

DRAW = oracle.gamma(6)
"""Bounds the roundings from a probability to its quotient: its sum, the exponential, and casts."""


def draws_as_near(
    final: npt.NDArray[np.float32], tokens: npt.NDArray[np.int64], generator: torch.Generator
) -> bool:
    """Whether each row's token is within rounding of being the largest of ``final`` / q."""
    final = np.atleast_2d(final)
    rows = np.arange(len(final))
    if not ((tokens >= 0) & (tokens < final.shape[-1])).all():
        return False
    q = torch.empty(final.shape).exponential_(generator=generator).numpy()
    with np.errstate(all="ignore"):
        quotients = final.astype(np.float64) / q
        won = quotients[rows, tokens] * (1 + DRAW) >= quotients.max(axis=-1) * (1 - DRAW)
    return bool(won.all())


def may_draw(case: Case, candidate: Outcome) -> bool:
    """Whether a correct sampler on the reference's generator may draw all of these tokens.

    The reference's draw is the largest p / q, with q exponential from the generator. A token wins
    in some correct sampler if, at the upper end of its probability's bound, it is not below a token
    that all of them keep, at the lower end of its own.
    """
    parameters: Any = case.parameters
    if not isinstance(parameters, SampleLogits):
        return _may_take(case, parameters, candidate)
    fate = fates(np.atleast_2d(case.logits), parameters)
    generator = start_generator(case)
    # A race is decided by ratios. A denormal probability is off by ``tiny``; its quotient by a
    # rounding of 2^-149 at q <= 37, the largest exponential of 53 bits.
    shares, tiny = fate.shares, 50 * fate.shares.tiny
    low = np.where(fate.kept, shares.low * (1 - DRAW) - tiny, 0)
    high = np.where(fate.dropped, 0, shares.high * (1 + DRAW) + tiny)
    rows = np.arange(len(low))
    for tokens in candidate.tokens:
        q = torch.empty(low.shape).exponential_(generator=generator).numpy()
        if (high[rows, tokens] / q[rows, tokens] < (low / q).max(axis=-1)).any():
            return False
    return True


def _may_take(case: Case, parameters: SimpleBatch, candidate: Outcome) -> bool:
    """Whether each of the simple sampler's tokens is the largest, as a correct one may round.

    A call starts from what the one before has left, which is off by its roundings: they add up.
    """
    generator = start_generator(case)
    value: oracle.Wide = np.atleast_2d(case.logits).astype(np.float64)
    rows, zero = np.arange(len(value)), np.zeros(value.shape, np.float32)
    temp, error = np.float64(parameters.temp), oracle.scale_error(parameters.temp)
    bound: oracle.Wide = np.zeros_like(value)
    with np.errstate(all="ignore"):
        for tokens in candidate.tokens:
            if not ((tokens >= 0) & (tokens < value.shape[-1])).all():
                return False
            if parameters.forbid_token is not None:
                value[:, parameters.forbid_token] = -np.inf
            added = reference_stage("noised_logits", case, {"scaled_logits": zero}, generator)
            value, bound = value / temp, bound / temp
            bound = bound + error * (np.abs(value) + bound)
            value = value + added
            bound = bound + oracle.gamma(2) * (np.abs(value) + np.abs(added) + bound)
            bound = np.where(np.isfinite(value), bound, 0) + 4 * oracle.TINY
            if not ((value + bound)[rows, tokens] >= (value - bound).max(axis=-1)).all():
                return False
    return True
