"""Faults planted in the draws: every run shows that its tests catch them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import structs
from scipy import stats

from sampler_parity.model.pipeline import Parameters, values_of
from sampler_parity.statistics.alternatives import swapped, swaps, tail, without_tail
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import GROWTH, Rule
from sampler_parity.statistics.goodness import STATISTICS
from sampler_parity.statistics.kinds_of_test import StatisticalTest, frequencies, versus
from sampler_parity.statistics.law import Law, Subject, law_of
from sampler_parity.statistics.power import chance_of
from sampler_parity.statistics.result import Decision
from sampler_parity.statistics.sources import Logits, Source, Tokens

TEMPERATURES = (0.01, 0.02, 0.05)
TAIL = 0.01
PERIOD = 1000
"""Draws after which the planted generator begins again."""
SURE = 1 - 1e-6
"""Power that a control's number of draws is chosen for: a miss would end the run unjudged."""
SIZES = tuple(n * 10**k for k in (4, 5, 6) for n in (2, 3, 4, 6, 8, 12))


@dataclass(frozen=True)
class FaultySource:
    """A source whose draws have a fault.

    Attributes:
        sound: where the draws come from.
        name: the fault, in words.
        spoil: makes draws of (source, logits, parameters, seed, n).
    """

    sound: Source
    name: str
    spoil: Callable[[Source, Logits, Parameters, int, int], Tokens]

    @property
    def fast(self) -> bool:
        """As the source is."""
        return self.sound.fast

    @property
    def chunk(self) -> int:
        """As the source's is."""
        return self.sound.chunk

    def draws(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Draw with the fault."""
        return self.spoil(self.sound, logits, parameters, seed, n)

    def batches(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Draw without it: the controls put frequencies to the test."""
        return self.sound.batches(logits, parameters, seed, n)


@dataclass(frozen=True)
class PlannedControl:
    """A control: what draws, what tests it, what must come out, and how surely."""

    name: str
    source: Source
    test: StatisticalTest
    should: Decision
    power: float


def mistempered(sound: Source, error: float) -> FaultySource:
    """Plant a temperature that is off."""

    def spoil(source: Source, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        return source.draws(logits, _at(parameters, 1 + error), seed, n)

    return FaultySource(sound, f"temperature off by {error:.0%}", spoil)


def _at(parameters: Parameters, factor: float) -> Parameters:
    temperature = values_of(parameters).get("temperature")
    if not isinstance(temperature, float):
        raise StatisticsError("the controls are planted in samplers that have a temperature")
    changed = {"temperature": temperature * factor}
    return structs.replace(parameters, **changed)


def tailless(sound: Source, law: Law, share: float) -> FaultySource:
    """Plant a tail that is never drawn: a token of it gives way to the next that is none."""
    deleted = tail(law, share)

    def spoil(source: Source, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        # Twice as many draws are enough for a tail that has less than a third of the mass.
        tokens = source.draws(logits, parameters, seed, 2 * n)
        kept = tokens[~np.isin(tokens, deleted)]
        if len(kept) < n:
            raise StatisticsError("the tail that was to be deleted is most of the law")
        return kept[:n]

    return FaultySource(sound, f"{share:.0%} of the tail deleted", spoil)


def exchanged(sound: Source, one: int, other: int) -> FaultySource:
    """Plant an exchange of two tokens."""

    def spoil(source: Source, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        tokens = source.draws(logits, parameters, seed, n)
        places = (tokens == one, tokens == other)
        tokens[places[0]], tokens[places[1]] = other, one
        return tokens

    return FaultySource(sound, f"neighbours {one} and {other} swapped", spoil)


def periodic(sound: Source, period: int) -> FaultySource:
    """Plant a generator that begins again after ``period`` draws."""

    def spoil(source: Source, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        # One seed, whatever the chunk: the generator has no more to give.
        once = source.draws(logits, parameters, seed, min(period, n))
        return np.resize(once, n)

    return FaultySource(sound, f"a generator that repeats itself after {period:,} draws", spoil)


def faults(
    subject: Subject, sound: Source, rule: Rule, power: float = SURE
) -> list[PlannedControl]:
    """Plan every planted fault. Raises as :func:`caught` does."""
    law = subject.law
    pairs = swaps(law)
    if not pairs:
        raise StatisticsError(f"{subject.name} has no neighbours to swap")
    one, other = pairs[0]
    altered = [
        (mistempered(sound, error), law_of(subject.logits, _at(subject.parameters, 1 + error)))
        for error in TEMPERATURES
    ]
    altered.append((tailless(sound, law, TAIL), without_tail(law, TAIL)))
    altered.append((exchanged(sound, one, other), swapped(law, one, other)))
    chances: list[tuple[Source, Chance]] = [
        *((source, by_law(subject, spoilt)) for source, spoilt in altered),
        (periodic(sound, PERIOD), by_period),
    ]
    return caught(subject, chances, rule, power)


def caught(
    subject: Subject,
    chances: Sequence[tuple[Source, "Chance"]],
    rule: Rule,
    power: float = SURE,
) -> list[PlannedControl]:
    """Plan to catch each source, with the fewest draws that give its test ``power``.

    Raises:
        StatisticsError: one cannot be caught on this subject.
    """
    tests: dict[int, StatisticalTest] = {}
    found = []
    for source, chance in chances:
        for draws in SIZES:
            if draws not in tests:
                tests[draws] = frequencies(subject, draws, rule)
            reached = chance(tests[draws], draws, rule)
            if reached >= power:
                found.append(PlannedControl(source.name, source, tests[draws], "rejects", reached))
                break
        else:
            raise StatisticsError(f"{SIZES[-1]:,} draws are too few to catch {source.name}")
    return found


Chance = Callable[[StatisticalTest, int, Rule], float]


def by_law(subject: Subject, spoilt: Law) -> Chance:
    """Give the probability that a frequency test rejects draws of another law."""
    stray = min(1.0, round(float(spoilt.probabilities[~subject.law.possible].sum()), 12))

    def chance(test: StatisticalTest, draws: int, rule: Rule) -> float:
        if stray == 1:
            return 1.0
        if test.cells is None:
            raise StatisticsError("the controls are put before frequency tests")
        p, q = test.cells.probabilities, test.cells.masses(spoilt)
        return chance_of(p, q, draws, rule, outside=stray)

    return chance


def by_period(test: StatisticalTest, draws: int, rule: Rule) -> float:
    """Pearson's statistic of m repetitions of the same draws is m times that of one."""
    times = draws / PERIOD

    def beyond(level: float, repeated: float) -> float:
        critical = stats.chi2.isf(level / STATISTICS, test.planned.df)
        return float(stats.chi2.sf(critical / repeated, test.planned.df))

    at_once = beyond(rule.first, times)
    again = beyond(rule.second, GROWTH * times)
    return at_once + (beyond(rule.margin, times) - at_once) * again


def itself(
    subject: Subject,
    small: Subject,
    sound: Source,
    live: Source,
    sizes: tuple[int, int],
    rule: Rule,
) -> list[PlannedControl]:
    """Plan the reference against itself, which must pass.

    Args:
        subject: for the port, which stands for the reference since its bits are the same.
        small: for torch itself.
        sound: the port.
        live: torch.
        sizes: draws of the one and of the other.
        rule: the levels.
    """
    calm = 1 - rule.alpha
    return [
        PlannedControl(
            f"{sound.name} against itself, other seeds",
            sound,
            versus(subject, sizes[0], rule, sound),
            "passes",
            calm,
        ),
        PlannedControl(
            f"{live.name} (live torch) against its law",
            live,
            frequencies(small, sizes[1], rule),
            "passes",
            calm,
        ),
    ]
