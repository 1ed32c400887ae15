"""Says which planted faults a quick look names, each of them as its candidate.

    ATEN_CPU_CAPABILITY=default python -m benchmarks.quick_look_evidence

A fault of the gate's kill matrix is named where some case of the quick look shows it at its stage
with its verdict; a fault in what users run, where anything differs. Whatever is not named is listed
at the end. It takes one core a minute.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from sampler_parity.cases.plan import CASE_COUNTS, LOOK, plan
from sampler_parity.faults.kill import CauseCounts, ExpectedCases, judged
from sampler_parity.faults.mistakes import MISTAKES
from sampler_parity.faults.port import planted, port_faults
from sampler_parity.faults.shipped import shipped_faults
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.specimens import SPECIMENS
from sampler_parity.model.implementation import Implementation
from sampler_parity.model.verdict import Verdict


@dataclass(frozen=True, slots=True)
class LookedFault:
    """A planted fault, and what a quick look makes of it as its candidate.

    Attributes:
        where: ``plain``, ``port``, ``specimen`` or ``shipped``, as in the kill matrix.
        name: the fault's.
        stage: where it must be found; empty if anywhere.
        named: in how many cases it is found there, with its verdict.
        differing: in how many cases anything differs.
    """

    where: str
    name: str
    stage: str
    named: int
    differing: int


def look_cases(capability: str) -> ExpectedCases:
    """Give the cases of a quick look with seed 0, with the reference's outcomes."""
    reference = PythonRef()
    return [(case, reference.run(case, capability)) for case in plan(CASE_COUNTS[LOOK], 0)]


AT_A_TIME = 16
"""Cases after which is asked whether a fault was named."""


def looked(
    cases: ExpectedCases, capability: str, *, until_named: bool = False
) -> Iterator[LookedFault]:
    """Judge every planted fault over ``cases``; torch must run at ``capability`` here.

    With ``until_named``, no more cases are judged than it takes to name a fault.
    """

    def causes(
        candidate: Implementation, cases: ExpectedCases, place: tuple[str, Verdict] | None
    ) -> CauseCounts:
        """Count the gravest causes; a fault without a ``place`` is named by any."""
        found = CauseCounts()
        size = AT_A_TIME if until_named else len(cases)
        for start in range(0, len(cases), size):
            found += judged(candidate, cases[start : start + size], capability)[1]
            if found.total() if place is None else found[place]:
                break
        return found

    # The plain samplers take rows only.
    rows = [pair for pair in cases if pair[0].logits.ndim > 1]
    for mistake in MISTAKES:
        place = (mistake.stage, mistake.verdict)
        found = causes(mistake.sampler, rows, place)
        yield LookedFault("plain", mistake.name, mistake.stage, found[place], found.total())
    for fault in port_faults():
        with planted(fault.name) as candidate:
            place = (fault.stage, fault.verdict)
            found = causes(candidate, cases, place)
        yield LookedFault("port", fault.name, fault.stage, found[place], found.total())
    for name, specimen in SPECIMENS.items():
        place = (specimen.stage, specimen.verdict)
        found = causes(specimen.plug_in, cases, place)
        yield LookedFault("specimen", name, specimen.stage, found[place], found.total())
    for shipped in shipped_faults():
        with planted(shipped.name) as candidate:
            found = causes(candidate, cases, None)
        yield LookedFault("shipped", shipped.name, "", found.total(), found.total())


def main() -> int:
    """Print a line a fault, and how many of each kind are named."""
    here = capability_here()
    print(f"at {here}")
    faults = list(looked(look_cases(here), here))
    for fault in faults:
        place = f"at {fault.stage}" if fault.stage else "anywhere"
        print(f"{fault.where:8} {fault.name}: {place} in {fault.named:,} cases")
    for where in dict.fromkeys(fault.where for fault in faults):
        kind = [fault for fault in faults if fault.where == where]
        missed = [fault.name for fault in kind if not fault.named]
        print(f"{where}: {len(kind) - len(missed)} of {len(kind)} named; not: {missed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
