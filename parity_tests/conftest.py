"""Nothing is judged without a fresh extension, whole fixtures and every capability.

The tests are distributed over the cores (pytest-xdist). Whatever several tests need and takes long,
such as the gate's run, one worker makes in the session's folder and the others read (``Shared``).
What needs such a thing stands first. In that order, a worker takes whole files, so that it makes
what the tests of a file share once. Without the proofs, which share the most, it takes four tests.

``pytest parity_tests`` runs the gate and what is promised of the port. What proves the harness and
takes seconds is marked ``proof``: ``make test`` runs it, and so does pytest where its file or any
``-m`` is named.

A test that takes seconds is either a ``promise`` of the port or a ``proof``: who marks one ``slow``
must say which. A test that is neither starts no worker of the gate.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from sampler_parity.build.extension import load_extension
from sampler_parity.cases.fixtures import check_fixtures
from sampler_parity.model.case import CAPABILITIES
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run import scheduler
from sampler_parity.run.run_file import Run, read_run

CANNOT_JUDGE = 2
MOST_WORKERS = 4
"""The gate's run bounds the session: more workers than these end no sooner."""

QUICK = ("not slow", "not slow and not proof")
"""Marker expressions of ``make check`` and CI, which leave the whole gate out and say so."""

AT_A_TIME = 4
"""Tests that a worker takes at a time, where it takes no whole files."""

MADE_ONCE = ("gate", "extension", "wheel", "shared", "example", "browser", "llama")
"""Fixtures that take seconds to make, the longest first: a test that asks for one is slow."""

PROOFS_OF = ("wheel", "browser", "reports", "example", "program", "counted")
"""Fixtures of what is not the port as Python has it: a test that asks for one is a proof."""

UNMARKED = "a worker of the gate takes seconds: mark the test that starts it `promise` or `proof`"

_deselected = pytest.StashKey[set[str]]()

GATED = "def test_mine(parity_run):\n    assert parity_run.status == 'holds'\n"


@dataclass(frozen=True, slots=True)
class Shared:
    """The session's folder, in which one worker makes what all of them use.

    Attributes:
        root: the folder; every worker has the same.
    """

    root: Path

    def once(self, name: str, make: Callable[[Path], None]) -> Path:
        """Give the folder ``name``; the first worker that asks has ``make`` fill it."""
        folder, done = self.root / name, self.root / f"{name}.done"
        with FileLock(self.root / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate of the port as another repository has it: a pytest with the plugin's option.

    Attributes:
        folder: the repository.
        status: the exit status of pytest.
        printed: what pytest printed.
    """

    folder: Path
    status: int
    printed: str


def run_gate_elsewhere(folder: Path) -> None:
    """Run that pytest in ``folder``, and keep its exit status and what it prints there."""
    (folder / "test_mine.py").write_text(GATED, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    command += ["--parity-implementation=rust_ext"]
    with (folder / "printed").open("wb") as printed:
        done = subprocess.run(
            command, cwd=folder, stdout=printed, stderr=subprocess.STDOUT, check=False
        )
    (folder / "status").write_text(str(done.returncode), encoding="utf-8")


def is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def names_files(config: pytest.Config) -> bool:
    return all("::" in name or name.endswith(".py") for name in config.args)


def without_proofs(config: pytest.Config) -> bool:
    return not config.getoption("markexpr") and not names_files(config)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Start a worker a core for a folder of tests; none for single files, which it would delay.

    Of all tests, some wait: for a browser, for a limit, for another process. One more worker uses
    what they leave.
    """
    if names_files(config):
        return 0
    waiting = config.getoption("markexpr") not in ("", *QUICK)
    return min(len(os.sched_getaffinity(0)) + waiting, MOST_WORKERS)


def by_files(config: pytest.Config) -> bool:
    """Whether a worker takes whole files, whose fixtures it then makes once."""
    return not without_proofs(config)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_deselected] = set()
    if not by_files(config) and config.option.dist == "loadscope":
        config.option.dist, config.option.maxschedchunk = "load", AT_A_TIME
    # For the workers: threads of torch that spin while they wait starve the other workers.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Containers often forbid bytecode, as in the Makefile: each interpreter would compile it all.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_sessionstart(session: pytest.Session) -> None:
    if is_worker(session.config):
        return
    try:
        load_extension()
        check_fixtures()
    except CannotJudgeError as error:
        pytest.exit(str(error), returncode=CANNOT_JUDGE)


def pytest_report_header() -> str:
    # Asked of what is installed: the process that only hands out tests has no need of torch.
    from rust_ext import processor_capability

    return f"torch {version('torch')} on a processor of {processor_capability()}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is slow, and put it first: what takes longest begins first.

    One test of the gate begins, which makes the gate's run; the others, which would wait for it,
    are last: those of its file, where workers take whole files. A folder's proofs are left out,
    unless an expression of markers says what to run.
    """

    def place(item: pytest.Item) -> int:
        names: Sequence[str] = getattr(item, "fixturenames", ())
        shared = [index for index, name in enumerate(MADE_ONCE) if name in names]
        if any(name in names for name in PROOFS_OF):
            item.add_marker("proof")
        if is_proof(item) and "gate" in names:
            raise pytest.UsageError(f"{item.nodeid} is about the gate, and cannot be left out")
        promise = item.get_closest_marker("promise") is not None
        slow = item.get_closest_marker("slow") is not None
        if promise + is_proof(item) != 1 and (promise or slow):
            raise pytest.UsageError(f"{item.nodeid} is slow: mark it `promise` or `proof`")
        if shared or promise:
            item.add_marker("slow")
        if shared:
            return shared[0]
        return len(MADE_ONCE) + (not slow) + (not takes_seconds(item))

    whole_files = by_files(config)

    def taken_with(item: pytest.Item) -> object:
        return item.path if whole_files else item

    places = {item: place(item) for item in items}
    first: dict[object, int] = {}
    for item, found in places.items():
        group = taken_with(item)
        first[group] = min(found, first.get(group, found))
    waiting = [group for group, found in first.items() if found == 0][1:]
    first |= dict.fromkeys(waiting, max(places.values(), default=0) + 1)
    order = {group: number for number, group in enumerate(sorted(first, key=first.__getitem__))}
    items.sort(key=lambda item: (order[taken_with(item)], places[item]))
    if without_proofs(config):
        proofs = [item for item in items if is_proof(item)]
        items[:] = [item for item in items if not is_proof(item)]
        config.hook.pytest_deselected(items=proofs)


def is_proof(item: pytest.Item) -> bool:
    return item.get_closest_marker("proof") is not None


def takes_seconds(item: pytest.Item) -> bool:
    return is_proof(item) or item.get_closest_marker("slow") is not None


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Note of which capability a test was left out; a proof says nothing of the port at one."""
    for item in items:
        if is_proof(item):
            continue
        callspec = getattr(item, "callspec", None)
        capability = callspec.params.get("capability") if callspec else None
        if capability in CAPABILITIES:
            item.config.stash[_deselected].add(capability)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker has deselected: the process that started it collects nothing."""
    output = getattr(node, "workeroutput", {})
    node.config.stash[_deselected].update(output.get("deselected", ()))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    missing: set[str] = config.stash[_deselected]
    if is_worker(config):
        config.workeroutput["deselected"] = sorted(missing)  # type: ignore[attr-defined]
    elif exitstatus == pytest.ExitCode.OK and narrowed(config):
        session.exitstatus = CANNOT_JUDGE


def narrowed(config: pytest.Config) -> str:
    """Name the capabilities without which the gate cannot be judged, though it is asked for."""
    missing: set[str] = config.stash[_deselected]
    return "" if quick(config) else ", ".join(sorted(missing))


def quick(config: pytest.Config) -> bool:
    return config.getoption("markexpr") in QUICK


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if quick(config):
        terminalreporter.write_line(
            "the quick tests only: the gate was not run; `pytest parity_tests` runs it", yellow=True
        )
    elif missing := narrowed(config):
        terminalreporter.write_line(
            f"the gate could not be judged: capability deselected: {missing}; "
            "run `pytest parity_tests` without -k, -m and --deselect",
            yellow=True,
        )
    elif without_proofs(config):
        terminalreporter.write_line("proofs of the harness were left out: `make test` runs them")


@pytest.fixture(scope="session")
def shared(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    folder = tmp_path_factory.getbasetemp()
    return Shared(folder.parent if is_worker(pytestconfig) else folder)


@pytest.fixture(scope="session")
def gate(shared: Shared) -> Gate:
    folder = shared.once("gate", run_gate_elsewhere)
    status, printed = (
        (folder / name).read_text(encoding="utf-8") for name in ("status", "printed")
    )
    return Gate(folder, int(status), printed)


@pytest.fixture(scope="session")
def gate_run(gate: Gate) -> Run:
    folder = gate.folder / "reports" / "rust_ext"
    if not (folder / "run.json").exists():
        pytest.fail(f"the gate stored no run:\n{gate.printed}")
    return read_run(folder)


@pytest.fixture(autouse=True)
def no_worker_in_quick_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """A worker of the gate takes seconds to begin: a test that starts one must say so."""
    with pytest.MonkeyPatch.context() as patch:
        if not takes_seconds(request.node):
            patch.setattr(scheduler, "WORKER", ("-c", f"raise SystemExit({UNMARKED!r})"))
        yield


@pytest.fixture
def one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def repository() -> Path:
    return Path(__file__).resolve().parent.parent
