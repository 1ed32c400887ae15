"""What every correct sampler makes of logits, step by step: exact weights, and sealed fates.

A sampler of the shelf scales, penalises and cuts weights, whose logarithms are kept exactly here
(f64), each with a bound on how far f32 moves it. A cut seals the fate of the tokens that it keeps
or drops however it is rounded, and leaves the others open. What is so found for one stage, from
the candidate's own values, judges that stage; folded over all stages from the logits on, it judges
an answer of which no stage is shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.pipelines.exact import (
    OWN,
    TINY,
    UNSEEN,
    Mask,
    Shares,
    U,
    Wide,
    exponentials,
    gamma,
    scale_error,
)
from sampler_parity.pipelines.fates import Fates, Seals, common_error, limits

SURE = 2.0**-40
"""Relative error of these computations themselves, in f64, with room to spare."""

Ranks = npt.NDArray[np.int64]
MOST = 300.0
"""The largest error of a logarithm that is kept as a number: e^300 is beyond f32 twice over."""

Right = Callable[[Mask], Mask]
"""Says of masks [B, V] which rows, bool [B], keep as many of equal tokens as a cut can."""


@dataclass(frozen=True, slots=True)
class Folded:
    """Rows after some steps; arrays are [B, V].

    Attributes:
        log: exact logarithms of the weights, whether they are dropped or not.
        moved: how far rounding moves each logarithm, beside what all of a row share.
        kept: every correct sampler keeps the token.
        dropped: none does.
        right: what the last cut says of how many it keeps.
    """

    log: Wide
    moved: Wide
    kept: Mask
    dropped: Mask
    right: tuple[Right, ...] = ()

    @property
    def open(self) -> Mask:
        """Mark the tokens whose fate is not sealed."""
        found: Mask = ~(self.kept | self.dropped)
        return found

    @property
    def largest(self) -> Mask:
        """Mark the largest of what is not dropped."""
        left = np.where(self.dropped, -np.inf, self.log)
        found: Mask = self.log == left.max(axis=-1, keepdims=True)
        return found

    def cut(self, kept: Mask, dropped: Mask, *right: Right) -> "Folded":
        """Give the rows after a cut that seals these fates.

        What an earlier cut says of how many it keeps says nothing of what is left by this one.
        """
        return replace(
            self,
            kept=self.kept & kept,
            dropped=self.dropped | dropped,
            right=right,
        )

    def changed(self, log: Wide, moved: Wide) -> "Folded":
        """Give the rows with other weights."""
        return replace(self, log=log, moved=moved)

    def shares(self, *, whole: bool = False) -> Shares:
        """Bound the ratios of probabilities: of what is not dropped, or of the ``whole`` row."""
        gone = np.zeros_like(self.dropped) if whole else self.dropped
        with np.errstate(all="ignore"):
            log = np.where(gone, -np.inf, self.log)
            top = log.max(axis=-1, keepdims=True)
            depth = np.where(log == top, 0, top - log)
            depth = np.where(np.isnan(depth), np.inf, depth)
            moved = np.where(np.isfinite(depth) & (depth > 0), self.moved + _top(self), 0)
            return exponentials(depth, moved + SURE * depth)

    def fates(self) -> Fates:
        """Give the fates as :mod:`sampler_parity.judge.final` takes them."""
        shares = self.shares()
        seals = Seals(self.kept, self.dropped | (shares.value == 0), ranked=self.kept)
        return Fates(
            seal=lambda _: seals,
            scaled=np.where(self.dropped, -np.inf, self.log),
            shares=shares,
            common=common_error(shares),
            unrounded=np.zeros((*self.log.shape[:-1], 1), bool),
            top_p=0.0,
            right=self.right,
        )


def _top(rows: Folded) -> Wide:
    """Bound how far the largest logarithm moves, [B, 1]: differences are taken from it."""
    with np.errstate(all="ignore"):
        at = np.where(rows.dropped, -np.inf, rows.log).argmax(axis=-1)
    found: Wide = np.take_along_axis(rows.moved, at[..., None], axis=-1)
    return found


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Of probabilities [B, V]: what f32 may have for each, and for a sum of many, [B, 1].

    Where a row has 2^n equal largest weights and nothing beside them that a sum could show, nothing
    is rounded (see :func:`sampler_parity.pipelines.fates.fates`).
    """

    low: Wide
    value: Wide
    high: Wide
    slack: Wide


def _bounds(rows: Folded, *, whole: bool = False) -> _Bounds:
    shares = rows.shares(whole=whole)
    common = common_error(shares)
    with np.errstate(all="ignore"):
        loose = np.where(rows.open & (not whole), shares.high, 0).sum(axis=-1, keepdims=True)
        low = np.maximum(shares.low * (1 - common) - shares.tiny, 0)
        high = (shares.high * (1 + common) + shares.tiny) / np.maximum(1 - loose, 2.0**-60)
        count = (shares.high > TINY / 4).sum(axis=-1, keepdims=True)
        top = shares.value.max(axis=-1, keepdims=True)
        equal = shares.value == top
        ones = equal.sum(axis=-1, keepdims=True)
        rest = np.where(equal, 0, shares.value / top).max(axis=-1, keepdims=True)
        exact = ((ones & (ones - 1)) == 0) & (rest < UNSEEN) & (loose == 0)
        slack = np.where(exact, 0, gamma(count + 2))
    sharp = exact & equal
    return _Bounds(
        low=np.where(sharp, shares.value, low),
        value=shares.value,
        high=np.where(sharp, shares.value, high),
        slack=slack,
    )


def least_mass(rows: Folded) -> Wide:
    """Give the least that the sum of a whole row's probabilities may be as f32 adds it, [B, 1]."""
    bounds = _bounds(rows, whole=True)
    found: Wide = np.where(bounds.slack == 0, 1.0, bounds.low.sum(axis=-1, keepdims=True))
    return found - bounds.slack


def start(logits: Any) -> Folded:
    """Begin with logits, f32 [B, V] or [V], or with scores that are given: they are exact."""
    log = np.atleast_2d(logits).astype(np.float64)
    masked = log == -np.inf
    return Folded(log=log, moved=np.zeros_like(log), kept=~masked, dropped=masked)


def scale(rows: Folded, temperature: float) -> Folded:
    """Divide logarithms by the temperature, or multiply by its reciprocal.

    What a cut before it says of how many it keeps holds where what it keeps still shows.
    """
    if temperature == 1.0:
        return rows
    with np.errstate(all="ignore"):
        log = rows.log / np.float64(temperature)
        error = scale_error(temperature)
        moved = rows.moved / abs(temperature) * (1 + error) + error * np.abs(log) + 4 * TINY
    found = rows.changed(log, np.where(np.isfinite(log), moved, 0))
    if not rows.right:
        return found
    hidden: Mask = np.any(~found.dropped & ~found.fates().visible, axis=-1)
    return replace(found, right=tuple(_unless(hidden, right) for right in rows.right))


def _unless(hidden: Mask, right: Right) -> Right:
    def found(mask: Mask) -> Mask:
        either: Mask = hidden | right(mask)
        return either

    return found


def softmax(rows: Folded) -> Folded:
    """Take probabilities, whose own rounding may order two of them otherwise, or make them equal.

    Equal weights stay equal.
    """
    shares = rows.shares(whole=True)
    with np.errstate(all="ignore"):
        own = np.log(shares.high / shares.low) + np.log1p(2 * shares.tiny / shares.value)
        moved = np.where(shares.value > 0, np.minimum(own, MOST), 0)
    return rows.changed(rows.log, np.where(np.isfinite(rows.log), rows.moved + moved, 0))


def power(rows: Folded, exponent: float) -> Folded:
    """Raise probabilities to a power, of which 1 / T is rounded to f32 or not.

    A probability's own errors are multiplied by the exponent; the power adds some ulps.
    """
    shares = rows.shares(whole=True)
    with np.errstate(all="ignore"):
        own = np.where(shares.value > 0, shares.high / shares.value - 1, 0) + gamma(OWN)
        # What a row's probabilities share is a factor that the power keeps a factor.
        depth = np.abs(np.log(shares.value))
        moved = own * exponent + (4 * U * exponent) * (depth + 1) + gamma(OWN)
        log = np.log(shares.value) * exponent
        # Denormal numbers have lost bits, before the power and after it; what is lost altogether in
        # f32 is kept in f64.
        moved = moved + exponent * np.log1p(2 * shares.tiny / shares.value)
        moved = np.minimum(moved + np.log1p(2 * TINY / np.exp(log)), MOST)
        gone = (log < np.log(8 * TINY)) | (shares.value < 2 * shares.tiny)
    found = rows.changed(log, np.where(np.isfinite(log), moved, 0))
    return replace(found, kept=found.kept & ~gone)


def penalise(rows: Folded, history: Any, penalty: float) -> Folded:
    """Divide positive logits of tokens that were seen by the penalty, and multiply the others.

    Raises:
        IndexError: a token of the history is none of the vocabulary.
    """
    seen = np.zeros(rows.log.shape, bool)
    for row, tokens in zip(seen, np.atleast_2d(history), strict=True):
        row[tokens] = True
    with np.errstate(all="ignore"):
        log = np.where(rows.log < 0, rows.log * penalty, rows.log / penalty)
        log = np.where(seen, log, rows.log)
        own = np.where(seen, gamma(3) * np.abs(log) + 2 * TINY, 0)
    moved = rows.moved * max(penalty, 1 / penalty) + own
    return rows.changed(log, np.where(np.isfinite(log), moved, 0))


def subtract(rows: Folded, amounts: Wide, off: Wide) -> Folded:
    """Subtract numbers [B, V], each with its rounding off by up to ``off``."""
    with np.errstate(all="ignore"):
        log = rows.log - amounts
    return rows.changed(log, np.where(np.isfinite(log), rows.moved + off, 0))


def forbid(rows: Folded, tokens: Sequence[int]) -> Folded:
    """Drop tokens, as if their logits had been -inf.

    Raises:
        IndexError: one is none of the vocabulary.
    """
    gone = np.zeros_like(rows.dropped)
    gone[..., list(tokens)] = True
    cut = rows.cut(~gone, gone)
    return cut.changed(np.where(gone, -np.inf, rows.log), np.where(gone, 0, rows.moved))


def top_k(rows: Folded, k: int, *, exactly: bool = False) -> Folded:
    """Keep the k largest, and those tied with the k-th, or not more than k."""
    kept, dropped = np.ones_like(rows.kept), np.zeros_like(rows.dropped)
    for at in np.ndindex(rows.log.shape[:-1]):
        surely, possibly, equal = _ranks(rows, at)
        others = possibly if exactly else possibly - equal
        dropped[at] = surely >= k
        kept[at] = others <= k if exactly else others < k
    sealed = ~rows.open.any(axis=-1)
    most = np.minimum(k, (~rows.dropped).sum(axis=-1))

    def right(mask: Mask) -> Mask:
        count = mask.sum(axis=-1)
        # A probability may round to zero, which is kept and does not show.
        hidden = (~rows.dropped & ~mask & (_bounds(rows).low <= 0)).sum(axis=-1)
        found: Mask = ~sealed | (count <= most) & (count + hidden >= most)
        return found

    return rows.cut(kept, dropped, *([right] if exactly else []))


def _ranks(rows: Folded, at: tuple[int, ...]) -> tuple[Ranks, Ranks, Ranks]:
    """Say of a row's tokens how many are surely larger, possibly as large, and equal, [V] each.

    The token itself is among those possibly as large and equal.
    """
    log, moved = rows.log[at], rows.moved[at] + SURE * np.abs(rows.log[at])
    with np.errstate(all="ignore"):
        moved = np.where(np.isfinite(moved), moved, np.where(log == -np.inf, 0, np.inf))
        low, high = log - moved, log + moved
    low = np.where(rows.dropped[at], -np.inf, np.where(np.isnan(low), -np.inf, low))
    high = np.where(rows.dropped[at], -np.inf, np.where(np.isnan(high), np.inf, high))
    sure = np.sort(-np.where(rows.kept[at], low, -np.inf))
    surely = np.searchsorted(sure, -high, side="left")
    possible = np.sort(-high[~rows.dropped[at]])
    possibly = np.searchsorted(possible, -low, side="right")
    values = np.sort(-log[~rows.dropped[at]])
    equal = np.searchsorted(values, -log, side="right") - np.searchsorted(values, -log, side="left")
    # Two that are equal are computed alike: neither is larger than the other.
    return np.minimum(surely, _first(values, -log)), np.maximum(possibly, equal), equal


def _first(ascending: Wide, of: Wide) -> Ranks:
    """Give how many of ``ascending`` are below each value."""
    return np.searchsorted(ascending, of, side="left")


def top_p(
    rows: Folded,
    p: float,
    *,
    reaching: bool = False,
    whole: bool = False,
    ties: bool = False,
    shifted: bool = True,
) -> Folded:
    """Keep the largest until their sum exceeds p; the one that crosses stays.

    Args:
        rows: the rows.
        p: the mass of the nucleus.
        reaching: whether a sum of exactly p ends it, and not only one that exceeds it.
        whole: whether probabilities are measured on the whole row's mass.
        ties: whether what is equal to the token that crosses stays as well.
        shifted: whether the one that crosses stays, which the largest does anyhow.
    """
    bounds = _bounds(rows, whole=whole)
    lowest, highest = (float(limit) for limit in limits(p))
    kept, dropped = np.ones_like(rows.kept), np.zeros_like(rows.dropped)
    for at in np.ndindex(rows.log.shape[:-1]):
        slack = float(bounds.slack[at][0])
        order = np.argsort(-rows.log[at], kind="stable")
        order = order[~rows.dropped[at][order]]
        log = rows.log[at][order]
        with np.errstate(all="ignore"):
            moved = rows.moved[at][order] + SURE * np.abs(log)
        low = np.minimum.accumulate(log - moved) if len(log) else log
        high = np.maximum.accumulate((log + moved)[::-1])[::-1]
        equal_first = np.searchsorted(-log, -log, side="left")
        equal_last = np.searchsorted(-log, -log, side="right")
        surely = np.minimum(np.searchsorted(-low, -high, side="left"), equal_first)
        possibly = np.maximum(np.searchsorted(-high, -low, side="right"), equal_last)
        p_low = np.where(rows.kept[at][order], bounds.low[at][order], 0)
        p_high = bounds.high[at][order]
        sums_low = np.concatenate([[0.0], np.cumsum(p_low)])
        sums_high = np.concatenate([[0.0], np.cumsum(p_high)])
        before = sums_low[surely] - slack
        others = sums_high[possibly] - p_high + slack
        if ties:
            # All of equal tokens share the fate of the first of them.
            alone = possibly == equal_last
            others = np.where(alone, sums_high[equal_first] + slack, others)
        if not shifted:
            before = before + bounds.low[at][order]
            others = others + p_high
        gone = before >= highest if reaching else before > highest
        stay = others < lowest if reaching else others <= lowest
        first = (possibly <= 1) | (ties & (equal_first == 0) & (possibly == equal_last))
        dropped[at][order] = gone & (surely > 0)
        kept[at][order] = stay | first
    ends = _ends(rows, bounds, p, reaching=reaching, shifted=shifted)
    return rows.cut(kept, dropped, *([] if ties else [ends]))


def _ends(rows: Folded, bounds: _Bounds, p: float, *, reaching: bool, shifted: bool) -> Right:
    """Say of a nucleus whether it ends where it must, in whatever order equal tokens are.

    Without its least token it has not come to p, and with it it has, or nothing is left. Where the
    token that crosses goes, the one that would come next takes its place.
    """
    lowest, highest = (float(limit) for limit in limits(p))

    def right(mask: Mask) -> Mask:
        with np.errstate(all="ignore"):
            value = np.where(mask, bounds.value, 0)
            mass = value.sum(axis=-1)
            least = np.where(mask, bounds.value, np.inf).min(axis=-1, initial=np.inf)
            own = np.where(mask, bounds.high - bounds.value, 0)
            slack = own.sum(axis=-1) + 2 * own.max(axis=-1, initial=0) + bounds.slack[..., 0]
            slack = slack + np.where(rows.open, bounds.high, 0).sum(axis=-1)
            if shifted:
                under, over = mass - least - slack, mass + slack
            else:
                left = ~rows.dropped & ~mask
                after = np.where(left, bounds.high, 0).max(axis=-1, initial=0)
                under, over = mass - slack, mass + after + slack
            too_many = under >= highest if reaching else under > highest
            too_few = over < lowest if reaching else over <= lowest
        visible = bounds.low > 0
        # Of what an earlier cut has left open, nothing is sure to be left.
        more = (rows.kept & ~mask & visible).any(axis=-1)
        found: Mask = ~(too_many & (mask.sum(axis=-1) > 1) | too_few & more)
        return found

    return right


def min_p(rows: Folded, share: float) -> Folded:
    """Keep what is not below a share of the largest probability."""
    shares = rows.shares()
    with np.errstate(all="ignore"):
        # What is open may be the largest, or not be there.
        top_low = np.where(rows.kept, shares.low, 0).max(axis=-1, keepdims=True)
        top_high = shares.high.max(axis=-1, keepdims=True)
        error = gamma(4)
        low = (shares.low * (1 - error) - shares.tiny) / top_high
        high = (shares.high * (1 + error) + shares.tiny) / top_low
    largest = rows.largest
    lowest, highest = (float(limit) for limit in limits(share))
    return rows.cut((low >= highest) | (largest & rows.kept), (high < lowest) & ~largest)


def below(rows: Folded, threshold_low: Wide, threshold_high: Wide) -> Folded:
    """Keep what has at least a probability that lies within bounds [B, 1], and the largest."""
    bounds = _bounds(rows)
    largest = rows.largest
    kept = (bounds.low >= threshold_high) | (largest & rows.kept)
    return rows.cut(kept, (bounds.high < threshold_low) & ~largest)


def epsilon(rows: Folded, cutoff: float) -> Folded:
    """Keep what has at least the probability ``cutoff``, and the largest."""
    lowest, highest = limits(cutoff)
    ones = np.ones((*rows.log.shape[:-1], 1))
    return below(rows, ones * lowest, ones * highest)


def _entropy(rows: Folded) -> tuple[Wide, Wide, Wide, Wide]:
    """Give -log p and its error, [B, V], and the entropy and its error, [B, 1]."""
    shares = rows.shares()
    with np.errstate(all="ignore"):
        surprise = -np.log(shares.value)
        error = np.where(shares.value > 0, shares.high / shares.value - 1, 0) + common_error(shares)
        error = error + gamma(4) * (1 + np.abs(surprise))
        terms = np.where(shares.value > 0, shares.value * surprise, 0)
        entropy = terms.sum(axis=-1, keepdims=True)
        count = (shares.value > 0).sum(axis=-1, keepdims=True)
        own = np.where(shares.value > 0, shares.value * error * (1 + np.abs(surprise)), 0)
        off = own.sum(axis=-1, keepdims=True) + gamma(count + 4) * entropy
        # An open token adds at most its own term.
        loose = np.where(rows.open, terms + shares.high, 0).sum(axis=-1, keepdims=True)
    return surprise, error, entropy, off + 4 * loose


def eta(rows: Folded, cutoff: float) -> Folded:
    """Keep what has at least min(cutoff, sqrt(cutoff) exp(-entropy)), and the largest."""
    _, __, entropy, off = _entropy(rows)
    with np.errstate(all="ignore"):
        low = np.sqrt(cutoff) * np.exp(-entropy - off) * (1 - gamma(8))
        high = np.sqrt(cutoff) * np.exp(-entropy + off) * (1 + gamma(8))
    lowest, highest = limits(cutoff)
    return below(rows, np.minimum(low, lowest), np.minimum(high, highest))


def distances(rows: Folded) -> tuple[Wide, Wide]:
    """Give how far each surprise is from the entropy, and how far rounding moves that, [B, V]."""
    surprise, error, entropy, off = _entropy(rows)
    with np.errstate(all="ignore"):
        return (
            np.abs(surprise - entropy),
            error + off + gamma(2) * (np.abs(surprise) + entropy),
        )


def typical(rows: Folded, mass: float, *, reaching: bool = True, ties: bool = True) -> Folded:
    """Keep the tokens whose surprise is nearest the entropy, until their sum comes to ``mass``.

    Args:
        rows: the rows.
        mass: what the sum comes to.
        reaching: whether a sum of exactly ``mass`` ends it, and not only one that exceeds it.
        ties: whether all whose distance equals that of the last one stay.
    """
    bounds = _bounds(rows)
    lowest, highest = (float(limit) for limit in limits(mass))
    kept, dropped = np.ones_like(rows.kept), np.zeros_like(rows.dropped)
    distance, wrong = distances(rows)
    for at in np.ndindex(rows.log.shape[:-1]):
        tokens = np.flatnonzero(~rows.dropped[at] & np.isfinite(distance[at]))
        at_token, off_by = distance[at][tokens], wrong[at][tokens]
        near, far = at_token - off_by, at_token + off_by
        slack = float(bounds.slack[at][0])
        p_low = np.where(rows.kept[at], bounds.low[at], 0)[tokens]
        p_high = bounds.high[at][tokens]
        by_far, by_near = np.argsort(far, kind="stable"), np.argsort(near, kind="stable")
        sums_low = np.concatenate([[0.0], np.cumsum(p_low[by_far])])
        sums_high = np.concatenate([[0.0], np.cumsum(p_high[by_near])])
        before = sums_low[np.searchsorted(far[by_far], near, side="left")] - slack
        upto = sums_high[np.searchsorted(near[by_near], far, side="right")] - p_high + slack
        nearest = np.searchsorted(near[by_near], far, side="right") <= 1
        # Equal weights are computed alike: they share one distance, and, if ties stay, one fate.
        same = _of_equals(rows.log[at][tokens], p_high) if ties else 0.0
        dropped[at][tokens] = before >= highest if reaching else before > highest
        kept[at][tokens] = (upto - same < lowest if reaching else upto <= lowest) | nearest
    return rows.cut(kept, dropped)


def _of_equals(log: Wide, high: Wide) -> Wide:
    """Give, for each token, the sum of the others' bounds that have its very weight."""
    order = np.argsort(log, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(high[order])])
    values = log[order]
    first = np.searchsorted(values, log, side="left")
    last = np.searchsorted(values, log, side="right")
    found: Wide = sums[last] - sums[first] - high
    return found
