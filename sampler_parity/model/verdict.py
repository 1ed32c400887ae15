"""What a comparison concludes."""

from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    """The kind of a divergence, decided by evidence and never by a tolerance.

    exact: every stage, token, error and effect is equal, bit for bit.
    error: one side raises and the other does not, or they raise different classes.
    rounding: both sides are within their derived error bounds of the exact value, or a token's
        cumulative sum is within them of ``top_p``; see :mod:`sampler_parity.judge.oracle`.
    tie_order: both sides keep as many tokens of each probability, and not the same ones; or take
        another of several largest values.
    generator: from the candidate's own distribution, the reference draws other tokens; or its
        noise is not the candidate's; or everything is equal but the generator's state afterwards.
    effect: everything is equal but what the calls left in their input.
    semantic: none of these: the candidate computes something else.
    crashed: the candidate's process ended before it answered, or a panic ended the call.
    timed_out: the candidate did not answer in time, and was ended.
    """

    EXACT = "exact"
    ERROR = "error"
    ROUNDING = "rounding"
    TIE_ORDER = "tie_order"
    EFFECT = "effect"
    GENERATOR = "generator"
    SEMANTIC = "semantic"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"


SEVERITY = {
    verdict: rank
    for rank, verdict in enumerate(
        (
            Verdict.EXACT,
            Verdict.ROUNDING,
            Verdict.TIE_ORDER,
            Verdict.EFFECT,
            Verdict.GENERATOR,
            Verdict.SEMANTIC,
            Verdict.ERROR,
            Verdict.TIMED_OUT,
            Verdict.CRASHED,
        )
    )
}
"""From harmless to grave: a case with several causes has the gravest one's verdict."""


HARMLESS = frozenset({Verdict.EXACT, Verdict.ROUNDING, Verdict.TIE_ORDER})
"""What a correct sampler with another arithmetic or another sort may get."""


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """A stage at which the candidate departs from the reference of its own accord.

    Attributes:
        stage: the stage, ``error`` or effect.
        verdict: of which kind.
        words: what shows it.
    """

    stage: str
    verdict: Verdict
    words: str


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """Where a case diverges, with the evidence.

    Attributes:
        verdict: the kind of the gravest cause.
        stage: that cause's stage, ``error`` or effect.
        first: the first stage at which any bit differs.
        index: where in the stage the first difference is; empty where that has no meaning.
        reference: the reference's value there, in words.
        candidate: the candidate's value there, in words.
        ulps: distance of the two f32 values in units of the last place, if both are finite.
        differing: how many elements of the stage differ.
        total: how many elements the stage has.
        also: the other stages that differ.
        causes: every stage that departs of its own accord; the others are consequences.
    """

    verdict: Verdict
    stage: str
    first: str
    index: tuple[int, ...] = ()
    reference: str
    candidate: str
    ulps: int | None = None
    differing: int
    total: int
    also: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()
