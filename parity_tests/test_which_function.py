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


TWINS = {"rwkv": "rwkv or specimen-numpy-choice"}
"""The function of one specimen is a pipeline: whichever is asked, both names are right."""
FUNCTIONS = (*REFERENCES, *SPECIMENS)


def test_as_many_functions_are_known() -> None:
    assert len(FUNCTIONS) == len(set(FUNCTIONS)) == 13
    assert len(REFERENCES) == 5


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_named(name: str) -> None:
    """Each, and no other beside it that is another function."""
    specimen = SPECIMENS.get(name)
    candidate = Shown(name) if specimen is None else specimen.plug_in
    found = identified(candidate, candidate.about, candidate.about.samplers[0], HERE)
    twins = next((both for both in TWINS.values() if name in both.split(" or ")), name)
    assert sentence(found) == f"it is {twins}: {found[0].cases} of {found[0].cases} cases agree"
    assert found[0].known.change == ""


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
