"""The verdict engine: correct samplers are never called semantic, whatever they show of themselves.

That wrong ones are, and where, every run shows: see :mod:`parity_tests.meta.test_planted_faults`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from sampler_parity.cases.plan import case_of
from sampler_parity.faults.kill import KILL_FAMILIES, ExpectedCases
from sampler_parity.faults.mistakes import CORRECT, MISTAKES
from sampler_parity.faults.plain import Plain
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About, Implementation, Stream, View
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import HARMLESS, Divergence, Verdict
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.pipelines.fates import fates

HERE = capability_here()


@pytest.fixture(scope="module")
def cases() -> ExpectedCases:
    """Cases of ``sample_logits`` that the reference accepts, other ones than the runs'."""
    found: ExpectedCases = []
    for family in KILL_FAMILIES:
        for index in range(60):
            case = replace(case_of(f"{family}-{index}@7"), threads=1)
            if isinstance(case.parameters, SampleLogits):
                outcome = PythonRef().run(case, HERE)
                if outcome.failure is None:
                    found.append((case, outcome))
    return found


def divergences(
    candidate: Implementation, cases: ExpectedCases, about: About | None = None
) -> Iterator[tuple[Case, Divergence]]:
    shown = about or candidate.about
    for case, expected in cases:
        outcome = candidate.run(case, HERE)
        if about is not None:
            stages = {k: v for k, v in outcome.stages.items() if k in about.stages(case)}
            outcome = replace(outcome, stages=stages)
        comparison = compare(case, expected, outcome, shown)
        found = judge(case, expected, outcome, comparison, shown)
        if found is not None:
            yield case, found


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("candidate", CORRECT, ids=lambda candidate: candidate.name)
def test_a_correct_sampler_is_never_semantic(candidate: Plain, cases: ExpectedCases) -> None:
    verdicts = Counter[Verdict]()
    for case, found in divergences(candidate, cases):
        verdicts[found.verdict] += 1
        assert found.verdict in HARMLESS, (case.id, found)
    assert len(cases) > 600
    assert verdicts[Verdict.ROUNDING] > 100, "a sampler that never differs proves nothing"
    assert verdicts[Verdict.TIE_ORDER] > 10


def seen(view: View, stream: Stream = "torch") -> About:
    return About(name="plain", view=view, stream=stream, effects=())


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("view", ["probs", "tokens"])
@pytest.mark.parametrize("candidate", CORRECT[:2], ids=lambda candidate: candidate.name)
def test_nor_where_it_shows_less(candidate: Plain, view: View, cases: ExpectedCases) -> None:
    verdicts = Counter[Verdict]()
    for case, found in divergences(candidate, cases[::2], seen(view)):
        verdicts[found.verdict] += 1
        assert found.verdict in HARMLESS, (case.id, found)
        assert found.stage in seen(view).stages(case)
    assert verdicts[Verdict.ROUNDING] > 25


class OtherSeed(Plain):
    """A correct sampler with a generator of its own."""

    def run(self, case: Case, capability: str) -> Outcome:
        return super().run(replace(case, seed=case.seed ^ 1), capability)


@pytest.mark.slow
@pytest.mark.proof
def test_another_generator_draws_possible_tokens(cases: ExpectedCases) -> None:
    few, other = cases[::2], OtherSeed()
    assert list(divergences(other, few, seen("tokens", "own"))) == []
    verdicts = Counter(found.verdict for _, found in divergences(other, few, seen("tokens")))
    assert set(verdicts) == {Verdict.GENERATOR, Verdict.ROUNDING}
    assert verdicts[Verdict.GENERATOR] > 100


WRONG_BY_PROBS = (
    "logits rounded to f16", "temperature off by 1 %", "denormals flushed", "top-k by exactly k",
    "top-k one more", "top-k one fewer", "top-p without the shift", "top-p renormalised before",
    "top_p = 0 as greedy", "top-p ascending", "not renormalised", "smoothed",
)  # fmt: skip
WRONG_BY_TOKENS = (
    "temperature forgotten", "vocabulary off by one", "top-k one more", "top-k forgotten",
    "top-p ascending",
)  # fmt: skip
OTHER_STREAM = (
    "top-k by exactly k", "top-p renormalised before", "draw by inverse CDF", "draw is argmax",
    "generator advanced twice", "log for log1p",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize(
    ("name", "view", "verdict"),
    [
        *((name, "probs", Verdict.SEMANTIC) for name in WRONG_BY_PROBS),
        *((name, "tokens", Verdict.SEMANTIC) for name in WRONG_BY_TOKENS),
        *((name, "tokens", Verdict.GENERATOR) for name in OTHER_STREAM),
    ],
)
def test_a_mistake_shows_where_less_is_shown(
    name: str, view: View, verdict: Verdict, cases: ExpectedCases
) -> None:
    [mistake] = [mistake for mistake in MISTAKES if mistake.name == name]
    found = {found.verdict for _, found in divergences(mistake.sampler, cases[::4], seen(view))}
    assert verdict in found


@pytest.mark.slow
@pytest.mark.proof
def test_fates_hold_of_the_reference(cases: ExpectedCases) -> None:
    """What is sealed is what torch does; and nearly everything is sealed on Gaussian logits."""
    doubt = tokens = 0
    for case, outcome in cases:
        assert isinstance(case.parameters, SampleLogits)
        fate = fates(case.logits, case.parameters)
        kept = outcome.stages["top_k_mask"] & outcome.stages["top_p_mask"]
        assert not (fate.kept & ~kept).any(), case.id
        if case.parameters.top_p > 0:
            assert fate.cut_right(kept).all(), case.id
        assert not (fate.dropped & (outcome.stages["renormalized"] > 0)).any(), case.id
        assert fate.renormalized(kept).excess(outcome.stages["renormalized"]).max() <= 1, case.id
        if case.family == "gaussian":
            doubt += int((~fate.kept & ~fate.dropped).sum())
            tokens += kept.size
    assert 0 < doubt < tokens / 50


@pytest.mark.parametrize(
    ("kept", "verdict"),
    [
        ([1, 1, 0], None),
        ([0, 1, 1], Verdict.TIE_ORDER),
        ([1, 1, 1], Verdict.SEMANTIC),
        ([0, 1, 0], Verdict.SEMANTIC),
        ([1, 0, 1], Verdict.SEMANTIC),
    ],
)
def test_how_many_of_equal_tokens_stay(kept: list[int], verdict: Verdict | None) -> None:
    """Two tokens tie at the cutoff: one of them stays, whichever."""
    logits = np.array([[-3.0, 0.0, -3.0]], np.float32)
    case = Case("tie", "tie", logits, SampleLogits(1.0, 0.95, 0), seed=0)
    expected = PythonRef().run(case, HERE)
    mask = np.array([kept], bool)
    probs = np.where(mask, expected.stages["probs"], np.float32(0))
    outcome = replace(expected, stages={"renormalized": probs / probs.sum()})
    about = seen("probs")
    found = judge(case, expected, outcome, compare(case, expected, outcome, about), about)
    assert (None if found is None else found.verdict) == verdict


def test_a_stage_that_is_not_shown_is_missing() -> None:
    """Only the view says what may be left out: within it, what is missing differs."""
    case = case_of("gaussian-0@7")
    expected = PythonRef().run(case, HERE)
    outcome = RustExt().run(case, HERE)
    missing: dict[View, str] = {"trace": "probs", "probs": "renormalized"}
    for view, stage in missing.items():
        about = seen(view)
        partial = replace(outcome, stages={k: v for k, v in outcome.stages.items() if k != stage})
        if stage in about.stages(case):
            found = judge(case, expected, partial, compare(case, expected, partial, about), about)
            assert found is not None
            assert (found.stage, found.verdict) == (stage, Verdict.SEMANTIC)
    assert judge(case, expected, outcome, compare(case, expected, Outcome()), seen("trace"))


GARBAGE = (
    np.zeros((1, 3), np.float32), np.zeros(5, bool), np.full((2, 4), np.nan, np.float32),
    np.full((2, 4), -1.0, np.float32), np.zeros((2, 4), np.float32), np.ones((2, 4), bool),
    np.zeros((2, 4), bool), np.full((2, 4), np.inf, np.float32), np.zeros((2, 4), np.float64),
    np.full((2, 4), 2.0, np.float32),
)  # fmt: skip
TOKENS = ([0, 1], [7, 0], [-1, 2], [0], [[0], [1]], [0.5, 1.0])


@pytest.mark.proof
@pytest.mark.parametrize("view", ["trace", "probs", "tokens"])
@pytest.mark.parametrize("stream", ["torch", "own"])
@pytest.mark.parametrize("parameters", [SampleLogits(0.7, 0.9, 2), SimpleBatch(0.5, 2.0, 1)])
def test_garbage_is_judged(
    view: View, stream: Stream, parameters: SampleLogits | SimpleBatch
) -> None:
    """Whatever a candidate gives back, in every combination by chance: a verdict, no exception."""
    rng = np.random.default_rng(11)
    logits = np.array([[0, 1, 2, 2], [3, -1, 0.5, 3]], np.float32)
    case = Case("garbage", "garbage", logits, parameters, seed=3, draws=2)
    expected = PythonRef().run(case, HERE)
    about = About(name="garbage", view=view, stream=stream)
    wrong = 0
    for _ in range(200):
        outcome = RustExt().run(case, HERE)
        for stage in rng.choice(parameters.stages, size=2):
            if stage == "token":
                picked = [TOKENS[int(i)] for i in rng.integers(len(TOKENS), size=2)]
                outcome.tokens = [np.array(tokens) for tokens in picked]
            else:
                outcome.stages[stage] = GARBAGE[int(rng.integers(len(GARBAGE)))]
        found = judge(case, expected, outcome, compare(case, expected, outcome, about), about)
        wrong += found is not None and found.verdict not in HARMLESS
    assert wrong > (10 if view != "trace" else 150)


@pytest.mark.proof
def test_the_port_is_exact(cases: ExpectedCases) -> None:
    assert list(divergences(RustExt(), cases)) == []
