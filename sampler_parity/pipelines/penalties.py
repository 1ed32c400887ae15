"""Penalties that are subtracted for tokens that the history has: by presence and by frequency.

OpenAI's: a logit loses ``presence`` where its token has occurred, and ``frequency`` for every time.
RWKV's: what has occurred is forgotten step by step, a count is multiplied by ``decay`` before the
next token is counted (``rwkv.utils.PIPELINE.generate``). Both are one number, computed in f64 and
subtracted in f32.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sampler_parity.model.pipeline import HISTORY, LOGITS, Array, Stage, Values, Variation
from sampler_parity.pipelines import folding
from sampler_parity.pipelines.exact import TINY, Truth, Wide, gamma
from sampler_parity.pipelines.stages import Given, Operation, rounds, wrong

Counted = tuple[Wide, Array]
"""How often, and whether, each token has occurred: f64 and bool, [B, V]."""


def counted(
    history: Any,
    vocabulary: int,
    decay: float = 1.0,
    uncounted: Collection[int] = (),
    *,
    before: bool = True,
    kind: type[np.floating[Any]] = np.float64,
) -> Counted:
    """Count the tokens of histories, i64 [B, n].

    Args:
        history: the tokens.
        vocabulary: V.
        decay: what each count is multiplied by before a further token is counted, or, where not
            ``before``, after it.
        uncounted: tokens that occur and count nothing.
        before: when counts decay.
        kind: of numbers that counts are kept in.

    Raises:
        IndexError: a token is none of the vocabulary.
    """
    rows = np.atleast_2d(history)
    counts = np.zeros((len(rows), vocabulary), kind)
    seen = np.zeros(counts.shape, bool)
    for row, tokens in zip(seen, rows, strict=True):
        row[tokens] = True
    # The tokens of all rows at once: a row has 0 of those that it lacks, whatever decays.
    known, places = np.unique(rows, return_inverse=True)
    weights = np.array([token not in uncounted for token in known], kind)
    found, here = np.zeros((len(rows), len(known)), kind), np.arange(len(rows))
    for place in places.reshape(rows.shape).T:
        if before:
            found *= kind(decay)
        found[here, place] += weights[place]
        if not before:
            found *= kind(decay)
    counts[:, known] = found
    return counts, seen


Amount = Callable[[Wide, Array, Any], Wide]
"""What is subtracted, [B, V], of counts, whether a token has occurred, and parameters."""


@dataclass(frozen=True, slots=True)
class _Penalty:
    """The arithmetic of :func:`occurrences`, whose arguments these are."""

    presence: str
    frequency: str
    decay: str | None
    uncounted: Collection[int]
    reads: str

    def once(self, p: Any) -> float:
        return float(getattr(p, self.presence))

    def often(self, p: Any) -> float:
        return float(getattr(p, self.frequency))

    def by(self, p: Any) -> float:
        return 1.0 if self.decay is None else float(getattr(p, self.decay))

    def counts(self, history: Any, vocabulary: int, p: Any, **changes: Any) -> Counted:
        given = {"decay": self.by(p), "uncounted": self.uncounted, **changes}
        return counted(history, vocabulary, **given)

    def both(self, counts: Wide, seen: Array, p: Any) -> Wide:
        found: Wide = np.where(seen, self.once(p) + counts * self.often(p), 0)
        return found

    def less(self, amount: Amount, *, wide: bool = False, **changes: Any) -> Operation:
        """Subtract an amount: in f32, or ``wide``."""

        def reference(tensors: Given, p: Any, _: Any) -> Any:
            import torch

            x = tensors[self.reads]
            counts, seen = self.counts(tensors[HISTORY].numpy(), x.shape[-1], p, **changes)
            found = torch.from_numpy(amount(counts, seen, p)).reshape(x.shape)
            return (x.double() - found).float() if wide else x - found.float()

        return reference

    def one_by_one(self, tensors: Given, p: Any, _: Any) -> Any:
        frequent = self.less(lambda counts, _, p: counts * self.often(p))(tensors, p, _)
        present = self.less(lambda _, seen, p: seen * self.once(p))
        return present({**tensors, self.reads: frequent}, p, _)

    def bounded(self, x: Wide, history: Any, p: Any) -> tuple[Wide, Wide]:
        """Give what is subtracted, and how far all of it rounds, [B, V].

        Rounded are the parameters, a count at each step, the product, the sum, and differences.
        """
        counts, seen = self.counts(history, x.shape[-1], p)
        steps = 3 * np.atleast_2d(history).shape[-1] if self.by(p) != 1.0 else 0
        with np.errstate(all="ignore"):
            size = abs(self.once(p)) + counts * abs(self.often(p))
            off = gamma(6 + steps) * size + gamma(2) * (np.abs(x) + size) + 2 * TINY
        return self.both(counts, seen, p), np.where(seen & np.isfinite(x), off, 0)

    def truth(self, given: Values, p: Any, _: Any) -> Truth:
        x = np.atleast_2d(given[self.reads])
        amounts, off = self.bounded(x.astype(np.float64), given[HISTORY], p)
        shape = given[self.reads].shape
        exactly = x.astype(np.longdouble) - amounts
        return Truth(exactly.reshape(shape), off.astype(np.longdouble).reshape(shape))

    def fold(self, rows: folding.Folded, p: Any, history: Any) -> folding.Folded:
        if history is None:
            return rows
        return folding.subtract(rows, *self.bounded(rows.log, history, p))

    def variations(self) -> Iterator[Variation]:
        less, both, once, often = self.less, self.both, self.once, self.often
        yield wrong("penalties forgotten", lambda x, _, __: x[self.reads].clone())
        yield wrong("penalties are added", less(lambda counts, seen, p: -both(counts, seen, p)))
        yield wrong(
            "presence for every time", less(lambda counts, _, p: counts * (once(p) + often(p)))
        )
        yield wrong("frequency once", less(lambda _, seen, p: seen * (once(p) + often(p))))
        yield wrong(
            "presence and frequency swapped",
            less(lambda counts, seen, p: np.where(seen, often(p) + counts * once(p), 0)),
        )
        yield rounds("one penalty after the other", self.one_by_one)
        yield rounds("in f64", less(both, wide=True))
        if self.decay is not None:
            yield wrong("nothing decays", less(both, decay=1.0))
            yield wrong("the last token decays as well", less(both, before=False))
            yield rounds("counts in f32", less(both, kind=np.float32))
        if self.uncounted:
            yield wrong("every token is counted", less(both, uncounted=()))


def occurrences(
    presence: str = "presence_penalty",
    frequency: str = "frequency_penalty",
    decay: str | None = None,
    uncounted: Collection[int] = (),
    reads: str = LOGITS,
) -> Stage:
    """Subtract ``presence`` + count * ``frequency`` from the logits of tokens that have occurred.

    Args:
        presence: the parameter of that name.
        frequency: likewise.
        decay: the parameter that counts are multiplied by at each step; without it, none decays.
        uncounted: tokens that occur, and are counted 0 times: ``presence`` is subtracted alone.
        reads: the logits or scores.
    """
    penalty = _Penalty(presence, frequency, decay, uncounted, reads)
    return Stage(
        "less_frequent",
        "the logits less penalties for tokens that occurred, and for how often",
        "numbers",
        (reads, HISTORY),
        penalty.less(penalty.both),
        truth=penalty.truth,
        fold=penalty.fold,
        off=lambda p: not (penalty.once(p) or penalty.often(p)),
        variations=tuple(penalty.variations()),
    )
