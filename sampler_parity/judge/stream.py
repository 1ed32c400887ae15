"""Tokens that a correct sampler may draw from the reference's own stream."""

from typing import Any

import numpy as np
import torch

from sampler_parity.implementations.python_ref import start_generator
from sampler_parity.judge import oracle
from sampler_parity.judge.fates import fates
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines import SampleLogits


def may_draw(case: Case, candidate: Outcome) -> bool:
    """Whether a correct sampler on the reference's generator may draw all of these tokens.

    The reference's draw is the largest p / q, with q exponential from the generator. A token wins
    in some correct sampler if, at the upper end of its probability's bound, it is not below a token
    that all of them keep, at the lower end of its own. The quotient is rounded on each side.
    """
    parameters: Any = case.parameters
    if not isinstance(parameters, SampleLogits):
        return parameters.noise == 0 and len(candidate.tokens) == 1
    if parameters.temperature == 0:
        return True
    fate = fates(np.atleast_2d(case.logits), parameters)
    generator = start_generator(case)
    rounding = oracle.gamma(2)
    low = np.where(fate.kept, fate.probs * (1 - fate.error - rounding) - 4 * oracle.TINY, 0)
    high = np.where(fate.dropped, 0, fate.probs * (1 + fate.error + rounding) + 4 * oracle.TINY)
    rows = np.arange(len(low))
    for tokens in candidate.tokens:
        q = torch.empty(low.shape).exponential_(generator=generator).numpy()
        if (high[rows, tokens] / q[rows, tokens] < (low / q).max(axis=-1)).any():
            return False
    return True
