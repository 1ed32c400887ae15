"""What was drawn and what was not: outside the mask, left out, or tied at a cutoff.

A token that no correct sampler keeps rejects when it is drawn once, and a token that every correct
sampler keeps rejects when it is left out by more than chance. Of tokens that are tied at a cutoff
neither holds: another order of equal tokens keeps others of them. How many are kept does hold. A
sampler that always keeps the same ones draws no more different ones than there is room for; a
sampler that chooses anew in each call draws more, and all of them together no more often.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sampler_parity.statistics.alternatives import Alternative
from sampler_parity.statistics.goodness import Counts
from sampler_parity.statistics.law import Law, Subject, Tie
from sampler_parity.statistics.result import Look, Tied

OMITTED = 1e-12
"""A token is left out, and not by chance, where that has at most this probability."""

ODDS = 1e6
"""How much likelier the draws of a tie must be under the reference's number of kept tokens than
under the number that was drawn, to say that the choice varies. A sampler that keeps as many as it
draws has such odds against itself with a probability of at most 1e-6 (Markov's inequality)."""

FEW = 30
"""Draws of a token, where the law does not say which of equal ones the reference keeps, that make
the other side's never drawing it no matter of chance."""

NAMED = 5
"""Tokens that a sentence names."""


def chance_of_none(law: Law, n: int) -> npt.NDArray[np.float64]:
    """Give the probability that ``n`` draws leave a token out, f64 [V]; 1 for tied tokens."""
    p = np.clip(law.probabilities - law.slack, 0, 1 - 1e-12)
    none: npt.NDArray[np.float64] = np.exp(n * np.log1p(-p))
    for tie in law.tied:
        none[tie.tokens] = 1.0
    return none


def omissible(law: Law, n: int) -> float:
    """Bound the probability that ``n`` draws of a right sampler leave such a token out."""
    none = chance_of_none(law, n)
    return float(none[none <= OMITTED].sum())


def left_out(law: Law, counts: Counts) -> dict[int, float]:
    """Give the tokens that should have been drawn and were not, with the draws expected of each."""
    n = int(counts.sum())
    missing = np.flatnonzero((chance_of_none(law, n) <= OMITTED) & (counts == 0))
    return {int(token): float(law.probabilities[token] * n) for token in missing}


def draws_of_ties(law: Law, counts: Counts, reference: Counts | None = None) -> tuple[Tied, ...]:
    """Say what was drawn of each tie.

    Args:
        law: says what is tied.
        counts: i64 [V], the candidate's.
        reference: the same of the reference, where the law does not say what it keeps.
    """
    found = []
    for tie in law.tied:
        drawn = tie.tokens[counts[tie.tokens] > 0]
        found.append(
            Tied(
                tokens=len(tie.tokens),
                room=tie.room,
                share=float(law.probabilities[tie.tokens].sum()),
                n=int(counts.sum()),
                drawn={str(token): int(counts[token]) for token in drawn},
                others=tuple(str(token) for token in _others(law, tie, counts, reference)),
            )
        )
    return tuple(found)


def _others(law: Law, tie: Tie, counts: Counts, reference: Counts | None) -> npt.NDArray[np.int64]:
    """Give the tied tokens that the candidate draws and the reference does not."""
    ours = counts[tie.tokens]
    if tie.room is not None:
        other = (ours > 0) & (law.probabilities[tie.tokens] == 0)
    elif reference is not None:
        other = (ours >= FEW) & (reference[tie.tokens] == 0)
    else:
        other = np.zeros(len(ours), np.bool_)
    found: npt.NDArray[np.int64] = tie.tokens[other]
    return found


def together(looks: Sequence[Look]) -> tuple[Tied, ...]:
    """Add up what all looks drew of each tie."""
    found: list[Tied] = []
    for of_a_look in zip(*(look.tied for look in looks), strict=True):
        drawn: dict[str, int] = {}
        for tied in of_a_look:
            for token, times in tied.drawn.items():
                drawn[token] = drawn.get(token, 0) + times
        first = of_a_look[0]
        others = dict.fromkeys(token for tied in of_a_look for token in tied.others)
        found.append(
            Tied(
                tokens=first.tokens,
                room=first.room,
                share=first.share,
                n=sum(tied.n for tied in of_a_look),
                drawn=drawn,
                others=tuple(others),
            )
        )
    return tuple(found)


def too_many(tied: Tied) -> bool:
    """Whether more of the tied tokens are kept than any order of them leaves."""
    if tied.room is None or len(tied.drawn) <= tied.room:
        return False
    return _odds(tied) < math.log(ODDS)


def _odds(tied: Tied) -> float:
    """Give how much likelier the draws are where ``room`` are kept, as a logarithm."""
    times = sum(tied.drawn.values())
    right, wrong = tied.share, share_of(tied, len(tied.drawn))
    return float(
        times * np.log(right / wrong) + (tied.n - times) * (np.log1p(-right) - np.log1p(-wrong))
    )


def share_of(tied: Tied, kept: int) -> float:
    """Give the mass of a tie of which ``kept`` tokens are kept, for ``room``."""
    if tied.room is None:
        return tied.share
    mass = tied.share / tied.room * kept
    return mass / (1 - tied.share + mass)


def in_words(tied: Tied) -> str:
    """Say what was drawn of a tie, in words that tell another order from too many kept."""
    if tied.room is None:
        return (
            f"of {tied.tokens} tokens of one logit, the two samplers keep different ones: the "
            f"candidate draws {_named(tied.others)}, which the other never does"
        )
    times, different = sum(tied.drawn.values()), len(tied.drawn)
    expected = tied.share * tied.n
    cutoff = f"of {tied.tokens} tokens tied at top-p's cutoff, which leaves room for {tied.room}"
    if too_many(tied):
        return (
            f"{cutoff}, {different} were drawn, {times:,} times: {expected:,.0f} draws are "
            f"expected where {tied.room} are kept, and {share_of(tied, different) * tied.n:,.0f} "
            f"where {different} are. The sampler keeps more of them than any order of them leaves"
        )
    often = f"{times:,} draws of them are {expected:,.0f} expected ones"
    if different > tied.room:
        return (
            f"tie order: {cutoff}, {different} were drawn, no more often than {tied.room}: "
            f"{often}. Which ones the sampler keeps varies from call to call"
        )
    return (
        f"tie order: {cutoff}, the sampler keeps others than the reference, "
        f"{_named(tied.others)}: {often}"
    )


def _named(tokens: Sequence[str]) -> str:
    more = f" and {len(tokens) - NAMED} more" if len(tokens) > NAMED else ""
    return f"{', '.join(tokens[:NAMED])}{more}"


def omission(subject: Subject, missing: dict[str, float]) -> str:
    """Say which tokens were left out, and whether top-k kept exactly k."""
    tokens = list(missing)
    least = min(missing.values())
    several = len(tokens) > 1
    words = (
        f"{'tokens' if several else 'token'} {_named(tokens)} {'are' if several else 'is'} in the "
        f"mask and {'were' if several else 'was'} never drawn, where {least:,.0f} draws "
        f"{'of each ' if several else ''}are expected{' at the least' if several else ''}"
    )
    level = {str(token) for token in subject.tied_at_top_k}
    top_k = getattr(subject.parameters, "top_k", 0)
    kept = len(subject.law.drawable)
    if level and set(tokens) <= level:
        words += (
            f". They are among {len(level)} tokens tied at top-k's threshold: the reference keeps "
            f"all of them, {kept} tokens for k = {top_k}"
        )
        if kept - len(tokens) == top_k:
            words += "; the sampler keeps exactly k"
    return words


def power(law: Law, other: Alternative, n: int) -> float:
    """Give a probability with which ``n`` draws of another law are rejected for their support."""
    q = other.law.probabilities
    stray = float(q[~law.possible].sum())
    caught = float(-np.expm1(n * np.log1p(-min(stray, 1 - 1e-12))))
    if ((chance_of_none(law, n) <= OMITTED) & (q == 0)).any():
        caught = 1.0
    for tie in law.tied:
        kept = q[tie.tokens][q[tie.tokens] > 0]
        if tie.room is not None and len(kept) > tie.room:
            unseen = float(np.exp(n * np.log1p(-kept)).sum())
            caught = max(caught, 1 - 1 / ODDS - unseen)
    return max(caught, 0.0)


def draws_needed(law: Law, other: Alternative, least: float, most: int) -> float:
    """Give the draws with which the support alone rejects another law with probability ``least``.

    Returns:
        A number up to ``most``; infinite where even that is too few.
    """
    if power(law, other, most) < least:
        return np.inf
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(law, other, middle) >= least else (middle + 1, high)
    return float(high)
