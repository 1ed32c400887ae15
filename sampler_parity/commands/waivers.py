"""The waivers of the repository in which the gate runs."""

from pathlib import Path

from sampler_parity.waivers import WAIVERS, Waiver, load_waivers


def waivers_here(root: Path, implementation: str) -> tuple[Waiver, ...]:
    """Give the waivers of ``root`` for one implementation; none where there is no file."""
    path = root / WAIVERS
    if not path.exists():
        return ()
    found = load_waivers(path)
    return tuple(waiver for waiver in found if waiver.implementation == implementation)
