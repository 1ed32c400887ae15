"""Judges a final distribution alone, where the stages before it are not shown."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.model.case import Case
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines.exact import Mask, Shares, Wide, largest, rows_of
from sampler_parity.pipelines.fates import Fates

Array = npt.NDArray[Any]

NAMED = 5
"""Tokens of a support that are named; more are counted."""

LIKELY = 2
"""How many bounds a distribution may still be off for a temperature to explain it."""


NO_ORACLE = "the pipeline has no oracle here, so that rounding cannot be told from meaning"


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
    if case.parameters.greedy:
        return judge_one_hot(case.logits, values)
    logits, expected, values = (np.atleast_2d(array) for array in (case.logits, expected, values))
    if not np.isfinite(values).all():
        return Judgement(Verdict.SEMANTIC, "a probability is not finite")
    oracle = case.pipeline.oracle
    fate: Fates | None = None
    if oracle is not None:
        fate = oracle.fates(logits, case.parameters, case.history)
    kept = values > 0
    differing = supports(expected > 0, kept)
    if fate is None:
        judgement = Judgement(Verdict.DIFFERS, NO_ORACLE)
    else:
        # What the reference keeps, some correct sampler does.
        wrong = _support(fate, kept) or _count(fate, kept) if differing else None
        judgement = wrong or _values(fate, expected, values)
    if differing:
        return Judgement(judgement.verdict, f"{judgement.words}; {differing}")
    return judgement


def judge_one_hot(logits: Array, values: Array) -> Judgement:
    """Judge a distribution at temperature 0: all of it is at one token of the largest logit."""
    ones = values == 1
    alone = (ones.sum(axis=-1) == 1) & ((values != 0).sum(axis=-1) == 1)
    if alone.all() and not (ones & ~largest(logits)).any():
        return Judgement(Verdict.TIE_ORDER, "another of several largest logits is taken")
    return Judgement(Verdict.SEMANTIC, "the candidate is not at the largest logit alone")


def supports(expected: Mask, kept: Mask) -> str:
    """Say which tokens only one side keeps, in the first row where the sides differ so."""
    for row, (ours, theirs) in enumerate(rows_of(expected, kept)):
        if not np.array_equal(ours, theirs):
            return (
                f"in row {row} the reference keeps {ours.sum():,} tokens and the candidate "
                f"{theirs.sum():,}: {_named('the reference', ours & ~theirs)}, "
                f"{_named('the candidate', theirs & ~ours)}"
            )
    return ""


def _named(side: str, tokens: Mask) -> str:
    found = np.flatnonzero(tokens)
    if not found.size:
        return f"none by {side} alone"
    more = f" and {found.size - NAMED:,} more" if found.size > NAMED else ""
    return f"{', '.join(str(token) for token in found[:NAMED])}{more} by {side} alone"


def _count(fate: Fates, kept: Array) -> Judgement | None:
    """Find a row with more or fewer of equal tokens than any order of them leaves."""
    cuts = [fate.cut_right] if fate.top_p > 0 else [*fate.right]
    for cut in cuts:
        judgement = ends_wrongly(np.atleast_1d(cut(kept)), kept)
        if judgement is not None:
            return judgement
    return None


def ends_wrongly(right: Mask, kept: Array) -> Judgement | None:
    """Tell of the first row that is not cut right, as ``right`` [B] has it of masks."""
    if right.all():
        return None
    row = int(np.argmin(right))
    return Judgement(
        Verdict.SEMANTIC,
        f"no order of equal tokens ends the cut there: {int(np.atleast_2d(kept)[row].sum())} "
        f"kept, in row {row}",
    )


def _values(fate: Fates, expected: Array, values: Array) -> Judgement:
    kept = values > 0
    truth = fate.renormalized(kept)
    ratios, sums = truth.ratios(values), truth.sums(values)
    worst = float(ratios.max())
    if not worst <= 1:
        words = f"the ratio of two probabilities is {worst:.3g} times as far off as rounding goes"
        row = int(np.argmax(ratios.reshape(-1, ratios.shape[-1]).max(axis=-1)))
        return Judgement(Verdict.SEMANTIC, f"{words}{_temperature(fate, truth, values, row)}")
    total = float(sums.max())
    if not total <= 1:
        return Judgement(
            Verdict.SEMANTIC,
            f"the probabilities' sum is {total:.3g} times as far from 1 as rounding goes",
        )
    if not np.array_equal(kept, expected > 0) and same_counts(fate.scaled, kept, expected > 0):
        words = "the sides keep as many of each logit, and not the same of equal ones"
        return Judgement(Verdict.TIE_ORDER, words)
    return Judgement(
        Verdict.ROUNDING,
        f"every ratio of two probabilities is within {worst:.2g} of rounding's bound, "
        f"every sum within {total:.2g}",
    )


def _temperature(fate: Fates, truth: Shares, values: Array, row: int) -> str:
    """Say, where that explains a row, by how much its temperature is off.

    A temperature of T (1 + e) multiplies scaled logits by 1 / (1 + e): the logarithm of a
    probability by its exact value is a straight line of the scaled logit, whose slope is that
    factor less 1. The line is fitted to the row's normal f32 numbers, by least squares.
    """
    f, p, x = (
        array.reshape(-1, array.shape[-1])[row] for array in (values, truth.value, fate.scaled)
    )
    normal = (f >= np.finfo(np.float32).tiny) & (p > 0)
    if normal.sum() < 2 or np.ptp(x[normal]) == 0:  # noqa: PLR2004  (a line has two points)
        return ""
    with np.errstate(all="ignore"):
        off: Wide = np.log(f[normal].astype(np.float64) / p[normal])
        x = x[normal] - x[normal].mean()
        slope = (off * x).sum() / (x * x).sum()
        left = np.abs(off - off.mean() - slope * x)
        bound = np.log(truth.high / truth.low).reshape(-1, p.size)[row][normal]
        if not (np.isfinite(slope) and (left <= LIKELY * bound).all() and slope > -1):
            return ""
    return f"; a temperature that is {float(-slope / (1 + slope)):+.2g} of itself off explains it"


def _support(fate: Fates, kept: Array) -> Judgement | None:
    """Find a token whose fate is sealed otherwise."""
    added, missing = kept & fate.dropped, ~kept & fate.kept & fate.visible
    if not (added | missing).any():
        return None
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(added | missing)), kept.shape))
    words = "keeps a token that the rules drop" if added[at] else "drops a token that they keep"
    where = f", in row {at[0]}" if len(at) > 1 else ""
    return Judgement(Verdict.SEMANTIC, f"the candidate {words}: {at[-1]}{where}")


def same_counts(values: Array, ours: Array, theirs: Array) -> bool:
    """Whether both masks keep the same number of tokens of each value, in every row."""
    return all(
        np.array_equal(np.sort(row[a]), np.sort(row[b]))
        for row, a, b in rows_of(values, ours, theirs)
    )
