"""Every run plants faults, and names each at its stage with its verdict."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from parity_tests.meta import faulty
from parity_tests.meta.test_fails_closed import found, planted, shards
from sampler_parity.build.installation import REPOSITORY
from sampler_parity.build.processor import STANDS_AT
from sampler_parity.cli import main
from sampler_parity.engines.planted import ENGINES
from sampler_parity.faults import kill, port, shipped
from sampler_parity.faults.mistakes import CORRECT, MISTAKES, Mistake
from sampler_parity.faults.plain import Plain
from sampler_parity.implementations import certified_port, reference
from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.implementations.specimens import SPECIMENS
from sampler_parity.model.verdict import Verdict
from sampler_parity.run.conclusion import conclude
from sampler_parity.run.gathering import merged
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import Run, read_run

HERE = capability_here()
DECLARED = re.findall(
    r'^    \w+: "([a-z0-9-]+)", "(\w+)", "(\w+)";$',
    (REPOSITORY / "rust_ext/sampler/src/fault.rs").read_text(encoding="utf-8"),
    re.MULTILINE,
)
"""Every fault's name, stage and verdict in the source of the port's stages."""
SHIPPED = re.findall(
    r'^    \w+: "([a-z0-9-]+)", "((?:fast|draw|batch)/\w+\.rs)", "([^"]+)";$',
    (REPOSITORY / "rust_ext/sampler/src/fault.rs").read_text(encoding="utf-8"),
    re.MULTILINE,
)
"""The name, the file and the path of every fault in what users run, in the port's source."""


def test_every_fault_was_planted(gate_run: Run) -> None:
    planted = {(fault.where, fault.name): fault for fault in gate_run.planted}
    assert len(planted) == len(gate_run.planted) >= 80
    expected = {("port", name) for name, _, _ in DECLARED}
    expected |= {("plain", mistake.name) for mistake in MISTAKES}
    expected |= {("specimen", name) for name in SPECIMENS}
    expected |= {("shipped", name) for name, _, _ in SHIPPED}
    assert len(SHIPPED) >= 38
    assert set(planted) == expected
    for name, stage, verdict in DECLARED:
        fault = planted["port", name]
        assert (fault.stage, fault.verdict.value) == (stage, verdict)
    for name, file, path in SHIPPED:
        fault = planted["shipped", name]
        assert (fault.file, fault.path) == (file, path)
        assert fault.missed is not None
        assert fault.missed <= 1e-6
    paths = {(fault.where, fault.path) for fault in gate_run.planted if fault.where != "shipped"}
    assert paths == {
        ("port", "stages"), ("plain", "plain sampler"), ("specimen", "as found"),
    }  # fmt: skip


def test_every_fault_was_named(gate_run: Run) -> None:
    survivors = [fault for fault in gate_run.planted if not fault.killed]
    assert [engine for engine in gate_run.engine_faults if not engine.killed] == []
    assert len(gate_run.engine_faults) == ENGINES
    assert survivors == []
    assert all(fault.caught > 0 for fault in gate_run.planted)
    in_what_users_run = [fault for fault in gate_run.planted if fault.where == "shipped"]
    assert [fault.name for fault in in_what_users_run if fault.others] == [], "right without it"
    assert all(fault.cases >= 20 for fault in in_what_users_run), "at two capabilities"


def test_no_correct_sampler_was_called_wrong(gate_run: Run) -> None:
    assert [sampler.name for sampler in gate_run.correct] == [plain.name for plain in CORRECT]
    assert all(sampler.passed for sampler in gate_run.correct)


def test_the_port_without_a_fault_is_exact(extension: Any) -> None:
    cases = kill.kill_cases("quick", HERE)
    assert kill.judged(RustExt(extension), cases, HERE) == (len(cases), Counter())


@pytest.fixture
def standing_at_neon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the port stand in torch's place at a level of torch on Arm, as a worker there has it."""
    monkeypatch.setenv(STANDS_AT, "neon")
    monkeypatch.setattr(reference, "_here", lambda: certified_port)


@pytest.mark.usefixtures("standing_at_neon")
def test_the_port_without_a_fault_is_what_was_recorded_on_arm(extension: Any) -> None:
    cases = kill.recorded_kill_cases("neon")
    assert len(cases) > 150
    assert kill.judged(RustExt(extension), cases, "neon") == (len(cases), Counter())


@pytest.mark.usefixtures("standing_at_neon", "extension")
@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("softmax-lanes", "probs"),
        ("softmax-fold-pairs", "probs"),
        ("renormalize-short-in-lanes", "renormalized"),
    ],
    ids=["8 lanes for 4", "pairs for halves", "4 to 7 in lanes"],
)
def test_a_fault_in_each_rule_of_arm_is_named(
    name: str, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what was recorded there; of cases that were recorded, since torch is not there to ask."""
    faults = tuple(fault for fault in port.port_faults() if fault.name == name)
    monkeypatch.setattr(kill, "port_faults", lambda: faults)
    [fault] = kill.plant_in_port(kill.recorded_kill_cases("neon"), "neon", lambda: None)
    assert (fault.killed, fault.stage, fault.verdict) == (True, stage, Verdict.ROUNDING)
    assert fault.caught > 10


class Altered:
    """The extension, whose fault is no fault; or which always has one."""

    def __init__(self, extension: Any, *, always: str | None = None) -> None:
        self._extension = extension
        self._always = always

    def __getattr__(self, name: str) -> Any:
        return getattr(self._extension, name)

    def plant_fault(self, _: str | None) -> None:
        self._extension.plant_fault(self._always)


@pytest.mark.parametrize("always", [None, "list-word"], ids=["no fault", "always a fault"])
def test_a_fault_of_what_users_run_that_does_nothing_survives(
    always: str | None, extension: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it caught by calls that are wrong without it."""
    altered = Altered(extension, always=always)
    [fault] = [fault for fault in shipped.shipped_faults() if fault.name == "list-word"]
    monkeypatch.setattr(shipped, "instrumented", lambda: altered)
    monkeypatch.setattr(shipped, "shipped_faults", lambda: (fault,))
    altered.plant_fault(None)
    try:
        [survivor] = shipped.plant_in_shipped(HERE, lambda: None)
    finally:
        extension.plant_fault(None)
    assert not survivor.killed
    assert survivor.caught == survivor.others.get(shipped.WITHOUT, 0)
    assert (survivor.caught > 0) == (always is not None)
    status, reasons = conclude(Request(), replace(found(shards()), planted=(survivor,)))
    assert status == "unjudged"
    assert "missed a planted fault: list-word (in draw/multinomial.rs: list)" in " ".join(reasons)


def test_a_fault_of_what_users_run_must_be_caught_at_every_capability() -> None:
    caught = planted(where="shipped")
    missed = planted(where="shipped", caught=0, killed=False)
    for pair in ([caught, missed], [missed, caught]):
        assert [fault.killed for fault in merged(pair)] == [False]
    assert [fault.killed for fault in merged([caught, caught])] == [True]


def wrongly(**changes: Any) -> Mistake:
    return replace(MISTAKES[0], **changes)


@pytest.mark.parametrize(
    "mistake",
    [
        wrongly(sampler=Plain()),
        wrongly(stage="probs"),
        wrongly(verdict=Verdict.GENERATOR),
    ],
    ids=["no mistake made", "another stage", "another verdict"],
)
def test_a_fault_that_is_not_named_survives(
    mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill, "MISTAKES", (mistake,))
    cases = kill.kill_cases("quick", HERE)
    [fault] = kill.plant_in_plain(cases, HERE, lambda: None)
    assert not fault.killed


@pytest.mark.parametrize("wrong", ["stage", "verdict"])
def test_a_fault_of_the_port_that_is_not_named_survives(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [fault] = [fault for fault in port.port_faults() if fault.name == "softmax-lanes"]
    changed: dict[str, Any] = (
        {"stage": "top_k_mask"} if wrong == "stage" else {"verdict": Verdict.SEMANTIC}
    )
    altered = replace(fault, **changed)
    monkeypatch.setattr(kill, "port_faults", lambda: (altered,))
    [found] = kill.plant_in_port(kill.kill_cases("quick", HERE), HERE, lambda: None)
    assert not found.killed


def test_a_correct_sampler_called_wrong_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = MISTAKES[0].sampler
    monkeypatch.setattr(kill, "CORRECT", (wrong,))
    [found] = kill.try_correct(kill.kill_cases("quick", HERE), HERE, lambda: None)
    assert not found.passed


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"planted": ()}, "no fault was planted"),
        ({"correct": ()}, "no fault was planted"),
        ({"planted": (planted(killed=False),)}, "the gate missed a planted fault: mistake"),
    ],
)
def test_a_run_that_misses_a_fault_is_not_a_pass(changes: dict[str, Any], sentence: str) -> None:
    holding = found(shards())
    assert conclude(Request(), holding)[0] == "holds"
    status, reasons = conclude(Request(), replace(holding, **changes))
    assert status == "unjudged"
    assert sentence in " ".join(reasons)


def test_a_misjudged_correct_sampler_is_not_a_pass(gate_run: Run) -> None:
    wrong = msgspec.structs.replace(gate_run.correct[0], passed=False)
    status, reasons = conclude(Request(), replace(found(shards()), correct=(wrong,)))
    assert status == "unjudged"
    assert "the gate misjudged a correct sampler: numpy f64 got" in reasons[0]


@pytest.mark.proof
@pytest.mark.usefixtures("extension")
def test_one_flipped_bit_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last bit of one coefficient: exit status 1, the stage, the case, the replay command."""
    monkeypatch.setenv(faulty.FAULT, "exponential-coefficient-bit")
    arguments = [
        "sampler-parity", "run", "--implementation", "parity_tests.meta.faulty:Faulty",
        "--family", "gaussian", "--capability", "avx2", "--out", str(tmp_path),
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    printed = capsys.readouterr().out
    assert "rounding at probs, index" in printed
    assert "sampler-parity explain gaussian-" in printed
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "probs" in page
    run = read_run(tmp_path)
    for shard in run.shards:
        assert sum(shard.verdicts.values()) == shard.divergent > 0
        kept = [each.evidence for each in shard.divergences if each.evidence is not None]
        assert len(kept) >= 1, "the first of the family"
        assert all((tmp_path / evidence).is_file() for evidence in kept)
        small = [each.shrunken for each in shard.divergences if each.shrunken is not None]
        assert len(small) == (1 if shard.source == "torch" else 0)
        for shrunken in small:
            assert (tmp_path / shrunken.evidence).is_file()
            assert shrunken.divergence.stage == "probs"
            assert len(shrunken.logits[0].split(", ")) <= 8


def test_the_shipped_extension_has_no_faults() -> None:
    import rust_ext

    assert rust_ext.build_info()["planted_faults"] is False
    assert not hasattr(rust_ext, "plant_fault")
