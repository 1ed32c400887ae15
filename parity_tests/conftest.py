"""Nothing is judged without a fresh extension, whole fixtures and every capability."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from sampler_parity.case import CAPABILITIES
from sampler_parity.cases.fixtures import check_fixtures
from sampler_parity.errors import CannotJudgeError
from sampler_parity.extension import load_extension
from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.run import Request, run_gate
from sampler_parity.run_file import Run

CANNOT_JUDGE = 2
_deselected = pytest.StashKey[set[str]]()
_run = pytest.StashKey[Future[Run]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_deselected] = set()


def pytest_sessionstart() -> None:
    try:
        load_extension()
        check_fixtures()
    except CannotJudgeError as error:
        pytest.exit(str(error), returncode=CANNOT_JUDGE)


def pytest_report_header() -> str:
    capability = capability_here()
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


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the gate's run, which is other processes' work, beside the other tests."""
    needed = any("gate_run" in getattr(item, "fixturenames", ()) for item in session.items)
    if needed and not session.config.option.collectonly:
        folder = Path(tempfile.mkdtemp(prefix="parity-run-"))
        pool = ThreadPoolExecutor(max_workers=1)
        session.config.stash[_run] = pool.submit(run_gate, Request(jobs=1, folder=folder))
        session.config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        session.config.add_cleanup(lambda: pool.shutdown(cancel_futures=True))


@pytest.fixture(scope="session")
def gate_run(pytestconfig: pytest.Config) -> Run:
    return pytestconfig.stash[_run].result()


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def repository() -> Path:
    return Path(__file__).resolve().parent.parent
