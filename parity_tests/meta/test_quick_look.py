"""A quick look sees nearly every mistake that the gate sees, and is never taken for the gate."""

import io
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from benchmarks.quick_look_evidence import LookedFault, look_cases, looked
from parity_tests.meta.test_fails_closed import shards
from parity_tests.runs import make_run, make_shard
from sampler_parity.cases.families import FAMILIES
from sampler_parity.cases.plan import CASE_COUNTS, LOOK, case_of, plan
from sampler_parity.commands.outputs import markdown
from sampler_parity.commands.summary import print_conclusion
from sampler_parity.faults.mistakes import MISTAKES
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import Verdict
from sampler_parity.report import render
from sampler_parity.run.command_words import run_command
from sampler_parity.run.conclusion import conclude
from sampler_parity.run.effort import BRIEF
from sampler_parity.run.gathering import Found
from sampler_parity.run.request import Request
from sampler_parity.run.shard_builder import ShardBuilder

HERE = capability_here()


EXPONENTIALS = {"exponential-coefficient-bit", "exponential-table-bit"}
"""Of these, no capability runs both: each is of one of torch's two exponentials."""

ELSEWHERE = {"renormalize-short-in-lanes"}
"""A mistake at a level of another architecture, at which a quick look has no cases."""


@pytest.fixture(scope="module")
def faults() -> list[LookedFault]:
    """Every planted fault as the candidate of a quick look."""
    return list(looked(look_cases(HERE), HERE, until_named=True))


def missed(faults: list[LookedFault], where: str) -> set[str]:
    return {fault.name for fault in faults if fault.where == where and not fault.named}


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_quick_look_names_the_planted_faults(faults: list[LookedFault]) -> None:
    """All but two of those of the kill matrix, at their stage and with their verdict."""
    assert missed(faults, "plain") == set()
    assert missed(faults, "specimen") == set()
    alone = missed(faults, "port") - ELSEWHERE
    assert alone <= EXPONENTIALS
    assert len(alone) <= 1
    classes = [fault for fault in faults if fault.where != "shipped"]
    assert len(classes) >= 86
    assert sum(fault.named > 0 for fault in classes) >= 80


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_of_faults_in_shortcuts_a_quick_look_sees_those_that_show_often(
    faults: list[LookedFault],
) -> None:
    """The others show in few calls of thousands, or where rows share threads."""
    shipped = [fault for fault in faults if fault.where == "shipped"]
    assert len(shipped) >= 38
    assert sum(fault.named > 0 for fault in shipped) >= 14


def test_a_quick_look_makes_the_first_of_a_kind_small_and_counts_the_others(
    tmp_path: Path,
) -> None:
    [mistake] = [one for one in MISTAKES if one.name == "top-k forgotten"]
    reference, about = PythonRef(), mistake.sampler.about
    asked = 0

    def again(case: Case) -> tuple[Outcome, Outcome]:
        nonlocal asked
        asked += 1
        return reference.run(case, HERE), mistake.sampler.run(case, HERE)

    builder = ShardBuilder("mine", about, HERE, tmp_path, effort=BRIEF)
    cases = [f"{family}-{index}@5" for family in ("gaussian", "zipf", "bf16") for index in range(9)]
    for case in map(case_of, [*cases, *(f"real-whole-{index}@5" for index in range(4))]):
        builder.add(case, *again(case), again)
    compared = asked
    told: list[tuple[int, int]] = []
    builder.look_closer(lambda done, total: told.append((done, total)))
    shard = builder.shard(builder.seen, "torch")
    assert told == [(done, shard.divergent) for done in range(shard.divergent)]
    assert 0 < asked - compared <= BRIEF.tried_in_all + len(shard.verdicts)
    small = [one for one in shard.divergences if one.shrunken is not None]
    kinds = [(one.divergence.stage, one.divergence.verdict) for one in small]
    assert ("top_k_mask", Verdict.SEMANTIC) in kinds
    assert len(kinds) == len(set(kinds)), "one of a stage and verdict"
    assert all(one.evidence is not None for one in small)
    made, *_ = shard.left_out
    counts = re.fullmatch(r"(\d+) of (\d+) divergent cases made small, (\d+) not: (.*)", made)
    assert counts is not None
    done, divergent, left = (int(count) for count in counts.groups()[:3])
    assert (done, divergent) == (len(small), shard.divergent)
    assert done + left == divergent, "each divergent case is counted once"
    assert sum(int(words.split()[0]) for words in counts[4].split(", ")) == left
    assert "of more than 32,768 logits" in counts[4]


def test_what_a_quick_look_left_out_is_printed_with_the_command_that_does_it() -> None:
    shard = msgspec.structs.replace(make_shard(divergent=3), left_out=("1 of 3 made small",))
    run = msgspec.structs.replace(
        make_run(shard), profile=LOOK, command="sampler-parity run --quick-look --out 'a b'"
    )
    console = Console(file=io.StringIO(), width=200)
    print_conclusion(run, console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert said.startswith("a quick look, not the gate: it found a divergence")
    assert "rust_ext: 1 of 3 made small" in said
    assert "sampler-parity run --profile quick --out 'a b'" in said
    assert "made small" in markdown(run)
    assert "1 of 3 made small" in render(run)


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
