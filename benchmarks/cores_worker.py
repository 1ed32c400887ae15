"""One side of ``benchmarks/cores.py``: times what it is told to, line by line."""

import hashlib
import sys
from collections.abc import Callable
from functools import lru_cache

import msgspec
import numpy as np
import numpy.typing as npt

import rust_ext
from benchmarks.cores import Answer, Turn
from benchmarks.gaussian import SEED, gaussian
from benchmarks.timing import median_us
from sampler_parity.run.benchmark_file import Work

BATCHES = 2


@lru_cache(maxsize=1)
def logits(work: Work) -> list[npt.NDArray[np.float32]]:
    """Make the logits of a call, once for all its turns."""
    return gaussian(work.vocab, work.batch, BATCHES)


def answer(turn: Turn) -> Answer:
    """Time a call for as long as the turn says."""
    work, batches = turn.work, logits(turn.work)
    generator = rust_ext.Generator(SEED)

    def prepare(number: int) -> Callable[[], npt.NDArray[np.int64]]:
        batch = batches[number % BATCHES]
        return lambda: rust_ext.sample_logits(
            batch, 1.0, work.top_p, work.top_k, generator=generator
        )

    tokens = b"".join(prepare(number)().tobytes() for number in range(BATCHES))
    once = median_us(prepare, 1)
    calls = max(int(turn.seconds * 1e6 / once), 1)
    return Answer(median_us(prepare, calls), hashlib.sha256(tokens).hexdigest())


if __name__ == "__main__":
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(msgspec.json.encode(answer(msgspec.json.decode(line, type=Turn))))
        sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()
