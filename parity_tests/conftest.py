"""Nothing is judged without a fresh extension, whole fixtures and every capability."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from sampler_parity.build.extension import load_extension
from sampler_parity.cases.fixtures import check_fixtures
from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.model.case import CAPABILITIES
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run.run_file import Run, read_run

CANNOT_JUDGE = 2
_deselected = pytest.StashKey[set[str]]()
_gate = pytest.StashKey["Gate"]()

GATED = "def test_mine(parity_run):\n    assert parity_run.status == 'holds'\n"


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate of the port as another repository has it: a pytest with the plugin's option.

    Attributes:
        folder: the repository.
        process: pytest, which writes to ``printed`` in it.
    """

    folder: Path
    process: "subprocess.Popen[bytes]"

    @classmethod
    def start(cls) -> "Gate":
        """Start it beside the other tests: it is other processes' work."""
        folder = Path(tempfile.mkdtemp(prefix="parity-run-"))
        (folder / "test_mine.py").write_text(GATED, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--parity-jobs=1"]
        command += ["--parity-implementation=rust_ext"]
        with (folder / "printed").open("wb") as printed:
            return cls(
                folder,
                subprocess.Popen(command, cwd=folder, stdout=printed, stderr=subprocess.STDOUT),
            )

    def printed(self) -> str:
        """Wait for its end; give what it printed."""
        self.process.wait()
        return (self.folder / "printed").read_text(encoding="utf-8")

    def stop(self) -> None:
        """End it, if it still runs; its workers end with it."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that wait for the gate's run last: it goes on beside all others."""
    items.sort(key=lambda item: "gate" in getattr(item, "fixturenames", ()))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the gate, if a test asks for it."""
    needed = any("gate" in getattr(item, "fixturenames", ()) for item in session.items)
    if needed and not session.config.option.collectonly:
        session.config.stash[_gate] = Gate.start()
        session.config.add_cleanup(session.config.stash[_gate].stop)


@pytest.fixture(scope="session")
def gate(pytestconfig: pytest.Config) -> Gate:
    return pytestconfig.stash[_gate]


@pytest.fixture(scope="session")
def gate_run(gate: Gate) -> Run:
    printed = gate.printed()
    folder = gate.folder / "reports" / "rust_ext"
    if not (folder / "run.json").exists():
        pytest.fail(f"the gate stored no run:\n{printed}")
    return read_run(folder)


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def repository() -> Path:
    return Path(__file__).resolve().parent.parent
