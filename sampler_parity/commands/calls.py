"""``sampler-parity calls``: one recording of an engine judged alone, or two attributed."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from sampler_parity.commands.calls_outputs import calls_annotations, write_calls_outputs
from sampler_parity.commands.terminal import EXIT_STATUS, log, out, showing_progress
from sampler_parity.engines.findings import Attribution, listed
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import DAMAGED, write_atomically
from sampler_parity.pipelines.exact import require_long_doubles

RESULT = "calls.json"


def calls(
    first: Annotated[Path, typer.Argument(metavar="A.calls", help="A recording; the reference's.")],
    second: Annotated[
        Path | None, typer.Argument(metavar="[B.calls]", help="Another one; the port's.")
    ] = None,
    contract: Annotated[
        str | None,
        typer.Option(help="What each phase must use: a parity.toml, or `tts`."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Where the result and its page are stored.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The result as JSON on standard output, words on error.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the random places within a token's probability.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write a summary in Markdown to this file.")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress, and only the conclusion.")
    ] = False,
) -> None:
    """Judge an engine's recording, or compare two call by call and say what made them differ."""
    try:
        found = judged(first, second, contract, seed, folder=folder, quiet=quiet)
        path = None if folder is None else store(found, folder)
        write_calls_outputs(found, junit, markdown)
    except KeyboardInterrupt:
        raise CannotJudgeError("interrupted: the recordings were not compared") from None
    words = log if as_json else out
    if as_json:
        sys.stdout.write(encoded(found).decode())
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for one in calls_annotations(found):
            words.print(one, soft_wrap=True, markup=False)
    tell(found, words, quiet=quiet)
    if path is not None:
        words.print(f"report: {path}", soft_wrap=True, markup=False)
    raise typer.Exit(EXIT_STATUS[found.status])


def store(found: Attribution, folder: Path) -> Path:
    """Write a result and its page, and give the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RESULT, encoded(found))
    from sampler_parity.report.calls import write_calls_report

    return write_calls_report(found, folder)


def stored(folder: Path) -> Attribution:
    """Read a result that is stored in ``folder``.

    Raises:
        CannotJudgeError: there is none, or none of this version.
    """
    path = folder / RESULT
    try:
        return msgspec.json.decode(path.read_bytes(), type=Attribution)
    except DAMAGED as error:
        raise CannotJudgeError(f"{path} cannot be read as a result: {error}") from error


def judged(
    first: Path,
    second: Path | None,
    contract: str | None,
    seed: int | None = None,
    *,
    folder: Path | None = None,
    quiet: bool = True,
) -> Attribution:
    """Judge one recording, or a pair.

    Args:
        first: a recording; of a pair, the one that is taken for right where it cannot be told.
        second: the other one.
        contract: a file, or the name of one that comes with the harness.
        seed: of the random places within a token's probability; ``None`` for the usual one.
        folder: where the first calls of the findings are kept as cases.
        quiet: whether no progress is shown.

    Raises:
        CannotJudgeError: a file is no recording, or no contract; or this platform cannot judge.
    """
    require_long_doubles()
    # Here, not above: torch takes seconds to import, and nothing else needs it in this process.
    from sampler_parity.engines.attribution import attribute
    from sampler_parity.engines.audit import audit
    from sampler_parity.engines.contract import NONE, load_contract
    from sampler_parity.engines.places import SEED
    from sampler_parity.engines.recording import Recording

    seed = SEED if seed is None else seed
    asked = NONE if contract is None else load_contract(contract)
    ours = Recording.open(first)
    theirs = None if second is None else Recording.open(second)

    def work(progress: Callable[[str, int, int], None] | None) -> Attribution:
        if theirs is None:
            return audit(ours, asked, progress, seed=seed, folder=folder)
        return attribute(ours, theirs, asked, progress, seed=seed, folder=folder)

    if quiet:
        return work(None)
    with showing_progress() as progress:
        return work(progress)


def encoded(found: Attribution) -> bytes:
    """Give the result as JSON."""
    return msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"


def tell(found: Attribution, console: Console, *, quiet: bool) -> None:
    """Print the sentence, then what each phase calls, then every finding."""
    console.print(f"{found.status}: {_plain(found.sentence)}", soft_wrap=True, markup=False)
    if quiet:
        return
    for recorded in found.recordings:
        console.print(
            f"{recorded.side}: {recorded.path}, {_plain(recorded.engine)}: "
            f"{counted(recorded.calls)} of {counted(recorded.generations, 'generation')}",
            soft_wrap=True,
            markup=False,
        )
    for line in (*_uses(found), *_findings(found)):
        console.print(line, soft_wrap=True, markup=False)
    for line in found.frequencies:
        console.print(line, soft_wrap=True, markup=False)
    console.print(
        f"{counted(found.planned)} planned, {found.compared:,} compared, "
        f"{found.planned - found.compared:,} not",
        markup=False,
    )
    for reason in found.not_compared:
        words = f"{counted(reason.calls)}: {_plain(reason.reason)}"
        console.print(words, soft_wrap=True, markup=False)


def counted(number: int, what: str = "call") -> str:
    """Give a number of things in words."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def _uses(found: Attribution) -> Iterator[str]:
    """Say phase by phase what each side calls with what."""
    phases = dict.fromkeys(use.phase for use in found.uses)
    for phase in phases:
        yield f"phase {_plain(phase)}:"
        for use in found.uses:
            if use.phase == phase:
                told = listed(use.parameters)
                yield (
                    f"  {use.side}  {counted(use.calls)}  {_plain(use.sampler)}({_plain(told)})  "
                    f"of {use.vocabulary}, random numbers of {_plain(use.source)}"
                )


def _findings(found: Attribution) -> Iterator[str]:
    """List every finding, a line each, with where in the engine its call stands."""
    if found.findings:
        yield "findings:"
    for one in found.findings:
        site = f"  {one.site}" if one.site else ""
        yield (
            f"  {one.kind}: {one.what}, {one.side}, first at call {one.call} of phase "
            f"{_plain(one.phase)}, generation {one.generation}; {counted(one.times)}{_plain(site)}"
        )


def _plain(text: str) -> str:
    """Give text without control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
