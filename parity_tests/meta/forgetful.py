"""Candidates whose answers depend on what they were asked before: each the port, spoilt."""

import os
from dataclasses import replace
from pathlib import Path

from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines import SampleLogits


class Spoilt(RustExt):
    """The port, which needs no torch: a process of it begins at once."""

    def __init__(self) -> None:
        super().__init__()
        self.about = About(name=type(self).__name__.lower())


class Caches(Spoilt):
    """Keeps what it has answered, by a key in which the parameters are missing."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[tuple[object, ...], Outcome] = {}

    def run(self, case: Case, capability: str) -> Outcome:
        key = (case.parameters.sampler, case.logits.shape, case.draws)
        if key not in self._kept:
            self._kept[key] = super().run(case, capability)
        return self._kept[key]


class Counts(Spoilt):
    """Draws another token in every fourth case that it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = 0

    def run(self, case: Case, capability: str) -> Outcome:
        self._asked += 1
        seed = case.seed ^ 1 if self._asked % 4 == 0 else case.seed
        return super().run(replace(case, seed=seed), capability)


ONCE = "PARITY_TESTS_ONCE"
"""A variable of the environment: the folder in which :class:`Once` remembers what it was asked."""


class Once(Spoilt):
    """Draws another token the first time that any of its processes is asked a case, and not again.

    What chance does, without chance.
    """

    def run(self, case: Case, capability: str) -> Outcome:
        seen = Path(os.environ[ONCE]) / case.id
        if not seen.exists():
            seen.touch()
            case = replace(case, seed=case.seed ^ 1)
        return super().run(case, capability)


class Sticks(Spoilt):
    """Doubles the temperature where top-k is on, and from then on always."""

    def __init__(self) -> None:
        super().__init__()
        self._stuck = False

    def run(self, case: Case, capability: str) -> Outcome:
        if isinstance(case.parameters, SampleLogits):
            self._stuck |= case.parameters.top_k > 0
            if self._stuck:
                doubled = replace(case.parameters, temperature=2 * case.parameters.temperature)
                case = replace(case, parameters=doubled)
        return super().run(case, capability)


class Doubles(Spoilt):
    """Doubles the temperature, whatever came before."""

    def run(self, case: Case, capability: str) -> Outcome:
        if isinstance(case.parameters, SampleLogits):
            doubled = replace(case.parameters, temperature=2 * case.parameters.temperature)
            case = replace(case, parameters=doubled)
        return super().run(case, capability)
