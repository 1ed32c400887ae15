"""Every fault of engines, planted in a small engine: what the comparison makes of it."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from sampler_parity.engines.attribution import attribute
from sampler_parity.engines.findings import EQUAL, Attribution, EngineFault
from sampler_parity.engines.recording import Recording
from sampler_parity.engines.small_engine import FAULTS, SmallEngine


def plant(
    folder: Path, names: Iterable[str] = (EQUAL, *FAULTS), generations: int = 2
) -> Iterator[EngineFault]:
    """Record the small engine with each fault, free and forced, and compare it with one without."""
    for name in names:
        fault = FAULTS.get(name)
        base = frozenset() if fault is None else fault.base
        clean, faulty = folder / "clean.calls", folder / "faulty.calls"
        SmallEngine(base).run(clean, generations)
        for forced in (False, True):
            switched = base if fault is None else base | {name}
            SmallEngine(switched).run(faulty, generations, clean if forced else None)
            found = attribute(Recording.open(clean), Recording.open(faulty))
            yield judged(name, found, forced=forced)


def judged(name: str, found: Attribution, *, forced: bool) -> EngineFault:
    """Hold what was found against what the fault has to be."""
    fault = FAULTS.get(name)
    own = [one for one in found.findings if one.kind != "consequence"]
    told = tuple(f"{one.kind}: {one.what} at {one.phase} {one.call}" for one in own)
    if fault is None:
        expected, killed = "", found.status == "holds" and not found.findings
    else:
        at = "" if fault.call is None else f" {fault.call}"
        expected = f"{fault.kind}: {fault.what} at {fault.phase}{at}"
        killed = len(own) == 1 and told[0].startswith(expected) and own[0].generation == 0
    return EngineFault(
        name=name,
        words="nothing is wrong" if fault is None else fault.words,
        forced=forced,
        expected=expected,
        found=told,
        calls=found.compared,
        killed=killed,
    )


ENGINES = 2 * (len(FAULTS) + 1)
"""How many engines there are: with each fault and with none, free and forced."""


def plant_in_engines(step: Callable[[], None] = lambda: None) -> Iterator[EngineFault]:
    """Plant every fault, in a folder that is removed again; ``step`` is called after each."""
    with tempfile.TemporaryDirectory(prefix="sampler-parity-") as folder:
        for one in plant(Path(folder)):
            step()
            yield one
