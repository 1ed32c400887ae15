"""The crate's files import each other downwards only, and in no circle."""

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from sampler_parity.build.installation import REPOSITORY

SOURCES = REPOSITORY / "rust_ext" / "sampler" / "src"

LAYERS = (
    {"fault"},
    {"planted"},
    {"error"},
    {"logits", "trace", "watch"},
    {"simd"},
    {"torch"},
    {"parameters"},
    {"rows"},
    {"stages"},
    {"draw"},
    {"fast"},
    {"batch"},
    {"internals", "pipeline", "presets", "sample_logits", "simple_batch_sampler", "specimens"},
    {"plain_stages", "planted_calls"},
    {"lib"},
)
"""The crate's rooms, lowest first: a file imports files of its own room, or of lower ones."""

NO_CODE = re.compile(
    r"""
      //[^\n]*                                   # a comment
    | /\*.*?\*/
    | r(?P<hashes>\#*)".*?"(?P=hashes)           # a string
    | "(?:\\.|[^"\\])*"
    | '(?:\\.[^']*|[^'\\])'                      # a character, not a lifetime
    | \bpub\s*\([^)]*\)                          # who may see what follows
    """,
    re.VERBOSE | re.DOTALL,
)
TOKENS = re.compile(
    r"""
      \bmod\s+(?P<declared>\w+)\s*;
    | (?P<open>(?:\bmod\s+(?P<inline>\w+)\s*)?\{)
    | (?P<close>\})
    | \b(?P<path>(?:crate|super|self)\b(?:\s*::\s*\w+)*)(?:\s*::\s*(?P<tree>\{))?
    """,
    re.VERBOSE,
)
LEAF = re.compile(r"\s*(?:(?P<name>\w+|\*)(?:\s+as\s+\w+)?|::|(?P<mark>[,{}]))")

Module = tuple[str, ...]
"""A path from the crate's root."""


def module_of(file: Path) -> Module:
    """Give the module that a file holds: the root is ``()``."""
    *folders, name = file.relative_to(SOURCES).with_suffix("").parts
    return (*folders,) if name in {"lib", "mod"} else (*folders, name)


def leaves(text: str, at: int) -> tuple[list[Module], int]:
    """List the paths of a use tree that begins behind its brace; and where it ends."""
    found: list[Module] = []
    prefix: Module = ()
    mark = None
    while mark != "}":
        match = LEAF.match(text, at)
        assert match is not None, text[at : at + 80]
        at, mark = match.end(), match["mark"]
        if match["name"]:
            prefix += (match["name"],)
        elif mark == "{":
            inner, at = leaves(text, at)
            found += [prefix + path for path in inner]
            prefix = ()
        elif mark is not None:
            found += [prefix] if prefix else []
            prefix = ()
    return found, at


def absolute(path: str, here: list[str]) -> list[str]:
    """Give a path from the crate's root, as code in the module ``here`` means it."""
    first, *rest = re.split(r"\s*::\s*", path)
    here = [] if first == "crate" else here[: len(here) - (first == "super")]
    while rest[:1] == ["super"]:
        del here[-1], rest[0]
    return here + rest


def imports(text: str, module: Module) -> Iterator[Module]:
    """Give the path of whatever a file names, or declares."""
    text = NO_CODE.sub(" ", text)
    inline: list[str | None] = []
    at = 0
    while match := TOKENS.search(text, at):
        at = match.end()
        if match["declared"]:
            yield (*module, match["declared"])
        elif match["open"]:
            inline.append(match["inline"])
        elif match["close"]:
            inline.pop()
        else:
            path = absolute(match["path"], [*module, *filter(None, inline)])
            ends, at = leaves(text, at) if match["tree"] else ([()], at)
            for end in ends:
                yield (*path, *end)
    assert not inline, f"braces of {module}"


def graph(sources: dict[Module, str]) -> dict[str, set[str]]:
    """Give which files each file imports, by their modules' names."""
    arrows: dict[str, set[str]] = {}
    for module, text in sources.items():
        targets = set()
        for path in imports(text, module):
            file = next(path[:n] for n in range(len(path), -1, -1) if path[:n] in sources)
            targets.add(file)
        arrows[name(module)] = {name(target) for target in targets - {module}}
    return arrows


def name(module: Module) -> str:
    """Give a module's name; the root's is that of its file."""
    return "::".join(module) or "lib"


def room_of(module: str) -> str:
    """Give the folder of a file, or the file where it is in none."""
    return module.split("::", maxsplit=1)[0]


def layer(module: str) -> int:
    """Give how high a file's room is."""
    [height] = [height for height, rooms in enumerate(LAYERS) if room_of(module) in rooms]
    return height


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Give a circle of imports, if there is one."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def upward(arrows: dict[str, set[str]]) -> list[tuple[str, str]]:
    """List the imports of files that are in a higher room, or in another one as high."""
    return [
        (file, target)
        for file, targets in sorted(arrows.items())
        for target in sorted(targets)
        if room_of(file) != room_of(target) and layer(target) >= layer(file)
    ]


@pytest.fixture(scope="module")
def sources() -> dict[Module, str]:
    found = {module_of(file): file.read_text(encoding="utf-8") for file in SOURCES.rglob("*.rs")}
    assert len(found) > 40
    return found


@pytest.fixture(scope="module")
def arrows(sources: dict[Module, str]) -> dict[str, set[str]]:
    found = graph(sources)
    assert sum(map(len, found.values())) > 150
    return found


def test_no_files_import_each_other_in_a_circle(arrows: dict[str, set[str]]) -> None:
    assert circle(arrows) == []


def test_no_file_imports_a_higher_one(arrows: dict[str, set[str]]) -> None:
    assert upward(arrows) == []


def test_every_room_has_its_place(arrows: dict[str, set[str]]) -> None:
    assert {room_of(file) for file in arrows} == set().union(*LAYERS)


@pytest.mark.proof
def test_an_import_is_seen_wherever_it_stands(sources: dict[Module, str]) -> None:
    """The wide vectors build on the lanes; torch's sums are no business of theirs."""
    for written in (
        "use crate::torch::sums::row_sum;",
        "use crate::{simd::lanes, torch::{sort::Entry, sums::{self, Sharing as _}}};",
        "fn f() { crate::torch::sums::row_sum(&[]); }",
        "mod tests { use super::super::super::torch::sums; }",
        'const BRACE: &str = "{"; use super::super::torch::sums::*;',
        "macro_rules! m { () => { $crate::torch::sums::row_sum(&[]) } }",
    ):
        text = sources["simd", "lanes"] + written
        arrows = graph(sources | {("simd", "lanes"): text})
        assert ("simd::lanes", "torch::sums") in upward(arrows), written
    for written in (
        "use super::wide::Wide;",
        "use super::{mersenne::N, wide};",
        "use super::arch;",
    ):
        text = sources["simd", "lanes"] + written
        assert circle(graph(sources | {("simd", "lanes"): text})), written
    for harmless in (
        "// use crate::torch::sums::row_sum;",
        'const TEXT: &str = "crate::torch::sums";',
        "mod tests { use super::*; }",
        "/// As [`row_sum`](crate::torch::sums::row_sum).\n",
    ):
        text = sources["simd", "lanes"] + harmless
        assert graph(sources | {("simd", "lanes"): text}) == graph(sources), harmless
