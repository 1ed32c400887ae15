"""The page of ``sampler-parity calls`` says what was found, whatever names are in it."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from typer.testing import CliRunner

import python_ref
from sampler_parity.cases.case_file import load_case
from sampler_parity.cli import app
from sampler_parity.commands.calls import encoded
from sampler_parity.commands.calls_outputs import (
    calls_annotations,
    calls_junit,
    calls_markdown,
)
from sampler_parity.engines import Recorder, Recording
from sampler_parity.engines.attribution import attribute
from sampler_parity.engines.audit import audit
from sampler_parity.engines.contract import Contract, Phase
from sampler_parity.engines.findings import LONGEST_TIMELINE, Attribution, NotCompared, Step
from sampler_parity.engines.small_engine import FAULTS, MASKED, SEMANTIC_CALLS, SmallEngine
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.report.calls import write_calls_report
from sampler_parity.report.calls_timeline import SMALLEST, columns, in_words, timeline

HOSTILE = "<script>alert(1)</script><img src=//elsewhere onerror=alert(2)>\"'&|*`\x1b[31m"


def compared(folder: Path, *faults: str, forced: bool = False, keep: int = 2) -> Attribution:
    """Compare the small engine with the same one with faults, with evidence in ``folder``."""
    base = frozenset[str]().union(*(FAULTS[name].base for name in faults))
    clean, faulty = folder / "clean.calls", folder / "faulty.calls"
    SmallEngine(base).run(clean, keep)
    SmallEngine(base | set(faults)).run(faulty, keep, clean if forced else None)
    return both(clean, faulty, folder)


def both(first: Path, second: Path, folder: Path) -> Attribution:
    return attribute(Recording.open(first), Recording.open(second), folder=folder)


def page_of(found: Attribution, folder: Path) -> str:
    return write_calls_report(found, folder).read_text("utf-8")


@dataclass(frozen=True)
class Made:
    """A result with its page, in a folder."""

    folder: Path
    found: Attribution
    page: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Compare two engines of which one passes the parameters of the other phase."""
    folder = tmp_path_factory.mktemp("made")
    found = compared(folder, "wrong-parameters")
    return Made(folder, found, page_of(found, folder))


class Tables(HTMLParser):
    """The rows of every table, as text, and the facts below the sentence."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.facts: dict[str, str] = {}
        self.links: list[str] = []
        self._text = ""
        self._name = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th", "dt", "dd"}:
            self._text = ""
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]

    def handle_endtag(self, tag: str) -> None:
        told = " ".join(self._text.split())
        if tag in {"td", "th"}:
            self.rows[-1].append(told)
        elif tag == "dt":
            self._name = told
        elif tag == "dd":
            self.facts[self._name] = told

    def handle_data(self, data: str) -> None:
        self._text += data

    def row(self, first: str) -> list[list[str]]:
        return [row for row in self.rows if row and row[0] == first]


# ---- the page says what was found


ONE_OF_EACH_KIND = (
    "feedback-offset",
    "stop-rule",
    "wrong-sampler",
    "mask-missing",
    "reseeded-each-call",
    "stale-logits",
    "not-renormalised",
)


@pytest.mark.proof
@pytest.mark.parametrize("fault", ONE_OF_EACH_KIND)
def test_every_kind_has_its_page(tmp_path: Path, fault: str) -> None:
    found = compared(tmp_path, fault)
    page = page_of(found, tmp_path)
    tables = Tables(page)
    assert tables.facts["calls planned"] == f"{found.planned:,}"
    assert tables.facts["calls compared"] == f"{found.compared:,}"
    assert tables.facts["calls left out"] == f"{found.planned - found.compared:,}"
    own = [one for one in found.findings if one.kind != "consequence"]
    assert tables.facts["finding"] == str(len(own)) == "1"
    for one in found.findings:
        rows = [row for row in tables.row(one.kind) if row[1] == one.what]
        assert len(rows) == 1
        assert rows[0][4] == f"{one.times:,} of {one.of:,}"
        if one.alone is not None and one.alone.variation is not None:
            assert rows[0][5] == f"{one.alone.variation:.3g}"
    assert page.count("<article ") == len(found.evidence) == len(found.findings)
    for use in found.uses:
        shown = [row for row in tables.rows if row[1:2] == [use.side] and use.phase in row[0]]
        assert f"{use.calls:,}" in {row[2].removeprefix("≠ ") for row in shown}


@pytest.mark.proof
def test_a_number_of_the_result_is_the_number_on_the_page(made: Made, tmp_path: Path) -> None:
    found = made.found
    first = msgspec.structs.replace(found.findings[0], times=17, of=4321)
    changed = msgspec.structs.replace(
        found, planned=7777, compared=7000, findings=(first, *found.findings[1:])
    )
    tables = Tables(page_of(changed, tmp_path))
    assert tables.facts["calls planned"] == "7,777"
    assert tables.facts["calls left out"] == "777"
    assert tables.row("parameters")[0][4] == "17 of 4,321"


def test_what_is_counted_has_the_number_of_its_noun(made: Made, tmp_path: Path) -> None:
    (own,) = (one for one in made.found.findings if one.kind != "consequence")
    of_one = msgspec.structs.replace(
        made.found,
        planned=2,
        compared=1,
        findings=(msgspec.structs.replace(own, times=1, of=1),),
        evidence=made.found.evidence[:1],
        not_compared=(NotCompared(reason="the other side has none", calls=1),),
    )
    none = msgspec.structs.replace(of_one, planned=1, findings=(), evidence=(), not_compared=())
    pages = [page_of(found, tmp_path) for found in (of_one, none)]
    counted = ["calls planned", "call compared", "call left out", "finding"]
    assert list(Tables(pages[0]).facts)[:4] == counted
    assert "Seen at 1 of 1 call." in pages[0]
    assert "<li>1 call: the other side has none.</li>" in pages[0]
    assert "<p>1 call was planned, 1 compared, 0 not.</p>" in pages[1]
    counted = ["call planned", "call compared", "calls left out", "findings"]
    assert list(Tables(pages[1]).facts)[:4] == counted


def test_frequencies_are_shown_as_they_are_told(made: Made, tmp_path: Path) -> None:
    told = ("A: 64 tokens, <b>uniform</b>", "B: none of the known streams")
    page = page_of(msgspec.structs.replace(made.found, frequencies=told, seed=0), tmp_path)
    shown = page.partition('<section id="frequencies"')[2].partition("</section>")[0]
    assert "<li>A: 64 tokens, &lt;b&gt;uniform&lt;/b&gt;</li>" in shown
    assert "<li>B: none of the known streams</li>" in shown
    assert "--seed 0 --out" in page
    assert 'id="frequencies"' not in made.page


@pytest.mark.proof
def test_the_first_sentence_is_the_heading(tmp_path: Path) -> None:
    found = compared(tmp_path, "feedback-offset", "wrong-parameters", forced=True)
    page = page_of(found, tmp_path)
    heading = re.search(r"<h1[^>]*>(.*?)</h1>", page)
    more = re.search(r'<p class="meaning">(.*?)</p>', page)
    assert heading is not None
    assert more is not None
    assert heading[1].endswith("nothing before it differs.")
    told = f"{heading[1]} {more[1]}".replace("&#39;", "'")
    assert told == found.sentence


def test_parameters_that_differ_are_marked_and_no_others(made: Made) -> None:
    table = made.page.partition('<table class="phases">')[2].partition("</table>")[0]
    assert re.findall(r'<code class="first">≠ ([^<]*)</code>', table) == ["top_k=80", "top_k=20"]
    assert 'class="word wrap first"' not in table


def test_equal_recordings(tmp_path: Path) -> None:
    found = compared(tmp_path)
    page = page_of(found, tmp_path)
    assert found.status == "holds"
    assert 'id="verdict" class="holds"' in page
    assert "<article" not in page
    assert "≠" not in Tables(page).facts.values()
    assert "the tokens differ at 0" in page


def test_a_recording_that_is_cut_off_is_no_pass(tmp_path: Path) -> None:
    one, other = tmp_path / "one.calls", tmp_path / "other.calls"
    SmallEngine().run(one)
    other.write_bytes(one.read_bytes()[:-3000])
    found = both(one, other, tmp_path)
    page = page_of(found, tmp_path)
    assert 'id="verdict" class="unjudged"' in page
    assert "is cut off in the record that begins at byte" in page
    junit = ET.fromstring(calls_junit(found))
    assert junit.find("testsuite/testcase/error") is not None
    assert len(calls_annotations(found)) == 1


def test_what_cannot_be_replayed_says_why(tmp_path: Path) -> None:
    paths = tmp_path / "one.calls", tmp_path / "other.calls"
    for path, top_k in zip(paths, (5, 6), strict=True):
        with Recorder(path, keep="digest") as recorder:
            recorder.wrap(python_ref.sample_logits)(torch.zeros(1, 9), top_k=top_k)
    found = both(*paths, tmp_path)
    page = page_of(found, tmp_path)
    assert "A's call cannot be replayed: A keeps a digest of its logits" in page
    assert "sampler-parity explain" not in page
    assert not (tmp_path / "evidence").exists()
    assert Tables(page).row("parameters")[0][1] == "wrong parameters"


def test_one_recording_and_its_contract(tmp_path: Path) -> None:
    path = tmp_path / "one.calls"
    SmallEngine().run(path)
    asked = Contract(phase=(Phase(name="global"), Phase(name="semantic", calls=64)), name="mine")
    found = audit(Recording.open(path), asked, folder=tmp_path, seed=7)
    page = page_of(found, tmp_path)
    tables = Tables(page)
    assert tables.facts["calls judged"] == "32"
    assert tables.facts["contract"] == "mine"
    assert tables.facts["seed"].startswith("7, ")
    assert tables.row("loop")[0][1] == "missing calls"
    # The call that is missing has none to show: the last one before it is shown.
    last = found.evidence[0].sides
    assert [one.call for one in last] == [6 + SEMANTIC_CALLS - 1]
    assert "one recording" in page


def test_the_result_alone_makes_the_same_page(made: Made) -> None:
    again = msgspec.json.decode(encoded(made.found), type=Attribution)
    assert page_of(again, made.folder) == made.page


# ---- whatever names are in it


def hostile(folder: Path) -> tuple[Path, Path]:
    """Record two engines whose every name is markup."""
    paths = folder / "one.calls", folder / "<b>other.calls"
    for path, value in zip(paths, ("<i>x", HOSTILE), strict=True):
        with Recorder(path, HOSTILE, engine_version=HOSTILE) as recorder:

            def fails(logits: Any, **_: Any) -> int:
                raise RuntimeError(HOSTILE + str(len(logits)))

            with recorder.generation(), recorder.phase(HOSTILE):
                logits = torch.arange(9.0)[None]
                sample = recorder.wrap(python_ref.sample_logits)
                sample(logits, 1.0, 0.5 + len(value) / 1000, 4)
                with recorder.call(HOSTILE, logits, parameters={HOSTILE: value}) as call:
                    call.returned(3)
                with pytest.raises(RuntimeError):
                    recorder.wrap(fails, sampler="sample_logits")(logits)
    return paths


def test_names_are_only_names(tmp_path: Path) -> None:
    found = both(*hostile(tmp_path), tmp_path)
    assert found.status == "diverges"
    page = page_of(found, tmp_path)
    for markup in ("<script", "<img", "<b>", "<i>x", "onerror=alert(2)>"):
        assert markup not in page
    assert "&lt;script&gt;alert(1)" in page
    files = sorted(path.name for path in (tmp_path / "evidence").iterdir())
    assert files
    assert all(re.fullmatch(r"[AB]-0-[A-Za-z0-9_-]+-\d+\.safetensors", name) for name in files)
    told = calls_markdown(found)
    assert "<script" not in told
    assert "<img" not in told
    ET.fromstring(calls_junit(found))
    assert all("\n" not in line for line in calls_annotations(found))


def test_the_page_asks_for_nothing(made: Made) -> None:
    page = made.page
    assert "Content-Security-Policy" in page
    assert "default-src 'none'" in page.replace("&#39;", "'")
    assert "<script" not in page
    assert all(link.startswith("#") for link in Tables(page).links)
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", page)


# ---- a call in full


@pytest.mark.parametrize("fault", ["wrong-parameters", "half-logits", "wrong-sampler"])
def test_a_call_is_kept_as_it_was_made(tmp_path: Path, fault: str) -> None:
    """The case has the recorded logits and state; torch makes the recorded token of it."""
    found = compared(tmp_path, fault)
    recordings = {
        side: tmp_path / f"{name}.calls" for side, name in (("A", "clean"), ("B", "faulty"))
    }
    for one in found.evidence[0].sides:
        recording = Recording.open(recordings[one.side])
        [index] = [
            at
            for at, call in enumerate(recording.calls)
            if (call.generation, call.call) == (one.generation, one.call)
        ]
        recorded = recording.tensors(index)
        case, capability = load_case(tmp_path / one.case)
        assert capability == ""
        assert np.array_equal(case.logits, recorded["logits"])
        assert case.state == recorded["state_before"].tobytes()
        outcome = PythonRef().run(case, capability_here())
        assert [tuple(tokens) for tokens in outcome.tokens] == [recording.calls[index].token]
        assert outcome.generator == recorded["state_after"].tobytes()
        kept = load_file(tmp_path / one.case)
        assert kept["candidate.token"].ravel().tolist() == list(recording.calls[index].token)


@pytest.mark.proof
def test_explain_replays_a_call(made: Made) -> None:
    found = made.found
    commands = re.findall(r"<code>(sampler-parity explain .*)\n", made.page)
    assert (
        commands[0] == f"sampler-parity explain {made.folder}/evidence/A-0-semantic-6.safetensors"
    )
    for command in commands[:2]:
        done = CliRunner().invoke(app, command.split()[1:])
        assert done.exit_code == 0, done.output
        token = found.evidence[0].sides[0].reference
        assert f"first row [{token}]" in done.output
        assert "every stage, token and effect is equal, bit for bit" in done.output


def test_what_is_said_of_a_call_is_what_torch_makes_of_it(made: Made) -> None:
    evidence = made.found.evidence[0]
    rows: dict[str, dict[int, Any]] = {"A": {}, "B": {}}
    for token in evidence.tokens:
        for side, weighed in (("A", token.a), ("B", token.b)):
            rows[side][token.token] = weighed
    for one in evidence.sides:
        case, _ = load_case(made.folder / one.case)
        stages = PythonRef().run(case, capability_here()).stages
        law = stages["renormalized"][0].astype(np.float64)
        law /= law.sum()
        kept = stages["top_k_mask"][0] & stages["top_p_mask"][0]
        assert one.kept == int(kept.sum())
        assert one.masked == int(np.isneginf(case.logits).sum()) == 1
        order = np.argsort(-stages["probs"][0], kind="stable")
        around = order[one.kept - 3 : one.kept + 3]
        assert set(around.tolist()) <= rows[one.side].keys()
        assert [rows[one.side][token].kept for token in around] == [True] * 3 + [False] * 3
        assert set(np.argsort(-law, kind="stable")[:5].tolist()) <= rows[one.side].keys()
        for number, weighed in rows[one.side].items():
            assert weighed.probability == law[number]
            assert np.float32(weighed.logit) == case.logits[0, number]
            assert weighed.kept == bool(kept[number])
        drawn = [number for number, weighed in rows[one.side].items() if weighed.drawn]
        assert [str(number) for number in drawn] == list(one.drawn)


def test_tokens_that_one_side_masks_or_lacks_are_shown(tmp_path: Path) -> None:
    masked = compared(tmp_path, "mask-missing").evidence[0]
    [row] = [token for token in masked.tokens if token.token == MASKED]
    assert row.a is not None
    assert row.b is not None
    assert row.a.logit == "-inf"
    assert row.b.logit != "-inf"
    assert [one.masked for one in masked.sides] == [1, 0]


def test_a_batch_shows_the_row_that_differs(tmp_path: Path) -> None:
    paths = tmp_path / "one.calls", tmp_path / "other.calls"
    logits = torch.from_numpy(np.random.default_rng(1).standard_normal((3, 40)).astype("f4"))
    for place, path in enumerate(paths):
        with Recorder(path) as recorder:
            passed = logits.clone()
            passed[2] -= 9 * place * torch.arange(40)
            sample = recorder.wrap(python_ref.sample_logits)
            sample(passed, 1.0, 0.0, 20, generator=torch.Generator().manual_seed(1))
    found = both(*paths, tmp_path)
    assert [one.row for one in found.evidence[0].sides] == [2, 2]
    assert "Row 2 of the batch." in page_of(found, tmp_path)


def test_a_call_without_its_pair_is_shown_alone(tmp_path: Path) -> None:
    found = compared(tmp_path, "stop-rule", forced=True)
    [evidence] = found.evidence
    assert [(one.side, one.call) for one in evidence.sides] == [("B", 6 + SEMANTIC_CALLS)]
    assert evidence.variation is None
    page_of(found, tmp_path)


def test_a_draw_that_is_made_again_is_told(tmp_path: Path) -> None:
    found = compared(tmp_path, "extra-draw")
    sides = found.evidence[0].sides
    assert [len(one.drawn) for one in sides] == [1, 2]
    assert ", then again: " in page_of(found, tmp_path)


def test_the_evidence_does_not_change_the_result(tmp_path: Path) -> None:
    found = compared(tmp_path, "foreign-draw")
    one, other = (Recording.open(tmp_path / f"{name}.calls") for name in ("clean", "faulty"))
    assert attribute(one, other) == msgspec.structs.replace(found, evidence=())


# ---- the timeline


def steps(count: int, change: Callable[[int], dict[str, Any]] = lambda _: {}) -> tuple[Step, ...]:
    plain = {"generation": 0, "phase": "p", "tokens": (1, 1), "variation": 0.0, "kinds": ()}
    return tuple(Step(**{**plain, "call": at, **change(at)}) for at in range(count))


def test_a_long_timeline_stays_small_and_loses_nothing() -> None:
    one = 12_345

    def change(at: int) -> dict[str, Any]:
        if at != one:
            return {"phase": f"p{at // 1000 % 2}", "generation": at // 1000}
        return {"tokens": (1, 2), "variation": 0.25, "kinds": ("stream",)}

    line = steps(LONGEST_TIMELINE, change)
    found = columns(line, 240, pair=True)
    assert len(found) <= 240
    assert (found[0].first, found[-1].last) == (0, LONGEST_TIMELINE)
    [marked] = [column for column in found if "stream" in column.marks]
    assert marked.first <= one < marked.last
    assert marked.variation == 0.25
    drawn = timeline(line, pair=True)
    assert drawn is not None
    assert len(drawn.wide) + len(drawn.narrow) < 60_000
    assert "var(--kind-stream)" in drawn.wide
    assert "the tokens differ at 1, first at call 12345" in drawn.words
    assert "differ at 1, by 0.25 at most" in drawn.words


@pytest.mark.proof
def test_many_kinds_everywhere_stay_small() -> None:
    kinds = ("loop", "sampler", "parameters", "vocabulary", "stream", "logits", "arithmetic")
    random = np.random.default_rng(0)
    line = steps(
        LONGEST_TIMELINE,
        lambda at: {
            "tokens": (1, int(random.integers(2))),
            "variation": float(random.random()),
            "kinds": tuple(kind for kind in kinds if random.random() < 0.01),
            "generation": at // 7,
        },
    )
    drawn = timeline(line, pair=True)
    assert drawn is not None
    assert len(drawn.wide) + len(drawn.narrow) < 300_000


@pytest.mark.proof
@pytest.mark.parametrize("variation", [0.0, SMALLEST / 1e6, 1e-7, 1.0, None])
def test_laws_of_any_distance_are_drawn(variation: float | None) -> None:
    drawn = timeline(steps(3, lambda _: {"variation": variation}), pair=True)
    assert drawn is not None
    assert drawn.laws == bool(variation)
    assert "nan" not in drawn.wide.lower()


def test_an_empty_timeline_is_none() -> None:
    assert timeline((), pair=True) is None
    assert "0 places" in in_words((), pair=False)


# ---- for other programs


def invoked(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["calls", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


@pytest.mark.proof
def test_the_command_writes_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared(tmp_path, "late-start", forced=True)
    out, junit, summary = tmp_path / "out", tmp_path / "new" / "j.xml", tmp_path / "new" / "s.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    files = tmp_path / "clean.calls", tmp_path / "faulty.calls"
    status, printed = invoked(*files, "--out", out, "--junit", junit, "--markdown", summary)
    assert status == 1
    assert f"report: {out / 'index.html'}" in printed
    assert "::error title=logits%3A other" in printed
    assert (out / "calls.json").is_file()
    assert len(list((out / "evidence").iterdir())) == 2
    root = ET.parse(junit).getroot()
    [suite] = root
    assert (suite.get("tests"), suite.get("failures")) == ("8", "2")
    failed = [test.get("name") for test in suite if test.find("failure") is not None]
    assert failed == ["the recordings hold", "logits"]
    assert "| logits | other | B | call 0 of the semantic phase of generation 0 |" in (
        summary.read_text("utf-8")
    )
    status, printed = invoked(files[0], files[0], "--out", out, "--junit", junit)
    assert status == 0
    assert "::error" not in printed
    assert ET.parse(junit).getroot()[0].get("failures") == "0"


def test_an_annotation_stands_at_the_calls_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = compared(tmp_path, "wrong-sampler")
    [first] = calls_annotations(found)
    assert "file=" not in first.partition("::")[2].partition("::")[0] or "small_engine.py" in first
    engine = tmp_path / "engine.py"
    engine.write_text("\n")
    moved = msgspec.structs.replace(found.findings[0], site=f"{engine}:12 sample")
    monkeypatch.chdir(tmp_path)
    [told] = calls_annotations(msgspec.structs.replace(found, findings=(moved,)))
    assert told.startswith(
        "::error title=sampler%3A wrong sampler,file=engine.py,line=12::at call 0"
    )
    elsewhere = msgspec.structs.replace(moved, site="/etc/passwd:1 x")
    [told] = calls_annotations(msgspec.structs.replace(found, findings=(elsewhere,)))
    assert "file=" not in told
