"""Arrays bit for bit."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_SIGN = 0x8000_0000


@dataclass(frozen=True, slots=True)
class Difference:
    """Where and how two arrays differ first.

    Attributes:
        index: position of the first difference, empty if the arrays differ in shape or dtype.
        reference: the reference's element there (or its shape and dtype), in words.
        candidate: the candidate's.
        ulps: see :func:`ulps_between`.
        differing: number of differing elements.
        total: number of elements compared.
    """

    index: tuple[int, ...]
    reference: str
    candidate: str
    ulps: int | None
    differing: int
    total: int


def equal(reference: npt.NDArray[Any], candidate: npt.NDArray[Any]) -> bool:
    """Whether two arrays have one shape, one dtype and the same bits."""
    same = reference.shape == candidate.shape and reference.dtype == candidate.dtype
    return same and reference.tobytes() == candidate.tobytes()


def difference(
    reference: npt.NDArray[Any], candidate: npt.NDArray[Any], *, support: bool = False
) -> Difference | None:
    """Compare bit patterns: a NaN equals the NaN with the same payload only, -0.0 is not 0.0.

    With ``support``, the place that is given is the first where one side alone is positive, if
    there is one: a token that is kept or dropped changes all other probabilities of its row.
    """
    if reference.shape != candidate.shape or reference.dtype != candidate.dtype:
        kinds = [f"{array.dtype} {list(array.shape)}" for array in (reference, candidate)]
        size = max(reference.size, 1)
        return Difference((), kinds[0], kinds[1], None, size, size)
    if reference.tobytes() == candidate.tobytes():
        return None
    unequal = _patterns(reference) != _patterns(candidate)
    if not unequal.any():
        return None
    telling = (reference > 0) != (candidate > 0) if support else unequal
    first = int(np.argmax(telling if telling.any() else unequal))
    at = np.unravel_index(first, reference.shape)
    index = tuple(int(i) for i in at)
    return Difference(
        index,
        _words(reference[index]),
        _words(candidate[index]),
        ulps_between(reference[index], candidate[index]),
        int(unequal.sum()),
        reference.size,
    )


def ulps_between(a: Any, b: Any) -> int | None:
    """Count the f32 values from ``a`` to ``b``; ``None`` for NaN, infinity or another type.

    ``None`` as well from zero to a normal number: what is there and what is not are not a number
    of roundings apart.
    """
    if not (isinstance(a, np.float32) and isinstance(b, np.float32)):
        return None
    if not (np.isfinite(a) and np.isfinite(b)):
        return None
    if 0 in {a, b} and max(abs(a), abs(b)) >= np.finfo(np.float32).tiny:
        return None
    return abs(_ordinal(a) - _ordinal(b))


def _ordinal(x: np.float32) -> int:
    bits = int(x.view(np.uint32))
    return bits if bits < _SIGN else _SIGN - bits


def _patterns(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype == np.float32:
        return np.ascontiguousarray(array).view(np.uint32)
    return array


def _words(value: Any) -> str:
    if isinstance(value, np.float32):
        return f"{value!s} (0x{int(value.view(np.uint32)):08x})"
    return str(value)
