"""The port with mistakes that can be switched on: an extension of its own, never what users get."""

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from sampler_parity.errors import CannotJudgeError
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.installation import REPOSITORY, has_sources
from sampler_parity.verdict import Verdict

TARGET = REPOSITORY / "target" / "instrumented"
BUILT = TARGET / "release" / "librust_ext.so"
FEATURES = "planted-faults,specimens"


@dataclass(frozen=True, slots=True)
class PortFault:
    """A mistake in the port, as the extension declares it."""

    name: str
    stage: str
    verdict: Verdict


def build_instrumented() -> None:
    """Build the port with mistakes and specimens; nothing happens where that was done before.

    Raises:
        CannotJudgeError: the port's sources or cargo are missing, or cargo fails.
    """
    if not has_sources():
        raise CannotJudgeError(
            "the Rust sources are needed for that: run it from a checkout of sampler-parity"
        )
    if shutil.which("cargo") is None:
        raise CannotJudgeError(
            "cargo is needed to plant mistakes in the port, and is not here: https://rustup.rs"
        )
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--package", "rust_ext"]
    command += ["--features", FEATURES, "--target-dir", str(TARGET)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotJudgeError(f"the port with mistakes could not be built:\n{done.stderr}")


@cache
def instrumented() -> Any:
    """Build and load the port with mistakes and specimens.

    Raises:
        CannotJudgeError: it cannot be built.
    """
    build_instrumented()
    spec = importlib.util.spec_from_file_location("rust_ext.rust_ext", BUILT)
    if spec is None or spec.loader is None or not BUILT.is_file():
        raise CannotJudgeError(f"{BUILT} is missing, although cargo has built it")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def port_faults() -> tuple[PortFault, ...]:
    """List every mistake that can be switched on."""
    return tuple(
        PortFault(name, stage, Verdict(verdict))
        for name, stage, verdict in instrumented().planted_faults()
    )


@contextmanager
def planted(name: str) -> Iterator[RustExt]:
    """Give the port with one mistake; it is switched off again at the end."""
    extension = instrumented()
    extension.plant_fault(name)
    try:
        yield RustExt(extension, f"rust_ext with {name}")
    finally:
        extension.plant_fault(None)
