"""What the semantic divergences of a run have in common: one known change that explains them."""

from collections.abc import Callable, Sequence

from sampler_parity.faults.identify import Match, Search, alike, library
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.run.effort import WHOLE, Effort
from sampler_parity.run.run_file import Explained

BEST = 6
"""How many go on."""


def explained(
    found: Sequence[tuple[Case, Outcome]],
    about: About,
    capability: str,
    progress: Callable[[int, int], None],
    effort: Effort = WHOLE,
) -> Explained | None:
    """Give what explains at least half of the cases; ``None`` where nothing known does.

    ``progress`` is called with how many are done of how many.
    """
    at_first = effort.explained_by_all
    if not found:
        return None
    search = Search(library(), about, capability)
    for done, (case, outcome) in enumerate(found[:at_first], 1):
        search.add(case, outcome)
        progress(done, len(found))
    best = [match for match in search.best()[:BEST] if match.agreeing]
    if not best:
        return None
    search.matches = best
    for done, (case, outcome) in enumerate(found[at_first:], at_first + 1):
        search.add(case, outcome)
        progress(done, len(found))
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
