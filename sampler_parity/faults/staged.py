"""The variations of a reference's stages, planted in the reference itself, one at a time.

The candidate is the reference with one stage computed otherwise: whatever differs is that stage's,
and the gate must say so, with the verdict that the variation declares.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from sampler_parity.cases.plan import OF, case_of
from sampler_parity.faults.found import Correct, Planted
from sampler_parity.faults.kill import (
    CONSEQUENCES,
    KILL_FAMILIES,
    SEED,
    CauseCounts,
    ExpectedCases,
    judged,
)
from sampler_parity.implementations.reference import reference_here
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.pipeline import (
    Parameters,
    Stage,
    Variation,
    computed_by,
    values_of,
)
from sampler_parity.model.verdict import HARMLESS, Verdict

CASES = {"quick": 400, "full": 3000}
"""Cases that each variation is tried on, by profile."""

LONGEST = 1000
"""Tokens of the longest row among them: a sum over more rounds away what a mistake does to it."""


@dataclass(frozen=True)
class Varied:
    """The reference with one stage computed otherwise."""

    kind: type[Parameters]
    stage: Stage
    variation: Variation

    @property
    def about(self) -> About:
        """What it is: as the reference, it shows every stage."""
        return About(name=self.variation.words, samplers=(self.kind.sampler,))

    @cached_property
    def _computed(self) -> type[Parameters]:
        changed = self.kind.pipeline.replace(self.stage.name, reference=self.variation.reference)
        return computed_by(self.kind, replace(changed, whole=None))

    def run(self, case: Case, capability: str) -> Outcome:
        """Run a case of the reference, with the stage varied."""
        parameters = self._computed(**values_of(case.parameters))
        return reference_here().run(replace(case, parameters=parameters), capability)


def varied(kind: type[Parameters]) -> Iterator[Varied]:
    """Give every variation of a pipeline's stages."""
    for stage in kind.pipeline.stages:
        for variation in stage.variations:
            yield Varied(kind, stage, variation)


def accepted_cases(reference: str, capability: str, tries: int) -> Iterator[tuple[Case, Outcome]]:
    """Give those of so many cases a family that the reference accepts, with its outcomes."""
    runner = reference_here()
    for index in range(tries):
        for family in KILL_FAMILIES:
            name = f"{reference}{OF}{family}-{index}@{SEED}"
            case = replace(case_of(name), threads=1, advance=0)
            if case.logits.shape[-1] > LONGEST:
                continue
            outcome = runner.run(case, capability)
            if outcome.failure is None:
                yield case, outcome


def stage_cases(reference: str, profile: str, capability: str) -> ExpectedCases:
    """Give as many accepted cases as the profile has, with the reference's outcomes."""
    wanted = CASES[profile]
    return list(islice(accepted_cases(reference, capability, wanted), wanted))


def plant_in_stages(
    kind: type[Parameters], cases: ExpectedCases, capability: str, done: Callable[[], None]
) -> Iterable[Planted]:
    """Plant every mistake that the stages know."""
    for candidate in varied(kind):
        stage, verdict = candidate.stage.name, candidate.variation.verdict
        if verdict in HARMLESS:
            continue
        taken, found = judged(candidate, cases, capability)
        declared = (stage, verdict)
        others = {
            cause
            for cause in found
            if cause not in CONSEQUENCES and not (cause[0] == stage and cause[1] in HARMLESS)
        } - {declared}
        caught = found[declared]
        if stage in kind.pipeline.stages[-1].reads:
            # A draw may refuse what a mistake leaves, as numpy's choice refuses what does not add
            # up to 1: then no stage is shown that could be named.
            caught = caught or found["error", Verdict.ERROR]
        yield Planted(
            where="stage",
            name=candidate.variation.words,
            stage=stage,
            verdict=verdict,
            cases=taken,
            caught=caught,
            others=_words(found, declared),
            killed=caught > 0 and not others,
            path=kind.sampler,
        )
        done()


def _words(found: CauseCounts, declared: tuple[str, Verdict]) -> dict[str, int]:
    return {f"{s}: {v.value}": n for (s, v), n in found.most_common() if (s, v) != declared}


def try_variations(
    kind: type[Parameters], cases: ExpectedCases, capability: str, done: Callable[[], None]
) -> Iterable[Correct]:
    """Try what is right in other arithmetic: what is called a mistake here is called so wrongly."""
    for candidate in varied(kind):
        if candidate.variation.verdict not in HARMLESS:
            continue
        taken, found = judged(candidate, cases, capability)
        verdicts = Counter[str]()
        for (_, verdict), count in found.items():
            verdicts[verdict.value] += count
        # A reciprocal that is no number of f32 ends in the error that follows from it.
        harmless = all(verdict in {*HARMLESS, Verdict.ERROR} for _, verdict in found)
        yield Correct(
            name=f"{candidate.stage.name}: {candidate.variation.words}",
            cases=taken,
            verdicts=dict(verdicts.most_common()),
            passed=harmless and any(verdict in HARMLESS for _, verdict in found),
        )
        done()
