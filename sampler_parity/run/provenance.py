"""What a run ran on."""

import hashlib
import importlib
import importlib.metadata
import platform
from pathlib import Path

from sampler_parity.build.installation import DISTRIBUTION, NOT_INSTALLED, commit
from sampler_parity.cases.fixtures import FIXTURES
from sampler_parity.cases.manifest import load_manifest

PACKAGES = (DISTRIBUTION, "torch", "numpy", "safetensors", "msgspec")


def provenance() -> dict[str, dict[str, str]]:
    """Collect versions, processor, build, commit and fixture hashes, heading by heading."""
    found = {
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in PACKAGES},
            "C library": " ".join(platform.libc_ver()),
        },
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": _processor(),
        },
        "sources": {"commit": commit()},
        "fixtures": _fixtures(),
    }
    build = importlib.import_module("rust_ext").build_info()
    found["extension"] = {name: str(value) for name, value in build.items()}
    return found


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return NOT_INSTALLED


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} logical cores" if names else "unknown"


def _fixtures() -> dict[str, str]:
    """Hash each file's tensors: the order inside a file is not part of its content."""
    hashes = {}
    for entry in load_manifest(FIXTURES).files:
        content = entry.sha256 or "".join(tensor.sha256 for tensor in entry.tensors)
        hashes[entry.path] = hashlib.sha256(content.encode()).hexdigest()
    return hashes
