"""Which tokens every correct sampler keeps, and which none does.

Somebody who sees a sampler's final distribution, or only its tokens, does not see the probabilities
that its masks were cut from. But however it rounds, they are within a bound of the exact ones, and
so is every sum that it compares with ``top_p``. Where the bound leaves no doubt, a token's fate is
sealed; where it does, either is correct.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from sampler_parity.pipelines.exact import (
    F32,
    TINY,
    UNSEEN,
    Mask,
    Shares,
    Wide,
    exponentials,
    gamma,
    rows_of,
    scale_error,
)


class Truncation(Protocol):
    """Parameters of a sampler that scales, takes the softmax, and cuts by top-k, then top-p."""

    @property
    def temperature(self) -> float:
        """The divisor of the logits."""

    @property
    def top_p(self) -> float:
        """The mass of the nucleus; off where it is not > 0."""

    @property
    def top_k(self) -> int:
        """How many tokens stay, ties included; off where it is not > 0."""


Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Seals:
    """Which fates are sealed, of every token of a batch, [B, V].

    Attributes:
        kept: every correct sampler keeps it.
        dropped: none does, or its probability is zero.
        ranked: every correct sampler's top-k keeps it.
    """

    kept: Mask
    dropped: Mask
    ranked: Mask


@dataclass(frozen=True)
class Fates:
    """Of every token of a batch, [B, V].

    Attributes:
        seal: works out which fates are sealed: once, for the first who asks.
        scaled: the exact scaled logits; equal where every correct sampler has equal probabilities.
        shares: the exact probabilities before truncation, and how far rounding moves their ratios.
        common: bound on the relative error that a row's probabilities share, [B, 1].
        unrounded: whether nothing is rounded in a row, up to where its sums are 1, [B, 1].
        top_p: the mass of the nucleus.
        right: of other cuts, each says which rows of masks, bool [B], keep as many of equal tokens
            as the cut can.
    """

    seal: Callable[["Fates"], Seals]
    scaled: Wide
    shares: Shares
    common: Wide
    unrounded: Mask
    top_p: float
    right: tuple[Callable[[Mask], Mask], ...] = ()

    @cached_property
    def _seals(self) -> Seals:
        return self.seal(self)

    @property
    def kept(self) -> Mask:
        """Mark what every correct sampler keeps."""
        return self._seals.kept

    @property
    def dropped(self) -> Mask:
        """Mark what none keeps, or with a probability of zero."""
        return self._seals.dropped

    @property
    def ranked(self) -> Mask:
        """Mark what every correct sampler's top-k keeps."""
        return self._seals.ranked

    @property
    def visible(self) -> Mask:
        """Mark the tokens whose probability is not zero, however it is rounded."""
        found: Mask = self.shares.low * (1 - self.common) > 2 * self.shares.tiny
        return found

    @property
    def error(self) -> Wide:
        """Bound each probability's relative error, its own and what its row shares, [B, V]."""
        with np.errstate(all="ignore"):
            high = self.shares.high * (1 + self.common) + self.shares.tiny
            found: Wide = high / self.shares.value - 1
        return found

    def cut_right(self, kept: Mask) -> Mask:
        """Whether some order of equal tokens makes each row's nucleus ``kept``, bool [B].

        Without its least token, a nucleus has not exceeded ``top_p``; with it, it has, or there is
        nothing left to add. That holds in any order, and says how many of equal tokens stay. Which
        token is the least is in doubt by the errors of two.
        """
        with np.errstate(all="ignore"):
            values = np.where(kept, self.shares.value, 0)
            mass = values.sum(axis=-1, keepdims=True)
            least = np.where(kept, values, np.inf).min(axis=-1, keepdims=True, initial=np.inf)
            own = self.shares.high - self.shares.value + self.shares.tiny
            own = np.where(kept & ~self.unrounded_tokens, own, 0)
            count = kept.sum(axis=-1, keepdims=True).astype(np.float64)
            summed = np.where(self.unrounded, 0, self.common + gamma(count))
            slack = mass * summed + own.sum(axis=-1, keepdims=True)
            slack += 2 * own.max(axis=-1, keepdims=True, initial=0)
            lowest, highest = limits(self.top_p)
            too_many = (mass - least) - slack > highest
            too_few = mass + slack <= lowest
        more = (self.ranked & ~kept & self.visible).any(axis=-1, keepdims=True)
        right: Mask = ~(too_many & (count > 1) | too_few & more)[..., 0]
        return right

    @property
    def unrounded_tokens(self) -> Mask:
        """Mark the tokens that make up the sum of a row where nothing is rounded."""
        found: Mask = self.unrounded & (self.scaled == self.scaled.max(axis=-1, keepdims=True))
        return found

    def renormalized(self, kept: Mask) -> Shares:
        """Bound kept / sum(kept): two more roundings of each, and those of the sum."""
        with np.errstate(all="ignore"):
            value, low, high = (
                np.where(kept, array, 0)
                for array in (self.shares.value, self.shares.low, self.shares.high)
            )
            mass = value.sum(axis=-1, keepdims=True)
            count = kept.sum(axis=-1, keepdims=True).astype(np.float64)
            value, low, high = value / mass, low / mass, high / mass
            tiny = 2 * self.shares.tiny / mass + 2 * TINY
            spread = (high - value).sum(axis=-1, keepdims=True)
            return Shares(
                value=value,
                low=low * (1 - gamma(2)),
                high=high * (1 + gamma(2)),
                tiny=tiny,
                total=gamma(count + 4 + 4 * np.log(count)) + spread + count * tiny,
            )


def common_error(shares: Shares) -> Wide:
    """Bound what a row's probabilities share: the relative error of their sum, [..., 1]."""
    with np.errstate(all="ignore"):
        spread = (shares.high - shares.value).sum(axis=-1, keepdims=True)
        added = (shares.high > TINY / 4).sum(axis=-1, keepdims=True)
        summed = gamma(added + 2 - 4 * np.log(shares.value.max(axis=-1, keepdims=True)))
        found: Wide = np.where(spread < 1, (1 + summed) / (1 - spread) - 1, np.inf)
    return found


def fates(logits: F32, parameters: Truncation) -> Fates:
    """Work out every token's fate, for temperatures other than zero.

    A scaled logit is off by three roundings (:func:`~sampler_parity.pipelines.exact.scale_error`),
    which moves its exponential by as much, relatively; so is the largest one, which is taken from
    it. The rest is the bound of :func:`~sampler_parity.pipelines.exact.exponentials`.

    Tokens whose exponential is 1 in any arithmetic of up to 64 bits are equal to the largest:
    those with its logit, and all of them where a temperature makes the row flat. Where a row has
    2^n such tokens and nothing beside them that a sum could show, its sum is 2^n, each of them has
    the probability 2^-n, and every sum of those is exact: no arithmetic that computes exp(x - max)
    and divides by the sum rounds anything, and no cutoff is in doubt.
    """
    with np.errstate(all="ignore"):
        scaled = logits.astype(np.float64) / np.float64(parameters.temperature)
        error = scale_error(parameters.temperature)
        top = scaled.max(axis=-1, keepdims=True)
        moved: Wide = np.zeros_like(scaled)
        if error:
            moved = error * (np.abs(scaled) + np.abs(top)) + 4 * TINY
        ones = (scaled == top) | (top - scaled + moved < UNSEEN)
        scaled = np.where(ones, top, scaled)
        shares = exponentials(top - scaled, np.where(ones, 0, moved))
        count = ones.sum(axis=-1, keepdims=True)
        beside = np.where(ones, 0, shares.high).sum(axis=-1, keepdims=True)
        unrounded = (count & (count - 1) == 0) & (beside < UNSEEN)
        return Fates(
            seal=lambda found: _sealed(found, parameters),
            scaled=scaled,
            shares=shares,
            common=common_error(shares),
            unrounded=unrounded,
            top_p=parameters.top_p,
        )


def _sealed(fate: Fates, parameters: Truncation) -> Seals:
    """Say which fates top-k, then top-p, seal.

    Of a probability, one pair of bounds holds where it is compared with another one of its row,
    and a wider one where it is added up and compared with ``top_p``: the row's common factor does
    not change the order of two, and does change their sum.
    """
    shares, sure = fate.shares, fate.unrounded_tokens
    order = np.argsort(-fate.scaled, axis=-1, kind="stable")
    # Where each row of a batch begins, when the rows stand one after the other.
    starts = np.arange(order.size // order.shape[-1]).reshape(*order.shape[:-1], 1)
    there = order + starts * order.shape[-1]

    def descending(end: Wide) -> Wide:
        found: Wide = np.where(sure, shares.value, end).reshape(-1)[there]
        return found

    with np.errstate(all="ignore"):
        own = shares.tiny * (2 + fate.common)
        # A bound that is not descending, where rounding leaves the order open, is made so: wider.
        least = np.minimum.accumulate(descending(shares.low - own), axis=-1)
        most = np.maximum.accumulate(descending(shares.high + own)[..., ::-1], axis=-1)[..., ::-1]
        low = descending(np.maximum(shares.low * (1 - fate.common) - shares.tiny, 0))
        above = np.where(shares.high > 0, shares.high * (1 + fate.common), 0)
        high = descending(above + shares.tiny)
    # How many others are surely, and how many possibly, larger.
    surely = _how_many_before(-least, -most, "left")
    possibly = _how_many_before(-most, -least, "right")
    kept, dropped = np.ones(order.shape, bool), np.zeros(order.shape, bool)
    if parameters.top_k > 0:
        # Equal scaled logits have equal probabilities: at the threshold, the rule keeps them all.
        scaled = -fate.scaled.reshape(-1)[there]
        equal = _how_many_before(scaled, scaled, "right")
        equal -= _how_many_before(scaled, scaled, "left")
        dropped = surely >= parameters.top_k
        kept = possibly - equal < parameters.top_k
    ranked = kept
    if parameters.top_p > 0:
        lowest, highest = limits(parameters.top_p)
        # Of a row where nothing rounds, sums do not either.
        roundings = gamma(np.arange(order.shape[-1] + 1.0) * ~fate.unrounded).reshape(-1)
        low, high = np.where(dropped, 0, low), np.where(dropped, 0, high)
        with np.errstate(invalid="ignore"):
            at = surely + starts * (order.shape[-1] + 1)
            before = _sums(low).reshape(-1)[at] * (1 - roundings[at])
            at = possibly + starts * (order.shape[-1] + 1)
            others = (_sums(high).reshape(-1)[at] - high) * (1 + roundings[at])
            dropped = dropped | (before > highest)
            kept = kept & ((others <= lowest) | (possibly <= 1))
    masks = np.empty((3, order.size), bool)
    masks[:, there.reshape(-1)] = [mask.reshape(-1) for mask in (kept, dropped, ranked)]
    kept, dropped, ranked = masks.reshape(3, *order.shape)
    return Seals(kept=kept, dropped=dropped | (shares.high == 0), ranked=ranked)


def _how_many_before(values: Wide, of: Wide, side: Literal["left", "right"]) -> Places:
    """See :func:`numpy.searchsorted`, of whose first argument each row [..., V] is another."""
    found = np.empty(of.shape, np.int64)
    for row, ours, theirs in rows_of(found, values, of):
        row[:] = np.searchsorted(ours, theirs, side)
    return found


def _sums(values: Wide) -> Wide:
    """Give the sums of the first n of each row [..., V], for every n from 0 to V."""
    zero = np.zeros((*values.shape[:-1], 1), np.float64)
    return np.concatenate([zero, np.cumsum(values, axis=-1)], axis=-1)


def limits(top_p: float) -> tuple[np.float64, np.float64]:
    """Give ``top_p`` as it is and rounded to f32, the smaller one first."""
    with np.errstate(over="ignore"):
        ends = sorted((np.float64(top_p), np.float64(np.float32(top_p))))
    return ends[0], ends[1]
