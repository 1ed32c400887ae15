"""What README and docs tell a reader to type works, and what they name exists.

Every listing is run, or its commands are looked up where they are defined: a subcommand and its
options in the command line itself, a target in the Makefile, an option in pytest's own parser.
"""

import ast
import inspect
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.util import find_spec
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer.main
from rich.console import Console
from typer.testing import CliRunner

import python_ref
from parity_tests import test_plug_in
from parity_tests.pipeline_rules import transformers_scores
from parity_tests.programs import RUST_TESTS
from parity_tests.runs import make_run, make_shard
from parity_tests.statistics import test_manual
from sampler_parity.build.installation import REPOSITORY
from sampler_parity.cases.families import FAMILIES
from sampler_parity.cases.fixtures import FIXTURES
from sampler_parity.cases.your_logits import YourLogits
from sampler_parity.cli import app
from sampler_parity.commands.summary import summarise
from sampler_parity.engines.contract import load_contract
from sampler_parity.implementations.registry import ENTRY_POINTS
from sampler_parity.pipelines import SampleLogits
from sampler_parity.run.run_file import read_run
from sampler_parity.run.waivers import load_waivers
from sampler_parity.run.your_cases import opened

PAGES = tuple(
    sorted(
        path.relative_to(REPOSITORY).as_posix()
        for pattern in ("*.md", "docs/*.md", "*/README.md", "rust_ext/*/README.md")
        for path in REPOSITORY.glob(pattern)
        if not path.parent.name.startswith(".")
    )
)
RUST_CRATE = REPOSITORY / "rust_ext" / "sampler"
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
TARGETS = frozenset(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

FENCE = re.compile(
    r"^(?:<!-- (?P<name>\w+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
FILE = re.compile(r"[\w./{},*-]*\w\.(?:py|rs|md|json|toml|yml|safetensors|html|so)")

MADE = ("run.json", "part.json", "soak.json", "calls.json", "index.html", "statistics.json",
        "parity.toml", "evidence/*", "*ID.safetensors", "my_*", "FILE*", "reports/latest/*",
        "*X.safetensors", "pyproject.toml", "*mine.safetensors", "*a.npy",
        "*engine.calls")  # fmt: skip
"""Files that a run makes, or that are the reader's own."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A fenced block of a page.

    Attributes:
        page: relative to the repository.
        name: of the comment above it; empty if it has none.
        language: after the fence.
        text: what is in it.
    """

    page: str
    name: str
    language: str
    text: str


def content(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def listings(page: str) -> list[Listing]:
    return [
        Listing(page, found["name"] or "", found["language"], found["text"])
        for found in FENCE.finditer(content(page))
    ]


ALL = [listing for page in PAGES for listing in listings(page)]


def prose(page: str) -> str:
    return FENCE.sub("", content(page))


def of(language: str) -> list[Listing]:
    return [listing for listing in ALL if listing.language == language]


def commands(text: str) -> Iterator[list[str]]:
    """Split a shell listing into commands, without comments and settings of the environment."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z0-9_]+=.*", words[0]):
            words = words[1:]
        if words:
            yield words


SHELL = [
    pytest.param(words, id=f"{listing.page}: {' '.join(words)}"[:90])
    for listing in of("sh")
    for words in commands(listing.text)
]


def test_every_listing_says_its_language() -> None:
    assert len(ALL) > 20
    assert {listing.language for listing in ALL} <= {"sh", "python", "rust", "toml", ""}
    for page in PAGES:
        assert content(page).count("```") == 2 * len(listings(page)), page
        assert not re.search(r"\n\n    \S", prose(page)), f"{page}: an unfenced listing"


@pytest.mark.parametrize("words", SHELL)
def test_a_shell_command_is_one(words: list[str], pytestconfig: pytest.Config) -> None:
    program, *arguments = words
    CHECKS[program](arguments, pytestconfig)


def check_sampler_parity(arguments: list[str], _: pytest.Config) -> None:
    """Have the command line parse it, which converts every value and runs nothing."""
    name, *rest = arguments
    assert COMMANDS[name].make_context(name, rest).params is not None


def check_make(arguments: list[str], _: pytest.Config) -> None:
    assert set(arguments) <= TARGETS


def check_pytest(arguments: list[str], config: pytest.Config) -> None:
    for argument in arguments:
        if argument.startswith("--"):
            config.getoption(argument.partition("=")[0])
        else:
            assert (REPOSITORY / argument).exists()


def check_python(arguments: list[str], _: pytest.Config) -> None:
    option, module, *rest = arguments
    assert option == "-m"
    found = find_spec(module)
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin).read_text(encoding="utf-8")
    assert [word for word in rest if word.startswith("--") and f'"{word}"' not in source] == []


def check_cargo(arguments: list[str], _: pytest.Config) -> None:
    if arguments[0] == "test":
        names = [name for option, name in pairwise(arguments) if option == "--test"]
        assert names
        assert all((RUST_CRATE / "tests" / f"{name}.rs").is_file() for name in names)
        return
    example = arguments[arguments.index("--example") + 1]
    folder = RUST_CRATE / "examples"
    assert any((folder / name).is_file() for name in (f"{example}.rs", f"{example}/main.rs"))
    files = arguments[arguments.index("--") + 1 :] if "--" in arguments else []
    for pattern in files:
        assert pattern == "FILE" or list(REPOSITORY.glob(pattern)), pattern


def check_pip(arguments: list[str], _: pytest.Config) -> None:
    assert arguments[0] == "install"
    for extra in re.findall(rf"{PROJECT['name']}\[(\w+)\]", " ".join(arguments)):
        assert extra in PROJECT["optional-dependencies"]


def check_dask(arguments: list[str], _: pytest.Config) -> None:
    """Look whether Dask has the command, and each of its options."""
    name, *rest = arguments
    source = find_spec(f"distributed.cli.dask_{name}")
    assert source is not None
    assert source.origin is not None
    known = Path(source.origin).read_text(encoding="utf-8")
    assert [word for word in rest if word.startswith("--") and f'"{word}"' not in known] == []


def check_c(arguments: list[str], _: pytest.Config) -> None:
    assert (REPOSITORY / arguments[-1]).is_file()


CHECKS: dict[str, Callable[[list[str], pytest.Config], None]] = {
    "sampler-parity": check_sampler_parity,
    "make": check_make,
    "pytest": check_pytest,
    "python": check_python,
    "cargo": check_cargo,
    "dask": check_dask,
    "pip": check_pip,
    "c++": check_c,
    "./reader": check_c,
}


@pytest.mark.parametrize(
    "command",
    [
        "sampler-parity nothing", "sampler-parity run --nothing", "sampler-parity list nothing",
        "make nothing", "pytest --nothing", "pytest nowhere", "python -m benchmarks.nothing",
        "python -m benchmarks.side_by_side --nothing", "cargo run --example nothing", "nothing",
        "cargo run --example replay -- nowhere/*", "cargo test --test nothing",
        "pip install 'sampler-parity[nothing]'",
    ],
)  # fmt: skip
def test_a_command_that_is_none_is_found(command: str, pytestconfig: pytest.Config) -> None:
    [words] = commands(f"A=b {command}  # a comment")
    with pytest.raises((AssertionError, KeyError, ValueError, ImportError, *usage_errors())):
        test_a_shell_command_is_one(words, pytestconfig)


def usage_errors() -> tuple[type[Exception], ...]:
    """Give what the command line raises of a wrong option, wherever typer keeps its parser."""
    try:
        COMMANDS["doctor"].make_context("doctor", ["--nothing"])
    except Exception as error:  # noqa: BLE001  (the class is what is asked for)
        return tuple(one for one in type(error).__mro__ if one.__name__ == "ClickException")
    return ()


@pytest.mark.parametrize("command", ["list cases", "power --temperature 0.01", "doctor"])
def test_a_cheap_command_runs(command: str) -> None:
    assert any(f"sampler-parity {command}" in listing.text for listing in of("sh"))
    found = CliRunner().invoke(app, command.split())
    assert found.exit_code == 0, found.output
    if command == "list cases":
        assert all(family in found.output for family in FAMILIES)


def test_make_lists_its_targets() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    phony = re.search(r"^\.PHONY: (?:.*\\\n)*.*", MAKEFILE, re.MULTILINE)
    assert phony is not None
    assert listed == set(phony[0].replace("\\\n", " ").split()[1:]) <= TARGETS


def test_programs_come_out_of_the_compilation_of_the_rust_tests() -> None:
    assert f"\tcargo test {' '.join(RUST_TESTS)}\n" in MAKEFILE


def test_make_test_leaves_nothing_out() -> None:
    recipe = r"^{}: .*\n\t\$\(MAKE\) --no-print-directory (?:.*\\\n)?(.*)$"
    [words] = re.findall(recipe.format("test"), MAKEFILE, re.MULTILINE)
    assert words.split() == ["--jobs=2", "python-tests", "checked"]
    [words] = re.findall(recipe.format("checked"), MAKEFILE, re.MULTILINE)
    assert words.split() == ["rust-tests", "lint", "types"]
    assert re.search(
        r"^python-tests:.*\n\t\$\(BIN\)/pytest -m 'proof or not proof'$", MAKEFILE, re.MULTILINE
    )


COLLECTED = """
import pytest
for expression in ("", "proof or not proof"):
    asked = ["-n0", "--collect-only", "-q", "parity_tests/statistics", "-m", expression]
    assert pytest.main(asked) == 0
    print("-- collected --", flush=True)
"""


@pytest.mark.proof
def test_a_folder_s_proofs_run_where_they_are_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COLLECTED],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    without, whole, _ = done.stdout.split("-- collected --")
    for collected, asked in ((without, False), (whole, True)):
        assert "test_the_looks_add_up_to_the_level" in collected
        assert ("test_every_listing_runs" in collected) == asked
        assert ("proofs of the harness were left out" in collected) != asked


def test_the_readme_prints_what_the_sample_report_s_run_printed() -> None:
    """``reports/sample`` is such a run: made anew, its words are put into the README."""
    [listing] = [listing for listing in listings("README.md") if listing.name == "printed"]
    printed = StringIO()
    run = read_run(REPOSITORY / "reports" / "sample")
    summarise(run, Console(file=printed, width=100, highlight=False))
    assert [line.rstrip() for line in printed.getvalue().splitlines()] == listing.text.splitlines()


# Python


def executed(statements: list[ast.stmt], names: dict[str, Any]) -> dict[str, Any]:
    exec(compile(ast.Module(statements, []), "listing", "exec"), names)  # noqa: S102  (is our own)
    return names


def run_sampler(text: str) -> None:
    """Run the README's sampler, and go on with torch where it has stopped."""
    names = executed(ast.parse(text).body, {})
    assert names["token"].shape == (1, 1)
    assert names["token"].dtype == np.int64
    torch_s, port = names["torch_generator"], names["generator"]
    logits = torch.from_numpy(names["logits"])
    following = python_ref.sample_logits(logits, 1.0, 0.95, 80, generator=torch_s)
    again = names["rust_ext"].sample_logits(names["logits"], 1.0, 0.95, 80, generator=port)
    assert following.numpy().tolist() == again.tolist()


def run_test(text: str) -> None:
    """Run a test of a run that compared something, and of one that did not."""
    names = executed(ast.parse(text).body, {})
    [test] = [value for name, value in names.items() if name.startswith("test_")]
    test(make_run(make_shard(), status="holds"))
    with pytest.raises(AssertionError):
        test(make_run(make_shard(compared=0), status="holds"))


ELSEWHERE = {
    "callable": "test_a_callable",
    "pyo3": "test_a_binding",
    "torch": "test_a_torch_candidate",
    "command": "test_a_program",
}
"""Listings that ``test_plug_in.py`` runs, by their comment, and its tests."""

REFERENCES = frozenset({"warpers", "own_pipeline"})
"""Listings that ``test_any_reference.py`` runs, by their comment."""

ENGINES = frozenset({"engine", "recorder"})
"""Listings that ``engines/test_calls_command.py`` runs, by their comment."""

DUMP = "dump"
"""The listing of ``docs/your-logits.md``, which a test below runs."""

PIPELINE = "pipeline"
"""The listing of the README that goes on where the sampler's ends."""

RUN = {
    "README.md": run_sampler,
    "docs/report.md": run_test,
}


def test_every_python_listing_has_a_runner() -> None:
    elsewhere = ENGINES | REFERENCES | {PIPELINE, DUMP} | set(ELSEWHERE)
    here = [listing.page for listing in of("python") if listing.name not in elsewhere]
    assert set(here) == {*RUN, test_manual.PAGE}
    assert here.count(test_manual.PAGE) == len(test_manual.LISTINGS)
    named = {listing.name for listing in ALL} & set(ELSEWHERE)
    assert named == set(ELSEWHERE)
    for name, test in ELSEWHERE.items():
        assert f'listing("{name}")' in inspect.getsource(getattr(test_plug_in, test))


@pytest.mark.parametrize("page", RUN)
def test_a_python_listing_runs(page: str) -> None:
    [text] = [
        listing.text for listing in of("python") if (listing.page, listing.name) == (page, "")
    ]
    RUN[page](text)


def test_the_pipelines_listing_draws_what_transformers_draws() -> None:
    [sampler], [pipeline] = (
        [one.text for one in of("python") if (one.page, one.name) == ("README.md", name)]
        for name in ("", PIPELINE)
    )
    names = executed(ast.parse(pipeline).body, executed(ast.parse(sampler).body, {}))
    scores, drawn = torch.from_numpy(names["logits"]), torch.from_numpy(names["history"])
    generator = torch.Generator().manual_seed(42)
    history = drawn[:, :2]
    for _ in range(3):
        processed = transformers_scores(names["pipeline"].steps, history, scores)
        token = torch.multinomial(processed.softmax(-1), 1, generator=generator)
        history = torch.cat([history, token], 1)
    assert torch.equal(history, drawn)


class _Model:
    """A model that gives the same logits, whatever it is fed."""

    def logits(self) -> torch.Tensor:
        return torch.zeros(1, 50, dtype=torch.bfloat16)

    def feed(self, token: int) -> None:
        assert token == 0


def test_the_dump_s_listing_writes_what_a_run_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [text] = [one.text for one in of("python") if one.name == DUMP]
    monkeypatch.chdir(tmp_path)
    executed(ast.parse(text).body, {"model": _Model(), "sample": lambda logits: int(logits[0, 0])})
    [name] = re.findall(r'"(\S+\.safetensors)"', text)
    found = opened(YourLogits(files=(name,)))
    assert len(found) == 100
    assert found[0].parameters == SampleLogits(0.8, 0.9, 40)


def test_a_rust_listing_is_compiled() -> None:
    """As a test of the crate's documentation, or as an example that ``test_plug_in.py`` builds."""
    crate = (REPOSITORY / "rust_ext/sampler/src/lib.rs").read_text(encoding="utf-8")
    assert 'include_str!("../README.md")' in crate
    pages = {(listing.page, listing.name) for listing in of("rust")}
    crates = {(f"rust_ext/{crate}/README.md", "") for crate in ("sampler", "recorder")}
    assert crates < pages
    assert pages - crates == {("docs/plug-in.md", "command"), ("docs/migration.md", "migration")}


@pytest.mark.parametrize("listing", of("toml"), ids=lambda listing: listing.page)
def test_a_toml_listing_is_read(listing: Listing, tmp_path: Path) -> None:
    read = tomllib.loads(listing.text)
    if "waiver" in read:
        path = tmp_path / "parity.toml"
        path.write_text(listing.text, encoding="utf-8")
        assert len(load_waivers(path)) == len(read["waiver"]) > 0
    elif "phase" in read:
        path = tmp_path / "parity.toml"
        path.write_text(listing.text, encoding="utf-8")
        assert len(load_contract(str(path)).phase) == len(read["phase"]) > 0
    elif "project" in read:
        assert set(read["project"]["entry-points"]) == {ENTRY_POINTS}
    else:
        asked = set(read["tool"]["pytest"]["ini_options"])
        assert asked in ({"parity_implementation"}, {"parity_engines", "parity_contract"})


# What prose names


def spans(page: str) -> list[str]:
    return SPAN.findall(prose(page))


TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=REPOSITORY, capture_output=True, text=True, check=True,
).stdout.split()  # fmt: skip


def exists(name: str) -> bool:
    """Whether a file's path ends so; `{a,b}` stands for either, `*` for any."""
    found = re.search(r"\{([^}]*)\}", name)
    if found:
        return all(
            exists(name[: found.start()] + one + name[found.end() :]) for one in found[1].split(",")
        )
    return any(fnmatch(f"/{path}", f"*/{name}") for path in TRACKED)


def test_a_file_that_is_not_there_is_found() -> None:
    assert exists("test_listings.py")
    assert exists("golden/{default,avx2,avx512}.safetensors")
    assert not exists("golden/{default,avx3}.safetensors")
    assert not exists("listings.py")


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_exists(page: str) -> None:
    named = {word for span in spans(page) for word in span.split() if FILE.fullmatch(word)}
    own = {name for name in named if any(fnmatch(name, pattern) for pattern in MADE)}
    assert [name for name in sorted(named - own) if not exists(name)] == []
    folders = {span for span in spans(page) if re.fullmatch(r"[\w./-]+/", span)}
    made = {"closest/", "evidence/", "reports/", "reports/latest/", ".venv/", "target/"}
    missing = [name for name in folders - made if not any(f"/{name}" in f"/{p}" for p in TRACKED)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
            assert anchor in slugs, target


@pytest.mark.parametrize("page", PAGES)
def test_every_command_in_a_sentence_is_one(page: str, pytestconfig: pytest.Config) -> None:
    for span in spans(page):
        program, *arguments = span.split()
        if program == "make" and arguments:
            assert arguments[0].partition("=")[0] in TARGETS | {"PYTHON", "LOCKED"}, span
        elif program == "sampler-parity" and arguments:
            assert arguments[0] in COMMANDS, span
            options = {option for one in COMMANDS[arguments[0]].params for option in one.opts}
            assert {word for word in arguments if word.startswith("--")} <= options, span
        elif program == "pytest":
            check_pytest([word for word in arguments if word.startswith("--")], pytestconfig)


OPTIONS = {option for command in COMMANDS.values() for one in command.params for option in one.opts}


@pytest.mark.parametrize("page", PAGES)
def test_every_option_in_a_sentence_is_one(page: str, pytestconfig: pytest.Config) -> None:
    benchmarks = "".join(
        path.read_text(encoding="utf-8") for path in (REPOSITORY / "benchmarks").glob("*.py")
    )
    for span in spans(page):
        if span.startswith("--"):
            option = re.split(r"[ =]", span)[0]
            if option not in OPTIONS and f'"{option}"' not in benchmarks:
                pytestconfig.getoption(option)


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page: str) -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in (REPOSITORY / "parity_tests").rglob("*.py")
    )
    named = {span for span in spans(page) if re.fullmatch(r"test_\w+", span)}
    assert [name for name in sorted(named) if f"def {name}(" not in source] == []


NUMBER = r"(?:\d[\d,]*|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty)"
GROWING = re.compile(
    rf"\b{NUMBER}(?:-\w+)? (?:[\w-]+ )?"
    r"(?:families|faults|mistakes|specimens|bars|controls|small cases)\b",
    re.IGNORECASE,
)
"""A count of what grows."""


def recorded_cases() -> int:
    return len(list((FIXTURES / "cases").glob("*.safetensors")))


def planted_faults() -> int:
    """Count the controls that a run plants in the draws, and must reject."""
    [counted] = read_run(REPOSITORY / "reports" / "sample").statistics
    return sum(control.should == "rejects" for control in counted.controls)


COUNTED: dict[tuple[str, str], Callable[[], int]] = {
    ("fixtures/README.md", "nine small cases"): recorded_cases,
    ("docs/statistics.md", "six faults"): planted_faults,
}
"""The counts that stand in prose, and what they count."""
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_no_count_of_what_grows_stands_unchecked(page: str) -> None:
    for found in GROWING.findall(" ".join(prose(page).split())):
        assert (page, found.lower()) in COUNTED, f"{page}: {found}"
        assert WORDS[COUNTED[page, found.lower()]()] == found.lower().split()[0]


def test_a_count_is_found() -> None:
    assert GROWING.findall("plants 47 mistakes, of 20 families; Six planted faults, 12 of 34") == [
        "47 mistakes", "20 families", "Six planted faults",
    ]  # fmt: skip


def test_every_action_is_pinned_by_a_commit() -> None:
    """A tag can be moved to other code; its name stands beside the commit for readers."""
    files = [*(REPOSITORY / ".github" / "workflows").glob("*.yml"), REPOSITORY / "action.yml"]
    uses = [
        line.strip()
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(- )?uses: (?!\./)", line)
    ]
    assert len(uses) > 5
    pinned = re.compile(r"(- )?uses: [\w.-]+/[\w.-]+@[0-9a-f]{40}  ?# v\d+\.\d+\.\d+")
    assert [line for line in uses if not pinned.fullmatch(line)] == []


def test_the_recorded_cases_are_as_many_as_the_fixtures_say() -> None:
    cases = json.loads((FIXTURES / "golden" / "cases.json").read_bytes())
    [said] = re.findall(r"`golden/cases\.json` \| (\d+) cases", content("fixtures/README.md"))
    assert int(said) == len(cases)
