"""What a soak found so far, and what it concludes."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from sampler_parity.soak.lease import CloseCall, Lease, LeaseResult, SoakFinding, kind_in_words
from sampler_parity.soak.leasing import ClosestCalls
from sampler_parity.soak.measures import MEASURES
from sampler_parity.soak.soak_file import SoakBegun

FOUND_OF_A_KIND = 10
"""Cases that differ at one stage with one verdict which are kept one by one; the soak's file has
all that a lease keeps."""

SoakStatus = Literal["equal", "diverges", "unjudged"]


@dataclass(slots=True)
class SoakTally:
    """Counts of a soak.

    Attributes:
        begun: the soak.
        leases: how many leases came to their end.
        compared: cases that were compared.
        equal: of those, how many are equal, bit for bit.
        stages: stages, errors and effects that were compared.
        tokens: tokens that were compared.
        not_compared: cases that were not, by reason.
        differing: cases that differ, by verdict and stage.
        capabilities: cases that were compared at each capability.
        versions: what they were compared with, one line for each combination.
        workers: cases that each worker compared.
        closest: the closest cases.
        findings: the kept cases that differ.
        kinds: how many cases leases have kept of each kind.
        seconds: how long this process has soaked.
        now: cases that were compared while this process soaked.
        cpu: seconds of processor that the workers took, their candidates' processes apart.
        busy: seconds that the workers were busy for, in all.
    """

    begun: SoakBegun
    leases: int = 0
    compared: int = 0
    equal: int = 0
    stages: int = 0
    tokens: int = 0
    not_compared: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)
    capabilities: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    workers: Counter[str] = field(default_factory=Counter)
    closest: ClosestCalls = field(default_factory=ClosestCalls)
    findings: list[SoakFinding] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    now: int = 0
    cpu: float = 0.0
    busy: float = 0.0

    def add(self, result: LeaseResult, *, now: bool = True) -> list[SoakFinding]:
        """Count what a lease found, ``now`` or in an earlier process; give what is kept of it."""
        self.leases += 1
        self.compared += result.compared
        self.equal += result.equal
        self.stages += result.stages
        self.tokens += result.tokens
        self.not_compared.update(result.not_compared)
        self.differing.update(result.differing)
        self.capabilities[result.capability] += result.compared
        self.versions[", ".join(f"{k}: {v}" for k, v in result.versions.items())] += result.compared
        self.workers[result.worker] += result.compared
        for call in result.closest:
            self.closest.add(call)
        self.now += result.compared if now else 0
        self.cpu += result.cpu
        self.busy += result.seconds
        kept = [found for found in result.findings if self._kept(found)]
        self.findings += kept
        return kept

    def _kept(self, found: SoakFinding) -> bool:
        kind = kind_in_words(found.divergence)
        self.kinds[kind] += 1
        return self.kinds[kind] <= FOUND_OF_A_KIND

    def give_up(self, lease: Lease, words: str) -> None:
        """Count the cases of a lease that was given up."""
        self.not_compared[words] += lease.count

    @property
    def status(self) -> SoakStatus:
        """What the soak concludes: nothing is concluded where a case was not compared."""
        if self.differing:
            return "diverges"
        return "equal" if self.compared and not self.not_compared else "unjudged"

    @property
    def rate(self) -> float:
        """Cases a second, while this process soaked."""
        return self.now / self.seconds if self.seconds else 0.0

    def nearest(self) -> dict[str, CloseCall]:
        """Give the closest case of each measure, in their order."""
        found = self.closest.closest()
        return {name: found[name][0] for name in MEASURES if name in found}


class SoakSummary(msgspec.Struct, frozen=True, kw_only=True, tag="summary"):
    """What a soak's folder says in ``soak.json``.

    Attributes:
        schema: version of this form.
        status: ``equal``, ``diverges`` or ``unjudged``.
        begun: the soak.
        leases: as :class:`SoakTally` counts it; so are the following.
        compared: see there.
        equal: see there.
        stages: see there.
        tokens: see there.
        not_compared: see there.
        differing: see there.
        capabilities: see there.
        versions: see there.
        workers: see there.
        seconds: how long the last process soaked.
        rate: the cases a second of that process.
        cases_a_cpu_second: of all leases, the candidates' processes apart.
        closest: the closest cases by measure, with the command that shows each.
        findings: the commands that show each kept case that differs, with its words.
    """

    schema: Literal[1] = 1
    status: SoakStatus
    begun: SoakBegun
    leases: int
    compared: int
    equal: int
    stages: int
    tokens: int
    not_compared: dict[str, int]
    differing: dict[str, int]
    capabilities: dict[str, int]
    versions: dict[str, int]
    workers: dict[str, int]
    seconds: float
    rate: float
    cases_a_cpu_second: float
    closest: dict[str, tuple[tuple[float, str], ...]]
    findings: tuple[tuple[str, str], ...]
