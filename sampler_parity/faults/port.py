"""The port's mistakes, which can be switched on one at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sampler_parity.build.instrumented import instrumented
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.model.verdict import Verdict


@dataclass(frozen=True, slots=True)
class PortFault:
    """A mistake in the port, as the extension declares it."""

    name: str
    stage: str
    verdict: Verdict


def port_faults() -> tuple[PortFault, ...]:
    """List every mistake that can be switched on."""
    return tuple(
        PortFault(name, stage, Verdict(verdict))
        for name, stage, verdict in instrumented().planted_faults()
    )


@contextmanager
def planted(name: str) -> Iterator[RustExt]:
    """Give the port with one mistake; it is switched off again at the end."""
    extension = instrumented()
    extension.plant_fault(name)
    try:
        yield RustExt(extension, f"rust_ext with {name}")
    finally:
        extension.plant_fault(None)
