"""``identify`` names every function that the harness has, and says so where it is none of them."""

from typing import Any

import numpy as np
import pytest

from sampler_parity.faults import plain
from sampler_parity.faults.identify import converted, identified, sentence
from sampler_parity.faults.plain import Plain, nucleus
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.specimens import SPECIMENS
from sampler_parity.model.implementation import About
from sampler_parity.pipelines import SampleLogits
from sampler_parity.pipelines.references import REFERENCES
from sampler_parity.pipelines.repetition_aware import RepetitionAware
from sampler_parity.pipelines.rwkv import Rwkv
from sampler_parity.pipelines.transformers import Transformers

HERE = capability_here()


class Shown(PythonRef):
    """The reference, shown as somebody shows it who says no more than a sampler's name."""

    def __init__(self, sampler: str, **about: Any) -> None:
        self.about = About(name="somebody's", samplers=(sampler,), **about)


@pytest.mark.slow
@pytest.mark.parametrize("name", REFERENCES)
def test_every_pipeline_is_known(name: str) -> None:
    candidate = Shown(name)
    found = identified(candidate, candidate.about, name, HERE)
    assert sentence(found).startswith(f"it is {name}: ")
    assert found[0].known.change == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECIMENS)
def test_every_specimen_is_known(name: str) -> None:
    candidate = SPECIMENS[name].plug_in
    found = identified(candidate, candidate.about, candidate.about.samplers[0], HERE)
    assert name in sentence(found)
    assert "none of the known" not in sentence(found)


@pytest.mark.slow
def test_one_change_is_named_with_its_stage() -> None:
    candidate = Plain(
        top_p=lambda probs, p: plain.top_p(probs / probs.sum(axis=-1, keepdims=True), p)
    )
    found = identified(candidate, candidate.about, "sample_logits", HERE)
    expected = "it is sample_logits with one change, at top_p_mask: top-p renormalised before"
    assert sentence(found).startswith(expected)


@pytest.mark.slow
def test_two_changes_are_near_one_of_them() -> None:
    candidate = Plain(
        top_p=nucleus(crosses=np.greater_equal, shifted=lambda crossed: crossed),
        renormalize=lambda kept, _: (kept + 1e-6) / (kept + 1e-6).sum(axis=-1, keepdims=True),
    )
    found = identified(candidate, candidate.about, "sample_logits", HERE)
    assert sentence(found).startswith("it is none of the known functions")


def test_parameters_of_one_name_mean_one_thing() -> None:
    p = SampleLogits(0.7, 0.9, 20)
    assert converted(p, Rwkv) == Rwkv(0.7, 0.9, 20)
    assert converted(p, Transformers) == Transformers(temperature=0.7, top_p=0.9, top_k=20)
    assert converted(p, RepetitionAware) is None, "it has no temperature"
    one = converted(replace_temperature(p), RepetitionAware)
    assert one == RepetitionAware(top_p=0.9, top_k=20)
    assert converted(Transformers(min_p=0.1), Rwkv) is None
    assert converted(SampleLogits(top_k=-1), Transformers) is None


def replace_temperature(p: SampleLogits) -> SampleLogits:
    return SampleLogits(1.0, p.top_p, p.top_k)
