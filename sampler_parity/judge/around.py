"""The tokens around a row's cutoff, side by side: what a mask was decided by."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.judge.bits import ulps_between
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.pipeline import Pipeline

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
        reference: whether the reference keeps it, as far as the candidate shows: by its masks, or
            with a probability that is not zero.
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

    Masks keep tokens of zero probability as well, which no final distribution shows: a candidate
    without masks is held against what the reference gives a probability to. Empty for a
    sampler without masks, and where the reference has no stages.
    """
    pipeline = case.pipeline
    if not pipeline.masks or not reference.stages:
        return ()
    numbers = pipeline.masks[-1].reads[0]
    logits, probs = (_row(a, row) for a in (case.logits, reference.stages[numbers]))
    kept = np.logical_and.reduce([_row(reference.stages[m.name], row) for m in pipeline.masks])
    if pipeline.final and not _has_masks(pipeline, candidate):
        kept &= _row(reference.stages[pipeline.final], row) > 0
    theirs = _kept(pipeline, candidate, row, kept.shape)
    their_probs = candidate.stages.get(numbers)
    masked = _row(pipeline.mask_input(pipeline.masks[-1], reference.stages), row)
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


def _has_masks(pipeline: Pipeline, candidate: Outcome) -> bool:
    return candidate.stages.keys() >= {mask.name for mask in pipeline.masks}


def _kept(
    pipeline: Pipeline, candidate: Outcome, row: int, shape: tuple[int, ...]
) -> npt.NDArray[np.bool_] | None:
    stages = candidate.stages
    found = None
    if _has_masks(pipeline, candidate):
        masks = [_row(stages[mask.name], row) for mask in pipeline.masks]
        if all(mask.shape == shape and mask.dtype == np.bool_ for mask in masks):
            found = np.logical_and.reduce(masks)
    elif pipeline.final in stages:
        found = _row(stages[pipeline.final], row) > 0
    return found if found is not None and found.shape == shape else None


def _row(array: npt.NDArray[Any], row: int) -> npt.NDArray[Any]:
    rows: npt.NDArray[Any] = np.atleast_2d(array)
    return rows[row] if row < len(rows) else rows[:0]
