"""Tokens that no correct sampler draws, however it rounds and whatever its generator."""

import numpy as np
import numpy.typing as npt

from sampler_parity.judge.bits import Difference
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome


def impossible(case: Case) -> npt.NDArray[np.bool_]:
    """Mark, in bool [B, V], the tokens that the first call cannot give.

    Of a pipeline without an oracle, every token may be given.
    """
    oracle = case.pipeline.oracle
    if oracle is None:
        return np.zeros(np.atleast_2d(case.logits).shape, bool)
    return oracle.impossible(case.logits, case.parameters, case.history)


def impossible_token(case: Case, candidate: Outcome) -> Difference | None:
    """Find the first token that cannot have been drawn.

    Later calls of a sampler that works in place start from what earlier ones left behind, and are
    not judged.
    """
    cannot = impossible(case)
    calls = candidate.tokens[:1] if case.pipeline.in_place else candidate.tokens
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
