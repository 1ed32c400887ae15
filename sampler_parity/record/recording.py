"""What every recording says of itself, and why one could not be made."""

import importlib.metadata
import platform

LICENCE = "Apache-2.0"
"""Of every fixture that is recorded here."""

LOGITS_PATH = "smollm2/logits.safetensors"
"""The real logits, relative to the fixtures folder."""

LOGITS_COMMAND = "sampler-parity record logits"


class RecordError(Exception):
    """A recording could not be made here; the message tells what is missing."""


def versions(*packages: str) -> dict[str, str]:
    """Give the versions of everything that shapes a recording, by name."""
    libc = "".join(platform.libc_ver())
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "libc": libc or "unknown",
        **{name: importlib.metadata.version(name) for name in ("numpy", "safetensors", *packages)},
    }
