"""``run --watch``: the run again, in a new process, whenever a file of the candidate changes."""

import importlib.util
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from itertools import chain
from pathlib import Path

from rich.console import Console

from sampler_parity.build.extension import EXTENSION
from sampler_parity.implementations.registry import COMMAND, target_of
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.pipelines.references import REFERENCES

LIBRARIES = frozenset({".py", ".so", ".pyd"})
"""Endings of the files that are looked at beside a module, or in a package."""

PATIENCE = 200
"""Milliseconds within which changes count as one, and after which an interrupt is seen."""

ENDING = 30.0
"""Seconds that an interrupted run may take to end its workers."""

HARNESS = __name__.partition(".")[0]
"""The package that this module is in."""

Changes = Iterator[frozenset[Path]]
"""Waits for the next change, and gives the files that have changed; ends where nobody will tell of
another."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked at.

    Attributes:
        files: single files, by their real paths.
        beside: folders of which every library counts.
        packages: folders of which every library counts, and of the folders below.
    """

    files: frozenset[Path] = frozenset()
    beside: frozenset[Path] = frozenset()
    packages: frozenset[Path] = frozenset()

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders in which something may change: an editor replaces the file itself."""
        below = {
            folder
            for package in self.packages
            for folder in (package, *(one for one in package.rglob("*") if one.is_dir()))
            if folder.name != "__pycache__"
        }
        return tuple(sorted(below | self.beside | {file.parent for file in self.files}))

    def has(self, path: Path) -> bool:
        """Whether ``path`` is one of what is looked at."""
        if path in self.files:
            return True
        inside = path.parent in self.beside or not self.packages.isdisjoint(path.parents)
        return inside and path.suffix in LIBRARIES

    @property
    def words(self) -> str:
        """Name what is looked at."""
        folders = sorted(self.beside | self.packages)
        return ", ".join([*map(str, sorted(self.files)), *(f"{one}/" for one in folders)])


def watched(implementations: Sequence[str], reference: str = "") -> Watched:
    """Find the files of candidates, and of a reference of one's own.

    Of ``module:object`` these are the module and what stands beside it, or the outermost package
    that it is in; of ``command:PROGRAM`` the program, and the files that its arguments name.

    Raises:
        CannotJudgeError: one is unknown, or has no file.
    """
    files, beside, packages = set[Path](), set[Path](), set[Path]()
    own = [] if reference in {"", *REFERENCES} else [reference]
    for name in (*implementations, *own):
        if name.startswith(COMMAND):
            files.update(_of_command(name.removeprefix(COMMAND)))
            continue
        module = target_of(name).partition(":")[0].partition(".")[0]
        # What comes with the harness may call the port.
        for one in (module, EXTENSION) if module == HARNESS else (module,):
            found = _of_module(one)
            (packages if found.is_dir() else beside).add(found if found.is_dir() else found.parent)
    return Watched(frozenset(files), frozenset(beside), frozenset(packages))


def _of_command(command: str) -> Iterator[Path]:
    program, *arguments = shlex.split(command) or [""]
    found = shutil.which(program)
    if found is None:
        raise CannotJudgeError(f"{COMMAND}{command} cannot be watched: there is no {program!r}")
    for word in (found, *arguments):
        path = Path(word)
        if path.is_file():
            yield path.resolve()


def _of_module(module: str) -> Path:
    """Give a module's file, or a package's folder, as a candidate's process finds it."""
    try:
        # Such a process looks in the folder that it is started in before all else.
        path = [str(Path.cwd()), *sys.path]
        found = PathFinder.find_spec(module, path) or importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        raise CannotJudgeError(f"module {module!r} cannot be watched: {error}") from error
    place = _place(found) if found is not None else None
    if place is None or not place.exists():
        raise CannotJudgeError(f"module {module!r} cannot be watched: it has no file here")
    return place.resolve()


def _place(spec: ModuleSpec) -> Path | None:
    for folder in spec.submodule_search_locations or ():
        return Path(folder)
    return None if spec.origin is None else Path(spec.origin)


def changes(what: Watched) -> Changes:
    """Look from now on for changes.

    Raises:
        CannotJudgeError: the library for it is not installed.
    """
    try:
        import watchfiles
    except ImportError as error:
        raise CannotJudgeError("run --watch needs watchfiles: pip install watchfiles") from error
    events = watchfiles.watch(
        *what.folders,
        watch_filter=lambda _, path: what.has(Path(path)),
        recursive=False,
        debounce=PATIENCE,
        rust_timeout=PATIENCE,
        yield_on_timeout=True,
    )
    # It begins to look when it is first asked: before the first run, whose time is long.
    first = next(events)
    return (frozenset(Path(path) for _, path in found) for found in chain([first], events) if found)


def run_again(run: Callable[[], int], events: Changes, out: Console) -> int:
    """Run now, and again after every change, until there are no more or Ctrl-C is pressed.

    Returns:
        The last run's exit status; 2 where none came to its end.
    """
    status = 2
    try:
        status = run()
        for changed in events:
            names = ", ".join(sorted(path.name for path in changed))
            out.rule(f"changed: {names}")
            status = run()
    except KeyboardInterrupt:
        out.print("no longer watched", markup=False)
    return status


def run_in_new_process(arguments: Sequence[str]) -> int:
    """Run ``sampler-parity`` in a process that has imported nothing before; give its exit status.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed. The process has ended then, and its workers with it.
    """
    # In a group of its own it is interrupted once, by this process, and ends as it does by itself.
    command = [sys.executable, "-m", "sampler_parity", *arguments]
    process = subprocess.Popen(command, process_group=0)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(ENDING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
