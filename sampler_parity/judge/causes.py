"""Where a divergence comes from: every stage of the candidate on its own.

Each stage of the candidate is held against the reference's own operation on the candidate's own
input to that stage. Where those agree, the stage only hands on what an earlier one did; where they
do not, it is a cause, and the oracle says of which kind.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.implementations.reference import (
    copied,
    reference_stage,
    sources,
    start_generator,
)
from sampler_parity.judge.bits import difference
from sampler_parity.judge.final import (
    NO_ORACLE,
    Judgement,
    ends_wrongly,
    judge_final,
    judge_one_hot,
    same_counts,
    supports,
)
from sampler_parity.judge.outcomes import WHOLE, Comparison, unfit_tokens
from sampler_parity.judge.possible import impossible_token
from sampler_parity.judge.stream import draws_as_near, may_draw, may_part
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import SAMPLER_ERRORS, Outcome
from sampler_parity.model.pipeline import (
    LOGITS,
    TOKEN,
    Doubt,
    NoisyArgmax,
    Stage,
    values_of,
)
from sampler_parity.model.verdict import SEVERITY, Cause, Divergence, Verdict
from sampler_parity.pipelines.draws import may_be_largest
from sampler_parity.pipelines.exact import Shares, Truth, rows_of
from sampler_parity.pipelines.folding import start

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
            if case.pipeline.stage(stage).kind == "draw":
                judgement = _token(case, candidate, comparison, about)
            else:
                judgement = _stage(case, stage, candidate)
        except (*SAMPLER_ERRORS, ArithmeticError) as error:
            words = f"the reference refuses what the candidate hands to this stage: {error}"
            judgement = Judgement(Verdict.SEMANTIC, words)
        if judgement is not None:
            departed = True
            yield Cause(stage=stage, verdict=judgement.verdict, words=judgement.words)
    if case.pipeline.in_place and not departed:
        yield from _later_calls(case, candidate, comparison)
    yield from _effects(case, candidate, comparison)


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
    """Judge an in-place sampler's calls after a first one that is right."""
    if "token" not in comparison.differences:
        return
    if _starts_anew(case, candidate):
        words = "each call starts from the logits as they were given, not from those left behind"
        yield Cause(stage="input", verdict=Verdict.EFFECT, words=words)
        return
    if may_draw(case, candidate):
        words = "calls after the first may take either token, as they round"
        yield Cause(stage="token", verdict=Verdict.ROUNDING, words=words)
        return
    words = "calls after the first compute something else"
    yield Cause(stage="token", verdict=Verdict.SEMANTIC, words=words)


def _starts_anew(case: Case, candidate: Outcome) -> bool:
    generator = start_generator(case)
    stages: dict[str, Array] = {}
    for tokens in candidate.tokens:
        for stage in case.parameters.stages:
            stages[stage] = reference_stage(stage, case, stages, generator)
        if not np.array_equal(stages[TOKEN].reshape(-1), tokens):
            return False
    return True


def _causes_in_view(
    case: Case, reference: Outcome, candidate: Outcome, comparison: Comparison, about: About
) -> Iterator[Cause]:
    """As :func:`_causes`, of a candidate that shows its final distribution or only its tokens."""
    if "error" in comparison.differences:
        yield _error(candidate)
        return
    final = case.pipeline.final
    if final in comparison.differences:
        words = "the candidate shows no distribution"
        judgement = Judgement(Verdict.SEMANTIC, words)
        if final in candidate.stages:
            judgement = judge_final(case, reference.stages[final], candidate.stages[final])
        yield Cause(stage=final, verdict=judgement.verdict, words=judgement.words)
    if "token" in comparison.differences:
        drawn = _token_in_view(case, reference, candidate, about)
        if drawn is not None:
            yield Cause(stage="token", verdict=drawn.verdict, words=drawn.words)
    yield from _effects(case, candidate, comparison)


def _token_in_view(
    case: Case, reference: Outcome, candidate: Outcome, about: About
) -> Judgement | None:
    words = unfit_tokens(reference, candidate)
    if words:
        return Judgement(Verdict.SEMANTIC, words)
    if impossible_token(case, candidate) is not None:
        return Judgement(Verdict.SEMANTIC, "no correct sampler draws the token")
    final = candidate.stages.get(case.pipeline.final)
    if about.view == "probs" and final is not None and final.shape == case.logits.shape:
        try:
            return _draws(case, candidate)
        except SAMPLER_ERRORS as error:
            words = f"the reference refuses to draw from the candidate's distribution: {error}"
            return Judgement(Verdict.SEMANTIC, words)
    return _from_stream(case, candidate)


def _from_stream(case: Case, candidate: Outcome) -> Judgement:
    """Judge possible tokens, which are not the reference's, by its stream."""
    if case.parameters.greedy:
        return _largest(case, candidate)
    if may_draw(case, candidate):
        words = "from the reference's stream a correct sampler draws either, as it rounds"
        return Judgement(Verdict.ROUNDING, words)
    return Judgement(Verdict.GENERATOR, "every token is possible, and not from the same stream")


def _effects(case: Case, candidate: Outcome, comparison: Comparison) -> Iterator[Cause]:
    told = case.pipeline.in_place and comparison.differences.keys() & set(case.pipeline.names)
    if "input" in comparison.differences and not told:
        words = "the logits are not left as the reference leaves them"
        yield Cause(stage="input", verdict=Verdict.EFFECT, words=words)
    if "generator" in comparison.differences and "token" not in comparison.differences:
        words = "the generator is not left where the reference leaves it"
        verdict = Verdict.GENERATOR
        if may_part(case, candidate):
            words += ": rounding decides whether a token is refused and drawn again"
            verdict = Verdict.ROUNDING
        yield Cause(stage="generator", verdict=verdict, words=words)


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
    step = case.pipeline.stage(stage)
    if step.kind == "mask":
        return _cut(case, step, candidate, expected, values)
    if case.parameters.greedy and step.reads != (LOGITS,):
        return judge_one_hot(case.logits, values)
    if step.truth is None:
        return Judgement(Verdict.DIFFERS, NO_ORACLE)
    known = {**sources(case), **candidate.stages}
    truth = step.truth(known, case.parameters, lambda other: reference_stage(stage, case, other))
    wrong = Verdict.GENERATOR if step.random else Verdict.SEMANTIC
    return _numbers(truth, expected, values, wrong)


def _cut(case: Case, step: Stage, candidate: Outcome, expected: Array, values: Array) -> Judgement:
    given = {LOGITS: case.logits, **candidate.stages}
    kept = case.pipeline.mask_input(step, given)
    if step.fold is not None:
        return _sealed(case, step, given, expected, values)
    if same_counts(kept, expected, values):
        return _mask(expected, values, ties=True, doubt=False)
    if step.doubt is None:
        return Judgement(Verdict.DIFFERS, f"{NO_ORACLE}; {supports(expected, values)}")
    doubt = _cutoffs_in_doubt(case, step.doubt, kept, expected, values)
    return _mask(expected, values, ties=False, doubt=doubt)


def _sealed(
    case: Case, step: Stage, given: Mapping[str, Array], expected: Array, values: Array
) -> Judgement:
    """Judge a mask by the fates that its own input, without what is dropped, seals."""
    numbers, *masks = step.reads
    with np.errstate(divide="ignore"):
        scores = given[numbers]
        rows = start(scores if step.absent < 0 else np.log(scores.astype(np.float64)))
    # What is dropped keeps its weight, on which a cut may measure the others.
    for mask in masks:
        rows = rows.cut(np.atleast_2d(given[mask]), ~np.atleast_2d(given[mask]))
    folded = step.folded(rows, case.parameters, case.history)
    # What an earlier mask has dropped may be kept once more: nothing comes of it.
    ours, theirs = np.atleast_2d(expected), np.atleast_2d(values)
    there = ~rows.dropped
    wrong = there & ((theirs & folded.dropped) | (~theirs & folded.kept))
    if wrong.any():
        return _mask(expected, values, ties=False, doubt=False)
    for right in folded.right:
        judgement = ends_wrongly(right(theirs & there), theirs & there)
        if judgement is not None:
            return judgement
    left = np.atleast_2d(case.pipeline.mask_input(step, given))
    ties = same_counts(left, ours & there, theirs & there)
    return _mask(expected, values, ties=ties, doubt=not ties)


def _numbers(truth: Truth | Shares, expected: Array, values: Array, wrong: Verdict) -> Judgement:
    finite = np.isfinite(expected) & np.isfinite(values)
    same = (expected == values) | (np.isnan(expected) & np.isnan(values))
    # Where the exact value is nearly the largest of f32, one side may round it to an infinity.
    near: Array = np.zeros(values.shape, bool)
    if isinstance(truth, Truth):
        near = truth.may_overflow() & (np.sign(expected) == np.sign(values))
    if not (finite | same | near).all():
        return Judgement(wrong, "what is not finite in the reference differs")
    ours, theirs = truth.excess(expected)[finite], truth.excess(values)[finite]
    if not (np.isfinite(theirs).all() and (theirs <= 1).all()):
        worst = float(np.nanmax(np.where(np.isnan(theirs), np.inf, theirs)))
        return Judgement(
            wrong,
            f"the candidate is {worst:.3g} times as far from the exact value as rounding goes",
        )
    nearer = "the candidate" if theirs.sum() < ours.sum() else "the reference"
    return Judgement(
        Verdict.ROUNDING,
        f"both are within rounding of the exact value, the reference by "
        f"{float(ours.max(initial=0)):.2g} and the candidate by {float(theirs.max(initial=0)):.2g} "
        f"of the bound; {nearer} is nearer to it",
    )


def _mask(expected: Array, values: Array, *, ties: bool, doubt: bool) -> Judgement:
    differing = supports(expected, values)
    if ties:
        words = "the sides keep as many of each probability, and not the same of equal ones"
        return Judgement(Verdict.TIE_ORDER, f"{words}; {differing}")
    if doubt:
        words = "what decides on the tokens that differ is within rounding of the cutoff"
        return Judgement(Verdict.ROUNDING, f"{words}; {differing}")
    words = "tokens are kept that the rule drops, or the reverse"
    return Judgement(Verdict.SEMANTIC, f"{words}; {differing}")


def _cutoffs_in_doubt(
    case: Case, in_doubt: Doubt, kept: Array, expected: Array, values: Array
) -> bool:
    """Whether each row's masks are both cut by descending numbers, where rounding may cut."""
    for row, ours, theirs in rows_of(kept, expected, values):
        if np.array_equal(ours, theirs):
            continue
        descending = np.sort(row)[::-1]
        counts = sorted((int(ours.sum()), int(theirs.sum())))
        cut = all(
            np.array_equal(np.sort(row[m])[::-1], descending[: m.sum()]) for m in (ours, theirs)
        )
        if not cut or not in_doubt(descending, case.parameters, counts[0], counts[1]):
            return False
    return True


def _token(
    case: Case, candidate: Outcome, comparison: Comparison, about: About
) -> Judgement | None:
    if "token" not in comparison.differences:
        return None
    if about.stream == "own" and impossible_token(case, candidate) is not None:
        return Judgement(Verdict.SEMANTIC, "no correct sampler draws the token")
    if isinstance(case.pipeline.draw, NoisyArgmax):
        return _argmax(case, candidate) or _later_noise(case, candidate)
    return _draws(case, candidate)


def _draws(case: Case, candidate: Outcome) -> Judgement | None:
    """Draw from the candidate's own distribution, with a generator that starts as the case's."""
    if case.parameters.greedy:
        return _largest(case, candidate)
    generator = start_generator(case)
    near = False
    for call, tokens in enumerate(candidate.tokens):
        before = copied(case, generator)
        drawn = reference_stage(TOKEN, case, candidate.stages, generator).reshape(-1)
        if np.array_equal(drawn, tokens):
            continue
        if not draws_as_near(case, candidate, tokens, before):
            return Judgement(
                Verdict.GENERATOR,
                f"from the candidate's own distribution the reference draws others at call {call}",
            )
        near = True
    if not near:
        return None
    words = "from the candidate's own distribution two tokens are within rounding of each other"
    return Judgement(Verdict.ROUNDING, words)


def _largest(case: Case, candidate: Outcome) -> Judgement:
    """Judge tokens at temperature 0 that are not the reference's."""
    if impossible_token(case, candidate) is not None:
        return Judgement(Verdict.SEMANTIC, "no correct sampler draws the token")
    return Judgement(Verdict.TIE_ORDER, "another of several largest logits is taken")


def _argmax(case: Case, candidate: Outcome) -> Judgement | None:
    """Judge the first call; the others start from logits that it left behind."""
    drawn = candidate.tokens[0]
    expected = reference_stage(TOKEN, case, candidate.stages).reshape(-1)
    if np.array_equal(expected, drawn):
        return None
    values = candidate.stages[case.pipeline.stages[-1].reads[0]].reshape(len(drawn), -1)
    rows = np.arange(len(drawn))
    if not ((drawn >= 0) & (drawn < values.shape[-1])).all():
        return Judgement(Verdict.SEMANTIC, "the vocabulary has no such token")
    if np.array_equal(values[rows, expected], values[rows, drawn]):
        return Judgement(Verdict.TIE_ORDER, "another of several largest values is taken")
    return Judgement(Verdict.SEMANTIC, "the token is not that of a largest value")


def _later_noise(case: Case, candidate: Outcome) -> Judgement | None:
    """Judge the calls after a first one that is right, each with noise of its own."""
    draw = case.pipeline.draw
    if case.pipeline.in_place or not isinstance(draw, NoisyArgmax):
        return None
    noise = float(values_of(case.parameters)[draw.noise] or 0)
    scores, generator = start(candidate.stages[draw.of]), start_generator(case)
    try:
        right = all(may_be_largest(scores, drawn, noise, generator) for drawn in candidate.tokens)
    except IndexError:
        return Judgement(Verdict.SEMANTIC, "the vocabulary has no such token")
    if right:
        words = "with the candidate's own scores either token is the largest, as noise rounds"
        return Judgement(Verdict.ROUNDING, words)
    words = "calls after the first take others than those of the largest scores with their noise"
    return Judgement(Verdict.GENERATOR, words)
