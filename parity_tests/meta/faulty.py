"""The port with one planted fault, as a candidate."""

import os

from sampler_parity.build.instrumented import instrumented
from sampler_parity.implementations.rust_ext import RustExt

FAULT = "PARITY_FAULT"


class Faulty(RustExt):
    """The port as the environment says it is broken."""

    def __init__(self) -> None:
        fault = os.environ[FAULT]
        super().__init__(instrumented(), f"rust_ext with {fault}")
        instrumented().plant_fault(fault)
