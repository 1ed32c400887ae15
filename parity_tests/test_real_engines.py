"""What is said of two real engines is what was measured; no test runs a real model."""

import math
from pathlib import Path

import msgspec
import pytest
import torch

from benchmarks.readme import between
from benchmarks.real_engines import CALLS, PARAMETERS, PROMPTS, WAYS, compare, judge_alone
from benchmarks.real_engines_page import ENGINES, Alone, Pair, encoded, read, section
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


def changed_pair(pair: Pair, **fields: object) -> Pair:
    return msgspec.structs.replace(pair, **fields)


def test_what_differs_is_said() -> None:
    """The words come from the numbers: others give others."""
    stored = read()
    free, forced, *others = stored.pairs
    free = changed_pair(free, first_flips=(None, 17))
    forced = changed_pair(forced, flips=23, findings=(), variation=(0.25, math.pi / 4))
    failed = msgspec.structs.replace(stored.alone[0], status="diverges")
    words = section(
        msgspec.structs.replace(
            stored, pairs=(free, forced, *others), alone=(failed, *stored.alone[1:])
        )
    )
    row = next(line for line in words.splitlines() if line.startswith(f"| {free.way} "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == "none, 17"
    assert cells[2].startswith("23 of ")
    assert cells[4:] == ["0.25, 0.79", "nothing"]
    assert f"The others: {failed.engine}: diverges." in " ".join(words.split())


def test_half_a_pair_is_refused() -> None:
    stored = read()
    with pytest.raises(CannotJudgeError, match="free and forced"):
        section(msgspec.structs.replace(stored, pairs=stored.pairs[1:]))


def test_a_stored_result_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "engines.json"
    path.write_bytes(encoded(read()))
    assert read(path) == read()
    path.write_bytes(b"{}")
    with pytest.raises(CannotJudgeError, match="no result"):
        read(path)
    with pytest.raises(CannotJudgeError, match="no result"):
        read(tmp_path / "none.json")
