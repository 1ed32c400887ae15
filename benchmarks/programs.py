"""Programs that are built and run to their end, and what it means where they are not."""

import os
import subprocess
from pathlib import Path

from sampler_parity.build.installation import REPOSITORY
from sampler_parity.model.errors import CannotJudgeError


def run(
    *command: str, cwd: Path = REPOSITORY, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run a program, with additions to the environment.

    Raises:
        CannotJudgeError: it cannot be run, or says that it failed.
    """
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
        )
    except OSError as error:
        raise CannotJudgeError(f"{command[0]} cannot be run: {error}") from error
    except subprocess.CalledProcessError as error:
        raise CannotJudgeError(f"{' '.join(command)} failed: {error.stderr.strip()}") from error


def build(crate: Path, target: Path, *options: str) -> Path:
    """Build a crate for release, whatever flags the environment holds.

    Args:
        crate: its folder, or its workspace's.
        target: where to.
        options: of ``cargo build``.

    Returns:
        The folder of what is built.

    Raises:
        CannotJudgeError: it cannot be built.
    """
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--target-dir", str(target)]
    # Empty, it is no flags, and before every other place that may hold some.
    run(*command, *options, cwd=crate, CARGO_ENCODED_RUSTFLAGS="")
    return target / "release"
