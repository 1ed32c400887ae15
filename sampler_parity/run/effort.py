"""How much a run does with the cases that diverge, beside judging and counting them."""

from dataclasses import dataclass

from sampler_parity.cases.plan import LOOK
from sampler_parity.judge.shrink import BUDGET, WORK


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a run does with the cases that diverge.

    A kind of divergence is a stage and a verdict.

    Attributes:
        afterwards: whether it is done when all cases were compared, the smallest case first, and
            not as they are compared.
        checks: divergent cases that are asked alone, in a process that was asked nothing before.
        checks_of_starts: as many where such a process is a start of the candidate, and no fork.
        checks_of_a_kind: of those, how many of one kind.
        processes: processes that may be taken to find which earlier cases an answer depends on.
        small_of_a_kind: families of one importance of which a divergence of one kind is made small.
        first_only: whether, of one kind, no more than the first divergence has its stages kept and
            is made small, whatever its family.
        tried: cases that are tried to make one small.
        tried_in_processes: as many where each costs a process: the candidate crashes, or what it
            answers depends on what it was asked before.
        tried_in_all: as many for all that are made small.
        work: logits that the cases have together which are tried to make one small.
        largest: logits of the largest case whose stages are kept and that is made small: a file of
            it has up to forty times as many bytes.
        explained: semantic cases that are kept to be explained by one known change.
        explained_by_all: of those, how many every known sampler is tried on; the best go on.
    """

    afterwards: bool = False
    checks: int = 500
    checks_of_starts: int = 100
    checks_of_a_kind: int = 500
    processes: int = 200
    small_of_a_kind: int = 2
    first_only: bool = False
    tried: int = BUDGET
    tried_in_processes: int = 40
    tried_in_all: int = 1 << 30
    work: int = WORK
    largest: int = 1 << 21
    explained: int = 100
    explained_by_all: int = 16


WHOLE = Effort()
"""What a gate does."""

BRIEF = Effort(
    afterwards=True,
    checks=12,
    checks_of_starts=2,
    checks_of_a_kind=2,
    processes=24,
    small_of_a_kind=1,
    first_only=True,
    tried=80,
    tried_in_processes=12,
    tried_in_all=240,
    work=1 << 20,
    largest=1 << 15,
    explained=12,
    explained_by_all=4,
)
"""What a quick look does: with a candidate that differs everywhere it still takes seconds."""


def effort_of(profile: str) -> Effort:
    """Give what a run of ``profile`` does with the cases that diverge."""
    return BRIEF if profile == LOOK else WHOLE
