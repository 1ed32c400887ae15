"""The extension as users do not get it: with planted faults, and with the specimens."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sampler_parity.extension import REPOSITORY


@pytest.fixture(scope="session")
def faulty_extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = REPOSITORY / "target" / "planted-faults"
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--quiet", "--package", "rust_ext",
         "--features", "planted-faults,specimens", "--target-dir", str(target)],
        cwd=REPOSITORY,
        check=True,
    )  # fmt: skip
    built = tmp_path_factory.mktemp("faulty") / "rust_ext.abi3.so"
    shutil.copy(target / "release" / "librust_ext.so", built)
    return built
