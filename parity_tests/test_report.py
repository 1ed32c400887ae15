"""The report says what the run found: never more, and never in a way that can be misread."""

import base64
import datetime as dt
import hashlib
import re
import shlex
import shutil
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

from parity_tests.runs import described, make_divergence
from parity_tests.runs import make_run as made_run
from parity_tests.runs import make_shard as made_shard
from sampler_parity.cases.case_file import save_case
from sampler_parity.faults.found import Planted
from sampler_parity.model.case import EFFECTS, Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import SEVERITY, Cause, Divergence, Verdict
from sampler_parity.pipelines import PIPELINES, SampleLogits
from sampler_parity.report import render, write_report
from sampler_parity.report.content import DETAILED, VERDICTS, build, contradictions
from sampler_parity.report.content import STAGES as DESCRIBED
from sampler_parity.report.divergences import _replays
from sampler_parity.run.run_file import SCHEMA, Cell, FoundDivergence, Run, Shard
from sampler_parity.run.waivers import AppliedWaiver, Waiver

VOID = {"meta", "br", "hr", "img", "input", "link", "wbr"}
SUCCESS = "is torch, bit for bit"
HOLDS = "The gate holds"
STAGES = ("scaled_logits", "probs", "top_k_mask", "top_p_mask", "renormalized", "token")
ALL = ("error", *STAGES, "input", "generator")


@dataclass
class Page(HTMLParser):
    """A parsed page.

    Attributes:
        tags: every tag with its attributes, in order.
        unclosed: what is open.
        wrong: tags that close what is not open.
    """

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.unclosed.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.unclosed and self.unclosed[-1] == tag:
            self.unclosed.pop()
        else:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.unclosed):
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.pieces).split())

    @property
    def classes_of_verdict(self) -> str | None:
        return next(attrs["class"] for _, attrs in self.tags if attrs.get("id") == "verdict")


def parse(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert page.unclosed == []
    assert page.wrong == []
    return page


def cells(family: str, compared: int, stages: tuple[str, ...] = ALL) -> tuple[Cell, ...]:
    return tuple(
        Cell(family=family, stage=stage, compared=compared, differing=0, first=0)
        for stage in stages
    )


def make_shard(
    capability: str = "avx2", *, compared: int = 1_234, not_compared: int = 0, reason: str = ""
) -> Shard:
    made = cells("normal", compared) if compared else ()
    return Shard(
        implementation="rust_ext",
        capability=capability,
        source="recorded" if capability == "avx512" else "torch",
        planned=compared + not_compared,
        compared=compared,
        not_compared=not_compared,
        reason=reason,
        stages=compared * len(made),
        elements=compared * 40_960,
        tokens=compared * 3,
        divergent=0,
        threads={"1": compared - compared // 4, "2": compared // 4} if compared else {},
        cells=made,
        divergences=(),
    )


def make_run(*shards: Shard) -> Run:
    return Run(
        schema=SCHEMA,
        status="holds",
        reasons=(),
        started="2026-11-23T12:54:00+00:00",
        seconds=191.7,
        command="sampler-parity run --profile quick --seed 7",
        profile="quick",
        seed=7,
        shards=shards or tuple(make_shard(name) for name in ("default", "avx2", "avx512")),
        provenance={
            "versions": {"python": "3.11.7", "torch": "2.15.0"},
            "machine": {"processor": "a processor, 2 logical cores"},
        },
        findings=("A generator was handed over mid-stream 1,000 times, and no token differs.",),
    )


def found(
    case: str,
    stage: str = "probs",
    *,
    verdict: Verdict = Verdict.SEMANTIC,
    ulps: int | None = 3,
    family: str = "normal",
    also: tuple[str, ...] = ("renormalized", "token"),
) -> FoundDivergence:
    return FoundDivergence(
        case=case,
        family=family,
        described=described({"sampler": "sample_logits", "top_p": 0.95, "top_k": 20}, (1, 8)),
        divergence=Divergence(
            verdict=verdict,
            stage=stage,
            first=stage,
            index=(0, 17),
            reference="0.1 (0x3dcccccd)",
            candidate="0.10000002 (0x3dccccd0)",
            ulps=ulps,
            differing=812,
            total=4_096,
            also=also,
        ),
        evidence=f"evidence/avx2-000-{case.replace('@', '-')}.safetensors",
        replay=f"sampler-parity explain {case} --capability avx2",
    )


def diverging(*divergences: FoundDivergence, divergent: int | None = None) -> Run:
    """Make a run in which two of three shards are equal, and one is not."""
    number = len(divergences) if divergent is None else divergent
    plain = make_shard("avx2", compared=20_000)
    made: dict[tuple[str, str], Cell] = {}
    for one in divergences:
        stages = (one.divergence.stage, *one.divergence.also)
        for cell in cells(one.family, plain.compared):
            old = made.setdefault((cell.family, cell.stage), cell)
            decides = cell.stage == stages[0]
            decided = Counter({one.divergence.verdict.value: 1} if decides else {})
            made[cell.family, cell.stage] = msgspec.structs.replace(
                old,
                differing=old.differing + (cell.stage in stages),
                first=old.first + decides,
                verdicts=Counter(old.verdicts) + decided,
            )
    key = (divergences[0].family, divergences[0].divergence.stage)
    more = number - len(divergences)
    verdict = divergences[0].divergence.verdict.value
    made[key] = msgspec.structs.replace(
        made[key],
        differing=made[key].differing + more,
        first=made[key].first + more,
        verdicts=Counter(made[key].verdicts) + Counter({verdict: more}),
    )
    verdicts = sum((Counter(cell.verdicts) for cell in made.values()), Counter[str]())
    shard = msgspec.structs.replace(
        plain,
        divergent=number,
        cells=tuple(made.values()),
        divergences=divergences,
        verdicts=verdicts,
    )
    return msgspec.structs.replace(
        make_run(make_shard("default"), shard, make_shard("avx512")),
        status="diverges",
        reasons=("rust_ext differs from the reference at capability avx2 (torch)",),
    )


def article(html: str, case: str) -> str:
    match = re.search(rf"<article (?:(?!</article>).)*{case}.*?</article>", html, re.DOTALL)
    assert match is not None
    return match[0]


def test_an_equal_run_says_so_with_its_counts() -> None:
    page = parse(render(make_run()))
    assert f"rust_ext {SUCCESS}: 3,702 cases at 3 capabilities, 0 differ." in page.text
    assert HOLDS in page.text
    assert page.classes_of_verdict == "holds"
    assert "There are none: no compared case differs at any stage." in page.text
    assert "= 3,702" in page.text, "the matrix adds up the capabilities"
    assert "151,633,920" in page.text, "numbers compared"
    assert "1,000 times" in page.text, "findings"
    assert "23 November 2026, 12:54:00 UTC" in page.text
    assert "3 min 12 s" in page.text


def test_a_single_case_is_no_cases() -> None:
    text = parse(render(make_run(make_shard(compared=1, not_compared=1, reason="no")))).text
    assert "case compared1 cases differ0 case not compared1" in text


def test_planned_is_compared_plus_not_compared_and_the_reason_is_given() -> None:
    run = make_run(
        make_shard(), make_shard("avx512", not_compared=12, reason="No such `CPU` here.")
    )
    page = parse(render(run))
    assert page.classes_of_verdict == "holds"
    assert (
        "rust_ext at avx512, 12 cases not compared with recorded torch: No such CPU here."
        in page.text
    )
    totals = build(run).numbers.totals
    assert (totals.planned, totals.compared, totals.not_compared) == (2_480, 2_468, 12)


def test_a_diverging_run_names_the_first_stage_both_values_and_the_replay() -> None:
    html = render(diverging(found("normal-3@7"), found("normal-9@7", "token", ulps=None, also=())))
    page = parse(html)
    assert "rust_ext differs from torch in 2 of 22,468 cases" in page.text
    assert "the first divergent stage is most often probs." in page.text
    assert page.classes_of_verdict == "diverges"
    assert SUCCESS not in page.text
    assert HOLDS not in page.text
    text = parse(article(html, "normal-3@7")).text
    assert (
        "At index [0, 17] of probs torch has 0.1 (0x3dcccccd), rust_ext has "
        "0.10000002 (0x3dccccd0), 3 ulp apart; 812 of 4,096 numbers differ."
    ) in text
    assert "Also different: renormalized, token." in text
    assert "sampler-parity explain normal-3@7 --capability avx2" in text
    assert 'href="evidence/avx2-000-normal-3-7.safetensors"' in html


def test_the_matrix_tells_the_first_divergent_stage_from_what_follows() -> None:
    html = render(diverging(found("normal-3@7")))
    matrix = html[html.index('id="matrix-1"') :]
    assert re.search(r'class="first">.*?1 / 22,468.*?semantic in 1<', matrix)
    assert re.search(r'class="later">.*?1 / 22,468.*?follows<', matrix)
    assert "<details>" in matrix, "each capability on its own"
    matrix_ = build(diverging(found("normal-3@7"))).matrices[0].overall
    assert matrix_.unseen == ("noised_logits",)
    assert "noised_logits" not in matrix_.stages


def test_every_stage_and_verdict_is_described_in_the_order_of_comparison() -> None:
    assert list(VERDICTS) == sorted(Verdict, key=SEVERITY.__getitem__)
    for pipeline in PIPELINES.values():
        stages = pipeline.names
        order = [stage for stage in DESCRIBED if stage in {"error", *stages, *EFFECTS}]
        assert order == ["error", *stages, *EFFECTS]


def test_divergences_are_ordered_worst_first() -> None:
    run = diverging(
        found("token-1@7", "token", ulps=None),
        found("near-1@7", ulps=1),
        found("far-1@7", ulps=900),
        found("nan-1@7", ulps=None),
        found("raise-1@7", "error", verdict=Verdict.ERROR, ulps=None),
    )
    shown = [one.case for one in build(run).divergences.articles]
    assert shown == ["raise-1@7", "nan-1@7", "token-1@7", "far-1@7", "near-1@7"], (
        "a kind each first"
    )


@pytest.mark.parametrize("status", ["holds", "diverges", "unjudged"])
@pytest.mark.parametrize("shards", [(), (make_shard(compared=0),)], ids=["no-shard", "no-case"])
def test_a_run_that_compared_nothing_never_claims_success(
    status: str, shards: tuple[Shard, ...]
) -> None:
    run = msgspec.convert(
        {**msgspec.to_builtins(make_run()), "shards": msgspec.to_builtins(shards)}
        | {"status": status},
        Run,
    )
    page = parse(render(run))
    assert page.classes_of_verdict != "holds"
    assert SUCCESS not in page.text
    assert HOLDS not in page.text
    assert "no compared case differs" not in page.text


def test_an_unjudged_run_never_claims_success() -> None:
    run = msgspec.structs.replace(
        make_run(), status="unjudged", reasons=("capability deselected: avx512",)
    )
    page = parse(render(run))
    assert page.classes_of_verdict == "unjudged"
    assert "The gate could not be judged." in page.text
    assert "capability deselected: avx512" in page.text
    assert SUCCESS not in page.text
    assert HOLDS not in page.text


BROKEN = {
    "lost cases": {"planned": 5_000},
    "no reason": {"planned": 1_240, "not_compared": 6},
    "hidden divergence": {
        "cells": (Cell(family="a", stage="probs", compared=1, differing=1, first=1),)
    },
    "divergent": {"divergent": 1},
    "listed": {"divergences": (found("normal-3@7"),)},
}


@pytest.mark.parametrize("changes", BROKEN.values(), ids=BROKEN.keys())
def test_a_run_that_contradicts_itself_never_claims_success(changes: dict[str, object]) -> None:
    run = make_run(make_shard(), msgspec.structs.replace(make_shard(), **changes))
    assert contradictions(run)
    page = parse(render(run))
    assert page.classes_of_verdict == "unjudged"
    assert HOLDS not in page.text
    assert contradictions(make_run()) == ()


def test_an_implementation_that_was_not_compared_is_not_covered_by_one_that_was() -> None:
    other = msgspec.structs.replace(make_shard(compared=0), implementation="other")
    page = parse(render(make_run(make_shard(), other)))
    assert page.classes_of_verdict == "unjudged"
    assert "other: nothing was compared." in page.text


def test_several_implementations_each_have_their_sentence() -> None:
    run = diverging(found("normal-3@7"))
    other = msgspec.structs.replace(make_shard(), implementation="other")
    page = parse(render(msgspec.structs.replace(run, shards=(*run.shards, other))))
    assert "rust_ext differs from torch in 1 of 22,468 cases" in page.text
    assert f"other {SUCCESS}: 1,234 cases at 1 capability, 0 differ." in page.text
    assert page.classes_of_verdict == "diverges"


def test_what_candidates_are_held_against_is_named() -> None:
    """Names of candidates stay as they are, whatever is in them."""
    run = diverging(found("normal-3@7"))
    shards = tuple(msgspec.structs.replace(s, implementation="my_torch") for s in run.shards)
    changed = msgspec.structs.replace(run, shards=shards, reference="transformers")
    page = parse(render(changed))
    assert "my_torch differs from transformers in 1 of" in page.text
    assert "It cannot be trusted to give transformers's tokens." in page.text


def scripts(html: str) -> list[str]:
    return re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL)


def test_the_page_runs_one_script_and_its_policy_allows_no_other() -> None:
    html = render(make_run())
    [script] = scripts(html)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert html.count("<script") == 1
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert f"script-src &#39;sha256-{digest}&#39;;" in policy
    assert policy.startswith("default-src &#39;none&#39;;")


def test_text_from_a_run_is_only_text() -> None:
    hostile = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"
    one = found("normal-3@7", family=hostile, also=(hostile,))
    one = msgspec.structs.replace(
        one,
        case=hostile,
        described=described({hostile: hostile}, (1, 8)),
        replay=hostile,
        divergence=msgspec.structs.replace(one.divergence, reference=hostile, candidate=hostile),
    )
    run = diverging(one)
    run = msgspec.structs.replace(
        run,
        reasons=(hostile,),
        command=hostile,
        started=hostile,
        profile=hostile,
        provenance={hostile: {hostile: hostile}},
        findings=(hostile,),
        shards=tuple(
            msgspec.structs.replace(
                shard,
                implementation=hostile,
                capability=hostile,
                planned=shard.planned + 1,
                not_compared=1,
                reason=hostile,
                threads={hostile: 1},
            )
            for shard in run.shards
        ),
    )
    html = render(run)
    page = parse(html)
    assert scripts(html) == scripts(render(make_run())) != []
    assert "{{ 7 * 7 }}" in page.text
    assert {tag for tag, _ in page.tags}.isdisjoint({"iframe", "img", "object", "link"})
    allowed = re.compile(r"aria-[a-z]+|class|id|href|lang|role|tabindex|scope|colspan|datetime"
                         r"|charset|name|content|http-equiv|data-(f\d|case|stage|verdict)|hidden"
                         r"|type|value|checked|autocomplete|min|max|start")  # fmt: skip
    drawn = {"svg", "g", "path", "line", "text", "rect"}
    used = {name for tag, attributes in page.tags if tag not in drawn for name in attributes}
    assert [name for name in used if not allowed.fullmatch(name)] == []


@pytest.mark.parametrize(
    "evidence", ["javascript:alert(1)", "//elsewhere/x", "/etc/passwd", "../x", "a\\b", "", None]
)
def test_an_evidence_link_never_leaves_the_run(evidence: str | None) -> None:
    one = msgspec.structs.replace(found("normal-3@7"), evidence=evidence)
    page = parse(render(diverging(one)))
    links = [attrs["href"] or "" for tag, attrs in page.tags if tag == "a"]
    assert all(link.startswith("#") or link == "javascript%3Aalert%281%29" for link in links)


@pytest.mark.parametrize(
    "run", [make_run(), diverging(found("normal-3@7"))], ids=["equal", "diverging"]
)
def test_the_page_is_self_contained_and_its_links_lead_somewhere(run: Run) -> None:
    html = render(run)
    page = parse(html)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in page.tags:
        assert tag not in {"link", "img", "iframe"}
        assert "src" not in attrs
        assert not any(name.startswith("on") for name in attrs)
        href = attrs.get("href")
        if href is not None:
            assert href.startswith("evidence/") or (href[0] == "#" and href[1:] in ids)
        labelled = attrs.get("aria-labelledby")
        assert labelled is None or labelled in ids
    assert not re.search(r"https?:|url\(|@import", html)


def test_the_page_can_be_heard() -> None:
    page = parse(render(diverging(found("normal-3@7"))))
    names = [tag for tag, _ in page.tags]
    assert {"header", "nav", "main", "footer"} <= set(names)
    assert names.count("table") == names.count("caption")
    assert all(attrs.get("scope") in {"row", "col"} for tag, attrs in page.tags if tag == "th")
    assert ("html", {"lang": "en"}) in page.tags
    levels = [int(tag[1]) for tag in names if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.proof
def test_ten_thousand_divergences_stay_readable() -> None:
    many = tuple(
        found(f"normal-{n}@7", ("probs", "token", "renormalized")[n % 3], ulps=n, also=())
        for n in range(10_000)
    )
    run = diverging(*many, divergent=12_345)
    html = render(run)
    page = parse(html)
    assert len(html.encode()) < 3_000_000
    assert html.count("<article") == DETAILED == 50
    rest = build(run).divergences
    assert rest.uncounted == 12_345 - DETAILED
    # Every third of the 10,000 is at probs, as are the 2,345 that the run only counts.
    shown = Counter(one.stage for one in rest.articles)
    assert [(row.stage, row.verdict, row.cases, row.where) for row in rest.rest] == [
        ("probs", "semantic", 3_334 + 2_345 - shown["probs"], "at avx2"),
        ("renormalized", "semantic", 3_333 - shown["renormalized"], "at avx2"),
        ("token", "semantic", 3_333 - shown["token"], "at avx2"),
    ]
    assert "the other 12,295 are counted" in page.text


def test_a_value_of_any_length_is_cut() -> None:
    one = found("normal-3@7")
    long = msgspec.structs.replace(one.divergence, candidate="x" * 5_000_000)
    html = render(diverging(msgspec.structs.replace(one, divergence=long)))
    assert len(html) < 100_000
    assert "4,999,000 more characters" in html


def test_the_same_run_gives_the_same_page() -> None:
    run = diverging(found("normal-3@7"), found("normal-9@7", "token", ulps=None))
    again = msgspec.json.decode(msgspec.json.encode(run), type=Run)
    assert render(run) == render(run) == render(again)


def with_evidence(folder: Path) -> Run:
    """Make a run with a kept case of which only the candidate's nucleus is larger."""
    logits = np.linspace(2, -2, 32, dtype=np.float32)[None]
    probs = np.exp(logits) / np.exp(logits).sum()
    case = Case(id="normal-3@7", family="normal", logits=logits, parameters=SampleLogits(), seed=7)

    def outcome(kept: int) -> Outcome:
        nucleus = np.arange(32)[None] < kept
        stages = {
            "scaled_logits": logits,
            "probs": probs,
            "top_k_mask": np.ones((1, 32), bool),
            "top_p_mask": nucleus,
            "renormalized": np.where(nucleus, probs, 0) / probs[nucleus].sum(),
        }
        tokens = [np.array([0])]
        return Outcome(stages=stages, tokens=tokens, input=logits, generator=bytes(8))

    one = found("normal-3@7", "top_p_mask", ulps=None)
    one = msgspec.structs.replace(
        one, divergence=msgspec.structs.replace(one.divergence, index=(0, 20))
    )
    save_case(folder / (one.evidence or ""), case, "avx2", outcome(20), outcome(21))
    return diverging(one)


def test_a_picture_shows_both_decisions(tmp_path: Path) -> None:
    html = render(with_evidence(tmp_path), tmp_path)
    parse(html)
    text = article(html, "normal-3@7")
    assert text.count("<svg") == 2
    assert "torch keeps 20 (solid line), rust_ext 21 (dashed line)" in text
    assert "torch&#39;s last token is the 20th" in text
    assert len(text) < 40_000


def test_a_run_file_alone_makes_the_same_report_but_for_pictures(tmp_path: Path) -> None:
    run = with_evidence(tmp_path)
    shutil.rmtree(tmp_path / "evidence")
    for html in (render(run, tmp_path), render(run)):
        text = article(html, "normal-3@7")
        assert "<svg" not in text
        assert "No picture: evidence/" in text
        assert "torch has <code>" in text


def test_a_damaged_evidence_file_costs_the_picture_only(tmp_path: Path) -> None:
    run = with_evidence(tmp_path)
    [file] = (tmp_path / "evidence").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert "No picture: evidence/" in render(run, tmp_path)


def test_what_the_run_would_have_caught_is_said() -> None:
    fault = Planted(
        where="port", name="a strict cutoff", stage="top_p_mask", verdict=Verdict.SEMANTIC,
        cases=400, caught=12, others={}, killed=True,
    )  # fmt: skip
    run = msgspec.structs.replace(make_run(), planted=(fault,))
    assert "It caught 1 of 1 planted fault" in parse(render(run)).text
    assert "one of 179 such cases" in parse(render(run)).text, "1 - 0.001 ** (1 / 1234)"
    assert "No fault was planted" in parse(render(make_run())).text
    missed = msgspec.structs.replace(run, planted=(msgspec.structs.replace(fault, killed=False),))
    page = parse(render(missed))
    assert page.classes_of_verdict == "unjudged"
    assert "0 of 1" in page.text


def test_the_kill_matrix_says_which_path_a_fault_was_planted_in() -> None:
    fault = Planted(
        where="shipped", name="an early end", stage="token", verdict=Verdict.DIFFERS, cases=10,
        caught=9, others={}, killed=True, path="list, nucleus", file="fast/top_p.rs", missed=1e-6,
    )  # fmt: skip
    page = parse(render(msgspec.structs.replace(make_run(), planted=(fault,))))
    for words in (
        "Planted in what users run: shortcuts, draw, batches: 1 of 1 caught",
        "list, nucleus", "fast/top_p.rs", "with a probability below 1e-06",
    ):  # fmt: skip
        assert words in page.text
    of_stages = msgspec.structs.replace(fault, where="port", path="stages", file="", missed=None)
    text = parse(render(msgspec.structs.replace(make_run(), planted=(of_stages,)))).text
    assert "stages" in text
    assert "with a probability below" not in text


def test_a_waived_divergence_is_never_shown_as_equal() -> None:
    run = diverging(found("normal-3@7"))
    waiver = Waiver(
        implementation="rust_ext", family="*", stage="probs", verdict=Verdict.SEMANTIC,
        owner="Ada <script>", reason="until spring", expires=dt.date(2026, 12, 24),
    )  # fmt: skip
    accepted = msgspec.structs.replace(
        run,
        status="holds",
        reasons=(),
        shards=tuple(
            msgspec.structs.replace(shard, accepted=shard.divergent) for shard in run.shards
        ),
        waivers=(AppliedWaiver(waiver=waiver, cases=1, expired=False),),
    )
    page = parse(render(accepted))
    assert "The gate holds, with waivers" in page.text
    assert SUCCESS not in page.text
    assert "31 days left" in page.text
    assert "Ada <script>" in page.text
    hidden = msgspec.structs.replace(accepted, waivers=())
    assert parse(render(hidden)).classes_of_verdict == "unjudged"


def test_the_findings_are_those_of_the_document() -> None:
    shown = build(make_run()).findings
    assert [finding.number for finding in shown] == [f"F{n}" for n in range(1, 10)]
    assert all(finding.words for finding in shown)


def test_the_page_is_written_beside_its_run(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    path = write_report(make_run(), folder)
    assert path == folder / "index.html"
    assert path.read_text(encoding="utf-8") == render(make_run())
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize("home", ["reports/latest", "else where"])
def test_a_replay_command_names_the_file_once(home: str) -> None:
    """As the run stores it, with its folder; or relative to that."""
    path = "evidence/a.safetensors"
    whole = shlex.join(["sampler-parity", "explain", f"{home}/{path}", "--capability", "avx2"])
    relative = f"sampler-parity explain {path} --capability avx2"
    for stored in (whole, relative):
        explain, rust = _replays("rust_ext", stored, path, home)
        assert explain == whole
        assert shlex.split(rust)[-1] == f"{home}/{path}"


def test_a_lost_candidate_s_words_are_said_once() -> None:
    lost = "ended by SIGABRT\nlast <b>words</b>\nand more"
    found = make_divergence(0, Verdict.CRASHED)
    cause = Cause(stage="error", verdict=Verdict.CRASHED, words=lost)
    divergence = msgspec.structs.replace(
        found.divergence, stage="error", first="error", candidate=lost, causes=(cause,)
    )
    found = msgspec.structs.replace(found, divergence=divergence)
    html = render(made_run(made_shard(found, divergent=1)))
    assert html.count("ended by SIGABRT") == 1
    assert "last &lt;b&gt;words&lt;/b&gt;\nand more</pre>" in html
