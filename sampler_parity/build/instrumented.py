"""The port with mistakes and specimens: an extension of its own, never what users get."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from typing import Any

from sampler_parity.build.extension import source_hash
from sampler_parity.build.installation import REPOSITORY, has_sources
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import write_atomically

TARGET = REPOSITORY / "target" / "instrumented"
BUILT = TARGET / "release" / "librust_ext.so"
MADE_OF = TARGET / "made-of"
"""Says what cargo last built it of, so that cargo, which takes a second, is not asked again."""

FEATURES = "planted-faults,specimens"
THREADS = 3
"""Threads that share a batch, on a processor with any number of cores: mistakes are planted in the
sharing too."""


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
    sources = source_hash()
    with contextlib.suppress(OSError):
        if MADE_OF.read_text() == _made_of(sources):
            return
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--package", "rust_ext"]
    command += ["--features", FEATURES, "--target-dir", str(TARGET)]
    # Without it PyO3 looks for an interpreter in PATH, and whoever has another PATH builds again.
    environment = {**os.environ, "PYO3_PYTHON": _interpreter()}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotJudgeError(f"the port with mistakes could not be built:\n{done.stderr}")
    if not BUILT.is_file():
        raise CannotJudgeError(f"{BUILT} is missing, although cargo has built it")
    write_atomically(MADE_OF, _made_of(sources).encode())


def _interpreter() -> str:
    """Name the interpreter behind an environment's links, of which `bin` has more than one."""
    return os.path.realpath(sys.executable)


def _made_of(sources: str | None) -> str:
    """Name what was built, its sources, features, interpreter and flags; not the compiler.

    Raises:
        OSError: nothing was built.
    """
    built = BUILT.stat()
    flags = os.environ.get("RUSTFLAGS", "")
    parts = (sources, FEATURES, _interpreter(), flags, built.st_size, built.st_mtime_ns)
    return "\n".join(map(str, parts))


@cache
def instrumented() -> Any:
    """Build and load the port with mistakes and specimens.

    Raises:
        CannotJudgeError: it cannot be built.
    """
    build_instrumented()
    spec = importlib.util.spec_from_file_location("rust_ext.rust_ext", BUILT)
    if spec is None or spec.loader is None:
        raise CannotJudgeError(f"{BUILT} is no extension that Python can load")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.share_batches(THREADS)
    return module
