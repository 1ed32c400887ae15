"""torch on Arm: what was recorded of it, and the rules that follow, replayed in numpy.

Every operation of a replay is one of float32, but for the fused multiply-add, which is exact. The
exponential is Sleef's polynomial as its sources have it: that, and the rules that both
architectures share, are held against live torch on x86. What is Arm's own is held against what was
recorded there, and the port against the replay.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.numpy import load_file

import rust_ext
from sampler_parity.build.installation import REPOSITORY
from sampler_parity.build.processor import environment_at, levels_here, reached
from sampler_parity.cases.fixtures import FIXTURES
from sampler_parity.cases.golden import ARM as ARM_ONLY
from sampler_parity.cases.golden import GOLDEN
from sampler_parity.cases.manifest import load_manifest
from sampler_parity.cases.recorded import load_golden, recorded_cases
from sampler_parity.cli import main
from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.judge import compare

F32 = npt.NDArray[np.float32]
Level = Any

ARM = {"neon": 4, "sve256": 8}
"""Arm's levels, with the lanes of their softmax sum."""

VOCABS = (*range(1, 141), 255, 511, 1000, 1023, 4099, 8192, 32_769, 49_152, 151_936)

COEFFICIENTS = np.array([0.000_198_527_62, 0.001_393_043_6, 0.008_333_361, 0.041_666_485,
                           0.166_666_67, 0.5], np.float32)  # fmt: skip
"""Sleef's ``xexpf``, highest power first."""


def floats(*numbers: Any) -> F32:
    """Give numbers as f32."""
    return np.array(numbers, np.float32)


def rows(vocab: int) -> Iterator[F32]:
    """Make some rows of a length: flat, steep, and with what cannot be drawn."""
    rng = np.random.default_rng(vocab)
    for spread in (0.3, 3.0, 30.0):
        yield (rng.standard_normal(vocab) * spread).astype(np.float32)
    masked = (rng.standard_normal(vocab) * 4).astype(np.float32)
    masked[rng.random(vocab) < 0.5] = -np.inf
    masked[rng.integers(vocab)] = 1.5
    yield masked


def fused(a: F32, b: F32, c: F32) -> F32:
    """Give a * b + c, rounded once.

    The product is exact in f64. The sum is rounded to odd, which the rounding to f32 does not see.
    """
    product, other = a.astype(np.float64) * b, c.astype(np.float64)
    total = product + other
    back = total - product
    lost = (product - (total - back)) + (other - back)
    even = total.view(np.int64) % 2 == 0
    away = np.where(lost > 0, np.inf, -np.inf)
    odd = np.where((lost != 0) & even, np.nextafter(total, away), total)
    rounded: F32 = odd.astype(np.float32)
    return rounded


def exponentials(x: F32) -> F32:
    """Give Sleef's exponentials of 1.0 ulp, with fused multiply-adds, of what is not positive."""
    x = np.maximum(x, np.float32(-104.5))
    q = np.rint(x * np.float32(1.442_695))
    s = fused(q, floats(-0.693_145_75), x)
    s = fused(q, floats(-1.428_606_8e-6), s)
    power = np.full_like(s, COEFFICIENTS[0])
    for coefficient in COEFFICIENTS[1:]:
        power = fused(power, s, np.full_like(s, coefficient))
    power = np.float32(1) + fused(s * s, power, s)
    half = np.floor(q / 2)
    found: F32 = power * np.exp2(half).astype(np.float32) * np.exp2(q - half).astype(np.float32)
    return found


def in_order(values: F32) -> np.float32:
    """Add f32 numbers one by one."""
    return np.float32(np.add.accumulate(values, dtype=np.float32)[-1])


def lane_sum(values: F32, lanes: int, *, pairs: bool = False) -> np.float32:
    """Add a softmax's exponentials: lanes, block by block, which are then folded by halves."""
    if len(values) < lanes:
        return in_order(values)
    whole = len(values) // lanes * lanes
    blocks = np.zeros((-(-len(values) // lanes), lanes), np.float32)
    blocks.reshape(-1)[: len(values)] = values
    sums = np.add.accumulate(blocks[: whole // lanes], axis=0, dtype=np.float32)[-1]
    sums[: len(values) - whole] += values[whole:]
    while len(sums) > 1:
        half = len(sums) // 2
        sums = sums[::2] + sums[1::2] if pairs else sums[:half] + sums[half:]
    return np.float32(sums[0])


def softmax(logits: F32, lanes: int, *, pairs: bool = False) -> F32:
    """Give a row's softmax: exponentials, times the reciprocal of their sum."""
    with np.errstate(over="ignore"):
        e = exponentials(logits - logits.max())
    return e * (np.float32(1) / lane_sum(e, lanes, pairs=pairs))


def cascade(row: F32, *, one_by_one: bool) -> np.float32:
    """Give ``torch.sum`` of a row: a cascade in eight lanes.

    A row that is shorter than that is added in four lanes, or ``one_by_one``.
    """
    if len(row) < 8:
        if one_by_one:
            return in_order(row)
        sides = np.zeros(4, np.float32)
        sides[: len(row[:4])] = row[:4]
        for x in row[4:]:
            sides[0] += x
        return in_order(sides)
    groups = row[: len(row) // 32 * 32].reshape(-1, 4, 8)
    sides = level_by_level(groups)
    for vector in row[len(groups) * 32 : len(row) // 8 * 8].reshape(-1, 8):
        sides[0] += vector
    lanes = sides[0] + sides[1] + sides[2] + sides[3]
    tail = np.float32(0)
    for x in row[len(row) // 8 * 8 :]:
        tail += x
    return in_order(np.concatenate([floats(tail), lanes]))


def level_by_level(groups: F32) -> F32:
    """Add four vectors of eight side by side: each level is emptied into the next one in time."""
    power = max(4, (max(1, len(groups)) - 1).bit_length() // 4)
    levels = np.zeros((4, 4, 8), np.float32)
    done = 0
    while done + (1 << power) <= len(groups):
        for group in groups[done : done + (1 << power)]:
            levels[0] += group
        done += 1 << power
        for level in range(1, 4):
            levels[level] += levels[level - 1]
            levels[level - 1] = 0
            if done & (((1 << power) - 1) << (level * power)):
                break
    for group in groups[done:]:
        levels[0] += group
    for level in range(1, 4):
        levels[0] += levels[level]
    found: F32 = levels[0]
    return found


def test_fused_rounds_once() -> None:
    """As exact arithmetic does: where two roundings would give another float, too."""
    one, tiny = floats(1 + 2**-23), floats(2**-60)
    half = floats(2**-24)
    assert fused(half, floats(1), one) == np.float32(1 + 2**-22), "to even"
    assert fused(half, floats(1), one - tiny) == np.float32(1 + 2**-22)
    below = fused(floats(1 - 2**-24), floats(2**-24), floats(1 + 2**-23))
    assert below == np.float32(1 + 2**-23), "what f64 rounds to the middle is below it"


@pytest.mark.parametrize("recording", ["neon", "sve128", "sve256"])
def test_the_port_gives_what_was_recorded(recording: str) -> None:
    """92 cases, and 42 that have no other recording: every stage, token, state, and the logits."""
    capability = "sve256" if recording == "sve256" else "neon"
    port, compared = RustExt(), 0
    for case, recorded in recorded_cases(capability):
        if ("sve128" in case.id) != (recording == "sve128"):
            continue
        mine = port.run(case, capability)
        found = compare(case, recorded.outcome(mine), mine)
        assert found.divergence() is None, case.id
        compared += 1
    assert compared == 92 + 42


def test_the_manifest_says_that_they_were_recorded_under_emulation() -> None:
    notes = {
        entry.path: entry.notes
        for entry in load_manifest(FIXTURES).files
        if entry.versions.get("machine") == "aarch64"
    }
    names = ("neon", "sve128", "sve256")
    assert set(notes) == {f"{p}/{name}.safetensors" for p in (GOLDEN, ARM_ONLY) for name in names}
    assert all("under emulation, not on an Arm processor" in words for words in notes.values())
    for name, processor in zip(names, ("neoverse-n1", "neoverse-n2", "neoverse-v1"), strict=True):
        assert all(processor in notes[f"{p}/{name}.safetensors"] for p in (GOLDEN, ARM_ONLY))


@pytest.mark.parametrize(("recording", "lanes"), [("neon", 4), ("sve128", 4), ("sve256", 8)])
def test_the_rules_are_those_of_what_was_recorded(recording: str, lanes: int) -> None:
    """And no others: other lanes, lanes that are folded in pairs, and short rows' other sum."""
    seen, other, pairs, short = 0, 0, 0, 0
    for place in (GOLDEN, ARM_ONLY):
        recorded = load_file(FIXTURES / place / f"{recording}.safetensors")
        for name, _ in load_golden(FIXTURES / place):
            stages = {
                stage: recorded.get(f"{name}.{stage}")
                for stage in ("scaled_logits", "probs", "top_k_mask", "top_p_mask", "renormalized")
            }
            if stages["probs"] is None or not np.isfinite(stages["probs"]).all():
                continue
            for scaled, probs, top_k, top_p, shares in zip(*stages.values(), strict=True):
                assert np.array_equal(softmax(scaled, lanes), probs), name
                kept = np.where(top_k & top_p, probs, np.float32(0))
                assert np.array_equal(kept / cascade(kept, one_by_one=lanes == 4), shares), name
                other += not np.array_equal(softmax(scaled, 12 - lanes), probs)
                pairs += not np.array_equal(softmax(scaled, lanes, pairs=True), probs)
                short += not np.array_equal(kept / cascade(kept, one_by_one=lanes == 8), shares)
                seen += 1
    assert seen > 250
    assert other > 50
    assert pairs > 20
    assert short > 10


@pytest.mark.skipif(reached("avx2") != "avx2", reason="torch has no such level here")
def test_what_both_architectures_share_is_what_torch_computes_at_avx2(
    request: pytest.FixtureRequest,
) -> None:
    """The exponential, and the sum of eight and more."""
    if capability_here() != "avx2":
        # torch takes its level as it is imported.
        environment = {**os.environ, **environment_at("avx2")}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--quiet",
            "--numprocesses=0",
            request.node.nodeid,
        ]
        subprocess.run(command, env=environment, cwd=REPOSITORY, check=True)
        return
    for vocab in VOCABS:
        for logits in rows(vocab):
            probs = torch.softmax(torch.from_numpy(logits)[None], -1)[0]
            assert np.array_equal(softmax(logits, 8), probs.numpy()), vocab
            both = torch.stack([probs, probs])  # One row alone is shared between threads.
            total = cascade(probs.numpy(), one_by_one=False)
            assert total == both.sum(-1)[0].numpy(), vocab


@pytest.mark.parametrize("capability", ARM)
@pytest.mark.parametrize("vocab", VOCABS)
def test_the_port_is_the_replay_at_every_length(vocab: int, capability: Level) -> None:
    for logits in rows(vocab):
        expected = softmax(logits, ARM[capability])
        assert np.array_equal(rust_ext.softmax(logits, capability=capability), expected)
        expected = expected / cascade(expected, one_by_one=capability == "neon")
        found = rust_ext.renormalize(
            rust_ext.softmax(logits, capability=capability), capability=capability
        )
        assert np.array_equal(found, expected)


def test_only_short_rows_tell_the_two_sums_apart() -> None:
    """Of four tokens, the lanes are the tokens."""
    rng = np.random.default_rng(3)
    parted = set()
    for vocab in (*range(1, 12), 40, 333):
        for _ in range(60):
            probs = rng.random(vocab, np.float32)
            here, there = (
                rust_ext.renormalize(probs, capability=level) for level in ("neon", "sve256")
            )
            if not np.array_equal(here, there):
                parted.add(vocab)
    assert parted == {5, 6, 7}


def test_sve256_has_the_bits_of_avx2() -> None:
    parted = 0
    for vocab in VOCABS:
        for logits in rows(vocab):
            arm, x86 = (rust_ext.softmax(logits, capability=c) for c in ("sve256", "avx2"))
            assert np.array_equal(arm, x86)
            parted += not np.array_equal(rust_ext.softmax(logits, capability="neon"), x86)
    assert parted > 100


def explained(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["sampler-parity", "explain", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.proof
@pytest.mark.parametrize("case", ["sample-10-gauss-b1-v8", "arm-05-b8-v6", "sve128/arm-05-b8-v6"])
def test_a_recorded_case_is_explained_at_a_level_of_arm(
    case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explained(monkeypatch, f"recorded:{case}", "--capability", "neon") == 0
    printed = capsys.readouterr().out
    assert f"recorded:{case} at neon, recorded torch against rust_ext" in printed
    assert "every stage, token and effect is equal, bit for bit" in printed


@pytest.mark.skipif("neon" in levels_here(), reason="torch has the level here")
def test_another_case_is_not_explained_at_a_level_that_torch_has_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explained(monkeypatch, "gaussian-0@1", "--capability", "neon") == 2
    said = capsys.readouterr().err
    assert "neon is a level of torch on Arm, and this processor is x86" in " ".join(said.split())


def test_a_processor_has_one_architectures_levels() -> None:
    assert rust_ext.processor_capability() in levels_here()
