"""Whether this installation can judge, and what to do where it cannot."""

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from packaging.version import Version
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sampler_parity.build.extension import load_extension
from sampler_parity.build.installation import has_sources, how_to_install
from sampler_parity.cases.fixtures import check_fixtures
from sampler_parity.implementations.reference import capability_here, torch_is_here
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.pipelines.exact import require_long_doubles
from sampler_parity.run.proved import read_proved, said_of

OLDEST_TORCH = "2.7"
"""Before it, the same seed gave other tokens on some processors: finding F8."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        passed: whether it is as it must be; ``None`` where the gate does without it.
        found: what it is, or what to do, in one sentence.
    """

    name: str
    passed: bool | None
    found: str


def examine() -> tuple[Check, ...]:
    """Look at everything that the gate needs, in the order in which it is needed."""
    return (
        _try("python", _python),
        _try("extension", _extension),
        _try("long double", _long_double),
        _torch(),
        _try("capability", _capability),
        _try("fixtures", _fixtures),
        _cargo(),
        _tool("chromium", BROWSERS, "testing the report", "apt install chromium"),
    )


def doctor(out: Console) -> bool:
    """Print every check; give whether the gate can run."""
    checks = examine()
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column()
    table.add_column(overflow="fold")
    for check in checks:
        mark = {True: "ok", False: "fails", None: "missing"}[check.passed]
        style = {True: None, False: "red", None: "yellow"}[check.passed]
        table.add_row(check.name, mark, escape(check.found), style=style)
    out.print(table)
    failing = [check.name for check in checks if check.passed is False]
    if failing:
        out.print(f"the gate cannot judge here: mend {', '.join(failing)}", style="red")
    else:
        out.print("the gate can judge here")
    return not failing


def _try(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, passed=True, found=look())
    except (CannotJudgeError, ImportError, importlib.metadata.PackageNotFoundError) as error:
        return Check(name, passed=False, found=str(error))


def _python() -> str:
    return f"{sys.version.split()[0]}, {sys.executable}"


def _extension() -> str:
    build = load_extension().build_info()
    origin = "from the sources beside it" if has_sources() else f"version {build['version']}"
    return f"built in {build['profile']}, {origin} ({build['source_hash'][:12]})"


def _long_double() -> str:
    require_long_doubles()
    return f"{np.finfo(np.longdouble).nmant + 1} significant bits, for the oracle"


def _torch() -> Check:
    if not torch_is_here():
        words = (
            "not installed: the port stands in its place, for other people's samplers; "
            f"{how_to_install('torch')}"
        )
        return Check("torch", passed=None, found=words)
    return _try("torch", _version)


def _version() -> str:
    import torch

    version = importlib.metadata.version("torch")
    if Version(version) < Version(OLDEST_TORCH):
        raise CannotJudgeError(f"{version} is too old: pip install 'torch>={OLDEST_TORCH}'")
    threads = f"{torch.get_num_threads()} threads, the gate sets its workers' itself"
    return f"{version}: {said_of(version, read_proved())}; {threads}"


def _capability() -> str:
    return f"{capability_here()}: torch's own choice on this processor"


def _fixtures() -> str:
    check_fixtures()
    return "as their manifest says"


def _cargo() -> Check:
    if not has_sources():
        words = "not needed without a checkout: faults are planted in plain samplers only"
        return Check("cargo", passed=True, found=words)
    found = _tool("cargo", ("cargo",), "planting faults", "install Rust from https://rustup.rs")
    return found if found.passed else replace(found, passed=False)


def _tool(name: str, commands: tuple[str, ...], use: str, advice: str) -> Check:
    path = next((found for command in commands if (found := shutil.which(command))), None)
    if path is None:
        return Check(name, passed=None, found=f"needed for {use}: {advice}")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return Check(name, passed=True, found=version.stdout.strip() or path)
