"""A divergence that depends on earlier cases is called so, and its replay shows it."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from parity_tests.meta.forgetful import ONCE
from sampler_parity.cases.case_file import load_case
from sampler_parity.cases.plan import CaseCounts, case_of
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import HARMLESS, Divergence, Verdict
from sampler_parity.run import comparing
from sampler_parity.run.effort import WHOLE
from sampler_parity.run.history import MOST_EARLIER, Laboratory
from sampler_parity.run.orders import CompareCases
from sampler_parity.run.retrial import Retrial, Retrials, Seen
from sampler_parity.run.run_file import Shard
from sampler_parity.run.shard_builder import EARLIER_FILES
from sampler_parity.run.work import work
from sampler_parity.sandbox.isolated import Isolated, Limits

HERE = capability_here()
NOT_FOUND = "the answer depends on more of them, or on chance"
LIMITS = Limits(seconds=120)
REPOSITORY = Path(__file__).resolve().parents[2]


def named(candidate: str) -> str:
    return f"parity_tests.meta.forgetful:{candidate}"


def worked(candidate: str, folder: Path, monkeypatch: pytest.MonkeyPatch, cases: int = 30) -> Shard:
    """Compare some cases as a worker does."""
    monkeypatch.setattr(comparing, "CASE_COUNTS", {"quick": CaseCounts(cases, {})})
    monkeypatch.setattr(comparing, "recorded_cases", lambda _: ())
    little = replace(WHOLE, tried=40, tried_in_processes=8)
    monkeypatch.setattr(comparing, "effort_of", lambda _: little)
    order = CompareCases(
        implementation=named(candidate),
        capability=HERE,
        profile="quick",
        families=("gaussian",),
        folder=str(folder),
        home=str(folder),
        limits=LIMITS,
    )
    *_, live = work(order, lambda _: None).shards
    return live


def replayed(command: str) -> str:
    """Run a printed command: it must find a divergence."""
    program, *arguments = shlex.split(command)
    assert program == "sampler-parity"
    done = subprocess.run(
        [sys.executable, "-m", "sampler_parity", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def alone(candidate: str, case: Case) -> Divergence | None:
    with Isolated(named(candidate), LIMITS) as isolated:
        outcome = isolated.run(case, HERE)
        reference = PythonRef().run(case, HERE)
        comparison = compare(case, reference, outcome, isolated.about)
        return judge(case, reference, outcome, comparison, isolated.about)


@pytest.mark.slow
@pytest.mark.proof
def test_a_cache_with_too_small_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = worked("Caches", tmp_path, monkeypatch, cases=20)
    assert set(shard.verdicts) == {"stateful"}
    found = next(one for one in shard.divergences if one.shrunken is not None)
    assert len(found.earlier) == 1, "the case that filled the cache"
    [cause, *others] = found.divergence.causes
    assert cause.verdict is Verdict.STATEFUL
    assert "asked of a process that was asked nothing before, the candidate's" in cause.words
    assert "it diverges: the answer depends on earlier cases" in cause.words
    assert others, "what the run saw is still told"
    earlier, _ = load_case(tmp_path / found.earlier[0])
    assert alone("Caches", case_of(found.case)) is None
    assert f"--after {earlier.id}" in found.replay
    assert f"stateful at {found.divergence.stage}" in replayed(found.replay)
    assert found.shrunken is not None
    assert found.shrunken.divergence.verdict is Verdict.STATEFUL
    assert f"--after {tmp_path / found.earlier[0]}" in found.shrunken.replay
    assert f"stateful at {found.divergence.stage}" in replayed(found.shrunken.replay)


@pytest.mark.slow
@pytest.mark.proof
def test_as_many_earlier_cases_as_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = worked("Counts", tmp_path, monkeypatch, cases=12)
    assert set(shard.verdicts) == {"stateful"}
    assert shard.divergent <= 12 // 4
    for found in shard.divergences:
        assert found.replay.count("--after") == 3 == len(found.earlier) <= EARLIER_FILES


@pytest.mark.slow
@pytest.mark.proof
def test_what_never_comes_again_is_not_taken_for_arithmetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "asked").mkdir()
    monkeypatch.setenv(ONCE, str(tmp_path / "asked"))
    shard = worked("Once", tmp_path, monkeypatch, cases=8)
    assert shard.verdicts == {"stateful": 8}
    for found in shard.divergences:
        assert found.divergence.causes[0].words.endswith(NOT_FOUND)
        assert "--after" not in found.replay
        assert found.shrunken is None


class _Lucky(Laboratory):
    """Has a candidate that diverged once after an earlier case, and never again."""

    def after(self, earlier: Sequence[Case], case: Case) -> Outcome:
        del earlier
        return PythonRef().run(case, HERE)

    def sequence(
        self, ids: Sequence[str], comes_again: Callable[[Sequence[Case]], bool]
    ) -> list[Case]:
        del comes_again
        return [case_of(ids[0])]


def test_a_sequence_that_shows_it_by_luck_is_none() -> None:
    case = case_of("gaussian-0@0")
    reference = PythonRef().run(case, HERE)
    candidate = PythonRef().run(replace(case, seed=case.seed ^ 1), HERE)
    divergence = judge(case, reference, candidate, compare(case, reference, candidate))
    assert divergence is not None
    lucky = _Lucky("unused", LIMITS, HERE, case_of)
    seen = Retrials(PythonRef.about).settled(
        Seen(case, reference, candidate, divergence),
        Retrial(lucky, lambda _: reference, lambda: ["gaussian-1@0"]),
        check=True,
        search=True,
    )
    assert seen.divergence.verdict is Verdict.STATEFUL
    assert seen.after == ()
    assert seen.divergence.causes[0].words.endswith(NOT_FOUND)


@pytest.mark.slow
@pytest.mark.proof
def test_what_shrinking_leaves_diverges_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the process in which cases are tried, everything diverges after the first that does."""
    shard = worked("Sticks", tmp_path, monkeypatch, cases=12)
    plain = [f for f in shard.divergences if f.divergence.verdict is not Verdict.STATEFUL]
    small = [found.shrunken for found in plain if found.shrunken is not None]
    assert small
    for shrunken in small:
        case, _ = load_case(tmp_path / shrunken.evidence)
        assert shrunken.described.parameters["top_k"] != 0, "nothing else diverges by itself"
        again = alone("Sticks", case)
        assert again is not None
        assert (again.stage, again.verdict) == (
            shrunken.divergence.stage,
            shrunken.divergence.verdict,
        )


@pytest.mark.slow
@pytest.mark.proof
def test_what_is_wrong_by_itself_is_not_stateful(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = worked("Doubles", tmp_path, monkeypatch, cases=8)
    assert shard.divergent > 0
    assert "stateful" not in shard.verdicts
    assert not set(shard.verdicts) <= HARMLESS
    assert all("--after" not in found.replay for found in shard.divergences)


def laboratory() -> Laboratory:
    case = case_of("flat-0@0")
    return Laboratory("unused", LIMITS, HERE, lambda name: _renamed(case, name))


def _renamed(case: Case, name: str) -> Case:
    return Case(name, case.family, case.logits, case.parameters, case.seed)


IDS = [f"case-{index}" for index in range(60)]


@pytest.mark.parametrize(
    "needed",
    [["case-59"], ["case-0"], ["case-3", "case-41"], ["case-40", "case-41", "case-42"], IDS[50:]],
)
def test_the_fewest_earlier_cases_are_found(needed: list[str]) -> None:
    def comes_again(earlier: Sequence[Case]) -> bool:
        return [case.id for case in earlier if case.id in needed] == needed

    found = laboratory().sequence(IDS, comes_again)
    assert [case.id for case in found] == needed


def test_a_search_ends() -> None:
    tried: list[int] = []

    def never(earlier: Sequence[Case]) -> bool:
        tried.append(len(earlier))
        return False

    def always_all(earlier: Sequence[Case]) -> bool:
        tried.append(len(earlier))
        return len(earlier) == MOST_EARLIER

    assert laboratory().sequence([], never) == []
    assert laboratory().sequence(IDS, never) == []
    assert tried == [1, 2, 4, 8, 16, 32, 60]
    tried.clear()
    many = [f"case-{index}" for index in range(3000)]
    assert len(laboratory().sequence(many, always_all)) == MOST_EARLIER
    assert len(tried) <= WHOLE.processes
