"""The tokens around a row's cutoff, side by side: what a mask was decided by."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.judge.bits import ulps_between
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import FINAL
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines import SampleLogits

WIDTH = 3
"""Tokens that are shown on either side of the cutoff."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A token near the cutoff.

    Attributes:
        rank: its place in descending order of probability, from 1.
        token: its index.
        logit: as it was given.
        prob: the reference's probability before truncation.
        ulps: how far the candidate's is from it; ``None`` if that is not shown.
        before: sum of the probabilities before it that top-k kept, as f32, which the reference
            compares with ``top_p``: the token is dropped where it is greater.
        reference: whether the reference keeps it.
        candidate: whether the candidate does; ``None`` if that is not shown.
    """

    rank: int
    token: int
    logit: float
    prob: float
    ulps: int | None
    before: float
    reference: bool
    candidate: bool | None


def neighbours(
    case: Case, reference: Outcome, candidate: Outcome, row: int
) -> tuple[Neighbour, ...]:
    """List the tokens around the reference's cutoff, and the first on which the sides disagree.

    Empty for the simple sampler, and where the reference has no stages.
    """
    if not isinstance(case.parameters, SampleLogits) or not reference.stages:
        return ()
    logits, probs = (_row(a, row) for a in (case.logits, reference.stages["probs"]))
    by_k = _row(reference.stages["top_k_mask"], row)
    kept = by_k & _row(reference.stages["top_p_mask"], row)
    theirs, their_probs = _kept(candidate, row, kept.shape), candidate.stages.get("probs")
    masked = np.where(by_k, probs, np.float32(0))
    # Of equal probabilities, those that the reference keeps come first.
    order = np.lexsort((~kept, -masked))
    sums = np.cumsum(masked[order].astype(np.float64))
    before = np.concatenate([[0.0], sums[:-1]]).astype(np.float32)
    shown = sorted(set(_places(order, kept, theirs)))
    return tuple(
        Neighbour(
            rank=place + 1,
            token=int(order[place]),
            logit=float(logits[order[place]]),
            prob=float(probs[order[place]]),
            ulps=None
            if their_probs is None or their_probs.shape != case.logits.shape
            else ulps_between(probs[order[place]], _row(their_probs, row)[order[place]]),
            before=float(before[place]),
            reference=bool(kept[order[place]]),
            candidate=None if theirs is None else bool(theirs[order[place]]),
        )
        for place in shown
    )


def _places(
    order: npt.NDArray[np.int64],
    kept: npt.NDArray[np.bool_],
    theirs: npt.NDArray[np.bool_] | None,
) -> Iterator[int]:
    cut = int(kept.sum())
    yield from range(max(cut - WIDTH, 0), min(cut + WIDTH, len(order)))
    if theirs is not None:
        yield from map(int, np.flatnonzero((kept != theirs)[order])[:WIDTH])


def _kept(candidate: Outcome, row: int, shape: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
    stages = candidate.stages
    found = None
    if "top_k_mask" in stages and "top_p_mask" in stages:
        masks = [_row(stages[name], row) for name in ("top_k_mask", "top_p_mask")]
        if all(mask.shape == shape and mask.dtype == np.bool_ for mask in masks):
            found = masks[0] & masks[1]
    elif FINAL in stages:
        found = _row(stages[FINAL], row) > 0
    return found if found is not None and found.shape == shape else None


def _row(array: npt.NDArray[Any], row: int) -> npt.NDArray[Any]:
    rows: npt.NDArray[Any] = np.atleast_2d(array)
    return rows[row] if row < len(rows) else rows[:0]
