"""A call has the bits of the default floating-point mode, and leaves the thread's as it was."""

import ctypes
import ctypes.util
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import python_ref
import rust_ext
from sampler_parity.model.case import CAPABILITIES

CASES = 300
UPWARD = {"x86_64": 0x800, "aarch64": 0x400000}
"""FE_UPWARD of the C library's fenv.h."""


def flushes() -> bool:
    return bool(np.float32(1e-40) * np.float32(0.5) == 0)


def rounds_upward() -> bool:
    return bool(np.float32(1) + np.float32(1e-20) > 1)


@contextmanager
def flushing() -> Iterator[None]:
    assert torch.set_flush_denormal(True)
    try:
        yield
        assert flushes(), "the call left another mode"
    finally:
        torch.set_flush_denormal(False)


@cache
def mathematics() -> ctypes.CDLL:
    """Look for C's library once: each look starts a program."""
    return ctypes.CDLL(ctypes.util.find_library("m"))


@contextmanager
def rounding_upward() -> Iterator[None]:
    library = mathematics()
    assert library.fesetround(UPWARD[platform.machine()]) == 0
    try:
        yield
        assert rounds_upward(), "the call left another mode"
    finally:
        library.fesetround(0)


MODES = pytest.mark.parametrize("mode", [flushing, rounding_upward])
Mode = Callable[[], AbstractContextManager[None]]


Row = tuple[npt.NDArray[np.float32], float, float, int]


def rows() -> Iterator[Row]:
    """Logits of which many have denormal exponentials, and denormal ones."""
    rng = np.random.default_rng(11)
    for number in range(CASES):
        vocab = int(rng.choice([5, 100, 3000]))
        scale = float(rng.choice([1e-39, 1.0, 20.0, 45.0]))
        logits = (rng.standard_normal((2, vocab)) * scale).astype(np.float32)
        logits[:, 0] = 0
        yield logits, (1.0, 0.7)[number % 2], (0.95, 1.0, 0.0)[number % 3], (0, 5)[number // 6 % 2]


def bits_of_all(capability: str, cases: list[Row]) -> list[bytes]:
    """What every function gives of every row."""
    found = []
    for logits, temperature, top_p, top_k in cases:
        arguments = (temperature, top_p, top_k)
        generator = rust_ext.Generator(3)
        options: dict[str, Any] = {"generator": generator, "capability": capability}
        trace = rust_ext.trace_sample_logits(logits, *arguments, **options)
        found += [trace.scaled_logits, trace.probs, trace.top_k_mask, trace.top_p_mask]
        found += [trace.renormalized, trace.token]
        found.append(rust_ext.sample_logits(logits, *arguments, **options))
        found.append(rust_ext.draw(logits[1], 5, *arguments, **options))
        noised = logits.copy()
        found.append(rust_ext.simple_batch_sampler(noised, 1e-40, 0.7, generator=generator))
        found += [noised, np.frombuffer(generator.get_state(), np.uint8)]
    return [value.tobytes() for value in found]


@MODES
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_the_bits_are_those_of_the_default_mode(mode: Mode, capability: str) -> None:
    cases = list(rows())
    expected = bits_of_all(capability, cases)
    with mode():
        found = bits_of_all(capability, cases)
    assert found == expected


@MODES
def test_they_are_torchs(mode: Mode) -> None:
    """The reference runs in the default mode; tokens and the last stage are compared."""
    for logits, temperature, top_p, top_k in rows():
        arguments = (temperature, top_p, top_k)
        theirs, ours = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
        expected = python_ref.trace_sample_logits(
            torch.from_numpy(logits), *arguments, generator=theirs
        )
        with mode():
            token = rust_ext.sample_logits_torch(
                torch.from_numpy(logits), *arguments, generator=ours
            )
            trace = rust_ext.trace_sample_logits(
                logits, *arguments, generator=rust_ext.Generator(3)
            )
        assert token.tolist() == expected.token.tolist()
        assert torch.equal(ours.get_state(), theirs.get_state())
        last = expected.renormalized.numpy()
        np.testing.assert_array_equal(trace.renormalized.view(np.uint32), last.view(np.uint32))


@MODES
def test_the_mode_stays_after_an_error(mode: Mode) -> None:
    logits = np.full((1, 9), np.nan, np.float32)
    with mode(), pytest.raises(RuntimeError, match="nan"):
        rust_ext.sample_logits(logits, generator=rust_ext.Generator(1))


@pytest.mark.promise
def test_helpers_that_start_while_denormals_are_flushed() -> None:
    """A thread inherits the mode of the one that starts it."""
    script = """
import sys
import numpy as np, torch
import rust_ext
torch.set_flush_denormal(sys.argv[1] == "flush")
rng = np.random.default_rng(2)
generator = rust_ext.Generator(4)
# The nucleus ends among denormal probabilities.
logits = (-90 - rng.random((32, 4096)) * 10).astype(np.float32)
logits[:, 0] = 0
for top_k in (0, 60):
    for _ in range(5):
        tokens = rust_ext.sample_logits(logits, 1.0, 1.0, top_k, generator=generator)
        print(tokens[:, 0].tolist())
print(generator.get_state().hex())
"""
    printed = [
        subprocess.run(
            [sys.executable, "-c", script, mode], capture_output=True, text=True, check=True
        ).stdout
        for mode in ("keep", "flush")
    ]
    assert printed[0] == printed[1] != ""
