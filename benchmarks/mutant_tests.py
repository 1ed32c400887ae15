"""Runs the crate's tests with one change after another, and stores which test noticed each.

A change is noticed when a test fails, or takes far more time of the processor than without one. The
tests that are likely to notice it run first: the one that did the last time, those of its own file,
the quick ones, and then the others one by one.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.mutated_sources import VARIABLE, Mutant

BUILD: Final = (
    "cargo", "test", "--locked", "--no-run", "--message-format", "json", "--package",
    "torch-exact-sampler", "--features", "internals,rayon", "--lib", "--test",
    "allocations", "--test", "estimates", "--test", "golden", "--test", "threads",
)  # fmt: skip
LEFT_OUT: Final = (
    "torch::exp::tests::lanes_are_sleef",
    "torch::exp::tests::agrees_with_the_c_library",
)
"""Walks over every float that an exponential takes, which would take most of the time."""
QUICK: Final = 0.5
"""Seconds of a test that is run together with others."""
SPARE: Final = 10
"""A test is endless that takes so many times as long as without a change, and as many seconds."""
WALL: Final = 300
"""Seconds after which a test is endless that takes no time of the processor, since it waits."""
MEMORY: Final = 8 << 20
"""KiB of memory that a test may take: a change may fill it."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A test of one of the programs, and the seconds of the processor that it takes."""

    program: str
    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a change.

    Attributes:
        change: its name.
        sources: a hash of what was compiled.
        by: the test that noticed it; ``None`` where none did.
        how: ``failed``, ``endless`` or, of a change that none noticed, ``survives``.
        seconds: how long it took.
    """

    change: str
    sources: str
    by: str | None
    how: str
    seconds: float


def _limited(seconds: float) -> list[str]:
    """Give the words before a command that limit its memory and its seconds of the processor."""
    most = int(seconds * SPARE) + SPARE
    return ["sh", "-c", f'ulimit -c 0; ulimit -t {most}; ulimit -v {MEMORY}; exec "$0" "$@"']


class Programs:
    """The compiled tests of the copy, in a folder of their own: a later build leaves them alone."""

    def __init__(self, copy: Path, sources: str) -> None:
        """Compile the tests, unless it was done; ``CalledProcessError`` where that fails."""
        self._crate = copy / "rust_ext" / "sampler"
        self._folder = copy / f"programs-{sources}"
        listing = self._folder / "tests.json"
        if not listing.exists():
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir()
            for program in self._built(copy):
                name = program.name.rsplit("-", maxsplit=1)[0]
                shutil.copy2(program, self._folder / name)
            tests = [asdict(test) for test in self._timed()]
            listing.write_text(json.dumps(tests, indent=1), encoding="utf-8")
        self.tests = [Timed(**test) for test in json.loads(listing.read_text(encoding="utf-8"))]

    def _built(self, copy: Path) -> list[Path]:
        done = subprocess.run(BUILD, cwd=copy, stdout=subprocess.PIPE, text=True, check=True)
        messages = map(json.loads, done.stdout.splitlines())
        return [Path(m["executable"]) for m in messages if m.get("executable")]

    def _timed(self) -> list[Timed]:
        """Run every test by itself; ``ValueError`` where one fails without a change."""
        timed = []
        for program in sorted(path.name for path in self._folder.iterdir()):
            listed = subprocess.run(
                [self._folder / program, "--list", "--format", "terse"],
                cwd=self._crate, stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
            names = [line.removesuffix(": test") for line in listed.stdout.splitlines()]
            for name in [name for name in names if name not in LEFT_OUT]:
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                if failed := self._first_failure(program, [name], number=0, seconds=WALL):
                    raise ValueError(f"{name} fails without a change: {failed[1]}")
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                seconds = sum(after[:2]) - sum(before[:2])
                timed.append(Timed(program, name, round(seconds, 3)))
        return timed

    def _first_failure(
        self, program: str, names: Sequence[str], number: int, seconds: float
    ) -> tuple[str, str] | None:
        """Give the first of a program's tests that fails with a change, and how it does."""
        process = subprocess.Popen(
            [*_limited(seconds), self._folder / program, "--exact", *names],
            cwd=self._crate,
            env=os.environ | {VARIABLE: str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        output, how = "", "failed"
        try:
            output, _ = process.communicate(timeout=WALL)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            how = "endless"
        if process.returncode == 0:
            return None
        if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            how = "endless"
        results = [line.split() for line in output.splitlines() if line.startswith("test ")]
        failing = [words[1] for words in results if words[-1] == "FAILED"]
        ended = {words[1] for words in results if words[-1] in ("ok", "FAILED")}
        others = [name for name in names if name not in ended]
        return (failing or others or list(names))[0], how

    def _in_turn(self, file: str, first: str | None) -> list[list[Timed]]:
        """Give the tests in the order that they run in, those together that one process runs."""
        module = file.removesuffix(".rs").removesuffix("/mod").replace("/", "::") + "::"
        again = [test for test in self.tests if f"{test.program} {test.name}" == first]
        rest = [test for test in self.tests if test not in again]
        own = [test for test in rest if test.name.startswith(module)]
        others = [test for test in rest if test not in own]
        groups = [[test] for test in again]
        for tests in (own, others):
            for program in sorted({test.program for test in tests}, reverse=True):
                quick = [t for t in tests if t.program == program and t.seconds < QUICK]
                groups += [quick] if quick else []
            slow = sorted((t for t in tests if t.seconds >= QUICK), key=lambda t: t.seconds)
            groups += [[test] for test in slow]
        return groups

    def trial(self, change: Mutant, sources: str, first: str | None) -> Trial:
        """Run the tests with a change until one notices it, beginning with ``first``."""
        start = time.monotonic()
        by, how = None, "survives"
        for tests in self._in_turn(change.file, first):
            names, seconds = [test.name for test in tests], sum(test.seconds for test in tests)
            failure = self._first_failure(tests[0].program, names, change.number, seconds)
            if failure:
                by, how = f"{tests[0].program} {failure[0]}", failure[1]
                break
        return Trial(change.name, sources, by, how, round(time.monotonic() - start, 1))


class Trials:
    """What was found before, in a file of one line for each, to which the rest is added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._all = [Trial(**json.loads(line)) for line in lines]

    def of(self, change: str, sources: str) -> Trial | None:
        """Give what was found of a change of the same sources."""
        found = (one for one in self._all if one.change == change and one.sources == sources)
        return next(found, None)

    def noticed_by(self, change: str) -> str | None:
        """Give the test that last noticed a change, whatever the other sources were then."""
        found = (one.by for one in reversed(self._all) if one.change == change and one.by)
        return next(found, None)

    def add(self, trial: Trial) -> None:
        """Add one, and write it down."""
        self._all.append(trial)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(trial)) + "\n")
