"""A long call sees a signal, and leaves the generator as it was."""

import ctypes
import operator
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch

import rust_ext

VOCAB = 2**17
ROWS = 24
LOGITS = (np.random.default_rng(1).standard_normal((ROWS, VOCAB)) * 3).astype(np.float32)
TOKENS = 10_000_000
"""A draw that would take long if it were not interrupted."""


class StopError(Exception):
    """What the signal's handler raises."""


class Calls:
    """What the signal's handler does."""

    def __init__(self) -> None:
        self.handle: Callable[[], object] = self.stop
        self.handled = 0

    def stop(self) -> None:
        raise StopError

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        self.handled += 1
        self.handle()


@pytest.fixture
def handler() -> Iterator[Calls]:
    calls = Calls()
    before = signal.signal(signal.SIGUSR1, calls)
    yield calls
    signal.signal(signal.SIGUSR1, before)


def with_a_signal_pending(call: Callable[[], object]) -> Any:
    """Make a call when a signal has come and Python has not run its handler yet.

    Between what a deque takes from a map, no bytecode is run; the C function that raises the signal
    does not look for it.
    """
    library = ctypes.PyDLL(None)
    raise_signal = partial(getattr(library, "raise"), int(signal.SIGUSR1))
    calls: tuple[Callable[[], object], ...] = (raise_signal, call)
    run: Callable[[Callable[[], object]], object] = operator.call
    return deque(map(run, calls), maxlen=1)[0]


@pytest.mark.parametrize("threads", [1, None])
@pytest.mark.parametrize("top_k", [0, 50])
@pytest.mark.parametrize("name", ["sample_logits", "trace_sample_logits", "draw"])
def test_a_long_call_ends(name: str, top_k: int, threads: int | None, handler: Calls) -> None:
    generator = rust_ext.Generator(7)
    arguments: tuple[Any, ...] = (LOGITS[0], TOKENS) if name == "draw" else (LOGITS,)
    call = partial(getattr(rust_ext, name), *arguments, 1.0, 0.95, top_k)
    with pytest.raises(StopError):
        with_a_signal_pending(partial(call, generator=generator, threads=threads))
    assert handler.handled == 1
    assert generator.get_state() == rust_ext.Generator(7).get_state()
    # The workspace is as good as new.
    small = LOGITS[:2, :999]
    again = rust_ext.sample_logits(small, 1.0, 0.95, top_k, generator=generator)
    expected = rust_ext.trace_sample_logits(
        small, 1.0, 0.95, top_k, generator=rust_ext.Generator(7)
    )
    assert again.tolist() == expected.token.tolist()


def test_the_torch_call_ends(handler: Calls) -> None:
    generator = torch.Generator().manual_seed(7)
    tensor = torch.from_numpy(LOGITS)
    with pytest.raises(StopError):
        with_a_signal_pending(partial(rust_ext.sample_logits_torch, tensor, generator=generator))
    assert handler.handled == 1
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(7).get_state())


def test_a_handler_may_make_calls(handler: Calls) -> None:
    """Those have another workspace, and other generators; the call goes on where it was."""
    made = []

    def sample() -> None:
        made.append(rust_ext.sample_logits(LOGITS[:2], generator=rust_ext.Generator(3)))
        made.append(
            rust_ext.sample_logits_torch(
                torch.from_numpy(LOGITS[:2]), generator=torch.Generator().manual_seed(3)
            ).numpy()
        )

    handler.handle = sample
    expected = rust_ext.sample_logits(LOGITS, generator=rust_ext.Generator(7))
    drawn = with_a_signal_pending(
        partial(rust_ext.sample_logits, LOGITS, generator=rust_ext.Generator(7))
    )
    assert handler.handled == 1
    assert drawn.tolist() == expected.tolist()
    alone = rust_ext.sample_logits(LOGITS[:2], generator=rust_ext.Generator(3))
    assert [tokens.tolist() for tokens in made] == [alone.tolist()] * 2


@pytest.mark.parametrize("torchs", [False, True])
def test_a_handler_cannot_wait_for_the_call_it_interrupts(torchs: bool, handler: Calls) -> None:
    ours, theirs = rust_ext.Generator(7), torch.Generator().manual_seed(7)
    call: Callable[[], object]
    if torchs:
        call = partial(rust_ext.sample_logits_torch, torch.from_numpy(LOGITS), generator=theirs)
    else:
        call = partial(rust_ext.sample_logits, LOGITS, generator=ours)
    handler.handle = call
    with pytest.raises(RuntimeError, match="interrupted"):
        with_a_signal_pending(call)
    assert ours.get_state() == rust_ext.Generator(7).get_state()
    assert torch.equal(theirs.get_state(), torch.Generator().manual_seed(7).get_state())


def test_who_waits_for_a_generator_can_be_interrupted(handler: Calls) -> None:
    generator = rust_ext.Generator(7)
    started = threading.Event()

    def draw() -> None:
        started.set()
        rust_ext.draw(LOGITS[0, :8193], 100_000, generator=generator)

    interval = sys.getswitchinterval()
    # A thread keeps the GIL until it gives it up, which is within the draw.
    sys.setswitchinterval(1000)
    other = threading.Thread(target=draw)
    other.start()
    started.wait()
    with pytest.raises(StopError):
        with_a_signal_pending(generator.get_state)
    sys.setswitchinterval(interval)
    other.join()
    assert handler.handled == 1
    assert generator.get_state() != rust_ext.Generator(7).get_state()
