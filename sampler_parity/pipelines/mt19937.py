"""``std::mt19937`` as the generator of a pipeline, with the uniforms of GNU's C++ library."""

from typing import Any

import numpy as np

from sampler_parity.pipelines.numpy_stream import NUMPY


class Mt19937:
    """``std::mt19937``, which numpy's ``RandomState`` of the same seed is."""

    def __init__(self, words: np.random.RandomState) -> None:
        """Go on as ``words``, which are drawn from."""
        self.words = words

    def random(self) -> float:
        """Give a uniform of [0, 1), as ``std::uniform_real_distribution<double>`` makes it.

        It is made of two outputs, the lower one first, and rounded to f64: below 1, whatever that
        gives.
        """
        low, high = np.frombuffer(self.words.bytes(8), "<u4").tolist()
        return float(min((low + high * 2.0**32) / 2.0**64, 1 - 2.0**-53))

    def get_state(self) -> Any:
        """Give the state in numpy's form."""
        return self.words.get_state()


class Mt19937Stream:
    """``std::mt19937`` of a seed. 2^32 - 1 is none: llama.cpp takes a random one for it."""

    seeds = 2**32 - 1

    def start(self, seed: int, advance: int, state: bytes) -> Mt19937:
        """Make a generator of a seed below 2^32 - 1, ``advance`` outputs further."""
        return Mt19937(NUMPY.start(seed, advance, state))

    def state(self, generator: Any) -> bytes:
        """Give the state, as that of numpy's generator."""
        return NUMPY.state(generator)


MT19937 = Mt19937Stream()
