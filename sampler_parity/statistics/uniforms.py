"""Constructed uniforms, for a sampler that takes its uniform: the edges that chance never meets.

A token that owns the share [c, c + p) of [0, 1) is drawn for u = c and not for u = c + p: then
every probability is exact on a grid of uniforms, and one of zero is never drawn. The probabilities
used are multiples of a power of two, so that every cumulative sum is exact in f32 and there is one
right answer. A walk with ``<=`` for ``<`` draws an impossible first token at u = 0; one that rounds
falls off the end at the largest uniform below 1.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.result import Uniforms

SEED = 20_260_402
STEP = 2.0**-10
SMALL = (0.0, 0.25, 0.0, 0.5, 0.0, 0.25, 0.0)


class Walk(Protocol):
    """A draw from given probabilities and a given uniform."""

    @property
    def dtype(self) -> npt.DTypeLike:
        """The uniform's own type, float32 or float64: it decides what one ulp is."""

    def token(self, probabilities: npt.NDArray[np.float32], uniform: float) -> int:
        """Draw from probabilities [V] that sum to 1, with ``uniform`` of [0, 1)."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One constructed uniform.

    Attributes:
        words: where it lies.
        probabilities: f32 [V].
        uniform: the value given.
        expected: the token that owns it.
    """

    words: str
    probabilities: npt.NDArray[np.float32]
    uniform: float
    expected: int


@dataclass(frozen=True, slots=True)
class Misstep:
    """An edge at which a walk drew another token, or raised."""

    edge: Edge
    found: str

    def words(self) -> str:
        """Say what happened."""
        edge = self.edge
        return (
            f"uniform {edge.uniform!r}, {edge.words}: token {edge.expected} owns it, {self.found} "
            "was drawn"
        )

    @property
    def kind(self) -> tuple[int, str]:
        """What is alike in several: the probabilities, and the place without its tokens."""
        return len(self.edge.probabilities), self.edge.words.split(" of tokens ")[0]


def edges(dtype: npt.DTypeLike) -> list[Edge]:
    """Give 0, the largest uniform below 1, and every boundary with one ulp to either side.

    Raises:
        StatisticsError: ``dtype`` is neither float32 nor float64.
    """
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise StatisticsError(f"uniforms are float32 or float64, not {np.dtype(dtype)}")
    return [edge for p in (np.array(SMALL, np.float32), _many()) for edge in _edges(p, dtype)]


def _many() -> npt.NDArray[np.float32]:
    """64 tokens, a third of them impossible, the first and the last among those."""
    rng = np.random.default_rng(SEED)
    share = np.ones(64)
    share[[0, -1]] = 0
    share[rng.choice(np.arange(1, 63), 20, replace=False)] = 0
    counts = rng.multinomial(1024 - int(share.sum()), share / share.sum()) + share
    return (counts * STEP).astype(np.float32)


def _edges(p: npt.NDArray[np.float32], dtype: npt.DTypeLike) -> list[Edge]:
    zero, one = np.zeros((), dtype)[()], np.ones((), dtype)[()]
    drawable = np.flatnonzero(p > 0)
    ends = np.cumsum(p[drawable].astype(np.float64)).astype(dtype)
    found = [
        Edge("0", p, float(zero), int(drawable[0])),
        Edge("the smallest above 0", p, float(np.nextafter(zero, one)), int(drawable[0])),
        Edge("the largest below 1", p, float(np.nextafter(one, zero)), int(drawable[-1])),
    ]
    for before, after, end in zip(drawable[:-1], drawable[1:], ends[:-1], strict=True):
        where = f"the boundary of tokens {before} and {after}"
        found += [
            Edge(f"one ulp below {where}", p, float(np.nextafter(end, zero)), int(before)),
            Edge(where, p, float(end), int(after)),
            Edge(f"one ulp above {where}", p, float(np.nextafter(end, one)), int(after)),
        ]
    return found


def missteps(walk: Walk) -> list[Misstep]:
    """Put a walk before every edge; a sound one has no misstep."""
    found = []
    for edge in edges(walk.dtype):
        try:
            token: int | str = walk.token(edge.probabilities.copy(), edge.uniform)
        except Exception as error:  # noqa: BLE001  (whatever a sampler raises is its answer)
            token = f"{type(error).__name__}: {error}"
        if token != edge.expected:
            found.append(Misstep(edge, str(token)))
    return found


@dataclass(frozen=True)
class Inclusive:
    """A walk with ``<=`` planted for ``<``: it is given one ulp less at each boundary.

    By that the walk does there what one does that takes a boundary for the token below it.
    """

    walk: Walk

    @property
    def dtype(self) -> npt.DTypeLike:
        """As the walk's is."""
        return self.walk.dtype

    def token(self, probabilities: npt.NDArray[np.float32], uniform: float) -> int:
        """Draw with the mistake."""
        boundary = uniform in np.cumsum(probabilities.astype(np.float64))
        lower = float(np.nextafter(np.array(uniform, self.dtype), np.array(0, self.dtype)))
        return self.walk.token(probabilities, lower if boundary and uniform > 0 else uniform)


def walked(walk: Walk) -> Uniforms:
    """Put a walk before every edge."""
    found = [(misstep.kind, misstep.words()) for misstep in missteps(walk)]
    return Uniforms(edges=len(edges(walk.dtype)), missteps=once(found))


def once(found: Sequence[tuple[Hashable, str]]) -> tuple[str, ...]:
    """Say each kind of (kind, words) once, in the words of its first, with how often it is."""
    times = Counter(kind for kind, _ in found)
    first = dict(reversed(found))
    said = []
    for kind in dict.fromkeys(kind for kind, _ in found):
        others = times[kind] - 1
        more = f"; the like at {others} other edge{'s' if others > 1 else ''}" if others else ""
        said.append(first[kind] + more)
    return tuple(said)
