"""Whether the gate names every planted fault, at the stage and with the verdict that it declares.

The cases are the same in every run, whatever its seed: a fault that is caught is caught again.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from sampler_parity.cases.plan import case_of
from sampler_parity.cases.recorded import recorded_cases
from sampler_parity.faults.found import Correct, Planted
from sampler_parity.faults.mistakes import CORRECT, MISTAKES, Mistake
from sampler_parity.faults.port import planted, port_faults
from sampler_parity.implementations.reference import reference_here
from sampler_parity.implementations.specimens import SPECIMENS
from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import Implementation
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import HARMLESS, SEVERITY, Verdict
from sampler_parity.pipelines import SampleLogits, SimpleBatch

KILL_FAMILIES = (
    "gaussian", "zipf", "flat", "bf16", "f16", "top-k-tie", "top-p-tie", "sorted", "masked",
    "huge", "denormal", "boundary", "crossing", "real-tts",
)  # fmt: skip
"""The families whose cases a fault is planted for: those on which some fault shows."""
SEED = 5

CASES = {
    "quick": {SampleLogits.sampler: 90, SimpleBatch.sampler: 30},
    "full": {SampleLogits.sampler: 1000, SimpleBatch.sampler: 1000},
}
"""Cases of each sampler, by profile."""

CONSEQUENCES = frozenset(
    {
        ("error", Verdict.ERROR),
        ("generator", Verdict.GENERATOR),
        ("generator", Verdict.ROUNDING),
    }
)
"""What any mistake can lead to: nothing is left to draw from; or no token differs by chance, and
only the generator tells, which rounding may leave elsewhere as well where it decides on a draw."""

PATHS = {"port": "stages", "plain": "plain sampler", "specimen": "as found"}
"""The way that a call takes to come by a fault, by where the fault is: a call of the port goes by
its stages while a fault is planted in them."""

ExpectedCases = list[tuple[Case, Outcome]]
CauseCounts = Counter[tuple[str, Verdict]]


def kill_cases(profile: str, capability: str) -> ExpectedCases:
    """Give the cases, those that the reference accepts, with its outcomes.

    A sampler that works in place is called once: what a mistake leaves behind would be the next
    call's input.
    """
    reference = reference_here()
    cases: ExpectedCases = []
    wanted = dict(CASES[profile])
    index = 0
    while any(wanted.values()):
        for family in KILL_FAMILIES:
            case = replace(case_of(f"{family}-{index}@{SEED}"), threads=1, advance=0)
            if case.pipeline.in_place:
                case = replace(case, draws=1)
            if not wanted[case.parameters.sampler]:
                continue
            outcome = reference.run(case, capability)
            if outcome.failure is None:
                wanted[case.parameters.sampler] -= 1
                cases.append((case, outcome))
        index += 1
    return cases


def recorded_kill_cases(capability: str) -> ExpectedCases:
    """Give the cases that were recorded of torch at ``capability``, with every stage in full.

    Those of a sampler whose bits are the same at every capability are left out: its mistakes are
    planted at others.

    Raises:
        CannotJudgeError: the recordings cannot be read.
    """
    return [
        (case, recorded.outcome(Outcome()))
        for case, recorded in recorded_cases(capability)
        if recorded.in_full and case.pipeline.level_dependent
    ]


def _cases_of(mistake: Mistake, capability: str) -> ExpectedCases:
    """Give the cases that a mistake names, with the reference's outcomes."""
    reference = reference_here()
    shown = [replace(case_of(name), threads=1, advance=0, draws=1) for name in mistake.cases]
    return [(case, reference.run(case, capability)) for case in shown]


def judged(
    candidate: Implementation, cases: ExpectedCases, capability: str
) -> tuple[int, CauseCounts]:
    """Count the cases that ``candidate`` takes, and its gravest causes."""
    taken, found = 0, CauseCounts()
    about = candidate.about
    for case, expected in cases:
        if case.parameters.sampler not in about.samplers:
            continue
        outcome = candidate.run(case, capability)
        taken += 1
        comparison = compare(case, expected, outcome, about)
        divergence = judge(case, expected, outcome, comparison, about)
        if divergence is not None:
            found[divergence.stage, divergence.verdict] += 1
    return taken, found


def plant_in_plain(
    cases: ExpectedCases, capability: str, done: Callable[[], None]
) -> Iterable[Planted]:
    """Plant every mistake in a plain sampler, whose arithmetic is another than the reference's."""
    for mistake in MISTAKES:
        shown = _cases_of(mistake, capability) if mistake.cases else cases
        taken, found = judged(mistake.sampler, shown, capability)
        declared = (mistake.stage, mistake.verdict)
        others = {
            cause
            for cause in found
            if cause != declared and cause not in CONSEQUENCES and cause[1] not in HARMLESS
        }
        killed = found[declared] > 0 and (mistake.spreads or not others)
        yield _planted("plain", mistake.name, declared, taken, found, killed=killed)
        done()


def plant_in_port(
    cases: ExpectedCases, capability: str, done: Callable[[], None]
) -> Iterable[Planted]:
    """Plant every mistake in the port, which has nothing but the mistake to differ by."""
    for fault in port_faults():
        with planted(fault.name) as candidate:
            taken, found = judged(candidate, cases, capability)
        declared = (fault.stage, fault.verdict)
        others = {
            cause
            for cause in found
            if cause != declared
            and cause not in CONSEQUENCES
            and not (cause[0] == fault.stage and cause[1] in HARMLESS)
        }
        killed = found[declared] > 0 and not others
        yield _planted("port", fault.name, declared, taken, found, killed=killed)
        done()


def try_specimens(
    cases: ExpectedCases, capability: str, done: Callable[[], None]
) -> Iterable[Planted]:
    """Judge the samplers whose faults were not planted but found."""
    for name, specimen in SPECIMENS.items():
        taken, found = judged(specimen.plug_in, cases, capability)
        declared = (specimen.stage, specimen.verdict)
        own = [verdict for stage, verdict in found if (stage, verdict) not in CONSEQUENCES]
        gravest = max(own, key=SEVERITY.__getitem__, default=Verdict.EXACT)
        killed = found[declared] > 0 and gravest is specimen.verdict
        yield _planted("specimen", name, declared, taken, found, killed=killed)
        done()


def try_correct(
    cases: ExpectedCases, capability: str, done: Callable[[], None]
) -> Iterable[Correct]:
    """Judge samplers that make no mistake: what is called one here is called so wrongly."""
    for candidate in CORRECT:
        taken, found = judged(candidate, cases, capability)
        verdicts = Counter[str]()
        for (_, verdict), count in found.items():
            verdicts[verdict.value] += count
        harmless = all(verdict in HARMLESS for _, verdict in found)
        # A sampler that never differs shows nothing of the judge.
        passed = harmless and verdicts[Verdict.ROUNDING] > 0
        yield Correct(
            name=candidate.name, cases=taken, verdicts=dict(verdicts.most_common()), passed=passed
        )
        done()


def _planted(
    where: str,
    name: str,
    declared: tuple[str, Verdict],
    taken: int,
    found: CauseCounts,
    *,
    killed: bool,
) -> Planted:
    stage, verdict = declared
    others = {f"{s}: {v.value}": n for (s, v), n in found.most_common() if (s, v) != declared}
    return Planted(
        where=where,
        name=name,
        stage=stage,
        verdict=verdict,
        cases=taken,
        caught=found[declared],
        others=others,
        killed=killed,
        path=PATHS[where],
    )
