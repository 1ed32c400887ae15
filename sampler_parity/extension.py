"""Whether the compiled extension is there, and built from the sources beside it."""

import hashlib
import importlib
from pathlib import Path
from types import ModuleType

from sampler_parity.errors import CannotJudgeError

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = (
    "Cargo.lock",
    "Cargo.toml",
    "rust_ext/Cargo.toml",
    "rust_ext/build.rs",
    "rust_ext/sampler/Cargo.toml",
    "rust_ext/sampler/src",
    "rust_ext/src",
)
"""What the extension's code depends on; ``rust_ext/build.rs`` hashes the same."""

BUILD = "build it with `make build` (or `pip install -e .`)"


def source_hash(root: Path = REPOSITORY) -> str | None:
    """Hash the Rust sources as the build script does; ``None`` where there is no checkout."""
    if not (root / "rust_ext" / "build.rs").is_file():
        return None
    files: list[Path] = []
    for source in SOURCES:
        path = root / source
        files += [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    digest = hashlib.sha256()
    for name, file in sorted((file.relative_to(root).as_posix(), file) for file in files):
        digest.update(f"{name}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def load_extension(root: Path = REPOSITORY) -> ModuleType:
    """Import ``rust_ext``.

    Raises:
        CannotJudgeError: it is not compiled, or not from the sources in ``root``.
    """
    try:
        extension = importlib.import_module("rust_ext")
        build = extension.build_info()
    except (ImportError, AttributeError) as error:
        # A checkout's rust_ext folder imports as an empty namespace package.
        raise CannotJudgeError(f"the extension rust_ext is not compiled here: {BUILD}") from error
    expected = source_hash(root)
    if expected is not None and build["source_hash"] != expected:
        raise CannotJudgeError(
            "the extension rust_ext is stale: its sources have changed since it was built; " + BUILD
        )
    if build["profile"] != "release":
        raise CannotJudgeError(f"the extension rust_ext is a {build['profile']} build: {BUILD}")
    return extension
