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


AT_A_TIME = 4
"""Cases after which is asked whether a fault was named."""


def looked(
    cases: ExpectedCases, capability: str, *, until_named: bool = False
) -> Iterator[LookedFault]:
    """Judge every planted fault over ``cases``; torch must run at ``capability`` here.

    With ``until_named``, no more cases are judged than it takes to name a fault.
    """
    # The plain samplers take rows only.
    rows = [pair for pair in cases if pair[0].logits.ndim > 1]

    def look(
        where: str, name: str, place: tuple[str, Verdict] | None, candidate: Implementation
    ) -> LookedFault:
        """Judge a fault; one without a ``place`` is named by any divergence."""
        asked = rows if where == "plain" else cases
        found, named = CauseCounts(), 0
        size = AT_A_TIME if until_named else len(asked)
        for start in range(0, len(asked), size):
            found += judged(candidate, asked[start : start + size], capability)[1]
            named = found.total() if place is None else found[place]
            if named:
                break
        return LookedFault(where, name, place[0] if place else "", named, found.total())

    for mistake in MISTAKES:
        yield look("plain", mistake.name, (mistake.stage, mistake.verdict), mistake.sampler)
    for fault in port_faults():
        with planted(fault.name) as candidate:
            found = look("port", fault.name, (fault.stage, fault.verdict), candidate)
        yield found
    for name, specimen in SPECIMENS.items():
        yield look("specimen", name, (specimen.stage, specimen.verdict), specimen.plug_in)
    for shipped in shipped_faults():
        with planted(shipped.name) as candidate:
            found = look("shipped", shipped.name, None, candidate)
        yield found


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
