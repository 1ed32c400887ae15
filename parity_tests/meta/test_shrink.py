"""A divergent case is made small, and still diverges alike."""

from statistics import median

import numpy as np
import pytest

from sampler_parity.faults.kill import kill_cases
from sampler_parity.faults.mistakes import MISTAKES, Mistake
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.judge.shrink import BUDGET, shrink
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines import SampleLogits, SimpleBatch

HERE = capability_here()

NEEDS_A_LONG_ROW = {"Global and Semantic swapped"}
"""Mistakes that show in rows of at least as many tokens as their presets keep."""


def kind(mistake: Mistake, case: Case, expected: Outcome) -> tuple[str, str] | None:
    outcome = mistake.sampler.run(case, HERE)
    if outcome.declined:
        return None
    found = judge(case, expected, outcome, compare(case, expected, outcome))
    return None if found is None else (found.stage, found.verdict.value)


@pytest.mark.proof
def test_every_mistake_is_shown_by_few_tokens() -> None:
    cases, reference, sizes = kill_cases("quick", HERE), PythonRef(), {}
    for mistake in MISTAKES:
        if mistake.cases:
            continue  # it shows at large indices only
        declared = (mistake.stage, mistake.verdict.value)
        case = next(case for case, ref in cases if kind(mistake, case, ref) == declared)

        def still(smaller: Case, mistake: Mistake = mistake) -> bool:
            declared = (mistake.stage, mistake.verdict.value)
            return kind(mistake, smaller, reference.run(smaller, HERE)) == declared

        small, tried = shrink(case, still)
        assert still(small)
        assert tried <= BUDGET
        assert small.id == f"{case.id}/shrunken"
        sizes[mistake.name] = small.logits.size
    few = [size for name, size in sizes.items() if name not in NEEDS_A_LONG_ROW]
    assert median(few) <= 2
    assert max(few) <= 8
    assert set(sizes) >= NEEDS_A_LONG_ROW


LOGITS = np.array([[3.7, -1.2, 0.4, 2.25], [9, 9, 9, 9]], np.float32)


@pytest.mark.parametrize(
    "parameters", [SampleLogits(0.37, 0.912, 3), SimpleBatch(0.3, 1.7, forbid_token=2)]
)
def test_what_nothing_needs_goes(parameters: SampleLogits | SimpleBatch) -> None:
    case = Case("c", "f", LOGITS, parameters, seed=7, draws=4, advance=99, threads=2)
    small, _ = shrink(case, lambda _: True)
    assert (small.draws, small.advance, small.threads, small.seed) == (1, 0, 1, 0)
    assert small.logits.tolist() == [[0.0]]
    if isinstance(small.parameters, SampleLogits):
        assert small.parameters == SampleLogits(1.0, 0.0, 0)
    else:
        assert small.parameters == SimpleBatch(0.0, 1.0, None)


def test_what_it_needs_stays() -> None:
    case = Case("c", "f", LOGITS, SampleLogits(0.37, 0.912, 3), seed=7, draws=4)

    def still(smaller: Case) -> bool:
        values = smaller.logits
        return bool((values == np.float32(2.25)).any()) and smaller.draws > 1

    small, _ = shrink(case, still)
    assert small.draws == 2
    assert small.logits.tolist() == [[2.25]]


def test_a_token_keeps_its_place_among_the_others() -> None:
    """The forbidden token is forbidden wherever it comes to stand."""
    case = Case("c", "f", LOGITS[:1], SimpleBatch(1.0, 1.0, forbid_token=3), seed=0)

    def still(smaller: Case) -> bool:
        assert isinstance(smaller.parameters, SimpleBatch)
        forbidden = smaller.parameters.forbid_token
        return forbidden is not None and float(smaller.logits[0, forbidden]) == 2.25

    small, _ = shrink(case, still)
    assert small.logits.tolist() == [[2.25]]
    assert small.parameters == SimpleBatch(0.0, 1.0, forbid_token=0)


def test_long_rows_are_tried_less_often() -> None:
    """Each try of one costs a second, and what needs a long row stays long."""
    case = Case("c", "f", np.zeros((1, 1 << 20), np.float32), SampleLogits(), seed=7)
    small, tried = shrink(case, lambda smaller: smaller.logits.size > 1 << 18)
    assert 1 << 18 < small.logits.size < 1 << 19
    assert tried < BUDGET / 2


def test_the_budget_is_kept() -> None:
    calls = 0

    def still(_: Case) -> bool:
        nonlocal calls
        calls += 1
        return False

    case = Case("c", "f", LOGITS, SampleLogits(0.37, 0.912, 3), seed=7)
    small, tried = shrink(case, still, budget=5)
    assert calls == tried == 5
    assert small.logits is LOGITS
