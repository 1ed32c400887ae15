"""What a comparison concludes."""

from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    """The kind of a divergence, decided by evidence and never by a tolerance.

    exact: every stage, token, error and effect is equal, bit for bit.
    error: one side raises and the other does not, or they raise different classes.
    generator: every stage up to the distribution that ``sample_logits`` draws from is equal, bit
        for bit, and a token is not; or everything is equal but the generator's state afterwards.
    effect: everything is equal but what the call left in its input.
    unclassified: a stage's values differ, or a token that no draw decides (an argmax).
    """

    EXACT = "exact"
    ERROR = "error"
    GENERATOR = "generator"
    EFFECT = "effect"
    UNCLASSIFIED = "unclassified"


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """The first divergent stage of a case, with its evidence.

    Attributes:
        verdict: the kind.
        stage: the first stage, ``error`` or effect that differs.
        index: where in the stage the first difference is; empty where that has no meaning.
        reference: the reference's value there, in words.
        candidate: the candidate's value there, in words.
        ulps: distance of the two f32 values in units of the last place, if both are finite.
        differing: how many elements of the stage differ.
        total: how many elements the stage has.
        also: later stages that differ as well; consequences, or causes of their own.
    """

    verdict: Verdict
    stage: str
    index: tuple[int, ...] = ()
    reference: str
    candidate: str
    ulps: int | None = None
    differing: int
    total: int
    also: tuple[str, ...] = ()
