"""What the semantic divergences of a run have in common: one known change that explains them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sampler_parity.faults.identify import Match, Search, alike, library
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.run.effort import WHOLE, Effort
from sampler_parity.run.run_file import Explained

BEST = 6
"""How many go on when all of them were tried."""

STILL = 60
"""How many go on after :data:`AT_FIRST` cases."""

AT_FIRST = 4
"""Cases after which most of what is known is seen to be something else."""


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
    if not found:
        return None
    search = Search(library(), about, capability)
    for done, (case, outcome) in enumerate(found):
        if done in {AT_FIRST, effort.explained_by_all}:
            left = BEST if done == effort.explained_by_all else STILL
            search.matches = [match for match in search.best()[:left] if match.agreeing]
        if not search.matches:
            return None
        search.add(*(_first_call(case, outcome) if about.view != "tokens" else (case, outcome)))
        progress(done + 1, len(found))
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


def _first_call(case: Case, outcome: Outcome) -> tuple[Case, Outcome]:
    """Leave the first call, whose stages are shown: they tell more than further tokens do."""
    failure = outcome.failure if outcome.failure is not None and outcome.failure.draw == 0 else None
    return replace(case, draws=1), replace(outcome, tokens=outcome.tokens[:1], failure=failure)


def _simplest(matches: Sequence[Match]) -> Match:
    return min(matches, key=lambda match: (bool(match.known.change), not match.own))
