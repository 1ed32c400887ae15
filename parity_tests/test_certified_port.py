"""The port in torch's place: each stage is torch's, and where one is not, the port is refused."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from sampler_parity.cases import traces
from sampler_parity.cases.families import FAMILIES, YOURS
from sampler_parity.cases.fixtures import FIXTURES
from sampler_parity.cases.plan import case_of
from sampler_parity.implementations import certified_port, python_ref, reference
from sampler_parity.model.case import CAPABILITIES, Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.outcome import SAMPLER_ERRORS
from sampler_parity.pipelines import numbers
from sampler_parity.pipelines.transformers import Transformers
from sampler_parity.run import certificate

HERE = python_ref.capability_here()
LONG = {"vast-rows", "long-rows", "real-whole", "long-streams"}


def cases() -> list[Case]:
    names = [name for name in FAMILIES if name not in {YOURS, *LONG}]
    return [case_of(f"{name}-{number}@7") for name in names for number in range(8)]


def computed(module: Any, case: Case, values: dict[str, Any], stage: str) -> Any:
    """Give a stage, or the class of what is raised."""
    step = case.pipeline.stage(stage)
    given = {name: values[name].copy() for name in step.reads}
    try:
        return module.computed(step, case, given, module.start_generator(case))
    except SAMPLER_ERRORS as error:
        return type(error)


def changed(values: Any, rng: np.random.Generator) -> Any:
    """Give other values of a stage: another mask, or numbers of which some are halved or 0."""
    if values.dtype == np.bool_:
        return rng.random(values.shape) < 0.7
    return (values * rng.choice([1, 1, 0.5, 0], values.shape)).astype(np.float32)


def test_each_stage_is_torch_s_on_any_input() -> None:
    """On torch's own earlier stages, and on ones that another sampler may have."""
    compared = 0
    for number, case in enumerate(cases()):
        outcome = python_ref.PythonRef().run(replace(case, draws=1), HERE)
        if outcome.failure is not None:
            continue
        rng = np.random.default_rng(number)
        with np.errstate(invalid="ignore"):  # infinities by zero
            others = {name: changed(value, rng) for name, value in outcome.stages.items()}
        for stages in (outcome.stages, others):
            values = {**reference.sources(case), **stages}
            for stage in case.pipeline.names:
                ours = computed(certified_port, case, values, stage)
                theirs = computed(python_ref, case, values, stage)
                if isinstance(theirs, type):
                    assert ours is theirs, (case.id, stage)
                    continue
                assert ours.dtype == theirs.dtype, (case.id, stage)
                assert np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"), (
                    case.id,
                    stage,
                )
                compared += 1
    assert compared > 1000


def test_its_generator_gives_torch_s_numbers() -> None:
    for seed in (0, 5, 2**63):
        theirs, ours = python_ref.seeded(seed), certified_port.seeded(seed)
        for take in (
            lambda one: numbers.uniforms((3, 50), 0.7, one),
            lambda one: numbers.exponentials((2, 33), one),
            lambda one: numbers.doubles((4, 5), one),
            lambda one: np.array(numbers.uniform_of(one)),
            lambda one: numbers.uniforms((0, 3), 1.0, one),
        ):
            expected, found = take(theirs), take(ours)
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected)
            assert np.array_equal(take(ours.clone_state()), take(theirs.clone_state()))
        assert certified_port.state_of(ours) == python_ref.state_of(theirs)


def test_what_the_port_has_not_is_torch_s() -> None:
    case = replace(case_of("gaussian-0@1"), parameters=Transformers())
    with pytest.raises(CannotJudgeError, match="torch"):
        certified_port.reference().run(case, HERE)
    with pytest.raises(CannotJudgeError, match="torch"):
        certified_port.computed(case.pipeline.stages[0], case, {}, None)


def test_it_has_every_stage_of_the_two_samplers() -> None:
    for case in cases():
        assert set(certified_port.STAGES[case.pipeline.name]) == set(case.pipeline.names)


@pytest.fixture
def as_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "reference_here", certified_port.reference)


@pytest.mark.usefixtures("as_reference")
def test_it_equals_every_trace_that_was_recorded() -> None:
    told: list[int] = []
    found = certificate.certified(HERE, told.append)
    assert found.traces > 1_000
    assert found.torch
    assert told == sorted(told)
    assert len(told) >= 10


def test_at_least_two_thousand_traces_are_recorded() -> None:
    digests = sum(1 for name in CAPABILITIES for _ in rows(name))
    golden = 92 * len(CAPABILITIES)
    assert digests + golden >= 2_000
    assert traces.recorded_with(f"{traces.FOLDER}/default.safetensors").startswith("2.")


def rows(capability: str) -> Any:
    path = FIXTURES / traces.FOLDER / f"{capability}.safetensors"
    return safetensors.numpy.load_file(path)["digests"] if path.exists() else ()


@pytest.mark.usefixtures("as_reference")
@pytest.mark.parametrize("stage", ["probs", "top_p_mask", "token", "generator", "input"])
def test_a_port_that_differs_anywhere_is_refused(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bit of one stage of one case."""
    port = certified_port.reference()
    wanted = next(t.case for t in traces.load_traces(HERE) if stage in traces.columns(t.case))

    def run(case: Case, capability: str) -> Any:
        outcome = port.run(case, capability)
        if case.id != wanted.id or case.logits.shape != wanted.logits.shape:
            return outcome
        if stage == "token":
            outcome.tokens[0] = outcome.tokens[0] ^ 1
        elif stage == "generator":
            outcome.generator = outcome.generator[:-1] + bytes([outcome.generator[-1] ^ 1])
        elif stage == "input":
            outcome.input = outcome.input.copy()
            outcome.input.view(np.uint32).flat[0] ^= 1
        else:
            changed = outcome.stages[stage].copy()
            changed.view(np.uint8).flat[0] ^= 1
            outcome.stages[stage] = changed
        return outcome

    monkeypatch.setattr(certificate, "reference_here", lambda: SimpleNamespace(run=run))
    with pytest.raises(CannotJudgeError, match=f"{wanted.id}, first in {stage}"):
        certificate.certified(HERE)


def test_a_case_that_is_made_otherwise_is_no_trace(tmp_path: Path) -> None:
    trace = next(traces.load_traces(HERE))
    outcome = certified_port.reference().run(trace.case, HERE)
    assert not trace.parted(outcome)
    other = replace(trace, case=replace(trace.case, seed=trace.case.seed ^ 1))
    assert other.parted(outcome) == "case"
    assert list(traces.load_traces("default", tmp_path)) == []


def test_traces_of_another_form_are_refused(tmp_path: Path) -> None:
    home = tmp_path / traces.FOLDER
    home.mkdir()
    (home / "cases.json").write_text('["gaussian-0@1"]', encoding="utf-8")
    safetensors.numpy.save_file(
        {"digests": np.zeros((2, 9, 8), np.uint8)}, home / "avx2.safetensors"
    )
    with pytest.raises(CannotJudgeError, match="not those of 1 cases"):
        next(traces.load_traces("avx2", tmp_path))
    (home / "avx2.safetensors").write_bytes(b"nothing")
    with pytest.raises(CannotJudgeError, match="cannot be read"):
        next(traces.load_traces("avx2", tmp_path))
