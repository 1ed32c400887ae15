"""Any sampler is gated against its own reference: the listings of ``docs/plug-in.md`` do it."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.reference_evidence import Evidence, ports
from parity_tests.test_plug_in import listing
from sampler_parity.cases.plan import case_of
from sampler_parity.cli import main
from sampler_parity.faults.staged import accepted_cases, plant_in_stages, try_variations
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.pipeline import values_of
from sampler_parity.model.verdict import HARMLESS
from sampler_parity.pipelines.references import REFERENCES, name_of, reference_of
from sampler_parity.run.gate import run_gate
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import Run
from sampler_parity.statistics.law import law_of

HERE = capability_here()
SHELF = [name for name in REFERENCES if name not in {"sample_logits", "simple_batch_sampler"}]
ENOUGH = 60
"""The first of a run's cases, on which every variation shows already."""


@pytest.mark.parametrize("name", ["warpers", "own_pipeline"])
def test_a_listing_is_short(name: str) -> None:
    assert len(listing(name).splitlines()) < 40


def against(
    reference: str,
    implementation: str,
    folder: Path,
    *families: str,
    part: tuple[int, int] | None = None,
) -> Run:
    return run_gate(
        Request(
            reference=reference,
            implementations=(implementation,),
            families=families,
            capabilities=(HERE,),
            folder=folder,
            part=part,
        )
    )


@pytest.mark.slow
@pytest.mark.proof
def test_a_port_of_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A correct one: where it does not raise, its bits differ, and no more."""
    (tmp_path / "my_warpers.py").write_text(listing("warpers"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    run = against("transformers", "my_warpers:sample", tmp_path / "run", "real-tts")
    [shard] = run.shards
    assert shard.compared > 50
    assert shard.compared + shard.not_compared == shard.planned
    assert "declined: typical, epsilon, eta" in shard.reason
    assert shard.verdicts.keys() <= HARMLESS
    assert shard.verdicts["rounding"] > 10
    assert "--reference transformers" in run.command
    assert run.reference == "transformers"


@pytest.mark.slow
@pytest.mark.proof
def test_a_mistake_in_it_is_semantic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = listing("warpers").replace("x /= p.temperature", "x *= p.temperature")
    (tmp_path / "my_warpers.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    [shard] = against("transformers", "my_warpers:sample", tmp_path / "run", "real-tts").shards
    assert shard.verdicts["semantic"] > 10
    case = next(f for f in shard.divergences if f.divergence.verdict == "semantic")
    assert case.case.startswith("transformers/real-tts-")
    assert case.case in case.replay


@pytest.mark.slow
@pytest.mark.proof
def test_a_pipeline_of_one_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It gets cases, planted mistakes, a law, and a gate that its own composed stages pass."""
    (tmp_path / "my_pipeline.py").write_text(listing("own_pipeline"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    name = "my_pipeline:MyParameters"
    kind = reference_of(name)
    assert name_of(kind) == name
    (tmp_path / "mine.py").write_text(
        "from sampler_parity.implementations.python_ref import PythonRef\n"
        "from sampler_parity.model.implementation import About\n\n\n"
        "class Mine(PythonRef):\n"
        '    about = About(name="mine", samplers=("mine",))\n'
    )
    some = (1, 8)
    families = ("gaussian", "masked")
    [shard] = against(name, "mine:Mine", tmp_path / "run", *families, part=some).shards
    assert (shard.compared, shard.divergent) == (shard.planned, 0)
    cases = list(islice(accepted_cases(name, HERE, ENOUGH), ENOUGH))
    planted = list(plant_in_stages(kind, cases, HERE, lambda: None))
    assert [fault.words for fault in planted if not fault.killed] == []
    assert len(planted) > 8
    case = case_of(f"{name}/gaussian-0@0")
    law = law_of(case.logits.reshape(-1, case.logits.shape[-1])[0], case.parameters)
    assert law.probabilities.sum() == pytest.approx(1)
    # One that diverges is asked again in a second process, and made small.
    (tmp_path / "hot.py").write_text(
        "from dataclasses import replace\n\nimport msgspec\n\nfrom mine import Mine\n\n\n"
        "class Hot(Mine):\n"
        "    def run(self, case, capability):\n"
        "        p = msgspec.structs.replace(case.parameters, temperature=1.5)\n"
        "        return super().run(replace(case, parameters=p), capability)\n"
    )
    [shard] = against(name, "hot:Hot", tmp_path / "hot", "gaussian", part=some).shards
    assert shard.verdicts.keys() <= {"semantic", "error"}
    first = next(f for f in shard.divergences if f.divergence.verdict == "semantic")
    assert first.divergence.stage == "scaled_logits"
    assert first.shrunken is not None
    assert f"--reference {name}" in first.shrunken.replay
    # The case is explained by its id.
    monkeypatch.setattr(
        "sys.argv", ["sampler-parity", "explain", case.id, "--implementation", "mine:Mine"]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "cutoff_mask" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("name", SHELF)
def test_every_variation_is_named(name: str) -> None:
    """A mistake at its stage, and what is right in other arithmetic as no mistake."""
    kind = reference_of(name)
    cases = list(islice(accepted_cases(name, HERE, ENOUGH), ENOUGH))
    planted = list(plant_in_stages(kind, cases, HERE, lambda: None))
    assert [fault.words for fault in planted if not fault.killed] == []
    correct = list(try_variations(kind, cases, HERE, lambda: None))
    assert [sampler for sampler in correct if not sampler.passed] == []
    assert correct


def test_an_unknown_reference_is_told() -> None:
    with pytest.raises(CannotJudgeError, match="reference 'nobody' is unknown: name one of sample"):
        run_gate(Request(reference="nobody"))
    with pytest.raises(CannotJudgeError, match="'no_module:THING' could not be loaded: Module"):
        reference_of("no_module:THING")
    with pytest.raises(CannotJudgeError, match="'math:pi' is no pipeline's parameters"):
        reference_of("math:pi")


@pytest.mark.proof
def test_a_candidate_of_another_sampler_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotJudgeError, match=r"has sample_logits, .*and not transformers: name"):
        against("transformers", "rust_ext", tmp_path, "flat")


@pytest.mark.parametrize("name", ["f16-41", "gaussian-325"])
def test_rounding_may_decide_how_many_tokens_are_drawn(name: str) -> None:
    """A first token of two that race within rounding, of which one is refused.

    Every token is the same in the end, and the generator is elsewhere: ``reference_evidence`` found
    the cases.
    """
    case = replace(case_of(f"repetition_aware/{name}@11"), advance=0)
    kind = REFERENCES["repetition_aware"]
    expected = PythonRef().run(case, HERE)
    evidence = Evidence()
    for words, changed in ports(kind):
        other = replace(case, parameters=changed(**values_of(case.parameters)))
        evidence.add(case, expected, words, PythonRef().run(other, HERE))
    assert evidence.wrong == 0, evidence.words
    assert evidence.verdicts["rounding"] > 0
