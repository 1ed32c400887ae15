"""Differences that are declared before any draw: what a test must be able to see."""

from dataclasses import dataclass

import numpy as np

from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.law import Law, Subject, distance, normalised

TEMPERATURE = 0.01
TAIL = 0.01
SWAPPED_RANKS = 16


@dataclass(frozen=True, slots=True)
class Alternative:
    """A law that is not the reference's, with its words."""

    words: str
    law: Law


def declared(subject: Subject) -> tuple[Alternative, ...]:
    """Give the differences that a subject's test is built for; those that make none are left out.

    A temperature off by 1 % either way, 1 % of the tail deleted, the rarest token never drawn, and
    each pair of neighbours in rank swapped, among the most probable tokens; and where tokens are
    tied at a cutoff, more or fewer of them kept than the reference keeps.
    """
    law = subject.law
    found = [
        Alternative(f"temperature {change:+.0%}", subject.mistempered(1 + change))
        for change in (TEMPERATURE, -TEMPERATURE)
    ]
    if len(law.drawable) > 1:
        found.append(Alternative(f"{TAIL:.0%} of the tail deleted", without_tail(law, TAIL)))
        rarest = law.drawable[-1]
        if not any(rarest in tie.tokens for tie in law.tied):
            words = f"token {rarest}, the rarest, never drawn"
            found.append(Alternative(words, without_tail(law, 0.0)))
    found += _of_ties(law)
    found += _of_top_k(subject)
    found += [
        Alternative(f"tokens {one} and {other} swapped", swapped(law, one, other))
        for one, other in swaps(law)
    ]
    return tuple(each for each in found if distance(each.law, law) > _NOTHING)


def _of_ties(law: Law) -> list[Alternative]:
    """Keep all tokens tied at top-p's cutoff, one more, or one fewer, than there is room for."""
    found = []
    for tie in law.tied:
        if tie.room is None:
            continue
        size = len(tie.tokens)
        for words, kept in (
            (f"all {size} tokens tied at top-p's cutoff kept, for {tie.room}", size),
            (f"one more kept of {size} tokens tied at top-p's cutoff", tie.room + 1),
            (f"one fewer kept of {size} tokens tied at top-p's cutoff", tie.room - 1),
        ):
            weights = law.probabilities.copy()
            share = weights[tie.tokens].sum() / tie.room
            weights[tie.tokens] = share * (np.arange(size) < kept)
            found.append(Alternative(words, normalised(weights)))
    return found


def _of_top_k(subject: Subject) -> list[Alternative]:
    """Keep exactly k, where the reference keeps every token tied with the k-th."""
    level = subject.tied_at_top_k
    if not len(level):
        return []
    top_k = getattr(subject.parameters, "top_k", 0)
    surplus = len(subject.law.drawable) - top_k
    weights = subject.law.probabilities.copy()
    weights[level[-surplus:]] = 0
    words = f"exactly {top_k} kept, without {surplus} of {len(level)} tied at top-k's threshold"
    return [Alternative(words, normalised(weights))]


_NOTHING = 1e-9
"""Total-variation distance below which two laws are one: equal probabilities swapped."""


def tail(law: Law, share: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Give the least probable tokens that make up at most ``share`` together, at least one.

    Raises:
        StatisticsError: the law has one token only.
    """
    ranked = law.drawable
    if len(ranked) < 2:  # noqa: PLR2004  (one token has no tail)
        raise StatisticsError("a law of one token has no tail")
    from_the_end = np.cumsum(law.probabilities[ranked[::-1]])
    kept_out = max(1, int(np.searchsorted(from_the_end, share, side="right")))
    return ranked[len(ranked) - min(kept_out, len(ranked) - 1) :]


def without_tail(law: Law, share: float) -> Law:
    """Delete the tail and give its mass to the others in proportion."""
    weights = law.probabilities.copy()
    weights[tail(law, share)] = 0
    return normalised(weights)


def swapped(law: Law, one: int, other: int) -> Law:
    """Exchange two tokens."""
    weights = law.probabilities.copy()
    weights[[one, other]] = weights[[other, one]]
    return normalised(weights)


def swaps(law: Law) -> list[tuple[int, int]]:
    """Give the neighbours in rank that differ by a tenth or more, among the first 16 ranks.

    Swapping two tokens of nearly equal probability is no difference that any frequency shows.
    """
    ranked = law.drawable[:SWAPPED_RANKS]
    p = law.probabilities[ranked]
    differ = np.flatnonzero(p[1:] <= 0.9 * p[:-1])
    return [(int(ranked[rank]), int(ranked[rank + 1])) for rank in differ]
