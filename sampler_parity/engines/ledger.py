"""Findings as they come up: the first of each, and how often it comes again."""

from dataclasses import dataclass, field

import msgspec

from sampler_parity.engines.findings import KINDS, Exchange, Finding, Kind, NotCompared, Side

Key = tuple[Kind, str, Side, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in both recordings something is.

    Attributes:
        generation: number of the generation.
        phase: the phase's name.
        call: number of the turn within its phase.
        order: how many turns were looked at before.
    """

    generation: int
    phase: str
    call: int
    order: int


@dataclass(frozen=True, slots=True)
class Departed:
    """One thing that differs at one call; ``key`` tells apart what else would be counted as one."""

    kind: Kind
    what: str
    side: Side
    words: str
    key: str = ""


@dataclass(slots=True)
class Ledger:
    """Everything that was found.

    Attributes:
        found: the first finding of each key, with the number of turns before it.
        reasons: why something could not be told, with how many calls.
    """

    found: dict[Key, tuple[int, Finding]] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, departed: Departed, place: Place, site: str) -> bool:
        """Count what differs at ``place``; gives whether it is the first time."""
        key = (departed.kind, departed.what, departed.side, departed.key)
        if key in self.found:
            order, finding = self.found[key]
            again = msgspec.structs.replace(finding, times=finding.times + 1)
            self.found[key] = (order, again)
            return False
        finding = Finding(
            kind=departed.kind,
            what=departed.what,
            generation=place.generation,
            phase=place.phase,
            call=place.call,
            side=departed.side,
            site=site,
            words=departed.words,
        )
        self.found[key] = (place.order, finding)
        return True

    def explain(self, departed: Departed, exchange: Exchange) -> None:
        """Keep what a finding does alone."""
        key = (departed.kind, departed.what, departed.side, departed.key)
        order, finding = self.found[key]
        self.found[key] = (order, msgspec.structs.replace(finding, alone=exchange))

    def not_told(self, reason: str) -> None:
        """Count a call of which something could not be told."""
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def findings(self, of: int) -> tuple[Finding, ...]:
        """Give the findings, the first call first; of one call, what it is given first."""
        rank = {kind: at for at, kind in enumerate(KINDS)}
        ordered = sorted(self.found.values(), key=lambda entry: (entry[0], rank[entry[1].kind]))
        return tuple(msgspec.structs.replace(finding, of=of) for _, finding in ordered)

    def not_compared(self) -> tuple[NotCompared, ...]:
        """Give the reasons, with their calls."""
        return tuple(NotCompared(calls=calls, reason=why) for why, calls in self.reasons.items())
