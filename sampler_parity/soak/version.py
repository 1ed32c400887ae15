"""Which cases a soak's numbers stand for: those of this package, and of these files of it."""

import hashlib
import importlib.metadata
from functools import cache
from pathlib import Path

from sampler_parity.build.installation import DISTRIBUTION

HERE = Path(__file__).parent
MAKING = ("recipe.py", "search.py", "closeness.py", "../cases/draws.py")
"""The files that make cases."""


@cache
def cases_version() -> str:
    """Name the package's version, and what its cases are made by."""
    digest = hashlib.sha256()
    for name in MAKING:
        digest.update((HERE / name).read_bytes())
    return f"{importlib.metadata.version(DISTRIBUTION)}, cases {digest.hexdigest()[:12]}"
