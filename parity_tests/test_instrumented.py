"""When cargo is asked for the port with mistakes, and when what it built is still right."""

import subprocess
from pathlib import Path

import pytest

from sampler_parity.build import instrumented
from sampler_parity.model.errors import CannotJudgeError


@pytest.fixture
def cargo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Take cargo's place: every command that it would have got is listed."""
    asked: list[list[str]] = []
    built = tmp_path / "librust_ext.so"

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        built.write_bytes(b"built" * len(asked))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(instrumented, "BUILT", built)
    monkeypatch.setattr(instrumented, "MADE_OF", tmp_path / "made-of")
    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_cargo_is_asked_once(cargo: list[list[str]]) -> None:
    for _ in range(3):
        instrumented.build_instrumented()
    assert len(cargo) == 1


@pytest.mark.parametrize("change", ["sources", "features", "flags", "library", "no library"])
def test_cargo_is_asked_again_where_anything_changed(
    cargo: list[list[str]], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    instrumented.build_instrumented()
    match change:
        case "sources":
            monkeypatch.setattr(instrumented, "source_hash", lambda: "another")
        case "features":
            monkeypatch.setattr(instrumented, "FEATURES", "specimens")
        case "flags":
            monkeypatch.setenv("RUSTFLAGS", "-C opt-level=0")
        case "library":
            instrumented.BUILT.write_bytes(b"of somebody else")
        case _:
            instrumented.BUILT.unlink()
    instrumented.build_instrumented()
    assert len(cargo) == 2


def test_what_cargo_did_not_leave_is_told(
    cargo: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(instrumented, "BUILT", tmp_path / "elsewhere.so")
    with pytest.raises(CannotJudgeError, match=r"elsewhere\.so is missing"):
        instrumented.build_instrumented()
    assert cargo
