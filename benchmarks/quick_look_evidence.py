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


def looked(cases: ExpectedCases, capability: str) -> Iterator[LookedFault]:
    """Judge every planted fault over ``cases``; torch must run at ``capability`` here."""
    # The plain samplers take rows only.
    rows = [pair for pair in cases if pair[0].logits.ndim > 1]
    for mistake in MISTAKES:
        found = judged(mistake.sampler, rows, capability)[1]
        yield _looked("plain", mistake.name, mistake.stage, mistake.verdict, found)
    for fault in port_faults():
        with planted(fault.name) as candidate:
            found = judged(candidate, cases, capability)[1]
        yield _looked("port", fault.name, fault.stage, fault.verdict, found)
    for name, specimen in SPECIMENS.items():
        found = judged(specimen.plug_in, cases, capability)[1]
        yield _looked("specimen", name, specimen.stage, specimen.verdict, found)
    for shipped in shipped_faults():
        with planted(shipped.name) as candidate:
            found = judged(candidate, cases, capability)[1]
        yield LookedFault("shipped", shipped.name, "", found.total(), found.total())


def _looked(where: str, name: str, stage: str, verdict: Verdict, found: CauseCounts) -> LookedFault:
    return LookedFault(where, name, stage, found[stage, verdict], found.total())


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
