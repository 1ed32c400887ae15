"""A sampler that nobody here has: forty lines give it cases, verdicts, small cases and a report."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from parity_tests.runs import make_run
from sampler_parity.cases.draws import gaussian
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.pipeline import LOGITS, Parameter, Parameters, Pipeline, Race, Stage
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines import exact
from sampler_parity.report import render
from sampler_parity.run.run_file import Run
from sampler_parity.run.shard_builder import ShardBuilder

HERE = capability_here()


class MinP(Parameters, frozen=True, tag="min_p"):
    """Drops what is below a share of the largest probability."""

    sampler: ClassVar[str] = "min_p"
    pipeline: ClassVar[Pipeline]
    min_p: float = 0.1


def _kept(tensors: Any, p: MinP, _: Any) -> Any:
    probs = tensors["probs"]
    return probs.masked_fill(probs < p.min_p * probs.max(-1, keepdim=True)[0], 0)


MinP.pipeline = Pipeline(
    "min_p",
    (
        Stage("probs", "softmax", "numbers", (LOGITS,), lambda t, _, __: t[LOGITS].softmax(-1),
              truth=lambda values, _, __: exact.softmax(values[LOGITS])),
        Stage("kept", "drop what is below min_p of the largest", "numbers", ("probs",), _kept),
        Stage("token", "draw", "draw", ("kept",),
              lambda t, _, g: torch.multinomial(t["kept"], 1, generator=g), random=True),
    ),
    draw=Race(of="kept"),
    parameters={"min_p": Parameter("share of the largest probability", (0.5,))},
)  # fmt: skip

CASES = [
    Case(
        f"made-{index}@0", "made", gaussian(np.random.default_rng(index), 2, 9, 2.0), MinP(), index
    )
    for index in range(12)
]


def judged(folder: Path, **mistake: Any) -> Run:
    """Judge the pipeline with one of its stages replaced, and make a report of it."""
    stage = mistake.pop("stage")
    wrong = MinP.pipeline.replace(stage, **mistake)
    kind: Any = type("MinP", (MinP,), {"pipeline": wrong}, frozen=True, tag="min_p")
    builder = ShardBuilder("made-up", About(name="made-up", samplers=("min_p",)), HERE, folder)

    def both(case: Case) -> tuple[Outcome, Outcome]:
        planted = replace(case, parameters=kind(*(getattr(case.parameters, "min_p"),)))  # noqa: B009
        return PythonRef().run(case, HERE), PythonRef().run(planted, HERE)

    for case in CASES:
        builder.add(case, *both(case), both)
    return make_run(builder.shard(len(CASES), "torch"))


def in_f64(tensors: Any, _: Any, __: Any) -> Any:
    return tensors[LOGITS].double().softmax(-1).float()


def too_hot(tensors: Any, _: Any, __: Any) -> Any:
    return (tensors[LOGITS] / 1.5).softmax(-1)


def by_a_half(tensors: Any, p: MinP, _: Any) -> Any:
    return _kept(tensors, MinP(p.min_p / 2), None)


def another_stream(tensors: Any, _: Any, generator: Any) -> Any:
    torch.empty(1).uniform_(generator=generator)
    return torch.multinomial(tensors["kept"], 1, generator=generator)


@pytest.mark.proof
@pytest.mark.parametrize(
    ("stage", "reference", "verdict"),
    [
        ("probs", in_f64, Verdict.ROUNDING),
        ("probs", too_hot, Verdict.SEMANTIC),
        ("kept", by_a_half, Verdict.DIFFERS),
        ("token", another_stream, Verdict.GENERATOR),
    ],
    ids=["f64", "temperature", "another share", "another stream"],
)
def test_each_stage_is_judged(stage: str, reference: Any, verdict: Verdict, tmp_path: Path) -> None:
    """A stage without an oracle is compared by bits, and the words say what could not be told."""
    run = judged(tmp_path, stage=stage, reference=reference)
    [shard] = run.shards
    assert shard.compared == len(CASES)
    found = {found.divergence.stage for found in shard.divergences}
    # Where no token differs by chance, the generator tells.
    assert found == ({stage, "generator"} if stage == "token" else {stage})
    assert set(shard.verdicts) == {verdict}
    gravest = shard.divergences[0]
    assert gravest.shrunken is not None
    assert len(gravest.shrunken.logits) == 1, "one row is enough"
    page = render(run)
    assert "min_p" in page
    assert stage in page
    if verdict is Verdict.DIFFERS:
        assert "rounding cannot be told from meaning" in gravest.divergence.causes[0].words


def test_the_pipeline_itself_is_equal(tmp_path: Path) -> None:
    run = judged(tmp_path, stage="probs", words="softmax once more")
    assert run.shards[0].divergent == 0


def test_a_pipeline_that_cannot_be_is_refused() -> None:
    probs, kept, token = MinP.pipeline.stages
    for stages in ((kept, probs, token), (probs, kept), (probs, token, kept)):
        with pytest.raises(ValueError, match=r"stage|draw"):
            Pipeline("min_p", stages, draw=Race(of="kept"))
    with pytest.raises(ValueError, match="which is no stage"):
        Pipeline("min_p", MinP.pipeline.stages, draw=Race(of="renormalized"))
