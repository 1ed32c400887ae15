"""The comparator can fail: every planted difference is found, where it is, as what it is."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sampler_parity.judge import compare
from sampler_parity.judge.bits import difference, ulps_between
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Failure, Outcome
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines import SampleLogits, SimpleBatch

F32 = np.float32
LOGITS = np.zeros((2, 3), F32)
SAMPLE = Case("case", "family", LOGITS, SampleLogits(), seed=0, draws=2)
SIMPLE = Case("case", "family", LOGITS, SimpleBatch(), seed=0, draws=2)


def floats(*bits: int) -> Any:
    return np.array(bits, np.uint32).view(F32)


@pytest.mark.parametrize(
    ("a", "b", "ulps"),
    [
        pytest.param(0x7FC00001, 0x7FC00002, None, id="NaN payload"),
        pytest.param(0x7FC00000, 0xFFC00000, None, id="NaN sign"),
        pytest.param(0x7F800000, 0xFF800000, None, id="infinities"),
        pytest.param(0x00000000, 0x80000000, 0, id="0.0 and -0.0"),
        pytest.param(0x00000000, 0x00000001, 1, id="smallest denormal"),
        pytest.param(0x80000001, 0x00000001, 2, id="across zero"),
        pytest.param(0x3F800000, 0x3F800001, 1, id="next to one"),
        pytest.param(0x3F800000, 0x40000000, 1 << 23, id="one and two"),
    ],
)
def test_one_number(a: int, b: int, ulps: int | None) -> None:
    assert difference(floats(a), floats(a)) is None
    found = difference(floats(5, a, 7), floats(5, b, 7))
    assert found is not None
    assert (found.index, found.differing, found.total, found.ulps) == ((1,), 1, 3, ulps)
    assert f"0x{a:08x}" in found.reference
    assert f"0x{b:08x}" in found.candidate
    assert ulps_between(floats(a)[0], floats(b)[0]) == ulps


@pytest.mark.parametrize(
    "other",
    [np.zeros((3, 2), F32), np.zeros(6, F32), np.zeros((2, 3), np.float64), np.zeros((1, 3), F32)],
    ids=["transposed", "flat", "dtype", "fewer rows"],
)
def test_another_shape_or_dtype_differs(other: Any) -> None:
    assert difference(np.zeros((2, 3), F32), other) is not None


def outcome(case: Case) -> Outcome:
    stages: dict[str, Any] = {
        stage: np.ones((2, 3), bool) if stage.endswith("_mask") else np.full((2, 3), 0.5, F32)
        for stage in case.parameters.stages[:-1]
    }
    tokens = [np.array([0, 1]), np.array([2, 0])]
    return Outcome(stages, tokens, None, np.zeros((2, 3), F32), bytes(5056))


def planted(case: Case, what: str) -> Outcome:
    """An outcome that differs in one place."""
    changed = deepcopy(outcome(case))
    if what in changed.stages:
        stage = changed.stages[what]
        stage[1, 2] = not stage[1, 2] if stage.dtype == bool else np.nextafter(stage[1, 2], F32(1))
    elif what == "token":
        changed.tokens[1][1] = 1
    elif what == "fewer draws":
        changed.tokens.pop()
    elif what == "input":
        changed.input[0, 1] = -0.0
    elif what == "generator":
        changed.generator = bytes(5055) + b"\1"
    elif what == "missing stage":
        del changed.stages["scaled_logits"]
    elif what == "error":
        changed.failure = Failure("RuntimeError", "boom", 1)
    return changed


@pytest.mark.parametrize("case", [SAMPLE, SIMPLE], ids=["sample_logits", "simple_batch_sampler"])
def test_equal_outcomes_are_equal(case: Case) -> None:
    comparison = compare(case, outcome(case), outcome(case))
    assert comparison.divergence() is None
    stages = [*case.parameters.stages]
    assert comparison.compared == ["error", *stages, "input", "generator"]


@pytest.mark.parametrize(
    ("case", "what", "stage", "verdict", "index"),
    [
        *(
            (SAMPLE, stage, stage, Verdict.SEMANTIC, (1, 2))
            for stage in SAMPLE.parameters.stages[:-1]
        ),
        (SAMPLE, "token", "token", Verdict.GENERATOR, (1, 1)),
        (SAMPLE, "fewer draws", "token", Verdict.GENERATOR, ()),
        (SAMPLE, "missing stage", "scaled_logits", Verdict.SEMANTIC, ()),
        (SAMPLE, "input", "input", Verdict.EFFECT, (0, 1)),
        (SAMPLE, "generator", "generator", Verdict.GENERATOR, (5055,)),
        (SAMPLE, "error", "error", Verdict.ERROR, ()),
        (SIMPLE, "noised_logits", "noised_logits", Verdict.SEMANTIC, (1, 2)),
        (SIMPLE, "token", "token", Verdict.SEMANTIC, (1, 1)),
    ],
)
def test_a_planted_difference_is_named(
    case: Case, what: str, stage: str, verdict: Verdict, index: tuple[int, ...]
) -> None:
    divergence = compare(case, outcome(case), planted(case, what)).divergence()
    assert divergence is not None
    assert (divergence.stage, divergence.verdict, divergence.index) == (stage, verdict, index)


def test_the_first_stage_is_the_cause_and_the_others_are_told() -> None:
    changed = planted(SAMPLE, "renormalized")
    changed.stages["probs"][0, 0] = 0
    divergence = compare(SAMPLE, outcome(SAMPLE), changed).divergence()
    assert divergence is not None
    assert (divergence.stage, divergence.also) == ("probs", ("renormalized",))


def failed(kind: str, draw: int = 0, message: str = "") -> Outcome:
    return replace(outcome(SAMPLE), stages={}, tokens=[], failure=Failure(kind, message, draw))


def test_errors_are_compared_by_cause_where_it_is_known() -> None:
    """torch's words and the port's for one refusal are alike, and unlike those for another."""
    words = {
        "top_k": ("selected index k out of range", "top_k = 9 is out of range: logits have V = 5"),
        "the probabilities": (
            "probability tensor contains either `inf`, `nan` or element < 0",
            "the probabilities contain inf, nan or an element < 0: temperature = NaN",
        ),
        "the noise": ("uniform_ expects to return a [from, to) range", "noise = -1 must be within"),
        "the temperature": (
            "use noise=0 for greedy decoding",
            "temp = -1 must be > 0: use noise = 0 for greedy decoding",
        ),
    }
    for cause, ours in words.items():
        for other, theirs in words.items():
            a, b = (
                failed("RuntimeError", message=ours[0]),
                failed("RuntimeError", message=theirs[1]),
            )
            divergence = compare(SAMPLE, a, b).divergence()
            assert (divergence is None) == (cause == other), (cause, other)


def test_errors_are_compared_by_class_and_call_not_by_text() -> None:
    a = failed("RuntimeError", message="one")
    assert compare(SAMPLE, a, failed("RuntimeError", message="two")).divergence() is None
    for b in (failed("ValueError"), failed("RuntimeError", draw=1), outcome(SAMPLE)):
        divergence = compare(SAMPLE, a, b).divergence()
        assert divergence is not None
        assert (divergence.stage, divergence.verdict) == ("error", Verdict.ERROR)
