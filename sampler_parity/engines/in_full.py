"""A call in full: what each side passed, what its sampler made of it, and what decided it."""

from typing import Literal

import msgspec


class Weighed(msgspec.Struct, frozen=True, kw_only=True):
    """One token on one side.

    Attributes:
        logit: as it was passed, as text: the shortest that gives the same f32.
        rank: its place among this side's logits, the largest first, from 1.
        probability: in the law that the draw takes, after all truncation; ``None`` where the call's
            sampler has no law here.
        before: sum of the probabilities before it, as f32, which top-p is held against; only near
            the cutoff.
        kept: whether truncation leaves it; ``None`` where nothing is known of it.
        drawn: whether the call drew it.
    """

    logit: str
    rank: int
    probability: float | None = None
    before: float | None = None
    kept: bool | None = None
    drawn: bool = False


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """One token, counted from the model's first logit where the slice is known; A's and B's."""

    token: int
    a: Weighed | None = None
    b: Weighed | None = None


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a call.

    Attributes:
        side: ``A`` or ``B``.
        generation: number of the generation.
        phase: the phase's name.
        call: number of the call within its generation.
        row: which row of the batch is shown.
        site: where in the engine it stands.
        code: the sampler with its parameters.
        vocabulary: the slice and the dtype, in words.
        masked: how many logits of the row are -inf; ``None`` where they are not all recorded.
        kept: how many tokens truncation leaves; ``None`` where that is not known.
        random: where the random numbers come from.
        entry: how the generator stands to the call before.
        uniform: the number of [0, 1) that the call drew, where its source gives one; as text.
        took: 32-bit outputs that the call took; ``None`` where that is not known.
        drawn: the token of every draw, a text each; of all but the last the engine refused it.
        went_on_with: the tokens the engine went on with, where that is another's.
        reference: what the reference gives on these inputs; empty where that cannot be told.
        error: what the call raised; empty where it raised nothing.
        fed_before: what the model was given last before the call, in words.
        fed_after: what the model was given after it.
        case: the call as a case, a file relative to the result's folder; empty where there is none.
        replay: what replaying the case shows, or why there is none.
    """

    side: Literal["A", "B"]
    generation: int
    phase: str
    call: int
    row: int = 0
    site: str = ""
    code: str
    vocabulary: str
    masked: int | None = None
    kept: int | None = None
    random: str = ""
    entry: str = ""
    uniform: str = ""
    took: int | None = None
    drawn: tuple[str, ...] = ()
    went_on_with: str = ""
    reference: str = ""
    error: str = ""
    fed_before: str = ""
    fed_after: str = ""
    case: str = ""
    replay: str = ""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a finding is seen in.

    Attributes:
        finding: its number in the list of findings, from 0.
        sides: the call on each side that has it.
        variation: total variation between both sides' laws of the row that is shown.
        tokens: those that matter: around the cutoffs, the likeliest, the drawn, the most different.
    """

    finding: int
    sides: tuple[Passed, ...] = ()
    variation: float | None = None
    tokens: tuple[Token, ...] = ()
