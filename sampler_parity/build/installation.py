"""Where this package is: in a checkout, with its sources, or installed without them."""

import importlib.metadata
import importlib.util
import subprocess
from pathlib import Path

import msgspec

DISTRIBUTION = "sampler-parity"
NOT_INSTALLED = "not installed"
"""What stands for the version of a package that is not."""

REPOSITORY = Path(__file__).resolve().parents[2]
"""The checkout; where the package is installed without one, the folder it is installed in."""


def how_to_install(extra: str) -> str:
    """Give the command that installs an extra of this package."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def is_installed(module: str) -> bool:
    """Whether a module that the package can do without is installed."""
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def has_sources(root: Path = REPOSITORY) -> bool:
    """Whether ``root`` is a checkout, from which the port can be built."""
    return (root / "rust_ext" / "build.rs").is_file()


def how_to_build(root: Path = REPOSITORY) -> str:
    """Say how a missing or broken extension is mended."""
    if has_sources(root):
        return "build it with `make build` (or `pip install -e .`)"
    return f"install {DISTRIBUTION} again (`pip install --force-reinstall`)"


def how_to_restore(root: Path = REPOSITORY) -> str:
    """Say how a missing or damaged fixture is mended."""
    if has_sources(root):
        return "restore it with `git checkout -- fixtures`"
    return how_to_build(root)


def commit(root: Path = REPOSITORY) -> str:
    """Name the commit that this package is of, or say that none is known."""
    if not has_sources(root):
        # Around an installed package there may be another repository: its commit is not ours.
        return _installed_commit() or "not known: installed from a package"

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = " with uncommitted changes" if git("status", "--porcelain") else ""
        return git("rev-parse", "HEAD") + changed
    except (OSError, subprocess.CalledProcessError):
        return "not a git checkout"


class _Vcs(msgspec.Struct):
    commit_id: str


class _DirectUrl(msgspec.Struct):
    vcs_info: _Vcs


def _installed_commit() -> str:
    """Read what pip keeps of an installation from a git URL (PEP 610)."""
    text = importlib.metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    try:
        return msgspec.json.decode(text or "{}", type=_DirectUrl).vcs_info.commit_id
    except msgspec.MsgspecError:
        return ""
