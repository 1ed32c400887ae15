"""The house: which room may import which, as ``docs/how-it-works.md`` draws it."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import sampler_parity
from sampler_parity.build.installation import REPOSITORY
from sampler_parity.implementations.registry import BUILT_IN

PACKAGE = Path(sampler_parity.__file__).parent
AT_THE_ROOT = {"__init__", "__main__", "cli", "host", "pytest_plugin"}
"""Files that belong to no room: what users import, and the names that commands have."""
MOST_ROOMS, MOST_FLOORS = 20, 10


def floors() -> list[list[str]]:
    """Read the drawing: a floor a line, the highest first."""
    text = (REPOSITORY / "docs" / "how-it-works.md").read_text()
    drawing = re.search(r"<!-- layers -->\n```\n(.*?)```", text, re.DOTALL)
    assert drawing is not None, "the drawing of the layers is missing"
    return [line.split() for line in drawing[1].splitlines()]


def module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@cache
def sources() -> tuple[tuple[Path, ast.Module], ...]:
    """Parse every module, once for all tests."""
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if "fixtures" not in path.parts]
    return tuple((path, ast.parse(path.read_text(), str(path))) for path in paths)


def imports(tree: ast.Module) -> Iterator[str]:
    """Give every module that is imported, inside functions as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def room(name: str) -> str:
    """Give the room of a module, or the module itself where it is at the root."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def upward(path: Path, tree: ast.Module, height: dict[str, int]) -> list[str]:
    """List the imports that do not lead to a lower floor."""
    here = room(module(path))
    return [
        f"{module(path)} imports {name}"
        for name in imports(tree)
        if name.startswith("sampler_parity.")
        and room(name) in height
        and room(name) != here
        and height[room(name)] >= height[here]
    ]


def test_arrows_point_down() -> None:
    lowest_first = list(reversed(floors()))
    height = {name: floor for floor, names in enumerate(lowest_first) for name in names}
    rooms = {path.parent.name for path, _ in sources() if path.parent != PACKAGE}
    loose = {path.stem for path, _ in sources() if path.parent == PACKAGE}
    assert loose == AT_THE_ROOT
    assert set(height) == rooms | AT_THE_ROOT, "the drawing shows what is there"
    assert len(rooms) <= MOST_ROOMS
    assert sum(not AT_THE_ROOT.issuperset(floor) for floor in lowest_first) < MOST_FLOORS
    found = [arrow for path, tree in sources() for arrow in upward(path, tree, height)]
    assert found == []


def test_an_arrow_that_points_up_is_seen() -> None:
    tree = ast.parse("def late():\n    from sampler_parity.judge.bits import difference\n")
    height = {"model": 0, "judge": 1}
    found = upward(PACKAGE / "model" / "made_up.py", tree, height)
    assert found[0] == "sampler_parity.model.made_up imports sampler_parity.judge.bits"


def test_the_reference_and_the_port_know_nothing_of_the_harness() -> None:
    for path in (REPOSITORY / "python_ref").rglob("*.py"):
        assert not any("sampler_parity" in name for name in imports(ast.parse(path.read_text())))


def test_the_port_is_imported_alone() -> None:
    """Who installs the sampler pays for nothing else: no harness, no reference, no torch."""
    code = (
        "import sys; before = set(sys.modules); import rust_ext; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    assert "rust_ext" in done.stdout.split()
    assert {"sampler_parity", "python_ref", "torch"}.isdisjoint(done.stdout.split())


def test_a_wheel_s_top_level_names_are_those_of_the_readme() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    maturin = project["tool"]["maturin"]
    names = {maturin["module-name"], *maturin["python-packages"]}
    [said] = re.findall(r"It installs three top-level names: (.*?)\.\s", readme, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", said)) == names


def named(tree: ast.Module) -> list[str]:
    """List the implementations that a module names in a comparison or as a default."""
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in BUILT_IN
    ]


THEIR_OWN = {
    "implementations/registry.py": "it is the list of names",
    "implementations/python_ref.py": "its own name",
    "implementations/reference.py": "the one of torch, of the two that it chooses from",
    "implementations/rust_ext.py": "its own name",
    "implementations/specimens.py": "their own names",
    "build/extension.py": "the module that is compiled",
    "build/installation.py": "the folder of its sources",
    "build/instrumented.py": "the cargo package",
    "run/provenance.py": "the module whose build is told",
}


def test_nobody_names_an_implementation() -> None:
    found = {path.relative_to(PACKAGE).as_posix(): named(tree) for path, tree in sources()}
    assert {file: names for file, names in found.items() if names and file not in THEIR_OWN} == {}


def parted(tree: ast.Module) -> list[int]:
    """List the lines that ask of which kind parameters are."""
    kinds = {"SampleLogits", "SimpleBatch", "Parameters"}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "isinstance"
        and any(isinstance(part, ast.Name) and part.id in kinds for part in ast.walk(node.args[1]))
    ]


def test_nobody_asks_which_sampler_it_is() -> None:
    found = {path.relative_to(PACKAGE).as_posix(): parted(tree) for path, tree in sources()}
    assert {file: lines for file, lines in found.items() if lines} == {}


def test_a_question_which_sampler_it_is_is_seen() -> None:
    assert parted(ast.parse("if isinstance(case.parameters, SampleLogits | None): ...")) == [1]
    assert named(ast.parse("verify = name != 'rust_ext'")) == ["rust_ext"]
