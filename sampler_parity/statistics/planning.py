"""The tests of a run, with their sizes, cells, levels and power, fixed before the first draw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.statistics import subjects
from sampler_parity.statistics.budget import FAMILY_WISE, Budget
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import Rule
from sampler_parity.statistics.kinds_of_test import (
    SAMPLERS,
    StatisticalTest,
    consecutive_seeds,
    frequencies,
    rows,
    successive,
    uniformity,
    versus,
)
from sampler_parity.statistics.law import Subject
from sampler_parity.statistics.sources import Source
from sampler_parity.statistics.support import OMITTED

LAGS = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class DrawCounts:
    """How much is drawn.

    Attributes:
        preset: draws on each TTS preset, of the candidate against the exact law.
        versus: draws on each TTS preset, of the candidate against the reference's draws.
        case: draws on each other case.
        costly: draws on the case whose every draw takes a whole row of noise.
        pairs: pairs of successive draws, at each lag.
        seeds: pairs of consecutive seeds.
        rows: batches of two rows.
        cases: small cases whose p-values must be uniform.
        case_draws: draws of each of those.
        live: draws of torch itself.
    """

    preset: int
    versus: int
    case: int
    costly: int
    pairs: int
    seeds: int
    rows: int
    cases: int
    case_draws: int
    live: int


DRAW_COUNTS = {
    "quick": DrawCounts(
        1_000_000, 300_000, 200_000, 100_000, 100_000, 30_000, 50_000, 300, 4000, 8000
    ),
    "full": DrawCounts(
        4_000_000, 1_000_000, 1_000_000, 400_000, 500_000, 200_000, 200_000, 2000, 4000, 50_000
    ),
}
SLOW = {
    "quick": DrawCounts(30_000, 20_000, 10_000, 8000, 8000, 8000, 8000, 20, 2000, 8000),
    "full": DrawCounts(200_000, 50_000, 100_000, 20_000, 50_000, 20_000, 20_000, 100, 2000, 50_000),
}
"""The same for a candidate of fractions of a millisecond a draw."""


@dataclass(frozen=True)
class Plan:
    """A run's tests, and the budget they share."""

    profile: str
    sizes: DrawCounts
    budget: Budget
    tests: tuple[StatisticalTest, ...]
    not_planned: tuple[str, ...]

    def sentence(self) -> str:
        """Say the budget in words, with what it does not cover."""
        stray = sum(test.planned.stray for test in self.tests)
        omitted = sum(test.planned.omitted for test in self.tests)
        return (
            f"{self.budget.sentence()} Besides, torch itself draws a token outside the mask where "
            f"its uniform is exactly 0, here with probability at most {stray:.0e}; the support "
            "check would say so. A token that is left out, though the draws do so with probability "
            f"{OMITTED:g} at most, rejects as well: all such tokens together with {omitted:.0e}."
        )


def plan(
    profile: str,
    source: Source,
    reference: Source,
    *,
    alpha: float = FAMILY_WISE,
    samplers: Sequence[str] = SAMPLERS,
    passing_controls: int = 2,
    yours: Sequence[Subject] = (),
) -> Plan:
    """Fix the tests of a run, before anything is drawn.

    Args:
        profile: ``quick`` or ``full``.
        source: the candidate; a slow one gets fewer draws.
        reference: whose draws the candidate's are held against.
        alpha: the error budget of the run.
        samplers: those that the candidate has; the tests of others are not planned.
        passing_controls: controls that must pass, which share the budget.
        yours: rows of somebody's own logits, from each of which is drawn as well.

    Raises:
        CannotJudgeError: there is no such profile or sampler, or no sampler at all.
        StatisticsError: the budget is none.
    """
    if profile not in DRAW_COUNTS:
        raise CannotJudgeError(f"profile {profile!r} is none of {', '.join(DRAW_COUNTS)}")
    sizes = (DRAW_COUNTS if source.fast else SLOW)[profile]
    if not samplers or not set(samplers) <= set(SAMPLERS):
        raise CannotJudgeError(f"samplers {list(samplers)} are not some of {', '.join(SAMPLERS)}")
    by_sampler = _makers(sizes, reference, samplers)
    makers = [make for sampler in samplers for make in by_sampler[sampler]]
    not_planned = [
        f"{len(by_sampler[sampler])} tests of {sampler} are waived: {source.name} has no such "
        "sampler"
        for sampler in SAMPLERS
        if sampler not in samplers
    ]
    own = [each for each in yours if each.parameters.sampler in samplers]
    budget = Budget(alpha, len(makers) + len(own) + passing_controls)
    tests = [make(budget.rule) for make in makers]
    for each in own:
        try:
            tests.append(frequencies(each, sizes.case, budget.rule))
        except StatisticsError as error:
            not_planned.append(f"no draws from {each.name}: {error}")
    return Plan(profile, sizes, budget, tuple(tests), tuple(not_planned))


Maker = Callable[[Rule], StatisticalTest]


def _makers(
    sizes: DrawCounts, reference: Source, samplers: Sequence[str]
) -> dict[str, list[Maker]]:
    def on_preset(preset: str) -> Maker:
        return lambda rule: frequencies(
            subjects.preset_row(preset, sizes.preset, rule), sizes.preset, rule
        )

    def on_preset_in_bf16(preset: str) -> Maker:
        return lambda rule: frequencies(subjects.rounded(preset), sizes.case, rule)

    def against_reference(preset: str) -> Maker:
        return lambda rule: versus(
            subjects.preset_row(preset, sizes.versus // 2, rule), sizes.versus, rule, reference
        )

    def on(subject: Callable[[], Subject], draws: int) -> Maker:
        return lambda rule: frequencies(subject(), draws, rule)

    def at_lag(lag: int) -> Maker:
        return lambda rule: successive(subjects.tempered(), lag, sizes.pairs, rule)

    def side_by_side(one: Callable[[int], Subject]) -> Maker:
        return lambda rule: rows((one(0), one(1)), sizes.rows, rule)

    return {
        SampleLogits.sampler: [
            on_preset("global"),
            on_preset("semantic"),
            against_reference("global"),
            against_reference("semantic"),
            on_preset_in_bf16("global"),
            on_preset_in_bf16("semantic"),
            on(subjects.flat, sizes.case),
            on(subjects.tied, sizes.case),
            on(subjects.tempered, sizes.case),
            *(at_lag(lag) for lag in LAGS),
            lambda rule: consecutive_seeds(subjects.tempered(), sizes.seeds, rule),
            side_by_side(subjects.tempered),
            lambda rule: uniformity(sizes.cases, sizes.case_draws, rule, samplers),
        ],
        SimpleBatch.sampler: [
            on(subjects.noisy, sizes.case),
            on(subjects.noisy_forbidden, sizes.case),
            on(subjects.noisy_real, sizes.costly),
            side_by_side(subjects.noisy),
        ],
    }
