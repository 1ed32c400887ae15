"""One mistake planted in the port: the gate sees it, and names the stage."""

import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from parity_tests.meta import faulty
from sampler_parity.case import CAPABILITIES, SAMPLE_LOGITS_STAGES, Case
from sampler_parity.cases.plan import case_of
from sampler_parity.cases.recorded import recorded_cases
from sampler_parity.cli import main
from sampler_parity.compare import compare
from sampler_parity.compare.causes import judge
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.outcome import Outcome
from sampler_parity.run_file import read_run
from sampler_parity.verdict import SEVERITY, Divergence, Verdict

FAMILIES = ("gaussian", "bf16", "flat", "top-p-tie", "boundary")
CASES = 200
HERE = capability_here()
STAGES = ("scaled_logits", "noised_logits", *SAMPLE_LOGITS_STAGES[1:], "input", "generator")
VERDICTS = {
    "temperature-by-reciprocal": Verdict.ROUNDING,
    "exponential-coefficient-bit": Verdict.ROUNDING,
    "exponential-table-bit": Verdict.ROUNDING,
    "softmax-lanes": Verdict.ROUNDING,
    "top-k-off-by-one": Verdict.SEMANTIC,
    "top-p-inclusive": Verdict.SEMANTIC,
    "top-p-stable-ties": Verdict.TIE_ORDER,
    "renormalize-sequential": Verdict.ROUNDING,
    "draw-uniform-24-bits": Verdict.GENERATOR,
    "generator-word-order": Verdict.GENERATOR,
    "simple-divides": Verdict.ROUNDING,
    "simple-uniform-25-bits": Verdict.GENERATOR,
    "argmax-last-wins": Verdict.TIE_ORDER,
    "generator-extra-step": Verdict.GENERATOR,
}
"""Every fault, and the verdict it must get; the extension declares the stage."""

AT_DEFAULT = {"exponential-table-bit"}
"""Faults of what only capability default computes."""


@pytest.fixture(scope="session")
def faulty_extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = Path(__file__).resolve().parents[2]
    target = repository / "target" / "planted-faults"
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--quiet", "--package", "rust_ext",
         "--features", "planted-faults", "--target-dir", str(target)],
        cwd=repository,
        check=True,
    )  # fmt: skip
    built = tmp_path_factory.mktemp("faulty") / "rust_ext.abi3.so"
    shutil.copy(target / "release" / "librust_ext.so", built)
    return built


@pytest.fixture(scope="session")
def live() -> list[tuple[Case, Outcome]]:
    """Cases of one call on a fresh generator, so that no fault of an earlier call shows."""
    generated = (case_of(f"{family}-{i}@1") for family in FAMILIES for i in range(CASES))
    cases = [case for case in generated if case.draws == 1 and not case.advance]
    return [(case, PythonRef().run(case, HERE)) for case in cases]


def live_divergences(extension: ModuleType, live: list[tuple[Case, Outcome]]) -> list[Divergence]:
    port = RustExt(extension)
    compared = [(case, reference, port.run(case, HERE)) for case, reference in live]
    found = [judge(*sides, compare(*sides)) for sides in compared]
    return [divergence for divergence in found if divergence is not None]


def recorded_divergences(extension: ModuleType) -> list[Divergence]:
    """Those from the traces recorded at every capability, by bits alone."""
    port = RustExt(extension)
    found = []
    for capability in CAPABILITIES:
        for case, recorded in recorded_cases(capability):
            outcome = port.run(case, capability)
            found.append(compare(case, recorded.outcome(outcome), outcome).divergence())
    return [divergence for divergence in found if divergence is not None]


def test_every_fault_is_listed(faulty_extension: Path) -> None:
    extension = faulty.load(faulty_extension)
    assert tuple(name for name, _ in extension.planted_faults()) == tuple(VERDICTS)


def test_without_a_fault_nothing_differs(
    faulty_extension: Path, live: list[tuple[Case, Outcome]]
) -> None:
    extension = faulty.load(faulty_extension)
    assert len(live) > 50
    assert live_divergences(extension, live) + recorded_divergences(extension) == []


@pytest.mark.parametrize("fault", VERDICTS)
def test_the_stage_and_the_verdict_are_named(
    fault: str, faulty_extension: Path, live: list[tuple[Case, Outcome]]
) -> None:
    extension = faulty.load(faulty_extension)
    declared = dict(extension.planted_faults())[fault]
    extension.plant_fault(fault)
    try:
        judged, recorded = live_divergences(extension, live), recorded_divergences(extension)
    finally:
        extension.plant_fault(None)
    first = {divergence.first for divergence in judged + recorded}
    assert first, "the fault was not seen at all"
    assert min(first, key=STAGES.index) == declared
    if fault not in AT_DEFAULT or HERE == "default":
        worst = max((divergence.verdict for divergence in judged), key=SEVERITY.__getitem__)
        assert worst == VERDICTS[fault]


def test_one_flipped_bit_on_the_command_line(
    faulty_extension: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The last bit of one coefficient: exit status 1, the stage, the case, the replay command."""
    monkeypatch.setenv(faulty.EXTENSION, str(faulty_extension))
    monkeypatch.setenv(faulty.FAULT, "exponential-coefficient-bit")
    arguments = [
        "sampler-parity", "run", "--implementation", "parity_tests.meta.faulty:Faulty",
        "--family", "gaussian", "--out", str(tmp_path),
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    printed = capsys.readouterr().out
    assert "rounding at probs, first divergent stage probs" in printed
    assert "sampler-parity explain gaussian-" in printed
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "probs" in page
    run = read_run(tmp_path)
    kept = [found.evidence for shard in run.shards for found in shard.divergences]
    assert any(kept)
    assert all(sum(shard.verdicts.values()) == shard.divergent for shard in run.shards)
    assert all((tmp_path / path).is_file() for path in kept if path is not None)


def test_the_shipped_extension_has_no_faults() -> None:
    import rust_ext

    assert rust_ext.build_info()["planted_faults"] is False
    assert not hasattr(rust_ext, "plant_fault")
