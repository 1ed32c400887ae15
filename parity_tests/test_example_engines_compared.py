"""The example engines, compared: the equal pair holds, and every fault is named."""

import random
import re
from pathlib import Path

import pytest

from parity_tests.test_example_engines import (
    PAIRS,
    TABLE,
    program,
    python,
    recorded,
    rust,
)
from sampler_parity.build.installation import REPOSITORY
from sampler_parity.engines import Recording
from sampler_parity.engines.attribution import attribute
from sampler_parity.engines.audit import audit
from sampler_parity.engines.contract import load_contract
from sampler_parity.engines.findings import Attribution
from sampler_parity.engines.small_engine import FAULTS

__all__ = ["program", "recorded"]

pytestmark = [pytest.mark.slow, pytest.mark.proof]

GENERATIONS = 20
TOGETHER = [
    {"wrong-sampler", "wrong-parameters"},
    {"wrong-sampler", "not-renormalised"},
    {"short-slice", "long-slice"},
    {"short-slice", "mask-extra"},
    {"reseeded-each-call", "reseeded-each-phase"},
    {"feedback-offset", "late-start"},
    {"reseeded-each-call", "foreign-draw"},
]
"""Faults of which one leaves nothing of the other to be seen."""


def compared(
    program: Path, recorded: dict[str, Path], folder: Path, *faults: str, forced: bool
) -> Attribution:
    options = [option for fault in faults for option in TABLE[fault][1]]
    scope = "phase" if "phase" in options else "generation"
    other = recorded[scope]
    switches = [word for fault in faults for word in ("--fault", fault)]
    force = ["--force", str(other)] if forced else []
    path = folder / "rust.calls"
    path.unlink(missing_ok=True)
    mine = rust(program, path, *dict.fromkeys(options), *switches, *force)
    return attribute(Recording.open(other), Recording.open(mine))


def own(found: Attribution) -> list[tuple[str, str, str, int]]:
    return [
        (one.kind, one.what, one.phase, one.call)
        for one in found.findings
        if one.kind != "consequence"
    ]


def expected(fault: str) -> tuple[str, str, str, int]:
    """Give what must be named, at the call that the engine's README names."""
    place = TABLE[fault][2]
    kind, what = FAULTS[fault].kind, FAULTS[fault].what
    if fault == "not-renormalised":
        what = "generator"
    # The end that is fed back does not make the call before it wrong; the next call is too many.
    call = place.call + (fault == "stop-rule")
    return kind, what, place.phase, call


def test_equal_engines_over_twenty_generations(program: Path, tmp_path: Path) -> None:
    options = ("--generations", str(GENERATIONS), "--semantic", "40")
    one = python(tmp_path / "python.calls", *options)
    other = rust(program, tmp_path / "rust.calls", *options)
    found = attribute(Recording.open(one), Recording.open(other))
    assert (found.status, found.findings, found.not_compared) == ("holds", (), ())
    assert found.compared > 2 * 32 * GENERATIONS


def test_both_keep_their_contract(recorded: dict[str, Path], program: Path, tmp_path: Path) -> None:
    contract = load_contract("tts")
    mine = rust(program, tmp_path / "rust.calls")
    for path in (recorded["generation"], mine):
        found = audit(Recording.open(path), contract)
        assert (found.status, found.findings) == ("holds", ())


@pytest.mark.parametrize("forced", [False, True], ids=["free", "forced"])
@pytest.mark.parametrize("fault", TABLE)
def test_every_fault_is_named_alone(
    program: Path, recorded: dict[str, Path], tmp_path: Path, fault: str, forced: bool
) -> None:
    found = compared(program, recorded, tmp_path, fault, forced=forced)
    assert found.status == "diverges"
    assert own(found) == [expected(fault)]


def pairs() -> list[tuple[str, str]]:
    found = [
        (a, b)
        for a in TABLE
        for b in TABLE
        if a < b and TABLE[a][1] == TABLE[b][1] and {a, b} not in TOGETHER
    ]
    return random.Random(16).sample(found, PAIRS)  # noqa: S311


@pytest.mark.parametrize("faults", pairs(), ids="+".join)
def test_two_faults_are_both_named_when_forced(
    program: Path, recorded: dict[str, Path], tmp_path: Path, faults: tuple[str, str]
) -> None:
    found = compared(program, recorded, tmp_path, *faults, forced=True)
    kinds = {(kind, what) for kind, what, _, _ in own(found)}
    assert kinds == {expected(fault)[:2] for fault in faults}


def test_the_readme_s_sentence(program: Path, recorded: dict[str, Path], tmp_path: Path) -> None:
    found = compared(program, recorded, tmp_path, "wrong-sampler", forced=True)
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    listing = re.search(r"<!-- calls -->\n```\n(.*?)```", text, re.DOTALL)
    assert listing is not None
    assert " ".join(listing[1].split()) == f"{found.status}: {found.sentence}"
