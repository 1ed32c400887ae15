"""The Rust programs that tests run, out of the compilation that the Rust tests have made."""

import subprocess
from pathlib import Path
from typing import Literal

from sampler_parity.build.installation import REPOSITORY

RUST_TESTS = ("--workspace", "--exclude", "sampler-benches", "--all-features", "--locked")
"""What ``make rust-tests`` selects: of another selection Cargo compiles every crate once more."""


def compiled(kind: Literal["bin", "example"], name: str) -> Path:
    """Compile a program as the Rust tests are: optimised, with overflow checks."""
    subprocess.run(
        ["cargo", "build", "--profile", "test", "--quiet", "--target-dir", "target",
         *RUST_TESTS, f"--{kind}", name],
        cwd=REPOSITORY,
        check=True,
    )  # fmt: skip
    folder = REPOSITORY / "target" / "debug"
    return folder / "examples" / name if kind == "example" else folder / name
