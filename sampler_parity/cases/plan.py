"""Which cases a run has."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sampler_parity.cases.families import FAMILIES, VAST
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError

THREADED = frozenset({"long-rows", "real-whole"})
"""Families whose cases run with one thread and with two; the others alternate."""

SERIES = "long-streams"
"""The family whose calls are counted one by one: for how long they draw the reference's tokens. Its
name stands in the ids of its cases, from which they are generated."""

CALLS = {SERIES: 500, "many-calls": 100}
"""Calls of a case, for the families in which that is not one to five."""


@dataclass(frozen=True, slots=True)
class CaseCounts:
    """How many cases of each family a run has, at each capability."""

    cases: int
    heavy: dict[str, int]

    def count(self, family: str) -> int:
        """Give the number of cases of ``family``."""
        return self.heavy.get(family, self.cases)


CASE_COUNTS = {
    "quick": CaseCounts(
        1300,
        {
            "long-rows": 40,
            "vast-rows": len(VAST),
            "real-whole": 30,
            "real-tts": 200,
            SERIES: 9,
            "many-calls": 100,
        },
    ),
    "full": CaseCounts(
        6000,
        {
            "long-rows": 400,
            "vast-rows": 4 * len(VAST),
            "real-whole": 200,
            "real-tts": 2000,
            SERIES: 30,
            "many-calls": 1000,
        },
    ),
}


def case_of(case_id: str) -> Case:
    """Generate a case from its id, ``FAMILY-INDEX@SEED``.

    Raises:
        CannotJudgeError: there is no such case.
    """
    name, _, seed = case_id.partition("@")
    family, _, index = name.rpartition("-")
    if family not in FAMILIES or not index.isdecimal() or not seed.isdecimal():
        raise CannotJudgeError(
            f"case {case_id!r} is unknown: a case is FAMILY-INDEX@SEED, and "
            f"`sampler-parity list cases` names the families"
        )
    return _generate(family, int(index), int(seed))


def plan(
    counts: CaseCounts, seed: int, families: tuple[str, ...] = tuple(FAMILIES)
) -> Iterator[Case]:
    """Generate the run's cases, family by family."""
    for family in families:
        for index in range(counts.count(family)):
            yield _generate(family, index, seed)


def planned(counts: CaseCounts, families: tuple[str, ...] = tuple(FAMILIES)) -> int:
    """Count the run's cases."""
    return sum(counts.count(family) for family in families)


def _generate(family: str, index: int, seed: int) -> Case:
    key = zlib.crc32(family.encode())
    if family in THREADED:
        # The same logits and parameters with each thread count.
        rng = np.random.default_rng([seed, key, index // 2])
        draft = FAMILIES[family](rng, index // 2)
    else:
        rng = np.random.default_rng([seed, key, index])
        draft = FAMILIES[family](rng, index)
    return Case(
        id=f"{family}-{index}@{seed}",
        family=family,
        logits=draft.logits,
        parameters=draft.parameters,
        seed=int(rng.integers(0, 2**64, dtype=np.uint64)),
        draws=draft.calls or CALLS.get(family) or int(rng.integers(1, 6)),
        advance=int(rng.integers(0, 1300)) if rng.random() < 0.5 else 0,
        threads=1 + index % 2,
    )
