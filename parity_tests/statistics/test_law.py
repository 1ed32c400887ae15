"""The law of a case, and what f32 makes of it."""

import numpy as np
import pytest
import torch

import python_ref
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.goodness import goodness
from sampler_parity.statistics.law import Law, distance, law_of, normalised, subject, tilted


def test_sample_logits() -> None:
    """The reference's own last stage, normalised in f64."""
    logits = np.random.default_rng(1).normal(0, 2, 300).astype(np.float32)
    law = law_of(logits, SampleLogits(0.7, 0.9, 50))
    trace = python_ref.trace_sample_logits(torch.from_numpy(logits)[None], 0.7, 0.9, 50)
    expected = trace.renormalized[0].double()
    assert np.array_equal(law.probabilities, (expected / expected.sum()).numpy())
    assert np.array_equal(law.possible, trace.renormalized[0].numpy() > 0)
    assert np.array_equal(
        law.ranked, np.argsort(-law.probabilities, kind="stable")[: len(law.ranked)]
    )
    assert 0 < law.granularity < 2**-22
    assert law.stray == pytest.approx((300 - len(law.ranked)) * 2**-53)


@pytest.mark.parametrize(
    "probabilities",
    [
        [0.5, np.nan],
        [1.5, -0.5],
        [0.5, 0.5 + 1e-11],
        [0.5, 0.4],
        [np.inf, 0.0],
        [],
    ],
)
def test_no_distribution(probabilities: list[float]) -> None:
    values = np.array(probabilities)
    with pytest.raises(StatisticsError):
        Law(values, np.ones(len(values), np.bool_))


def test_an_impossible_token_has_no_probability() -> None:
    with pytest.raises(StatisticsError, match="possible"):
        Law(np.array([0.5, 0.5]), np.array([True, False]))
    for weights in ([0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]):
        with pytest.raises(StatisticsError):
            normalised(np.array(weights))


@pytest.mark.parametrize(
    ("logits", "parameters"),
    [
        ([0.0, np.nan], SampleLogits()),
        ([0.0, 1.0], SampleLogits(temperature=0.0)),
        ([0.0, 1.0], SampleLogits(top_k=3)),
        ([0.0, np.nan], SimpleBatch()),
        ([0.0, 1.0], SimpleBatch(temp=0.0)),
    ],
)
def test_what_the_reference_refuses_has_no_law(
    logits: list[float], parameters: SampleLogits | SimpleBatch
) -> None:
    with pytest.raises(StatisticsError):
        law_of(np.array(logits, np.float32), parameters)


@pytest.mark.proof
def test_two_noised_logits_counted_out() -> None:
    """Every pair of the reference's 24-bit noises, in f32: within the declared slack."""
    logits = torch.tensor([20.3, 20.1])
    noise = torch.arange(2**24, dtype=torch.float32) * 2**-24
    first, second = (logits[:, None] + noise).contiguous()
    # Both ascend, and the first token wins a tie.
    wins = int(torch.searchsorted(second, first, right=True).sum())
    law = law_of(logits.numpy(), SimpleBatch())
    slack = np.broadcast_to(law.slack, 2)
    off = abs(wins / 2.0**48 - law.probabilities[0])
    assert off <= slack[0]
    assert off > 1e-8, "f32 does show: the slack is not for nothing"
    assert slack.max() < 1e-5


def test_the_reference_draws_by_the_law_of_the_simple_sampler() -> None:
    """torch itself, a row a draw; a temperature off by 3 % is not its law."""
    logits = np.array([0.3, 0.0, -0.2, 0.25, -0.3, -1.5], np.float32)
    rows = torch.from_numpy(np.tile(logits, (200_000, 1)))
    generator = torch.Generator().manual_seed(5)
    tokens = python_ref.sampler_simple_batch(rows, 1.0, 0.7, generator=generator)[:, 0]
    counts = np.bincount(tokens.numpy(), minlength=6)[:5]
    for temp, least, most in ((0.7, 1e-3, 1.0), (0.7 * 1.03, 0.0, 1e-9)):
        law = law_of(logits, SimpleBatch(1.0, temp))
        assert not law.possible[5]
        p = goodness(counts, law.probabilities[:5]).p
        assert least <= p <= most


def test_a_tilt_is_a_temperature() -> None:
    logits = np.random.default_rng(2).normal(0, 1, 40).astype(np.float32)
    one = subject("plain", logits, SampleLogits(1.0, 0.0, 0))
    warmer = law_of(logits, SampleLogits(1.1, 0.0, 0))
    assert distance(one.mistempered(1.1), warmer) < 1e-6
    assert distance(one.mistempered(1.0), one.law) < 1e-12
    assert distance(tilted(one.law, 1.01), one.law) > 1e-4


def test_the_simple_sampler_at_another_temperature() -> None:
    logits = np.array([0.3, 0.0, -0.2], np.float32)
    one = subject("simple", logits, SimpleBatch(1.0, 0.5))
    assert np.array_equal(
        one.mistempered(2.0).probabilities, law_of(logits, SimpleBatch(1.0, 1.0)).probabilities
    )
