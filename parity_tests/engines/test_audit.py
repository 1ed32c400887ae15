"""One recording alone: its contract, its reference, its generator."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import python_ref
from sampler_parity.engines import Recorder, Recording
from sampler_parity.engines.attribution import attribute
from sampler_parity.engines.audit import audit
from sampler_parity.engines.contract import NONE, Contract, Engine, Phase
from sampler_parity.engines.findings import Attribution
from sampler_parity.engines.small_engine import (
    END,
    GLOBAL,
    GLOBAL_CALLS,
    GLOBAL_TOKENS,
    MASKED,
    OFFSET,
    SEMANTIC,
    SEMANTIC_CALLS,
    SEMANTIC_TOKENS,
    TAG,
    SmallEngine,
)

CONTRACT = Contract(
    name="small engine",
    phase=(
        Phase(
            name=GLOBAL,
            sampler="sample_logits",
            parameters={"temperature": 1.0, "top_p": 0.95, "top_k": 20},
            slice=(0, GLOBAL_TOKENS),
            masked=(MASKED,),
            calls=GLOBAL_CALLS,
            fed_plus=OFFSET,
        ),
        Phase(
            name=SEMANTIC,
            sampler="sample_logits",
            parameters={"temperature": 1.0, "top_p": 0.95, "top_k": 80},
            slice=(0, SEMANTIC_TOKENS),
            masked=(MASKED,),
            calls_at_most=SEMANTIC_CALLS,
            end=END,
            fed_first=(TAG,),
            fed_plus=0,
        ),
    ),
)


def own(found: Attribution) -> list[tuple[str, str, str, int]]:
    return [(one.kind, one.what, one.phase, one.call) for one in found.findings]


def alone(folder: Path, *switched: str, contract: Contract = CONTRACT) -> Attribution:
    SmallEngine(frozenset(switched)).run(folder / "one.calls", 3)
    return audit(Recording.open(folder / "one.calls"), contract)


def test_an_engine_that_keeps_its_contract(tmp_path: Path) -> None:
    found = alone(tmp_path)
    assert (found.status, found.findings, found.not_compared) == ("holds", (), ())
    assert found.compared == found.planned == 3 * (GLOBAL_CALLS + SEMANTIC_CALLS)
    assert found.contract == "small engine"


@pytest.mark.parametrize(
    ("fault", "kind", "what", "phase", "call"),
    [
        ("wrong-sampler", "sampler", "wrong sampler", SEMANTIC, 0),
        ("wrong-parameters", "parameters", "wrong parameters", SEMANTIC, 0),
        ("short-slice", "vocabulary", "short slice", SEMANTIC, 0),
        ("long-slice", "vocabulary", "long slice", SEMANTIC, 0),
        ("mask-missing", "vocabulary", "mask missing", SEMANTIC, 0),
        ("mask-extra", "vocabulary", "mask extra", SEMANTIC, 0),
        ("reseeded-each-call", "stream", "reseeded call", SEMANTIC, 1),
        ("extra-draw", "stream", "extra draw", SEMANTIC, 4),
        ("foreign-draw", "stream", "foreign draw", SEMANTIC, 4),
        ("feedback-offset", "loop", "fed", GLOBAL, 2),
        ("stop-rule", "loop", "extra calls", SEMANTIC, SEMANTIC_CALLS),
    ],
)
def test_faults_that_one_recording_shows(
    tmp_path: Path, fault: str, kind: str, what: str, phase: str, call: int
) -> None:
    assert own(alone(tmp_path, fault)) == [(kind, what, phase, call)]


@pytest.mark.proof
def test_a_walk_that_is_not_renormalised(tmp_path: Path) -> None:
    walks = "a walk along the cumulative sum"
    assert alone(tmp_path, walks).findings == ()
    (found,) = own(alone(tmp_path, walks, "not-renormalised"))
    assert found[:3] == ("arithmetic", "walk", SEMANTIC)


def test_without_a_contract(tmp_path: Path) -> None:
    """What a call makes of its own inputs is judged all the same."""
    assert alone(tmp_path, contract=NONE).status == "holds"
    assert alone(tmp_path, "wrong-parameters", contract=NONE).status == "holds"
    assert own(alone(tmp_path, "foreign-draw", contract=NONE))[0][:2] == ("stream", "foreign draw")


def engine(path: Path, sample: Callable[..., torch.Tensor], generator: torch.Generator) -> None:
    with Recorder(path, "mine", overwrite=True) as recorder:
        draw = recorder.wrap(sample, sampler="sample_logits")
        for number in range(20):
            logits = 2 * np.random.default_rng(number).standard_normal((1, 60))
            draw(torch.from_numpy(logits.astype(np.float32)), 0.8, 0.9, 30, generator=generator)


def test_torch_is_held_against_itself(tmp_path: Path) -> None:
    path = tmp_path / "one.calls"
    engine(path, python_ref.sample_logits, torch.Generator().manual_seed(3))
    assert audit(Recording.open(path)).status == "holds"


def test_a_sampler_of_another_rule(tmp_path: Path) -> None:
    """It takes the nucleus first, and top-k of what is left by its own count."""

    def other(
        logits: torch.Tensor,
        temperature: float,
        top_p: float,
        top_k: int,
        generator: torch.Generator,
    ) -> torch.Tensor:
        return python_ref.sample_logits(
            logits, 1.1 * temperature, top_p, top_k, generator=generator
        )

    path = tmp_path / "one.calls"
    engine(path, other, torch.Generator().manual_seed(3))
    found = audit(Recording.open(path))
    assert found.status == "diverges"
    assert found.findings[0].kind == "arithmetic"
    assert "where sample_logits gives" in found.findings[0].words


def test_a_generator_of_torch_that_nobody_named(tmp_path: Path) -> None:
    """A call that leaves torch's default generator as it was draws from something else."""
    path = tmp_path / "one.calls"
    with Recorder(path, "mine") as recorder:
        draw = recorder.wrap(lambda logits: int(logits.argmax()), sampler="mine")
        for number in range(3):
            draw(np.random.default_rng(number).standard_normal(10).astype(np.float32))
    recording = Recording.open(path)
    assert [call.random for call in recording.calls] == [None] * 3
    assert "state_before" not in recording.tensors(0)
    found = audit(recording)
    assert found.findings == ()
    assert found.not_compared[0].reason == "mine, as A calls it, is no sampler that is known here"


def own_stream(path: Path, calls: int, uniform: Callable[[], float]) -> None:
    """Record an engine that walks along the law's cumulative sum by numbers that nobody records."""
    with Recorder(path, "mine", overwrite=True) as recorder, recorder.phase(SEMANTIC):
        for number in range(calls):
            logits = (2 * np.random.default_rng(number).standard_normal((1, 500))).astype(
                np.float32
            )
            trace = python_ref.trace_sample_logits(torch.from_numpy(logits), 1.0, 0.95, 80)
            p = trace.renormalized[0].double().numpy()
            beyond = np.flatnonzero(np.cumsum(p / p.sum()) > uniform())
            token = int(beyond[0]) if beyond.size else int(np.flatnonzero(p)[-1])
            parameters = {"temperature": 1.0, "top_p": 0.95, "top_k": 80}
            with recorder.call(
                "sample_logits", logits, parameters=parameters, source="StdRng"
            ) as call:
                call.returned(token)


@pytest.mark.proof
def test_one_uniform_for_ever_is_caught_from_64_calls(tmp_path: Path) -> None:
    path = tmp_path / "one.calls"
    own_stream(path, 64, lambda: 0.3777)
    found = audit(Recording.open(path))
    assert found.status == "diverges"
    assert own(found) == [("stream", "constant", SEMANTIC, 0)]
    assert "a generator is made anew for every call" in found.sentence
    assert found.seed is not None


@pytest.mark.proof
def test_a_stream_that_is_known_is_named(tmp_path: Path) -> None:
    path = tmp_path / "one.calls"
    generator = np.random.default_rng(1234)
    own_stream(path, 64, generator.random)
    found = audit(Recording.open(path))
    assert found.status == "holds"
    assert any("seed 1234" in line for line in found.frequencies)
    assert any("a temperature 5 % too high" in line for line in found.frequencies)
    assert [one.calls for one in found.not_compared] == [64]


@pytest.mark.proof
def test_two_streams_of_their_own(tmp_path: Path) -> None:
    """The tokens of each side decide: one is right, the other draws one number for ever."""
    one, other = tmp_path / "one.calls", tmp_path / "other.calls"
    own_stream(one, 64, np.random.default_rng(1).random)
    own_stream(other, 64, lambda: 0.9)
    asked = Contract(engine=Engine(streams="own"))
    found = attribute(Recording.open(one), Recording.open(other), asked)
    causes = [f for f in found.findings if f.kind != "consequence"]
    assert [(f.kind, f.what, f.side) for f in causes] == [("stream", "constant", "B")]
