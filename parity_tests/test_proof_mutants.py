"""What ``make mutants`` changes, how it goes on, what it says; no test of the crate runs here."""

import subprocess
from pathlib import Path

import pytest

from benchmarks.mutant_tests import Trial, Trials
from benchmarks.mutated_sources import Mutant, Rewriter, all_changes, write_copy
from benchmarks.proof_mutants import conclusion, equivalent
from sampler_parity.build.installation import REPOSITORY

SOURCE = """\
//! Made up: 1 < 2.
const LONG: bool = 1 < 2; // 3 < 4
const TABLE: [u8; 2] = {
    while byte < 2 {}
};
pub(crate) const fn early(x: u8) -> bool {
    x < 1
}
fn first(x: f32) -> bool {
    let long = values.iter().filter(|p| **p >= 0.5).count() as u32 != 3;
    x < 1.0 && long
}
kernel! {
    fn second<'a>(wide; x: &'a [f32]) -> u32 {
        wide.at_least(wide.load(x), wide.splat(0.5)) & wide.greater(x, y)
    }
}
#[cfg(test)]
fn third() -> bool { 1 < 2 }
"""


def test_every_comparison_is_changed_by_itself() -> None:
    rewriter = Rewriter()
    text = rewriter.rewritten("fast/made_up.rs", SOURCE)
    count = "values.iter().filter(|p| **p >= 0.5).count() as u32"
    assert [change.name.removeprefix("fast/made_up.rs ") for change in rewriter.changes] == [
        f"first: {count} != 3 -> ({count}) == 3",
        "first: **p >= 0.5 -> **p > 0.5",
        "first: **p >= 0.5 -> **p < 0.5",
        "first: x < 1.0 -> x <= 1.0",
        "first: x < 1.0 -> x > 1.0",
        "first: x < 1.0 -> x == 1.0",
        "second: wide.at_least(wide.load(x), wide.splat(0.5)) -> above wide.splat(0.5)",
        "second: wide.greater(x, y) -> below y",
    ]
    assert [change.number for change in rewriter.changes] == list(range(1, 9))
    assert "if crate::proof_mutant::on(2) { values.iter().filter(|p| **p > 0.5)" in text
    assert "wide.greater(x, (if crate::proof_mutant::on(8) {" in text
    # Constants, and what stands in tests, are as they were.
    assert text.startswith("".join(SOURCE.splitlines(keepends=True)[:2]))
    assert text.endswith(SOURCE[SOURCE.index("#[cfg(test)]") :])


def test_changes_that_are_alike_are_told_apart() -> None:
    rewriter = Rewriter()
    rewriter.rewritten("fast/made_up.rs", "fn f() -> bool { x == 1 && x == 1 }")
    name = "fast/made_up.rs f: x == 1 -> x != 1"
    assert [change.name for change in rewriter.changes] == [name, f"{name} (2)"]


def test_what_is_listed_as_equivalent_is_a_change_whose_reason_the_page_gives() -> None:
    changes, _ = all_changes()
    names = [change.name for change in changes]
    assert len(names) == len(set(names))
    assert equivalent().keys() <= set(names)
    page = " ".join((REPOSITORY / "docs" / "mutants.md").read_text(encoding="utf-8").split())
    for reason in set(equivalent().values()):
        assert " ".join(reason.split()) in page


def mutant(name: str) -> Mutant:
    return Mutant(1, "fast/few.rs", 1, name, constant=False)


def trial(name: str, by: str | None) -> Trial:
    return Trial(name, "now", by, "failed" if by else "survives", 1.0)


@pytest.mark.parametrize(
    ("by", "listed", "status", "words"),
    [
        ("a test", {}, 0, ""),
        (None, {"a": "why"}, 0, ""),
        (None, {}, 1, "a survives"),
        ("a test", {"a": "why"}, 1, "a is listed as equivalent, and noticed"),
        ("a test", {"b": "why"}, 1, "b is listed as equivalent, and is no more"),
    ],
)
def test_only_what_is_listed_may_survive(
    by: str | None,
    listed: dict[str, str],
    status: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert conclusion([mutant("a")], [trial("a", by)], listed) == status
    assert words in capsys.readouterr().err


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "new" / "trials.jsonl"
    trials = Trials(path)
    trials.add(trial("a", "a test"))
    trials.add(trial("b", None))
    again = Trials(path)
    assert again.of("a", "now") == trial("a", "a test")
    assert again.of("b", "now") == trial("b", None)
    # Other sources are tried anew, the test that noticed it first.
    assert again.of("a", "later") is None
    assert again.noticed_by("a") == "a test"
    assert again.noticed_by("b") is None


def test_the_copy_is_a_workspace(tmp_path: Path) -> None:
    write_copy(tmp_path)
    command = ["cargo", "metadata", "--offline", "--no-deps", "--format-version=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torch-exact-sampler" in done.stdout
