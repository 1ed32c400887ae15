"""The statistical gate of a candidate that is held against another reference than the port's two.

The law of every row follows from the reference's own stages. The reference draws too few tokens a
second to carry planted faults: those draw from the laws that they would have.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from msgspec import structs

from sampler_parity.cases.draws import Draft, gaussian
from sampler_parity.cases.fixtures import real_logits
from sampler_parity.cases.for_reference import parameters_for
from sampler_parity.implementations.reference import capability_here, reference_here
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.pipeline import Parameters, computed_by, values_of
from sampler_parity.model.verdict import HARMLESS
from sampler_parity.pipelines import SampleLogits
from sampler_parity.statistics import planning
from sampler_parity.statistics.alternatives import swapped, swaps, without_tail
from sampler_parity.statistics.budget import FAMILY_WISE, Budget
from sampler_parity.statistics.controls import (
    PERIOD,
    Chance,
    PlannedControl,
    by_law,
    by_period,
    caught,
    periodic,
)
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import Rule
from sampler_parity.statistics.gate import Progress, carry_out
from sampler_parity.statistics.kinds_of_test import (
    StatisticalTest,
    consecutive_seeds,
    frequencies,
    rows,
    successive,
)
from sampler_parity.statistics.law import Law, Subject, distance, law_of, subject
from sampler_parity.statistics.result import StatisticsResult
from sampler_parity.statistics.sources import (
    ImplementationSource,
    Logits,
    Source,
    Tokens,
    history_of,
)

SEED = 20_261_129
"""Rows and parameters are the same in every run: what varies are the draws."""

FEWEST, MOST = 8, 400
"""Tokens that a row must leave, so that its frequencies tell something."""

EXACT = 1e-4
"""Total variation by which rounding, or the order of equal ones, may move a row's law."""

REAL = 4096
"""Tokens of a real row that are drawn from."""

TRIES = 60
"""Sets of parameters among which one is looked for that leaves as many."""

APART = 0.02
"""Total variation by which a mistake must move a row's law to be planted in its draws."""

TEMPERATURE = 1.05
"""The planted error of the temperature, as a factor."""

STANDS_IN = (
    "The exact law follows from the reference's own stages. What is planted draws from the law "
    "that it would have; the reference itself draws in the control that names it."
)


@dataclass(frozen=True)
class LawSource:
    """Draws from a law with numpy's generator.

    Attributes:
        name: how reports call it.
        law: the law, whatever is drawn from.
        fast: see :class:`Source`.
        chunk: likewise.
    """

    name: str
    law: Law
    fast: bool = True
    chunk: int = 250_000

    def draws(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Draw ``n`` tokens, whatever the logits and parameters are."""
        del logits, parameters
        sums = np.cumsum(self.law.probabilities)
        uniforms = np.random.default_rng(seed).random(n) * sums[-1]
        found: Tokens = np.searchsorted(sums, uniforms, side="right").astype(np.int64)
        return found

    def batches(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Draw for each row, by the same law."""
        return self.draws(logits[0], parameters, seed, n * len(logits)).reshape(n, -1)


def reference_statistics(
    source: ImplementationSource,
    kind: type[Parameters],
    profile: str,
    seed: int,
    progress: Progress,
    yours: Sequence[Subject] = (),
) -> StatisticsResult:
    """Plan, draw, and judge, with a row of each kind of logits; from ``yours`` as well.

    Parameters that the candidate declines are not drawn with.

    Raises:
        CannotJudgeError: nothing can be planned: no row leaves enough tokens, or a planted fault
            could not be caught.
    """
    source = replace(source, history=history_of(kind.pipeline))
    try:
        planned, controls = _plan(source, kind, profile, yours)
    except StatisticsError as error:
        raise CannotJudgeError(
            f"frequencies of {source.name} against {kind.sampler} could not be planned: {error}"
        ) from error
    return carry_out(source, planned, controls, profile, seed, progress, stands_in=STANDS_IN)


def _plan(
    source: ImplementationSource, kind: type[Parameters], profile: str, yours: Sequence[Subject]
) -> tuple[planning.Plan, list[PlannedControl]]:
    sizes = planning.SLOW[profile]
    chosen = subjects_of(kind, source.declines)
    tempered = chosen[0]
    makers: list[Callable[[Rule], StatisticalTest]] = [
        _on(tempered, sizes.preset),
        *(_on(each, sizes.case) for each in (*chosen[1:], *yours)),
        lambda rule: successive(tempered, 1, sizes.pairs, rule),
        lambda rule: consecutive_seeds(tempered, sizes.seeds, rule),
        lambda rule: rows((tempered, tempered), sizes.rows, rule),
    ]
    budget = Budget(FAMILY_WISE, len(makers) + 1)
    tests = tuple(make(budget.rule) for make in makers)
    planned = planning.Plan(profile, sizes, budget, tests, ())
    return planned, [
        *planted(tempered, kind, budget.rule),
        _itself(tempered, kind, sizes.live, budget.rule),
    ]


def _on(one: Subject, draws: int) -> Callable[[Rule], StatisticalTest]:
    return lambda rule: frequencies(one, draws, rule)


def _itself(one: Subject, kind: type[Parameters], draws: int, rule: Rule) -> PlannedControl:
    history = history_of(kind.pipeline)
    live = ImplementationSource(reference_here(), capability_here(), history=history)
    words = f"{kind.sampler} itself, on torch, against its law"
    return PlannedControl(words, live, frequencies(one, draws, rule), "passes", 1 - rule.alpha)


def subjects_of(
    kind: type[Parameters], declined: Callable[[Logits, Parameters], bool] = lambda *_: False
) -> tuple[Subject, ...]:
    """Give a row of each kind, each with parameters that leave some tokens and drop some.

    Raises:
        StatisticsError: no parameters do.
    """
    rng = np.random.default_rng(SEED)
    real = ((f"real row {row}", logits) for row, logits in enumerate(real_logits()[:, :REAL]))
    return (
        _first(kind, [("normal logits", gaussian(rng, 1, 257, 1.5)[0])], declined),
        _first(kind, [("flatter normal logits", gaussian(rng, 1, 64, 0.5)[0])], declined),
        _first(kind, real, declined),
    )


def _first(
    kind: type[Parameters],
    candidates: Iterable[tuple[str, Logits]],
    declined: Callable[[Logits, Parameters], bool],
) -> Subject:
    for name, logits in candidates:
        found = _with_parameters(name, logits, kind, declined)
        if found is not None:
            return found
    raise StatisticsError(f"no parameters of {kind.sampler} leave {FEWEST} tokens to draw")


def _with_parameters(
    name: str,
    logits: Logits,
    kind: type[Parameters],
    declined: Callable[[Logits, Parameters], bool],
) -> Subject | None:
    logits = logits.copy()
    rng = np.random.default_rng([SEED, len(logits)])
    draft = Draft(logits[None], SampleLogits(0.9, 0.95, 60))
    history = history_of(kind.pipeline)
    best: Subject | None = None
    for _ in range(TRIES):
        parameters = parameters_for(draft, kind, rng)
        if declined(logits, parameters):
            continue
        try:
            one = subject(name, logits, parameters, history)
        except StatisticsError:
            continue
        left = len(one.law.drawable)
        if left < FEWEST or one.law.granularity > EXACT:
            continue
        if left <= MOST and left < len(logits):
            return one
        best = best or one
    return best


def planted(one: Subject, kind: type[Parameters], rule: Rule) -> list[PlannedControl]:
    """Plant what the tests must catch in the draws from one row.

    An error of the temperature, a tail that is never drawn, two tokens exchanged, every mistake of
    a stage that moves the law, and a generator that repeats itself.

    Raises:
        StatisticsError: one of them would not be caught.
    """
    chances: list[tuple[Source, Chance]] = [
        (LawSource(words, law), by_law(one, law)) for words, law in _laws(one, kind)
    ]
    sound = LawSource(kind.sampler, one.law)
    chances.append((periodic(sound, PERIOD), by_period))
    return caught(one, chances, rule)


def _laws(one: Subject, kind: type[Parameters]) -> Iterator[tuple[str, Law]]:
    history = history_of(kind.pipeline)
    temperature = values_of(one.parameters).get("temperature")
    if isinstance(temperature, float):
        changed = {"temperature": temperature * TEMPERATURE}
        law = law_of(one.logits, structs.replace(one.parameters, **changed), history)
        yield f"temperature off by {TEMPERATURE - 1:.0%}", law
    yield "1% of the tail deleted", without_tail(one.law, 0.01)
    for first, second in swaps(one.law)[:1]:
        yield f"neighbours {first} and {second} swapped", swapped(one.law, first, second)
    for stage in kind.pipeline.stages[:-1]:
        for variation in stage.variations:
            if variation.verdict in HARMLESS:
                continue
            pipeline = kind.pipeline.replace(stage.name, reference=variation.reference)
            other = computed_by(kind, replace(pipeline, whole=None))(**values_of(one.parameters))
            try:
                law = law_of(one.logits, other, history)
            except StatisticsError:
                continue
            if distance(law, one.law) > APART:
                yield f"at {stage.name}: {variation.words}", law
