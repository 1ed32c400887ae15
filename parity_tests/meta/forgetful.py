"""Candidates whose answers depend on what they were asked before: each the reference, spoilt."""

import os
from dataclasses import replace
from pathlib import Path

from sampler_parity.implementations.python_ref import PythonRef
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines import SampleLogits


class Caches(PythonRef):
    """Keeps what it has answered, by a key in which the parameters are missing."""

    about = About(name="caches")

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], Outcome] = {}

    def run(self, case: Case, capability: str) -> Outcome:
        key = (case.parameters.sampler, case.logits.shape, case.draws)
        if key not in self._kept:
            self._kept[key] = super().run(case, capability)
        return self._kept[key]


class Counts(PythonRef):
    """Draws another token in every fourth case that it is asked."""

    about = About(name="counts")

    def __init__(self) -> None:
        self._asked = 0

    def run(self, case: Case, capability: str) -> Outcome:
        self._asked += 1
        seed = case.seed ^ 1 if self._asked % 4 == 0 else case.seed
        return super().run(replace(case, seed=seed), capability)


ONCE = "PARITY_TESTS_ONCE"
"""A variable of the environment: the folder in which :class:`Once` remembers what it was asked."""


class Once(PythonRef):
    """Draws another token the first time that any of its processes is asked a case, and not again.

    What chance does, without chance.
    """

    about = About(name="once")

    def run(self, case: Case, capability: str) -> Outcome:
        seen = Path(os.environ[ONCE]) / case.id
        if not seen.exists():
            seen.touch()
            case = replace(case, seed=case.seed ^ 1)
        return super().run(case, capability)


class Sticks(PythonRef):
    """Doubles the temperature where top-k is on, and from then on always."""

    about = About(name="sticks")

    def __init__(self) -> None:
        self._stuck = False

    def run(self, case: Case, capability: str) -> Outcome:
        if isinstance(case.parameters, SampleLogits):
            self._stuck |= case.parameters.top_k > 0
            if self._stuck:
                doubled = replace(case.parameters, temperature=2 * case.parameters.temperature)
                case = replace(case, parameters=doubled)
        return super().run(case, capability)


class Doubles(PythonRef):
    """Doubles the temperature, whatever came before."""

    about = About(name="doubles")

    def run(self, case: Case, capability: str) -> Outcome:
        if isinstance(case.parameters, SampleLogits):
            doubled = replace(case.parameters, temperature=2 * case.parameters.temperature)
            case = replace(case, parameters=doubled)
        return super().run(case, capability)
