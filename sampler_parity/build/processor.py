"""Which of torch's capabilities the processor has, and how a process is told which to take.

On x86, torch believes ``ATEN_CPU_CAPABILITY``: told of more than the processor has, the first of
its kernels ends the process with an illegal instruction. So whoever starts a process with that
variable asks here first.

The levels of another architecture's torch are nowhere here. A process may have the port stand in
torch's place at one of them, to judge what differs from traces that were recorded there.
"""

import os
import platform

from sampler_parity.build.extension import extension_here
from sampler_parity.model.case import LEVELS

LEVEL = "ATEN_CPU_CAPABILITY"
"""The variable of the environment from which torch takes its dispatch level as it is imported."""

STANDS_AT = "SAMPLER_PARITY_STANDS_AT"
"""The variable of the environment that names the level of another architecture's torch at which the
port stands in torch's place."""

CALLED = {
    "x86": {"no avx": "default"},
    "Arm": {"default": "neon", "sve128": "neon"},
}
"""Levels that torch calls otherwise, by architecture: torch 2.7 has a name of its own on x86."""


def architecture_of(machine: str) -> str:
    """Name the architecture of a machine: the last word is what ``platform.machine()`` gives."""
    return "Arm" if machine.lower().endswith(("aarch64", "arm64")) else "x86"


def architecture_here() -> str:
    """Name this processor's architecture."""
    return architecture_of(platform.machine())


def level_called(name: str, architecture: str = "") -> str:
    """Give the level that torch calls ``name``, on this or another architecture."""
    name = name.lower()
    return CALLED[architecture or architecture_here()].get(name, name)


def levels_here() -> tuple[str, ...]:
    """List the levels of torch on this architecture, lowest first."""
    return LEVELS[architecture_here()]


def elsewhere(capability: str) -> str:
    """Name the architecture whose torch has a capability, where that is not this processor's."""
    owner = next(name for name, levels in LEVELS.items() if capability in levels)
    return "" if owner == architecture_here() else owner


def stands_at() -> str:
    """Name the level at which the port stands in torch's place; empty where torch has its own."""
    return os.environ.get(STANDS_AT, "")


def asked_here() -> str:
    """Name the level that the environment asks torch for; empty where torch would ignore it."""
    levels = levels_here()
    named = dict(zip(("default", *levels[1:]), levels, strict=True))
    return named.get(os.environ.get(LEVEL, "").lower(), "")


def reached(capability: str) -> str:
    """Give ``capability``, or the processor's highest where that is lower or of another kind.

    Raises:
        CannotJudgeError: the extension, which looks at the processor, is missing or stale.
    """
    highest: str = extension_here().processor_capability()
    levels = levels_here()
    if capability not in levels:
        return highest
    return min(capability, highest, key=levels.index)


def environment_at(capability: str) -> dict[str, str]:
    """Give the variables with which a process runs at ``capability``, or as near as it can.

    At a level of another architecture, the port stands there in torch's place.

    Raises:
        CannotJudgeError: see :func:`reached`.
    """
    if elsewhere(capability):
        return {STANDS_AT: capability}
    level = reached(capability)
    return {LEVEL: "default" if level == levels_here()[0] else level}
