"""A run of the statistical gate: what passes, what does not, and what is never a pass."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.pipeline import Parameters
from sampler_parity.statistics import planning, subjects, uniforms
from sampler_parity.statistics.budget import Budget
from sampler_parity.statistics.command import TESTS
from sampler_parity.statistics.controls import (
    SURE,
    FaultySource,
    PlannedControl,
    exchanged,
    faults,
    mistempered,
    periodic,
    tailless,
)
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.gate import _Run, plan, run_statistics
from sampler_parity.statistics.kinds_of_test import StatisticalTest, frequencies, versus
from sampler_parity.statistics.planning import DrawCounts, Plan
from sampler_parity.statistics.result import Look, StatisticsResult
from sampler_parity.statistics.sources import (
    Logits,
    PortSource,
    SamplerFailedError,
    Seeds,
    Source,
    Tokens,
    port,
)
from sampler_parity.statistics.words import MARGINAL, summary

TINY = DrawCounts(20_000, 20_000, 10_000, 10_000, 10_000, 8000, 8000, 20, 2000, 8000)
Spoil = Callable[[Source, Logits, Parameters, int, int], Tokens]


@pytest.fixture(scope="module")
def sound() -> PortSource:
    return port()


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(planning.DRAW_COUNTS, "quick", TINY)
        yield


@pytest.fixture(scope="module")
def counted(sound: PortSource, tiny: None) -> StatisticsResult:  # noqa: ARG001  (order)
    return run_statistics(sound, "quick", seed=0)


def judged(source: Source, tests: list[StatisticalTest], seed: int = 0) -> StatisticsResult:
    """Carry out a few tests without the controls."""
    run = _Run(source, Seeds.of_run(seed), some(tests), lambda *_: None)
    for test in tests:
        run.carry_out(test)
    return run.conclude("quick", seed, [], 0.0)


def some(tests: list[StatisticalTest]) -> Plan:
    return Plan("quick", TINY, Budget(1e-6, len(tests)), tuple(tests), ())


RULE = Budget(1e-6, 3).rule


@pytest.fixture(scope="module")
def tests(sound: PortSource) -> list[StatisticalTest]:
    subject = subjects.tempered()
    return [
        frequencies(subject, 100_000, RULE),
        versus(subject, 100_000, RULE, sound),
        frequencies(subjects.noisy(), 50_000, RULE),
    ]


def test_the_port_passes(counted: StatisticsResult) -> None:
    assert counted.status == "holds", counted.reasons
    assert counted.finished
    assert counted.reasons == ()
    assert {test.decision for test in counted.tests} == {"passes"}
    assert all(test.p is not None and test.looks for test in counted.tests)
    assert counted.draws >= sum(test.planned.draws for test in counted.tests)


def test_every_test_says_what_it_would_have_caught(counted: StatisticsResult) -> None:
    for test in counted.tests:
        planned = test.planned
        assert "0.99" in planned.catches
        assert 0 < planned.smallest_distance < 1
        assert planned.alpha == pytest.approx(0.5e-6 / (len(counted.tests) + 2))
        assert planned.first + planned.margin * planned.second == pytest.approx(planned.alpha)
        assert len(planned.cells) == len(planned.probabilities) == len(test.looks[0].observed)
        assert sum(test.looks[0].observed) == planned.n
    presets = [test.planned for test in counted.tests if "preset, real row" in test.planned.name]
    assert len(presets) == 6
    assert all(planned.power and planned.considered for planned in presets)
    assert all(planned.smallest_temperature for planned in presets)
    assert "1e-06" in counted.budget
    assert len(counted.tests) + 2 == TESTS, "what `sampler-parity power` assumes"


def test_every_control_comes_out_as_it_should(counted: StatisticsResult) -> None:
    names = [control.name for control in counted.controls]
    assert names[:4] == [
        "temperature off by 1%",
        "temperature off by 2%",
        "temperature off by 5%",
        "1% of the tail deleted",
    ]
    assert [control.should for control in counted.controls] == ["rejects"] * 6 + ["passes"] * 2
    assert all(control.holds and control.power >= SURE for control in counted.controls)
    assert "python_ref (live torch)" in names[-1]


def test_the_result_is_json(counted: StatisticsResult) -> None:
    text = msgspec.json.encode(counted)
    assert msgspec.json.decode(text, type=StatisticsResult) == counted
    assert b"NaN" not in text


def test_the_p_values_are_drawn(counted: StatisticsResult) -> None:
    assert counted.ecdf is not None
    assert len(counted.ecdf.p_values) == TINY.cases
    assert counted.ecdf.largest < counted.ecdf.band


def test_the_plan_is_fixed_before_the_draws(sound: PortSource, counted: StatisticsResult) -> None:
    again = plan("quick", sound, sound)
    assert [test.planned for test in again.tests] == [test.planned for test in counted.tests]


@pytest.mark.proof
@pytest.mark.parametrize("profile", ["quick", "full"])
def test_a_slow_candidate_has_a_plan_too(sound: PortSource, profile: str) -> None:
    slow = plan(profile, replace(sound, fast=False), sound)
    assert len(slow.tests) == 19
    assert sum(test.planned.draws for test in slow.tests) < 2_000_000


@pytest.mark.proof
def test_of_a_sampler_that_is_not_there_no_test_is_planned(sound: PortSource) -> None:
    only = plan("quick", sound, sound, samplers=("sample_logits",))
    assert len(only.tests) == 15
    assert only.not_planned == (
        "4 tests of simple_batch_sampler are waived: rust_ext has no such sampler",
    )
    for samplers in ((), ("fast_sampler",)):
        with pytest.raises(CannotJudgeError):
            plan("quick", sound, sound, samplers=samplers)
    with pytest.raises(CannotJudgeError):
        plan("fast", sound, sound)
    with pytest.raises(StatisticsError):
        plan("quick", sound, sound, alpha=0.0)


def shifted(source: Source, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
    return source.draws(logits, parameters, seed, n) + len(logits)


def raises(source: Source, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
    raise SamplerFailedError(f"{source.name} {len(logits)} {parameters} {seed} {n}")


def crashes(source: Source, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
    raise ZeroDivisionError(f"{source.name} {len(logits)} {parameters} {seed} {n}")


def fractions(source: Source, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
    return source.draws(logits, parameters, seed, n) + 0.5  # type: ignore[return-value]


def empty(source: Source, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
    return source.draws(logits, parameters, seed, n)[:0]


def one_astray(source: Source, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
    tokens = source.draws(logits, parameters, seed, n)
    tokens[-1] = logits.argmin()
    return tokens


@pytest.mark.parametrize("fault", [shifted, raises, crashes, fractions, empty])
def test_wrong_draws_are_a_rejection_without_a_p_value(
    sound: PortSource, tests: list[StatisticalTest], fault: Spoil
) -> None:
    found = judged(FaultySource(sound, "wrong", fault), tests[:1])
    assert found.status == "diverges"
    assert found.tests[0].p is None
    assert found.tests[0].decision == "rejects"


def test_one_token_outside_the_mask(sound: PortSource, tests: list[StatisticalTest]) -> None:
    found = judged(FaultySource(sound, "one astray", one_astray), tests)
    assert found.status == "diverges"
    for test in found.tests:
        assert test.p is None
        assert test.adjusted is None
        assert test.decision == "rejects"
        assert "outside the mask" in test.reason
        assert sum(test.looks[0].outside.values()) == 1


@pytest.mark.proof
def test_a_faulty_candidate(sound: PortSource, tests: list[StatisticalTest]) -> None:
    assert judged(sound, tests).status == "holds"
    law = subjects.tempered().law
    first, second = law.ranked[:2].tolist()
    for fault in (
        mistempered(sound, 0.05),
        tailless(sound, law, 0.03),
        exchanged(sound, first, second),
        periodic(sound, 1000),
    ):
        found = judged(fault, tests[:2])
        assert found.status == "diverges", fault.name
        assert found.tests[0].decision == "rejects"
        assert found.reasons[0].startswith("frequencies: tempered")
        assert ": p = " in found.reasons[0]


def test_a_walk_that_missteps(sound: PortSource, tests: list[StatisticalTest]) -> None:
    @dataclass
    class Walker:
        inclusive: bool
        dtype: npt.DTypeLike = np.float32

        def token(self, probabilities: npt.NDArray[np.float32], uniform: float) -> int:
            side: Literal["left", "right"] = "left" if self.inclusive else "right"
            return int(np.searchsorted(np.cumsum(probabilities), uniform, side=side))

    for inclusive, status in ((False, "holds"), (True, "diverges")):
        run = _Run(sound, Seeds(0), some([tests[0]]), lambda *_: None)
        run.put_uniforms(Walker(inclusive))
        run.carry_out(tests[0])
        found = run.conclude("quick", 0, [], 0.0)
        assert found.status == status
        assert found.uniforms is not None
        assert found.uniforms.edges > 100
        assert found.reasons == found.uniforms.missteps
        assert len(found.reasons) < 7, "what happens at many edges alike is said once"
        assert found.untried == ""
        [control] = found.controls
        assert control.holds
        assert control.should == control.decision == "rejects"


def test_a_planted_walk_that_is_not_caught_is_no_pass(
    sound: PortSource, tests: list[StatisticalTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind:
        dtype = np.float32

        def token(self, _probabilities: npt.NDArray[np.float32], _uniform: float) -> int:
            return 0

    monkeypatch.setattr(uniforms, "missteps", lambda _walk: [])
    run = _Run(sound, Seeds(0), some([tests[0]]), lambda *_: None)
    run.put_uniforms(Blind())
    run.carry_out(tests[0])
    found = run.conclude("quick", 0, [], 0.0)
    assert found.status == "unjudged"
    assert "<= for < in the walk should be decided as 'rejects'" in found.reasons[0]


@pytest.mark.proof
def test_an_interruption_keeps_what_is_there(sound: PortSource) -> None:
    calls = 0

    def progress(_name: str, done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        assert 0 < done <= total
        if calls == 4:
            raise KeyboardInterrupt

    found = run_statistics(replace(sound, chunk=6000), "quick", 0, progress, live=sound)
    assert not found.finished
    assert found.status == "unjudged"
    assert "interrupted" in found.reasons[0]
    assert {test.decision for test in found.tests} == {"unfinished"}
    assert found.tests[0].looks[0].n == 20_000, "what was drawn is kept"
    assert found.tests[0].looks[0].p is None
    assert found.tests[1].looks == ()
    assert found.draws == 20_000
    assert len(found.tests) == 19
    assert found.controls == ()


def test_a_token_outside_before_an_interruption(
    sound: PortSource, tests: list[StatisticalTest]
) -> None:
    def progress(*_: object) -> None:
        raise KeyboardInterrupt

    run = _Run(FaultySource(sound, "one astray", one_astray), Seeds(0), some(tests), progress)
    with pytest.raises(KeyboardInterrupt):
        run.carry_out(tests[0])
    run.finished = False
    assert run.conclude("quick", 0, [], 0.0).status == "diverges"


@dataclass
class Scripted:
    """A tally whose p-values are given."""

    p_values: list[float]
    seeds: list[int] = field(default_factory=list)
    outside: dict[str, int] = field(default_factory=dict)

    def add(self, source: Source, seeds: Seeds, n: int) -> None:
        assert source
        assert n
        self.seeds.append(seeds.take())

    def look(self, *, finished: bool = True) -> Look:
        p = self.p_values.pop(0) if finished else None
        return Look(
            n=1,
            observed=(),
            expected=(),
            residuals=(),
            statistics={},
            df=1,
            p=p,
            outside=self.outside,
        )


def scripted(test: StatisticalTest, *p_values: float) -> tuple[StatisticalTest, Scripted]:
    tally = Scripted(list(p_values))
    return replace(test, start=lambda _index: tally), tally


@pytest.mark.parametrize(
    ("p_values", "looks", "decision"),
    [
        ((0.5,), 1, "passes"),
        ((2e-3,), 1, "passes"),
        ((1e-9,), 1, "rejects"),
        ((5e-4, 0.3), 2, "passes"),
        ((5e-4, 1e-5), 2, "rejects"),
        ((1e-6, 0.3), 2, "passes"),
    ],
)
def test_escalation(
    sound: PortSource,
    tests: list[StatisticalTest],
    p_values: tuple[float, ...],
    looks: int,
    decision: str,
) -> None:
    test, tally = scripted(tests[0], *p_values)
    found = judged(sound, [test]).tests[0]
    assert found.decision == decision
    assert [look.p for look in found.looks] == list(p_values)
    assert len(found.looks) == looks
    assert len(set(tally.seeds)) == len(tally.seeds) == (1, 3)[looks - 1], "all seeds are fresh"
    assert tally.p_values == [], "and never a third look"


@pytest.mark.parametrize("first", ["tiny p", "token outside"])
def test_who_is_rejected_is_not_looked_at_again(
    sound: PortSource, tests: list[StatisticalTest], first: str
) -> None:
    """What a marginal test would say changes nothing: it says that it decides nothing."""
    rejecting, tally = scripted(tests[0], 1e-9 if first == "tiny p" else 0.5)
    if first == "token outside":
        tally.outside = {"7": 3}
    marginal, _ = scripted(tests[1], 5e-4)
    also, _ = scripted(tests[2], 1e-9)
    planned = some([rejecting, marginal, also])
    run = _Run(sound, Seeds(0), planned, lambda *_: None)
    for test in planned.tests:
        run.carry_out(test)
    control, _ = scripted(tests[1], 5e-4, 1e-9)
    run.put(PlannedControl("control", sound, control, "rejects", 0.99))
    found = run.conclude("quick", 0, [], 0.0)
    assert found.status == "diverges"
    assert [len(test.looks) for test in found.tests] == [1, 1, 1]
    assert [test.decision for test in found.tests] == ["rejects", "unfinished", "rejects"]
    assert found.tests[1].p == 1e-3
    assert found.tests[1].reason.endswith(MARGINAL)
    assert MARGINAL not in found.tests[0].reason + found.tests[2].reason
    assert found.controls[0].looks == 2, "a control has the power that is declared"
    name = tests[1].planned.name
    assert f"  not decided: {name}: {MARGINAL}" in list(summary(found))


def test_a_missed_control_is_no_pass(sound: PortSource, tests: list[StatisticalTest]) -> None:
    """A sound source where a fault was declared, and a fault where the reference should be."""
    for source, should in (
        (sound, "rejects"),
        (FaultySource(sound, "breaks down", raises), "rejects"),
        (mistempered(sound, 0.05), "passes"),
    ):
        run = _Run(sound, Seeds(0), some([tests[0]]), lambda *_: None)
        run.carry_out(tests[0])
        control = PlannedControl("control", source, tests[0], should, 0.99)  # type: ignore[arg-type]
        run.put(control)
        found = run.conclude("quick", 0, [control], 0.0)
        assert found.status == "unjudged"
        assert "control" in found.reasons[0]
        assert not found.controls[0].holds


def test_a_row_without_neighbours_to_swap_carries_no_controls(sound: PortSource) -> None:
    with pytest.raises(StatisticsError):
        faults(subjects.flat(), sound, RULE)
    with pytest.raises(StatisticsError):
        mistempered(sound, 0.01).draws(np.zeros(3, np.float32), subjects.noisy().parameters, 0, 5)


def test_what_several_tests_say_alike_is_said_once(
    sound: PortSource, tests: list[StatisticalTest]
) -> None:
    """A sampler that raises fails every test: one line, with the number of tests."""

    def broken(_s: Source, _l: Logits, _p: Parameters, _seed: int, _n: int) -> Tokens:
        raise ValueError("no such thing")

    found = judged(FaultySource(sound, "broken", broken), tests)
    assert found.reasons == (
        "frequencies: tempered and 2 other tests: broken raised ValueError: no such thing",
    )
    lines = list(summary(found))
    assert sum("no such thing" in line for line in lines) == 1
