"""Whether the compiled extension is there, and is the one that belongs to this package."""

import hashlib
import importlib
import importlib.metadata
from functools import cache
from pathlib import Path
from types import ModuleType

from packaging.version import Version

from sampler_parity.build.installation import DISTRIBUTION, REPOSITORY, has_sources, how_to_build
from sampler_parity.model.errors import CannotJudgeError

SOURCES = (
    "Cargo.lock",
    "Cargo.toml",
    "rust_ext/Cargo.toml",
    "rust_ext/build.rs",
    "rust_ext/float-mode/Cargo.toml",
    "rust_ext/float-mode/src",
    "rust_ext/sampler/Cargo.toml",
    "rust_ext/sampler/src",
    "rust_ext/src",
    "rust_ext/tensor-memory/Cargo.toml",
    "rust_ext/tensor-memory/build.rs",
    "rust_ext/tensor-memory/src",
)
"""What the extension's code depends on; ``rust_ext/build.rs`` hashes the same."""

EXTENSION = "rust_ext"
"""The name of the module that is compiled."""


def source_hash(root: Path = REPOSITORY) -> str | None:
    """Hash the Rust sources as the build script does; ``None`` where there is no checkout."""
    if not has_sources(root):
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


@cache
def extension_here() -> ModuleType:
    """Import ``rust_ext`` as :func:`load_extension` does, which looks at its sources once."""
    return load_extension()


def load_extension(root: Path = REPOSITORY) -> ModuleType:
    """Import ``rust_ext``.

    Raises:
        CannotJudgeError: it is not compiled, or not from the sources in ``root``; where those are
            not, it is of another version than this package.
    """
    mend = how_to_build(root)
    try:
        extension = importlib.import_module(EXTENSION)
        build = extension.build_info()
    except (ImportError, AttributeError) as error:
        # A checkout's rust_ext folder imports as an empty namespace package.
        raise CannotJudgeError(f"the extension rust_ext is not compiled here: {mend}") from error
    expected = source_hash(root)
    if expected is not None and build["source_hash"] != expected:
        raise CannotJudgeError(
            "the extension rust_ext is stale: its sources have changed since it was built; " + mend
        )
    if expected is None:
        version = importlib.metadata.version(DISTRIBUTION)
        # Cargo writes a pre-release otherwise than Python does.
        if Version(build["version"]) != Version(version):
            raise CannotJudgeError(
                f"the extension rust_ext is of version {build['version']}, and {DISTRIBUTION} of "
                f"{version}: {mend}"
            )
    if build["profile"] != "release":
        raise CannotJudgeError(f"the extension rust_ext is a {build['profile']} build: {mend}")
    return extension
