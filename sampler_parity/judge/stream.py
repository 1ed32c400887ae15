"""Tokens that a correct sampler may draw from the reference's own stream."""

import numpy as np
import numpy.typing as npt
import torch

from sampler_parity.implementations.python_ref import start_generator
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines.sample_logits import DRAW


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

    Of a pipeline without an oracle, none is known to.
    """
    oracle = case.pipeline.oracle
    if oracle is None:
        return False
    generator = start_generator(case)
    return oracle.may_draw(case.logits, case.parameters, candidate.tokens, generator)
