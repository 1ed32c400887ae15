"""The report says what frequencies say, and is not green where they are not."""

import xml.etree.ElementTree as ET

import msgspec
import numpy as np
from scipy import stats

from parity_tests.runs import make_divergence, make_fault, make_run, make_shard
from sampler_parity.commands.diff import compare_runs
from sampler_parity.commands.junit import junit
from sampler_parity.commands.outputs import annotations, markdown
from sampler_parity.faults.found import Correct
from sampler_parity.report import render
from sampler_parity.report.frequencies import caught, frequencies
from sampler_parity.run.run_file import Run
from sampler_parity.statistics.result import (
    Control,
    DecidedTest,
    Decision,
    Ecdf,
    Look,
    Planned,
    PowerStatement,
    StatisticsResult,
    Status,
    Uniforms,
)
from sampler_parity.statistics.words import MARGINAL, summary

CELLS = 16
PLAN = Planned(
    name="frequencies: <script>",
    question="Are tokens as frequent as the law says?",
    catches="a temperature off by 0.5 %",
    case={"temperature": "1.0", "top_k": "20"},
    unit="draws",
    n=160_000,
    again=0,
    draws=160_000,
    df=CELLS - 1,
    alpha=1e-7,
    first=1e-7,
    margin=1e-4,
    second=1e-3,
    scheme="bands of equal mass.",
    cells=tuple(f"band {cell}" for cell in range(CELLS)),
    probabilities=(1 / CELLS,) * CELLS,
    power=(PowerStatement(difference="temperature 1.01", power=0.999, draws=None),),
    smallest_distance=0.004,
    smallest_temperature=0.005,
)


def look(first_cell: int) -> Look:
    """Draw as the law says, but for the first cell's number."""
    counts = np.random.default_rng(0).multinomial(160_000 - first_cell, [1 / (CELLS - 1)] * 15)
    observed = np.array([first_cell, *counts])
    expected = np.full(CELLS, 10_000.0)
    statistic, p = stats.chisquare(observed, expected)
    return Look(
        n=160_000,
        observed=tuple(observed.tolist()),
        expected=tuple(expected.tolist()),
        residuals=tuple(((observed - expected) / 100).tolist()),
        statistics={"pearson": float(statistic), "pearson_p": float(p)},
        df=CELLS - 1,
        p=float(p),
    )


def result(status: Status, first_cell: int, *, finished: bool = True) -> StatisticsResult:
    drawn = look(first_cell)
    decision: Decision = "passes" if status == "holds" else "rejects"
    test = DecidedTest(
        planned=PLAN, looks=(drawn,), p=drawn.p, adjusted=drawn.p, decision=decision, reason=""
    )
    values = np.sort(np.random.default_rng(1).uniform(size=500))
    return StatisticsResult(
        candidate="rust_ext",
        reference="the exact law",
        profile="quick",
        seed=0,
        status=status,
        reasons=() if status == "holds" else ("a frequency differs",),
        alpha=1e-6,
        budget="One false alarm in a million runs.",
        tests=(test,),
        waived=("no generator to hand over",),
        controls=(
            Control(
                name="top-k of one less",
                test="frequencies",
                draws=1_000,
                should="rejects",
                power=0.999,
                decision="rejects",
                p=1e-12,
                looks=1,
                holds=True,
            ),
        ),
        ecdf=Ecdf(p_values=tuple(values.tolist()), band=0.11, level=0.999, largest=0.04),
        uniforms=Uniforms(edges=64, missteps=()),
        draws=160_000,
        seconds=3.2,
        finished=finished,
    )


def holding(statistics: StatisticsResult) -> Run:
    run = make_run(make_shard(), status="holds", planted=(make_fault(),))
    return msgspec.structs.replace(run, statistics=(statistics,))


def test_tests_controls_and_both_pictures_are_shown() -> None:
    html = render(holding(result("holds", 10_000)))
    assert "1 of 1 test pass, 1 of 1 control came out as they must" in html
    assert html.count('class="chart"') == 2
    assert "Distribution function of the p-values of 500 cases" in html
    assert "0 are beyond 3" in html
    assert "64 constructed uniforms, at the edges between tokens: 0 kinds of misstep." in html
    assert "frequencies: &lt;script&gt;" in html
    assert html.count("<script") == 1
    assert 'id="verdict" class="holds"' in html
    assert len(html) < 100_000


def test_what_frequencies_would_have_caught_is_part_of_the_verdict() -> None:
    assert "a temperature off by 0.50% would have been caught" in caught(
        holding(result("holds", 10_000))
    )
    unfinished = holding(result("unjudged", 10_000, finished=False))
    assert caught(unfinished) == ""
    assert caught(make_run(make_shard(), status="holds")) == ""


def test_rejected_frequencies_are_never_green() -> None:
    run = holding(result("diverges", 11_000))
    html = render(run)
    assert 'id="verdict" class="unjudged"' in html
    assert "the frequencies of rust_ext do not" in html
    [section] = frequencies(run)
    assert section.tests[0].decision == "rejects"
    assert "the largest is 10.00" in section.tests[0].words


def test_another_order_of_equal_tokens_is_named_and_is_no_failure() -> None:
    good = result("holds", 10_000)
    [test] = good.tests
    words = "tie order: of 41 tokens tied at top-p's cutoff, the sampler keeps others"
    ordered = msgspec.structs.replace(test, decision="tie_order", reason=words)
    run = holding(msgspec.structs.replace(good, tests=(ordered,)))
    html = render(run)
    assert "1 of 1 test pass" in html
    assert "1 test of those that pass found another order of equal tokens" in html
    assert ">tie order</td>" in html
    assert words.replace("'", "&#39;") in html
    assert 'id="verdict" class="holds"' in html
    assert failing(run) == set()
    assert f"not rejected: {PLAN.name}: {words}" in "\n".join(summary(run.statistics[0]))


def test_what_was_not_tried_is_said_in_words() -> None:
    good = result("holds", 10_000)
    words = "constructed uniforms were not tried on rust_ext: it takes no uniform"
    run = holding(msgspec.structs.replace(good, uniforms=None, untried=words))
    assert f"<p>C{words[1:]}.</p>" in render(run)
    assert f"  {words}" in list(summary(run.statistics[0]))


def test_diff_names_the_test_that_changed() -> None:
    changes = compare_runs(holding(result("holds", 10_000)), holding(result("diverges", 11_000)))
    [change] = next(section.changes for section in changes if section.heading == "Frequencies")
    assert (change.before, change.after, change.better) == ("passes", "rejects", False)


def failing(run: Run) -> set[str]:
    tests = ET.fromstring(junit(run)).iter("testcase")
    return {test.get("name") or "" for test in tests if test.find("failure") is not None}


def test_junit_has_a_test_for_each_and_for_each_control() -> None:
    good = holding(result("holds", 10_000))
    suite = ET.fromstring(junit(good)).findall("testsuite")[-1]
    assert suite.get("name") == "frequencies.rust_ext"
    assert [test.get("name") for test in suite] == [
        PLAN.name,
        "top-k of one less, before frequencies",
        "constructed uniforms",
        "no generator to hand over",
    ]
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("0", "0", "1")
    assert failing(good) == set()


def test_junit_fails_what_is_rejected_with_its_numbers() -> None:
    bad = holding(result("diverges", 11_000))
    assert failing(bad) == {PLAN.name}
    [failure] = ET.fromstring(junit(bad)).iter("failure")
    pearson = look(11_000).statistics["pearson"]
    for words in (f"pearson {pearson:.4g}, ", "level 1e-07 by itself", "budget of 1e-06"):
        assert words in (failure.text or "")


def broken() -> Run:
    """A run in which everything beside the cases fails."""
    good = result("unjudged", 10_000, finished=False)
    [control], [test] = good.controls, good.tests
    result_ = msgspec.structs.replace(
        good,
        controls=(msgspec.structs.replace(control, decision="passes", holds=False),),
        tests=(msgspec.structs.replace(test, decision="unfinished", p=None, adjusted=None),),
        uniforms=Uniforms(edges=64, missteps=("at 0.5: 3, not 4",)),
        reasons=("interrupted",),
    )
    correct = Correct(name="numpy f64", cases=9, verdicts={"semantic": 2}, passed=False)
    run = make_run(make_shard(), status="unjudged", planted=(make_fault(killed=False),))
    return msgspec.structs.replace(run, statistics=(result_,), correct=(correct,))


def test_controls_faults_and_correct_samplers_fail_too() -> None:
    assert failing(broken()) == {
        "a strict cutoff",
        "numpy f64",
        "top-k of one less, before frequencies",
        "constructed uniforms",
    }
    suite = ET.fromstring(junit(broken())).findall("testsuite")[-1]
    # The test that was not finished, and that not everything was.
    assert suite.get("errors") == "2"


def test_a_test_without_a_second_look_is_no_failure_of_its_own() -> None:
    """The run diverges by another test: this one says why it decides nothing."""
    bad = result("diverges", 11_000)
    [test] = bad.tests
    marginal = msgspec.structs.replace(test, decision="unfinished", reason=MARGINAL)
    run = holding(msgspec.structs.replace(bad, tests=(test, marginal)))
    suite = ET.fromstring(junit(run)).findall("testsuite")[-1]
    assert [suite.get(kind) for kind in ("failures", "errors")] == ["1", "0"]
    assert [one.get("message") for one in suite.iter("skipped")] == [MARGINAL, *bad.waived]
    [section] = frequencies(run)
    assert "1 test came out marginal, and had no second look" in section.sentence


def test_the_summary_in_markdown_has_them() -> None:
    good = markdown(holding(result("holds", 10_000)))
    assert "1 of 1 tests pass, 1 of 1 controls hold" in good
    assert "Beside the cases" not in good
    bad = markdown(holding(result("diverges", 11_000)))
    assert "frequencies rejected: rust" in bad
    assert "<script>" not in bad
    text = markdown(broken())
    for words in ("fault was missed", "sampler was misjudged", "control did not", "at 0.5"):
        assert words in text


def test_annotations_name_rejected_frequencies_beside_any_number_of_divergences() -> None:
    found = [make_divergence(index) for index in range(30)]
    differing = make_run(make_shard(*found, divergent=30))
    assert len(annotations(differing)) == 10
    both = msgspec.structs.replace(differing, statistics=(result("diverges", 11_000),))
    *cases, last = annotations(both)
    assert len(cases) == 9
    assert last.startswith("::error title=frequencies rejected::rust_ext, frequencies:")
    only = msgspec.structs.replace(both, shards=(make_shard(),))
    assert len(annotations(only)) == 1


def test_a_run_that_did_not_count_has_no_such_section() -> None:
    assert 'id="frequencies"' not in render(make_run(make_shard(), status="holds"))
