"""Compares one candidate with torch, at one capability."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sampler_parity.build.processor import elsewhere
from sampler_parity.cases.plan import CASE_COUNTS, case_of, plan, planned
from sampler_parity.cases.recorded import Recorded, recorded_cases
from sampler_parity.cases.your_logits import YourCases, is_yours
from sampler_parity.implementations.reference import (
    capability_here,
    reference_here,
    torch_is_here,
)
from sampler_parity.implementations.registry import PORT
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines.references import reference_of
from sampler_parity.run.certificate import certified
from sampler_parity.run.effort import effort_of
from sampler_parity.run.history import Laboratory
from sampler_parity.run.orders import CompareCases, Message, Result, Say
from sampler_parity.run.reproducibility import ReproducibilityCounter
from sampler_parity.run.retrial import Retrial
from sampler_parity.run.run_file import Against, Explained, Shard
from sampler_parity.run.shard_builder import ShardBuilder
from sampler_parity.run.your_cases import opened
from sampler_parity.sandbox.isolated import Isolated

PROGRESS_EVERY = 50

AT_ONE = "the candidate's answers do not depend on the capability: they are compared at one"
"""Why the cases of a capability are not compared, where a candidate says so."""

IN_A_ROW = 5
"""How many cases in a row a candidate may leave without an answer before it is given up."""


def compare_cases(order: CompareCases, say: Say, candidate: Isolated) -> Result:
    """Compare the recorded traces, which works on any processor, then every planned case.

    At a level of another architecture's torch, no case is planned beside the recorded traces.

    ``candidate`` is the order's implementation, which may not have said yet what it is.

    Raises:
        CannotJudgeError: the candidate cannot be started.
    """
    recorded = {}
    if not order.reference:
        recorded = {case.id: (case, found) for case, found in recorded_cases(order.capability)}
    also = reference_of(order.reference).sampler if order.reference else ""
    yours = None
    if order.logits is not None:
        yours = opened(order.logits, order.reference, order.seed)

    def recall(case_id: str) -> Case:
        if yours and is_yours(case_id):
            return yours.by_id(case_id)
        return recorded[case_id][0] if case_id in recorded else case_of(case_id)

    tell = _Teller(say)
    effort = effort_of(order.profile)
    with Laboratory(
        order.implementation,
        order.limits,
        order.capability,
        recall,
        tell.again,
        also,
        effort.processes,
    ) as laboratory:
        if also and also not in candidate.about.samplers:
            raise CannotJudgeError(
                f"{order.implementation} says that it has {', '.join(candidate.about.samplers)}, "
                f"and not {also}: name it in `samplers`, if it is meant to be that"
            )
        builders = [
            ShardBuilder(
                order.implementation,
                candidate.about,
                order.capability,
                Path(order.folder),
                order.home,
                order.waivers,
                order.limits,
                order.reference,
                effort,
                evidence=order.evidence,
            )
            for _ in range(2)
        ]
        bench = _Bench(order, candidate, laboratory, tell, yours)
        shards = []
        planned_here = not elsewhere(order.capability)
        if bench.recorded:
            mine = tuple(recorded.values())[slice(order.part[0], None, order.part[1])]
            shards.append(_recorded(bench, mine, builders[0]))
        if planned_here and candidate.about.capabilities == "one" and not order.first:
            shards.append(builders[1].shard(bench.planned, source_here(), AT_ONE))
        elif planned_here:
            shards.append(_live(bench, builders[1]))
    covered = zip(*(builder.covered for builder in builders), strict=True)
    return Result(shards=tuple(shards), covered=tuple(sum(counts) for counts in covered))


def source_here() -> Against:
    """Name what runs as the reference here."""
    return "torch" if torch_is_here() else "port"


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
    say: "_Teller"
    yours: YourCases | None

    @property
    def planned(self) -> int:
        """How many cases are compared with torch."""
        generated = planned(CASE_COUNTS[self.order.profile], self.order.families)
        all_of_them = generated + (len(self.yours) if self.yours else 0)
        return len(range(self.order.part[0], all_of_them, self.order.part[1]))

    def cases(self) -> Iterator[Case]:
        """Make those cases: somebody's own logits first, then what diverged last time."""
        order, (first, step) = self.order, self.order.part
        yours = self.yours or ()
        for number in range(first, len(yours), step):
            yield yours[number]
        counts = CASE_COUNTS[order.profile]
        chosen = slice((first - len(yours)) % step, None, step)
        yield from plan(counts, order.seed, order.families, order.reference, order.failed, chosen)

    def alive(self) -> None:
        """Tell the gate that the worker goes on."""
        self.say.again()

    def again(self, builder: ShardBuilder, total: int) -> None:
        """Tell the gate how many cases that diverged last time were compared."""
        doing = "what diverged last time"
        self.say(Message(done=builder.failed_before, total=total, doing=doing))

    def closer(self, done: int, total: int) -> None:
        """Tell the gate how many divergent cases were looked at closer."""
        self.say(Message(done=done, total=total, doing="its divergent cases again, and smaller"))

    def certifying(self, equal: int) -> None:
        """Tell the gate how many recorded traces the port equals."""
        self.say(Message(done=equal, total=self.planned, doing="the port on torch's traces"))

    @property
    def recorded(self) -> bool:
        """Whether the candidate shows what is recorded, as torch at the order's capability has it.

        Where the processor lacks that, only a candidate that needs none of it is asked. One whose
        answers do not depend on it is asked at one.
        """
        about, capability = self.candidate.about, self.order.capability
        able = about.capabilities == "asked" or (
            not elsewhere(capability)
            and capability_here() == capability
            and (about.capabilities != "one" or self.order.first)
        )
        return about.view == "trace" and able and not self.order.reference


def _recorded(
    bench: _Bench, cases: Sequence[tuple[Case, Recorded]], builder: ShardBuilder
) -> Shard:
    candidate = bench.candidate
    for case, recorded in cases:
        earlier = _asked(candidate)
        outcome = candidate.run(case, bench.order.capability)
        retrial = Retrial(bench.laboratory, recorded.outcome, earlier)
        builder.add(case, recorded.outcome(outcome), outcome, None, retrial)
        bench.say(Message(done=0, total=len(cases)))
        if builder.unanswered >= IN_A_ROW:
            break
    return builder.shard(len(cases), "recorded", _given_up(len(cases), builder))


def _live(bench: _Bench, builder: ShardBuilder) -> Shard:
    order, candidate, laboratory = bench.order, bench.candidate, bench.laboratory
    total = bench.planned
    here = capability_here()
    if here != order.capability:
        reason = f"torch reaches capability {here} on this processor, not {order.capability}" + (
            ": the recorded traces were compared instead" if bench.recorded else ""
        )
        bench.say(Message(done=total, total=total))
        return builder.shard(total, source_here(), reason)
    reference = reference_here()
    certificate = None if torch_is_here() else certified(here, bench.certifying)
    itself = ReproducibilityCounter(order.capability, verify=order.implementation != PORT)

    def refer(case: Case) -> Outcome:
        return reference.run(case, here)

    def again(case: Case) -> tuple[Outcome, Outcome]:
        return laboratory.both(case, refer)

    failed = frozenset(order.failed)
    for case in bench.cases():
        found = builder.found
        if declined := candidate.about.too_long(case):
            builder.add(case, Outcome(), Outcome(declined=declined), None)
        else:
            earlier = _asked(candidate)
            candidate.ask(case, here)
            expected, outcome = reference.run(case, here), candidate.answer()
            retrial = Retrial(laboratory, _always(expected), earlier, refer)
            builder.add(case, expected, outcome, again, retrial)
            if order.reproducibility:
                itself.add(case, expected)
        if case.id in failed:
            builder.failed_before += 1
            builder.failed_again += builder.found > found
            bench.again(builder, len(failed))
        if builder.seen % PROGRESS_EVERY == 0:
            bench.say(Message(done=builder.seen, total=total))
        if builder.unanswered >= IN_A_ROW:
            break
    builder.look_closer(bench.closer)
    return builder.shard(
        total,
        source_here(),
        _given_up(total, builder),
        itself.counts(),
        _explained(bench, builder),
        certificate,
    )


def _explained(bench: _Bench, builder: ShardBuilder) -> Explained | None:
    if not builder.semantic or not torch_is_here():
        # What is known are functions on torch.
        return None
    # Here, not above: all that is known is imported for it.
    from sampler_parity.run.diagnosis import explained

    def progress(done: int, total: int) -> None:
        bench.say(Message(done=done, total=total, doing="known functions beside it"))

    effort = effort_of(bench.order.profile)
    return explained(builder.semantic, bench.candidate.about, capability_here(), progress, effort)


def _asked(candidate: Isolated) -> Callable[[], Sequence[str]]:
    """Remember which cases the candidate's process was asked until now."""
    ids, count = candidate.earlier, len(candidate.earlier)
    return lambda: ids[:count]


def _always(outcome: Outcome) -> Callable[[Outcome], Outcome]:
    return lambda _: outcome


def _given_up(total: int, builder: ShardBuilder) -> str:
    if builder.unanswered < IN_A_ROW:
        return ""
    left = total - builder.seen
    return f"{left:,} not run: the candidate was given up after {IN_A_ROW} cases without an answer"
