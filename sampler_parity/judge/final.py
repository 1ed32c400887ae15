"""Judges a final distribution alone, where the stages before it are not shown."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.judge.fates import Fates, fates
from sampler_parity.judge.oracle import TINY
from sampler_parity.model.case import Case
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines import SampleLogits

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with what shows it."""

    verdict: Verdict
    words: str


def judge_final(case: Case, expected: Array, values: Array) -> Judgement:
    """Judge ``renormalized`` [B, V] against every correct computation from the logits on.

    First which tokens are kept, then with which probabilities. What a correct sampler keeps with a
    probability that rounds to zero counts as kept, or not, as the candidate has it.
    """
    if expected.shape != values.shape or values.dtype != np.float32:
        words = f"{values.dtype} {list(values.shape)}, not float32 {list(expected.shape)}"
        return Judgement(Verdict.SEMANTIC, words)
    if not isinstance(case.parameters, SampleLogits) or case.parameters.temperature == 0:
        return Judgement(Verdict.SEMANTIC, "the candidate is not at the largest logit alone")
    if not np.isfinite(values).all():
        return Judgement(Verdict.SEMANTIC, "a probability is not finite")
    fate = fates(case.logits, case.parameters)
    kept = values > 0
    return (
        _support(fate, kept)
        or _count(fate, kept, case.parameters.top_p)
        or _values(case, fate, expected, values)
    )


def _count(fate: Fates, kept: Array, top_p: float) -> Judgement | None:
    """Find a row with more or fewer of equal tokens than any order of them leaves."""
    if not top_p > 0:
        return None
    right = np.atleast_1d(fate.cut_right(kept, top_p))
    if right.all():
        return None
    row = int(np.argmin(right))
    return Judgement(
        Verdict.SEMANTIC,
        f"no order of equal tokens ends the nucleus there: {int(np.atleast_2d(kept)[row].sum())} "
        f"kept, in row {row}",
    )


def _values(case: Case, fate: Fates, expected: Array, values: Array) -> Judgement:
    kept = values > 0
    worst = float(fate.renormalized(kept).excess(values).max())
    if not worst <= 1:
        return Judgement(
            Verdict.SEMANTIC,
            f"a probability is {worst:.3g} times as far from the exact one as rounding goes",
        )
    if not np.array_equal(kept, expected > 0) and same_counts(case.logits, kept, expected > 0):
        words = "the sides keep as many of each logit, and not the same of equal ones"
        return Judgement(Verdict.TIE_ORDER, words)
    return Judgement(
        Verdict.ROUNDING, f"every probability is within {worst:.2g} of rounding's bound"
    )


def _support(fate: Fates, kept: Array) -> Judgement | None:
    """Find a token whose fate is sealed otherwise."""
    mass = np.where(fate.dropped, 0, fate.probs).sum(axis=-1, keepdims=True)
    visible = fate.probs > 8 * TINY * mass
    added, missing = kept & fate.dropped, ~kept & fate.kept & visible
    if not (added | missing).any():
        return None
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(added | missing)), kept.shape))
    words = "keeps a token that the rules drop" if added[at] else "drops a token that they keep"
    return Judgement(Verdict.SEMANTIC, f"the candidate {words}: {at[-1]}, in row {at[0]}")


def rows_of(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Give the rows of arrays [..., V], side by side."""
    flat = [array.reshape(-1, array.shape[-1]) for array in arrays]
    return zip(*flat, strict=True)


def same_counts(values: Array, ours: Array, theirs: Array) -> bool:
    """Whether both masks keep the same number of tokens of each value, in every row."""
    return all(
        np.array_equal(np.sort(row[a]), np.sort(row[b]))
        for row, a, b in rows_of(values, ours, theirs)
    )
