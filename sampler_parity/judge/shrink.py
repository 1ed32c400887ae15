"""Makes a divergent case small: fewer rows, tokens and calls, simpler logits and parameters."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from msgspec import structs

from sampler_parity.model.case import Case

BUDGET = 400
"""How many cases are tried to shrink one."""

WORK = 1 << 25
"""How many logits the cases that are tried have together: with so many, torch, a candidate and the
judge are busy for a minute. Short rows do not come to it."""

FEW_TOKENS = 24
"""From how many tokens on each logit is made simpler by itself."""


class _SpentError(Exception):
    """The budget is."""


class _Search:
    def __init__(
        self, case: Case, still: Callable[[Case], bool], budget: int, most_work: int
    ) -> None:
        self.case = case
        self.tried = 0
        self._work = 0
        self._still = still
        self._budget = budget
        self._most_work = most_work
        self._seen = {_key(case)}

    def take(self, case: Case) -> bool:
        """Go on from ``case`` if it still diverges alike."""
        # To see that a case was tried before takes its time as well.
        self._work += case.logits.size
        key = _key(case)
        if key in self._seen and self._work <= self._most_work:
            return False
        if self.tried >= self._budget or self._work > self._most_work:
            raise _SpentError
        self._seen.add(key)
        self.tried += 1
        if not self._still(case):
            return False
        self.case = case
        return True

    def first(self, cases: Iterator[Case]) -> bool:
        """Go on from the first of ``cases`` that still diverges alike."""
        return any(self.take(case) for case in cases)


def shrink(
    case: Case, still: Callable[[Case], bool], budget: int = BUDGET, work: int = WORK
) -> tuple[Case, int]:
    """Find a smaller case for which ``still`` holds, and say how many were tried.

    ``still`` is called with cases that may well be refused by a sampler: it says no to those that
    do not diverge at the same stage with the same verdict.
    """
    search = _Search(case, still, budget, work)
    try:
        before = None
        while before is not search.case:
            before = search.case
            _calls(search)
            _rows(search)
            _tokens(search)
            _parameters(search)
            _logits(search)
    except _SpentError:
        pass
    return replace(search.case, id=f"{case.id}/shrunken"), search.tried


def _key(case: Case) -> tuple[object, ...]:
    # By text: NaN is not equal to itself.
    rest = repr(replace(case, logits=np.empty(0, np.float32)))
    return (case.logits.shape, case.logits.tobytes(), rest)


def _calls(search: _Search) -> None:
    for simple in (
        replace(search.case, draws=1),
        replace(search.case, draws=1, advance=0, threads=1, seed=0, state=b""),
    ):
        search.take(simple)
    search.take(replace(search.case, advance=0))
    search.take(replace(search.case, threads=1))
    search.take(replace(search.case, seed=0))
    while search.case.draws > 1 and search.take(replace(search.case, draws=search.case.draws - 1)):
        pass


def _rows(search: _Search) -> None:
    logits = search.case.logits
    if logits.ndim > 1 and len(logits) > 1:
        halves = (logits[: len(logits) // 2], logits[len(logits) // 2 :])
        kept = search.first(replace(search.case, logits=half.copy()) for half in halves)
        if not kept and len(logits) > 2:  # noqa: PLR2004  (halves are single rows of two)
            every = range(len(logits))
            kept = search.first(
                replace(search.case, logits=np.delete(logits, row, axis=0)) for row in every
            )
        if kept:
            _rows(search)


def _tokens(search: _Search) -> None:
    """Keep the most probable few, if that will do; then leave out chunks, ever smaller ones."""
    vocab = search.case.logits.shape[-1]
    # A negative temperature turns the order of the logits round.
    sign = -1 if getattr(search.case.parameters, "temperature", 1.0) < 0 else 1
    order = np.argsort(-sign * np.atleast_2d(search.case.logits)[0], kind="stable")
    count = 1
    while count < vocab // 2:
        if search.take(_only(search.case, np.sort(order[:count]))):
            break
        count *= 2
    chunk = search.case.logits.shape[-1] // 2
    while chunk:
        start = 0
        while start < search.case.logits.shape[-1] > 1:
            left = np.delete(np.arange(search.case.logits.shape[-1]), slice(start, start + chunk))
            if not left.size or not search.take(_only(search.case, left)):
                start += chunk
        chunk //= 2


def _only(case: Case, tokens: np.ndarray[Any, np.dtype[np.int64]]) -> Case:
    """Leave these tokens, and let the parameters fit."""
    logits = np.ascontiguousarray(case.logits[..., tokens])
    changed: dict[str, int | None] = {}
    for name, parameter in case.pipeline.parameters.items():
        value = getattr(case.parameters, name)
        if parameter.of_vocabulary == "count":
            changed[name] = min(value, len(tokens))
        elif parameter.of_vocabulary == "token" and value is not None:
            found = np.flatnonzero(tokens == value)
            changed[name] = int(found[0]) if found.size else None
    return replace(case, logits=logits, parameters=structs.replace(case.parameters, **changed))


def _parameters(search: _Search) -> None:
    for name, parameter in search.case.pipeline.parameters.items():
        now = getattr(search.case.parameters, name)
        for value in (*parameter.simpler, *_rounder(now)):
            if value == now or _set(search, name, value):
                break


def _rounder(value: float | None) -> Iterator[float | int]:
    if isinstance(value, float) and np.isfinite(value):
        yield from (float(f"{value:.{digits}g}") for digits in (1, 2, 3))


def _set(search: _Search, name: str, value: object) -> bool:
    changed: dict[str, Any] = {name: value}
    parameters = structs.replace(search.case.parameters, **changed)
    return search.take(replace(search.case, parameters=parameters))


def _logits(search: _Search) -> None:
    """Round all logits; then, where they are few, each by itself."""
    with np.errstate(all="ignore"):
        for simplify in (
            np.zeros_like,
            lambda x: x - x[np.isfinite(x)].max(initial=0),
            np.round,
            lambda x: np.round(x * 2) / 2,
            lambda x: np.round(x, 1),
            lambda x: np.round(x, 2),
        ):
            values = np.asarray(simplify(search.case.logits), np.float32)
            search.take(replace(search.case, logits=values))
        if search.case.logits.size > FEW_TOKENS:
            return
        for at in np.ndindex(search.case.logits.shape):
            now = search.case.logits[at]
            for value in (np.float32(0), np.round(now), np.round(now, 1), np.round(now, 2)):
                values = search.case.logits.copy()
                values[at] = value
                if value == now or search.take(replace(search.case, logits=values)):
                    break
