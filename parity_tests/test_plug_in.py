"""The listings of ``docs/plug-in.md`` work as they stand."""

import re
from pathlib import Path

import pytest

from parity_tests.programs import compiled
from sampler_parity.build.installation import REPOSITORY
from sampler_parity.implementations.plug_in import PlugIn
from sampler_parity.implementations.registry import ENTRY_POINTS, load_implementation, registered
from sampler_parity.model.implementation import About
from sampler_parity.model.verdict import HARMLESS
from sampler_parity.run.comparing import AT_ONE
from sampler_parity.run.gate import run_gate
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import Shard

MANUAL = (REPOSITORY / "docs" / "plug-in.md").read_text(encoding="utf-8")
THIRD = (1, 3)
"""The part of a run's cases that a listing is tried on."""


def listing(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", MANUAL, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("name", ["callable", "pyo3", "torch"])
def test_a_listing_is_short(name: str) -> None:
    assert len(listing(name).splitlines()) <= 30


def shard(implementation: str, folder: Path, odd: str = "odd-logits") -> Shard:
    run = run_gate(
        Request(
            implementations=(implementation,),
            families=("gaussian", odd),
            capabilities=("avx2",),
            folder=folder,
            part=THIRD,
        )
    )
    [found] = [shard for shard in run.shards if shard.source == "torch"]
    assert found.planned == found.compared + found.not_compared
    assert found.compared > 300
    return found


@pytest.mark.slow
@pytest.mark.proof
def test_a_callable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A correct sampler in float64 with a generator of its own: its bits differ, and no more."""
    (tmp_path / "my_sampler.py").write_text(listing("callable"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = shard("my_sampler:sample", tmp_path / "run")
    assert found.about == About(
        name="my_sampler",
        view="probs",
        stream="own",
        effects=("input",),
        samplers=("sample_logits",),
        capabilities="one",
    )
    assert "declined: my_sampler has no simple_batch_sampler" in found.reason
    grave = {verdict for verdict in found.verdicts if verdict not in HARMLESS}
    assert grave <= {"error"}
    assert found.verdicts["rounding"] > 40
    refused = [f for f in found.divergences if f.divergence.verdict == "error"]
    assert {f.family for f in refused} <= {"odd-logits"}


@pytest.mark.slow
@pytest.mark.proof
def test_a_binding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_binding.py").write_text(listing("pyo3"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    found = shard("my_binding:sample", tmp_path / "run")
    assert (found.about.view, found.about.stream) == ("trace", "torch")
    assert found.about.effects == ("input", "generator")
    assert found.divergent == 0


@pytest.mark.slow
@pytest.mark.proof
def test_a_program(tmp_path: Path) -> None:
    """Compiled as it stands, in a package of its own beside the port's dependencies."""
    example = REPOSITORY / "rust_ext" / "sampler" / "examples" / "candidate.rs"
    assert example.read_text(encoding="utf-8").endswith(listing("command"))
    program = compiled("example", "candidate")
    found = shard(f"command:{program}", tmp_path / "run", odd="odd-parameters")
    assert found.about.name == "in_f64"
    for why in ("in_f64 has no simple_batch_sampler", "temperature 0 is an error"):
        assert f"declined: {why}" in found.reason
    assert set(found.verdicts) <= HARMLESS, "it is a correct sampler, and refuses what torch does"
    assert found.verdicts["rounding"] > 40


@pytest.mark.slow
@pytest.mark.proof
def test_a_torch_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's stream, begun in its middle as well; another nucleus than the reference's."""
    (tmp_path / "my_torch.py").write_text(listing("torch"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = shard("my_torch:sample", tmp_path / "run")
    assert (found.about.view, found.about.stream) == ("probs", "torch")
    assert found.about.effects == ("input", "generator")
    assert "mid-stream" not in found.reason
    assert found.verdicts["semantic"] > 20
    assert not {"unfit", "stateful", "crashed", "timed_out"} & set(found.verdicts)
    kept = [f.divergence for f in found.divergences if f.divergence.verdict == "semantic"]
    assert {divergence.stage for divergence in kept} == {"renormalized"}


@pytest.mark.slow
@pytest.mark.proof
def test_a_candidate_that_ignores_the_capability_is_compared_at_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_sampler.py").write_text(listing("callable"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    run = run_gate(
        Request(
            implementations=("my_sampler:sample",),
            families=("real-tts",),
            capabilities=("default", "avx2"),
            folder=tmp_path / "run",
            part=THIRD,
        )
    )
    first, second = run.shards
    assert first.compared > 0
    assert (second.compared, second.not_compared) == (0, second.planned)
    assert second.reason == AT_ONE


def test_an_entry_point_has_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package's metadata is all that there needs to be."""
    (tmp_path / "my_sampler.py").write_text(listing("callable"))
    metadata = tmp_path / "my_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\nmine = my_sampler:sample\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert registered()["mine"] == "my_sampler:sample"
    found = load_implementation("mine")
    assert isinstance(found, PlugIn)
    assert found.about.name == "my_sampler"
