"""A divergence's file holds the whole case: it replays from the file alone."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from sampler_parity.cases.case_file import load_case, save_case
from sampler_parity.cases.plan import case_of
from sampler_parity.cli import main
from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines import SampleLogits, SimpleBatch

HERE = capability_here()
LOGITS = np.array([[0x7FC01234, 0x80000000, 0x3F800000]], np.uint32).view(np.float32)


def case(parameters: SampleLogits | SimpleBatch) -> Case:
    return Case("odd-1@2", "odd", LOGITS, parameters, 2**64 - 1, draws=3, advance=7, threads=2)


@pytest.mark.parametrize(
    "parameters",
    [
        SampleLogits(0.1, 0.95, 20),
        SampleLogits(float("inf"), float("-inf"), -1, "argmax"),
        SimpleBatch(1e-300, 5e-324, 2),
        SimpleBatch(0.0, 1.0, None),
    ],
)
def test_nothing_is_lost(parameters: SampleLogits | SimpleBatch, tmp_path: Path) -> None:
    path = tmp_path / "case.safetensors"
    save_case(path, case(parameters), "avx2", Outcome(), Outcome())
    found, capability = load_case(path)
    assert capability == "avx2"
    assert found.logits.tobytes() == LOGITS.tobytes()
    for field in dataclasses.fields(Case):
        if field.name != "logits":
            assert getattr(found, field.name) == getattr(case(parameters), field.name)


def explain(*arguments: str) -> int:
    sys.argv = ["sampler-parity", "explain", *arguments]
    with pytest.raises(SystemExit) as caught:
        main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.proof
def test_explaining_a_file_is_explaining_its_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [])
    path = tmp_path / "case.safetensors"
    save_case(path, case_of("bf16-3@9"), HERE, Outcome(), Outcome())
    assert explain(str(path)) == 0
    from_file = capsys.readouterr().out
    assert explain("bf16-3@9") == 0
    assert capsys.readouterr().out == from_file
    assert "every stage, token and effect is equal, bit for bit" in from_file


@pytest.mark.parametrize("content", [b"", b"\x10" + bytes(7) + b"{}", b"not a file at all"])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "case.safetensors"
    path.write_bytes(content)
    with pytest.raises(CannotJudgeError, match="cannot be read as a case"):
        load_case(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotJudgeError, match="cannot be read as a case"):
        load_case(tmp_path / "none.safetensors")


def test_another_safetensors_file_is_refused(repository: Path) -> None:
    with pytest.raises(CannotJudgeError, match="schema None"):
        load_case(repository / "fixtures" / "smollm2" / "logits.safetensors")
