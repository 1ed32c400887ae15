"""The kinds of test: each planned with its cells, levels and power, and how it is begun."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.statistics import subjects, support
from sampler_parity.statistics.alternatives import declared
from sampler_parity.statistics.cells import Cells, Choice, blurred, build, choose, product
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import GROWTH, Rule
from sampler_parity.statistics.goodness import MIN_EXPECTED
from sampler_parity.statistics.law import Subject
from sampler_parity.statistics.power import (
    POWER,
    chance_of,
    draws_needed,
    noncentrality_needed,
    smallest_distance,
    smallest_temperature,
)
from sampler_parity.statistics.result import Partition, Planned, PowerStatement
from sampler_parity.statistics.sources import Source
from sampler_parity.statistics.tallies import (
    ConsecutiveSeeds,
    FrequencyTally,
    HomogeneityTally,
    Pairs,
    PairTally,
    Rows,
    Successive,
    Tally,
    UniformityTally,
)
from sampler_parity.statistics.uniformity import smallest_deviation

SAMPLERS = (SampleLogits.sampler, SimpleBatch.sampler)
SHOWN_PARTITIONS = 5
MOST_DRAWS = 2**40


@dataclass(frozen=True)
class StatisticalTest:
    """A planned test that can be carried out.

    Attributes:
        planned: the plan.
        start: makes the empty tally of the first look (0) or the second (1).
        draws_a_unit: draws of the candidate for one unit.
        cells: those of a frequency test.
        subject: what a frequency test draws from.
    """

    planned: Planned
    start: Callable[[int], Tally]
    draws_a_unit: int
    cells: Cells | None = None
    subject: Subject | None = None


def frequencies(subject: Subject, draws: int, rule: Rule) -> StatisticalTest:
    """Plan to hold one subject's frequencies against its law."""
    choice = choose(subject.law, draws, declared(subject), rule)
    planned = _frequency_plan(
        f"frequencies: {subject.name}",
        "Do the draws have the exact probabilities of the reference?",
        subject,
        choice,
        draws,
        rule,
        effective=draws,
    )
    cells = choice.cells
    planned = msgspec.structs.replace(
        planned,
        catches=f"{planned.catches} {_support(subject, draws)}".strip(),
        power=tuple(
            _with_support(
                each,
                support.power(subject.law, other, draws),
                support.draws_needed(subject.law, other, POWER, MOST_DRAWS),
            )
            for each, other in zip(planned.power, declared(subject), strict=True)
        ),
        omitted=support.omissible(subject.law, draws)
        + rule.margin * support.omissible(subject.law, GROWTH * draws),
    )
    return StatisticalTest(planned, lambda _look: FrequencyTally(subject, cells), 1, cells, subject)


def _with_support(statement: PowerStatement, power: float, draws: float) -> PowerStatement:
    """Count what the support shows by itself, beside what the cells show."""
    needed = [n for n in (statement.draws, _finite(draws)) if n is not None]
    return msgspec.structs.replace(
        statement,
        power=max(statement.power, power),
        draws=min(needed, default=None),
    )


def _support(subject: Subject, draws: int) -> str:
    """Say what the support shows of tokens that are tied at a cutoff."""
    words = [
        f"More than {tie.room} kept of {len(tie.tokens)} tokens tied at top-p's cutoff: always, "
        "once more different ones are drawn."
        for tie in subject.law.tied
        if tie.room is not None
    ]
    level = subject.tied_at_top_k
    left_out = support.chance_of_none(subject.law, draws)
    if len(level) and (left_out[level] <= support.OMITTED).all():
        words.append(f"One of {len(level)} tokens tied at top-k's threshold not kept: always.")
    return " ".join(words)


def versus(subject: Subject, draws: int, rule: Rule, reference: Source) -> StatisticalTest:
    """Plan to hold one subject's frequencies against those of the reference.

    Two samples of n draws tell as much of a difference as n / 2 draws against a known law.
    """
    choice = choose(subject.law, draws // 2, declared(subject), rule)
    planned = _frequency_plan(
        f"against {reference.name}: {subject.name}",
        f"Are the draws distributed as those of {reference.name} with other seeds?",
        subject,
        choice,
        draws,
        rule,
        effective=draws // 2,
    )
    return StatisticalTest(
        planned, lambda _look: HomogeneityTally(subject, choice.cells, reference), 1
    )


def _frequency_plan(
    name: str,
    question: str,
    subject: Subject,
    choice: Choice,
    draws: int,
    rule: Rule,
    *,
    effective: int,
) -> Planned:
    cells, law = choice.cells, subject.law
    p = cells.probabilities
    smallest = smallest_distance(effective, cells.df, rule)
    temperature = smallest_temperature(subject, cells.cell_of, p, effective, rule)
    statements = []
    for alternative in declared(subject):
        q = cells.masses(alternative.law)
        stray = float(alternative.law.probabilities[~law.possible].sum())
        needed = draws_needed(p, q, rule)
        statements.append(
            PowerStatement(
                difference=alternative.words,
                power=chance_of(p, q, effective, rule, outside=stray),
                draws=_finite(needed * draws / effective),
            )
        )
    words = [f"{smallest:.2%} of the draws moved between cells"]
    if temperature is not None:
        words.insert(0, f"a temperature off by {temperature:.2%}")
    blur = GROWTH * effective * cells.blur(law)
    if blurred(law, cells, effective):
        raise StatisticsError(
            f"{subject.name}: what rounding decides, {law.granularity:.1g} of the mass, might show "
            f"in {GROWTH * draws:,} draws"
        )
    return Planned(
        name=name,
        question=question,
        catches=f"With probability 0.99: {', or '.join(words)}. A token outside the mask: always.",
        case=subject.describe(),
        unit="draws",
        n=draws,
        again=GROWTH * draws,
        draws=draws,
        df=cells.df,
        alpha=rule.alpha,
        first=rule.first,
        margin=rule.margin,
        second=rule.second,
        scheme=cells.scheme,
        cells=cells.words,
        probabilities=tuple(p.tolist()),
        considered=tuple(
            Partition(
                scheme=each.scheme,
                cells=each.cells,
                caught=each.caught,
                draws=_finite(each.draws),
                hardest=each.hardest,
            )
            for each in choice.considered[:SHOWN_PARTITIONS]
        ),
        power=tuple(statements),
        smallest_distance=smallest,
        smallest_temperature=temperature,
        granularity=law.granularity,
        blur=blur,
        stray=law.stray * draws * (1 + rule.margin * GROWTH),
    )


def _finite(draws: float) -> int | None:
    """Round up; fewer than two cells' worth of draws are no test at all."""
    return max(2 * MIN_EXPECTED, int(np.ceil(draws))) if np.isfinite(draws) else None


def successive(subject: Subject, lag: int, n: int, rule: Rule) -> StatisticalTest:
    """Plan to hold draws ``lag`` apart in one stream against independence."""
    return _pairs(
        f"successive draws, {lag} apart",
        f"Are draws of one stream that are {lag} apart independent?",
        (subject, subject),
        n,
        rule,
        lambda _look: Successive(subject, lag),
        repeats="repeats the earlier one",
    )


def consecutive_seeds(subject: Subject, n: int, rule: Rule) -> StatisticalTest:
    """Plan to hold the first draws of the seeds 0, 1, 2, ... against independence and the law."""
    return _pairs(
        f"seeds 0 to {2 * n - 1}",
        "Are the first draws of consecutive seeds independent, and distributed by the law?",
        (subject, subject),
        n,
        rule,
        lambda look: ConsecutiveSeeds(subject, 2 * n if look else 0),
        repeats="repeats that of the seed before",
    )


def rows(pair: tuple[Subject, Subject], n: int, rule: Rule) -> StatisticalTest:
    """Plan to hold the rows of a batch against independence and each row's own law."""
    sampler = pair[0].parameters.sampler
    return _pairs(
        f"rows of a batch: {sampler}",
        "Are the draws of neighbouring rows independent, each by the law of its own row alone?",
        pair,
        n,
        rule,
        lambda _look: Rows(pair),
        repeats="takes the rank of its neighbour's",
    )


def _pairs(
    name: str,
    question: str,
    pair: tuple[Subject, Subject],
    n: int,
    rule: Rule,
    make: Callable[[int], Pairs],
    *,
    repeats: str,
) -> StatisticalTest:
    cells = pair_cells(pair, n)
    p = product(*cells)
    df = len(p) - 1
    smallest = smallest_distance(n, df, rule)
    width = min(len(each) for each in cells)
    # A draw that repeats another one's cell with probability x, and else is as it should be, has
    # noncentrality x^2 (cells - 1) a pair where the cells are of equal mass.
    share = min(1.0, float(np.sqrt(noncentrality_needed(df, rule) / n / max(1, width - 1))))
    planned = Planned(
        name=name,
        question=question,
        catches=f"With probability 0.99: a draw that {repeats} {share:.2%} of the time, or "
        f"{smallest:.2%} of the pairs moved between cells. A token outside the mask: always.",
        case=pair[0].describe(),
        unit="pairs",
        n=n,
        again=GROWTH * n,
        draws=2 * n,
        df=df,
        alpha=rule.alpha,
        first=rule.first,
        margin=rule.margin,
        second=rule.second,
        scheme=f"every pair of {len(cells[0])} and {len(cells[1])} rank bands of about equal mass",
        cells=tuple(f"{one}; {other}" for one in cells[0].words for other in cells[1].words),
        probabilities=tuple(p.tolist()),
        smallest_distance=smallest,
        granularity=pair[0].law.granularity + pair[1].law.granularity,
        stray=2 * n * max(pair[0].law.stray, pair[1].law.stray) * (1 + rule.margin * GROWTH),
    )
    return StatisticalTest(planned, lambda look: PairTally(pair, cells, make(look)), 2)


def pair_cells(pair: tuple[Subject, Subject], n: int) -> tuple[Cells, Cells]:
    """Take as many bands on either side as leave enough expected pairs in each cell.

    Raises:
        StatisticsError: not even two bands do.
    """
    for bands in (12, 10, 8, 7, 6, 5, 4, 3, 2):
        try:
            one, other = (build(each.law, n, 0, bands) for each in pair)
        except StatisticsError:
            continue
        if product(one, other).min() * n >= MIN_EXPECTED:
            return one, other
    raise StatisticsError(f"{n} pairs are too few for two bands on either side")


def uniformity(
    cases: int, draws: int, rule: Rule, samplers: Sequence[str] = SAMPLERS
) -> StatisticalTest:
    """Plan to hold the p-values of many small cases against the uniform distribution."""
    every = small_cases(draws)
    chosen = [each for each in every if each[0].parameters.sampler in samplers]
    deviation = smallest_deviation(cases, rule)
    planned = Planned(
        name="p-values of many cases",
        question="Are the p-values of many cases, each with a fresh seed, uniform?",
        catches=f"With probability 0.99: p-values whose distribution function is "
        f"{deviation:.3f} from uniform somewhere. A token outside the mask: always.",
        case={"cases": f"{len(chosen)} different ones, in turn", "draws": str(draws)},
        unit="cases",
        n=cases,
        again=GROWTH * cases,
        draws=cases * draws,
        df=0,
        alpha=rule.alpha,
        first=rule.first,
        margin=rule.margin,
        second=rule.second,
        scheme="ten bins for the picture; Kolmogorov and Smirnov's statistic takes every p-value",
        cells=tuple(f"p in {tenth / 10:.1f} to {(tenth + 1) / 10:.1f}" for tenth in range(10)),
        probabilities=(0.1,) * 10,
        smallest_distance=deviation,
        granularity=max(subject.law.granularity for subject, _ in chosen),
        stray=cases * draws * sum(subject.law.stray for subject, _ in chosen) / len(chosen),
    )
    return StatisticalTest(planned, lambda _look: UniformityTally(chosen, draws), draws)


FEWEST_IN_A_SMALL_CASE = 200
"""Expected draws in a cell where p-values are taken at their face, not far in the tail."""


def small_cases(draws: int) -> Sequence[tuple[Subject, Cells]]:
    """Take every row of real logits in both presets, and the synthetic ones, with plain cells."""
    found = []
    for subject in (
        *subjects.preset_rows("global"),
        *subjects.preset_rows("semantic"),
        subjects.flat(),
        subjects.tied(),
        subjects.tempered(),
        subjects.noisy(),
        subjects.noisy_forbidden(),
    ):
        try:
            cells = build(subject.law, draws, 4, 8, FEWEST_IN_A_SMALL_CASE)
        except StatisticsError:
            continue
        if not blurred(subject.law, cells, draws):
            found.append((subject, cells))
    return found
