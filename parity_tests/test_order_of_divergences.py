"""What matters to a user comes first, is said once, and has its evidence."""

import xml.etree.ElementTree as ET
from io import StringIO
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from parity_tests.runs import described, make_run
from sampler_parity.cases.case_file import save_case
from sampler_parity.cases.families import FAMILIES, importance
from sampler_parity.cases.plan import case_of
from sampler_parity.commands.diff import compare_runs
from sampler_parity.commands.junit import junit
from sampler_parity.commands.outputs import annotations, markdown
from sampler_parity.commands.summary import summarise
from sampler_parity.faults.mistakes import MISTAKES
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.model.case import CAPABILITIES, Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import Cause, Divergence, Verdict
from sampler_parity.report import render
from sampler_parity.report.content import build, contradictions
from sampler_parity.report.divergences import CALLS_SHOWN, Article
from sampler_parity.report.order import in_order
from sampler_parity.run.effort import WHOLE
from sampler_parity.run.keeping import OF_A_FAMILY
from sampler_parity.run.run_file import Cell, FoundDivergence, Run, Shard
from sampler_parity.run.shard_builder import ShardBuilder
from sampler_parity.run.words import at, differences

S, R, E = Verdict.SEMANTIC, Verdict.ROUNDING, Verdict.ERROR


def found(
    case: str, verdict: Verdict = S, stage: str = "renormalized", *, evidence: bool = True
) -> FoundDivergence:
    family = case.rpartition("-")[0]
    error = stage == "error"
    return FoundDivergence(
        case=case,
        family=family,
        described=described({"sampler": "sample_logits"}, (1, 8)),
        divergence=Divergence(
            verdict=verdict,
            stage=stage,
            first=stage,
            index=() if error else (0, 1),
            reference="returns" if error else "0.5",
            candidate="raises ValueError at call 0: no" if error else "0.25",
            differing=1,
            total=8,
            causes=(Cause(stage=stage, verdict=verdict, words="for a test"),),
        ),
        evidence=f"evidence/{case}.safetensors" if evidence else None,
        replay=f"sampler-parity explain {case}",
    )


def shard(*divergences: FoundDivergence, capability: str = "avx2", more: int = 0) -> Shard:
    """Make one with these divergences, and ``more`` of the first kind that are only counted."""
    cells: dict[tuple[str, str], Cell] = {}
    verdicts: dict[str, int] = {}
    for number, one in enumerate(divergences):
        stage, verdict = one.divergence.stage, one.divergence.verdict.value
        count = 1 + (more if not number else 0)
        old = cells.get((one.family, stage))
        decided = dict(old.verdicts) if old else {}
        decided[verdict] = decided.get(verdict, 0) + count
        total = sum(decided.values())
        cells[one.family, stage] = Cell(
            family=one.family, stage=stage, compared=100, differing=total, first=total,
            verdicts=decided,
        )  # fmt: skip
        verdicts[verdict] = verdicts.get(verdict, 0) + count
    return Shard(
        implementation="mine", capability=capability, source="torch", planned=100, compared=100,
        not_compared=0, reason="", stages=9, elements=9, tokens=9, divergent=sum(verdicts.values()),
        threads={"1": 100}, cells=tuple(cells.values()), divergences=divergences,
        verdicts=verdicts,
    )  # fmt: skip


def order(*divergences: FoundDivergence) -> list[str]:
    return [one.found.case for one in in_order(make_run(shard(*divergences)))]


def test_families_stand_in_the_order_of_what_matters() -> None:
    ranks = [importance(family) for family in FAMILIES]
    assert ranks == sorted(ranks)
    assert {importance(name) for name in ("real-tts", "real-whole", "long-streams")} == {0}
    assert {importance(name) for name in ("odd-parameters", "odd-logits")} == {2}


def test_real_logits_come_first_and_odd_parameters_last() -> None:
    """A crash on an odd parameter stands below, what any correct sampler may have below that."""
    assert order(
        found("odd-parameters-1@0", Verdict.CRASHED, "error"),
        found("real-tts-3@0", R),
        found("gaussian-1@0"),
        found("odd-parameters-2@0", E, "error"),
        found("real-tts-4@0"),
        found("real-tts-5@0"),
    ) == [
        "real-tts-4@0",
        "gaussian-1@0",
        "odd-parameters-1@0",
        "odd-parameters-2@0",
        "real-tts-3@0",
        "real-tts-5@0",
    ]


def test_another_family_comes_before_the_same_one_again() -> None:
    names = [f"{family}-{n}@0" for family in ("gaussian", "zipf") for n in range(3)]
    assert order(*map(found, names))[:4] == [
        "gaussian-0@0",
        "zipf-0@0",
        "gaussian-1@0",
        "zipf-1@0",
    ]


def at_all(*divergences: FoundDivergence) -> Run:
    return make_run(*(shard(*divergences, capability=name) for name in CAPABILITIES))


def printed(run: Run) -> str:
    out = StringIO()
    summarise(run, Console(file=out, width=300))
    return out.getvalue()


def test_what_is_the_same_at_every_capability_is_said_once() -> None:
    run = at_all(found("real-tts-1@0"))
    [article] = build(run).divergences.articles
    assert article.where == "at all five capabilities"
    assert article.values_of == "default"
    assert render(run).count("<article") == 1
    assert printed(run).count("mine: real-tts-1@0 at all five capabilities: semantic") == 1
    assert printed(run).count("real-tts-1@0") == 2, "the line and its replay"
    assert markdown(run).count("| real-tts-1\\@0 | at all five capabilities | semantic |") == 1
    assert len(annotations(run)) == 1
    equal = make_run(*(msgspec.structs.replace(one, **EQUAL) for one in run.shards))
    sections = {section.heading: section.changes for section in compare_runs(equal, run)}
    [count] = sections["Divergent cases"]
    assert (count.what, count.after) == ("mine at each of the five capabilities", "1 of 100")
    [case] = sections["Cases that the runs keep"]
    assert case.what == "mine at each of the five capabilities: real-tts-1@0"


EQUAL = {"divergent": 0, "divergences": (), "verdicts": {}, "cells": ()}


def test_another_verdict_at_another_capability_is_another_divergence() -> None:
    run = make_run(
        shard(found("real-tts-1@0"), capability="default"),
        shard(found("real-tts-1@0"), capability="avx2"),
        shard(found("real-tts-1@0", R), capability="avx512"),
    )
    assert [(one.kind[2], one.where) for one in in_order(run)] == [
        (S, "at default and avx2"),
        (R, "at avx512"),
    ]
    anchors = [article.anchor for article in build(run).divergences.articles]
    assert len(set(anchors)) == 2


def test_the_values_shown_are_those_that_have_evidence() -> None:
    kept = found("real-tts-1@0")
    run = make_run(
        shard(found("real-tts-1@0", evidence=False), capability="default"),
        shard(kept, capability="avx2"),
    )
    [case] = in_order(run)
    assert case.found == kept
    assert case.shard.capability == "avx2"


def test_reasons_are_merged_where_the_counts_are_equal() -> None:
    shards = at_all(found("real-tts-1@0")).shards
    assert differences(shards) == (
        (
            "mine differs from the reference in 1 of 100 cases at each of the five capabilities "
            "(live torch): 1 semantic"
        ),
    )
    other = shard(found("real-tts-1@0"), more=4, capability="avx512")
    assert differences((*shards[:2], other)) == (
        (
            "mine differs from the reference in 1 of 100 cases at each of default and avx2 "
            "(live torch): 1 semantic"
        ),
        "mine differs from the reference in 5 of 100 cases at avx512 (live torch): 5 semantic",
    )


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("avx2",), "at avx2"),
        (("default", "avx2"), "at default and avx2"),
        (("default", "avx2", "avx512"), "at default, avx2 and avx512"),
        (CAPABILITIES, "at all five capabilities"),
    ],
)
def test_capabilities_in_words(names: tuple[str, ...], words: str) -> None:
    assert at(names) == words


def test_what_is_shown_in_full_has_evidence_and_the_rest_is_counted() -> None:
    kept = [found(f"gaussian-{n}@0", evidence=n < 2) for n in range(4)]
    lonely = [found(f"vast-rows-{n}@0", Verdict.GENERATOR, "token", evidence=False) for n in (6, 7)]
    run = make_run(shard(*kept, *lonely, more=10))
    shown = build(run).divergences
    assert [one.case for one in shown.articles] == [
        "gaussian-0@0",
        "vast-rows-6@0",
        "gaussian-1@0",
    ], "one of a kind of which the run keeps nothing"
    assert [(row.stage, row.verdict, row.cases) for row in shown.rest] == [
        ("renormalized", "semantic", 12),
        ("token", "generator", 1),
    ]
    assert shown.told + shown.uncounted == shown.total == run.shards[0].divergent
    assert contradictions(run) == ()


def test_a_cell_counts_the_cases_of_each_verdict() -> None:
    run = make_run(shard(found("real-tts-1@0", R), found("gaussian-1@0"), more=29_816))
    [cell] = [one for one in build(run).overview.rows[0].cells if one.differing]
    assert cell.decided == (("semantic", 1), ("rounding", 29_817))
    assert "semantic in 1, rounding in 29,817" in render(run)
    hidden = msgspec.structs.replace(run.shards[0], verdicts={"rounding": 29_818})
    assert "mine at avx2: the stages decide" in contradictions(make_run(hidden))[0]


def test_junit_says_of_which_kind_a_family_s_cases_are() -> None:
    run = at_all(found("real-tts-1@0"), found("real-tts-2@0", R))
    failures = [one.get("message") for one in ET.fromstring(junit(run)).iter("failure")]
    assert failures.count("2 cases differ: 1 semantic, 1 rounding") == len(CAPABILITIES)


ENDINGS = {
    "candidate": ("returns", "raises ValueError at call 0: no", "Torch gives a token; mine raises"),
    "torch": ("raises RuntimeError at call 0: no", "returns", "mine gives a token."),
    "both": ("raises A at call 0: a", "raises B at call 0: b", "Both raise, and not the same"),
}


@pytest.mark.parametrize(("torch", "mine", "words"), ENDINGS.values(), ids=ENDINGS.keys())
def test_an_error_says_who_raised(torch: str, mine: str, words: str) -> None:
    one = found("odd-parameters-1@0", E, "error")
    divergence = msgspec.structs.replace(one.divergence, reference=torch, candidate=mine)
    html = render(make_run(shard(msgspec.structs.replace(one, divergence=divergence))))
    text = html.replace("<code>", "").replace("</code>", "")
    assert words in text
    assert "The first divergent stage is error" not in text
    assert "Cause" not in text[text.index("<article") : text.index("</article")]


@pytest.mark.proof
def test_the_evidence_of_real_logits_is_kept_whatever_else_differs(tmp_path: Path) -> None:
    [mistake] = [one for one in MISTAKES if one.name == "top-k forgotten"]
    here, reference = capability_here(), PythonRef()

    def again(case: Case) -> tuple[Outcome, Outcome]:
        return reference.run(case, here), mistake.sampler.run(case, here)

    builder = ShardBuilder("mine", mistake.sampler.about, here, tmp_path)
    names = [f"{family}-{index}@5" for family in ("gaussian", "zipf", "bf16") for index in range(9)]
    for case in map(case_of, [*names, *(f"real-tts-{index}@5" for index in range(3))]):
        builder.add(case, *again(case), again)
    kept = [
        one
        for one in builder.shard(builder.seen, "torch").divergences
        if one.divergence.stage == "top_k_mask"
    ]
    real = [one for one in kept if one.family == "real-tts"]
    assert len(real) == 3
    assert all(one.evidence and (tmp_path / one.evidence).exists() for one in real)
    assert sum(one.shrunken is not None for one in real) == 1
    made = [one for one in kept if one.family != "real-tts"]
    assert len(made) > OF_A_FAMILY
    assert sum(one.shrunken is not None for one in made) == WHOLE.small_of_a_kind
    assert {one.family for one in made} == {one.family for one in made if one.evidence}


def drawn(first: int, calls: int, folder: Path, stream: str = "torch") -> Article:
    """Make the article of a case whose calls differ from the ``first`` one on."""
    case = case_of("long-streams-2@0")
    tokens = [np.array([call % 7]) for call in range(calls)]
    other = [token + (call >= first - 1) for call, token in enumerate(tokens)]
    sides = [
        Outcome(tokens=given, input=case.logits, generator=bytes(8)) for given in (tokens, other)
    ]
    one = found("long-streams-2@0", Verdict.GENERATOR, "token")
    save_case(folder / (one.evidence or ""), case, "avx2", *sides)
    about = About(name="mine", stream="own" if stream == "own" else "torch")
    run = make_run(msgspec.structs.replace(shard(one), about=about))
    [article] = build(run, folder).divergences.articles
    return article


def test_of_a_long_stream_the_calls_about_the_first_difference_are_shown(tmp_path: Path) -> None:
    draws = drawn(300, 500, tmp_path).draws
    assert draws is not None
    shown = range(draws.start, draws.start + len(draws.pairs))
    assert (draws.first, draws.calls, draws.equal, draws.total) == (300, 500, 299, 500)
    assert len(shown) == CALLS_SHOWN
    differing = [number for number, pair in zip(shown, draws.pairs, strict=True) if pair.candidate]
    assert differing == list(range(300, shown[-1] + 1))
    few = drawn(2, 3, tmp_path).draws
    assert few is not None
    assert (few.start, len(few.pairs), few.first) == (1, 3, 2)


def test_other_tokens_of_a_generator_of_its_own_are_not_shown_as_different(tmp_path: Path) -> None:
    assert drawn(2, 3, tmp_path, "own").draws is None


def test_equal_rows_of_a_matrix_are_one() -> None:
    run = at_all(found("real-tts-1@0"))
    names = [row.name for row in build(run).overview.rows]
    assert names == ["mine", "at each of the five capabilities, live torch"]
    [matrices] = build(run).matrices
    assert len(matrices.breakdown) == 1
    assert [row.name for row in matrices.overall.rows] == ["real-tts"]
    assert matrices.overall.rows[0].cells[0].compared == 100 * len(CAPABILITIES)
    other = msgspec.structs.replace(shard(found("real-tts-1@0"), more=1), capability="avx512")
    rows = build(make_run(*run.shards[:2], other)).overview.rows
    assert [row.name for row in rows[1:]] == [
        "at each of default and avx2, live torch",
        "at avx512, live torch",
    ]
