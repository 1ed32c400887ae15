"""What a phase must use, read and held against calls."""

from pathlib import Path

import numpy as np
import pytest

from sampler_parity.engines.contract import (
    CONTRACTS,
    Loop,
    Phase,
    departures,
    load_contract,
    loop_departures,
)
from sampler_parity.engines.recording import Call
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run.waivers import load_waivers

TTS = load_contract("tts")


def call(**changes: object) -> Call:
    """Give a call as the semantic phase must make it, with changes."""
    given: dict[str, object] = {
        "generation": 0,
        "phase": "semantic",
        "call": 0,
        "sampler": "python_ref.sample_logits",
        "parameters": {"temperature": 1, "top_p": 0.949999988, "top_k": 80},
        "shape": (1, 8193),
        "dtype": "F32",
        "slice": (0, 8193),
        "token": (5,),
    }
    return Call(**{**given, **changes})  # type: ignore[arg-type]  # fields by name


def kinds(one: Call, logits: np.ndarray | None = None) -> list[tuple[str, str]]:
    asked = TTS.fitting(one)
    assert asked is not None
    return [(kind, what) for kind, what, _ in departures(asked, one, logits)]


def test_what_comes_with_the_harness_can_be_read() -> None:
    for path in CONTRACTS.glob("*.toml"):
        assert load_contract(path.stem).phase


def test_calls_that_are_as_asked() -> None:
    assert kinds(call()) == []
    cloning = {"temperature": 0.01, "top_p": 0.9, "top_k": 1}
    assert kinds(call(parameters=cloning)) == [], "either of two phases of one name"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"sampler": "simple_batch_sampler", "parameters": {}}, [("sampler", "wrong sampler")]),
        (
            {"parameters": {"temperature": 1.0, "top_p": 0.95, "top_k": 20}},
            [("parameters", "wrong parameters")],
        ),
        ({"parameters": {"temperature": 1.0}}, [("parameters", "wrong parameters")]),
        ({"shape": (1, 8192), "slice": (0, 8192)}, [("vocabulary", "short slice")]),
        ({"shape": (1, 8192), "slice": None}, [("vocabulary", "short slice")]),
        ({"shape": (12_292,), "slice": None}, [("vocabulary", "long slice")]),
    ],
)
def test_calls_that_are_not(changes: dict[str, object], found: list[tuple[str, str]]) -> None:
    assert kinds(call(**changes)) == found


def test_masks() -> None:
    asked = Phase(name="semantic", masked=(1, 2))
    logits = np.zeros(8193, np.float32)
    logits[[2, 3]] = -np.inf
    told = {what: words for _, what, words in departures(asked, call(), logits)}
    assert "token 3" in told["mask extra"]
    assert "token 1" in told["mask missing"]


@pytest.mark.parametrize(
    ("loop", "found"),
    [
        (Loop([(1,), (2,), (9,)], [(11,), (12,), ()], (7,), ended=True), []),
        (Loop([(1,), (2,)], [(11,), (2,)], (7,), ended=False), []),
        (Loop([(1,), (9,), (2,)], None, None, ended=True), [(2, "extra calls")]),
        (Loop([(1,)] * 6, None, None, ended=True), [(5, "extra calls")]),
        (Loop([(1,), (2,)], None, None, ended=True), [(2, "missing calls")]),
        (Loop([(1,), (2,), (9,)], [(1,), (12,), ()], (7,), ended=True), [(0, "fed")]),
        (Loop([(9,)], [()], (8,), ended=True), [(0, "fed")]),
    ],
)
def test_loops(loop: Loop, found: list[tuple[int, str]]) -> None:
    asked = Phase(name="semantic", end=9, calls_at_most=5, fed_first=(7,), fed_plus=10)
    assert [(at, what) for at, what, _ in loop_departures(asked, loop)] == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "asks for nothing"),
        ("[[phase]]\nsampler = 'x'", "missing required field `name`"),
        ("[[phase]]\nname = 'x'\ntop_k = 3", "unknown field `top_k`"),
        ("[[phases]]\nname = 'x'", "no use for phases"),
        ("[engine]\nstreams = 'other'", "Invalid enum value 'other'"),
        ("phase = 3", "no contract"),
        ("\x00", "no contract"),
    ],
)
def test_contracts_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "parity.toml"
    path.write_text(text)
    with pytest.raises(CannotJudgeError, match=words):
        load_contract(str(path))


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(CannotJudgeError, match="come with the harness: tts"):
        load_contract("none.toml")


def test_one_file_has_waivers_and_a_contract(tmp_path: Path) -> None:
    path = tmp_path / "parity.toml"
    path.write_text("[[phase]]\nname = 'x'\nsampler = 'sample_logits'\n")
    assert load_waivers(path) == ()
    assert load_contract(str(path)).phase[0].name == "x"
