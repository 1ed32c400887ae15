"""``sampler-parity power``, in both directions."""

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.without_torch import NO_TORCH
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.statistics.command import power

app = typer.Typer()
app.command()(power)


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_draws_for_a_difference() -> None:
    text = said("--case", "tempered", "--temperature", "0.02")
    assert text.startswith("tempered: ")
    assert "a temperature off by 2.00%" in text or "a temperature off by 1.99%" in text
    half = said("--case", "tempered", "--temperature", "0.01")
    ratio = first_number(half) / first_number(text)
    assert 2.5 < ratio < 5, "half the error takes about four times the draws"


def test_the_difference_that_draws_show() -> None:
    text = said("--case", "simple", "--draws", "200000")
    assert "200,000 draws, and 800,000 more where they are marginal" in text
    assert "1% of the tail deleted" in text
    assert first_number(said("--case", "simple", "--distance", "0.05")) < 200_000


def first_number(text: str) -> int:
    return int(text.split(": ")[1].split(" draws", maxsplit=1)[0].replace(",", ""))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--draws", "10", "--temperature", "0.01"),
        ("--case", "tempered", "--draws", "10"),
        ("--case", "tempered", "--temperature", "7"),
        ("--case", "tempered", "--budget", "1"),
    ],
)
def test_no_answer(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CannotJudgeError):
        said(*arguments)


WITHOUT_TORCH = f"""{NO_TORCH}
import sampler_parity.cli
import sampler_parity.report.frequencies
import sampler_parity.statistics.words
from sampler_parity.statistics import budget, command, escalation, result
from sampler_parity.statistics.command import power
power()
"""


@pytest.mark.proof
def test_a_law_needs_no_torch() -> None:
    """The command line, results and reports are imported without it; the port gives the stages."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "caught with probability" in done.stdout
