"""Times samplers in turn, round by round, and compares two times of the same round only."""

import dataclasses
import statistics
import time
from collections.abc import Callable

from sampler_parity.run.benchmark_file import Ratio

Prepare = Callable[[int], Callable[[], object]]
Clock = Callable[[], int]
"""Gives nanoseconds."""
"""Given a call's number, makes ready what is timed."""

MOST_CALLS = 2_000
FEWEST_ROUNDS = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Contestant:
    """A side that is timed.

    Attributes:
        name: how tables call it.
        prepare: makes a call.
        tokens: tokens that a call gives.
        threads: torch's threads meanwhile.
    """

    name: str
    prepare: Prepare
    tokens: int
    threads: int


@dataclasses.dataclass(frozen=True, slots=True)
class Budget:
    """How long a comparison may take.

    Attributes:
        rounds: as many, if there is time.
        seconds: after so many no further round begins, once three are done.
    """

    rounds: int
    seconds: float


def measure(
    contestants: list[Contestant],
    budget: Budget,
    set_threads: Callable[[int], None],
    clock: Clock = time.perf_counter_ns,
) -> dict[str, list[float]]:
    """Time every contestant in turn.

    Each gets the same share of a round, and makes as many calls as it has time for, at least one.
    Whoever uses several threads should come last: they go on waiting for work for a while.

    Args:
        contestants: the sides.
        budget: how long it may take.
        set_threads: tells torch how many threads it has.
        clock: what the calls are timed by.

    Returns:
        By name, the microseconds a token of each round: the median of its calls.
    """
    share = budget.seconds / (budget.rounds * len(contestants))
    calls = {}
    for one in contestants:
        set_threads(one.threads)
        once = median_us(one.prepare, 1, clock) / 1e6
        calls[one.name] = max(1, min(int(share / once), MOST_CALLS))
    found: dict[str, list[float]] = {one.name: [] for one in contestants}
    start = time.monotonic()
    for number in range(budget.rounds):
        if number >= FEWEST_ROUNDS and time.monotonic() - start > budget.seconds:
            break
        for one in contestants:
            set_threads(one.threads)
            found[one.name].append(median_us(one.prepare, calls[one.name], clock) / one.tokens)
    return found


def median_us(prepare: Prepare, calls: int, clock: Clock = time.perf_counter_ns) -> float:
    """Give the median microseconds of so many calls."""
    times = []
    for number in range(calls):
        call = prepare(number)
        start = clock()
        call()
        times.append(clock() - start)
    return statistics.median(times) / 1e3


def ratio(above: list[float], below: list[float]) -> Ratio:
    """Divide round by round."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    return Ratio(median=statistics.median(ratios), lowest=min(ratios), highest=max(ratios))
