"""The draws as a stream: each planted dependence is seen by the test that is there for it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from sampler_parity.model.pipeline import Parameters
from sampler_parity.pipelines import SampleLogits
from sampler_parity.statistics import subjects
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import Rule
from sampler_parity.statistics.kinds_of_test import (
    StatisticalTest,
    consecutive_seeds,
    rows,
    successive,
    uniformity,
)
from sampler_parity.statistics.law import law_of
from sampler_parity.statistics.result import Look
from sampler_parity.statistics.sources import Logits, PortSource, Seeds, Source, Tokens, port
from sampler_parity.statistics.tallies import UniformityTally
from sampler_parity.statistics.uniformity import ecdf, half_width, smallest_deviation

RULE = Rule(2e-8)


@dataclass(frozen=True)
class Spoilt:
    """The port with a fault in its stream."""

    sound: PortSource
    spoil_draws: Callable[[PortSource, Logits, Parameters, int, int], Tokens] | None = None
    spoil_batches: Callable[[PortSource, Logits, Parameters, int, int], Tokens] | None = None
    name: str = "spoilt"
    fast: bool = True
    chunk: int = 250_000

    def draws(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        return (self.spoil_draws or PortSource.draws)(self.sound, logits, parameters, seed, n)

    def batches(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        return (self.spoil_batches or PortSource.batches)(self.sound, logits, parameters, seed, n)


@pytest.fixture(scope="module")
def sound() -> PortSource:
    return port()


def look(test: StatisticalTest, source: Source, seed: int = 1) -> Look:
    tally = test.start(0)
    tally.add(source, Seeds.of_run(seed), test.planned.n)
    return tally.look()


def repeats(lag: int, share: float) -> Callable[..., Tokens]:
    """A draw repeats the one ``lag`` before it in a share of the cases."""

    def draws(
        sound: PortSource, logits: Logits, parameters: Parameters, seed: int, n: int
    ) -> Tokens:
        tokens = sound.draws(logits, parameters, seed, n)
        sticky = np.random.default_rng(seed).random(n) < share
        sticky[:lag] = False
        tokens[sticky] = tokens[np.flatnonzero(sticky) - lag]
        return tokens

    return draws


@pytest.mark.parametrize("lag", [1, 2, 5])
def test_successive_draws(sound: PortSource, lag: int) -> None:
    test = successive(subjects.tempered(), lag, 60_000, RULE)
    assert (look(test, sound).p or 0) > RULE.margin
    p = look(test, Spoilt(sound, repeats(lag, 0.04))).p
    assert p is not None
    assert p < RULE.first
    # A dependence at another distance is another test's.
    elsewhere = look(test, Spoilt(sound, repeats(3, 0.04))).p
    assert elsewhere is not None
    assert elsewhere > RULE.margin


def test_the_declared_share_of_repeats_is_caught(sound: PortSource) -> None:
    test = successive(subjects.tempered(), 1, 60_000, RULE)
    share = float(test.planned.catches.split("earlier one ")[1].split("%")[0]) / 100
    for seed in range(5):
        first = look(test, Spoilt(sound, repeats(1, share)), seed).p
        assert first is not None
        assert first <= RULE.margin, "marginal at least: the second look has four times the pairs"


def test_consecutive_seeds(sound: PortSource) -> None:
    test = consecutive_seeds(subjects.tempered(), 10_000, RULE)
    assert (look(test, sound).p or 0) > RULE.margin

    def half_the_seed(
        sound: PortSource, logits: Logits, parameters: Parameters, seed: int, n: int
    ) -> Tokens:
        return sound.draws(logits, parameters, seed // 2 if seed % 10 else seed, n)

    p = look(test, Spoilt(sound, half_the_seed)).p
    assert p is not None
    assert p < RULE.first
    first, second = test.start(0), test.start(1)
    assert (first.pairs.start, second.pairs.start) == (0, 20_000)  # type: ignore[attr-defined]


def test_rows_of_a_batch(sound: PortSource) -> None:
    test = rows((subjects.tempered(), subjects.tempered(1)), 12_000, RULE)
    assert (look(test, sound).p or 0) > RULE.margin

    def one_uniform_for_all(
        sound: PortSource, logits: Logits, parameters: Parameters, seed: int, n: int
    ) -> Tokens:
        columns = [sound.draws(row, parameters, seed, n) for row in logits]
        return np.stack(columns, axis=1)

    def first_rows_logits(
        sound: PortSource, logits: Logits, parameters: Parameters, seed: int, n: int
    ) -> Tokens:
        mixed = logits.copy()
        mixed[1] += np.float32(0.05) * logits[0]
        return sound.batches(mixed, parameters, seed, n)

    for fault in (one_uniform_for_all, first_rows_logits):
        found = look(test, Spoilt(sound, None, fault))
        assert found.outside or (found.p is not None and found.p < RULE.first)


def test_rows_of_the_simple_sampler(sound: PortSource) -> None:
    test = rows((subjects.noisy(), subjects.noisy(1)), 20_000, RULE)
    assert (look(test, sound).p or 0) > RULE.margin

    def noise_of_the_row_before(
        sound: PortSource, logits: Logits, parameters: Parameters, seed: int, n: int
    ) -> Tokens:
        tokens = sound.batches(logits, parameters, seed, n)
        # The two rows' laws differ: some of the copied tokens cannot be drawn where they land.
        tokens[0, 1::20] = tokens[0, 0::20]
        return tokens

    found = look(test, Spoilt(sound, None, noise_of_the_row_before))
    assert found.outside or (found.p is not None and found.p < RULE.first)


def too_even(
    sound: PortSource, logits: Logits, parameters: Parameters, seed: int, n: int
) -> Tokens:
    """Every draw keeps to its own share: no frequency is ever off, too good to be true."""
    assert sound.fast
    law = law_of(logits, parameters)
    rng = np.random.default_rng(seed)
    places = (np.arange(n) + rng.random(n)) / n
    cumulative = np.cumsum(law.probabilities[law.ranked])
    found: Tokens = law.ranked[np.minimum(np.searchsorted(cumulative, places), len(law.ranked) - 1)]
    return found


def too_wild(
    sound: PortSource, logits: Logits, parameters: Parameters, seed: int, n: int
) -> Tokens:
    """Every draw comes twice: the frequencies are right, and vary twice as much."""
    return np.repeat(sound.draws(logits, parameters, seed, n // 2), 2)


@pytest.mark.proof
def test_p_values_of_many_cases(sound: PortSource) -> None:
    test = uniformity(60, 2000, RULE)
    assert (look(test, sound).p or 0) > RULE.margin
    for fault in (too_even, too_wild):
        p = look(test, Spoilt(sound, fault)).p
        assert p is not None
        assert p <= RULE.margin, "marginal at least: the second look has four times the cases"


def test_a_token_outside_is_no_p_value(sound: PortSource) -> None:
    def astray(
        sound: PortSource, logits: Logits, parameters: Parameters, seed: int, n: int
    ) -> Tokens:
        tokens = sound.draws(logits, parameters, seed, n)
        if isinstance(parameters, SampleLogits):
            tokens[0] = logits.argmin()
        return tokens

    for test in (
        uniformity(50, 4000, RULE),
        successive(subjects.tempered(), 1, 10_000, RULE),
    ):
        found = look(test, Spoilt(sound, astray))
        assert found.p is None
        assert found.outside


def test_wrong_shapes_and_tokens_are_errors(sound: PortSource) -> None:
    def short(
        sound: PortSource, logits: Logits, parameters: Parameters, seed: int, n: int
    ) -> Tokens:
        return sound.draws(logits, parameters, seed, n)[1:]

    def too_large(
        sound: PortSource, logits: Logits, parameters: Parameters, seed: int, n: int
    ) -> Tokens:
        return sound.draws(logits, parameters, seed, n) + len(logits)

    for fault in (short, too_large):
        for test in (
            uniformity(3, 4000, RULE),
            successive(subjects.tempered(), 1, 10_000, RULE),
            consecutive_seeds(subjects.tempered(), 5000, RULE),
        ):
            with pytest.raises(StatisticsError):
                look(test, Spoilt(sound, fault))


def test_the_band_holds_everywhere_at_once() -> None:
    rng = np.random.default_rng(0)
    left = sum(
        ecdf(rng.random(200).tolist(), 0.9).largest > half_width(200, 0.1) for _ in range(2000)
    )
    assert left <= 2000 * 0.1 + 4 * np.sqrt(180)
    assert left > 2000 * 0.05
    crowded = ecdf((rng.random(200) ** 1.5).tolist())
    assert crowded.largest > crowded.band
    for bad in ([], [np.nan], [1.5]):
        with pytest.raises(StatisticsError):
            ecdf(bad)


def test_the_smallest_deviation_is_caught() -> None:
    """p-values moved up by it: a part of them at 1."""
    deviation = smallest_deviation(500, RULE)
    rng = np.random.default_rng(4)
    caught = 0
    for _ in range(50):
        tally = UniformityTally([], 1)
        tally.p_values = np.where(rng.random(500) < deviation, 1.0, rng.random(500)).tolist()
        p = tally.look().p
        caught += p is not None and p <= RULE.margin
    assert caught == 50
    assert smallest_deviation(2000, RULE) < deviation
