"""The logits of two calls: what is masked, and how the others differ."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]

ROUNDING = 2.0**-10
"""Logits that differ by at most this share of the largest one differ as rounding makes them differ:
a sum of n f32 terms is off by up to n u of its terms' size, u = 2^-24, and a model's sums have up
to some 2^14 terms. A name for a size, not a tolerance: it is a finding either way."""

STEPS = {"bf16": 2.0**-7, "f16": 2.0**-10}
"""The largest relative distance of two neighbours of a grid, however one rounds to it."""
TINY = 2.0**-24
"""The smallest positive f16 number."""

What = Literal["rounding", "coarser grid", "other"]


@dataclass(frozen=True, slots=True)
class Masks:
    """Tokens that only one side masks with -inf, among those that both have."""

    only_a: npt.NDArray[np.int64]
    only_b: npt.NDArray[np.int64]


def named(tokens: npt.NDArray[np.int64], most: int = 5) -> str:
    """Name tokens; beyond ``most`` of them, their number."""
    if len(tokens) == 1:
        return f"token {int(tokens[0])}"
    listed = ", ".join(str(int(token)) for token in tokens[:most])
    more = f" and {len(tokens) - most:,} more" if len(tokens) > most else ""
    return f"tokens {listed}{more}"


def masks(a: Logits, b: Logits) -> Masks:
    """Compare the -inf of two rows [V] or [B, V] of one shape."""
    ours, theirs = np.isneginf(np.atleast_2d(a)), np.isneginf(np.atleast_2d(b))
    only_a, only_b = (ours & ~theirs).any(axis=0), (theirs & ~ours).any(axis=0)
    return Masks(np.flatnonzero(only_a), np.flatnonzero(only_b))


@dataclass(frozen=True, slots=True)
class Apart:
    """How the values differ that neither side masks.

    Attributes:
        what: ``coarser grid`` where one side's are all bf16 or f16 numbers and the other's are not;
            ``rounding`` where they are near, see :data:`ROUNDING`.
        side: the one on the coarser grid, else ``B``.
        words: how far apart, in a sentence.
        beyond: of a coarser grid, whether its logits are not the other's either, rounded in any way
            to it.
    """

    what: What
    side: Literal["A", "B"]
    words: str
    beyond: bool = False


def apart(a: Logits, b: Logits) -> Apart | None:
    """Compare two rows of one shape bit by bit where neither is -inf; ``None`` where all is equal.

    NaN equals NaN here, whatever its payload, and -0.0 is not 0.0.
    """
    free = ~(np.isneginf(a) | np.isneginf(b))
    ours, theirs = a[free], b[free]
    different = (ours.view(np.uint32) != theirs.view(np.uint32)) & ~(
        np.isnan(ours) & np.isnan(theirs)
    )
    if not different.any():
        return None
    share = f"{int(different.sum()):,} of {different.size:,} logits differ"
    for side, other, coarse, fine in (("B", "A", theirs, ours), ("A", "B", ours, theirs)):
        grid = _grid(coarse)
        if grid and not _grid(fine):
            exactly = np.array_equal(rounded(fine, grid), coarse, equal_nan=True)
            of = f", which are {other}'s rounded to it" if exactly else ""
            words = f"every logit of {side} is a {grid} number{of}; {share}"
            step = STEPS[grid]
            off = np.abs(coarse.astype(np.float64) - fine.astype(np.float64))
            beyond = bool((off > step * np.abs(fine) + TINY).any())
            return Apart("coarser grid", side, words, beyond)  # type: ignore[arg-type]  # A or B
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
        scale = max(
            (float(np.abs(side[np.isfinite(side)]).max(initial=0)) for side in (ours, theirs)),
        )
    finite = np.isfinite(off)
    largest = float(off[finite & different].max(initial=0))
    unlike = bool((different & ~finite).any())
    what: What = "rounding" if not unlike and largest <= ROUNDING * scale else "other"
    size = f"by at most {largest:.3g}, where the largest is {scale:.3g}"
    more = ", and some are not finite on one side alone" if unlike else ""
    return Apart(what, "B", f"{share}, {size}{more}")


def _grid(values: Logits) -> str:
    if not np.isfinite(values).any() or not values.any():
        return ""
    if not (values.view(np.uint32) & 0xFFFF).any():
        return "bf16"
    with np.errstate(over="ignore", invalid="ignore"):
        half = values.astype(np.float16).astype(np.float32)
    return "f16" if np.array_equal(half, values, equal_nan=True) else ""


def rounded(values: Logits, grid: str) -> Logits:
    """Round f32 to the nearest number of a grid, ``bf16`` or ``f16``, halves to even."""
    if grid == "f16":
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(np.float16).astype(np.float32)
    bits = values.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)
