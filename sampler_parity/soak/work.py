"""What a worker of the cluster does: it compares the cases of one lease.

A lease's cases depend on the lease and on the worker's torch and its capability, and on nothing
that the worker did before.
"""

import platform
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import msgspec
import torch

from sampler_parity.cases.case_file import save_case
from sampler_parity.implementations.reference import capability_here, reference_here
from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.judge.shrink import shrink
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import Implementation
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import Divergence, Verdict
from sampler_parity.run.effort import BRIEF
from sampler_parity.sandbox.isolated import Isolated, Limits
from sampler_parity.soak.closeness import distances
from sampler_parity.soak.lease import (
    CloseCall,
    Lease,
    LeaseOrder,
    LeaseResult,
    SoakFinding,
    kind_in_words,
)
from sampler_parity.soak.recipe import Recipe, case_of_recipe
from sampler_parity.soak.search import explores, recipe_of
from sampler_parity.soak.version import cases_version

IN_A_ROW = 5
"""How many cases in a row a candidate may leave without an answer before a lease is given up."""

OF_A_KIND = 2
"""Findings of one stage and verdict that a lease keeps; the others are counted."""


def carry_out(order: bytes, worker: str = "") -> bytes:
    """Compare a lease's cases, given as a :class:`LeaseOrder` in JSON; give a `LeaseResult` so.

    Raises:
        CannotJudgeError: the worker has another version, or the candidate cannot be asked.
    """
    asked = msgspec.json.decode(order, type=LeaseOrder)
    if asked.version != cases_version():
        raise CannotJudgeError(
            f"a worker has {cases_version()}, and the soak {asked.version}: install the same"
        )
    candidate = _candidate(asked.implementation, asked.limits, threading.get_ident())
    sampler = "sample_logits"
    if sampler not in candidate.about.samplers:
        raise CannotJudgeError(f"{asked.implementation} has no {sampler}, which a soak is of")
    return msgspec.json.encode(compared(asked.lease, asked.seed, candidate, worker))


@cache
def _candidate(implementation: str, limits: Limits, _: int) -> Isolated:
    """Start a candidate, for one thread: it ends with the thread."""
    return Isolated(implementation, limits)


def compared(lease: Lease, seed: int, candidate: Implementation, worker: str = "") -> LeaseResult:
    """Compare a lease's cases with torch, at this process' capability."""
    torch.set_num_threads(1)
    bench = _LeaseBench(lease, seed, candidate, capability_here())
    wall, cpu = time.monotonic(), time.process_time()
    for number in range(lease.first, lease.first + lease.count):
        if bench.unanswered >= IN_A_ROW:
            bench.not_compared[f"given up after {IN_A_ROW} cases without an answer"] += 1
            continue
        bench.compare(number)
    return LeaseResult(
        lease=lease,
        capability=bench.capability,
        versions={
            "torch": str(torch.__version__),
            "candidate": f"{candidate.about.name} {candidate.about.version}",
            "machine": f"{platform.system()} {platform.machine()}",
        },
        worker=worker,
        compared=bench.compared,
        equal=bench.compared - bench.differing.total(),
        not_compared=dict(bench.not_compared),
        differing=dict(bench.differing.most_common()),
        stages=bench.stages,
        tokens=bench.tokens,
        closest=tuple(bench.closest.values()),
        findings=tuple(bench.findings),
        seconds=round(time.monotonic() - wall, 3),
        cpu=round(time.process_time() - cpu, 3),
    )


@dataclass(slots=True)
class _LeaseBench:
    """What a lease's cases are compared with, and what was found so far."""

    lease: Lease
    seed: int
    candidate: Implementation
    capability: str
    reference: Implementation = field(default_factory=reference_here)
    compared: int = 0
    unanswered: int = 0
    stages: int = 0
    tokens: int = 0
    not_compared: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)
    closest: dict[str, CloseCall] = field(default_factory=dict)
    findings: list[SoakFinding] = field(default_factory=list)

    def compare(self, number: int) -> None:
        """Compare the case of a number, and measure how close it came."""
        recipe = Recipe(root=number)
        if self.lease.search and not explores(number):
            recipe = recipe_of(number, self.seed, self.lease.parents)
        case = case_of_recipe(recipe, number, self.seed)
        if declined := self.candidate.about.too_long(case):
            self.not_compared[declined] += 1
            return
        expected, outcome, divergence = self._both(case)
        if outcome.declined:
            self.not_compared[outcome.declined] += 1
            return
        self.unanswered = self.unanswered + 1 if outcome.lost else 0
        self.compared += 1
        found = distances(case, expected) if expected.tokens else {}
        for measure, distance in found.items():
            best = self.closest.get(measure)
            if best is None or distance < best.distance:
                self.closest[measure] = CloseCall(
                    measure=measure,
                    distance=distance,
                    number=number,
                    recipe=recipe,
                    capability=self.capability,
                )
        if divergence is not None:
            self._keep(case, recipe, divergence, found)

    def _both(self, case: Case) -> tuple[Outcome, Outcome, Divergence | None]:
        if isinstance(self.candidate, Isolated):
            # It computes while torch does.
            self.candidate.ask(case, self.capability)
            expected = self.reference.run(case, self.capability)
            outcome = self.candidate.answer()
        else:
            expected = self.reference.run(case, self.capability)
            outcome = self.candidate.run(case, self.capability)
        if outcome.declined:
            return expected, outcome, None
        about = self.candidate.about
        comparison = compare(case, expected, outcome, about)
        self.stages += len(comparison.compared)
        self.tokens += sum(tokens.size for tokens in expected.tokens)
        return expected, outcome, judge(case, expected, outcome, comparison, about)

    def _keep(
        self, case: Case, recipe: Recipe, divergence: Divergence, found: dict[str, float]
    ) -> None:
        kind = (divergence.stage, divergence.verdict)
        before = sum(
            (one.divergence.stage, one.divergence.verdict) == kind for one in self.findings
        )
        self.differing[kind_in_words(divergence)] += 1
        if before >= OF_A_KIND:
            return
        small = b"" if before or kind in self.lease.known else self._small(case, divergence)
        self.findings.append(
            SoakFinding(
                number=int(case.id.removeprefix("soak-").partition("@")[0]),
                recipe=recipe,
                capability=self.capability,
                described=case.described(),
                divergence=divergence,
                distances=found,
                small=small,
            )
        )

    def _small(self, case: Case, divergence: Divergence) -> bytes:
        """Make a case small that still differs alike; nothing where it does not differ again."""
        if divergence.verdict is Verdict.TIMED_OUT:
            return b""
        stages, tokens = self.stages, self.tokens

        def still(one: Case) -> bool:
            again = self._both(one)[2]
            kind = (divergence.stage, divergence.verdict)
            return again is not None and (again.stage, again.verdict) == kind

        crashed = divergence.verdict is Verdict.CRASHED
        budget = BRIEF.tried_in_processes if crashed else BRIEF.tried
        small, _ = shrink(case, still, budget, BRIEF.work)
        again = still(small)
        self.stages, self.tokens = stages, tokens
        return case_in_bytes(small, self.capability) if again else b""


def case_in_bytes(case: Case, capability: str) -> bytes:
    """Give the content of a case's file, without outcomes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.safetensors"
        save_case(path, case, capability, None, None)
        return path.read_bytes()
