"""Counts of instructions are compared with recorded ones; nothing is counted here."""

import os
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks import instructions
from benchmarks.instructions import (
    CALLS,
    STORED,
    TIMES,
    Call,
    Count,
    Counts,
    Toolchain,
    check_inlined,
    check_toolchain,
    collected,
    compare,
    count,
    faster,
    measure,
    per_call,
    read,
    slower,
)
from benchmarks.programs import run
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run.benchmark_file import Work

COMPILER = Toolchain("rustc 1.95.0 (59807616e 2026-04-14)", "x86_64-unknown-linux-gnu")
ROW = Call(Work("sample_logits", 200, 20, 0.9), "avx2", "avx512")
PORTABLE = msgspec.structs.replace(ROW, kernel="portable")


def counts(*found: int, toolchain: Toolchain = COMPILER) -> Counts:
    calls = zip((ROW, PORTABLE), found, strict=False)
    return Counts(
        schema=1,
        toolchain=toolchain,
        valgrind="valgrind-3.19.0",
        counts=tuple(Count(call, instructions) for call, instructions in calls),
    )


def test_start_up_is_not_counted() -> None:
    assert per_call(ROW, 5_000 + 300 * TIMES, 5_000 + 600 * TIMES) == 300


@pytest.mark.parametrize("twice", [0, 5_000])
def test_calls_without_instructions_are_an_error(twice: int) -> None:
    with pytest.raises(CannotJudgeError, match=r"portable kernels.*took no instructions"):
        per_call(PORTABLE, 5_000, twice)


@pytest.mark.parametrize(
    ("found", "more", "less"),
    [
        (100_000, False, False),
        (101_000, False, False),
        (101_001, True, False),
        (102_000, True, False),
        (99_000, False, False),
        (98_999, False, True),
    ],
)
def test_more_than_a_hundredth_is_a_change(found: int, more: bool, less: bool) -> None:
    changes = compare(counts(100_000, 100_000), counts(100_000, found))
    assert [change.call for change in changes] == [ROW, PORTABLE]
    assert [change.call for change in slower(changes)] == [PORTABLE] * more
    assert [change.call for change in faster(changes)] == [PORTABLE] * less


def test_a_call_that_was_not_counted_or_not_recorded_is_an_error() -> None:
    with pytest.raises(CannotJudgeError, match=r"portable kernels.*it was not counted"):
        compare(counts(100, 100), counts(100))
    with pytest.raises(CannotJudgeError, match=r"portable kernels.*it was not recorded.*--record"):
        compare(counts(100), counts(100, 100))


@pytest.mark.parametrize("field", ["rustc", "target"])
def test_another_compiler_s_counts_are_no_bar(field: str) -> None:
    other = msgspec.structs.replace(COMPILER, **{field: "another"})
    check_toolchain(COMPILER, COMPILER)
    with pytest.raises(CannotJudgeError, match=r"this is .*another.*no bar.*--record"):
        compare(counts(100), counts(100, toolchain=other))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        msgspec.json.encode(counts(0)),
        msgspec.json.encode(counts()),
        msgspec.json.encode(counts(100)).replace(b'"schema":1', b'"schema":2'),
    ],
)
def test_a_damaged_record_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "instructions.json"
    with pytest.raises(CannotJudgeError, match=r"no sound counts.*--record"):
        read(path)
    path.write_bytes(content)
    with pytest.raises(CannotJudgeError, match=r"no sound counts.*--record"):
        read(path)
    path.write_bytes(msgspec.json.encode(counts(100)))
    assert read(path) == counts(100)


def test_every_call_is_recorded() -> None:
    assert [one.call for one in read(STORED).counts] == list(CALLS)


@pytest.mark.parametrize(
    ("found", "toolchain", "status", "said"),
    [
        ((100_000, 500), COMPILER, 0, ""),
        (
            (102_000, 500),
            COMPILER,
            1,
            "avx2 kernels, avx512 bits: 102,000 instructions, 100,000 recorded: 1.0200 times",
        ),
        ((100_000, 400), COMPILER, 0, "500 recorded: 0.8000 times; record them anew"),
        ((100_000, 500), Toolchain("rustc 1.96.0", COMPILER.target), 2, "no bar"),
        ((100_000,), COMPILER, 2, "not counted"),
    ],
)
def test_exit_status(
    found: tuple[int, ...],
    toolchain: Toolchain,
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(instructions, "STORED", tmp_path / "instructions.json")
    monkeypatch.setattr(instructions, "here", lambda: COMPILER)
    monkeypatch.setattr(instructions, "measure", lambda _: counts(100_000, 500))
    monkeypatch.setattr(sys, "argv", ["instructions"])
    assert instructions.main() == 2
    monkeypatch.setattr(sys, "argv", ["instructions", "--record"])
    assert instructions.main() == 0
    capsys.readouterr()

    monkeypatch.setattr(sys, "argv", ["instructions"])
    monkeypatch.setattr(instructions, "here", lambda: toolchain)
    monkeypatch.setattr(instructions, "measure", lambda _: counts(*found, toolchain=toolchain))
    assert instructions.main() == status
    printed = "".join(capsys.readouterr())
    assert said in printed
    assert ("MORE sample_logits, V = 200" in printed) == (status == 1)
    assert ("less sample_logits, V = 200" in printed) == (found[-1] == 400)


def fake(
    folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, name: str = "valgrind"
) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_count_is_what_callgrind_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The last argument is how often the call is made.
    last = 'for times; do :; done; echo "==1== Collected : $((7000 + 300 * times))" >&2'
    fake(tmp_path, monkeypatch, last)
    assert collected(Path("program"), ROW, 2) == 7_600
    assert count(Path("program"), ROW) == Count(ROW, 300)


@pytest.mark.parametrize(
    ("symbols", "said"),
    [
        ("t torch_exact_sampler::draw\nt core::core_arch::x86::xsave::_xgetbv", None),
        (
            "t torch_exact_sampler::draw\nt core::core_arch::x86::avx512f::_mm512_add_ps",
            "kernels call _mm512_add_ps as functions",
        ),
        ("", "does not name its functions"),
    ],
)
def test_instructions_that_are_called_are_an_error(
    symbols: str, said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch, f"printf '%b\\n' '{symbols}'", "nm")
    if said is None:
        check_inlined(Path("program"))
        return
    with pytest.raises(CannotJudgeError, match=said):
        check_inlined(Path("program"))


def test_runs_that_differ_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    growing = f'echo >> {runs}; echo "==1== Collected : $(wc -l < {runs})" >&2'
    fake(tmp_path, monkeypatch, growing)
    with pytest.raises(CannotJudgeError, match="two equal runs took 1 and 2 instructions"):
        count(Path("program"), ROW)


@pytest.mark.parametrize(
    ("script", "said"), [("true", "gave no count"), ("echo why >&2; false", "failed: why")]
)
def test_a_run_without_a_count_is_an_error(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch, script)
    with pytest.raises(CannotJudgeError, match=said):
        collected(Path("program"), ROW, 1)


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CannotJudgeError, match="no-such-program cannot be run"):
        run("no-such-program")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CannotJudgeError, match="valgrind is not installed"):
        measure(COMPILER)
