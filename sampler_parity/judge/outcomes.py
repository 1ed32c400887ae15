"""Two outcomes of one case: what was compared, and the first divergent stage."""

from dataclasses import dataclass, field

import numpy as np

from sampler_parity.judge.bits import Difference, difference
from sampler_parity.judge.possible import impossible_token
from sampler_parity.judge.refusals import cause_of
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Failure, Outcome
from sampler_parity.model.pipeline import TOKEN, Pipeline
from sampler_parity.model.verdict import Cause, Divergence, Verdict


@dataclass(slots=True)
class Comparison:
    """What was compared, in order, and what differed.

    Attributes:
        pipeline: the sampler.
        compared: every stage, ``error`` and effect that was compared.
        elements: how many elements that was.
        differences: those that differ, in the same order.
    """

    pipeline: Pipeline
    compared: list[str] = field(default_factory=list)
    elements: int = 0
    differences: dict[str, Difference] = field(default_factory=dict)

    def divergence(self) -> Divergence | None:
        """Give the first divergent stage, by its bits; ``None`` where everything is equal.

        How grave a differing value is takes an oracle to say, see
        :func:`sampler_parity.judge.causes.judge`; here it counts as ``semantic``.
        """
        if not self.differences:
            return None
        first = next(iter(self.differences))
        return self.divergence_at(first, _verdict(self.pipeline, first))

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


WHOLE = About(name="")
"""An implementation that shows everything and draws torch's tokens."""


def compare(case: Case, reference: Outcome, candidate: Outcome, about: About = WHOLE) -> Comparison:
    """Walk every stage that the candidate shows, in order, bits first to last, then the effects.

    A case whose first call fails has no stages: its error is compared instead, by class. The
    effects are compared either way. Of a candidate with a generator of its own, a token only has
    to be one that some correct sampler could draw.
    """
    comparison = Comparison(case.pipeline)
    if candidate.lost is not None:
        expected, _ = _ending(reference.failure)
        found = Difference((), expected, candidate.lost.words, None, 1, 1)
        comparison.add("error", found, 1)
        return comparison
    comparison.add("error", _failure_difference(reference.failure, candidate.failure), 1)
    final = case.pipeline.final
    for stage in about.stages(case) if reference.tokens else ():
        if stage == "token":
            _compare_tokens(comparison, case, reference, candidate, about)
            continue
        ours, theirs = reference.stages[stage], candidate.stages.get(stage)
        if theirs is None:
            missing = Difference((), f"{ours.dtype} {list(ours.shape)}", "nothing", None, 1, 1)
            comparison.add(stage, missing, ours.size)
        else:
            comparison.add(stage, difference(ours, theirs, support=stage == final), ours.size)
    if "input" in about.effects:
        comparison.add("input", difference(reference.input, candidate.input), reference.input.size)
    if "generator" in about.effects:
        states = [np.frombuffer(outcome.generator, np.uint8) for outcome in (reference, candidate)]
        comparison.add("generator", difference(states[0], states[1]), 1)
    return comparison


def _compare_tokens(
    comparison: Comparison, case: Case, reference: Outcome, candidate: Outcome, about: About
) -> None:
    ours = np.stack(reference.tokens, axis=-1)
    words = unfit_tokens(reference, candidate)
    if words:
        found: Difference | None = Difference((), f"int64 {list(ours.shape)}", words, None, 1, 1)
    else:
        found = difference(ours, np.stack(candidate.tokens, axis=-1))
        if found is not None and about.stream == "own":
            found = impossible_token(case, candidate)
    comparison.add("token", found, ours.size)


def unfit_tokens(reference: Outcome, candidate: Outcome) -> str:
    """Say why the tokens cannot be held against the reference's; nothing if they can."""
    calls, expected = len(candidate.tokens), len(reference.tokens)
    if calls != expected:
        return f"{calls:,} of {expected:,} calls gave a token"
    for theirs, ours in zip(candidate.tokens, reference.tokens, strict=True):
        if theirs.shape != ours.shape or not np.issubdtype(theirs.dtype, np.integer):
            return f"{theirs.dtype} {list(theirs.shape)} tokens, not {list(ours.shape)}"
    return ""


def _ending(failure: Failure | None) -> tuple[str, str]:
    """Say how calls ended, without and with the exception's text."""
    if failure is None:
        return "returns", "returns"
    words = f"raises {failure.kind} at call {failure.draw}"
    return words, f"{words}: {failure.message}"


def _failure_difference(reference: Failure | None, candidate: Failure | None) -> Difference | None:
    """Compare class, call and cause; a cause that is worded as nobody known words it, is not."""
    (ours, our_text), (theirs, their_text) = _ending(reference), _ending(candidate)
    causes = {cause_of(failure.message) for failure in (reference, candidate) if failure}
    if ours == theirs and len(causes - {""}) <= 1:
        return None
    return Difference((), our_text, their_text, None, 1, 1)


def _verdict(pipeline: Pipeline, stage: str) -> Verdict:
    if stage == TOKEN and pipeline.final:
        return Verdict.GENERATOR
    return {
        "error": Verdict.ERROR,
        "input": Verdict.EFFECT,
        "generator": Verdict.GENERATOR,
    }.get(stage, Verdict.SEMANTIC)
