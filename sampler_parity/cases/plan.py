"""Which cases a run has."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sampler_parity.cases.draws import Draft
from sampler_parity.cases.families import FAMILIES, VAST, YOURS
from sampler_parity.cases.for_reference import history_for, parameters_for, stream_of
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.pipelines.references import reference_of

THREADED = frozenset({"long-rows", "real-whole"})
"""Families whose cases run with one thread and with two; the others alternate."""

SERIES = "long-streams"
"""The family whose calls are counted one by one: for how long they draw the reference's tokens. Its
name stands in the ids of its cases, from which they are generated."""

CALLS = {SERIES: 500, "many-calls": 100}
"""Calls of a case, for the families in which that is not one to five."""


MOST_CALLS = 20
"""Calls of a case for a reference other than the port's, whose every call takes a whole sort."""


@dataclass(frozen=True, slots=True)
class CaseCounts:
    """How many cases of each family a run has, at each capability."""

    cases: int
    heavy: dict[str, int]
    chosen: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def count(self, family: str) -> int:
        """Give the number of cases of ``family``."""
        return len(self.indices(family))

    def indices(self, family: str) -> Sequence[int]:
        """Give the numbers of the cases of ``family``: those chosen, or the first ones."""
        return self.chosen.get(family, range(self.heavy.get(family, self.cases)))


LOOK = "quick-look"
"""The profile that answers while one edits: a few cases of every family, and not the gate."""

CASE_COUNTS = {
    LOOK: CaseCounts(
        12,
        {"long-rows": 1, "real-whole": 1, "real-tts": 4, "many-calls": 2},
        # A series of each sampler, that of the TTS' global stage among them, and a row whose tokens
        # need 21 bits, so that what keeps 16, 18 or 20 of them is seen.
        {SERIES: (0, 2), "vast-rows": (4,)},
    ),
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


OF = "/"
"""What stands between a reference and a case of a family in the id of a case for it."""


def case_of(case_id: str) -> Case:
    """Generate a case from its id, ``FAMILY-INDEX@SEED`` or ``REFERENCE/FAMILY-INDEX@SEED``.

    A reference that does not come with the harness is imported.

    Raises:
        CannotJudgeError: there is no such case, or no such reference.
    """
    reference, _, rest = case_id.rpartition(OF)
    name, _, seed = rest.partition("@")
    family, _, index = name.rpartition("-")
    if family not in FAMILIES or not index.isdecimal() or not seed.isdecimal():
        raise CannotJudgeError(
            f"case {case_id!r} is unknown: a case is FAMILY-INDEX@SEED, and "
            f"`sampler-parity list cases` names the families"
        )
    return _generate(family, int(index), int(seed), reference)


def id_of(family: str, index: int, seed: int, reference: str = "") -> str:
    """Give the id of a case, which :func:`case_of` reads."""
    name = f"{family}-{index}@{seed}"
    return f"{reference}{OF}{name}" if reference else name


def plan(
    counts: CaseCounts,
    seed: int,
    families: tuple[str, ...] = tuple(FAMILIES),
    reference: str = "",
    first: Sequence[str] = (),
    chosen: slice = slice(None),
) -> Iterator[Case]:
    """Generate the run's cases, family by family; for a ``reference``, all of its pipeline.

    Those of the ids ``first`` that are the run's come before the others, in that order. Of all in
    their order, those that are ``chosen`` are made.
    """
    numbers = planned_ids(counts, seed, families, reference)
    names = [name for name in dict.fromkeys((*first, *numbers)) if name in numbers]
    for name in names[chosen]:
        yield _generate(*numbers[name], seed, reference)


def planned_ids(
    counts: CaseCounts, seed: int, families: tuple[str, ...], reference: str = ""
) -> dict[str, tuple[str, int]]:
    """Give the ids of a run's cases in their usual order, each with its family and number."""
    return {
        id_of(family, index, seed, reference): (family, index)
        for family in generated(families)
        for index in counts.indices(family)
    }


def planned(counts: CaseCounts, families: tuple[str, ...] = tuple(FAMILIES)) -> int:
    """Count the run's cases."""
    return sum(counts.count(family) for family in generated(families))


def generated(families: Sequence[str]) -> tuple[str, ...]:
    """Leave out the family that is read from files and not generated."""
    return tuple(family for family in families if family != YOURS)


def _generate(family: str, index: int, seed: int, reference: str = "") -> Case:
    key = zlib.crc32(family.encode())
    if family in THREADED:
        # The same logits and parameters with each thread count.
        rng = np.random.default_rng([seed, key, index // 2])
        draft = FAMILIES[family](rng, index // 2)
    else:
        rng = np.random.default_rng([seed, key, index])
        draft = FAMILIES[family](rng, index)
    case = Case(
        id=id_of(family, index, seed),
        family=family,
        logits=draft.logits,
        parameters=draft.parameters,
        seed=int(rng.integers(0, 2**64, dtype=np.uint64)),
        draws=draft.calls or CALLS.get(family) or int(rng.integers(1, 6)),
        advance=int(rng.integers(0, 1300)) if rng.random() < 0.5 else 0,
        threads=1 + index % 2,
    )
    return _for(case, draft, reference) if reference else case


def _for(case: Case, draft: Draft, reference: str) -> Case:
    """Make a case of a family one for a reference: its logits, with parameters of that one."""
    kind = reference_of(reference)
    rng = stream_of(reference, case.id)
    pipeline = kind.pipeline
    return replace(
        case,
        id=f"{reference}{OF}{case.id}",
        parameters=parameters_for(draft, kind, rng),
        history=history_for(case.logits, rng) if pipeline.looks_back else None,
        seed=case.seed if pipeline.stream is None else case.seed % pipeline.stream.seeds,
        draws=min(case.draws, MOST_CALLS),
    )
