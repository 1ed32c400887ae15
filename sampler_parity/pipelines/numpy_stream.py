"""numpy's ``RandomState``, and its ``Generator``, as the generator of a pipeline."""

from typing import Any

import numpy as np

STATE = 5056
"""Bytes of a state: those of torch's, so that every reply has room for either."""


class NumpyStream:
    """``numpy.random.RandomState``, which ``numpy.random.seed`` and ``numpy.random.choice`` use."""

    seeds = 2**32

    def start(self, seed: int, advance: int, state: bytes) -> np.random.RandomState:
        """Make a generator of a seed below 2^32, ``advance`` 32-bit outputs further."""
        generator = np.random.RandomState(seed)
        if state:
            words = np.frombuffer(state, np.uint32)
            generator.set_state(("MT19937", words[1:625], int(words[0]), 0, 0.0))
        elif advance:
            generator.bytes(4 * advance)
        return generator

    def state(self, generator: Any) -> bytes:
        """Give the state: its place in the 624 words as u32, the words, and zeros to the end."""
        _, words, place, *_ = generator.get_state()
        found: bytes = np.uint32(place).tobytes() + words.astype(np.uint32).tobytes()
        return found.ljust(STATE, b"\0")


NUMPY = NumpyStream()


class GeneratorStream:
    """``numpy.random.default_rng``: a ``Generator`` of the bit generator PCG64."""

    seeds = 2**64

    def start(self, seed: int, advance: int, state: bytes) -> np.random.Generator:
        """Make a generator of a seed, ``advance`` 32-bit outputs further."""
        generator = np.random.default_rng(seed)
        if state:
            whole = [int.from_bytes(state[at : at + 16], "little") for at in (0, 16, 32, 48)]
            names = ("state", "inc", "has_uint32", "uinteger")
            found = dict(zip(names, whole, strict=True))
            generator.bit_generator.state = {
                "bit_generator": "PCG64",
                "state": {name: found.pop(name) for name in ("state", "inc")},
                **found,
            }
        elif advance:
            generator.bytes(4 * advance)
        return generator

    def state(self, generator: Any) -> bytes:
        """Give state, increment, whether half an output is kept, and which: 16 bytes each."""
        found = generator.bit_generator.state
        whole = (*found["state"].values(), found["has_uint32"], found["uinteger"])
        return b"".join(int(one).to_bytes(16, "little") for one in whole).ljust(STATE, b"\0")


PCG64 = GeneratorStream()
