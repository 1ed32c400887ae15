"""What several threads share: a generator loses no draw, and logits may change under a call."""

import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch

import python_ref
import rust_ext

THREADS = 4
DRAWS = 250
"""Of each thread."""
VOCAB = 4099
CALLS = 400
"""While another thread writes the logits."""


def logits_of(rows: int = 1) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return (np.random.default_rng(3).standard_normal((rows, VOCAB)) * 2).astype(np.float32)


def drawn_by_threads(draw: Callable[[], int]) -> list[int]:
    """Draw in several threads at once; sort the tokens."""
    tokens: list[int] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            tokens.extend([draw() for _ in range(DRAWS)])
        except Exception as error:  # noqa: BLE001  (whatever it is, the test fails by it)
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return sorted(tokens)


@pytest.fixture(scope="module")
def sequence() -> tuple[list[int], bytes]:
    """As many draws of the reference, one after the other."""
    generator = torch.Generator().manual_seed(8)
    row = torch.from_numpy(logits_of())
    tokens = [
        int(python_ref.sample_logits(row, 1.0, 0.95, 50, generator=generator))
        for _ in range(THREADS * DRAWS)
    ]
    return sorted(tokens), generator.get_state().numpy().tobytes()


def test_a_torch_generator_loses_no_draw(sequence: tuple[list[int], bytes]) -> None:
    generator = torch.Generator().manual_seed(8)
    row = torch.from_numpy(logits_of())
    tokens = drawn_by_threads(
        lambda: int(rust_ext.sample_logits_torch(row, 1.0, 0.95, 50, generator=generator))
    )
    assert (tokens, generator.get_state().numpy().tobytes()) == sequence


def test_a_generator_waits(sequence: tuple[list[int], bytes]) -> None:
    generator = rust_ext.Generator(8)
    row = logits_of()
    tokens = drawn_by_threads(
        lambda: int(rust_ext.sample_logits(row, 1.0, 0.95, 50, generator=generator)[0, 0])
    )
    assert (tokens, generator.get_state()) == sequence


def test_every_method_of_a_generator_waits() -> None:
    generator = rust_ext.Generator(8)
    row = logits_of()[0]

    def use() -> int:
        rust_ext.draw(row, 3, generator=generator)
        state = generator.get_state()
        generator.set_state(state)
        generator.manual_seed(generator.initial_seed())
        noised = row.copy()
        rust_ext.simple_batch_sampler(noised, generator=generator)
        return len(repr(generator)) + len(generator.clone_state().get_state())

    assert len(set(drawn_by_threads(use))) == 1


def test_a_generator_in_use_is_waited_for() -> None:
    row = logits_of()
    generator = rust_ext.Generator(8)
    drawn = []
    started = threading.Event()

    def draw() -> None:
        started.set()
        drawn.extend(rust_ext.draw(row[0], 20_000, generator=generator).tolist())

    interval = sys.getswitchinterval()
    # A thread keeps the GIL until it gives it up, which is within the draw.
    sys.setswitchinterval(1000)
    other = threading.Thread(target=draw)
    other.start()
    started.wait()
    drawn.append(rust_ext.sample_logits(row, generator=generator)[0, 0])
    sys.setswitchinterval(interval)
    other.join()
    alone = rust_ext.Generator(8)
    expected = rust_ext.draw(row[0], 20_001, generator=alone).tolist()
    assert sorted(drawn) == sorted(expected)
    assert generator.get_state() == alone.get_state()


LONG = 2**16
"""Tokens of a row that takes as long to write as to draw from."""


@pytest.mark.parametrize(
    ("top_p", "top_k"), [(0.95, 50), (0.0, 50), (0.95, 0), (0.95, 5000), (0.5, LONG), (0.0, 0)]
)
@pytest.mark.parametrize("rows", [1, 8])
def test_logits_that_change_under_a_call(top_p: float, top_k: int, rows: int) -> None:
    """Another thread writes them while the GIL is released: some token, or torch's own refusal."""
    rng = np.random.default_rng(4)
    logits = rng.standard_normal((rows, LONG)).astype(np.float32)
    others = [
        logits.copy(),
        rng.permutation(logits, axis=1) * 30,
        np.where(rng.random(logits.shape) < 0.5, np.float32(3e38), np.float32(-3e38)),
        np.sort(logits) * 300,
        np.sort(logits)[:, ::-1] * 300,
        np.sort(logits) - 1e6,
        np.sort(logits) + 1e6,
        np.full_like(logits, 1.0),
        np.full_like(logits, -np.inf),
        np.full_like(logits, np.inf),
        np.full_like(logits, np.nan),
    ]
    over = False

    def write() -> None:
        # Those that torch refuses come in every third place only.
        turn = 0
        while not over:
            turn += 1
            other = others[turn % len(others)] if turn % 3 else others[turn // 3 % 7]
            np.copyto(logits, other)

    writer = threading.Thread(target=write)
    writer.start()
    generator = rust_ext.Generator(1)
    answered = 0
    try:
        for number in range(CALLS // rows):
            call = (rust_ext.sample_logits, rust_ext.trace_sample_logits)[number % 5 == 0]
            try:
                found = call(logits, 1.0, top_p, top_k, generator=generator)
            except RuntimeError as error:
                assert "the probabilities contain" in str(error)  # noqa: PT017
            else:
                tokens = found if isinstance(found, np.ndarray) else found.token
                assert ((tokens >= 0) & (tokens < LONG)).all()
            answered += 1
    finally:
        over = True
        writer.join()
    assert answered == CALLS // rows
