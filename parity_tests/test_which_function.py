"""``identify`` names every function that the harness has, and says so where it is none of them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers.generation.logits_process import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from sampler_parity.faults import plain
from sampler_parity.faults.identify import (
    CASES,
    Known,
    Search,
    alike,
    converted,
    identified,
    library,
    questions,
    sentence,
)
from sampler_parity.faults.plain import Plain, nucleus
from sampler_parity.faults.reordered import Reordered, reordered
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.reference import start_generator
from sampler_parity.implementations.specimens import SPECIMENS
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines import SampleLogits
from sampler_parity.pipelines.references import REFERENCES
from sampler_parity.pipelines.repetition_aware import RepetitionAware
from sampler_parity.pipelines.rwkv import Rwkv
from sampler_parity.pipelines.transformers import Transformers

HERE = capability_here()


@pytest.fixture(autouse=True, scope="module")
def asked_once() -> Iterator[None]:
    """Have every known sampler run once on a question: many tests ask the same ones."""
    answered: dict[tuple[object, ...], Outcome] = {}
    run = Search._expected

    def once(search: Search, known: Known, asked: Case, plain: Any) -> Outcome:
        key = (known.words, asked.id, asked.parameters, asked.draws)
        if key not in answered:
            found = run(search, known, asked, plain)
            final = asked.pipeline.final
            shown = {name: found.stages[name] for name in {final} & found.stages.keys()}
            # All that a search looks at, of answers that would fill gigabytes.
            answered[key] = replace(found, stages=shown, generator=b"", input=asked.logits)
        return answered[key]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Search, "_expected", once)
        yield


class Shown(PythonRef):
    """The reference, shown as somebody shows it who says no more than a sampler's name."""

    def __init__(self, sampler: str, **about: Any) -> None:
        self.about = About(name="somebody's", samplers=(sampler,), **about)


TWINS = {"rwkv": "rwkv or specimen-numpy-choice"}
"""The function of one specimen is a pipeline: whichever is asked, both names are right."""
FUNCTIONS = (*REFERENCES, *SPECIMENS)


def test_as_many_functions_are_known() -> None:
    assert len(FUNCTIONS) == len(set(FUNCTIONS)) == 15
    assert len(REFERENCES) == 7


@pytest.mark.slow
@pytest.mark.proof
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
@pytest.mark.proof
def test_one_change_is_named_with_its_stage() -> None:
    candidate = Plain(
        top_p=lambda probs, p: plain.top_p(probs / probs.sum(axis=-1, keepdims=True), p)
    )
    found = identified(candidate, candidate.about, "sample_logits", HERE)
    expected = "it is sample_logits with one change, at top_p_mask: top-p renormalised before"
    assert sentence(found).startswith(expected)


class Ordered(PythonRef):
    """Warpers of ``transformers``, called in an order of one's own."""

    about = About(name="ordered", samplers=("transformers",), view="probs", capabilities="one")

    def __init__(self, order: str) -> None:
        self.order = order

    def run(self, case: Case, capability: str) -> Outcome:
        outcome, p = super().run(case, capability), case.parameters
        assert isinstance(p, Transformers)
        history = torch.from_numpy(np.atleast_2d(case.history))  # type: ignore[arg-type]
        steps = {
            "r": RepetitionPenaltyLogitsProcessor(p.repetition_penalty),
            "t": TemperatureLogitsWarper(p.temperature),
            "k": TopKLogitsWarper(p.top_k) if p.top_k else None,
            "p": TopPLogitsWarper(p.top_p) if p.top_p < 1 else None,
            "m": MinPLogitsWarper(p.min_p) if p.min_p else None,
            "y": TypicalLogitsWarper(p.typical_p) if p.typical_p < 1 else None,
            "e": EpsilonLogitsWarper(p.epsilon_cutoff) if p.epsilon_cutoff else None,
            "n": EtaLogitsWarper(p.eta_cutoff) if p.eta_cutoff else None,
        }
        scores = torch.from_numpy(case.logits.copy())
        for step in self.order:
            warper = steps[step]
            scores = scores if warper is None else warper(history, scores)
        probs = scores.softmax(-1)
        tokens = torch.multinomial(probs, 1, generator=start_generator(case)).reshape(-1)
        shown = {"renormalized": probs.numpy()}
        return replace(outcome, stages=shown, tokens=[tokens.numpy()], failure=None)


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("rtkpmyen", ""),
        ("rtpkmyen", "top-p before top-k"),
        ("rtkmpyen", "min-p before top-p"),
        ("rkptmyen", "top-p before temperature"),
        ("rkpmyent", "every cut before temperature"),
    ],
)
def test_an_order_is_named(order: str, words: str) -> None:
    """The package's own classes in another order are one change, and told apart."""
    candidate = Ordered(order)
    found = identified(candidate, candidate.about, "transformers", HERE)
    assert found[0].known.change == words
    assert found[0].agreeing == found[0].cases > CASES // 2
    # Of nothing changed, cases are too few for a rare change to show.
    among = {one.known.change for one in alike(found) if one.known.pipeline == "transformers"}
    assert not words or among == {words}


@pytest.mark.proof
@pytest.mark.parametrize("words", ["temperature before typical", "temperature before top-p"])
def test_a_temperature_that_comes_first_is_named(words: str) -> None:
    """llama.cpp's comes last; where a port takes it earlier is told."""
    [candidate] = [one for one in reordered(REFERENCES["llama_cpp"]) if one.words == words]
    about = About(name="earlier", samplers=("llama_cpp",), view="probs")
    own = [one for one in library() if one.pipeline == "llama_cpp"]
    orders = [one for one in own if isinstance(one.sampler, Reordered) or not one.change]
    search = Search(orders, about, HERE)
    for case in questions("llama_cpp"):
        asked = replace(case, draws=1)
        search.add(asked, candidate.run(asked, HERE))
    found = search.best()
    assert found[0].agreeing == found[0].cases > CASES // 2
    assert {one.known.change for one in alike(found)} == {words}


@pytest.mark.proof
@pytest.mark.parametrize("name", ["transformers", "sample_logits", "llama_cpp"])
def test_an_order_that_changes_nothing_is_the_reference(name: str) -> None:
    """Where it says that it is idle, the reordered pipeline has the reference's bits."""
    idle = 0
    for case in questions(name, 25):
        plain = PythonRef().run(case, HERE)
        for one in reordered(REFERENCES[name]):
            if one.idle(case.parameters):
                idle += 1
                final = case.pipeline.final
                found = one.run(case, HERE).stages[final]
                np.testing.assert_array_equal(found, plain.stages[final])
    assert idle > 10 or name == "sample_logits"


@pytest.mark.slow
@pytest.mark.proof
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
