"""Tokens that a correct sampler may draw from the reference's own stream."""

import numpy as np
import numpy.typing as npt
import torch

from sampler_parity.implementations.python_ref import start_generator
from sampler_parity.judge import oracle
from sampler_parity.judge.fates import fates
from sampler_parity.model.case import Case, SampleLogits
from sampler_parity.model.outcome import Outcome

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
    parameters = case.parameters
    if not isinstance(parameters, SampleLogits):
        return parameters.noise == 0 and len(candidate.tokens) == 1
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
