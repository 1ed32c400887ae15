"""One mistake planted in the port: the gate sees it, and names the stage."""

import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
import torch

from parity_tests.meta import faulty
from sampler_parity.case import SAMPLE_LOGITS_STAGES, Case
from sampler_parity.cases.plan import case_of
from sampler_parity.cases.recorded import recorded_cases
from sampler_parity.cli import main
from sampler_parity.compare import compare
from sampler_parity.implementations.python_ref import PythonRef
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.outcome import Outcome
from sampler_parity.run import CAPABILITIES
from sampler_parity.run_file import read_run

FAMILIES = ("gaussian", "bf16", "flat", "top-p-tie", "boundary")
CASES = 200
STAGES = ("scaled_logits", "noised_logits", *SAMPLE_LOGITS_STAGES[1:], "input", "generator")
NAMES = (
    "temperature-by-reciprocal",
    "exponential-coefficient-bit",
    "exponential-table-bit",
    "softmax-lanes",
    "top-k-off-by-one",
    "top-p-inclusive",
    "top-p-stable-ties",
    "renormalize-sequential",
    "draw-uniform-24-bits",
    "generator-word-order",
    "simple-divides",
    "simple-uniform-25-bits",
    "argmax-last-wins",
    "generator-extra-step",
)


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
    capability = torch.backends.cpu.get_cpu_capability().lower()
    return [(case, PythonRef().run(case, capability)) for case in cases]


def first_stages(extension: ModuleType, live: list[tuple[Case, Outcome]]) -> set[str]:
    """The first divergent stage of every divergent case, live and (one call each) recorded."""
    port = RustExt(extension)
    capability = torch.backends.cpu.get_cpu_capability().lower()
    compared = [(case, reference, port.run(case, capability)) for case, reference in live]
    for level in CAPABILITIES:
        for case, recorded in recorded_cases(level):
            outcome = port.run(case, level)
            compared.append((case, recorded.outcome(outcome), outcome))
    found = [compare(*sides).divergence() for sides in compared]
    return {divergence.stage for divergence in found if divergence is not None}


def test_every_fault_is_listed(faulty_extension: Path) -> None:
    extension = faulty.load(faulty_extension)
    assert tuple(name for name, _ in extension.planted_faults()) == NAMES


def test_without_a_fault_nothing_differs(
    faulty_extension: Path, live: list[tuple[Case, Outcome]]
) -> None:
    assert len(live) > 50
    assert first_stages(faulty.load(faulty_extension), live) == set()


@pytest.mark.parametrize("fault", NAMES)
def test_the_stage_is_named(
    fault: str, faulty_extension: Path, live: list[tuple[Case, Outcome]]
) -> None:
    extension = faulty.load(faulty_extension)
    declared = dict(extension.planted_faults())[fault]
    extension.plant_fault(fault)
    try:
        first = first_stages(extension, live)
    finally:
        extension.plant_fault(None)
    assert first, "the fault was not seen at all"
    assert min(first, key=STAGES.index) == declared


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
    assert "first divergent stage probs" in printed
    assert "sampler-parity explain gaussian-" in printed
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "probs" in page
    run = read_run(tmp_path)
    kept = [found.evidence for shard in run.shards for found in shard.divergences]
    assert any(kept)
    assert all((tmp_path / path).is_file() for path in kept if path is not None)


def test_the_shipped_extension_has_no_faults() -> None:
    import rust_ext

    assert rust_ext.build_info()["planted_faults"] is False
    assert not hasattr(rust_ext, "plant_fault")
