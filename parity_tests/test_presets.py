"""The TTS stages' parameters, in one place a language, and the same."""

from dataclasses import asdict

import python_ref
import rust_ext
from sampler_parity.cases.families import PRESETS


def test_as_the_tts_calls_them() -> None:
    stages = [(p.name, p.temperature, p.top_p, p.top_k, p.vocab) for p in python_ref.PRESETS]
    assert stages == [("global", 1.0, 0.95, 20, 4096), ("semantic", 1.0, 0.95, 80, 8193)]


def test_rust_has_the_same() -> None:
    assert len(python_ref.PRESETS) == len(rust_ext.PRESETS)
    for ours, theirs in zip(python_ref.PRESETS, rust_ext.PRESETS, strict=True):
        assert asdict(ours) == {name: getattr(theirs, name) for name in asdict(ours)}
    assert rust_ext.PRESETS[0] == rust_ext.GLOBAL
    assert rust_ext.PRESETS[1] == rust_ext.SEMANTIC


def test_the_harness_compares_with_them() -> None:
    for preset in python_ref.PRESETS:
        parameters, vocab = PRESETS[preset.name]
        assert (parameters.temperature, parameters.top_p, parameters.top_k, vocab) == (
            preset.temperature,
            preset.top_p,
            preset.top_k,
            preset.vocab,
        )
