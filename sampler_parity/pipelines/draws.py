"""Which tokens a correct sampler may draw, from every token's fate and the generator itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sampler_parity.pipelines import numbers
from sampler_parity.pipelines.exact import LARGEST, TINY, Mask, Wide, gamma
from sampler_parity.pipelines.fates import Fates
from sampler_parity.pipelines.folding import Folded
from sampler_parity.pipelines.numbers import exponentials, uniform_of

DRAW = gamma(6)
"""Bounds the roundings from a probability to its quotient: its sum, the exponential, and casts."""


def ends(fate: Fates) -> tuple[Wide, Wide]:
    """Give the least and the most of each token's weight in any correct sampler, [B, V].

    A draw is decided by ratios. A denormal probability is off by ``tiny``; its quotient by a
    rounding of 2^-149 at q <= 37, the largest exponential of 53 bits.
    """
    shares, tiny = fate.shares, 50 * fate.shares.tiny
    low = np.where(fate.kept, shares.low * (1 - DRAW) - tiny, 0)
    high = np.where(fate.dropped, 0, shares.high * (1 + DRAW) + tiny)
    return low, high


def winners(low: Wide, high: Wide, generator: Any) -> Mask:
    """Mark what may have the largest p / q, with q exponential from torch's ``generator``.

    A token wins in some correct sampler if, at the upper end of its weight, it is not below a
    token at the lower end of its own. Weights are [V] or [B, V].
    """
    q = exponentials(low.shape, generator)
    with np.errstate(all="ignore"):
        found: Mask = ~(high / q < (low / q).max(axis=-1, keepdims=True))
    return found


def may_race(fate: Fates, drawn: Any, generator: Any) -> bool:
    """Whether each row's token may win the race of p / q."""
    low, high = ends(fate)
    return bool(winners(low, high, generator)[np.arange(len(low)), drawn].all())


def may_walk(fate: Fates, places: tuple[Wide, Wide], drawn: Any, generator: Any) -> bool:
    """Whether each row's token may be where the cumulative sum first exceeds one uniform.

    ``places`` are each token's least and most place in the walk, as
    :meth:`~sampler_parity.model.pipeline.InverseCdf.places` gives them.
    """
    low, high = ends(fate)
    low = np.maximum(low, 0)
    return all(
        _may_end(least, most, where, int(token), uniform_of(generator))
        for least, most, *where, token in zip(low, high, *places, drawn, strict=True)
    )


def _may_end(low: Wide, high: Wide, where: Sequence[Wide], token: int, uniform: float) -> bool:
    """Whether a walk with weights of these bounds, [V], may end at a token."""
    error = float(gamma(float((high > 0).sum() + 4))) + 4 * TINY
    before, after = surely_beside(where, token)
    other: Mask = np.arange(len(low)) != token
    # Whatever may be on either side is where it makes the token's own stretch the longest.
    least, rest = low[before].sum(), high[other & ~before].sum()
    most, further = high[other & ~after].sum(), low[after].sum()
    own = high[token]
    with np.errstate(all="ignore"):
        first = least / (least + own + rest)
        last = (most + own) / (most + own + further)
    return bool(first * (1 - error) - error <= uniform <= last * (1 + error) + error)


def surely_beside(where: Sequence[Wide], token: int) -> tuple[Mask, Mask]:
    """Mark what is surely before a token in a walk, and what is surely after it, bool [V] each.

    ``where`` are a row's least and most places.
    """
    least, most = where
    return most < least[token], least > most[token]


def _scores(rows: Folded, further: float) -> tuple[Wide, Wide]:
    """Give the least and the most of each score, [B, V]; adding up to ``further`` rounds too."""
    with np.errstate(all="ignore"):
        # What is beyond f32 is an infinity there, as large as any other; a mask stays one.
        within = np.clip(rows.log, -LARGEST, LARGEST)
        value = np.where(rows.dropped | (rows.log == -np.inf), -np.inf, within)
        slack = rows.moved + gamma(2) * (np.abs(value) + further)
        slack = np.where(np.isfinite(slack), slack, 0) + 4 * TINY
        low = np.where(rows.kept, value - slack, -np.inf)
        return low, value + slack


def never_largest(rows: Folded, noise: float) -> Mask:
    """Mark the tokens whose score is further below the largest one than noise reaches.

    Where nothing is left, all scores are -inf, and any of them is the largest.
    """
    low, high = _scores(rows, noise)
    nothing = rows.dropped.all(axis=-1, keepdims=True)
    found: Mask = rows.dropped | ~(high + noise >= low.max(axis=-1, keepdims=True))
    return found & ~nothing


def may_be_largest(rows: Folded, drawn: Any, noise: float, generator: Any) -> bool:
    """Whether each row's token may have the largest score with noise of torch's generator."""
    added = numbers.noise(rows.log.shape, noise, generator)
    low, high = _scores(rows, noise)
    with np.errstate(all="ignore"):
        possible = high + added >= (low + added).max(axis=-1, keepdims=True)
        possible = possible & ~rows.dropped | rows.dropped.all(axis=-1, keepdims=True)
    return bool(possible[np.arange(len(added)), drawn].all())
