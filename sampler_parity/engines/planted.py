"""Every fault of engines, planted in a specimen: what the comparison makes of it."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from sampler_parity.engines.attribution import attribute
from sampler_parity.engines.findings import Attribution
from sampler_parity.engines.recording import Recording
from sampler_parity.engines.specimen import FAULTS, Specimen

EQUAL = "equal"


class PlantedFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault of an engine, and what the comparison made of it.

    Attributes:
        name: the fault, as ``docs/engines.md`` names it; ``equal`` for engines without one.
        words: what the engine does.
        forced: whether the engine went on with the other's tokens.
        expected: what had to be found, where; empty for nothing.
        found: what was: everything but consequences.
        calls: how many calls were compared.
        killed: whether that is what was expected, alone, at its first call.
    """

    name: str
    words: str
    forced: bool
    expected: str
    found: tuple[str, ...]
    calls: int
    killed: bool


def plant(
    folder: Path, names: Iterable[str] = (EQUAL, *FAULTS), generations: int = 2
) -> Iterator[PlantedFault]:
    """Record the specimen with each fault, free and forced, and compare it with one without."""
    for name in names:
        fault = FAULTS.get(name)
        base = frozenset() if fault is None else fault.base
        clean, faulty = folder / "clean.calls", folder / "faulty.calls"
        Specimen(base).run(clean, generations)
        for forced in (False, True):
            switched = base if fault is None else base | {name}
            Specimen(switched).run(faulty, generations, clean if forced else None)
            found = attribute(Recording.open(clean), Recording.open(faulty))
            yield judged(name, found, forced=forced)


def judged(name: str, found: Attribution, *, forced: bool) -> PlantedFault:
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
    return PlantedFault(
        name=name,
        words="nothing is wrong" if fault is None else fault.words,
        forced=forced,
        expected=expected,
        found=told,
        calls=found.compared,
        killed=killed,
    )


def plant_all(progress: Callable[[str, int, int], None] | None = None) -> list[PlantedFault]:
    """Plant every fault, in a folder that is removed again."""
    total = 2 * (len(FAULTS) + 1)
    done: list[PlantedFault] = []
    with tempfile.TemporaryDirectory(prefix="sampler-parity-") as folder:
        for one in plant(Path(folder)):
            done.append(one)
            if progress is not None:
                progress("faults of engines", len(done), total)
    return done
