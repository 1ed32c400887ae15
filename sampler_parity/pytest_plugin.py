"""The gate in anybody's test suite.

.. code-block:: sh

    pytest --parity-implementation=my_package.sampler:Mine

adds a test of that implementation to the session. The fixture ``parity_run`` gives the run itself,
of the implementation that the option or the ini value ``parity_implementation`` names.

Where pytest-xdist distributes the tests, each gate still runs once: one worker runs it, and the
others read the run that it has stored.

It imports nothing of the gate until it is asked for: every session of an environment loads it.
"""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from sampler_parity.run.run_file import Run

T = TypeVar("T")

_OPTION = "parity_implementation"
_SHARED = "parity_shared"
"""Under which name a worker of pytest-xdist is told the folder that all workers of it share."""

_runs = pytest.StashKey[dict[str, "Run"]]()
_shared = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("parity", "sampler-parity")
    words = "gate this sampler: a name that `sampler-parity list` shows, module:object, command:..."
    group.addoption("--parity-implementation", action="append", default=[], help=words)
    group.addoption("--parity-profile", default="quick", help="quick or full")
    group.addoption("--parity-seed", type=int, default=0, help="every case is generated from it")
    debugging = "only this one: for debugging, never a pass"
    group.addoption("--parity-capability", action="append", default=[], help=debugging)
    group.addoption("--parity-family", action="append", default=[], help=debugging)
    group.addoption("--parity-jobs", type=int, default=None, help="processes at a time")
    group.addoption("--parity-out", type=Path, default=None, help="where runs are stored")
    parser.addini(_OPTION, "samplers to gate in every session", type="linelist", default=[])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist, before it starts, the folder that all workers share."""
    config: pytest.Config = node.config
    if _shared not in config.stash:
        folder = tempfile.TemporaryDirectory(prefix="sampler-parity-")
        config.stash[_shared] = folder
        config.add_cleanup(folder.cleanup)
    node.workerinput[_SHARED] = config.stash[_shared].name


def _names(config: pytest.Config) -> list[str]:
    return [*config.getoption("--parity-implementation"), *config.getini(_OPTION)]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add a test for every implementation that is named; the fixture alone adds none."""
    config.stash.setdefault(_runs, {})
    items += [
        ParityItem.from_parent(session, name=f"parity[{name}]", implementation=name)
        for name in dict.fromkeys(_names(config))
    ]


class ParityError(Exception):
    """The gate does not hold, or could not be judged."""


class ParityItem(pytest.Item):
    """The gate of one implementation."""

    def __init__(self, *, implementation: str, **keywords: object) -> None:
        """Gate ``implementation``."""
        super().__init__(**keywords)  # type: ignore[arg-type]
        self.implementation = implementation

    def runtest(self) -> None:
        """Run the gate; anything but ``holds`` fails."""
        run = gate(self.config, self.implementation)
        if run.status != "holds":
            raise ParityError(_words(self.config, self.implementation, run))

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None
    ) -> str:
        """Say it in words: a traceback of the gate helps nobody."""
        from sampler_parity.model.errors import CannotJudgeError

        if isinstance(excinfo.value, (ParityError, CannotJudgeError)):
            return str(excinfo.value)
        del style
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, None, str]:
        """Name it."""
        return self.session.path, None, self.name


@pytest.fixture(scope="session")
def parity_run(pytestconfig: pytest.Config) -> "Run":
    """Give the run of the implementation that is named; of the first, if several are."""
    names = _names(pytestconfig)
    if not names:
        pytest.fail("name a sampler: --parity-implementation=NAME, or parity_implementation = NAME")
    return gate(pytestconfig, names[0])


def gate(config: pytest.Config, implementation: str) -> "Run":
    """Give the run of the gate, which is made once a session, over all workers of pytest-xdist.

    Raises:
        CannotJudgeError: the gate could not be judged, in this worker or in another one.
    """
    from sampler_parity.run.run_file import read_run

    runs = config.stash[_runs]
    if implementation not in runs:
        runs[implementation] = _once(
            config,
            implementation,
            make=lambda: _run(config, implementation),
            read=lambda: read_run(_folder(config, implementation)),
        )
    return runs[implementation]


def _once(config: pytest.Config, name: str, *, make: Callable[[], T], read: Callable[[], T]) -> T:
    """Make what is stored under ``name``, or read it where another worker has made it.

    What is made uses all processors: one thing is made at a time, whatever its name.

    Raises:
        CannotJudgeError: it could not be made, in this worker or in another one.
    """
    shared = getattr(config, "workerinput", {}).get(_SHARED)
    if shared is None:
        return make()
    from filelock import FileLock

    from sampler_parity.model.errors import CannotJudgeError

    # What stands in this file is why it could not be made; nothing where it was.
    outcome = Path(shared) / hashlib.sha256(name.encode()).hexdigest()
    with FileLock(Path(shared) / "lock"):
        if not outcome.exists():
            try:
                made = make()
            except CannotJudgeError as error:
                outcome.write_text(str(error), encoding="utf-8")
                raise
            outcome.touch()
            return made
    if reason := outcome.read_text(encoding="utf-8"):
        raise CannotJudgeError(reason)
    return read()


def _run(config: pytest.Config, implementation: str) -> "Run":
    """Run the gate, store the run, and write its report."""
    from sampler_parity.cases.families import FAMILIES
    from sampler_parity.model.case import CAPABILITIES
    from sampler_parity.report import write_report
    from sampler_parity.run.gate import run_gate
    from sampler_parity.run.request import Request
    from sampler_parity.run.waivers import waivers_here

    folder = _folder(config, implementation)
    run = run_gate(
        Request(
            profile=config.getoption("--parity-profile"),
            seed=config.getoption("--parity-seed"),
            implementations=(implementation,),
            capabilities=tuple(config.getoption("--parity-capability") or CAPABILITIES),
            families=tuple(config.getoption("--parity-family") or FAMILIES),
            jobs=config.getoption("--parity-jobs"),
            folder=folder,
            waivers=tuple(
                waiver
                for waiver in waivers_here(config.rootpath)
                if waiver.implementation == implementation
            ),
        )
    )
    write_report(run, folder)
    return run


def _folder(config: pytest.Config, implementation: str) -> Path:
    home = config.getoption("--parity-out") or config.rootpath / "reports"
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in implementation)
    return Path(home) / safe


def _words(config: pytest.Config, implementation: str, run: "Run") -> str:
    from sampler_parity.commands.summary import SHOWN, conclusion, in_words
    from sampler_parity.report.order import in_order

    lines = [conclusion(run), *(f"  {reason}" for reason in run.reasons)]
    lines += [f"  {in_words(case)}\n    {case.found.replay}" for case in in_order(run)[:SHOWN]]
    return "\n".join([*lines, f"  report: {_folder(config, implementation) / 'index.html'}"])
