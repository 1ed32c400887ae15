"""The candidates of a row, as llama.cpp's samplers cut and order them.

The arithmetic is f32, in the package's order of operations, with exponentials and logarithms that
are rounded once, as glibc's nearly always are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.pipelines.libstdcxx import partial_sort, sort

Array = npt.NDArray[Any]
f32 = np.float32

MANY, LONG, AT_FIRST = 128, 1024, 256
"""More than ``MANY`` are sorted by as many buckets; of more than ``LONG``, the nucleus is sought
among the first ``AT_FIRST`` at first."""


class Candidates:
    """A row's candidates, in the order in which the package has them.

    Attributes:
        scores: the logits after penalties, f32 [V].
        tokens: those that are left, i64 [n]. Tokens of -inf are candidates as well.
        ordered: whether they descend.
    """

    def __init__(self, scores: Array) -> None:
        """Begin with all tokens of a row [V].

        Raises:
            ValueError: a logit is no number, of which C++ defines no order.
        """
        if np.isnan(scores).any():
            raise ValueError("a logit is no number, of which no order is known")
        self.scores = scores
        self.tokens = np.arange(len(scores))
        self.ordered = False

    @property
    def mask(self) -> Array:
        """The candidates that are not -inf, bool [V]."""
        found = np.zeros(len(self.scores), bool)
        found[self.tokens] = self.scores[self.tokens] > -np.inf
        return found

    def probabilities(self) -> Array:
        """Give the softmax of the candidates, f32 [n]: the sum is added up in their order."""
        return softmax(self.scores[self.tokens])

    def _first(self, count: int) -> Array:
        """Give the first ``count`` in descending order, by a heap or, of many, by buckets."""
        keys = -self.scores[self.tokens]
        # Of those that are -inf, the order matters where there are no others.
        none = not (keys < np.inf).any()
        if count <= MANY:
            first: Array = self.tokens[partial_sort(keys, count, replayed=none)]
            return first
        with np.errstate(over="ignore"):
            bucket = np.clip((-keys * f32(6.4) + f32(64)).astype(f32), 0, MANY - 1).astype(int)
        sizes = np.bincount(bucket, minlength=MANY)
        found: list[Array] = []
        for at in range(MANY - 1, -1, -1):
            inside = np.flatnonzero(bucket == at) if sizes[at] else np.empty(0, int)
            wanted = count - sum(map(len, found))
            if len(inside) >= wanted:
                found.append(inside[partial_sort(keys[inside], wanted, replayed=none)])
                break
            found.append(inside[sort(keys[inside], replayed=none)])
        several: Array = self.tokens[np.concatenate(found)]
        return several

    def _order(self) -> None:
        if not self.ordered:
            self.tokens, self.ordered = self._first(len(self.tokens)), True

    def top_k(self, k: int) -> None:
        """Leave the first k; all where k is not > 0."""
        if k > 0:
            count = min(k, len(self.tokens))
            self.tokens, self.ordered = self._first(count), True

    def typical(self, mass: float) -> None:
        """Leave those whose surprise is nearest the entropy, until their sum exceeds the mass.

        Where a probability is zero, the entropy is no number, and no candidate is nearer to it
        than another: the order is what the sort makes of equal ones.
        """
        if mass >= 1:
            return
        self._order()
        probs = self.probabilities()
        with np.errstate(all="ignore"):
            surprise = -np.log(probs.astype(np.float64)).astype(f32)
            entropy = np.add.accumulate(probs * surprise, dtype=f32)[-1]
            nearest = sort(np.abs(surprise - entropy))
            over = np.add.accumulate(probs[nearest], dtype=f32) > f32(mass)
        count = int(over.argmax()) + 1 if over.any() else len(over)
        self.tokens, self.ordered = self.tokens[nearest[:count]], False

    def top_p(self, mass: float) -> None:
        """Leave the largest until their sum comes to the mass."""
        if mass >= 1:
            return
        probs = np.zeros(len(self.scores), f32)
        probs[self.tokens] = self.probabilities()
        order = self.tokens
        if not self.ordered:
            long = len(order) > LONG
            order = self._first(AT_FIRST if long else len(order))
        reached = np.add.accumulate(probs[order], dtype=f32) >= f32(mass)
        if not reached.any() and len(order) < len(self.tokens):
            order = self._first(len(self.tokens))
            reached = np.add.accumulate(probs[order], dtype=f32) >= f32(mass)
        count = int(reached.argmax()) + 1 if reached.any() else len(order)
        self.tokens, self.ordered = order[:count], True

    def min_p(self, share: float) -> None:
        """Leave what is not below the largest score by more than the logarithm of the share."""
        if share > 0:
            if self.scores[self.tokens].max() == -np.inf:
                self._order()
            least = self.scores[self.tokens].max() + f32(np.log(np.float64(f32(share))))
            stay = self.scores[self.tokens] >= least
            if not stay.any():
                self._order()
                stay = np.arange(len(self.tokens)) == 0
            self.tokens = self.tokens[stay]

    def only(self, kept: Array) -> None:
        """Leave the finite ones that a mask [V] keeps, in their order where they are all here."""
        missing = kept.copy()
        missing[self.tokens] = False
        stay = kept[self.tokens] | np.isneginf(self.scores[self.tokens])
        self.tokens = np.concatenate([self.tokens[stay], np.flatnonzero(missing)])
        if self.ordered and missing.any():
            self.tokens = self.tokens[np.argsort(-self.scores[self.tokens], kind="stable")]


def softmax(scores: Array) -> Array:
    """Give probabilities of scores, f32 [n], with sums in f32 in this order."""
    with np.errstate(all="ignore"):
        weights = np.exp((scores - scores.max()).astype(np.float64)).astype(f32)
        found: Array = weights / np.add.accumulate(weights, dtype=f32)[-1]
    return found


@dataclass(frozen=True, slots=True)
class CutValues:
    """What the four cuts are given, in their order; each is off at 0 or 1.

    Attributes:
        rank: how many tokens top-k leaves.
        typicality: the mass of typical sampling.
        nucleus: the mass of top-p.
        share: of the largest probability, for min-p.
    """

    rank: int
    typicality: float
    nucleus: float
    share: float


Step = Callable[[Candidates, CutValues], None]

STEPS: tuple[Step, ...] = (
    lambda found, to: found.top_k(to.rank),
    lambda found, to: found.typical(to.typicality),
    lambda found, to: found.top_p(to.nucleus),
    lambda found, to: found.min_p(to.share),
)
"""The cuts, in the order of the chain."""

SHORT, LONG_ROW = 400, 10_000
"""The longest rows of which many, and of which a few are kept with what the cuts leave of them.

Every call of a case asks the same, and so does every mistake that is planted.
"""


@dataclass(frozen=True, slots=True)
class Left:
    """What the first cuts leave of a row.

    Attributes:
        tokens: the candidates, i64 [n], in their order.
        ordered: whether they descend.
        mask: the finite ones among them, bool [V].
    """

    tokens: Array
    ordered: bool
    mask: Array

    def candidates(self, scores: Array) -> Candidates:
        """Give them to be cut further."""
        found = Candidates.__new__(Candidates)
        found.scores, found.tokens, found.ordered = scores, self.tokens, self.ordered
        return found


def chain(scores: Array, to: CutValues) -> tuple[Left, ...]:
    """Give what is left of a row, f32 [V], before the first cut and after each.

    Raises:
        ValueError: a score is no number.
    """
    work = _of_short if len(scores) <= SHORT else _of_long if len(scores) <= LONG_ROW else _chain
    return work(scores.tobytes(), to)


def _chain(scores: bytes, to: CutValues) -> tuple[Left, ...]:
    found = Candidates(np.frombuffer(scores, f32))
    left = [_left(found)]
    for step in STEPS:
        step(found, to)
        left.append(_left(found))
    return tuple(left)


_of_short = lru_cache(maxsize=6000)(_chain)
_of_long = lru_cache(maxsize=64)(_chain)


def _left(found: Candidates) -> Left:
    return Left(found.tokens, found.ordered, found.mask)


def masks(scores: Array, to: CutValues) -> tuple[Array, ...]:
    """Give the finite candidates of a batch, bool [B, V], before the first cut and after each.

    Raises:
        ValueError: a score is no number.
    """
    work = _of_batch if scores.size <= LONG_ROW else _masks
    return work(scores.tobytes(), scores.shape[-1], to)


def _masks(scores: bytes, vocab: int, to: CutValues) -> tuple[Array, ...]:
    rows = [chain(row, to) for row in np.frombuffer(scores, f32).reshape(-1, vocab)]
    return tuple(np.stack([left.mask for left in lefts]) for lefts in zip(*rows, strict=True))


_of_batch = lru_cache(maxsize=64)(_masks)
