"""Rust's ``StdRng::seed_from_u64``, for thousands of seeds at once.

rand 0.7 to 0.10: the seed is widened to 32 bytes by PCG32 (``rand_core``, ``seed_from_u64``), which
are the key of ChaCha with 12 rounds, block counter and nonce 0. ``random::<f32>()`` is the upper 24
bits of a word, ``random::<f64>()`` the upper 53 of two, the first one the lower half.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]

_MULTIPLIER = np.uint64(6364136223846793005)
_INCREMENT = np.uint64(11634580027462260723)
_CONSTANTS = np.frombuffer(b"expand 32-byte k", "<u4").astype(np.uint32)
_BLOCK = 16
_DOUBLE_ROUNDS = 6
_QUARTERS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip


def singles(seeds: Sequence[int], n: int) -> Floats:
    """Give the first n draws of an f32, f64 [seeds, n]."""
    found: Floats = (_words(seeds, n) >> np.uint32(8)).astype(np.float64) * 2.0**-24
    return found


def doubles(seeds: Sequence[int], n: int) -> Floats:
    """Give the first n draws of an f64, f64 [seeds, n]."""
    words = _words(seeds, 2 * n).astype(np.uint64)
    joined = (words[:, 1::2] << np.uint64(32)) | words[:, ::2]
    found: Floats = (joined >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return found


def draws(seed: int, dtype: str) -> Iterator[float]:
    """Give the draws of one generator, f32 or f64 as ``dtype`` says, without an end."""
    key = _key([seed])
    for counter in range(2**64):
        block = _block(key, counter)
        if dtype == "float32":
            yield from ((block[0] >> np.uint32(8)) * 2.0**-24).tolist()
        else:
            wide = block[0].astype(np.uint64)
            joined = (wide[1::2] << np.uint64(32)) | wide[::2]
            yield from ((joined >> np.uint64(11)) * 2.0**-53).tolist()


def _words(seeds: Sequence[int], n: int) -> Words:
    key = _key(seeds)
    blocks = [_block(key, counter) for counter in range(-(-n // _BLOCK))]
    return np.concatenate(blocks, axis=1)[:, :n]


def _key(seeds: Sequence[int]) -> Words:
    state = np.array([seed % 2**64 for seed in seeds], np.uint64)
    key = np.empty((len(seeds), 8), np.uint32)
    for word in range(8):
        state = state * _MULTIPLIER + _INCREMENT
        mixed = (((state >> np.uint64(18)) ^ state) >> np.uint64(27)).astype(np.uint32)
        turn = (state >> np.uint64(59)).astype(np.uint32)
        key[:, word] = (mixed >> turn) | (mixed << (-turn & np.uint32(31)))
    return key


def _block(key: Words, counter: int) -> Words:
    """Give a block of each key, u32 [keys, 16]."""
    start = np.zeros((_BLOCK, len(key)), np.uint32)
    start[:4] = _CONSTANTS[:, None]
    start[4:12] = key.T
    start[12], start[13] = counter % 2**32, counter // 2**32
    x = start.copy()
    for _ in range(_DOUBLE_ROUNDS):
        for quarter in _QUARTERS:
            _mix(x, *quarter)
    return np.ascontiguousarray((x + start).T)


def _mix(x: Words, a: int, b: int, c: int, d: int) -> None:
    for into, by, turned, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        x[into] += x[by]
        mixed = x[turned] ^ x[into]
        x[turned] = (mixed << np.uint32(turn)) | (mixed >> np.uint32(32 - turn))
