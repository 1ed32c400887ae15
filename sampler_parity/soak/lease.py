"""A range of case numbers that one worker compares, and what it found."""

from typing import Annotated

import msgspec

from sampler_parity.model.case import Described
from sampler_parity.model.verdict import Divergence, Verdict
from sampler_parity.sandbox.isolated import Limits
from sampler_parity.soak.recipe import Recipe

Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class Lease(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A range of case numbers, with all that decides which cases they are.

    Attributes:
        first: the first number.
        count: how many numbers.
        parents: what cases go on from.
        search: whether half of the cases go on from others; all explore without it.
        known: the kinds of divergence, stage and verdict, of which a case was made small before.
    """

    first: Number
    count: Number
    parents: tuple[Recipe, ...] = ()
    search: bool = True
    known: tuple[tuple[str, Verdict], ...] = ()


class LeaseOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker is told.

    Attributes:
        lease: its cases.
        seed: the soak's.
        implementation: the candidate, as a command line calls it.
        limits: what the candidate may use.
        version: of the package that leases; a worker has the same.
    """

    lease: Lease
    seed: Number
    implementation: str
    limits: Limits
    version: str


class CloseCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A case that came close to another decision.

    Attributes:
        measure: which decision, one of ``MEASURES``.
        distance: how close, 0 for a tie.
        number: the case's.
        recipe: what it is made of.
        capability: torch's there.
    """

    measure: str
    distance: float
    number: Number
    recipe: Recipe
    capability: str


class SoakFinding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A case that differs.

    Attributes:
        number: the case's.
        recipe: what it is made of.
        capability: torch's there.
        described: the case without its logits.
        divergence: where it differs.
        distances: how close it came, by measure.
        small: the case made small, as a case's file; empty where it was not made.
    """

    number: Number
    recipe: Recipe
    capability: str
    described: Described
    divergence: Divergence
    distances: dict[str, float]
    small: bytes = b""


class LeaseResult(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="lease"
):
    """What came of a lease; a line of the soak's file.

    Attributes:
        lease: which cases.
        capability: torch's in that worker.
        versions: of what the cases were compared with: torch, the candidate, the processor.
        worker: what Dask calls it.
        compared: how many cases were compared.
        equal: how many of those were equal, bit for bit.
        not_compared: how many were not, by reason.
        differing: how many differ, by verdict and stage.
        stages: how many stages, errors and effects were compared.
        tokens: how many tokens.
        closest: the closest case by each measure.
        findings: the first that differ of each kind.
        seconds: how long it took.
        cpu: seconds of processor that the worker took, without the candidate's process.
    """

    lease: Lease
    capability: str
    versions: dict[str, str]
    worker: str
    compared: Number
    equal: Number
    not_compared: dict[str, int]
    differing: dict[str, int]
    stages: Number
    tokens: Number
    closest: tuple[CloseCall, ...]
    findings: tuple[SoakFinding, ...]
    seconds: float
    cpu: float


def kind_in_words(divergence: Divergence) -> str:
    """Name a divergence's kind: ``VERDICT at STAGE``."""
    return f"{divergence.verdict} at {divergence.stage}"
