"""Whether a divergence comes again where its case is asked alone, and how small it can be made."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.judge.shrink import shrink
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import Cause, Divergence, Verdict
from sampler_parity.run.effort import WHOLE, Effort
from sampler_parity.run.history import Laboratory

CHECKS_OF_TIME = 2
"""Divergent cases that are asked alone where the candidate did not answer in time: each takes the
whole of its time."""

CONFIRMED = 3
"""Times that a case must diverge after earlier ones and not alone, so that it is no chance."""

Sides = tuple[Outcome, Outcome]
"""The reference's outcome and the candidate's."""

RunBoth = Callable[[Case], Sides]
"""Runs a case on both sides."""


def alike(one: Divergence, other: Divergence | None) -> bool:
    """Whether both diverge at the same stage with the same verdict."""
    return other is not None and (one.stage, one.verdict) == (other.stage, other.verdict)


def stateful(divergence: Divergence, alone: Divergence | None, after: Sequence[str]) -> Divergence:
    """Give a divergence that does not come again where its case is asked alone.

    Args:
        divergence: what the run saw.
        alone: what a process shows that was asked nothing before; ``None`` for equality.
        after: the ids of earlier cases after which it comes again; none if none were found.
    """
    words = "asked of a process that was asked nothing before, the candidate's answer is equal"
    if alone is not None:
        words = (
            "asked of a process that was asked nothing before, the case diverges otherwise "
            f"({alone.verdict} at {alone.stage})"
        )
    if after:
        words += f"; after {', '.join(after)} it diverges: the answer depends on earlier cases"
    else:
        words += (
            "; no short sequence of earlier cases was found after which it diverges as in the "
            "run: the answer depends on more of them, or on chance"
        )
    cause = Cause(stage=divergence.stage, verdict=Verdict.STATEFUL, words=words)
    return msgspec.structs.replace(
        divergence, verdict=Verdict.STATEFUL, causes=(cause, *divergence.causes)
    )


@dataclass(frozen=True, slots=True)
class Retrial:
    """How a case of a run is asked again.

    Attributes:
        laboratory: where the candidate is asked.
        expected: what the reference gives for the case, where the candidate gives such an outcome.
        earlier: gives the ids of the cases that the run's process was asked before, in order.
        reference: runs the reference on other cases; ``None`` where it is a recording.
    """

    laboratory: Laboratory
    expected: Callable[[Outcome], Outcome]
    earlier: Callable[[], Sequence[str]]
    reference: Callable[[Case], Outcome] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A divergent case of a run.

    Attributes:
        case: the case.
        reference: the reference's outcome.
        candidate: the candidate's.
        divergence: where they diverge.
        plain: the same as the run saw it, where it is now known to be ``stateful``.
        after: the earlier cases after which it comes again, if it is, and if some were found.
    """

    case: Case
    reference: Outcome
    candidate: Outcome
    divergence: Divergence
    plain: Divergence | None = None
    after: tuple[Case, ...] = ()


@dataclass(frozen=True, slots=True)
class Small:
    """A divergent case made small.

    Attributes:
        case: the case.
        sides: what both sides make of it.
        divergence: where they diverge.
        tried: how many cases were tried.
    """

    case: Case
    sides: Sides
    divergence: Divergence
    tried: int


class Retrials:
    """Asks divergent cases again, within a budget."""

    def __init__(self, about: About, effort: Effort = WHOLE) -> None:
        """Judge as a candidate is judged that is what ``about`` says."""
        self._about = about
        self._effort = effort
        self._left = effort.tried_in_all
        self._checked: Counter[Verdict] = Counter()
        self._alone: Counter[tuple[str, Verdict, bool]] = Counter()

    @property
    def checked(self) -> int:
        """How many cases were asked alone."""
        return self._checked.total()

    @property
    def spent(self) -> bool:
        """Whether no case can be tried any more to make one small."""
        return self._left <= 0

    def settled(self, seen: Seen, retrial: Retrial, *, check: bool, search: bool) -> Seen:
        """Ask a case alone: what does not come again alike there is ``stateful``.

        Args:
            seen: the case.
            retrial: how it is asked again.
            check: whether to ask, within the budget; if not, it is taken for what others of its
                kind were.
            search: whether to look for earlier cases after which it comes again.
        """
        divergence = seen.divergence
        kind = (divergence.stage, divergence.verdict)
        asked = self._alone[*kind, True] + self._alone[*kind, False]
        if not (
            check
            and asked < self._effort.checks_of_a_kind
            and self._affordable(divergence.verdict, retrial.laboratory)
        ):
            if self._alone[*kind, True] or not self._alone[*kind, False]:
                return seen
            return replace(seen, divergence=stateful(divergence, None, ()), plain=divergence)
        self._checked[divergence.verdict] += 1
        outcome = retrial.laboratory.alone(seen.case)
        alone = self._judged(seen.case, (retrial.expected(outcome), outcome))
        again = alike(divergence, alone)
        self._alone[*kind, again] += 1
        if again:
            return seen
        found: list[Case] = []
        if search and divergence.verdict is not Verdict.TIMED_OUT:

            def comes_again(earlier: Sequence[Case]) -> bool:
                outcome = retrial.laboratory.after(earlier, seen.case)
                sides = retrial.expected(outcome), outcome
                return alike(divergence, self._judged(seen.case, sides))

            found = retrial.laboratory.sequence(retrial.earlier(), comes_again)
            if any(comes_again(()) or not comes_again(found) for _ in range(CONFIRMED)):
                found = []
        settled = stateful(divergence, alone, [case.id for case in found])
        return replace(seen, divergence=settled, plain=divergence, after=tuple(found))

    def small(self, seen: Seen, again: RunBoth, retrial: Retrial | None) -> Small | None:
        """Make a case small that still diverges alike, in a process that was asked nothing before.

        Cases are tried in one process first. Where the smallest does not come again by itself, the
        answers depended on the cases tried before it, and each gets a process of its own.
        """
        plain = seen.plain or seen.divergence
        if plain.verdict is Verdict.TIMED_OUT:
            # Every case that is tried would take the whole of its time.
            return None

        def alone(case: Case, after: Sequence[Case] = ()) -> Sides:
            if retrial is None or retrial.reference is None:
                return again(case)
            return retrial.reference(case), retrial.laboratory.after(after, case)

        def diverges(case: Case, sides: Sides) -> Divergence | None:
            found = self._judged(case, sides)
            return found if alike(plain, found) else None

        if seen.plain is None:
            crashed = plain.verdict is Verdict.CRASHED
            budget = self._effort.tried_in_processes if crashed else self._effort.tried
            case, tried = self._shrunk(seen, lambda one: bool(diverges(one, again(one))), budget)
            sides = alone(case)
            found = diverges(case, sides)
            if found is not None or retrial is None:
                return Small(case, sides, found, tried) if found is not None else None
        elif not seen.after:
            return None
        return self._small_in_own_processes(seen, alone, diverges)

    def _small_in_own_processes(
        self,
        seen: Seen,
        alone: Callable[..., Sides],
        diverges: Callable[[Case, Sides], Divergence | None],
    ) -> Small | None:
        def still(case: Case) -> bool:
            if diverges(case, alone(case, seen.after)) is None:
                return False
            # What is stateful must stay so.
            return not seen.after or diverges(case, alone(case)) is None

        case, tried = self._shrunk(seen, still, self._effort.tried_in_processes)
        sides = alone(case, seen.after)
        found = diverges(case, sides)
        if found is None:
            return None
        if seen.after:
            by_itself = self._judged(case, alone(case))
            found = stateful(found, by_itself, [one.id for one in seen.after])
        return Small(case, sides, found, tried)

    def _shrunk(self, seen: Seen, still: Callable[[Case], bool], budget: int) -> tuple[Case, int]:
        case, tried = shrink(seen.case, still, min(budget, self._left), self._effort.work)
        self._left -= tried
        return case, tried

    def _affordable(self, verdict: Verdict, laboratory: Laboratory) -> bool:
        if verdict is Verdict.TIMED_OUT:
            return self._checked[verdict] < CHECKS_OF_TIME
        effort = self._effort
        return self.checked < (effort.checks if laboratory.forks else effort.checks_of_starts)

    def _judged(self, case: Case, sides: Sides) -> Divergence | None:
        reference, candidate = sides
        if candidate.declined:
            return None
        comparison = compare(case, reference, candidate, self._about)
        return judge(case, reference, candidate, comparison, self._about)
