"""Where draws come from: the same tokens whichever way they are asked for."""

from dataclasses import dataclass

import numpy as np
import pytest

from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Failure, Lost, Outcome
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.statistics import subjects
from sampler_parity.statistics.controls import mistempered
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import Rule
from sampler_parity.statistics.kinds_of_test import versus
from sampler_parity.statistics.pilot import pilot
from sampler_parity.statistics.sources import (
    ImplementationSource,
    SamplerFailedError,
    Seeds,
    port,
    torch_reference,
)

LOGITS = np.random.default_rng(1).normal(0, 1, 40).astype(np.float32)
PARAMETERS = (SampleLogits(0.8, 0.9, 20), SimpleBatch(0.7, 1.3), SimpleBatch(1.0, 1.0, 3))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("parameters", PARAMETERS)
def test_all_sources_draw_what_torch_draws(parameters: SampleLogits | SimpleBatch) -> None:
    sources = (torch_reference(), port(), ImplementationSource(RustExt(), capability_here()))
    drawn = [source.draws(LOGITS, parameters, 77, 300) for source in sources]
    assert len(set(drawn[0].tolist())) >= 3
    assert drawn[0].tolist() == drawn[1].tolist() == drawn[2].tolist()
    batch = np.stack([LOGITS, LOGITS[::-1]])
    rows = [source.batches(batch, parameters, 5, 1) for source in sources]
    assert rows[0].shape == (1, 2)
    assert rows[0].tolist() == rows[1].tolist() == rows[2].tolist()


def test_the_logits_stay_as_they_are() -> None:
    before = LOGITS.copy()
    for parameters in PARAMETERS:
        port().draws(LOGITS, parameters, 1, 10)
        port().batches(LOGITS[None], parameters, 1, 1)
        torch_reference().draws(LOGITS, parameters, 1, 10)
    assert LOGITS.tobytes() == before.tobytes()


def test_noise_on_noise_is_no_sample() -> None:
    with pytest.raises(StatisticsError):
        torch_reference().batches(LOGITS[None], SimpleBatch(), 1, 2)


@dataclass
class Broken:
    outcome: Outcome
    about = About(name="broken")

    def run(self, case: Case, capability: str) -> Outcome:
        assert case.draws
        assert capability
        return self.outcome


def test_a_sampler_that_fails() -> None:
    raised = Outcome(failure=Failure("RuntimeError", "no", 0))
    short = Outcome(tokens=[np.zeros(1, np.int64)])
    wide = Outcome(tokens=[np.zeros(2, np.int64)] * 5)
    crashed = Outcome(lost=Lost(Verdict.CRASHED, "ended by SIGSEGV"))
    declined = Outcome(declined="not today")
    for outcome in (raised, short, wide, crashed, declined):
        source = ImplementationSource(Broken(outcome), "default")
        with pytest.raises(SamplerFailedError, match="broken"):
            source.draws(LOGITS, SampleLogits(), 1, 5)


def test_no_seed_twice() -> None:
    seeds = Seeds(2**32 - 2)
    taken = [seeds.take() for _ in range(5)]
    assert taken == [2**32 - 2, 2**32 - 1, 0, 1, 2]
    assert Seeds.of_run(0).take() != Seeds.of_run(1).take()


def test_two_black_boxes() -> None:
    """Of neither is a probability known: cells from a pilot, then fresh draws of both."""
    sound, rule = port(), Rule(2e-8)
    subject = pilot(
        sound, "unknown", subjects.tempered().logits, SampleLogits(1.0, 0.9, 0), 9, 50_000
    )
    assert subject.law.possible.all()
    test = versus(subject, 100_000, rule, sound)
    for error, least, most in ((0.0, 1e-3, 1.0), (0.04, 0.0, rule.first)):
        tally = test.start(0)
        tally.add(mistempered(sound, error), Seeds(123), 100_000)
        p = tally.look().p
        assert p is not None
        assert least <= p <= most
