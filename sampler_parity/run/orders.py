"""What the gate and its worker processes say to each other, one JSON object a line.

A new kind of order is a struct here with a name of its own, a line of :data:`Order`, a case in
:func:`sampler_parity.run.work.work`, and a place in :func:`sampler_parity.run.gate.orders_of`.
"""

from collections.abc import Callable

import msgspec

from sampler_parity.cases.your_logits import YourLogits
from sampler_parity.engines.findings import EngineFault
from sampler_parity.faults.found import Correct, Planted
from sampler_parity.run.run_file import Shard
from sampler_parity.run.waivers import Waiver
from sampler_parity.sandbox.isolated import Limits
from sampler_parity.statistics.result import StatisticsResult


class _Order(msgspec.Struct, frozen=True, kw_only=True, tag_field="order"):
    """What every order has: torch fixes its capability when the worker imports it."""

    capability: str


class CompareCases(_Order, frozen=True, kw_only=True, tag="compare"):
    """Compare a candidate with torch.

    Attributes:
        implementation: the candidate.
        capability: torch's, and the candidate's.
        first: whether it is the first capability of the run, at which those candidates are
            compared whose answers do not depend on it.
        profile: ``quick`` or ``full``.
        seed: the run's.
        families: whose cases are compared.
        folder: where evidence is kept until the run is stored.
        home: where the run will be, as commands that replay a case name it.
        limits: the candidate's.
        waivers: those of this candidate that have not expired.
        reproducibility: whether to count as well how often torch differs from torch.
        reference: the pipeline that it is held against; empty for the two of the port.
        logits: somebody's own, of which cases are made as well.
        evidence: whether divergent cases are kept, and made small.
        failed: the ids of cases that diverged last time: they are compared first.
        part: which cases are compared: those whose number in the run leaves the remainder of the
            first number, from 0, on division by the second.
    """

    implementation: str
    first: bool = True
    profile: str
    seed: int = 0
    families: tuple[str, ...]
    folder: str
    home: str = ""
    limits: Limits = Limits()
    waivers: tuple[Waiver, ...] = ()
    reproducibility: bool = False
    reference: str = ""
    logits: YourLogits | None = None
    evidence: bool = True
    failed: tuple[str, ...] = ()
    part: tuple[int, int] = (0, 1)

    @property
    def name(self) -> str:
        """How progress calls it."""
        return f"{self.implementation} at {self.capability}"


class CountFrequencies(_Order, frozen=True, kw_only=True, tag="frequencies"):
    """Draw from a candidate, and hold the frequencies of its tokens against the exact law.

    Attributes:
        implementation: the candidate.
        capability: torch's, and the candidate's.
        profile: ``quick`` or ``full``.
        seed: the run's.
        limits: the candidate's.
        logits: somebody's own, from some rows of which is drawn as well.
        reference: the pipeline whose law it is held against; empty for the two of the port.
        processes: the candidate's, at a time.
    """

    implementation: str
    profile: str
    seed: int
    limits: Limits
    logits: YourLogits | None = None
    reference: str = ""
    processes: int = 1

    @property
    def name(self) -> str:
        """How progress calls it."""
        return f"frequencies of {self.implementation} at {self.capability}"


class PlantInPort(_Order, frozen=True, kw_only=True, tag="plant-port"):
    """Plant every fault of the port: in its stages, and in what users run of it.

    Attributes:
        capability: torch's, and the port's.
        profile: ``quick`` or ``full``.
    """

    profile: str

    @property
    def name(self) -> str:
        """How progress calls it."""
        return f"faults of the port at {self.capability}"


class PlantInPlain(_Order, frozen=True, kw_only=True, tag="plant-plain"):
    """Plant mistakes in plain samplers, and try correct ones.

    Attributes:
        capability: torch's.
        profile: ``quick`` or ``full``.
        specimens: whether to try the samplers whose faults were found as well.
    """

    profile: str
    specimens: bool

    @property
    def name(self) -> str:
        """How progress calls it."""
        return f"faults of plain samplers at {self.capability}"


class PlantInStages(_Order, frozen=True, kw_only=True, tag="plant-stages"):
    """Plant every mistake that the stages of a reference know, and try what is right.

    Attributes:
        capability: torch's.
        profile: ``quick`` or ``full``.
        reference: the pipeline, by name.
    """

    profile: str
    reference: str

    @property
    def name(self) -> str:
        """How progress calls it."""
        return f"faults of {self.reference}"


class PlantInEngines(_Order, frozen=True, kw_only=True, tag="plant-engines"):
    """Plant every fault of engines in a small one, and compare its recordings.

    Attributes:
        capability: torch's.
    """

    @property
    def name(self) -> str:
        """How progress calls it."""
        return "faults of engines"


Order = (
    CompareCases | CountFrequencies | PlantInPort | PlantInPlain | PlantInStages | PlantInEngines
)
"""What a worker is to do. The gate knows the worker by the order's ``name``: no two orders of a run
have the same."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker found.

    Attributes:
        shards: what was compared.
        planted: faults, with what was found of them at this capability.
        correct: samplers that must not be called wrong.
        covered: how many divergent cases each of the order's waivers covers.
        statistics: what the candidate's frequencies say.
        engine_faults: faults of engines, with what the comparison of recordings made of each.
    """

    shards: tuple[Shard, ...] = ()
    planted: tuple[Planted, ...] = ()
    correct: tuple[Correct, ...] = ()
    covered: tuple[int, ...] = ()
    statistics: StatisticsResult | None = None
    engine_faults: tuple[EngineFault, ...] = ()


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """How far a worker is, and at the end its result or why it cannot judge.

    Attributes:
        done: how much is done.
        total: of how much.
        doing: of what, in words; empty for the cases of the order.
        result: what was found, at the end.
        cannot_judge: why there is no result, at the end.
    """

    done: int = 0
    total: int = 0
    doing: str = ""
    result: Result | None = None
    cannot_judge: str = ""


Say = Callable[[Message], None]
"""Tells the gate how far a worker is."""
