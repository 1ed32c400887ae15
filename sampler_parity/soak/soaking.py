"""A soak from its beginning to its end: leases go out, what they found comes back and is kept."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from sampler_parity.implementations.registry import PORT
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.sandbox.isolated import Limits, command_of
from sampler_parity.soak.cluster import HOW_TO_START, Ended, no_judgement
from sampler_parity.soak.lease import Lease, LeaseOrder, LeaseResult, SoakFinding
from sampler_parity.soak.leasing import Leases
from sampler_parity.soak.soak_file import SoakBegun, SoakFile, SoakSaid
from sampler_parity.soak.tally import SoakTally
from sampler_parity.soak.version import cases_version

SIZE = 1000
"""Numbers of a lease: a worker is busy with them for some seconds."""

IN_FLIGHT = 2
"""Leases a worker's thread that are under way, so that none waits for the next one."""

TICK = 1.0
"""Seconds after which it is looked again whether the scheduler and its workers are there."""

GRACE = 60.0
"""Seconds beyond its hours for which a soak waits for what is under way."""

ATTEMPTS = 3
"""How often a lease is handed out that raises, or kills its workers, before it is given up. Dask
itself gives up a task whose workers died four times."""


@dataclass(frozen=True, slots=True)
class SoakRequest:
    """What to soak.

    Attributes:
        cluster: the scheduler's address.
        hours: for how long.
        cases: after how many cases to end, in whole leases, if that comes first.
        seed: every case is made from it.
        implementation: the candidate.
        limits: what it may use.
        size: numbers of a lease.
        folder: where the soak's file is, and what it kept.
        search: whether half of the cases go on from close ones.
    """

    cluster: str
    hours: float
    cases: int | None = None
    seed: int = 0
    implementation: str = PORT
    limits: Limits = field(default_factory=Limits)
    size: int = SIZE
    folder: Path = Path("reports/soak")
    search: bool = True


class Cluster(Protocol):
    """What a soak needs of a cluster; see :class:`sampler_parity.soak.cluster.WorkCluster`."""

    def connect(self) -> bool:
        """Say whether the scheduler is there."""

    def threads(self) -> int:
        """Count the threads of all workers."""

    def submit(self, name: str, order: bytes) -> str:
        """Have an order carried out; give the task's name."""

    def ended(self, seconds: float) -> Ended | None:
        """Wait for a task that ends."""

    def forget(self) -> Sequence[str]:
        """Expect no task any more; give their names."""

    @property
    def dashboard(self) -> str:
        """Where the cluster shows what it does."""


class Told(Protocol):
    """Is told how a soak goes on."""

    def said(self, words: str) -> None:
        """Something befell the soak."""

    def found(self, finding: SoakFinding) -> None:
        """A case differs."""

    def result(self, result: LeaseResult, tally: SoakTally) -> None:
        """A lease has come to its end."""

    def tick(self, tally: SoakTally, threads: int) -> None:
        """Time has passed."""


def soak(request: SoakRequest, cluster: Cluster, told: Told) -> SoakTally:
    """Lease numbers until the time is over, or enough cases were compared; go on where one ended.

    Ctrl-C ends it as the end of its hours does, but for what is under way.

    Raises:
        CannotJudgeError: the file is of another soak, a worker cannot judge, or there is no
            candidate of that name.
    """
    if not request.cluster:
        raise CannotJudgeError(f"a soak needs a Dask cluster: {HOW_TO_START}")
    command_of(request.implementation)
    begun = SoakBegun(
        version=cases_version(),
        seed=request.seed,
        implementation=request.implementation,
        size=request.size,
        search=request.search,
        started=_now(),
    )
    with SoakFile(request.folder, begun) as file:
        tally = SoakTally(file.begun)
        leases = Leases(request.size, request.seed, request.cases, search=request.search)
        for result in file.results():
            if leases.finished(result):
                tally.add(result, now=False)
        soaking = _Soaking(request, file, leases, tally, told)
        if file.cut:
            soaking.say("the file's last line was cut: its lease is made again")
        if tally.compared:
            soaking.say(f"goes on after {tally.compared:,} cases")
        soaking.run(cluster)
    return tally


@dataclass(slots=True)
class _Soaking:
    """A soak while it is made.

    Attributes:
        out: the leases that are handed out, by their task's name.
        attempts: how often a lease raised, by its first number.
        lost: whether the scheduler cannot be reached.
    """

    request: SoakRequest
    file: SoakFile
    leases: Leases
    tally: SoakTally
    told: Told
    out: dict[str, Lease] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    lost: bool = False
    exhausted: bool = False

    def run(self, cluster: Cluster) -> None:
        begun = time.monotonic()
        deadline = begun + self.request.hours * 3600
        try:
            while (now := time.monotonic()) < deadline + GRACE:
                self.tally.seconds = now - begun
                over = now >= deadline
                if self._connected(cluster):
                    threads = cluster.threads()
                    if not over:
                        self._hand_out(cluster, threads)
                    self.told.tick(self.tally, threads)
                if not self.out and (over or self.exhausted):
                    return
                ended = cluster.ended(TICK)
                if ended is not None:
                    self._take(ended)
        except KeyboardInterrupt:
            self.say("interrupted: what is under way is made again when the soak goes on")
        finally:
            self.tally.seconds = time.monotonic() - begun

    def say(self, words: str) -> None:
        self.file.add(SoakSaid(at=_now(), words=words))
        self.told.said(words)

    def _connected(self, cluster: Cluster) -> bool:
        connected = cluster.connect()
        if connected and self.lost:
            self.say(f"the scheduler is there: {cluster.dashboard}")
        elif not connected and not self.lost:
            self.say(
                f"no scheduler answers at {self.request.cluster}: waiting for it, and "
                f"{len(self.out)} leases are handed out again"
            )
        if not connected:
            for name in cluster.forget():
                self.leases.lost(self.out.pop(name))
        self.lost = not connected
        return connected

    def _hand_out(self, cluster: Cluster, threads: int) -> None:
        while len(self.out) < IN_FLIGHT * threads:
            lease = self.leases.next()
            if lease is None:
                self.exhausted = True
                return
            self.exhausted = False
            order = LeaseOrder(
                lease=lease,
                seed=self.request.seed,
                implementation=self.request.implementation,
                limits=self.request.limits,
                version=cases_version(),
            )
            self.out[cluster.submit(str(lease.first), msgspec.json.encode(order))] = lease

    def _take(self, ended: Ended) -> None:
        lease = self.out.pop(ended.name)
        if ended.result is not None:
            result = msgspec.json.decode(ended.result, type=LeaseResult)
            if self.leases.finished(result):
                self.file.add(result)
                for finding in self.tally.add(result):
                    self.told.found(finding)
                self.told.result(result, self.tally)
            return
        if ended.error is None:
            self.say(f"lease {lease.first} was lost, and is handed out again")
            self.leases.lost(lease)
            return
        why = no_judgement(ended.error)
        if why is not None:
            raise why
        words = f"{type(ended.error).__name__}: {ended.error}"
        self.attempts[lease.first] = self.attempts.get(lease.first, 0) + 1
        if self.attempts[lease.first] < ATTEMPTS:
            self.say(f"lease {lease.first} is handed out again: {words}")
            self.leases.lost(lease)
            return
        self.say(f"lease {lease.first} is given up after {ATTEMPTS} attempts: {words}")
        self.leases.given_up(lease)
        self.tally.give_up(lease, words)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
