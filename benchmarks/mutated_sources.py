"""Writes a copy of the Rust crate in which each change of it is switched on when it is asked for.

What is changed: every comparison of the crate's shortcuts, scalar or of vectors, and the
expressions that ``benchmarks.proof_constants`` lists. Where a comparison stands on two lines, or
without blanks around it, it is not found: rustfmt puts blanks there.
"""

import hashlib
import re
import shutil
import tomllib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.proof_constants import CONSTANTS
from sampler_parity.build.installation import REPOSITORY

SOURCES: Final = "rust_ext/sampler/src"
FOLDERS: Final = ("fast", "draw", "torch", "batch")
VARIABLE: Final = "PROOF_MUTANT"

SWITCH = f"""//! Which change is switched on, and vectors that are a little off.

use std::sync::LazyLock;

use crate::simd::wide::Wide;

static ON: LazyLock<u32> =
    LazyLock::new(|| std::env::var("{VARIABLE}").map_or(0, |number| number.parse().unwrap_or(0)));

#[inline]
pub(crate) fn on(number: u32) -> bool {{
    *ON == number
}}

/// What is next above each lane: at least this is more than that.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
pub(crate) fn above<W: Wide>(wide: W, x: W::Floats) -> W::Floats {{
    wide.load(&wide.store(x).map(f32::next_up))
}}

/// What is next below each lane: more than this is at least that.
#[allow(clippy::inline_always)] // Part of kernels.
#[inline(always)]
pub(crate) fn below<W: Wide>(wide: W, x: W::Floats) -> W::Floats {{
    wide.load(&wide.store(x).map(f32::next_down))
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
NUDGED: Final = {
    "at_least": "above",
    "or_zero": "above",
    "add_less": "above",
    "greater": "below",
    "least_above": "below",
    "count_greater": "below",
}
"""To which side the last operand of a vector comparison is moved, so that equals fare otherwise."""
OF_VECTORS = re.compile(rf"\bwide\.({'|'.join(NUDGED)})\(")
OPENING, CLOSING = "([{", ")]}"
BEFORE = re.compile(r"(?:&&|\|\||[,;|]|(?<![=<>!])=(?!=)|=>|\b(?:if|while|return|in)\b)\s*$")
"""What ends an operand, read from it to the left; so does a bracket that was not closed."""
AFTER = re.compile(r"\s*(?:&&|\|\||[,;|{]|=>)")
FUNCTION = re.compile(r"\bfn (\w+)")
HEADER = re.compile(
    r"^(?:pub(?:\([^)]*\))? )?const \w+:|^\s*(?:pub(?:\([^)]*\))? )?(?:const )?fn ", re.MULTILINE
)
"""Where a constant or a function begins. A constant within a function is one line."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of the source.

    Attributes:
        number: what switches it on.
        file: the file, in the crate's sources.
        line: its line there.
        name: the file, the function and what becomes what; of several alike, which one.
        constant: whether it is one of those that ``proof_constants`` lists.
    """

    number: int
    file: str
    line: int
    name: str
    constant: bool


@dataclass(frozen=True, slots=True)
class Alternative:
    """What a part of a source may become: its text, and the words for the change."""

    text: str
    words: str
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Spot:
    """A part of a source, and what it may become.

    Attributes:
        start: where it begins.
        end: where it ends.
        others: what it may become.
    """

    start: int
    end: int
    others: tuple["Alternative", ...]

    def holds(self, other: "Spot") -> bool:
        """Whether another lies inside this one."""
        return self.start <= other.start and other.end <= self.end

    def with_inner(self, inner: "Spot", code: str) -> "Spot":
        """Give this place, which may become what a place inside it does as well."""
        before, after = code[self.start : inner.start], code[inner.end : self.end]
        added = (replace(other, text=f"{before}{other.text}{after}") for other in inner.others)
        return replace(self, others=(*self.others, *added))


def words_of(old: str, new: str) -> str:
    """Say what becomes what, on one line."""
    return f"{' '.join(old.split())} -> {' '.join(new.split())}"


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


def constants_of(file: str, code: str) -> list[Spot]:
    """Give the places of a file's proof constants; ``ValueError`` where one is not there once."""
    places = []
    for old, *news in CONSTANTS.get(file, ()):
        if code.count(old) != 1:
            raise ValueError(f"{file} holds {old!r} {code.count(old)} times")
        start = code.index(old)
        others = tuple(Alternative(new, words_of(old, new), constant=True) for new in news)
        places.append(Spot(start, start + len(old), others))
    return places


def compiled_away(code: str, at: int) -> bool:
    """Whether the compiler computes what stands there: it cannot ask which change is on."""
    headers = [found[0] for found in HEADER.finditer(code, 0, at)]
    line = code[code.rfind("\n", 0, at) : at]
    return any("const " in text for text in (*headers[-1:], line))


def comparisons_of(code: str) -> list[Spot]:
    """Give the places of a file's comparisons of scalars."""
    places = []
    for found in COMPARISON.finditer(code):
        start, end = operand_before(code, found.start()), operand_after(code, found.end())
        if compiled_away(code, start):
            continue
        left, right = code[start : found.start()], code[found.end() : end].rstrip()
        # After a type, `<` would begin its arguments.
        shown = f"({left})" if re.search(r"\bas \w+$", left) else left
        end = found.end() + len(right)
        news = [f"{shown} {other} {right}" for other in OTHERS[found[1]]]
        others = tuple(Alternative(new, words_of(code[start:end], new)) for new in news)
        places.append(Spot(start, end, others))
    return places


def vector_comparisons_of(code: str) -> list[Spot]:
    """Give the places of the last operand of a file's comparisons of vectors."""
    places = []
    for found in OF_VECTORS.finditer(code):
        start = found.end()
        while code[end := operand_after(code, start)] == ",":
            start = end + 1
        start += len(code[start:end]) - len(code[start:end].lstrip())
        side = NUDGED[found[1]]
        new = f"crate::proof_mutant::{side}(wide, {code[start:end]})"
        words = words_of(code[found.start() : end + 1], f"{side} {code[start:end]}")
        places.append(Spot(start, end, (Alternative(new, words),)))
    return places


class Rewriter:
    """Numbers the changes, and writes them into sources."""

    def __init__(self) -> None:
        self.changes: list[Mutant] = []
        self._alike: Counter[str] = Counter()

    def _name(self, file: str, code: str, place: Spot, words: str) -> str:
        functions = FUNCTION.findall(code, 0, place.start)
        name = f"{file} {functions[-1] if functions else ''}: {words}"
        self._alike[name] += 1
        return name if self._alike[name] == 1 else f"{name} ({self._alike[name]})"

    def _choice(self, file: str, code: str, place: Spot) -> str:
        line, written = code.count("\n", 0, place.start) + 1, ""
        for other in place.others:
            number, name = len(self.changes) + 1, self._name(file, code, place, other.words)
            self.changes.append(Mutant(number, file, line, name, other.constant))
            written += f"if crate::proof_mutant::on({number}) {{ {other.text} }} else "
        return f"({written}{{ {code[place.start : place.end]} }})"

    def rewritten(self, file: str, source: str) -> str:
        """Give a file's source with its changes in it."""
        code = code_of(source)
        found = constants_of(file, code) + comparisons_of(code) + vector_comparisons_of(code)
        places: list[Spot] = []
        # The widest first: what lies inside another place is one more thing that this may become.
        for place in sorted(found, key=lambda place: (place.start, -place.end)):
            if places and places[-1].holds(place):
                places[-1] = places[-1].with_inner(place, code)
            elif not places or places[-1].end <= place.start:
                places.append(place)
            else:
                raise ValueError(f"{file}: {code[place.start : place.end]!r} overlaps another")
        parts, end = [], 0
        for place in places:
            parts += [source[end : place.start], self._choice(file, code, place)]
            end = place.end
        return "".join([*parts, source[end:]])


def all_changes(folder: Path = REPOSITORY / SOURCES) -> tuple[list[Mutant], dict[str, str]]:
    """Give every change, and the text of each file with its changes in it.

    ``ValueError`` where the sources do not hold a proof constant that is listed.
    """
    rewriter = Rewriter()
    texts = {}
    for path in sorted(path for name in FOLDERS for path in (folder / name).glob("*.rs")):
        file = path.relative_to(folder).as_posix()
        texts[file] = rewriter.rewritten(file, path.read_text(encoding="utf-8"))
    if unknown := CONSTANTS.keys() - texts.keys():
        raise ValueError(f"There is no {', '.join(sorted(unknown))}")
    return rewriter.changes, texts


def _mirror(source: Path, copy: Path) -> None:
    """Make a folder's copy equal to it; what is equal already keeps its time."""
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    for path in [path for path in copy.rglob("*") if path.is_file()]:
        if path.relative_to(copy) not in wanted:
            path.unlink()
    for name in wanted:
        _write(copy / name, (source / name).read_bytes())


def _write(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_copy(copy: Path) -> tuple[list[Mutant], str]:
    """Write the copy of the workspace; give its changes, and a hash of all that it holds."""
    manifest = tomllib.loads((REPOSITORY / "Cargo.toml").read_text(encoding="utf-8"))
    # Cargo reads every member of the workspace; the two that hold others come below.
    others = set(manifest["workspace"]["members"]) - {"rust_ext", "rust_ext/sampler"}
    for name in ("fixtures", "rust_ext/src", *sorted(others)):
        _mirror(REPOSITORY / name, copy / name)
    for name in (
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "rust_ext/Cargo.toml",
        "rust_ext/build.rs",
    ):
        _write(copy / name, (REPOSITORY / name).read_bytes())
    changes, texts = all_changes()
    crate = REPOSITORY / "rust_ext" / "sampler"
    rewritten = {f"src/{file}": text for file, text in texts.items()}
    rewritten["src/proof_mutant.rs"] = SWITCH
    library = (crate / "src" / "lib.rs").read_text(encoding="utf-8")
    rewritten["src/lib.rs"] = library.replace(
        "mod planted;\n", "mod planted;\nmod proof_mutant;\n", 1
    )
    content = {name: text.encode() for name, text in rewritten.items()}
    for path in sorted(path for path in crate.rglob("*") if path.is_file()):
        content.setdefault(path.relative_to(crate).as_posix(), path.read_bytes())
    there = copy / "rust_ext" / "sampler"
    for path in [path for path in there.rglob("*") if path.is_file()]:
        if path.relative_to(there).as_posix() not in content:
            path.unlink()
    digest = hashlib.sha256()
    for name in sorted(content):
        _write(there / name, content[name])
        digest.update(name.encode() + b"\0" + content[name] + b"\0")
    return changes, digest.hexdigest()[:16]


def clear(copy: Path) -> None:
    """Remove the copy."""
    shutil.rmtree(copy, ignore_errors=True)
