"""Compares one candidate with torch, at one capability."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sampler_parity.cases.plan import PROFILES, case_of, plan, planned
from sampler_parity.cases.recorded import Recorded, recorded_cases
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.registry import PORT
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.run.history import Laboratory
from sampler_parity.run.noise import NoiseFloor
from sampler_parity.run.orders import CompareCases, Message, Result, Say
from sampler_parity.run.retrial import Retrial
from sampler_parity.run.run_file import Shard
from sampler_parity.run.tally import Tally
from sampler_parity.sandbox.isolated import Isolated

PROGRESS_EVERY = 50

AT_ONE = "the candidate's answers do not depend on the capability: they are compared at one"
"""Why the cases of a capability are not compared, where a candidate says so."""

IN_A_ROW = 5
"""How many cases in a row a candidate may leave without an answer before it is given up."""


def compare_cases(order: CompareCases, say: Say) -> Result:
    """Compare the recorded traces, which works on any processor, then every planned case.

    Raises:
        CannotJudgeError: the candidate cannot be started.
    """
    recorded = {case.id: (case, found) for case, found in recorded_cases(order.capability)}

    def recall(case_id: str) -> Case:
        return recorded[case_id][0] if case_id in recorded else case_of(case_id)

    tell = _Teller(say)
    with (
        Isolated(order.implementation, order.limits) as candidate,
        Laboratory(
            order.implementation, order.limits, order.capability, recall, tell.again
        ) as laboratory,
    ):
        tallies = [
            Tally(
                order.implementation,
                candidate.about,
                order.capability,
                Path(order.folder),
                order.home,
                order.waivers,
                order.limits,
            )
            for _ in range(2)
        ]
        bench = _Bench(order, candidate, laboratory, tell)
        shards = []
        if candidate.about.capabilities == "one" and not order.first:
            total = planned(PROFILES[order.profile], order.families)
            shards.append(tallies[1].shard(total, "torch", AT_ONE))
        else:
            if candidate.about.view == "trace":
                shards.append(_recorded(bench, tuple(recorded.values()), tallies[0]))
            shards.append(_live(bench, tallies[1]))
    covered = zip(*(tally.covered for tally in tallies), strict=True)
    return Result(shards=tuple(shards), covered=tuple(sum(counts) for counts in covered))


class _Teller:
    """Tells the gate how far a worker is; and tells it again, to say that the worker goes on."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._last = Message()

    def __call__(self, message: Message) -> None:
        self._last = message
        self._say(message)

    def again(self) -> None:
        self._say(self._last)


@dataclass(frozen=True, slots=True)
class _Bench:
    """What a comparison is made with."""

    order: CompareCases
    candidate: Isolated
    laboratory: Laboratory
    say: Say


def _recorded(bench: _Bench, cases: Sequence[tuple[Case, Recorded]], tally: Tally) -> Shard:
    candidate = bench.candidate
    for case, recorded in cases:
        earlier = _asked(candidate)
        outcome = candidate.run(case, bench.order.capability)
        retrial = Retrial(bench.laboratory, recorded.outcome, earlier)
        tally.add(case, recorded.outcome(outcome), outcome, None, retrial)
        bench.say(Message(done=0, total=len(cases)))
        if tally.unanswered >= IN_A_ROW:
            break
    return tally.shard(len(cases), "recorded", _given_up(len(cases), tally))


def _live(bench: _Bench, tally: Tally) -> Shard:
    order, candidate, laboratory = bench.order, bench.candidate, bench.laboratory
    profile = PROFILES[order.profile]
    total = planned(profile, order.families)
    here = capability_here()
    if here != order.capability:
        reason = f"torch reaches capability {here} on this processor, not {order.capability}" + (
            ": the recorded traces were compared instead" if candidate.about.view == "trace" else ""
        )
        bench.say(Message(done=total, total=total))
        return tally.shard(total, "torch", reason)
    reference = PythonRef()
    floor = NoiseFloor(order.capability, verify=order.implementation != PORT)

    def refer(case: Case) -> Outcome:
        return reference.run(case, here)

    def again(case: Case) -> tuple[Outcome, Outcome]:
        return laboratory.both(case, refer)

    for case in plan(profile, order.seed, order.families):
        if declined := candidate.about.too_long(case):
            tally.add(case, Outcome(), Outcome(declined=declined), None)
        else:
            earlier = _asked(candidate)
            candidate.ask(case, here)
            expected, outcome = reference.run(case, here), candidate.answer()
            retrial = Retrial(laboratory, _always(expected), earlier, refer)
            tally.add(case, expected, outcome, again, retrial)
            if order.noise:
                floor.add(case, expected)
        if tally.seen % PROGRESS_EVERY == 0:
            bench.say(Message(done=tally.seen, total=total))
        if tally.unanswered >= IN_A_ROW:
            break
    return tally.shard(total, "torch", _given_up(total, tally), floor.noise())


def _asked(candidate: Isolated) -> Callable[[], Sequence[str]]:
    """Remember which cases the candidate's process was asked until now."""
    ids, count = candidate.earlier, len(candidate.earlier)
    return lambda: ids[:count]


def _always(outcome: Outcome) -> Callable[[Outcome], Outcome]:
    return lambda _: outcome


def _given_up(total: int, tally: Tally) -> str:
    if tally.unanswered < IN_A_ROW:
        return ""
    left = total - tally.seen
    return f"{left:,} not run: the candidate was given up after {IN_A_ROW} cases without an answer"
