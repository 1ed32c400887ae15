"""Samplers with a generator of their own that walk the cumulative sums, as candidates."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from sampler_parity import plug_in
from sampler_parity.implementations.plug_in import PlugIn

Shares = npt.NDArray[np.float32]
Walk = Callable[[Shares, float], int]


class Uniforms(Protocol):
    def random(self) -> float: ...


@dataclass
class Given:
    """A generator whose next uniform is known."""

    uniform: float

    def random(self) -> float:
        return self.uniform


def strict(shares: Shares, u: float) -> int:
    return min(int(np.searchsorted(np.cumsum(shares), u, side="right")), len(shares) - 1)


def inclusive(shares: Shares, u: float) -> int:
    """The mistake: ``<=`` for ``<``."""
    return min(int(np.searchsorted(np.cumsum(shares), u, side="left")), len(shares) - 1)


def descending(shares: Shares, u: float) -> int:
    """Correct, in another order: the largest first."""
    order = np.argsort(-shares, kind="stable")
    return int(order[strict(shares[order], u)])


def mirrored(shares: Shares, u: float) -> int:
    """Correct: 1 - u is of (0, 1], where the boundary is the token's below it."""
    return inclusive(shares, 1 - u)


def rounded(shares: Shares, u: float) -> int:
    """The mistake: the largest uniform below 1 becomes 1, and falls off the end."""
    return int(np.searchsorted(np.cumsum(shares), np.float32(u), side="right"))


def to_the_last(shares: Shares, u: float) -> int:
    """The mistake: the last token takes what is left, and may be a masked one."""
    return strict(shares[:-1] * np.float32(1 - 2**-24), u)


def raises(shares: Shares, u: float) -> int:
    if u > 0.9:
        raise IndexError("off the end")
    return strict(shares, u)


def probabilities(logits: npt.NDArray[np.float32], parameters: Any) -> Shares:
    scaled = logits.astype(np.float64) / parameters.temperature
    probs = np.exp(scaled - scaled.max())
    probs /= probs.sum()
    kept = np.ones(len(probs), bool)
    if parameters.top_k > 0:
        kept = probs >= np.sort(probs)[-parameters.top_k]
    if parameters.top_p > 0:
        masked = np.where(kept, probs, 0)
        order = np.argsort(-masked, kind="stable")
        before = np.cumsum(masked[order]) - masked[order]
        kept[order[1:]] &= before[1:] <= parameters.top_p
    kept_mass = np.where(kept, probs, 0)
    found: Shares = (kept_mass / kept_mass.sum()).astype(np.float32)
    return found


def walker(walk: Walk, *, hook: bool = True) -> PlugIn:
    last: list[Any] = [b"", None, None]

    @plug_in(
        f"walks {walk.__name__}",
        generator=np.random.default_rng,
        uniform=Given if hook else None,
    )
    def sample(logits: npt.NDArray[np.float32], parameters: Any, generator: Uniforms) -> int:
        if last[:2] != [logits.tobytes(), parameters]:
            last[:] = logits.tobytes(), parameters, probabilities(logits, parameters)
        return walk(last[2], generator.random())

    return sample


sound = walker(strict)
faulty = walker(inclusive)
faulty_without_a_hook = walker(inclusive, hook=False)


def program(walk: Walk) -> None:
    """Speak the protocol by hand: a line of JSON, then safetensors."""
    about = {"name": "program", "view": "tokens", "stream": "own", "effects": [],
             "samplers": ["sample_logits"], "uniform": "float64"}  # fmt: skip
    reader, writer = sys.stdin.buffer, sys.stdout.buffer
    writer.write(json.dumps({"about": about}).encode() + b"\n")
    writer.flush()
    while line := reader.readline():
        ask = json.loads(line)
        logits = load(reader.read(ask["bytes"]))["logits"]
        parameters = type("Parameters", (), ask["parameters"])
        shares = [probabilities(row, parameters) for row in np.atleast_2d(logits)]
        rng = np.random.default_rng(ask["seed"])
        tokens = [
            [walk(row, ask["uniform"] if "uniform" in ask else rng.random()) for row in shares]
            for _ in range(ask["draws"])
        ]
        payload = save({"token": np.array(tokens, np.int64).T.copy()})
        writer.write(json.dumps({"bytes": len(payload)}).encode() + b"\n" + payload)
        writer.flush()


if __name__ == "__main__":
    program({"strict": strict, "inclusive": inclusive}[sys.argv[1]])
