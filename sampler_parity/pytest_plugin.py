"""The gate in anybody's test suite.

.. code-block:: sh

    pytest --parity-implementation=my_package.sampler:Mine

adds a test of that implementation to the session. The fixture ``parity_run`` gives the run itself,
of the implementation that the option or the ini value ``parity_implementation`` names.

.. code-block:: sh

    pytest --parity-recording=python.calls --parity-recording=rust.calls
    pytest --parity-engine='python engine.py {recording}' \
           --parity-engine='target/release/engine {recording} --forced {other}'

adds a test that compares two engines' recordings call by call, or judges one; the fixture
``parity_calls`` gives the result. The ini values are ``parity_recordings`` and ``parity_engines``,
one a line, and ``parity_contract``.

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
    from sampler_parity.commands.calls_in_tests import Asked
    from sampler_parity.engines.findings import Attribution
    from sampler_parity.run.run_file import Run

T = TypeVar("T")

_OPTION = "parity_implementation"
_RECORDINGS, _ENGINES, _CONTRACT = "parity_recordings", "parity_engines", "parity_contract"
_CALLS = "calls"
_SHARED = "parity_shared"
"""Under which name a worker of pytest-xdist is told the folder that all workers of it share."""

_runs = pytest.StashKey[dict[str, "Run"]]()
_calls = pytest.StashKey[dict[str, "Attribution"]]()
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
    words = "logits of your own to compare on as well: safetensors, npy, npz or a recording"
    group.addoption("--parity-logits", action="append", default=[], metavar="FILE", help=words)
    words = "the pipeline to hold them against: a name that `list` shows, or module:OBJECT"
    group.addoption("--parity-reference", default="", help=words)
    group.addoption("--parity-jobs", type=int, default=None, help="processes at a time")
    group.addoption("--parity-out", type=Path, default=None, help="where runs are stored")
    parser.addini(_OPTION, "samplers to gate in every session", type="linelist", default=[])
    words = "an engine's recording to judge; twice: two to compare, the reference's first"
    group.addoption("--parity-recording", action="append", default=[], metavar="FILE", help=words)
    words = (
        "a command that runs an engine and records it in the file that stands for {recording}; "
        "twice: two engines to compare; {other} is the first one's recording"
    )
    group.addoption("--parity-engine", action="append", default=[], metavar="COMMAND", help=words)
    words = "what each phase of an engine must use: a parity.toml, or tts"
    group.addoption("--parity-contract", default=None, help=words)
    words = "seconds that an engine's command may take"
    group.addoption("--parity-engine-limit", type=float, default=600.0, help=words)
    parser.addini(_RECORDINGS, "recordings to judge, or a pair to compare", "linelist", default=[])
    parser.addini(_ENGINES, "commands that make the recordings", "linelist", default=[])
    parser.addini(_CONTRACT, "what each phase of an engine must use", default="")


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
    config.stash.setdefault(_calls, {})
    items += [
        ParityItem.from_parent(session, name=f"parity[{name}]", implementation=name)
        for name in dict.fromkeys(_names(config))
    ]
    if _recordings(config) or _engines(config):
        items.append(CallsItem.from_parent(session, name="parity[calls]"))


class ParityError(Exception):
    """The gate does not hold, engines differ, or something could not be judged."""


class _Item(pytest.Item):
    """A test that is told of in words: a traceback of the harness helps nobody."""

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None
    ) -> str:
        """Say it in words."""
        from sampler_parity.model.errors import CannotJudgeError

        if isinstance(excinfo.value, (ParityError, CannotJudgeError)):
            return str(excinfo.value)
        del style
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, None, str]:
        """Name it."""
        return self.session.path, None, self.name


class ParityItem(_Item):
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


class CallsItem(_Item):
    """The comparison of two recordings, or the judgement of one."""

    def runtest(self) -> None:
        """Compare; anything but ``holds`` fails."""
        from sampler_parity.commands.calls_in_tests import in_words

        found = compare_calls(self.config)
        if found.status != "holds":
            raise ParityError(in_words(found, _folder(self.config, _CALLS) / "index.html"))


@pytest.fixture(scope="session")
def parity_run(pytestconfig: pytest.Config) -> "Run":
    """Give the run of the implementation that is named; of the first, if several are."""
    names = _names(pytestconfig)
    if not names:
        pytest.fail("name a sampler: --parity-implementation=NAME, or parity_implementation = NAME")
    return gate(pytestconfig, names[0])


@pytest.fixture(scope="session")
def parity_calls(pytestconfig: pytest.Config) -> "Attribution":
    """Give what was found of the recordings, or of the engines, that are named."""
    if not (_recordings(pytestconfig) or _engines(pytestconfig)):
        pytest.fail(
            "name recordings or engines: --parity-recording=FILE, --parity-engine=COMMAND, "
            f"or {_RECORDINGS} or {_ENGINES}, a line each"
        )
    return compare_calls(pytestconfig)


def _recordings(config: pytest.Config) -> tuple[Path, ...]:
    """Give the recordings: of the options, as this session was started, else of the ini file."""
    given: list[str] = config.getoption("--parity-recording")
    base = config.invocation_params.dir if given else config.rootpath
    return tuple(base / name for name in given or config.getini(_RECORDINGS))


def _engines(config: pytest.Config) -> tuple[str, ...]:
    return tuple(config.getoption("--parity-engine") or config.getini(_ENGINES))


def compare_calls(config: pytest.Config) -> "Attribution":
    """Give what was found of the engines, who are compared once a session, over all workers.

    Raises:
        CannotJudgeError: it could not be judged, in this worker or in another one.
    """
    from sampler_parity.commands.calls import stored
    from sampler_parity.commands.calls_in_tests import compare

    found = config.stash[_calls]
    if _CALLS not in found:
        found[_CALLS] = _once(
            config,
            "recordings of engines",
            make=lambda: compare(_asked(config)),
            read=lambda: stored(_folder(config, _CALLS)),
        )
    return found[_CALLS]


def _asked(config: pytest.Config) -> "Asked":
    """Say what is compared: what an option names replaces what the ini file names."""
    from sampler_parity.commands.calls_in_tests import Asked

    options = config.getoption
    recordings, engines = _recordings(config), _engines(config)
    if bool(options("--parity-recording")) != bool(options("--parity-engine")):
        recordings = recordings if options("--parity-recording") else ()
        engines = engines if options("--parity-engine") else ()
    return Asked(
        recordings=recordings,
        engines=engines,
        contract=options("--parity-contract") or config.getini(_CONTRACT) or None,
        folder=_folder(config, _CALLS),
        root=config.rootpath,
        limit=options("--parity-engine-limit"),
    )


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
    from sampler_parity.cases.your_logits import YourLogits
    from sampler_parity.model.case import CAPABILITIES
    from sampler_parity.report import write_report
    from sampler_parity.run.gate import run_gate
    from sampler_parity.run.request import Request, usual_families
    from sampler_parity.run.waivers import waivers_here

    folder = _folder(config, implementation)
    files = tuple(config.getoption("--parity-logits"))
    logits = YourLogits(files=files) if files else None
    run = run_gate(
        Request(
            profile=config.getoption("--parity-profile"),
            seed=config.getoption("--parity-seed"),
            implementations=(implementation,),
            capabilities=tuple(config.getoption("--parity-capability") or CAPABILITIES),
            families=tuple(config.getoption("--parity-family") or usual_families(logits)),
            jobs=config.getoption("--parity-jobs"),
            folder=folder,
            reference=config.getoption("--parity-reference"),
            logits=logits,
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
