"""What the gate made of what was planted, and of what must not be called wrong."""

import msgspec

from sampler_parity.model.verdict import Verdict


class Planted(msgspec.Struct, frozen=True, kw_only=True):
    """A planted fault, and what the gate made of it.

    Attributes:
        where: ``port`` or ``plain``, the sampler it was planted in; ``specimen`` for one whose
            fault was not planted but found.
        name: the mistake in words.
        stage: where the gate must find it.
        verdict: of which kind.
        cases: how many cases were compared with the fault in place.
        caught: in how many of them the gate found it, as declared.
        others: what else it found: stage and verdict, with the number of cases.
        killed: whether that is the declared stage and verdict, and nothing that contradicts them.
    """

    where: str
    name: str
    stage: str
    verdict: Verdict
    cases: int
    caught: int
    others: dict[str, int]
    killed: bool


class Correct(msgspec.Struct, frozen=True, kw_only=True):
    """A sampler without a mistake whose bits are not the reference's.

    Attributes:
        name: what it computes in.
        cases: how many cases were compared.
        verdicts: how many of them have each verdict.
        passed: whether it differs, and only by rounding and the order of ties.
    """

    name: str
    cases: int
    verdicts: dict[str, int]
    passed: bool
