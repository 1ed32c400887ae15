"""What is timed has done its work, and is timed in turn; no test looks at a clock."""

import dataclasses
import hashlib
from collections.abc import Callable

import numpy as np
import pytest
import torch

import python_ref
import rust_ext
from benchmarks import rust
from benchmarks.cores import Turn
from benchmarks.cores_worker import BATCHES, answer, logits
from benchmarks.gaussian import SEED
from benchmarks.peers import Draw, Sampler, check_possible, describe, kept
from benchmarks.side_by_side import REFERENCE_BARS, missing, reference_bars, waited
from benchmarks.timing import FEWEST_ROUNDS, Budget, Contestant, measure, ratio
from benchmarks.workloads import Workload, check, sample, simple
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run.benchmark_file import ONE_THREAD, Ratio, Side, Timing, Work

SMALL = Work("sample_logits", 200, 20, 0.9)
# Probabilities 0.4, 0.3, 0.2, 0.1.
ROW = np.log(np.array([0.2, 0.4, 0.1, 0.3], np.float32))


def test_sides_have_turns_and_threads_of_their_own() -> None:
    turns: list[object] = []

    def side(name: str) -> Callable[[int], Callable[[], object]]:
        return lambda _: lambda: turns.append(name)

    contestants = [Contestant("a", side("a"), 1, 1), Contestant("b", side("b"), 4, 2)]
    found = measure(contestants, Budget(rounds=9, seconds=-1), turns.append)
    assert turns == [1, "a", 2, "b"] * (1 + FEWEST_ROUNDS)
    assert [len(rounds) for rounds in found.values()] == [FEWEST_ROUNDS] * 2


def test_a_ratio_is_taken_within_a_round() -> None:
    assert ratio([10, 40, 30], [1, 2, 10]) == Ratio(median=10, lowest=3, highest=20)


@pytest.mark.parametrize(
    ("top_k", "top_p", "after_top_k", "expected"),
    [
        (0, 0.75, True, {1, 3, 0}),
        (0, 0.65, True, {1, 3}),
        (2, 0.95, True, {1, 3}),
        (3, 0.75, True, {1, 3}),  # 0.7 of 0.9 is more than 0.75
        (3, 0.75, False, {1, 3, 0}),
    ],
)
def test_what_a_peer_keeps(top_k: int, top_p: float, after_top_k: bool, expected: set[int]) -> None:
    mask = kept(ROW, Work("sample_logits", 4, top_k, top_p), after_top_k=after_top_k)
    assert set(np.flatnonzero(mask).tolist()) == expected


def fake(draw: Draw) -> Sampler:
    return Sampler("fake", "no-such-package", "", lambda _: draw, after_top_k=True)


def test_a_peer_that_has_not_done_its_work_is_found() -> None:
    work = Work("sample_logits", 4, 3, 0.75)
    turns = iter([1, 3] * 8)

    def drawing(tokens: Callable[[], int]) -> Draw:
        return lambda rows: [tokens() for _ in rows]

    batches = [ROW[np.newaxis]]
    right = drawing(lambda: next(turns))
    check_possible(fake(right), right, work, batches, 8)
    outside = drawing(lambda: 2)
    with pytest.raises(CannotJudgeError, match="fake drew token 2, which its own stages drop"):
        check_possible(fake(outside), outside, work, batches, 8)
    stuck = drawing(lambda: 1)
    with pytest.raises(CannotJudgeError, match="always the same"):
        check_possible(fake(stuck), stuck, work, batches, 8)


def test_a_peer_that_is_not_installed_is_said_to_be_missing() -> None:
    peer = describe(fake(lambda _: []))
    assert "no-such-package is not installed" in peer.missing
    assert "fake was not measured" in missing(peer)
    assert (
        "not installed"
        not in describe(dataclasses.replace(fake(lambda _: []), package="numpy")).missing
    )


@pytest.mark.parametrize(
    "workload",
    [
        sample(SMALL),
        sample(Work("sample_logits", 200, 0, 0.85, 64)),
        sample(Work("draw", 200, 20, 0.9, drawn=64)),
        simple(Work("simple_batch_sampler", 200)),
    ],
)
@pytest.mark.usefixtures("one_thread")
def test_the_port_is_timed_only_where_it_draws_the_reference_s_tokens(workload: Workload) -> None:
    for threads in (1, 2):
        check(workload, threads)
    other = rust_ext.Generator(SEED + 1)
    row = np.zeros((1, 200), np.float32)
    wrong = dataclasses.replace(
        workload,
        port=lambda _call, _threads: (
            lambda: np.repeat(
                rust_ext.sample_logits(row, generator=other),
                max(workload.work.drawn, 1) * workload.work.batch,
            )
        ),
    )
    with pytest.raises(CannotJudgeError, match="the tokens differ"):
        check(wrong, 1)
    with pytest.raises(CannotJudgeError, match="the tokens differ"):
        check(dataclasses.replace(workload, same_state=lambda: False), 1)


def test_a_process_of_its_own_draws_the_reference_s_tokens() -> None:
    work = Work("sample_logits", 200, 20, 0.9, 64)
    generator = torch.Generator().manual_seed(SEED)
    expected = b"".join(
        python_ref.sample_logits(
            torch.from_numpy(batch), 1.0, work.top_p, work.top_k, generator=generator
        )
        .numpy()
        .tobytes()
        for batch in logits(work)
    )
    assert len(logits(work)) == BATCHES
    assert answer(Turn(work, 0.0)).tokens == hashlib.sha256(expected).hexdigest()


def measured(vocab: int, drawn: int, **rounds: list[float]) -> rust.Measured:
    return rust.Measured({"vocab": vocab, "top_k": 80, "top_p": 0.95}, drawn, rounds)


def test_the_floor_is_exponentials_and_twists_of_the_same_round() -> None:
    sides = {"exponentials": [2.0, 4.0, 3.0], "twists": [1.0, 2.0, 1.0], "candle": [50.0] * 3}
    output = rust.Output(
        "avx512",
        [
            measured(4_096, 256, sample=[9.0] * 3, draw=[2.0] * 3, **sides),
            measured(8_193, 256, sample=[6.0, 6.0, 6.0], draw=[2.0] * 3, **sides),
            measured(8_193, rust.MANY, twists=[1.0, 2.0], draw=[1.5, 2.0]),
        ],
    )
    timings, bars = rust.timings(output)
    assert [timing.work.function for timing in timings] == [
        *["sample_logits", "draw"] * 2,
        "draw",
    ]
    floor, drawing = bars
    assert floor.ratio == Ratio(median=1.5, lowest=1, highest=2)
    assert floor.reached
    assert drawing.ratio == Ratio(median=1.25, lowest=1, highest=1.5)
    assert drawing.work.drawn == rust.MANY
    candle = timings[2].sides[-1]
    assert (candle.name, candle.ratio.median) == ("candle", 50 / 6)


def test_candle_s_version_is_the_one_that_is_locked() -> None:
    assert rust.peer().version
    assert f'version = "{rust.peer().version}"' in (rust.CRATE / "Cargo.lock").read_text()


def test_waiting_is_a_share_of_running_and_waiting() -> None:
    assert waited((5, 1), (8, 2)) == 0.25
    assert waited((5, 1), (5, 1)) == 0
    assert waited(None, (8, 2)) is None


def test_a_bar_for_nothing_measured_is_an_error() -> None:
    def timing(function: str, vocab: int, logits: str = "Gaussian", batch: int = 1) -> Timing:
        side = Side(name=ONE_THREAD, us=50, ratio=Ratio(median=50, lowest=40, highest=60))
        work = Work(function, vocab, batch=batch, logits=logits)
        return Timing(work=work, where="python", rounds=3, us=1, sides=(side,))

    timings = [timing(*call) for call in REFERENCE_BARS]
    # Bars are for single rows, whatever their logits.
    bars = reference_bars(
        [*timings, timing("sample_logits", 4_096, "real"), timing("sample_logits", 4_096, batch=8)]
    )
    assert len(bars) == len(REFERENCE_BARS) + 1
    assert [bar.bound for bar in bars if not bar.reached] == [60.0]
    with pytest.raises(CannotJudgeError, match="for nothing that was measured"):
        reference_bars(timings[1:])
