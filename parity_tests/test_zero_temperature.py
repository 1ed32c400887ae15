"""Temperature 0: raises as the reference does, or argmax where that is asked for (finding F1)."""

import numpy as np
import pytest
import torch

import python_ref
import rust_ext

LOGITS = np.array([[1.0, 3.0, 3.0, -1.0], [0.0, -0.0, -5.0, -np.inf]], np.float32)


def test_the_default_raises_on_both_sides() -> None:
    with pytest.raises(RuntimeError):
        python_ref.sample_logits(torch.from_numpy(LOGITS), 0.0)
    with pytest.raises(RuntimeError, match="zero_temperature"):
        rust_ext.sample_logits(LOGITS, 0.0, generator=rust_ext.Generator(1))


def test_argmax_on_both_sides() -> None:
    """The first of several maxima, and not one output of the generator used."""
    generator, port = torch.Generator().manual_seed(1), rust_ext.Generator(1)
    reference = python_ref.trace_sample_logits(
        torch.from_numpy(LOGITS), 0.0, generator=generator, zero_temperature="argmax"
    )
    ours = rust_ext.trace_sample_logits(LOGITS, 0.0, generator=port, zero_temperature="argmax")
    assert reference.token.tolist() == ours.token.tolist() == [[1], [0]]
    for stage in ("scaled_logits", "probs", "top_k_mask", "top_p_mask", "renormalized"):
        expected, actual = getattr(reference, stage).numpy(), getattr(ours, stage)
        np.testing.assert_array_equal(expected, actual)
    assert port.get_state() == rust_ext.Generator(1).get_state()
    assert generator.get_state().equal(torch.Generator().manual_seed(1).get_state())
    drawn = rust_ext.draw(LOGITS[0], 5, 0.0, generator=port, zero_temperature="argmax")
    assert drawn.tolist() == [1] * 5


def test_argmax_changes_nothing_at_other_temperatures() -> None:
    for mode in ("raise", "argmax"):
        tokens = rust_ext.sample_logits(
            LOGITS, 0.5, generator=rust_ext.Generator(4), zero_temperature=mode
        )
        expected = python_ref.sample_logits(
            torch.from_numpy(LOGITS),
            0.5,
            generator=torch.Generator().manual_seed(4),
            zero_temperature=mode,
        )
        assert tokens.tolist() == expected.tolist()
