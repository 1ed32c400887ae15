"""What leaves nothing to rounding is decided, and what a long row hides is seen, by a distribution.

Correct samplers of other arithmetic stay within rounding, at every parameter that torch accepts:
100,000 cases of ``python -m benchmarks.verdicts_evidence``, and fewer of other seeds here.
"""

import operator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from benchmarks.verdicts_evidence import (
    LastOfEqual,
    Row,
    false_alarms,
    judged,
    planted,
    rows,
    smallest_visible,
)
from sampler_parity.cases.plan import case_of
from sampler_parity.faults.mistakes import MISTAKES
from sampler_parity.faults.plain import Plain, PlainSimple, nucleus
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.judge.possible import impossible
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About, Implementation, Stream, View
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import HARMLESS, Divergence, Verdict
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.pipelines import exact as oracle
from sampler_parity.pipelines.fates import fates

HERE = capability_here()
F32 = np.float32


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("seed", [3, 4])
def test_a_correct_sampler_is_harmless_at_the_edges(
    seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    alarms = [(case.id, case.parameters, *rest) for case, *rest in false_alarms(400, seed)]
    assert alarms == []
    counted = capsys.readouterr().out
    for view in ("trace", "probs", "tokens"):
        assert f"{view}, torch: rounding" in counted, "a sampler that never differs proves nothing"
        assert f"{view}, own: " in counted


def divergence(
    candidate: Implementation, case: Case, view: View, stream: Stream = "torch"
) -> Divergence | None:
    """Judge a candidate by what ``view`` shows of it."""
    expected = PythonRef().run(case, HERE)
    assert expected.failure is None
    about = About(name="candidate", view=view, stream=stream, effects=())
    outcome = candidate.run(case, HERE)
    stages = {k: v for k, v in outcome.stages.items() if k in about.stages(case)}
    outcome = replace(outcome, stages=stages)
    return judge(case, expected, outcome, compare(case, expected, outcome, about), about)


def row(*logits: float, **parameters: float) -> Case:
    values = np.array([logits], F32)
    return Case("row", "row", values, SampleLogits(**parameters), seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [-1.0, -0.5, -1e-3, -1e7])
@pytest.mark.parametrize("top_k", [0, 2])
def test_a_negative_temperature_turns_the_order_round(temperature: float, top_k: int) -> None:
    """The smallest logits are the most probable ones, and sealed so."""
    case = row(3.0, -4.0, 1.0, -4.5, temperature=temperature, top_p=0.9, top_k=top_k)
    expected = PythonRef().run(case, HERE)
    kept = expected.stages["top_k_mask"] & expected.stages["top_p_mask"]
    fate = fates(case.logits, case.parameters)  # type: ignore[arg-type]
    assert not (fate.kept & ~kept).any()
    assert not (fate.dropped & kept).any()
    assert not impossible(case)[0, expected.tokens[0]].any()
    if temperature > -1e6:
        assert fate.dropped[0, 0]
        assert fate.kept[0, 3]


@pytest.mark.proof
def test_the_cases_that_were_called_wrong() -> None:
    """Found in the field: torch with other seeds, shown by its tokens alone."""

    class OtherSeed(PythonRef):
        def run(self, case: Case, capability: str) -> Outcome:
            return super().run(replace(case, seed=case.seed ^ 1), capability)

    negative = 0
    for index in range(400):
        case = replace(case_of(f"odd-parameters-{index}@0"), threads=1)
        if PythonRef().run(case, HERE).failure is None:
            negative += getattr(case.parameters, "temperature", 1.0) < 0
            assert divergence(OtherSeed(), case, "tokens", "own") is None, case.id
    assert negative > 20


@pytest.mark.parametrize("temperature", [np.inf, -np.inf, 1e30, 1e39, 1e300])
def test_a_temperature_that_flattens_makes_all_tokens_equal(temperature: float) -> None:
    case = row(3.0, -4.0, 1.0, 0.5, temperature=temperature, top_p=0.5, top_k=1)
    fate = fates(case.logits, case.parameters)  # type: ignore[arg-type]
    assert fate.ranked.all()
    assert fate.unrounded.all()
    ends = {kept: fate.cut_right(np.arange(4) < kept)[0] for kept in range(1, 5)}
    assert ends == {1: False, 2: False, 3: True, 4: False}


GE = Plain(top_p=nucleus(crosses=operator.ge))


@pytest.mark.parametrize("count", [1, 2, 4, 8, 256])
@pytest.mark.parametrize("beside", [(), (-np.inf,), (-np.inf, -300.0), (-60.0, -61.0)])
def test_equal_powers_of_two_are_decided(count: int, beside: tuple[float, ...]) -> None:
    """Of 2^n equal tokens no sum is rounded: ``>=`` for ``>`` shows in the distribution."""
    for value, temperature in ((0.0, 1.0), (-7.25, 1.0), (1e-3, 1e35), (5.0, -0.7)):
        away = [temperature * x + value for x in beside]
        steps = (count // 2, count) if any(x > -100 for x in beside) else (count // 2,)
        for step in steps:
            if step == 0:
                continue
            case = row(*[value] * count, *away, temperature=temperature, top_p=step / count)
            for view in ("trace", "probs"):
                found = divergence(GE, case, view)
                assert found is not None
                assert found.verdict is Verdict.SEMANTIC, (view, case.parameters, found)
            for sampler in judged(Plain(), case, PythonRef().run(case, HERE), HERE):
                assert sampler[-1] is None or sampler[-1].verdict in HARMLESS | {Verdict.GENERATOR}


@pytest.mark.parametrize("count", [3, 5, 6])
def test_other_equal_tokens_are_in_doubt(count: int) -> None:
    """A third is rounded: a sampler in f64 and one in f32 may end the nucleus elsewhere."""
    case = row(*[0.0] * count, top_p=1 / count)
    fate = fates(case.logits, case.parameters)  # type: ignore[arg-type]
    assert not fate.unrounded.any()
    assert fate.cut_right(np.arange(count) < 1).all()
    assert fate.cut_right(np.arange(count) < 2).all()
    assert not fate.cut_right(np.arange(count) < 3).any()


@pytest.mark.proof
@pytest.mark.parametrize("family", ["flat", "top-p-tie", "boundary"])
def test_what_a_trace_decides_a_distribution_decides(family: str) -> None:
    """In families of ties: unless only tokens of zero probability differ, and nothing is seen."""
    decided = 0
    for index in range(200):
        case = replace(case_of(f"{family}-{index}@0"), threads=1)
        if not isinstance(case.parameters, SampleLogits):
            continue
        traced = divergence(GE, case, "trace")
        if traced is not None and traced.verdict is Verdict.SEMANTIC:
            found = divergence(GE, case, "probs")
            assert found is None or found.verdict is Verdict.SEMANTIC, case.id
            decided += found is not None
    assert decided >= 2


def test_the_words_tell_the_support() -> None:
    """Two equal tokens at top_p = 0.5: torch keeps both, and ``>=`` one."""
    found = divergence(GE, row(0.0, 0.0, top_p=0.5), "probs")
    assert found is not None
    assert (found.verdict, found.index, found.ulps) == (Verdict.SEMANTIC, (0, 1), None)
    assert "the reference keeps 2 tokens and the candidate 1" in found.causes[0].words
    assert "1 by the reference alone, none by the candidate alone" in found.causes[0].words
    [many] = [m.sampler for m in MISTAKES if m.name == "top-k forgotten"]
    for view in ("trace", "probs"):
        found = divergence(many, row(*range(20), top_p=0.0, top_k=3), view)
        assert found is not None
        words = " ".join(cause.words for cause in found.causes)
        assert "0, 1, 2, 3, 4 and 12 more by the candidate alone" in words


EVERY_ROW = list(rows())


@pytest.mark.proof
@pytest.mark.parametrize("row", EVERY_ROW, ids=lambda row: f"{row.name}, {row.parameters}")
def test_a_temperature_that_is_off_is_seen_in_a_row_of_any_length(row: Row) -> None:
    """From where it is sure to show, and by no less than a tenth of that."""
    case = Case("row", "row", row.logits, row.parameters, seed=1)
    expected = PythonRef().run(case, HERE)
    smallest = smallest_visible(row, expected)
    assert smallest < (5e-6 if row.parameters.top_k == 0 else 5e-5)
    for sign in (1, -1):
        found = planted(row, sign * 1.01 * smallest)
        assert found is not None
        assert found.verdict is Verdict.SEMANTIC
        far = planted(row, sign * 0.003)
        assert far is not None
        words = far.causes[0].words
        explained = f"a temperature that is {sign * 0.003:+.2g} of itself off explains it"
        assert explained in words or "by the reference alone" in words
    near = planted(row, 0.1 * smallest)
    assert near is None or near.verdict is Verdict.ROUNDING
    for _, _, found in islice(judged(Plain("f32", precision=F32), case, expected, HERE), 3):
        assert found is None or found.verdict in HARMLESS


def test_what_is_seen_does_not_grow_with_the_vocabulary() -> None:
    whole = [row for row in EVERY_ROW if row.parameters == SampleLogits(1.0, 0.0, 0)]
    gaussian = [row for row in whole if row.name.startswith("Gaussian")]
    seen = [
        smallest_visible(
            row, PythonRef().run(Case("row", "row", row.logits, row.parameters, seed=1), HERE)
        )
        for row in gaussian
    ]
    assert len(seen) == 4
    assert max(seen) < 1.1 * min(seen)


def test_a_common_factor_is_judged_by_the_sum() -> None:
    """Ratios do not show a scale that all tokens share; sums do, within the roundings of a sum."""
    logits = np.random.default_rng(1).standard_normal((2, 50)).astype(F32)
    truth = oracle.softmax(logits)
    probs = truth.value.astype(F32)
    assert truth.excess(probs).max() < 0.5
    scaled = probs * F32(1.001)
    assert truth.ratios(scaled).max() < 0.5
    assert truth.sums(scaled).min() > 1
    probs[1, 7] *= F32(1.001)
    assert truth.ratios(probs)[0].max() < 0.5
    assert truth.ratios(probs)[1].max() > 1


def test_at_temperature_zero_another_maximum_is_tie_order() -> None:
    """A NaN is larger than any number, and one is as good as another."""
    logits = np.array([[1, 2, 2], [0, -0.0, -1], [np.nan, 1, np.nan]], F32)
    parameters = SampleLogits(0.0, zero_temperature="argmax")
    tied = Case("zero", "zero", logits, parameters, seed=0, draws=2)
    for view in ("trace", "probs", "tokens"):
        found = divergence(LastOfEqual(), tied, view)
        assert found is not None
        assert {cause.verdict for cause in found.causes} == {Verdict.TIE_ORDER}

    class Least(LastOfEqual):
        def run(self, case: Case, capability: str) -> Outcome:
            found = super().run(replace(case, logits=-case.logits), capability)
            found.stages["scaled_logits"] = case.logits.copy()
            return found

    for view in ("trace", "probs", "tokens"):
        found = divergence(Least(), tied, view)  # type: ignore[arg-type]
        assert found is not None
        assert found.verdict is Verdict.SEMANTIC


def test_a_draw_within_rounding_is_no_other_generator() -> None:
    """Two quotients two ulp apart: who takes the other one has rounded; a third is far behind."""
    case = row(0.0, 0.0, 0.0, top_p=0.0)
    expected = PythonRef().run(case, HERE)
    [first] = expected.tokens[0]
    second, third = (token for token in range(3) if token != first)
    q = torch.empty(1, 3).exponential_(generator=torch.Generator().manual_seed(0)).numpy()
    final = q / q.sum()
    final[0, third] /= 2
    final[0, first] *= F32(1) + F32(2.0**-22)
    about = About(name="near", view="probs", effects=())
    told = {}
    for token in (second, third):
        outcome = Outcome(stages={"renormalized": final}, tokens=[np.array([token])])
        found = judge(case, expected, outcome, compare(case, expected, outcome, about), about)
        assert found is not None
        [told[token]] = [cause.verdict for cause in found.causes if cause.stage == "token"]
    assert told == {second: Verdict.ROUNDING, third: Verdict.GENERATOR}


@pytest.mark.proof
def test_near_maxima_of_the_simple_sampler_are_rounding() -> None:
    """A quotient and a product with the reciprocal: the largest of two is another, an ulp apart."""
    simple = PlainSimple(scale=lambda x, p: x / F32(p.temp))
    differing = 0
    # f32 values whose quotients by 3 tie where their products do not, or the other way round.
    ones = np.nextafter(np.linspace(1, 2, 4096, dtype=F32), F32(9))
    for value in ones:
        beside = np.nextafter(value, F32(9))
        logits = np.array([[value, beside]], F32)
        case = Case("near", "near", logits, SimpleBatch(0.0, 3.0), seed=0)
        found = divergence(simple, case, "tokens")
        differing += found is not None
        assert found is None or found.verdict is Verdict.ROUNDING
    assert differing > 10
    far = Case("far", "far", np.array([[1.0, 1.5]], F32), SimpleBatch(1.0, 3.0), seed=0, draws=3)
    other = PlainSimple(add_noise=lambda x, _, __: x)
    found = divergence(other, replace(far, seed=5), "tokens")
    assert found is None or found.verdict is not Verdict.ROUNDING
    right = PythonRef().run(far, HERE)
    for token in (-1, 2):
        wrong = replace(right, tokens=[*right.tokens[:2], np.array([token])])
        for view in ("trace", "tokens"):
            about = About(name="far", view=view, effects=())
            judgement = judge(far, right, wrong, compare(far, right, wrong, about), about)
            assert judgement is not None
            assert judgement.verdict not in HARMLESS


def test_a_logit_beyond_f32_may_be_an_infinity() -> None:
    """A denormal temperature is rounded by a third: one side's infinity is the other's number."""
    case = Case("far", "far", np.array([[0.0, -4e-7]], F32), SampleLogits(1e-45, 0.0), seed=0)
    found = divergence(Plain(), case, "trace")
    assert found is None or found.verdict is Verdict.ROUNDING
    expected = PythonRef().run(case, HERE)
    assert np.isfinite(expected.stages["scaled_logits"]).all()


@pytest.mark.parametrize("temp", [1e300, np.inf, 1e-45])
def test_what_a_reciprocal_makes_undefined_may_win(temp: float) -> None:
    logits = np.array([[1.0, -np.inf, 0.0]], F32)
    assert not impossible(Case("nan", "nan", logits, SimpleBatch(0.5, temp), seed=0)).any()


def test_what_the_noise_cannot_reach_is_impossible() -> None:
    """Within the noise of the largest, and its own bound and the largest one's: possible."""
    cases = (
        ([1.0, 0.0, -np.inf], SimpleBatch(0.5, 1.0), [False, True, True]),
        ([1.0, 0.5, -np.inf], SimpleBatch(0.5, 1.0), [False, False, True]),
        ([1.0, 0.5, 0.0], SimpleBatch(0.5, 1.0, 0), [True, False, False]),
        ([1e37, -1e37, 0.0], SimpleBatch(0.0, 1e39), [False, False, False]),
        ([3e38, 1e37, -np.inf], SimpleBatch(3e38, 1.0), [False, False, True]),
        ([np.inf, 1e30, -np.inf], SimpleBatch(1.0, 1.0), [False, True, True]),
    )
    for logits, parameters, expected in cases:
        case = Case("reach", "reach", np.array([logits], F32), parameters, seed=0)
        assert impossible(case).tolist() == [expected], case


def test_bounds_end_where_roundings_have_none() -> None:
    assert oracle.gamma(2.0**24) == np.inf
    assert oracle.gamma(2.0**25) == np.inf
    assert 0 < oracle.gamma(1.0) < 6e-8 * 1.01
