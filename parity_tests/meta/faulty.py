"""The port with one planted fault, as a candidate."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

from sampler_parity.implementations.rust_ext import RustExt

EXTENSION = "PARITY_FAULTY_EXTENSION"
FAULT = "PARITY_FAULT"


def load(path: Path) -> ModuleType:
    """Load an extension that was built with features of its own."""
    spec = importlib.util.spec_from_file_location("rust_ext.rust_ext", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Faulty(RustExt):
    """The port as the environment says it is broken."""

    def __init__(self) -> None:
        extension = load(Path(os.environ[EXTENSION]))
        super().__init__(extension)
        fault = os.environ.get(FAULT)
        extension.plant_fault(fault)
        self.name = f"rust_ext with {fault}"
