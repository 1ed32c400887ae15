"""One word for one thing: what a class or a type is called, nothing else is called."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from parity_tests.test_layers import PACKAGE, sources

APART = "engines"
"""The room that has words of its own, and with it the pages and commands named for calls: a call
there is one of an engine, in a recording."""


def types(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Give the name of every public class and type of a module, and what an alias stands for."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name, ""
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name) and not target.id.isupper():
                    yield target.id, ast.dump(node.value)


def ambiguous(modules: Iterable[tuple[Path, ast.Module]]) -> dict[str, list[str]]:
    """Name what is defined in several modules, unless all of them say the same of it."""
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for path, tree in modules:
        for name, meaning in types(tree):
            if name[0].isupper():
                found[name].append((path.name, meaning))
    return {
        name: [file for file, _ in places]
        for name, places in found.items()
        if len(places) > 1 and (len({meaning for _, meaning in places}) > 1 or not places[0][1])
    }


def test_a_type_is_defined_once() -> None:
    rooms = [
        (path, tree)
        for path, tree in sources()
        if APART not in path.parts and not path.stem.startswith("calls")
    ]
    assert len(rooms) > 100
    assert ambiguous(rooms) == {}


def test_a_word_for_two_things_is_seen() -> None:
    assert (PACKAGE / APART).is_dir()
    one, other = ast.parse("class Tally: ...\nA = int"), ast.parse("Tally = int\nA = int")
    assert ambiguous([(Path("one"), one), (Path("other"), other)]) == {"Tally": ["one", "other"]}
    assert set(ambiguous([(Path("one"), one), (Path("two"), one)])) == {"Tally"}
