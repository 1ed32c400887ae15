"""Partitions, and their choice by computed power."""

import numpy as np
import pytest

from sampler_parity.statistics.alternatives import (
    Alternative,
    declared,
    swapped,
    swaps,
    tail,
    without_tail,
)
from sampler_parity.statistics.cells import build, choose
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import Rule
from sampler_parity.statistics.goodness import MIN_EXPECTED
from sampler_parity.statistics.law import Law, normalised, tilted
from sampler_parity.statistics.power import draws_needed
from sampler_parity.statistics.subjects import flat, noisy, tempered, tied

RULE = Rule(2e-8)
DRAWS = 200_000


@pytest.fixture
def zipf() -> Law:
    return normalised(1 / np.arange(1, 2001) ** 1.1)


@pytest.mark.parametrize(("head", "bands"), [(0, 2), (4, 8), (32, 16), (1000, 3)])
def test_every_possible_token_is_in_one_cell(zipf: Law, head: int, bands: int) -> None:
    cells = build(zipf, DRAWS, head, bands)
    assert (cells.cell_of >= 0).all()
    assert cells.probabilities.sum() == pytest.approx(1, abs=1e-12)
    assert cells.probabilities.min() * DRAWS >= MIN_EXPECTED
    counts = np.random.default_rng(0).integers(0, 9, 2000)
    assert cells.counts(counts).tolist() == [
        counts[cells.cell_of == cell].sum() for cell in range(len(cells))
    ]
    assert (np.diff(cells.cell_of[zipf.ranked]) >= 0).all()


def test_bands_are_of_about_equal_mass(zipf: Law) -> None:
    bands = build(zipf, 10_000_000, 16, 8).probabilities[16:]
    assert len(bands) in (7, 8)
    assert bands.max() < 1.3 * bands[:-1].min()
    assert build(flat().law, 10**6, 0, 8).probabilities.tolist() == [1 / 8] * 8


def test_too_few_draws_have_no_cells(zipf: Law) -> None:
    with pytest.raises(StatisticsError, match="one cell"):
        build(zipf, MIN_EXPECTED, 4, 4)
    with pytest.raises(StatisticsError, match="one cell"):
        choose(zipf, 10, [], RULE)
    with pytest.raises(StatisticsError, match="one cell"):
        build(normalised(np.array([0.0, 1.0])), DRAWS, 4, 4)


def test_thin_cells_need_more_draws_than_few_bands() -> None:
    """The mistake of others: a cell for each of a thousand tokens."""
    law = normalised(np.exp(-np.arange(1000) / 300))
    colder = tilted(law, 0.99)
    few, thin = build(law, 10**8, 0, 16), build(law, 10**8, 1000, 1)
    assert len(thin) == 1000
    needed = [
        draws_needed(cells.probabilities, cells.masses(colder), RULE) for cells in (few, thin)
    ]
    assert needed[1] > 3 * needed[0]


def test_the_choice_catches_what_it_can() -> None:
    subject = tempered()
    alternatives = declared(subject)
    choice = choose(subject.law, 10**6, alternatives, RULE)
    assert choice.considered[0].caught == max(each.caught for each in choice.considered)
    assert choice.considered[0].caught == sum(
        draws_needed(choice.cells.probabilities, choice.cells.masses(each.law), RULE) <= 10**6
        for each in alternatives
    )
    # Bands alone are blind to a swap inside of one, and are not taken.
    bands = build(subject.law, 10**6, 0, 4)
    one, other = next(
        pair for pair in swaps(subject.law) if len(set(bands.cell_of[list(pair)])) == 1
    )
    swap = swapped(subject.law, one, other)
    assert draws_needed(bands.probabilities, bands.masses(swap), RULE) == np.inf
    chosen = choice.cells
    assert draws_needed(chosen.probabilities, chosen.masses(swap), RULE) < 10**6


def test_the_choice_follows_what_is_declared() -> None:
    law = normalised(np.exp(-np.arange(100) / 20))
    swap = Alternative("swap", swapped(law, 0, 9))
    warmer = Alternative("warmer", tilted(law, 1.01))
    assert len(choose(law, 10**7, [warmer], RULE).cells) < len(
        choose(law, 10**7, [swap], RULE).cells
    )


def test_declared_differences() -> None:
    assert {each.words[:11] for each in declared(flat())} == {"1% of the t", "token 63, t"}
    words = [each.words for each in declared(tempered())]
    assert words[:3] == ["temperature +1%", "temperature -1%", "1% of the tail deleted"]
    assert len(words) == 4 + len(swaps(tempered().law))
    assert all("swapped" in each for each in words[4:])
    assert declared(tied())
    assert declared(noisy())


def test_the_tail() -> None:
    law = normalised(np.array([50.0, 0.4, 30.0, 0.5, 19.1, 0.0]))
    assert set(tail(law, 0.01).tolist()) == {1, 3}
    assert without_tail(law, 0.01).probabilities[[1, 3, 5]].tolist() == [0, 0, 0]
    assert set(tail(law, 1e-6).tolist()) == {1}, "at least one token"
    with pytest.raises(StatisticsError):
        tail(normalised(np.array([1.0, 0.0])), 0.01)
