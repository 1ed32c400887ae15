"""What happens where the platform lacks something: a sentence and status 2, not a traceback."""

import subprocess
import sys

import numpy as np
import pytest

from sampler_parity.build.installation import REPOSITORY
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.pipelines import exact

SHORT = """
import sys
import numpy
numpy.longdouble = numpy.float64  # as on Windows
from sampler_parity.cli import main
sys.argv = ["sampler-parity", *sys.argv[1:]]
main()
"""


def on_short_doubles(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", SHORT, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.proof
@pytest.mark.parametrize(
    "command",
    [
        ("run", "--quick-look"),
        ("calls", "fixtures/recordings/whole.calls"),
        ("explain", "gaussian-0@0"),
        ("identify", "rust_ext"),
    ],
    ids=lambda command: command[0],
)
def test_short_long_doubles_are_told(command: tuple[str, ...]) -> None:
    done = on_short_doubles(*command)
    assert done.returncode == 2
    [words] = done.stderr.splitlines()
    assert "long doubles of 64 significant bits, and numpy's have 53" in words


@pytest.mark.proof
def test_the_doctor_tells_of_short_long_doubles() -> None:
    done = on_short_doubles("doctor")
    assert done.returncode == 2
    assert "mend long double" in " ".join(done.stdout.split())


@pytest.mark.proof
def test_what_asks_no_oracle_works_with_short_long_doubles() -> None:
    assert on_short_doubles("list", "pipelines").returncode == 0


def test_a_format_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    exact.require_long_doubles()
    monkeypatch.setattr(np, "longdouble", np.float64)
    with pytest.raises(CannotJudgeError, match="judge on Linux"):
        exact.require_long_doubles()
