"""Long sequences of draws from one seed."""

import numpy as np
import pytest
import torch

import python_ref
import rust_ext
from sampler_parity.cases.fixtures import real_logits

SEED = 20_240_601
DRAWS = 30_000
WHOLE = 2_000
"""Of those, calls that the reference makes as a whole."""


@pytest.mark.promise
@pytest.mark.usefixtures("one_thread")
def test_thirty_thousand_semantic_draws() -> None:
    """Successive reference calls on one row of real logits, against one ``draw``.

    The row stays the same, and so do all stages but the last: after two thousand whole calls
    the reference repeats that one only.
    """
    preset = python_ref.SEMANTIC
    # The row with the most tokens in its nucleus: the draws have the most to choose from.
    logits = real_logits()[-1, : preset.vocab].copy()
    generator = torch.Generator().manual_seed(SEED)
    row = torch.from_numpy(logits).unsqueeze(0)
    with torch.no_grad():
        arguments = (row, preset.temperature, preset.top_p, preset.top_k)
        reference = [
            python_ref.sample_logits(*arguments, generator=generator) for _ in range(WHOLE)
        ]
        probs = python_ref.trace_sample_logits(*arguments, generator=torch.Generator()).renormalized
        reference += [
            torch.multinomial(probs, 1, generator=generator) for _ in range(DRAWS - WHOLE)
        ]
    expected = torch.cat(reference)[:, 0].numpy()

    port = rust_ext.Generator(SEED)
    drawn = rust_ext.draw(
        logits, DRAWS, preset.temperature, preset.top_p, preset.top_k, generator=port
    )
    assert len(np.unique(expected)) > 20
    np.testing.assert_array_equal(expected, drawn)
    assert port.get_state() == generator.get_state().numpy().tobytes()


@pytest.mark.parametrize("preset", rust_ext.PRESETS, ids=lambda preset: preset.name)
def test_draw_is_successive_calls(preset: rust_ext.Preset) -> None:
    arguments = (preset.temperature, preset.top_p, preset.top_k)
    for row in real_logits()[:, : preset.vocab]:
        once, successive = rust_ext.Generator(3), rust_ext.Generator(3)
        drawn = rust_ext.draw(row, 50, *arguments, generator=once)
        calls = [
            rust_ext.sample_logits(row[None], *arguments, generator=successive)[0, 0]
            for _ in range(50)
        ]
        assert drawn.tolist() == calls
        assert once.get_state() == successive.get_state()
