"""What is said of two real engines is what was measured; no test runs a real model."""

import math
from pathlib import Path

import msgspec
import pytest
import torch

from benchmarks.readme import between
from benchmarks.real_engines import CALLS, PARAMETERS, PROMPTS, WAYS, compare, judge_alone
from benchmarks.real_engines_page import (
    ENGINES,
    Alone,
    Named,
    Pair,
    Result,
    encoded,
    read,
    section,
)
from python_ref import sample_logits
from sampler_parity.engines import Recorder
from sampler_parity.model.errors import CannotJudgeError

GENERATIONS = 2
FLIP = 3
"""The call of generation 1 at which the second engine below gets logits that flip its token."""

TOKEN = 7
SHIFT = 0.125
"""A shift of every logit alike, exact in f32: the law stays as it is."""


def record(path: Path, *, other: bool, force: Path | None = None) -> Path:
    """Record an engine of 8 tokens, near-certain of one; the other one's logits are shifted."""
    recorder = Recorder(path, "engine")
    if force is not None:
        recorder.forcing(force)
    sample = recorder.wrap(sample_logits)
    with recorder:
        for _ in range(GENERATIONS):
            with recorder.generation() as number, recorder.phase("text"):
                generator = torch.Generator().manual_seed(number)
                fed = [0]
                for call in range(5):
                    recorder.fed(fed)
                    logits = torch.arange(8) * 0.5
                    logits[call] = 64.0
                    if other:
                        logits += SHIFT
                    if other and (number, call) == (1, FLIP):
                        logits[[call, TOKEN]] = logits[[TOKEN, call]]
                    fed = [int(sample(logits[None], 1.0, 0.95, 0, generator=generator))]
    return path


@pytest.mark.parametrize("forced", [False, True])
def test_a_pair_is_measured(tmp_path: Path, *, forced: bool) -> None:
    reference = record(tmp_path / "a.calls", other=False)
    force = reference if forced else None
    other = record(tmp_path / "b.calls", other=True, force=force)
    pair = compare(reference, other, "made up", forced=forced)
    assert pair.first_flips == (None, FLIP)
    assert pair.flips == 1
    # A free pair ends with the call whose tokens part.
    assert pair.comparable == pair.differing == (10 if forced else 5 + FLIP + 1)
    # Two logits are exchanged at one call: 64 and 7 * 0.5, both shifted.
    assert pair.apart == (SHIFT, 64.0 + SHIFT - 7 * 0.5)
    assert pair.scale == 64.0 + SHIFT
    assert pair.variation == (0.0, 1.0)
    assert {one.kind for one in pair.findings} == {"logits"}


def test_a_recording_is_judged_alone(tmp_path: Path) -> None:
    path = record(tmp_path / "a.calls", other=False)
    found = judge_alone(path, "engine", forced=False)
    assert (found.calls, found.judged, found.exact) == (10, 10, True)


def test_a_sampler_that_errs_is_not_exact(tmp_path: Path) -> None:
    path = tmp_path / "a.calls"
    generator = torch.Generator().manual_seed(0)

    def sampler(logits: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        token = sample_logits(logits, 1.0, 0.95, 0, generator=generator)
        return (token + 1) % logits.shape[-1]

    with Recorder(path, "engine") as recorder:
        recorder.wrap(sampler, sampler="sample_logits")(torch.zeros(1, 8), generator=generator)
    assert not judge_alone(path, "engine", forced=False).exact


def test_nothing_judged_is_not_exact() -> None:
    assert not Alone("engine", forced=False, status="holds", calls=0, judged=0).exact
    assert not Alone("engine", forced=False, status="holds", calls=8, judged=7).exact
    assert not Alone("engine", forced=False, status="unjudged", calls=8, judged=8).exact


def test_the_page_says_what_is_stored() -> None:
    _, inside, _ = between(ENGINES.read_text(encoding="utf-8"), "real-engines")
    assert inside == section(read())


def test_what_is_stored_is_whole() -> None:
    """Every way, free and forced, of as many calls as the program makes now."""
    stored = read()
    assert [(pair.way, pair.forced) for pair in stored.pairs] == [
        (way, forced) for way in WAYS for forced in (False, True)
    ]
    assert (stored.generations, stored.calls) == (len(PROMPTS), CALLS)
    assert stored.parameters == PARAMETERS
    assert len(stored.alone) == 1 + 2 * len(WAYS)
    assert all(one.exact and one.calls == len(PROMPTS) * CALLS for one in stored.alone)
    for pair in stored.pairs:
        assert not pair.forced or pair.comparable == len(PROMPTS) * CALLS
        assert {one.kind for one in pair.findings} <= {"logits"}


def made_up() -> Result:
    """Make a result of two generations of 16 calls, whose logits differ at all of them."""
    named = Named("logits", "rounding", "the logits differ", times=32, of=32)
    free = Pair(
        way="in f64",
        forced=False,
        sentence="At call 0 the logits differ.",
        findings=(named,),
        first_flips=(None, 7),
        flips=1,
        comparable=24,
        differing=24,
        apart=(0.5, 1.0),
        scale=24.0,
        variation=(0.0, 0.5),
    )
    forced = msgspec.structs.replace(
        free, forced=True, flips=3, comparable=32, differing=32, variation=(0.25, math.pi / 4)
    )
    return Result(
        model="model.gguf",
        sha256="0" * 64,
        versions={"torch": "2.15.0"},
        processor="a processor",
        generations=2,
        calls=16,
        seed=42,
        parameters={"temperature": 1.0},
        pairs=(free, forced),
        alone=tuple(Alone("candle", forced, "holds", 32, 32) for forced in (False, True)),
    )


def row(result: Result) -> list[str]:
    """Give the cells of the table's only row."""
    [line] = [line for line in section(result).splitlines() if line.startswith("| in f64 ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_what_differs_is_said() -> None:
    assert row(made_up()) == [
        "in f64",
        "none, 7",
        "3 of 32",
        "0.5, 1 of 24",
        "0.25, 0.79",
        "`logits`: rounding, 32 of 32 calls",
    ]
    words = " ".join(section(made_up()).split())
    assert "of 2 recordings with 64 judged calls, 2 hold" in words
    assert "> At call 0 the logits differ." in words
    assert "The others" not in words


def test_what_does_not_hold_is_said() -> None:
    result = made_up()
    failed = msgspec.structs.replace(result.alone[1], status="diverges")
    result = msgspec.structs.replace(result, alone=(result.alone[0], failed))
    words = " ".join(section(result).split())
    assert "judged calls, 1 hold" in words
    assert "The others: candle, forced: diverges." in words


def test_a_pair_without_findings_says_so() -> None:
    free, forced = made_up().pairs
    pairs = (free, msgspec.structs.replace(forced, findings=()))
    assert row(msgspec.structs.replace(made_up(), pairs=pairs))[-1] == "nothing"


def test_half_a_pair_is_refused() -> None:
    result = made_up()
    for pairs in (result.pairs[1:], ()):
        with pytest.raises(CannotJudgeError, match="free and forced"):
            section(msgspec.structs.replace(result, pairs=pairs))


def test_a_stored_result_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "engines.json"
    path.write_bytes(encoded(made_up()))
    assert read(path) == made_up()
    path.write_bytes(b"{}")
    with pytest.raises(CannotJudgeError, match="no result"):
        read(path)
    with pytest.raises(CannotJudgeError, match="no result"):
        read(tmp_path / "none.json")
