"""Engines in somebody's test suite: run by their commands, or recorded already, and compared."""

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sampler_parity.commands.calls import judged, store
from sampler_parity.engines.findings import Attribution
from sampler_parity.engines.words import sentence_of
from sampler_parity.model.errors import CannotJudgeError

RECORDING, OTHER = "{recording}", "{other}"
"""What stands in an engine's command for the file that it records, and for that of the first one,
whose tokens it may be forced to."""

SIDES = ("A", "B")
LAST = 10
"""How many lines are shown of what an engine printed last."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a session is asked to compare.

    Attributes:
        recordings: one file or two; none where there are commands.
        engines: one command or two, which make a recording each.
        contract: a contract's file, or the name of one that comes with the harness.
        folder: where the result and its page are stored, and what the commands record.
        root: where the commands run.
        limit: seconds that a command may take.
    """

    recordings: tuple[Path, ...] = ()
    engines: tuple[str, ...] = ()
    contract: str | None = None
    folder: Path = Path("reports/calls")
    root: Path = Path()
    limit: float = 600.0


def compare(asked: Asked) -> Attribution:
    """Run the engines, judge what they recorded, and store the result with its page.

    Raises:
        CannotJudgeError: there are too many recordings or engines, or both; an engine cannot be
            run, fails, takes too long, or records nothing; a file is no recording.
    """
    if asked.recordings and asked.engines:
        raise CannotJudgeError("name recordings or engines that make them, and not both")
    given = asked.recordings or asked.engines
    if not 0 < len(given) <= len(SIDES):
        raise CannotJudgeError(f"name one recording or engine, or two: {len(given)} are named")
    paths = asked.recordings or _recorded(asked)
    second = paths[1] if len(paths) > 1 else None
    found = judged(paths[0], second, asked.contract, folder=asked.folder)
    store(found, asked.folder)
    return found


def _recorded(asked: Asked) -> tuple[Path, ...]:
    """Run the engines, one after the other: the second may read what the first one recorded."""
    asked.folder.mkdir(parents=True, exist_ok=True)
    paths = [(asked.folder / f"{side}.calls").resolve() for side in SIDES]
    made = []
    for command, path in zip(asked.engines, paths, strict=False):
        path.unlink(missing_ok=True)
        _run(command, {RECORDING: str(path), OTHER: str(paths[0])}, path, asked)
        made.append(path)
    return tuple(made)


def _run(command: str, names: dict[str, str], path: Path, asked: Asked) -> None:
    if RECORDING not in command:
        raise CannotJudgeError(
            f"{command!r} does not say where the engine records: {RECORDING} has to stand in it"
        )
    words = shlex.split(command)
    for name, value in names.items():
        words = [word.replace(name, value) for word in words]
    log = path.with_suffix(".log")
    try:
        # A file, and no pipe: what the engine itself has started may keep a pipe open for ever.
        with log.open("wb") as printed:
            done = subprocess.run(
                words,
                cwd=asked.root,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                timeout=asked.limit,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise CannotJudgeError(
            f"{command!r} takes longer than {asked.limit:g} s: it was ended{_last(log)}"
        ) from None
    except OSError as error:
        raise CannotJudgeError(f"{command!r} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise CannotJudgeError(f"{command!r} ended with status {done.returncode}{_last(log)}")
    if not path.is_file():
        raise CannotJudgeError(f"{command!r} recorded nothing in {path}{_last(log)}")


def _last(log: Path) -> str:
    """Give the last lines of what an engine printed, to be added to a sentence."""
    lines = log.read_text("utf-8", "replace").splitlines()[-LAST:]
    return "".join(f"\n  {line}" for line in lines)


def in_words(found: Attribution, report: Path) -> str:
    """Say why a test fails: the sentence, every finding, and where the page is."""
    generations = max((one.generations for one in found.recordings), default=0)
    lines = [f"{found.status}: {found.sentence}"]
    lines += [
        f"  {one.kind}: {one.what}, {one.side}: {sentence_of(one, generations)}"
        for one in found.findings
    ]
    return "\n".join([*lines, f"  report: {report}"])
