"""The ports as they were found, behind their binding: what they say of themselves."""

from typing import Any

import numpy as np
import pytest

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
