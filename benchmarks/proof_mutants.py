"""Changes comparisons and proof constants of the crate's shortcuts, and looks whether a test fails.

``python -m benchmarks.proof_mutants [--file fast/few.rs]... [--constants]`` writes a copy of the
crate in which each change is switched on by an environment variable, compiles its tests once, and
runs them with each change. ``cargo mutants`` compiles them anew for each change, and changes
neither constants nor what stands in a macro, as every kernel does.
Exit status: 0 every change fails a test or is known to be equivalent, 1 one is not, 2 the tests
cannot be run.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.proof_constants import CONSTANTS, EQUIVALENT
from sampler_parity.build.installation import REPOSITORY

COPY = REPOSITORY / "target" / "proof-mutants"
SOURCES = "rust_ext/sampler/src"
FOLDERS = ("fast", "draw", "torch", "batch")
VARIABLE = "PROOF_MUTANT"
TIMEOUT = 120
"""Seconds for one program of tests, which take a few: a change may make a loop endless."""

BUILD = (
    "cargo", "test", "--locked", "--no-run", "--message-format", "json", "--package",
    "torch-exact-sampler", "--features", "internals,rayon", "--lib", "--test", "estimates",
    "--test", "golden", "--test", "threads",
)  # fmt: skip
UNCHANGED = ("--skip", "torch::exp::tests::")
"""Tests of every float that an exponential takes: they take most of the time, and compare none."""

SWITCH = f"""//! Which change is switched on.

use std::sync::LazyLock;

static ON: LazyLock<u32> =
    LazyLock::new(|| std::env::var("{VARIABLE}").map_or(0, |number| number.parse().unwrap_or(0)));

#[inline]
pub(crate) fn on(number: u32) -> bool {{
    *ON == number
}}
"""

OTHERS: Final = {
    "<": ("<=", ">", "=="),
    ">": (">=", "<", "=="),
    "<=": ("<", ">"),
    ">=": (">", "<"),
    "==": ("!=",),
    "!=": ("==",),
}
COMPARISON = re.compile(r" (<=|>=|==|!=|<|>) ")
OPENING, CLOSING = "([{", ")]}"
BEFORE = re.compile(r"(?:&&|\|\||[,;|]|(?<![=<>!])=(?!=)|=>|\b(?:if|while|return|in)\b)\s*$")
"""What ends an operand, read from it to the left; so does a bracket that was not closed."""
AFTER = re.compile(r"\s*(?:&&|\|\||[,;|{]|=>)")


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the source.

    Attributes:
        number: what switches it on.
        file: the file, in the crate's sources.
        line: its line there.
        words: what becomes what.
        comparison: whether another operator is all that is changed.
    """

    number: int
    file: str
    line: int
    words: str
    comparison: bool

    @property
    def name(self) -> str:
        """Name it without its line, which moves."""
        return f"{self.file}: {self.words}"


def operand_before(text: str, end: int) -> int:
    """Give where the operand begins that ends at ``end``."""
    depth, at = 0, end
    while at > 0:
        character = text[at - 1]
        if character in CLOSING:
            depth += 1
        elif character in OPENING:
            if depth == 0:
                break
            depth -= 1
        inside_a_word = re.match(r"\w\w", text[at - 1 : at + 1])
        if depth == 0 and not inside_a_word and BEFORE.search(text, max(0, at - 12), at):
            break
        at -= 1
    return at + len(text[at:end]) - len(text[at:end].lstrip())


def operand_after(text: str, start: int) -> int:
    """Give where the operand ends that begins at ``start``."""
    depth, at = 0, start
    while at < len(text):
        if depth == 0 and AFTER.match(text, at):
            break
        if text[at] in OPENING:
            depth += 1
        elif text[at] in CLOSING:
            if depth == 0:
                break
            depth -= 1
        at += 1
    return at


def code_of(source: str) -> str:
    """Give what stands before the tests, with blanks for comments."""
    code = source.split("#[cfg(test)]", maxsplit=1)[0]
    return re.sub(r"//.*", lambda found: " " * len(found[0]), code)


class Rewriter:
    """Numbers the changes, and writes them into sources."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def choice(self, file: str, line: int, old: str, news: tuple[str, ...]) -> str:
        """Give an expression that is ``old`` unless one of its changes is switched on."""
        shown, written = " ".join(old.split()), ""
        for new in news:
            number = len(self.changes) + 1
            words = f"{shown} -> {' '.join(new.split())}"
            comparison = shown not in {one[0] for one in CONSTANTS.get(file, ())}
            self.changes.append(Change(number, file, line, words, comparison))
            written += f"if crate::proof_mutant::on({number}) {{ {new} }} else "
        return f"({written}{{ {old} }})"

    def rewritten(self, file: str, source: str, *, comparisons: bool) -> str:
        """Write the changes of one file into it."""
        code = code_of(source)
        places: list[tuple[int, int, tuple[str, ...]]] = []
        for old, *news in CONSTANTS.get(file, ()):
            if code.count(old) != 1:
                raise ValueError(f"{file} holds {old!r} {code.count(old)} times")
            start = code.index(old)
            places.append((start, start + len(old), tuple(news)))
        for found in COMPARISON.finditer(code) if comparisons else ():
            start, end = operand_before(code, found.start()), operand_after(code, found.end())
            if any(start < place[1] and place[0] < end for place in places):
                continue
            if "const " in code[code.rfind("\n", 0, start) : start]:
                continue
            left, right = code[start : found.start()], code[found.end() : end].rstrip()
            # After a type, `<` would begin its arguments.
            left = f"({left})" if re.search(r"\bas \w+$", left) else left
            others = tuple(f"{left} {other} {right}" for other in OTHERS[found[1]])
            places.append((start, found.end() + len(right), others))
        for start, end, changed in sorted(places, reverse=True):
            line = source.count("\n", 0, start) + 1
            choice = self.choice(file, line, code[start:end], changed)
            source = source[:start] + choice + source[end:]
        return source


def copied(files: list[str], *, comparisons: bool) -> list[Change]:
    """Write the copy of the workspace; give its changes."""
    COPY.mkdir(parents=True, exist_ok=True)
    for name in ("rust_ext", "fixtures"):
        shutil.rmtree(COPY / name, ignore_errors=True)
        shutil.copytree(REPOSITORY / name, COPY / name)
    for name in ("Cargo.toml", "Cargo.lock", "README.md"):
        shutil.copy2(REPOSITORY / name, COPY / name)
    rewriter, sources = Rewriter(), COPY / SOURCES
    for path in sorted(path for folder in FOLDERS for path in (sources / folder).glob("*.rs")):
        file = path.relative_to(sources).as_posix()
        if not files or file in files:
            text = path.read_text(encoding="utf-8")
            path.write_text(
                rewriter.rewritten(file, text, comparisons=comparisons), encoding="utf-8"
            )
    (sources / "proof_mutant.rs").write_text(SWITCH, encoding="utf-8")
    library = sources / "lib.rs"
    text = library.read_text(encoding="utf-8")
    library.write_text(
        text.replace("mod planted;\n", "mod planted;\nmod proof_mutant;\n", 1), encoding="utf-8"
    )
    # Constants first; the folders in the order above.
    return sorted(
        rewriter.changes,
        key=lambda change: (change.comparison, FOLDERS.index(change.file.split("/")[0])),
    )


def built() -> list[Path]:
    """Compile the tests; give their programs, the unit tests first."""
    done = subprocess.run(BUILD, cwd=COPY, stdout=subprocess.PIPE, text=True, check=True)
    messages = map(json.loads, done.stdout.splitlines())
    found = [Path(m["executable"]) for m in messages if m.get("executable")]
    return sorted(found, key=lambda path: not path.name.startswith("torch_exact_sampler"))


def fails(programs: list[Path], number: int) -> bool:
    """Whether a test fails with a change, or does not end."""
    for program in programs:
        try:
            done = subprocess.run(
                [str(program), "--quiet", *UNCHANGED],
                cwd=COPY / "rust_ext" / "sampler",
                env=os.environ | {VARIABLE: str(number)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return True
        if done.returncode:
            return True
    return False


def survivors(programs: list[Path], changes: list[Change]) -> Iterator[Change]:
    """Try every change; give those that no test notices."""
    for change in changes:
        failed = fails(programs, change.number)
        print(f"{'noticed ' if failed else 'SURVIVES'} {change.line:4} {change.name}", flush=True)
        if not failed:
            yield change


def main() -> int:
    """Try every change, and say which are not noticed."""
    parser = argparse.ArgumentParser(description="Changes comparisons and proof constants.")
    parser.add_argument("--file", action="append", default=[], help="such as fast/few.rs")
    parser.add_argument("--constants", action="store_true", help="no comparisons")
    arguments = parser.parse_args()
    changes = copied(arguments.file, comparisons=not arguments.constants)
    programs = built()
    if fails(programs, 0):
        print("The tests fail without a change.", file=sys.stderr)
        return 2
    left = list(survivors(programs, changes))
    new = [change for change in left if change.name not in EQUIVALENT]
    print(f"{len(changes)} changes, {len(left)} not noticed, {len(new)} of them not equivalent.")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
