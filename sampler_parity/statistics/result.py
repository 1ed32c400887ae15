"""What a run of the statistical gate found, in a form that a report and JSON take."""

from typing import Literal

import msgspec

Decision = Literal["passes", "tie_order", "rejects", "unfinished"]
"""``tie_order`` is a pass in which the sampler keeps other ones of equal tokens, and as many."""
Status = Literal["holds", "diverges", "unjudged"]
"""Exit status 0, 1 and 2, in that order."""


class PowerStatement(msgspec.Struct, frozen=True, kw_only=True):
    """One difference that could be there.

    Attributes:
        difference: in words.
        power: the probability that the test, as planned, rejects it.
        draws: how many draws of the first look are enough for a power of 0.99; ``None`` where no
            number is, since the cells do not show it.
    """

    difference: str
    power: float
    draws: int | None


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """One partition into cells that was considered.

    Attributes:
        scheme: how it is made, in words.
        cells: how many cells it has.
        caught: how many of the declared differences it catches with a power of 0.99.
        draws: how many draws it needs for the hardest of those; ``None`` if it catches none.
        hardest: that one.
    """

    scheme: str
    cells: int
    caught: int
    draws: int | None
    hardest: str


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A test, as it is fixed before the first draw.

    Attributes:
        name: how reports call it.
        question: what it asks, in words.
        catches: the smallest differences it would have caught, in words.
        case: the sampler's parameters, by name.
        unit: what is counted: draws, pairs, or cases.
        n: how many units the first look has.
        again: how many the second one has, if there is one.
        draws: draws that the first look takes.
        df: degrees of freedom; 0 where the statistic has none.
        alpha: its level, both looks together, were it the only test to reject.
        first: the level of the first look.
        margin: a first p-value up to this one is looked at again.
        second: the level of the second look.
        scheme: how the cells were made, in words.
        cells: what each cell holds.
        probabilities: each cell's probability.
        considered: the partitions considered, the best first.
        power: what it catches of the declared differences.
        smallest_distance: the share of the mass that, moved between cells in any way, is caught
            with a power of 0.99; of the p-values' distribution function for their uniformity.
        smallest_temperature: the smallest relative temperature error caught with a power of 0.99.
        granularity: the total-variation distance that f32 can make between law and reference.
        blur: the noncentrality that it can make in the second look, of which some tens are needed.
        stray: probability that the reference itself draws an impossible token, in both looks.
        omitted: probability that a right sampler leaves out a token that must be drawn.
    """

    name: str
    question: str
    catches: str
    case: dict[str, str]
    unit: Literal["draws", "pairs", "cases"]
    n: int
    again: int
    draws: int
    df: int
    alpha: float
    first: float
    margin: float
    second: float
    scheme: str
    cells: tuple[str, ...]
    probabilities: tuple[float, ...]
    considered: tuple[Partition, ...] = ()
    power: tuple[PowerStatement, ...] = ()
    smallest_distance: float
    smallest_temperature: float | None = None
    granularity: float = 0.0
    blur: float = 0.0
    stray: float = 0.0
    omitted: float = 0.0


class Tied(msgspec.Struct, frozen=True, kw_only=True):
    """What was drawn of tokens that are tied at a cutoff.

    Attributes:
        tokens: how many are tied.
        room: how many of them are kept; ``None`` where no rule says it.
        share: their probability together.
        n: draws, of any token.
        drawn: those of them that were drawn, with how often.
        others: those drawn that the reference does not keep.
    """

    tokens: int
    room: int | None
    share: float
    n: int
    drawn: dict[str, int]
    others: tuple[str, ...]


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What was drawn, and what it says.

    Attributes:
        n: units.
        observed: counts of the cells.
        expected: what the law, or the reference's counts, make of them.
        residuals: (observed - expected) / sqrt(expected).
        statistics: by name: ``pearson`` and ``g`` with their own p-values ``pearson_p`` and
            ``g_p``, or ``ks``.
        df: degrees of freedom.
        p: the p-value of this look, twice the smaller one of two statistics; ``None`` where a token
            outside the mask made it needless, or where the draws were not finished.
        outside: tokens drawn that cannot be, with how often.
        reference: the counts of the reference, where its draws were needed.
        missing: tokens that should have been drawn and were not, with the draws expected.
        tied: what was drawn of tokens that are tied at a cutoff.
    """

    n: int
    observed: tuple[int, ...]
    expected: tuple[float, ...]
    residuals: tuple[float, ...]
    statistics: dict[str, float]
    df: int
    p: float | None
    outside: dict[str, int] = {}
    reference: tuple[int, ...] = ()
    missing: dict[str, float] = {}
    tied: tuple[Tied, ...] = ()


class DecidedTest(msgspec.Struct, frozen=True, kw_only=True):
    """A planned test with its outcome.

    Attributes:
        planned: the plan.
        looks: one, or two where the first p-value was marginal, and no earlier test had rejected;
            none where the sampler failed.
        p: the p-value of all looks together; ``None`` where there is none.
        adjusted: the same, adjusted for the number of tests by Holm's procedure.
        decision: what follows.
        reason: why, in words.
    """

    planned: Planned
    looks: tuple[Look, ...]
    p: float | None
    adjusted: float | None
    decision: Decision
    reason: str


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """A planted fault that must be caught, or the reference itself, that must not.

    Attributes:
        name: the fault, in words.
        test: what it was put before, in words.
        draws: draws of the first look.
        should: what the test must decide.
        power: the declared probability of that.
        decision: what it decided.
        p: the p-value of all looks together; ``None`` where a token outside the mask decided.
        looks: how many looks it took.
        holds: the decision is the one it should be.
    """

    name: str
    test: str
    draws: int
    should: Decision
    power: float
    decision: Decision
    p: float | None
    looks: int
    holds: bool


class Ecdf(msgspec.Struct, frozen=True, kw_only=True):
    """The p-values of many cases, which are uniform if the sampler is right.

    Attributes:
        p_values: ascending.
        band: half the width of the simultaneous band around the diagonal.
        level: the probability that uniform p-values stay inside it everywhere, at least.
        largest: how far they are from the diagonal at the farthest.
    """

    p_values: tuple[float, ...]
    band: float
    level: float
    largest: float


class Uniforms(msgspec.Struct, frozen=True, kw_only=True):
    """Constructed uniforms, put before a sampler that takes its uniform.

    Attributes:
        edges: how many.
        missteps: where it drew another token than the one that owns the uniform, in words; what
            happened at several edges alike is one of them.
    """

    edges: int
    missteps: tuple[str, ...]


class StatisticsResult(msgspec.Struct, frozen=True, kw_only=True):
    """A run of the statistical gate.

    Attributes:
        candidate: the sampler that was tested.
        reference: what stood for the reference where its draws were needed, in words.
        profile: how much was drawn.
        seed: every seed of the run follows from it.
        status: what follows from it all; an unfinished run is never a pass.
        reasons: why, one sentence each; empty if it holds.
        alpha: the error budget of the run.
        budget: the same in words.
        tests: every planned test.
        waived: tests that were not planned, and why, one sentence each.
        controls: every control.
        ecdf: the p-values of many cases.
        uniforms: constructed uniforms; ``None`` where the candidate does not take its uniform.
        untried: that they were not tried, why, and what that leaves open; empty where they were.
        draws: draws of the candidate.
        seconds: how long it took.
        finished: whether it came to its end.
    """

    candidate: str
    reference: str
    profile: str
    seed: int
    status: Status
    reasons: tuple[str, ...]
    alpha: float
    budget: str
    tests: tuple[DecidedTest, ...]
    waived: tuple[str, ...]
    controls: tuple[Control, ...]
    ecdf: Ecdf | None
    uniforms: Uniforms | None
    draws: int
    seconds: float
    finished: bool
    untried: str = ""
