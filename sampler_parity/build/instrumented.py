"""The port with mistakes and specimens: an extension of its own, never what users get."""

import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from typing import Any

from sampler_parity.build.installation import REPOSITORY, has_sources
from sampler_parity.model.errors import CannotJudgeError

TARGET = REPOSITORY / "target" / "instrumented"
BUILT = TARGET / "release" / "librust_ext.so"
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
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--package", "rust_ext"]
    command += ["--features", FEATURES, "--target-dir", str(TARGET)]
    # Without it PyO3 looks for an interpreter in PATH, and whoever has another PATH builds again.
    environment = {**os.environ, "PYO3_PYTHON": sys.executable}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
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
    module.share_batches(THREADS)
    return module
