"""The ports as they were found, behind their binding: what they say of themselves."""

from typing import Any

import numpy as np
import pytest

from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.implementations.specimens import SPECIMENS
from sampler_parity.pipelines import SampleLogits
from sampler_parity.pipelines.rwkv import Rwkv
from sampler_parity.statistics.law import law_of
from sampler_parity.statistics.sources import ImplementationSource, Tokens

LOGITS = np.array([0.5, 1.0, 1.0, -2.0], np.float32)


def test_they_say_what_they_made(extension: Any) -> None:
    rng = extension.StdRng(2**64 - 1)
    simple = extension.specimen_simple_batch_sampler(LOGITS, 3.0, 0.0, 1, rng)
    masked = np.where(np.arange(4) == 1, np.float32(-np.inf), LOGITS)
    assert simple.scaled_logits.tobytes() == (masked / np.float32(3)).tobytes()
    assert simple.noised_logits.tobytes() == simple.scaled_logits.tobytes()
    assert simple.token.tolist() == [2]
    fast = extension.specimen_fast_sampler(LOGITS, 1.0, 1.0, 1, None, rng)
    assert (fast.path, fast.renormalized.tolist()) == ("greedy_parameters", [0, 1, 0, 0])
    drawn = extension.specimen_fast_sampler(LOGITS, 1.0, 1.0, 2, 1, rng)
    assert (drawn.path, np.flatnonzero(drawn.renormalized).tolist()) == ("sampled", [0, 2])
    wild = extension.specimen_sample_logits(LOGITS, 1.0, 1.0, 2, rng)
    assert wild.renormalized.tolist() == [0, 0.5, 0.5, 0]
    for trace in (simple, fast, drawn, wild):
        assert (trace.token.dtype, trace.token.shape) == (np.int64, (1,))
    for stage in (simple.scaled_logits, fast.renormalized, wild.renormalized):
        assert (stage.dtype, stage.shape) == (np.float32, (4,))


def test_a_seed_replays(extension: Any) -> None:

    def tokens(seed: int) -> list[int]:
        rng = extension.StdRng(seed)
        traces = (extension.specimen_sample_logits(LOGITS, 1.0, 1.0, -1, rng) for _ in range(64))
        return [int(trace.token[0]) for trace in traces]

    assert tokens(1) == tokens(1)
    assert tokens(1) != tokens(2)


@pytest.mark.parametrize("logits", [LOGITS.astype(np.float64), LOGITS[None]])
def test_one_row_of_float32_is_taken(logits: np.ndarray, extension: Any) -> None:
    with pytest.raises(TypeError):
        extension.specimen_sample_logits(logits, 1.0, 1.0, 0, extension.StdRng(0))


def test_the_shipped_extension_has_none() -> None:
    import rust_ext

    assert rust_ext.build_info()["specimens"] is False
    assert not [name for name in dir(rust_ext) if "specimen" in name.lower() or name == "StdRng"]


ROW = np.random.default_rng(3).normal(0, 2, 200).astype(np.float32)
PRESET = SampleLogits(1.0, 0.95, 20)


def drawn(name: str, n: int) -> Tokens:
    source = ImplementationSource(SPECIMENS[name].plug_in, capability_here())
    return source.draws(ROW, PRESET, 5, n)


@pytest.mark.proof
def test_the_lost_mass_goes_to_the_last_token_kept() -> None:
    """As often as the walk falls off its end: what the reference gives all tokens, one has."""
    exact = law_of(ROW, PRESET).probabilities
    kept = np.flatnonzero(exact)
    whole = np.exp(ROW.astype(np.float64) - ROW.max())
    lost = 1 - whole[kept].sum() / whole.sum()
    tokens = drawn("specimen-not-renormalised", 20_000)
    expected = exact[kept[-1]] * (1 - lost) + lost
    assert lost > 0.05
    assert set(tokens.tolist()) <= set(kept.tolist())
    assert abs((tokens == kept[-1]).mean() - expected) < 5 * np.sqrt(expected / 20_000)


def test_a_constant_seed_draws_one_token_for_ever() -> None:
    """Its frequencies alone show that, whatever its generator's seed."""
    assert len(np.unique(drawn("specimen-constant-seed", 500))) == 1
    assert len(np.unique(drawn("specimen-not-renormalised", 500))) > 5


@pytest.mark.parametrize("parameters", [(1.0, 0.95, 20), (0.7, 0.5, 0), (0.0, 0.9, 0)])
def test_numpy_s_choice_is_the_sampler_of_rwkv(parameters: tuple[float, float, int]) -> None:
    """Bit for bit, and token for token: it is one function, under another name."""
    import torch

    stages = {stage.name: stage.reference for stage in Rwkv.pipeline.stages}
    values: dict[str, Any] = {"logits": torch.from_numpy(ROW.copy())}
    theirs, own = np.random.RandomState(7), np.random.RandomState(7)
    for name, reference in stages.items():
        values[name] = reference(values, Rwkv(*parameters), theirs)
    call = SPECIMENS["specimen-numpy-choice"].plug_in.call
    found: Any = call(ROW.copy(), SampleLogits(*parameters), own)
    assert found["renormalized"].tobytes() == values["renormalized"].numpy().tobytes()
    assert found["token"].tolist() == values["token"].reshape(-1).tolist()
