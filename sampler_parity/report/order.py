"""A run's divergent cases in the order in which they matter to a user, each of them once."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sampler_parity.cases.families import FAMILIES, YOURS, importance
from sampler_parity.model.verdict import HARMLESS, SEVERITY, Verdict
from sampler_parity.report.words import place
from sampler_parity.run.run_file import FoundDivergence, Run, Shard
from sampler_parity.run.words import at

_RANKS = {family: rank for rank, family in enumerate((YOURS, *FAMILIES))}


@dataclass(frozen=True, slots=True)
class DivergentCase:
    """A case that diverges, with the same verdict at the same stage, at some capabilities.

    Attributes:
        shard: the one whose values are shown: the first that has the case small, or kept its
            stages.
        found: the divergence there.
        capabilities: every capability at which it diverges so.
    """

    shard: Shard
    found: FoundDivergence
    capabilities: tuple[str, ...]

    @property
    def kind(self) -> tuple[str, str, Verdict]:
        """The implementation, the stage and the verdict."""
        divergence = self.found.divergence
        return self.shard.implementation, divergence.stage, divergence.verdict

    @property
    def shown(self) -> bool:
        """Whether the run keeps more of it than words."""
        return self.found.evidence is not None or self.found.shrunken is not None

    @property
    def where(self) -> str:
        """At which capabilities, in words."""
        return at(self.capabilities)


def in_order(run: Run) -> tuple[DivergentCase, ...]:
    """Order what the run keeps: one of each kind before a second one of any.

    Among those, what no correct sampler may have comes first; then what is on real logits, then
    made-up ones, then odd ones; then the gravest. A kind is an implementation, a stage, a verdict
    and how much the logits matter.
    """
    cases = sorted(_merged(run), key=_badness)
    cases = _in_turns(cases, lambda case: (*case.kind, case.found.family))
    return tuple(_in_turns(cases, lambda case: (*case.kind, importance(case.found.family))))


def _merged(run: Run) -> Iterable[DivergentCase]:
    alike: dict[tuple[object, ...], list[tuple[Shard, FoundDivergence]]] = {}
    for shard in run.shards:
        for found in shard.divergences:
            divergence = found.divergence
            key = (shard.implementation, found.case, divergence.stage, divergence.verdict)
            alike.setdefault(key, []).append((shard, found))
    for pairs in alike.values():
        shard, found = min(pairs, key=lambda pair: _evidence(pair[1]))
        yield DivergentCase(shard, found, tuple(shard.capability for shard, _ in pairs))


def _evidence(found: FoundDivergence) -> int:
    return (found.shrunken is None) + (found.evidence is None)


def _badness(case: DivergentCase) -> tuple[object, ...]:
    """What has no size in ulps is larger than all that has."""
    found, divergence = case.found, case.found.divergence
    return (
        divergence.verdict in HARMLESS,
        importance(found.family),
        -SEVERITY[divergence.verdict],
        place(divergence.stage),
        _evidence(found),
        _RANKS.get(found.family, len(_RANKS)),
        divergence.ulps is not None,
        -(divergence.ulps or 0),
        -divergence.differing / max(divergence.total, 1),
        case.shard.implementation,
        case.shard.capability,
        found.case,
    )


def _in_turns(
    cases: Iterable[DivergentCase], kind: Callable[[DivergentCase], tuple[object, ...]]
) -> list[DivergentCase]:
    seen: Counter[tuple[object, ...]] = Counter()
    turns: list[tuple[int, DivergentCase]] = []
    for case in cases:
        turns.append((seen[kind(case)], case))
        seen[kind(case)] += 1
    # Sorting is stable: within a turn the order stays.
    return [case for _, case in sorted(turns, key=lambda turn: turn[0])]
