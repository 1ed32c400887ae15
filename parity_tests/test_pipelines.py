"""Samplers as data: the stages, composed, are ``python_ref``, bit for bit."""

from dataclasses import replace

import pytest
import torch

from sampler_parity.cases.families import FAMILIES, VAST
from sampler_parity.cases.plan import case_of
from sampler_parity.implementations.python_ref import (
    PythonRef,
    capability_here,
    start_generator,
    state_of,
)
from sampler_parity.judge import compare
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import SAMPLER_ERRORS, Failure, Outcome
from sampler_parity.pipelines import KINDS, PIPELINES

CASES = 60
"""Cases of each family; the families of long rows have fewer."""
SORTED = len([vocabulary for vocabulary, _ in VAST if vocabulary < 1 << 24])
"""The first vast rows; of still longer ones a reference takes seconds, and does nothing else."""
LONG = {"real-whole": 4, "long-rows": 4, "long-streams": 1, "many-calls": 1, "vast-rows": SORTED}
TOKENS = About(name="python_ref", view="tokens")
HEAVY = (pytest.mark.slow, pytest.mark.proof)


def composed(case: Case) -> Case:
    """Give the case with a pipeline that has its stages only."""
    parameters = case.parameters
    stages_only = replace(parameters.pipeline, whole=None)
    kind = type(
        type(parameters).__name__,
        (type(parameters),),
        {"pipeline": stages_only, "__annotations__": {}},
        frozen=True,
        tag=parameters.sampler,
    )
    values = {name: getattr(parameters, name) for name in parameters.__struct_fields__}
    return replace(case, parameters=kind(**values))


def called(case: Case) -> Outcome:
    """Call the reference's function once for every call of a case, as an engine does."""
    outcome, generator = Outcome(), start_generator(case)
    torch.set_num_threads(case.threads)
    logits = torch.from_numpy(case.logits.copy())
    function = case.pipeline.whole
    assert function is not None
    for draw in range(case.draws):
        try:
            token = function(logits, case.parameters, generator, traced=False)
        except SAMPLER_ERRORS as error:
            outcome.failure = Failure(type(error).__name__, str(error), draw)
            break
        outcome.tokens.append(token.numpy().reshape(-1))
    outcome.input, outcome.generator = logits.numpy(), state_of(generator)
    return outcome


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=HEAVY if name in LONG else ()) for name in FAMILIES],
)
def test_composed_stages_are_the_reference(family: str) -> None:
    reference, here = PythonRef(), capability_here()
    for index in range(LONG.get(family, CASES)):
        case = case_of(f"{family}-{index}@11")
        whole, parts = reference.run(case, here), reference.run(composed(case), here)
        assert compare(case, whole, parts).differences == {}, case.id
        assert compare(case, called(case), whole, TOKENS).differences == {}, case.id


def test_every_pipeline_is_described() -> None:
    assert {kind.pipeline.name for kind in KINDS.__args__} == set(PIPELINES)
    for kind in KINDS.__args__:
        assert set(kind.pipeline.parameters) == set(kind.__struct_fields__)
        assert kind.pipeline.name == kind.__struct_config__.tag
        assert all(stage.words for stage in kind.pipeline.stages)
