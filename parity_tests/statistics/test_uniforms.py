"""Constructed uniforms: sound walks pass, each planted mistake is seen at an edge."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.uniforms import edges, missteps

Draw = Callable[[npt.NDArray[np.float32], float], int]


@dataclass(frozen=True)
class Walker:
    draw: Draw
    dtype: npt.DTypeLike = np.float64

    def token(self, probabilities: npt.NDArray[np.float32], uniform: float) -> int:
        return self.draw(probabilities, uniform)


def walk(p: npt.NDArray[np.float32], u: float) -> int:
    total = 0.0
    for token, share in enumerate(p.tolist()):
        total += share
        if u < total:
            return token
    raise ValueError("fell off the end")


def searched(p: npt.NDArray[np.float32], u: float) -> int:
    return int(np.searchsorted(np.cumsum(p), u, side="right"))


def inclusive(p: npt.NDArray[np.float32], u: float) -> int:
    total = 0.0
    for token, share in enumerate(p.tolist()):
        total += share
        if u <= total:
            return token
    return len(p) - 1


def rounded_uniform(p: npt.NDArray[np.float32], u: float) -> int:
    """A uniform of 24 bits made by rounding: the largest below 1 becomes 1."""
    return int(np.searchsorted(np.cumsum(p), np.float32(u), side="right"))


def counted_down(p: npt.NDArray[np.float32], u: float) -> int:
    left = u
    for token, share in enumerate(p.tolist()):
        left -= share
        if left <= 0:
            return token
    return len(p) - 1


def ends_with_the_last(p: npt.NDArray[np.float32], u: float) -> int:
    """The last token is never compared, though it may be impossible."""
    total = 0.0
    for token, share in enumerate(p[:-1].tolist()):
        total += share
        if u < total * (1 - 2**-52):
            return token
    return len(p) - 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("draw", [walk, searched])
def test_a_sound_walk(draw: Draw, dtype: npt.DTypeLike) -> None:
    assert missteps(Walker(draw, dtype)) == []


@pytest.mark.parametrize(
    ("draw", "where"),
    [
        (inclusive, "0"),
        (inclusive, "the boundary of"),
        (rounded_uniform, "the largest below 1"),
        (rounded_uniform, "one ulp below"),
        (counted_down, "0"),
        (ends_with_the_last, "the largest below 1"),
    ],
)
def test_a_planted_mistake(draw: Draw, where: str) -> None:
    found = missteps(Walker(draw))
    assert any(misstep.edge.words.startswith(where) for misstep in found)


def test_what_a_walk_raises_is_named() -> None:
    found = missteps(Walker(lambda _p, _u: walk(np.zeros(2, np.float32), 0.5)))
    assert {misstep.found for misstep in found} == {"ValueError: fell off the end"}


def test_the_edges() -> None:
    for dtype in (np.float32, np.float64):
        found = edges(dtype)
        assert len(found) > 100
        assert all(
            0 <= edge.uniform < 1 and edge.probabilities[edge.expected] > 0 for edge in found
        )
        assert all(edge.probabilities.sum(dtype=np.float64) == 1 for edge in found)
        assert {edge.uniform for edge in found} >= {0.0, float(np.nextafter(dtype(1), dtype(0)))}
    with pytest.raises(StatisticsError):
        edges(np.float16)
