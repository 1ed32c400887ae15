"""A quick look sees nearly every mistake that the gate sees, and is never taken for the gate."""

from dataclasses import replace

import pytest

from parity_tests.meta.test_fails_closed import shards
from sampler_parity.cases.families import FAMILIES
from sampler_parity.cases.plan import CASE_COUNTS, LOOK, plan
from sampler_parity.faults.kill import ExpectedCases, judged
from sampler_parity.faults.mistakes import MISTAKES, Mistake
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.run.command_words import run_command
from sampler_parity.run.conclusion import conclude
from sampler_parity.run.gathering import Found
from sampler_parity.run.request import Request

HERE = capability_here()


def named(mistake: Mistake, cases: ExpectedCases) -> bool:
    """Whether some case shows a mistake at its stage with its verdict."""
    declared = (mistake.stage, mistake.verdict)
    return any(judged(mistake.sampler, [case], HERE)[1][declared] for case in cases)


@pytest.mark.slow
@pytest.mark.proof
def test_a_quick_look_names_every_mistake_of_a_plain_sampler() -> None:
    reference = PythonRef()
    # The plain samplers take rows only.
    looked = [case for case in plan(CASE_COUNTS[LOOK], 0) if case.logits.ndim > 1]
    cases = [(case, reference.run(case, HERE)) for case in looked]
    assert [mistake.name for mistake in MISTAKES if not named(mistake, cases)] == []


def test_a_quick_look_has_every_family() -> None:
    assert {case.family for case in plan(CASE_COUNTS[LOOK], 0)} == set(FAMILIES)


def test_a_quick_look_is_equal_and_never_holds() -> None:
    look = Request(profile=LOOK, capabilities=("avx2",))
    assert not look.whole
    assert conclude(look, Found(shards=shards())) == ("equal", ())
    assert conclude(look, Found())[0] == "unjudged"
    assert not Request(profile=LOOK).whole


def test_the_command_of_a_quick_look_asks_for_it() -> None:
    assert "--quick-look" in run_command(Request(profile=LOOK))
    assert "--quick-look" not in run_command(replace(Request(), seed=1))
