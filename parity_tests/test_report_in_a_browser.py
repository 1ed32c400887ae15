"""The report in a real browser: nothing is fetched, nothing fails, everybody can read it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from parity_tests.browsers import chromium
from parity_tests.conftest import Shared
from parity_tests.runs import (
    described,
    make_bar,
    make_benchmark,
    make_divergence,
    make_fault,
    make_run,
    make_shard,
)
from sampler_parity.cases.plan import case_of
from sampler_parity.engines import Recording
from sampler_parity.engines.attribution import attribute
from sampler_parity.engines.audit import audit
from sampler_parity.engines.contract import Contract, Phase
from sampler_parity.engines.findings import Attribution, Kind, Side, Status
from sampler_parity.engines.small_engine import SmallEngine
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.registry import registered
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import Verdict
from sampler_parity.report import write_report
from sampler_parity.report.calls import write_calls_report
from sampler_parity.run.run_file import Run
from sampler_parity.run.shard_builder import ShardBuilder
from sampler_parity.sandbox.isolated import Isolated, Limits

CASES = ("gaussian-0@0", "gaussian-5@0", "top-p-tie-3@0", "bf16-4@0", "odd-logits-1@0")
NARROW, WIDE = 360, 1600
NAME = "<script>alert(1)</script><img src=//elsewhere onerror=alert(2)>\"'>"
SPECIMENS = tuple(name for name in registered() if name.startswith("specimen-"))
RUNS = ("equal", "many", "crashing", "empty", "hostile", *SPECIMENS)
CALLS = ("calls", "calls-alone", "calls-hostile")
KINDS = (*RUNS, *CALLS)

CRASHING = """
import os
from sampler_parity.model.implementation import About
class Crashing:
    about = About(name="crashing")
    def run(self, case, capability):
        os.abort()
"""


@dataclass
class Watched:
    """A page with what it asked for and complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = chromium()
    if found is None:
        pytest.fail("Chromium is missing, and the report is tested in it: apt install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=[True, False], ids=["script", "no-script"])
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    made = browser.new_context(
        java_script_enabled=request.param, viewport={"width": WIDE, "height": 900}
    )
    yield made
    made.close()


@pytest.fixture(scope="session")
def reports(shared: Shared) -> dict[str, Path]:
    root = shared.once("reports", write_reports)
    return {kind: root / kind / "index.html" for kind in KINDS}


def write_reports(root: Path) -> None:
    """Write every kind of report; each of a real candidate is the result of running it."""
    (root / "crashing_sampler.py").write_text(CRASHING, encoding="utf-8")
    runs = {"equal": equal(), "many": many(10_000), "empty": make_run(status="holds")}
    runs["hostile"] = hostile()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(root))
        names = {"crashing": "crashing_sampler:Crashing", **{name: name for name in SPECIMENS}}
        for kind, name in names.items():
            runs[kind] = compared(name, root / kind)
    for kind in RUNS:
        write_report(runs[kind], root / kind)
    for kind in CALLS:
        write_calls_report(of_engines(kind, root / kind), root / kind)


def of_engines(kind: str, folder: Path) -> Attribution:
    """Compare two engines that differ in several ways, or judge one."""
    folder.mkdir()
    one, other = folder / "one.calls", folder / "other.calls"
    SmallEngine().run(one)
    if kind == "calls-alone":
        contract = Contract(phase=(Phase(name="global"), Phase(name="semantic", calls=64)))
        return audit(Recording.open(one), contract, folder=folder)
    faults = {"wrong-parameters", "feedback-offset", "half-logits", "extra-draw", "stop-rule"}
    SmallEngine(frozenset(faults)).run(other, forced=one)
    found = attribute(Recording.open(one), Recording.open(other), folder=folder)
    if kind == "calls":
        return found
    # Every text of the result is markup, but for the words that the result is made of.
    kinds = {*get_args(Kind), *get_args(Side), *get_args(Status)}
    told = msgspec.to_builtins(found)
    return msgspec.convert(_marked_up(told, kinds), Attribution)


def _marked_up(value: Any, kept: set[str]) -> Any:
    if isinstance(value, str):
        return value if value in kept or not value else f"{NAME}{value}"
    if isinstance(value, dict):
        return {key: _marked_up(one, kept) for key, one in value.items()}
    return [_marked_up(one, kept) for one in value] if isinstance(value, list | tuple) else value


def equal() -> Run:
    bars = (make_bar(60, 40, at_least=True), make_bar(2, 1.5, at_least=False))
    run = make_run(make_shard(), status="holds", planted=(make_fault(),))
    return msgspec.structs.replace(run, benchmark=make_benchmark(0.8, *bars))


def many(number: int) -> Run:
    verdicts = (Verdict.SEMANTIC, Verdict.ROUNDING, Verdict.TIE_ORDER)
    found = (make_divergence(index, verdicts[index % 3]) for index in range(number))
    return make_run(make_shard(*found, divergent=number))


def hostile() -> Run:
    name = NAME
    changes = {
        "case": name,
        "family": name,
        "replay": name,
        "described": described({name: name}, (1, 8)),
    }
    found = [msgspec.structs.replace(one, **changes) for one in many(3).shards[0].divergences]
    run = make_run(make_shard(*found, divergent=3, name=name))
    return msgspec.structs.replace(run, benchmark=make_benchmark(name=name))


def compared(name: str, folder: Path) -> Run:
    """Run a few cases in a process of the candidate's own, as the gate does."""
    reference, capability = PythonRef(), capability_here()
    with Isolated(name, limits=Limits(seconds=30)) as candidate:

        def again(case: object) -> tuple[Outcome, Outcome]:
            assert hasattr(case, "logits")
            return reference.run(case, capability), candidate.run(case, capability)  # type: ignore[arg-type]

        builder = ShardBuilder(name, candidate.about, capability, folder)
        shrink = again if name in SPECIMENS else None
        for case in map(case_of, CASES):
            builder.add(case, *again(case), shrink)
        return make_run(builder.shard(builder.seen, "torch"))


def opened(context: BrowserContext, path: Path, anchor: str = "") -> Watched:
    watched = Watched(context.new_page())
    watched.page.goto(f"{path.as_uri()}{anchor}")
    return watched


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_fetched_nothing_fails_and_nothing_is_cut_off(
    context: BrowserContext, reports: dict[str, Path], kind: str
) -> None:
    """At any width: the page is loaded at one, and shown at another as well."""
    page = context.new_page()
    page.set_viewport_size({"width": NARROW, "height": 900})
    watched = Watched(page)
    page.goto(reports[kind].as_uri())
    for width in (NARROW, WIDE):
        page.set_viewport_size({"width": width, "height": 900})
        expect(page.locator("h1")).to_be_visible()
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    assert watched.requests == [reports[kind].as_uri()]
    assert watched.complaints == []
    shown = page.locator("#verdict").get_attribute("class")
    assert shown == {"equal": "holds", "empty": "unjudged"}.get(kind, "diverges")


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [
        ("equal", "light"),
        ("equal", "dark"),
        ("specimen-simple", "light"),
        ("specimen-wild", "dark"),
        ("crashing", "light"),
        ("empty", "dark"),
        ("many", "light"),
        ("calls", "light"),
        ("calls", "dark"),
        ("calls-alone", "dark"),
    ],
)
def test_everybody_can_read_it(
    browser: Browser, reports: dict[str, Path], kind: str, scheme: str
) -> None:
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    page = opened(context, reports[kind]).page
    for details in page.locator("details").all():
        details.evaluate("one => one.open = true")
    found = Axe().run(page).response["violations"]
    grave = [one for one in found if one["impact"] in {"serious", "critical"}]
    assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in grave] == []
    context.close()


def test_the_accessibility_check_can_fail(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content('<html lang="en"><title>x</title><p style="color:#ccc">pale</p></html>')
    violations = Axe().run(page).response["violations"]
    assert "color-contrast" in {one["id"] for one in violations if one["impact"] == "serious"}
    page.close()


def test_a_filter_leaves_what_was_chosen(context: BrowserContext, reports: dict[str, Path]) -> None:
    page = opened(context, reports["many"]).page
    articles = page.locator("article")
    assert articles.count() == 50
    page.get_by_role("radio", name=re.compile("rounding")).check()
    shown = [one for one in articles.all() if one.is_visible()]
    assert 0 < len(shown) < 50
    assert {one.get_attribute("data-verdict") for one in shown} == {"rounding"}
    page.get_by_role("button", name="Show all").click()
    assert all(one.is_visible() for one in articles.all())


def test_a_link_to_a_case_leads_there(context: BrowserContext, reports: dict[str, Path]) -> None:
    page = opened(context, reports["many"]).page
    link = page.locator("article .here").nth(30)
    anchor = link.get_attribute("href") or ""
    there = opened(context, reports["many"], anchor).page.locator(anchor.replace("@", "\\@"))
    expect(there).to_be_in_viewport()


def test_a_linked_case_is_shown_though_a_filter_leaves_it_out(
    context: BrowserContext, reports: dict[str, Path]
) -> None:
    page = opened(context, reports["many"]).page
    other = page.locator("article:not([data-verdict='rounding'])").nth(3)
    anchor = other.get_attribute("id")
    page.goto(f"{reports['many'].as_uri()}#{anchor}")
    page.get_by_role("radio", name=re.compile("rounding")).check()
    expect(page.locator(f"[id='{anchor}']")).to_be_visible()


def test_the_script_sorts_counts_and_expands(browser: Browser, reports: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(reports["many"].as_uri())
    first = page.locator("article").first
    assert "50 of 50" in page.locator("#count").inner_text()
    page.get_by_label("Sort by").select_option("case")
    cases = [one.get_attribute("data-case") or "" for one in page.locator("article").all()]
    assert cases == sorted(cases, key=lambda case: int(re.findall(r"\d+", case)[0]))
    page.get_by_role("button", name="Expand everything").click()
    expect(first.locator("details dl")).to_be_visible()
    page.close()


def test_a_keyboard_reaches_the_filters(browser: Browser, reports: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(reports["many"].as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the verdict"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.type") == "radio":
            break
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.checked")
    page.close()


@pytest.mark.parametrize("kind", ["hostile", "calls-hostile"])
def test_names_are_only_names(browser: Browser, reports: dict[str, Path], kind: str) -> None:
    watched = Watched(browser.new_page())
    watched.page.goto(reports[kind].as_uri())
    assert watched.page.locator("img").count() == 0
    assert "<script>alert(1)</script>" in watched.page.locator("h1").inner_text()
    assert watched.requests == [reports[kind].as_uri()]
    watched.page.close()


def test_a_timeline_is_drawn_once_at_any_width(browser: Browser, reports: dict[str, Path]) -> None:
    page = browser.new_page()
    for width in (NARROW, WIDE):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(reports["calls"].as_uri())
        shown = [one for one in page.locator("#timeline svg").all() if one.is_visible()]
        assert len(shown) == 1
        box = shown[0].bounding_box()
        assert box is not None
        assert 0.6 * min(width, 700) < box["width"] < width
    page.close()


def test_a_specimens_report_shows_pictures_and_small_cases(reports: dict[str, Path]) -> None:
    text = reports["specimen-wild"].read_text(encoding="utf-8")
    assert text.count('class="chart"') >= 2
    assert "Made small" in text
    assert "cargo run --release --example replay -- " in text


def test_a_crash_says_how_it_ended(reports: dict[str, Path]) -> None:
    text = reports["crashing"].read_text(encoding="utf-8")
    assert "SIGABRT" in text or "signal 6" in text
    assert "crashed" in text
    # Once a case, as it was printed, and no second time as its cause.
    assert 0 < text.count("Fatal Python error") <= text.count("<article ")


def test_reports_stay_small(reports: dict[str, Path]) -> None:
    sizes = {kind: path.stat().st_size for kind, path in reports.items()}
    assert sizes["equal"] < 1_000_000
    assert max(sizes.values()) < 3_000_000
