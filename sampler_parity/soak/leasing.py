"""Which numbers are leased next, and what their cases go on from."""

from collections.abc import Iterator

import numpy as np

from sampler_parity.model.verdict import Verdict
from sampler_parity.soak.lease import CloseCall, Lease, LeaseResult
from sampler_parity.soak.measures import MEASURES
from sampler_parity.soak.recipe import Recipe

POOL = 12
"""The closest cases of each measure that others may go on from, no two of them of one root."""


class ClosestCalls:
    """The closest cases so far, by measure."""

    def __init__(self) -> None:
        self._pools: dict[str, list[CloseCall]] = {name: [] for name in MEASURES}

    def add(self, call: CloseCall) -> bool:
        """Take a case in if it is close enough; say whether it is the closest of its measure."""
        pool = self._pools[call.measure]
        pool.append(call)
        pool.sort(key=lambda one: (one.distance, one.number))
        nearest: dict[int, CloseCall] = {}
        for one in pool:
            nearest.setdefault(one.recipe.root, one)
        pool[:] = list(nearest.values())[:POOL]
        return pool[0] is call

    def closest(self) -> dict[str, list[CloseCall]]:
        """Give the closest cases by measure, the closest first."""
        return {name: list(pool) for name, pool in self._pools.items() if pool}

    def parents(self, first: int, seed: int) -> tuple[Recipe, ...]:
        """Choose the parents of the lease that begins at ``first``: one for each measure.

        Every second one is the closest, the others any of the pool.
        """
        rng = np.random.default_rng([seed, 0x1EA5E, first])
        found = []
        for pool in self._pools.values():
            best, chosen = rng.random() < 0.5, int(rng.integers(POOL))  # noqa: PLR2004
            if pool:
                found.append(pool[0 if best else chosen % len(pool)].recipe)
        return tuple(dict.fromkeys(found))


class Leases:
    """Hands out the numbers, lease by lease; each lease is handed out until it has come to its end.

    Attributes:
        closest: the closest cases so far.
        known: the kinds of divergence of which a case was made small.
    """

    def __init__(
        self, size: int, seed: int, most: int | None = None, *, search: bool = True
    ) -> None:
        """Lease ``size`` numbers at a time, until there are ``most`` in all or more."""
        self._size = size
        self._seed = seed
        self._most = most
        self._search = search
        self._done: set[int] = set()
        self._out: set[int] = set()
        self._again: list[int] = []
        self._next = 0
        self.closest = ClosestCalls()
        self.known = set[tuple[str, Verdict]]()

    def finished(self, result: LeaseResult) -> bool:
        """Take in what a lease found; say whether it was still missing."""
        first = result.lease.first
        self._out.discard(first)
        if first in self._done:
            return False
        self._done.add(first)
        for call in result.closest:
            self.closest.add(call)
        for finding in result.findings:
            if finding.small:
                self.known.add((finding.divergence.stage, finding.divergence.verdict))
        return True

    def lost(self, lease: Lease) -> None:
        """Have a lease handed out again, before any other, if it has not come to its end."""
        self._out.discard(lease.first)
        if lease.first not in self._done and lease.first not in self._again:
            self._again.append(lease.first)

    def given_up(self, lease: Lease) -> None:
        """Have a lease not handed out any more."""
        self._out.discard(lease.first)
        self._done.add(lease.first)

    def next(self) -> Lease | None:
        """Hand out a lease; ``None`` where no number is left."""
        first = self._first()
        if first is None:
            return None
        self._out.add(first)
        return Lease(
            first=first,
            count=self._size,
            parents=self.closest.parents(first, self._seed) if self._search else (),
            search=self._search,
            known=tuple(sorted(self.known)),
        )

    def _first(self) -> int | None:
        if self._again:
            return self._again.pop(0)
        for first in self._missing():
            if self._most is not None and first >= self._most:
                return None
            self._next = first + self._size
            return first
        return None

    def _missing(self) -> Iterator[int]:
        first = self._next
        while True:
            if first not in self._done and first not in self._out:
                yield first
            first += self._size
