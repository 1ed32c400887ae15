"""Changes comparisons and proof constants of the crate, and looks whether a test fails.

``python -m benchmarks.proof_mutants [--file FILE]... [--only TEXT]... [--constants] [--list]``
writes a copy of the crate in which an environment variable switches each change on, compiles its
tests once, and runs them with each change. What is found is written down change by change, in
``target/proof-mutants/trials.jsonl``: a run that was stopped goes on where it was.

``cargo mutants`` compiles the tests anew for each change, and changes neither constants nor what
stands in a macro, as every kernel does.

Exit status: 0 every change fails a test, or is listed as equivalent; 1 one does neither, or one
that is listed is noticed, or is no more; 2 the tests cannot be run.
"""

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

from benchmarks.mutant_tests import Programs, Trial, Trials
from benchmarks.mutated_sources import FOLDERS, Mutant, all_changes, write_copy
from sampler_parity.build.installation import REPOSITORY

COPY: Final = REPOSITORY / "target" / "proof-mutants"
EQUIVALENT: Final = Path(__file__).parent / "equivalent_mutants.toml"


def equivalent() -> dict[str, str]:
    """Give the changes that no test can notice, each with the reason."""
    groups = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]
    return {change: group["reason"] for group in groups for change in group["changes"]}


def chosen(
    changes: list[Mutant], arguments: argparse.Namespace, listed: dict[str, str]
) -> list[Mutant]:
    """Give the changes that are asked for: constants first, and last what is listed."""
    found = [
        change
        for change in changes
        if (not arguments.file or change.file in arguments.file)
        and (not arguments.only or any(text in change.name for text in arguments.only))
        and (change.constant or not arguments.constants)
    ]

    def order(change: Mutant) -> tuple[bool, bool, int]:
        folder = FOLDERS.index(change.file.split("/")[0])
        return change.name in listed, not change.constant, folder

    return sorted(found, key=order)


def tried(changes: list[Mutant], sources: str, programs: Programs) -> list[Trial]:
    """Try every change that was not tried with these sources, and say of each who noticed it."""
    trials, results = Trials(COPY / "trials.jsonl"), []
    for number, change in enumerate(changes, 1):
        found = trials.of(change.name, sources)
        if found is None:
            found = programs.trial(change, sources, trials.noticed_by(change.name))
            trials.add(found)
        results.append(found)
        said = f"{found.how} {found.by}" if found.by else "SURVIVES"
        print(f"{number}/{len(changes)} {change.name}, line {change.line}: {said}", flush=True)
    return results


def conclusion(changes: list[Mutant], results: list[Trial], listed: dict[str, str]) -> int:
    """Say what is left, and give the exit status."""
    survive = [one.change for one in results if one.by is None]
    problems = {
        "survives": [name for name in survive if name not in listed],
        "is listed as equivalent, and noticed": [
            one.change for one in results if one.by and one.change in listed
        ],
        "is listed as equivalent, and is no more": sorted(
            listed.keys() - {change.name for change in changes}
        ),
    }
    for words, names in problems.items():
        for name in names:
            print(f"{name} {words}.", file=sys.stderr)
    new = len(problems["survives"])
    print(f"{len(results)} changes: {len(survive)} survive, {new} of them not listed.")
    return 1 if any(problems.values()) else 0


def main() -> int:
    """Try the changes, and say which are not noticed."""
    parser = argparse.ArgumentParser(description="Changes comparisons and proof constants.")
    parser.add_argument("--file", action="append", default=[], help="such as fast/few.rs")
    parser.add_argument("--only", action="append", default=[], help="a part of a change's name")
    parser.add_argument("--constants", action="store_true", help="no comparisons")
    parser.add_argument("--list", action="store_true", help="print the changes, try none")
    arguments = parser.parse_args()
    if arguments.list:
        for change in chosen(all_changes()[0], arguments, equivalent()):
            print(f"{change.name}, line {change.line}")
        return 0
    changes, sources = write_copy(COPY)
    try:
        programs = Programs(COPY, sources)
    except (subprocess.CalledProcessError, ValueError) as error:
        print(f"The tests cannot be run: {error}", file=sys.stderr)
        return 2
    listed = equivalent()
    results = tried(chosen(changes, arguments, listed), sources, programs)
    return conclusion(changes, results, listed)


if __name__ == "__main__":
    sys.exit(main())
