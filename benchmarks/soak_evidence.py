"""Measures what a soak's search is worth: how close it comes, and which planted faults it meets.

    python -m benchmarks.soak_evidence [--cases 10000] [--seed 0]

As many cases are made with the search as without it, and compared with torch at this process'
capability. Of each are shown the closest call by every measure and, for every fault that is planted
in what users run, on the how manieth case the faulty port differs first. Cases have one row: faults
of batches cannot show.
"""

import argparse
import resource
from collections.abc import Sequence
from dataclasses import dataclass, field

from sampler_parity.build.instrumented import instrumented
from sampler_parity.faults.shipped import ShippedFault, shipped_faults
from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.judge import compare
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.soak.leasing import Leases
from sampler_parity.soak.measures import MEASURES
from sampler_parity.soak.work import compared

SIZE = 500
"""Numbers of a lease."""

OF_BATCHES = "batch/"
"""The folder of the files whose faults show in batches only."""


@dataclass(slots=True)
class Panel:
    """The port, which notes with which faults its outcome would have been another one.

    Attributes:
        waiting: the faults that have shown on no case.
        found: on which case, the how manieth, each of the others has.
        cases: how many cases were run.
    """

    waiting: list[ShippedFault]
    found: dict[str, int] = field(default_factory=dict)
    cases: int = 0
    port: RustExt = field(default_factory=lambda: RustExt(instrumented()))

    @property
    def about(self) -> About:
        """What the port is."""
        return self.port.about

    def run(self, case: Case, capability: str) -> Outcome:
        """Run a case without a fault, after it was run with each that has not shown."""
        self.cases += 1
        outcome = self.port.run(case, capability)
        for fault in list(self.waiting):
            instrumented().plant_fault(fault.name)
            try:
                faulty = self.port.run(case, capability)
            finally:
                instrumented().plant_fault(None)
            if compare(case, outcome, faulty).differences:
                self.found[fault.name] = self.cases
                self.waiting.remove(fault)
        return outcome


def measured(faults: Sequence[ShippedFault], cases: int, seed: int, *, search: bool) -> "Measured":
    """Run so many cases, with the search or without it."""
    panel, leases = Panel(list(faults)), Leases(SIZE, seed, cases, search=search)
    while lease := leases.next():
        result = compared(lease, seed, panel)
        if result.equal != lease.count:
            raise SystemExit(f"the port without a fault differs: {result.differing}")
        leases.finished(result)
    calls = leases.closest.closest()
    return Measured({name: pool[0].distance for name, pool in calls.items()}, panel.found)


@dataclass(frozen=True, slots=True)
class Measured:
    """What so many cases came to.

    Attributes:
        closest: the closest by each measure.
        first: on which case each fault showed first.
    """

    closest: dict[str, float]
    first: dict[str, int]


def main() -> None:
    """Measure, and print two tables in Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    faults = [fault for fault in shipped_faults() if not fault.file.startswith(OF_BATCHES)]
    searched, blind = (
        measured(faults, asked.cases, asked.seed, search=search) for search in (True, False)
    )
    print(f"{asked.cases:,} cases each, seed {asked.seed}, torch at {capability_here()}\n")
    print("| measure | with the search | without |\n| --- | ---: | ---: |")
    for name in MEASURES:
        values = [f"{one.closest[name]:.3g}" if name in one.closest else "none"
                  for one in (searched, blind)]  # fmt: skip
        print(f"| {name} | {values[0]} | {values[1]} |")
    print("\n| planted fault | first shows with the search | without |\n| --- | ---: | ---: |")
    for fault in faults:
        places = [f"{one.first[fault.name]:,}" if fault.name in one.first else "not"
                  for one in (searched, blind)]  # fmt: skip
        print(f"| `{fault.name}` | {places[0]} | {places[1]} |")
    print(f"\n{len(searched.first)} and {len(blind.first)} of {len(faults)} faults shown")
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"{used.ru_utime + used.ru_stime:,.0f} seconds of processor")


if __name__ == "__main__":
    main()
