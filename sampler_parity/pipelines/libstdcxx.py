"""The orders in which libstdc++ leaves equal elements: ``std::sort`` and ``std::partial_sort``.

C++ does not say in which order they leave what compares equal. GNU's library is determined all the
same: an introsort by the median of three, ended by insertion, and a heap of the first k. What it
does with equal keys is replayed here. Where keys are all different, there is one order, which numpy
finds sooner.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
Keys = npt.NDArray[np.floating[Any]]

BY_INSERTION = 16
"""Elements that are sorted by insertion, which leaves equal ones as they are."""


def sort(keys: Keys, *, replayed: bool = False) -> Indices:
    """Give the order, i64 [n], in which ``std::sort`` leaves ascending ``keys``, [n].

    Args:
        keys: the keys. Where none is a number, all are equal, as ``<`` has it. The order of
            infinite ones among each other is left open.
        replayed: whether it is replayed all the same, for those.
    """
    order: Indices = np.argsort(keys, kind="stable")
    if len(keys) <= BY_INSERTION or (not replayed and _distinct(keys[order])):
        return order
    values, places = keys.copy(), np.arange(len(keys))
    whole = (0, len(keys), 2 * (len(keys).bit_length() - 1))
    parts = [whole]
    while parts:
        first, last, depth = parts.pop()
        while last - first > BY_INSERTION:
            if not depth:
                by_heap = partial_sort(values[first:last], last - first, replayed=True)
                values[first:last] = values[first:last][by_heap]
                places[first:last] = places[first:last][by_heap]
                break
            depth -= 1
            cut = _partition(values, places, first, last)
            parts.append((cut, last, depth))
            last = cut
    found: Indices = places[np.argsort(values, kind="stable")]
    return found


def partial_sort(keys: Keys, count: int, *, replayed: bool = False) -> Indices:
    """Give the ``count`` first of ascending ``keys``, [n], in the order of ``std::partial_sort``.

    Args:
        keys: the keys, which are numbers. The order of infinite ones among each other is left open.
        count: how many, from 1 to n.
        replayed: whether the heap is replayed all the same, for those.
    """
    order: Indices = np.argsort(keys, kind="stable")
    if not replayed and _distinct(keys[order[: count + 1]]):
        return order[:count]
    values, places = keys[:count].tolist(), list(range(count))
    for parent in range((count - 2) // 2, -1, -1):
        _sift(values, places, parent, count, values[parent], places[parent])
    # What is not below the first heap's largest is never below a later one's.
    for place in (count + np.flatnonzero(keys[count:] < values[0])).tolist():
        value = float(keys[place])
        if value < values[0]:
            _sift(values, places, 0, count, value, place)
    for last in range(count - 1, 0, -1):
        value, place = values[last], places[last]
        values[last], places[last] = values[0], places[0]
        _sift(values, places, 0, last, value, place)
    return np.array(places, np.int64)


def _distinct(ascending: Keys) -> bool:
    """Whether no two neighbours of finite keys are equal, nor anything that is no number."""
    finite = ascending[ascending < np.inf]
    return bool((finite[1:] != finite[:-1]).all()) and not np.isnan(ascending).any()


def _partition(values: Keys, places: Indices, first: int, last: int) -> int:
    """Move what is below a pivot before what is above it, and give where the second part begins.

    The pivot is the median of the second, the middle and the last, and comes first. Elements that
    stand on the wrong side, equal ones among them, are exchanged in pairs, from the ends inwards.
    """
    _exchange(values, places, first, _median(values, first + 1, (first + last) // 2, last - 1))
    pivot, part = values[first], values[first + 1 : last]
    low = first + 1 + np.flatnonzero(~(part < pivot))
    high = first + 1 + np.append(np.flatnonzero(~(pivot < part))[::-1], -1)
    both = min(len(low), len(high))
    pairs = int((low[:both] < high[:both]).sum())
    _exchange(values, places, low[:pairs], high[:pairs])
    return int(min([*low[pairs : pairs + 1], *high[max(pairs - 1, 0) : pairs]]))


def _median(values: Keys, a: int, b: int, c: int) -> int:
    if values[a] < values[b]:
        return b if values[b] < values[c] else c if values[a] < values[c] else a
    return a if values[a] < values[c] else c if values[b] < values[c] else b


def _exchange(values: Keys, places: Indices, one: Any, other: Any) -> None:
    for array in (values, places):
        kept = np.array(array[one])
        array[one] = array[other]
        array[other] = kept


def _sift(
    values: list[float], places: list[int], hole: int, size: int, value: float, place: int
) -> None:
    """Let the hole of a heap sink to a leaf, by the larger child, and the value rise from there."""
    top = hole
    while 2 * hole + 2 < size:
        child = 2 * hole + 2
        child -= values[child] < values[child - 1]
        values[hole], places[hole] = values[child], places[child]
        hole = child
    if 2 * hole + 2 == size:
        values[hole], places[hole] = values[size - 1], places[size - 1]
        hole = size - 1
    while hole > top and values[(hole - 1) // 2] < value:
        parent = (hole - 1) // 2
        values[hole], places[hole] = values[parent], places[parent]
        hole = parent
    values[hole], places[hole] = value, place
