"""Which function is this? What a candidate gives, beside what every known sampler gives.

Known are the pipelines that come with the harness, each with one stage varied or with its steps in
another order, and the specimens: functions that share a name, and mistakes that ports make. A
candidate is asked cases of its own sampler; each known one is asked the same, with the parameters
of the same names.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.cases.plan import OF, case_of
from sampler_parity.faults.mistakes import MISTAKES
from sampler_parity.faults.reordered import Reordered, reordered
from sampler_parity.faults.staged import varied
from sampler_parity.implementations.reference import reference_here
from sampler_parity.implementations.specimens import SPECIMENS
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About, Implementation
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.pipeline import HISTORY, Parameters
from sampler_parity.model.verdict import HARMLESS, Verdict
from sampler_parity.pipelines.exact import TINY, exponentials, gamma
from sampler_parity.pipelines.references import REFERENCES

FAMILIES = ("gaussian", "zipf", "bf16", "top-k-tie", "top-p-tie", "boundary", "crossing", "f16")
"""Whose cases tell functions apart: cutoffs, ties at them, and sums that land on top_p."""

SEED = 17
CASES = 80
"""Cases that a candidate is asked."""

LONGEST = 400
"""Tokens of the longest row among them."""

CALLS = 12
"""Calls of a case: a candidate that shows only tokens is known by those."""

AT_FIRST = 8
"""Cases after which a known sampler that agrees in fewer than half is not tried further."""


@dataclass(frozen=True, slots=True)
class Known:
    """A sampler that is known.

    Attributes:
        pipeline: the name of the pipeline, or of the specimen.
        change: what it does otherwise than that pipeline, in words; empty if nothing.
        stage: the stage at which it does; empty if none.
        kind: the parameters that it takes.
        sampler: what runs it.
    """

    pipeline: str
    change: str
    stage: str
    kind: type[Parameters]
    sampler: Implementation

    @property
    def words(self) -> str:
        """Name it."""
        if not self.change:
            return self.pipeline
        return f"{self.pipeline} with one change, at {self.stage}: {self.change}"


@dataclass(slots=True)
class Match:
    """How far a candidate is a known sampler.

    Attributes:
        known: the sampler.
        agreeing: cases in which the two agree, within what rounding can do to both.
        cases: cases that were compared.
        likelihood: logarithm of the probability of the candidate's tokens, where only those show.
        replaying: cases in which the two draw the same tokens from the same seeds.
        own: whether it is the sampler that the candidate says that it has, or a change of it.
    """

    known: Known
    agreeing: int = 0
    cases: int = 0
    likelihood: float = 0.0
    replaying: int = 0
    own: bool = False

    @property
    def replays(self) -> bool:
        """Whether the tokens of every case are the candidate's own, which no chance makes them."""
        return 0 < self.cases == self.replaying

    @property
    def rank(self) -> tuple[float, float, bool, bool, bool]:
        """Order matches: the best is the largest."""
        share = self.agreeing / self.cases if self.cases else -1.0
        return (share, self.likelihood, self.replays, not self.known.change, self.own)


@cache
def library() -> tuple[Known, ...]:
    """List what is known."""
    return tuple(_library())


def _library() -> Iterator[Known]:
    for name, kind in REFERENCES.items():
        yield Known(name, "", "", kind, reference_here())
        for one in varied(kind):
            if one.variation.verdict not in HARMLESS:
                yield Known(name, one.variation.words, one.stage.name, kind, one)
        for other in reordered(kind):
            yield Known(name, other.words, other.stage, kind, other)
    for mistake in MISTAKES:
        if mistake.verdict is Verdict.EFFECT or mistake.cases:
            continue
        name = mistake.sampler.about.samplers[0]
        yield Known(name, mistake.name, mistake.stage, REFERENCES[name], mistake.sampler)
    for name, specimen in SPECIMENS.items():
        kind = REFERENCES[specimen.plug_in.about.samplers[0]]
        yield Known(name, "", "", kind, specimen.plug_in)


def converted(parameters: Parameters, kind: type[Parameters]) -> Parameters | None:
    """Give parameters of another sampler with the same meaning; ``None`` where it has none.

    What the other one lacks must have its default here, which for a temperature is 1. Where it
    looks back and this one does not, what it does with a history must be off.
    """
    if type(parameters).sampler == kind.sampler:
        return parameters
    wanted = {name: getattr(parameters, name) for name in parameters.__struct_fields__}
    made: dict[str, Any] = {}
    usual = type(parameters)()
    for name, value in wanted.items():
        about = kind.pipeline.parameters.get(name)
        if about is not None and name in kind.__struct_fields__:
            if not about.accepts(value):
                return None
            made[name] = value
        elif value != getattr(usual, name):
            return None
    found = kind(**made)
    back = [] if parameters.pipeline.looks_back else kind.pipeline.stages
    if any(s.off is not None and HISTORY in s.reads and not s.off(found) for s in back):
        return None
    return found


def questions(sampler: str, count: int = CASES) -> list[Case]:
    """Give cases of a sampler that tell functions apart."""
    found: list[Case] = []
    index = 0
    while len(found) < count:
        for family in FAMILIES:
            case = case_of(f"{sampler}{OF}{family}-{index}@{SEED}")
            p = case.parameters
            mass = getattr(p, "top_p", 0.5)
            sensible = getattr(p, "temperature", 1.0) > 0 and 0 < mass < 1
            if case.logits.shape[-1] <= LONGEST and sensible and case.logits.ndim > 1:
                found.append(replace(case, threads=1, advance=0, draws=CALLS))
        index += 1
    return found[:count]


def agree(expected: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> bool:
    """Whether two final distributions, f32 [B, V], are one within what rounding can do to both."""
    if expected.shape != found.shape or found.dtype != np.float32:
        return False
    if not np.array_equal(expected > 0, found > 0):
        return False
    with np.errstate(all="ignore"):
        f, g = expected.astype(np.float64), found.astype(np.float64)
        depth = np.where(f > 0, -np.log(f), np.inf)
        own = exponentials(depth - depth.min(axis=-1, keepdims=True), np.zeros_like(depth))
        count = (f > 0).sum(axis=-1, keepdims=True).astype(np.float64)
        error = np.where(f > 0, own.high / own.low - 1, 0) + 2 * gamma(count + 8)
        return bool((np.abs(f - g) <= error * f + 8 * TINY).all())


def _final(case: Case, outcome: Outcome) -> npt.NDArray[np.float32] | None:
    """Give the distribution that an outcome shows, if it does."""
    return outcome.stages.get(case.pipeline.final) if case.pipeline.final else None


class Search:
    """Holds a candidate's outcomes against the library, case by case."""

    def __init__(self, known: Iterable[Known], about: About, capability: str) -> None:
        """Search among ``known`` for what ``about`` describes."""
        own = about.samplers
        self.matches = [Match(one, own=one.pipeline in own) for one in known]
        self._about = about
        self._capability = capability

    def add(self, case: Case, outcome: Outcome) -> None:
        """Compare one case's outcome with what every known sampler gives."""
        if outcome.lost is not None or outcome.declined:
            return
        plain: dict[type[Parameters], Outcome] = {}
        for match in self.matches:
            if match.cases >= AT_FIRST and match.agreeing * 2 < match.cases:
                continue
            self._compare(match, case, outcome, plain)

    def _expected(
        self, known: Known, asked: Case, plain: dict[type[Parameters], Outcome]
    ) -> Outcome:
        """Run a known sampler, or take the ``plain`` pipeline's outcome where it has the same."""
        sampler = known.sampler
        same = isinstance(sampler, Reordered) and sampler.idle(asked.parameters)
        if not same and sampler is not reference_here():
            return sampler.run(asked, self._capability)
        if known.kind not in plain:
            plain[known.kind] = reference_here().run(asked, self._capability)
        return plain[known.kind]

    def _compare(
        self,
        match: Match,
        case: Case,
        outcome: Outcome,
        plain: dict[type[Parameters], Outcome],
    ) -> None:
        parameters = converted(case.parameters, match.known.kind)
        if parameters is None:
            return
        stream = parameters.pipeline.stream
        asked = replace(
            case,
            parameters=parameters,
            seed=case.seed if stream is None else case.seed % stream.seeds,
            history=case.history if parameters.pipeline.looks_back else None,
        )
        expected = self._expected(match.known, asked, plain)
        if expected.declined:
            return
        match.cases += 1
        if outcome.failure is not None or expected.failure is not None:
            match.agreeing += (outcome.failure is None) == (expected.failure is None)
            return
        ours, theirs = _final(asked, expected), _final(case, outcome)
        same = np.array_equal(np.stack(expected.tokens), np.stack(outcome.tokens))
        match.replaying += same
        if theirs is not None and ours is not None:
            match.agreeing += agree(ours, theirs)
        elif ours is not None and self._about.stream == "own":
            match.agreeing += self._likely(match, ours, outcome)
        else:
            match.agreeing += same

    def _likely(self, match: Match, final: npt.NDArray[np.float32], outcome: Outcome) -> bool:
        """Whether all tokens are possible; how probable they are is added to the match."""
        rows = np.arange(len(final))
        drawn = np.array([final[rows, tokens] for tokens in outcome.tokens], np.float64)
        if not (drawn > 0).all():
            return False
        match.likelihood += float(np.log(drawn).sum())
        return True

    def best(self) -> list[Match]:
        """Give the matches, the best first."""
        return sorted(self.matches, key=lambda match: match.rank, reverse=True)


def identified(
    candidate: Implementation,
    about: About,
    sampler: str,
    capability: str,
    progress: Callable[[int, int], None] = lambda _, __: None,
) -> list[Match]:
    """Ask a candidate cases of ``sampler``, and give what is known, the nearest first."""
    search = Search(library(), about, capability)
    cases = questions(sampler)
    for done, case in enumerate(cases, 1):
        asked = case if about.view == "tokens" else replace(case, draws=1)
        search.add(asked, candidate.run(asked, capability))
        progress(done, len(cases))
    return search.best()


LIKELIER = 12.0
"""By how much the logarithm of one match's likelihood must exceed another's: e^12 is 160,000."""


def alike(matches: Sequence[Match]) -> list[Match]:
    """Give the matches that are as good as the best: the cases do not tell them apart."""
    best = matches[0]
    return [
        match
        for match in matches
        if match.cases
        and match.agreeing * best.cases == best.agreeing * match.cases
        and match.likelihood >= best.likelihood - LIKELIER
        and match.replays == best.replays
    ]


def sentence(matches: Sequence[Match]) -> str:
    """Say which function it is, or which it is nearest to."""
    best = matches[0]
    if not best.cases or not best.agreeing:
        return "it is none of the known functions, and near none of them"
    among = alike(matches)
    plain = [match for match in among if not match.known.change] or among
    names = " or ".join(match.known.words for match in plain[:3])
    more = f" (or one of {len(plain) - 3} others)" if len(plain) > 3 else ""  # noqa: PLR2004
    if best.agreeing == best.cases:
        return f"it is {names}{more}: {best.agreeing} of {best.cases} cases agree"
    nearest = f"it is none of the known functions; nearest is {names}{more}"
    return f"{nearest}: {best.agreeing} of {best.cases} cases agree"
