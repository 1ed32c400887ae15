"""What is drawn from: rows of real logits as the TTS presets slice them, and synthetic ones."""

from functools import cache

import numpy as np

from sampler_parity.cases.draws import gaussian, round_bf16
from sampler_parity.cases.families import PRESETS
from sampler_parity.cases.fixtures import real_logits
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.statistics.alternatives import declared
from sampler_parity.statistics.cells import choose
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import Rule
from sampler_parity.statistics.law import Subject, subject
from sampler_parity.statistics.power import smallest_temperature

LOGITS_SEED = 20_260_401
"""The synthetic logits are the same in every run: what varies are the draws."""


@cache
def preset_row(preset: str, draws: int, rule: Rule) -> Subject:
    """Give the row of real logits on which ``draws`` draws show a temperature error best.

    Raises:
        StatisticsError: no row shows one.
    """
    best: tuple[float, Subject] | None = None
    for each in preset_rows(preset):
        try:
            cells = choose(each.law, draws, declared(each), rule).cells
        except StatisticsError:
            continue
        error = smallest_temperature(each, cells.cell_of, cells.probabilities, draws, rule)
        if error is not None and (best is None or error < best[0]):
            best = (error, each)
    if best is None:
        raise StatisticsError(f"{draws} draws show no temperature error on any row of {preset}")
    return best[1]


@cache
def preset_rows(preset: str) -> tuple[Subject, ...]:
    """Give every row of real logits as the preset slices it, if more than one token survives."""
    parameters, vocab = PRESETS[preset]
    rows = [
        subject(f"{preset} preset, real row {row}", logits[:vocab].copy(), parameters)
        for row, logits in enumerate(real_logits())
    ]
    return tuple(each for each in rows if len(each.law.ranked) > 1)


@cache
def rounded(preset: str) -> Subject:
    """Round the row of the highest entropy to bf16, as models give logits: ties everywhere."""
    flattest = preset_rows(preset)[-1]
    name = f"{flattest.name}, in bf16"
    return subject(name, round_bf16(flattest.logits.copy()), flattest.parameters)


@cache
def flat() -> Subject:
    """64 equal logits: the draw and nothing else."""
    return subject("flat", np.zeros(64, np.float32), SampleLogits(1.0, 0.0, 0))


@cache
def tied() -> Subject:
    """Five levels: a tie straddles the top-p cutoff."""
    rng = np.random.default_rng([LOGITS_SEED, 1])
    logits = rng.integers(0, 5, 200).astype(np.float32) * np.float32(0.5)
    return subject("ties across top-p", logits, SampleLogits(1.0, 0.85, 0))


@cache
def tempered(index: int = 0) -> Subject:
    """Normal logits at a temperature below 1, with top-k and top-p."""
    rng = np.random.default_rng([LOGITS_SEED, 2, index])
    logits = gaussian(rng, 1, 257, 1.0)[0]
    return subject(
        "tempered" if not index else "its neighbour", logits, SampleLogits(0.7, 0.95, 50)
    )


@cache
def noisy(index: int = 0) -> Subject:
    """The simple sampler on normal logits of the noise's own size."""
    rng = np.random.default_rng([LOGITS_SEED, 3, index])
    logits = gaussian(rng, 1, 32, 0.3)[0]
    name = "simple sampler" if not index else "its neighbour"
    return subject(name, logits, SimpleBatch(noise=1.0, temp=0.7))


@cache
def noisy_forbidden() -> Subject:
    """The simple sampler without its best token, at another noise."""
    plain = noisy()
    best = int(plain.logits.argmax())
    parameters = SimpleBatch(noise=0.5, temp=1.0, forbid_token=best)
    return subject("simple sampler, best token forbidden", plain.logits, parameters)


@cache
def noisy_real() -> Subject:
    """The simple sampler on the row of real logits with the most tokens within the noise."""
    _, vocab = PRESETS["global"]
    rows = [
        subject(f"simple sampler, real row {row}", logits[:vocab].copy(), SimpleBatch(1.0, 1.0))
        for row, logits in enumerate(real_logits())
    ]
    return max(rows, key=lambda each: len(each.law.ranked))
