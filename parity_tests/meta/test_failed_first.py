"""``run --failed``: what diverged in the stored run is compared first, and nothing is left out."""

from pathlib import Path

import msgspec
import pytest

from parity_tests.runs import make_divergence, make_run, make_shard
from sampler_parity.cases.plan import CASE_COUNTS, LOOK, CaseCounts, plan
from sampler_parity.commands.summary import before
from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run import comparing
from sampler_parity.run.command_words import run_command
from sampler_parity.run.gate import orders_of
from sampler_parity.run.orders import CompareCases, Message
from sampler_parity.run.request import Request, diverged_last_time
from sampler_parity.run.run_file import RUN_NAME, FoundDivergence, write_run
from sampler_parity.run.words import failed_again
from sampler_parity.run.work import work

FIRST = ("zipf-2@0", "gaussian-3@0")


def found(case: str) -> FoundDivergence:
    return msgspec.structs.replace(make_divergence(0), case=case)


def test_cases_that_failed_come_first_in_their_order_and_the_others_follow() -> None:
    counts, families = CaseCounts(4, {}), ("gaussian", "zipf")
    usual = [case.id for case in plan(counts, 0, families)]
    asked = [case.id for case in plan(counts, 0, families, first=(*FIRST, "flat-0@0", FIRST[0]))]
    assert asked[:2] == [*FIRST]
    assert asked[2:] == [name for name in usual if name not in FIRST]


def test_a_case_is_the_same_wherever_it_comes() -> None:
    counts, families = CaseCounts(4, {}), ("gaussian", "zipf")
    [last] = [case for case in plan(counts, 0, families) if case.id == FIRST[0]]
    first = next(plan(counts, 0, families, first=FIRST))
    assert (first.logits.tobytes(), first.seed) == (last.logits.tobytes(), last.seed)


@pytest.mark.proof
def test_a_worker_compares_them_first_and_counts_those_that_still_diverge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "CASE_COUNTS", {LOOK: CaseCounts(4, {})})
    monkeypatch.setattr(comparing, "recorded_cases", lambda _: ())
    order = CompareCases(
        implementation="parity_tests.meta.forgetful:Doubles",
        capability=capability_here(),
        profile=LOOK,
        families=("gaussian", "zipf"),
        folder=str(tmp_path),
        failed=FIRST,
    )
    told: list[Message] = []
    *_, shard = work(order, told.append).shards
    first = [message for message in told if message.doing == "what diverged last time"]
    assert [(message.done, message.total) for message in first] == [(1, 2), (2, 2)]
    assert told.index(first[-1]) < next(i for i, one in enumerate(told) if "again" in one.doing)
    assert shard.compared == 8, "the others are compared as well"
    assert shard.failed_before == 2
    diverged = {found.case for found in shard.divergences} & set(FIRST)
    assert shard.failed_again == len(diverged) > 0
    [words] = failed_again([shard])
    assert words.endswith(f"of 2 cases that diverged last time, {shard.failed_again} still do")


def test_the_stored_run_says_what_failed(tmp_path: Path) -> None:
    cases = [found(name) for name in (*FIRST, FIRST[0])]
    recorded = msgspec.structs.replace(make_shard(found("recorded:1")), source="recorded")
    write_run(tmp_path, make_run(make_shard(*cases, divergent=3), recorded))
    assert diverged_last_time(tmp_path) == FIRST
    request = Request(profile="quick", failed=diverged_last_time(tmp_path))
    request.check()
    [first, *_] = orders_of(request, tmp_path)
    assert isinstance(first, CompareCases)
    assert first.failed == FIRST
    assert "--failed" in run_command(request)
    assert before(request) == "first come 2 cases that diverged in the stored run"


def test_no_stored_run_or_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CannotJudgeError, match="there is no run in"):
        diverged_last_time(tmp_path)
    (tmp_path / RUN_NAME).write_text("{", encoding="utf-8")
    with pytest.raises(CannotJudgeError, match="is damaged"):
        diverged_last_time(tmp_path)


def test_failed_cases_of_another_run_are_an_error_and_none_are_not() -> None:
    with pytest.raises(CannotJudgeError, match="give the last run's seed and profile"):
        Request(failed=("gaussian-3@1",)).check()
    beyond = CASE_COUNTS[LOOK].cases
    some = Request(profile=LOOK, failed=(f"gaussian-{beyond}@0", "gaussian-3@0"))
    some.check()
    assert before(some) == (
        "first comes 1 case that diverged in the stored run; 1 other is not in this run"
    )
    assert before(Request()).startswith("nothing diverged in the stored run")
