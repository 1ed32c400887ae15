"""Seed replay: hundreds of calls with one generator, and the first that differs."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from parity_tests.runs import make_run, make_shard
from sampler_parity.cases.plan import CALLS, CASE_COUNTS, SERIES, CaseCounts, case_of
from sampler_parity.faults.mistakes import MISTAKES
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.report import render
from sampler_parity.report.headline import contradictions
from sampler_parity.report.series import series
from sampler_parity.run.run_file import Run, Series, read_run
from sampler_parity.run.series import SeriesCounter
from sampler_parity.run.shard_builder import ShardBuilder

TOKENS = [np.array([call % 7]) for call in range(25)]


def counted(*candidates: list[np.ndarray]) -> Series:
    counter = SeriesCounter("sample_logits", len(TOKENS))
    for candidate in candidates:
        counter.add(TOKENS, candidate)
    return counter.counts()


def but(call: int) -> list[np.ndarray]:
    """The tokens, with another one at `call`, counted from 1."""
    return [token + 1 if place == call - 1 else token for place, token in enumerate(TOKENS)]


def test_the_first_difference_is_found_wherever_it_is() -> None:
    assert counted(TOKENS) == Series(
        sampler="sample_logits", calls=25, first=(0,), window=10, agreeing=(10, 10, 5)
    )
    for call in range(1, 26):
        found = counted(TOKENS, but(call))
        assert found.first == (0, call)
        expected = [20, 20, 10]
        expected[(call - 1) // 10] -= 1
        assert list(found.agreeing) == expected


def test_what_is_missing_does_not_agree() -> None:
    assert counted(TOKENS[:12]).first == (13,)
    assert counted(TOKENS[:12]).agreeing == (10, 2, 0)
    assert counted([]).first == (1,)
    assert counted([np.array([1, 2])] * 25).agreeing == (0, 0, 0)


def run_of(*parts: Series, divergent: int = 1) -> Run:
    shard = make_shard(divergent=divergent, name="<b>mine")
    return make_run(msgspec.structs.replace(shard, streams=parts))


def text(run: Run) -> list[str]:
    return ["".join(piece.text for piece in section.sentence) for section in series(run)]


def test_equal_series_are_one_line_and_others_a_chart() -> None:
    equal, other = run_of(counted(TOKENS)), run_of(counted(TOKENS, but(4), but(9)))
    assert text(equal) == [
        "<b>mine, sample_logits: in 1 series of 25 successive calls, not one token differs."
    ]
    [sentence] = text(other)
    assert sentence == (
        "<b>mine, sample_logits: 2 of 3 series of 25 successive calls differ, from call 4 on at "
        "the earliest and 9 at the latest; 97.3% of the calls agree."
    )
    assert [section.chart is None for section in series(equal)] == [True]
    assert "agree with torch" in render(other)
    assert "<b>mine" not in render(other)
    assert 'id="series"' not in render(make_run(make_shard()))


def test_series_that_differ_in_a_run_that_says_nothing_does_are_a_contradiction() -> None:
    wrong = contradictions(run_of(counted(but(4)), divergent=0))
    assert any("long series of calls do" in sentence for sentence in wrong)
    assert contradictions(run_of(counted(TOKENS), divergent=0)) == ()


@pytest.mark.parametrize("counts", CASE_COUNTS.values())
def test_every_run_has_series_of_both_samplers(counts: CaseCounts) -> None:
    cases = [case_of(f"{SERIES}-{index}@0") for index in counts.indices(SERIES)]
    assert {case.parameters.sampler for case in cases} == {"sample_logits", "simple_batch_sampler"}
    assert {case.draws for case in cases} == {CALLS[SERIES]}


def counted_by(candidate: object, about: About, case: Case, folder: Path) -> tuple[Series, ...]:
    reference = PythonRef().run(case, capability_here())
    builder = ShardBuilder(about.name, about, capability_here(), folder)
    builder.add(case, reference, candidate.run(case, capability_here()), None)  # type: ignore[attr-defined]
    return builder.shard(1, "torch").streams


@pytest.mark.proof
@pytest.mark.parametrize(
    ("mistake", "earliest"), [("temperature off by 1 %", 2), ("generator advanced twice", 1)]
)
def test_a_mistake_shows_after_some_calls(mistake: str, earliest: int, tmp_path: Path) -> None:
    """A temperature that is nearly right draws the right tokens for long; a generator does not."""
    [sampler] = [found.sampler for found in MISTAKES if found.name == mistake]
    case = case_of("long-streams-0@0")
    [found] = counted_by(sampler, sampler.about, case, tmp_path)
    [first] = found.first
    assert first >= earliest
    assert 0 < sum(found.agreeing) < found.calls
    [right] = counted_by(PythonRef(), PythonRef.about, case, tmp_path)
    assert (right.first, sum(right.agreeing)) == ((0,), right.calls)


def test_a_generator_of_its_own_has_no_series(tmp_path: Path) -> None:
    about = About(name="other", stream="own")
    assert counted_by(PythonRef(), about, case_of("long-streams-2@0"), tmp_path) == ()


def test_a_run_stored_before_there_were_series_is_still_read(repository: Path) -> None:
    content = (repository / "reports" / "sample" / "run.json").read_bytes()
    assert read_run(repository / "reports" / "sample").shards
    old = msgspec.json.decode(content)
    for shard in old["shards"]:
        shard.pop("streams", None)
    assert all(shard.streams == () for shard in msgspec.convert(old, Run).shards)
