"""One mistake planted in the port: the gate sees it, and names the stage and the verdict."""

import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from parity_tests.meta import faulty
from sampler_parity.case import CAPABILITIES, SAMPLE_LOGITS_STAGES, Case, SampleLogits
from sampler_parity.cases.plan import case_of
from sampler_parity.cases.recorded import recorded_cases
from sampler_parity.cli import main
from sampler_parity.compare import compare
from sampler_parity.compare.causes import judge
from sampler_parity.extension import REPOSITORY
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.outcome import Outcome
from sampler_parity.run_file import read_run
from sampler_parity.verdict import SEVERITY, Divergence, Verdict

Sides = list[tuple[Case, Outcome]]

FAMILIES = ("gaussian", "flat", "bf16", "top-k-tie", "top-p-tie", "boundary", "crossing")
CASES = 100
HERE = capability_here()
STAGES = ("scaled_logits", "noised_logits", *SAMPLE_LOGITS_STAGES[1:], "input", "generator")

FAULTS: list[tuple[str, str, str]] = re.findall(
    r'^    \w+: "([a-z0-9-]+)", "(\w+)", "(\w+)";$',
    (REPOSITORY / "rust_ext/sampler/src/fault.rs").read_text(encoding="utf-8"),
    re.MULTILINE,
)
"""Every fault's name, stage and verdict as declared; from the source, as tests are named before
the extension is built."""

ELSEWHERE = {"exponential-coefficient-bit" if HERE == "default" else "exponential-table-bit"}
"""Faults of what this process' capability does not compute: only the recorded traces show them."""

SEVERAL_CALLS = {"generator-extra-step", "generator-not-advanced"}
"""Faults that first show in the next call's token."""


def live(draws: int) -> Sides:
    """Cases of ``draws`` calls on a fresh generator, with the reference's outcome here."""
    generated = (case_of(f"{family}-{i}@1") for family in FAMILIES for i in range(CASES))
    cases = [replace(case, draws=draws, advance=0, threads=1) for case in generated]
    return [(case, PythonRef().run(case, HERE)) for case in cases]


@pytest.fixture(scope="session")
def one_call() -> Sides:
    """So that no fault of an earlier call shows."""
    return live(draws=1)


@pytest.fixture(scope="session")
def two_calls() -> Sides:
    """Of ``sample_logits``: of the simple sampler the judge judges the first call only."""
    cases = live(draws=2)
    return [(case, outcome) for case, outcome in cases if isinstance(case.parameters, SampleLogits)]


def live_divergences(extension: ModuleType, cases: Sides) -> list[Divergence]:
    port = RustExt(extension)
    compared = [(case, reference, port.run(case, HERE)) for case, reference in cases]
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


def test_every_fault_is_tested(faulty_extension: Path) -> None:
    extension = faulty.load(faulty_extension)
    assert extension.planted_faults() == FAULTS
    assert len(FAULTS) >= 28
    assert {name for name, _, _ in FAULTS} >= ELSEWHERE | SEVERAL_CALLS


def test_without_a_fault_nothing_differs(
    faulty_extension: Path, one_call: Sides, two_calls: Sides
) -> None:
    extension = faulty.load(faulty_extension)
    assert live_divergences(extension, one_call + two_calls) == []
    assert recorded_divergences(extension) == []


@pytest.mark.parametrize(("name", "stage", "verdict"), FAULTS)
def test_the_stage_and_the_verdict_are_named(
    name: str, stage: str, verdict: str, faulty_extension: Path, one_call: Sides, two_calls: Sides
) -> None:
    extension = faulty.load(faulty_extension)
    extension.plant_fault(name)
    try:
        if name in ELSEWHERE:
            found = recorded_divergences(extension)
        else:
            cases = two_calls if name in SEVERAL_CALLS else one_call
            found = live_divergences(extension, cases)
    finally:
        extension.plant_fault(None)
    assert found, "the fault was not seen at all"
    assert min((divergence.first for divergence in found), key=STAGES.index) == stage
    if name not in ELSEWHERE:
        worst = max((divergence.verdict for divergence in found), key=SEVERITY.__getitem__)
        assert worst == Verdict(verdict)


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
