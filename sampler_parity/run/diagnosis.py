"""What the semantic divergences of a run have in common: one known change that explains them."""

from collections.abc import Callable, Sequence

from sampler_parity.faults.identify import Match, Search, alike, library
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.run.run_file import Explained

MOST = 300
"""Semantic cases that are kept to be explained."""

LONGEST = 1000
"""Tokens of the longest row of one: what is known is run on each."""

AT_FIRST = 24
"""Cases that everything known is tried on; only the best go on."""

BEST = 6
"""How many go on."""


def explained(
    found: Sequence[tuple[Case, Outcome]],
    about: About,
    capability: str,
    alive: Callable[[], None],
) -> Explained | None:
    """Give what explains at least half of the cases; ``None`` where nothing known does."""
    if not found:
        return None
    search = Search(library(), about, capability)
    for case, outcome in found[:AT_FIRST]:
        search.add(case, outcome)
        alive()
    best = [match for match in search.best()[:BEST] if match.agreeing]
    if not best:
        return None
    search.matches = best
    for case, outcome in found[AT_FIRST:]:
        search.add(case, outcome)
        alive()
    matches = search.best()
    first = _simplest(alike(matches)) if matches[0].cases else matches[0]
    if first.agreeing * 2 < len(found):
        return None
    known = first.known
    return Explained(
        function=known.words,
        change=known.change,
        stage=known.stage,
        cases=first.agreeing,
        looked_at=len(found),
    )


def _simplest(matches: Sequence[Match]) -> Match:
    return min(matches, key=lambda match: (bool(match.known.change), not match.own))
