"""Two outcomes of one case: what was compared, and the first divergent stage."""

from dataclasses import dataclass, field

import numpy as np

from sampler_parity.case import Case
from sampler_parity.compare.bits import Difference, difference
from sampler_parity.outcome import Failure, Outcome
from sampler_parity.verdict import Cause, Divergence, Verdict


@dataclass(slots=True)
class Comparison:
    """What was compared, in order, and what differed.

    Attributes:
        sampler: the sampler's name.
        compared: every stage, ``error`` and effect that was compared.
        elements: how many elements that was.
        differences: those that differ, in the same order.
    """

    sampler: str
    compared: list[str] = field(default_factory=list)
    elements: int = 0
    differences: dict[str, Difference] = field(default_factory=dict)

    def divergence(self) -> Divergence | None:
        """Give the first divergent stage, by its bits; ``None`` where everything is equal.

        How grave a differing value is takes an oracle to say, see
        :func:`sampler_parity.compare.causes.judge`; here it counts as ``semantic``.
        """
        if not self.differences:
            return None
        first = next(iter(self.differences))
        return self.divergence_at(first, _verdict(self.sampler, first))

    def divergence_at(
        self, stage: str, verdict: Verdict, causes: tuple[Cause, ...] = ()
    ) -> Divergence:
        """Give the divergence with its values at ``stage``, or at the first that differs."""
        first = next(iter(self.differences))
        at = stage if stage in self.differences else first
        found = self.differences[at]
        return Divergence(
            verdict=verdict,
            stage=stage,
            first=first,
            index=found.index,
            reference=found.reference,
            candidate=found.candidate,
            ulps=found.ulps,
            differing=found.differing,
            total=found.total,
            also=tuple(other for other in self.differences if other != at),
            causes=causes,
        )

    def add(self, stage: str, found: Difference | None, elements: int) -> None:
        """Count a stage of ``elements`` numbers, and keep what was found to differ."""
        self.compared.append(stage)
        self.elements += elements
        if found is not None:
            self.differences[stage] = found


def compare(case: Case, reference: Outcome, candidate: Outcome) -> Comparison:
    """Walk every stage in order, bits first to last, then the effects.

    A case whose first call fails has no stages: its error is compared instead, by class. The
    effects are compared either way.
    """
    comparison = Comparison(case.parameters.sampler)
    comparison.add("error", _failure_difference(reference.failure, candidate.failure), 1)
    for stage in case.parameters.stages[:-1] if reference.tokens else ():
        ours, theirs = reference.stages[stage], candidate.stages.get(stage)
        if theirs is None:
            missing = Difference((), f"{ours.dtype} {list(ours.shape)}", "nothing", None, 1, 1)
            comparison.add(stage, missing, ours.size)
        else:
            comparison.add(stage, difference(ours, theirs), ours.size)
    if reference.tokens:
        ours = np.stack(reference.tokens, axis=-1)
        theirs = np.stack(candidate.tokens, axis=-1) if candidate.tokens else np.empty(0, np.int64)
        comparison.add("token", difference(ours, theirs), ours.size)
    comparison.add("input", difference(reference.input, candidate.input), reference.input.size)
    states = [np.frombuffer(outcome.generator, np.uint8) for outcome in (reference, candidate)]
    comparison.add("generator", difference(states[0], states[1]), 1)
    return comparison


def _failure_difference(reference: Failure | None, candidate: Failure | None) -> Difference | None:
    sides = [
        "returns" if failure is None else f"raises {failure.kind} at call {failure.draw}"
        for failure in (reference, candidate)
    ]
    if sides[0] == sides[1]:
        return None
    texts = [
        side if failure is None else f"{side}: {failure.message}"
        for side, failure in zip(sides, (reference, candidate), strict=True)
    ]
    return Difference((), texts[0], texts[1], None, 1, 1)


def _verdict(sampler: str, stage: str) -> Verdict:
    if stage == "token" and sampler == "sample_logits":
        return Verdict.GENERATOR
    return {
        "error": Verdict.ERROR,
        "input": Verdict.EFFECT,
        "generator": Verdict.GENERATOR,
    }.get(stage, Verdict.SEMANTIC)
