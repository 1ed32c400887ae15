"""What the gate and its worker processes say to each other, one JSON object a line."""

import msgspec

from sampler_parity.faults.found import Correct, Planted
from sampler_parity.run.run_file import Shard
from sampler_parity.run.waivers import Waiver
from sampler_parity.sandbox.isolated import Limits
from sampler_parity.statistics.result import StatisticsResult


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to do.

    Attributes:
        implementation: the candidate to compare with torch; empty to plant faults instead.
        capability: torch's, and the candidate's.
        profile: ``quick`` or ``full``.
        seed: the run's.
        families: whose cases are compared.
        folder: where evidence is kept until the run is stored.
        home: where the run will be, as commands that replay a case name it.
        limits: the candidate's.
        waivers: those of this candidate that have not expired.
        noise: whether to measure how far torch is from torch as well.
        plain: whether to plant faults in the plain samplers.
        port: whether to plant faults in the port.
        frequencies: whether to draw from the candidate and count, instead of comparing cases.
    """

    implementation: str = ""
    capability: str
    profile: str
    seed: int = 0
    families: tuple[str, ...] = ()
    folder: str = ""
    home: str = ""
    limits: Limits = Limits()
    waivers: tuple[Waiver, ...] = ()
    noise: bool = False
    plain: bool = False
    port: bool = False
    frequencies: bool = False

    @property
    def name(self) -> str:
        """How progress calls it."""
        what = "frequencies of " if self.frequencies else ""
        return f"{what}{self.implementation or 'planted faults'} at {self.capability}"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker found.

    Attributes:
        shards: what was compared.
        planted: faults, with what was found of them at this capability.
        correct: samplers that must not be called wrong.
        covered: how many divergent cases each of the order's waivers covers.
        statistics: what the candidate's frequencies say.
    """

    shards: tuple[Shard, ...] = ()
    planted: tuple[Planted, ...] = ()
    correct: tuple[Correct, ...] = ()
    covered: tuple[int, ...] = ()
    statistics: StatisticsResult | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """How far a worker is, and at the end its result or why it cannot judge."""

    done: int = 0
    total: int = 0
    result: Result | None = None
    cannot_judge: str = ""
