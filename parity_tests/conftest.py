"""Nothing is judged without a fresh extension, whole fixtures and every capability."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from sampler_parity.cases.fixtures import check_fixtures
from sampler_parity.errors import CannotJudgeError
from sampler_parity.extension import load_extension
from sampler_parity.run import CAPABILITIES, Request, run_gate
from sampler_parity.run_file import Run

CANNOT_JUDGE = 2
_deselected = pytest.StashKey[set[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_deselected] = set()


def pytest_sessionstart() -> None:
    try:
        load_extension()
        check_fixtures()
    except CannotJudgeError as error:
        pytest.exit(str(error), returncode=CANNOT_JUDGE)


def pytest_report_header() -> str:
    capability = torch.backends.cpu.get_cpu_capability().lower()
    return f"torch {torch.__version__} at {capability}, {torch.get_num_threads()} threads"


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        capability = callspec.params.get("capability") if callspec else None
        if capability in CAPABILITIES:
            item.config.stash[_deselected].add(capability)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.OK and session.config.stash[_deselected]:
        session.exitstatus = CANNOT_JUDGE


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    missing = config.stash[_deselected]
    if missing:
        terminalreporter.write_line(
            f"the gate could not be judged: capability deselected: {', '.join(sorted(missing))}; "
            "run `pytest parity_tests` without -k, -m and --deselect",
            yellow=True,
        )


@pytest.fixture(scope="session")
def gate_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_gate(Request(folder=tmp_path_factory.mktemp("run")))


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def repository() -> Path:
    return Path(__file__).resolve().parent.parent
