"""Where a divergence comes from: every stage of the candidate on its own.

Each stage of the candidate is held against the reference's own operation on the candidate's own
input to that stage. Where those agree, the stage only hands on what an earlier one did; where they
do not, it is a cause, and the oracle says of which kind.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sampler_parity.implementations.python_ref import reference_stage, start_generator
from sampler_parity.judge import oracle
from sampler_parity.judge.bits import difference
from sampler_parity.judge.final import Judgement, judge_final, rows_of, same_counts
from sampler_parity.judge.outcomes import WHOLE, Comparison, unfit_tokens
from sampler_parity.judge.possible import impossible_token
from sampler_parity.judge.stream import may_draw
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import FINAL, About
from sampler_parity.model.outcome import SAMPLER_ERRORS, Outcome
from sampler_parity.model.verdict import SEVERITY, Cause, Divergence, Verdict
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.pipelines.simple_batch import forbid

Array = npt.NDArray[Any]


def judge(
    case: Case,
    reference: Outcome,
    candidate: Outcome,
    comparison: Comparison,
    about: About = WHOLE,
) -> Divergence | None:
    """Give the divergence with its causes; ``None`` where everything is equal, bit for bit.

    The verdict and the stage are those of the gravest cause, the earliest of several.
    """
    plain = comparison.divergence()
    if plain is None:
        return None
    if about.view == "trace":
        causes = tuple(_causes(case, reference, candidate, comparison, about))
    else:
        causes = tuple(_causes_in_view(case, reference, candidate, comparison, about))
    if not causes:
        # Torch at another capability gave the reference: the stage that differs is the cause.
        causes = (Cause(stage=plain.stage, verdict=plain.verdict, words="no stage explains it"),)
    gravest = max(causes, key=lambda cause: SEVERITY[cause.verdict])
    return comparison.divergence_at(gravest.stage, gravest.verdict, causes)


def _error(candidate: Outcome) -> Cause:
    lost = candidate.lost
    if lost is not None:
        return Cause(stage="error", verdict=lost.verdict, words=lost.words)
    return Cause(stage="error", verdict=Verdict.ERROR, words="the sides do not raise alike")


def _causes(
    case: Case, reference: Outcome, candidate: Outcome, comparison: Comparison, about: About
) -> Iterator[Cause]:
    if "error" in comparison.differences:
        yield _error(candidate)
        return
    departed = False
    for stage in case.parameters.stages if reference.tokens else ():
        words = _unfit(stage, reference, candidate)
        if words:
            yield Cause(stage=stage, verdict=Verdict.SEMANTIC, words=words)
            return
        try:
            if stage == "token":
                judgement = _token(case, candidate, comparison, about)
            else:
                judgement = _stage(case, stage, candidate)
        except (*SAMPLER_ERRORS, ArithmeticError) as error:
            words = f"the reference refuses what the candidate hands to this stage: {error}"
            judgement = Judgement(Verdict.SEMANTIC, words)
        if judgement is not None:
            departed = True
            yield Cause(stage=stage, verdict=judgement.verdict, words=judgement.words)
    if isinstance(case.parameters, SimpleBatch) and not departed:
        yield from _later_calls(case, candidate, comparison)
    yield from _effects(case, comparison)


def _unfit(stage: str, reference: Outcome, candidate: Outcome) -> str:
    """Say why nothing can be computed from what the candidate has at ``stage``."""
    if stage == "token":
        return unfit_tokens(reference, candidate)
    if stage not in candidate.stages:
        return "the candidate has no such stage"
    values, expected = candidate.stages[stage], reference.stages[stage]
    if (values.shape, values.dtype) == (expected.shape, expected.dtype) or not expected.size:
        # Of a recorded stage nothing but its digest may be known.
        return ""
    return f"{values.dtype} {list(values.shape)}, not {expected.dtype} {list(expected.shape)}"


def _later_calls(case: Case, candidate: Outcome, comparison: Comparison) -> Iterator[Cause]:
    """Judge the simple sampler's calls after a first one that is right."""
    if "token" not in comparison.differences:
        return
    if _starts_anew(case, candidate):
        words = "each call starts from the logits as they were given, not from those left behind"
        yield Cause(stage="input", verdict=Verdict.EFFECT, words=words)
        return
    words = "calls after the first compute something else"
    yield Cause(stage="token", verdict=Verdict.SEMANTIC, words=words)


def _starts_anew(case: Case, candidate: Outcome) -> bool:
    generator = start_generator(case)
    stages: dict[str, Array] = {}
    for tokens in candidate.tokens:
        for stage in case.parameters.stages:
            stages[stage] = reference_stage(stage, case, stages, generator)
        if not np.array_equal(stages["token"].reshape(-1), tokens):
            return False
    return True


def _causes_in_view(
    case: Case, reference: Outcome, candidate: Outcome, comparison: Comparison, about: About
) -> Iterator[Cause]:
    """As :func:`_causes`, of a candidate that shows its final distribution or only its tokens."""
    if "error" in comparison.differences:
        yield _error(candidate)
        return
    if FINAL in comparison.differences:
        words = "the candidate shows no distribution"
        judgement = Judgement(Verdict.SEMANTIC, words)
        if FINAL in candidate.stages:
            judgement = judge_final(case, reference.stages[FINAL], candidate.stages[FINAL])
        yield Cause(stage=FINAL, verdict=judgement.verdict, words=judgement.words)
    if "token" in comparison.differences:
        drawn = _token_in_view(case, reference, candidate, about)
        if drawn is not None:
            yield Cause(stage="token", verdict=drawn.verdict, words=drawn.words)
    yield from _effects(case, comparison)


def _token_in_view(
    case: Case, reference: Outcome, candidate: Outcome, about: About
) -> Judgement | None:
    words = unfit_tokens(reference, candidate)
    if words:
        return Judgement(Verdict.SEMANTIC, words)
    if impossible_token(case, candidate) is not None:
        return Judgement(Verdict.SEMANTIC, "no correct sampler draws the token")
    final = candidate.stages.get(FINAL)
    if about.view == "probs" and final is not None and final.shape == case.logits.shape:
        try:
            return _draws(case, candidate)
        except SAMPLER_ERRORS as error:
            words = f"the reference refuses to draw from the candidate's distribution: {error}"
            return Judgement(Verdict.SEMANTIC, words)
    if may_draw(case, candidate):
        words = "from the reference's stream a correct sampler draws either, as it rounds"
        return Judgement(Verdict.ROUNDING, words)
    return Judgement(Verdict.GENERATOR, "every token is possible, and not from the same stream")


def _effects(case: Case, comparison: Comparison) -> Iterator[Cause]:
    told = {"noised_logits", "scaled_logits", "token"} & comparison.differences.keys()
    if "input" in comparison.differences and (
        isinstance(case.parameters, SampleLogits) or not told
    ):
        words = "the logits are not left as the reference leaves them"
        yield Cause(stage="input", verdict=Verdict.EFFECT, words=words)
    if "generator" in comparison.differences and "token" not in comparison.differences:
        words = "the generator is not left where the reference leaves it"
        yield Cause(stage="generator", verdict=Verdict.GENERATOR, words=words)


def _stage(case: Case, stage: str, candidate: Outcome) -> Judgement | None:
    """Judge one stage on the candidate's own input; ``None`` where it is the reference's."""
    values = candidate.stages[stage]
    expected = reference_stage(stage, case, candidate.stages)
    if difference(expected, values) is None:
        return None
    if expected.shape != values.shape or expected.dtype != values.dtype:
        return Judgement(
            Verdict.SEMANTIC,
            f"{values.dtype} {list(values.shape)}, not {expected.dtype} {list(expected.shape)}",
        )
    if stage == "top_k_mask":
        ties = same_counts(candidate.stages["probs"], expected, values)
        return _mask(ties=ties, doubt=False)
    if stage == "top_p_mask":
        kept = np.where(candidate.stages["top_k_mask"], candidate.stages["probs"], np.float32(0))
        ties = same_counts(kept, expected, values)
        return _mask(ties=ties, doubt=not ties and _cutoffs_in_doubt(case, kept, expected, values))
    return _numbers(_truth(case, stage, candidate.stages), expected, values, stage)


def _truth(case: Case, stage: str, stages: dict[str, Array]) -> oracle.Truth:
    parameters: Any = case.parameters
    if isinstance(parameters, SampleLogits):
        if stage == "scaled_logits":
            return oracle.quotient(case.logits, parameters.temperature)
        if stage == "probs":
            return oracle.softmax(stages["scaled_logits"])
        kept = stages["top_k_mask"] & stages["top_p_mask"]
        return oracle.renormalized(np.where(kept, stages["probs"], np.float32(0)))
    if stage == "scaled_logits":
        masked = forbid(torch.from_numpy(case.logits.copy()), parameters)
        return oracle.quotient(masked.numpy(), parameters.temp)
    zero = np.zeros_like(stages["scaled_logits"])
    added = reference_stage(stage, case, {"scaled_logits": zero})
    return oracle.noised(stages["scaled_logits"], added)


def _numbers(truth: oracle.Truth, expected: Array, values: Array, stage: str) -> Judgement:
    finite = np.isfinite(expected)
    if not np.array_equal(expected[~finite], values[~finite], equal_nan=True):
        return Judgement(Verdict.SEMANTIC, "what is not finite in the reference differs")
    ours, theirs = truth.excess(expected)[finite], truth.excess(values)[finite]
    if not (np.isfinite(theirs).all() and (theirs <= 1).all()):
        worst = float(np.nanmax(np.where(np.isnan(theirs), np.inf, theirs)))
        return Judgement(
            Verdict.GENERATOR if stage == "noised_logits" else Verdict.SEMANTIC,
            f"the candidate is {worst:.3g} times as far from the exact value as rounding goes",
        )
    nearer = "the candidate" if theirs.sum() < ours.sum() else "the reference"
    return Judgement(
        Verdict.ROUNDING,
        f"both are within rounding of the exact value, the reference by {float(ours.max()):.2g} "
        f"and the candidate by {float(theirs.max()):.2g} of the bound; {nearer} is nearer to it",
    )


def _mask(*, ties: bool, doubt: bool) -> Judgement:
    if ties:
        words = "the sides keep as many of each probability, and not the same of equal ones"
        return Judgement(Verdict.TIE_ORDER, words)
    if doubt:
        words = "the sums at the tokens that differ are within rounding of top_p"
        return Judgement(Verdict.ROUNDING, words)
    return Judgement(Verdict.SEMANTIC, "tokens are kept that the rule drops, or the reverse")


def _cutoffs_in_doubt(case: Case, kept: Array, expected: Array, values: Array) -> bool:
    """Whether each row's masks are both cut by descending probability, where rounding may cut."""
    top_p = getattr(case.parameters, "top_p", 0.0)
    for row, ours, theirs in rows_of(kept, expected, values):
        if np.array_equal(ours, theirs):
            continue
        descending = np.sort(row)[::-1]
        counts = sorted((int(ours.sum()), int(theirs.sum())))
        cut = all(
            np.array_equal(np.sort(row[m])[::-1], descending[: m.sum()]) for m in (ours, theirs)
        )
        if not cut or not oracle.cutoff_in_doubt(descending, top_p, counts[0], counts[1]):
            return False
    return True


def _token(
    case: Case, candidate: Outcome, comparison: Comparison, about: About
) -> Judgement | None:
    if "token" not in comparison.differences:
        return None
    if impossible_token(case, candidate) is not None and about.stream == "own":
        return Judgement(Verdict.SEMANTIC, "no correct sampler draws the token")
    if isinstance(case.parameters, SampleLogits):
        return _draws(case, candidate)
    return _argmax(case, candidate)


def _draws(case: Case, candidate: Outcome) -> Judgement | None:
    """Draw from the candidate's own distribution, with a generator that starts as the case's."""
    generator = start_generator(case)
    for call, tokens in enumerate(candidate.tokens):
        if not np.array_equal(
            reference_stage("token", case, candidate.stages, generator).reshape(-1), tokens
        ):
            return Judgement(
                Verdict.GENERATOR,
                f"from the candidate's own distribution the reference draws others at call {call}",
            )
    return None


def _argmax(case: Case, candidate: Outcome) -> Judgement | None:
    """Judge the first call; the others start from logits that it left behind."""
    drawn = candidate.tokens[0]
    expected = reference_stage("token", case, candidate.stages).reshape(-1)
    if np.array_equal(expected, drawn):
        return None
    noised = candidate.stages["noised_logits"].reshape(len(drawn), -1)
    rows = np.arange(len(drawn))
    if not ((drawn >= 0) & (drawn < noised.shape[-1])).all():
        return Judgement(Verdict.SEMANTIC, "the vocabulary has no such token")
    if np.array_equal(noised[rows, expected], noised[rows, drawn]):
        return Judgement(Verdict.TIE_ORDER, "another of several largest values is taken")
    return Judgement(Verdict.SEMANTIC, "the token is not that of a largest value")
