"""What a command's start must not wait for: the heavy libraries that it does not use."""

import json
import subprocess
import sys

import pytest

TORCH = {"torch"}
DRAWING = {"altair", "vl_convert", "jinja2", "markupsafe", "jsonschema"}
OTHERS = {"scipy", "transformers", "rwkv", "watchfiles", "pandas"}
TERMINAL = {"rich", "typer", "click"}

STARTS = (
    # Each is imported after the ones before it, in one process.
    ("sampler_parity.sandbox.host", TORCH | DRAWING | OTHERS | TERMINAL),
    ("sampler_parity.implementations.rust_ext", TORCH | DRAWING | OTHERS | TERMINAL),
    ("sampler_parity.run.worker", TORCH | DRAWING | OTHERS | TERMINAL),
    ("sampler_parity.run.work", TORCH | DRAWING | OTHERS | TERMINAL),
    ("sampler_parity.run.comparing", TORCH | DRAWING | OTHERS | TERMINAL),
    ("sampler_parity.implementations.python_ref", DRAWING | OTHERS | TERMINAL),
)
COMMANDS = (
    ("sampler_parity.cli", TORCH | DRAWING | OTHERS),
    ("sampler_parity.commands.question", TORCH | DRAWING | OTHERS),
    ("sampler_parity.commands.watch", TORCH | DRAWING | OTHERS),
    ("sampler_parity.commands.explain", TORCH | DRAWING | OTHERS),
    ("sampler_parity.implementations.python_ref", DRAWING | OTHERS),
)

PROGRAM = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    print(json.dumps(sorted(sys.modules)))
"""


def imported(names: list[str]) -> list[set[str]]:
    """List what has been imported after each of ``names``, in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names], capture_output=True, text=True, check=True
    )
    return [set(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.proof
def test_the_processes_of_a_run_import_what_they_use() -> None:
    after = imported([name for name, _ in STARTS])
    found = {name: here & idle for (name, idle), here in zip(STARTS, after, strict=True)}
    assert found == {name: set() for name, _ in STARTS}
    assert "torch" in after[-1], "the test sees what is imported"


@pytest.mark.proof
def test_a_command_imports_what_it_uses() -> None:
    after = imported([name for name, _ in COMMANDS])
    found = {name: here & idle for (name, idle), here in zip(COMMANDS, after, strict=True)}
    assert found == {name: set() for name, _ in COMMANDS}
    assert "torch" in after[-1], "the test sees what is imported"
