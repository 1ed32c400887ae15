"""The exact law of a case: the probability of every token, and how far f32 can move it."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from msgspec import structs

from sampler_parity.implementations.reference import reference_stage
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import SAMPLER_ERRORS
from sampler_parity.model.pipeline import NoisyArgmax, Parameters, SecondDraw, values_of
from sampler_parity.pipelines.fates import Fates
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.race import win_probabilities

SUM_TOLERANCE = 1e-12
UNIT_F32 = 2.0**-24
"""Half an ulp of 1 in f32: the largest relative error of a rounding."""
UNIFORM_STEP = 2.0**-53
"""torch's f64 uniforms are multiples of it."""


@dataclass(frozen=True, eq=False)
class Tie:
    """Tokens that a cutoff cannot tell apart: the order of equal ones decides which are kept.

    Attributes:
        tokens: i64 [n], ascending.
        room: how many of them a correct sampler keeps, whatever its order; ``None`` where no rule
            says it.
    """

    tokens: npt.NDArray[np.int64]
    room: int | None = None


@dataclass(frozen=True)
class Law:
    """A distribution of tokens.

    Attributes:
        probabilities: f64 [V], sum 1 to within 1e-12; read-only. Of tied tokens the reference's
            own are positive.
        possible: bool [V]; a token elsewhere is drawn by no correct sampler. Contains every
            positive probability, and every tied token.
        slack: f64 [V], or one number for all: each probability of what the reference draws in f32
            is within it of the exact one.
        stray: the reference itself draws an impossible token with at most this probability.
        tied: tokens of which only the mass together is the law's; no token is in two of them.

    Raises:
        StatisticsError: NaN, a negative probability, a sum that is not 1, or a tied token that is
            not among the possible ones.
    """

    probabilities: npt.NDArray[np.float64]
    possible: npt.NDArray[np.bool_]
    slack: npt.NDArray[np.float64] | float = 0.0
    stray: float = 0.0
    tied: tuple[Tie, ...] = ()

    def __post_init__(self) -> None:
        p = self.probabilities
        if p.ndim != 1 or not p.size or p.dtype != np.float64:
            raise StatisticsError(f"probabilities must be f64 [V], not {p.dtype} {list(p.shape)}")
        if not np.isfinite(p).all() or (p < 0).any():
            raise StatisticsError("a probability is negative, infinite or NaN")
        if abs(p.sum() - 1) > SUM_TOLERANCE:
            raise StatisticsError(f"the probabilities sum to {p.sum():.15g}, not to 1")
        if self.possible.shape != p.shape or (p[~self.possible] > 0).any():
            raise StatisticsError("a token of positive probability is not among the possible ones")
        if not all(self.possible[tie.tokens].all() for tie in self.tied):
            raise StatisticsError("a tied token is not among the possible ones")
        p.flags.writeable = False

    @property
    def granularity(self) -> float:
        """A bound on the total-variation distance between the law and what f32 draws."""
        return float(np.broadcast_to(self.slack, self.probabilities.shape).sum() / 2)

    @cached_property
    def ranked(self) -> npt.NDArray[np.int64]:
        """The possible tokens, i64, the most probable first, ties by index.

        Tied tokens are next to each other, where their mass together has its place.
        """
        tokens = np.flatnonzero(self.possible)
        mass = self.probabilities.copy()
        for tie in self.tied:
            mass[tie.tokens] = mass[tie.tokens].sum()
        p, atom = self.probabilities[tokens], self._atom_of[tokens]
        return tokens[np.lexsort((-p, atom, -mass[tokens]))]

    @cached_property
    def atoms(self) -> npt.NDArray[np.int64]:
        """The first rank of everything that has a probability of its own: a token, or a tie."""
        atom = self._atom_of[self.ranked]
        return np.flatnonzero(np.append(True, atom[1:] != atom[:-1]))

    @cached_property
    def drawable(self) -> npt.NDArray[np.int64]:
        """The tokens that the reference draws, i64, the most probable first, ties by index."""
        tokens = np.flatnonzero(self.probabilities > 0)
        return tokens[np.argsort(-self.probabilities[tokens], kind="stable")]

    @property
    def _atom_of(self) -> npt.NDArray[np.int64]:
        atom = np.arange(len(self.probabilities))
        for tie in self.tied:
            atom[tie.tokens] = tie.tokens.min()
        return atom


def normalised(
    weights: npt.NDArray[np.float32] | npt.NDArray[np.float64],
    slack: npt.NDArray[np.float64] | float = 0.0,
    stray: float = 0.0,
) -> Law:
    """Divide weights [V] by their sum in f64; the possible tokens are those of positive weight.

    Raises:
        StatisticsError: see :class:`Law`.
    """
    exact = weights.astype(np.float64)
    total = exact.sum()
    if not np.isfinite(total) or total <= 0:
        raise StatisticsError(f"weights that sum to {total} are no distribution")
    return Law(exact / total, exact > 0, slack, stray)


def law_of(
    logits: npt.NDArray[np.float32],
    parameters: Parameters,
    history: npt.NDArray[np.int64] | None = None,
) -> Law:
    """Give the law of one draw from ``logits``, f32 [V], after a ``history``, i64 [n].

    Raises:
        StatisticsError: the reference refuses the case, or its law cannot be computed.
    """
    values: dict[str, npt.NDArray[np.float32]] = {}
    case = Case(
        "law",
        "law",
        np.ascontiguousarray(logits)[None],
        parameters,
        seed=0,
        history=None if history is None else np.ascontiguousarray(history)[None],
    )
    draw = case.pipeline.draw
    last = draw.mask if isinstance(draw, SecondDraw) else draw.of
    for stage in case.pipeline.names:
        try:
            values[stage] = reference_stage(stage, case, values)
        except SAMPLER_ERRORS as error:
            raise StatisticsError(f"the reference has no law here: {error}") from error
        if stage == last:
            break
    row = values[draw.of][0]
    if isinstance(draw, NoisyArgmax):
        return _noise(row, float(values_of(parameters)[draw.noise] or 0))
    if isinstance(draw, SecondDraw):
        return _two_draws(row, values[draw.mask][0], draw, case)
    return _with_ties(_race_of_ratios(row), case)


def _two_draws(
    probs: npt.NDArray[np.float32], kept: npt.NDArray[np.bool_], draw: SecondDraw, case: Case
) -> Law:
    """The law of a token of what is kept, or, where that one is refused, of another of all.

    The two draws are independent. Each is a race, whose slack is that of :func:`_race_of_ratios`.
    """
    first = _race_of_ratios(np.where(kept, probs, np.float32(0)))
    second = _race_of_ratios(probs)
    history = np.empty((1, 0), np.int64) if case.history is None else case.history
    refused = draw.refused(np.atleast_2d(history)[0], case.parameters, len(probs))
    again = float(first.probabilities[refused].sum())
    slack = np.where(refused, 0, first.slack) + again * np.asarray(second.slack)
    slack = slack + second.probabilities * float(
        np.broadcast_to(first.slack, probs.shape)[refused].sum()
    )
    p = np.where(refused, 0, first.probabilities) + again * second.probabilities
    return Law(p / p.sum(), p > 0, slack, first.stray + second.stray)


def _with_ties(law: Law, case: Case) -> Law:
    """Let every token be possible that some correct sampler keeps, as ``judge.fates`` has it.

    Where top-p cuts among equal tokens, each order of them keeps as many, and other ones: a tie.
    Where rounding decides how many tokens are kept, the law is known to within their mass alone:
    they are possible, and their mass is slack.
    """
    oracle = case.pipeline.oracle
    fate: Fates | None = None
    if oracle is not None and not case.parameters.greedy:
        fate = oracle.fates(case.logits, case.parameters, case.history)
    if fate is None:
        return law
    free = ~(fate.kept | fate.dropped)[0]
    kept = law.probabilities > 0
    if not free.any():
        return law
    possible, tied = law.possible | free, law.tied
    if _sealed(fate, kept, free):
        if kept[free].all() or not kept[free].any():
            return law
        tied += (Tie(np.flatnonzero(free), int(kept[free].sum())),)
        slack = law.slack + 2 * float(fate.error[0][free].max()) * np.where(
            free, law.probabilities, 0
        )
    else:
        probs = fate.shares.value[0]
        moved = np.where(free, probs / probs[kept].sum(), 0)
        slack = law.slack + moved + law.probabilities * moved.sum()
    stray = int((~possible).sum()) * UNIFORM_STEP
    return replace(law, possible=possible, slack=slack, stray=stray, tied=tied)


def _sealed(
    fate: Fates,
    kept: npt.NDArray[np.bool_],
    free: npt.NDArray[np.bool_],
) -> bool:
    """Whether every correct sampler keeps as many of the ``free`` tokens as the reference."""
    if not fate.top_p > 0 or not fate.ranked[0][free].all():
        return False
    inside, outside = np.flatnonzero(free & kept), np.flatnonzero(free & ~kept)
    sizes = [kept]
    for tokens, keep in ((inside, False), (outside, True)):
        if len(tokens):
            sizes.append(kept.copy())
            sizes[-1][tokens[-1]] = keep
    right = [bool(fate.cut_right(size[None])[0]) for size in sizes]
    return right[0] and not any(right[1:])


def _race_of_ratios(renormalized: npt.NDArray[np.float32]) -> Law:
    """The law of the first largest p / q, each q a draw of Exp(1): p / sum(p).

    q and the ratio are rounded to f32, u = 2^-24 each, so that no token wins the rounded race that
    would lose the exact one with its p raised by a factor 1 + 4u; and that one has the probability
    p (1 + 4u) / (1 + 4u p) <= p + 4u p (1 - p). Below, likewise. The uniforms have 53 bits: that
    moves an order only where a rival's threshold lies in a uniform's own step, 2^-53 each.
    An impossible token is drawn where its uniform is exactly 0: 0 / 0 is a NaN, which torch's
    argmax takes.
    """
    p = renormalized.astype(np.float64)
    possible = p > 0
    slack = 4 * UNIT_F32 * p * (1 - p) + possible * (int(possible.sum()) * UNIFORM_STEP)
    return normalised(renormalized, slack, int((~possible).sum()) * UNIFORM_STEP)


def _noise(scaled: npt.NDArray[np.float32], upper: float) -> Law:
    """The law of the first largest of scaled logits plus U[0, noise).

    The noise has 24 bits, its product and the sum are rounded to f32: two noised logits compare
    wrongly only where the true ones are within h of each other, h the sum of one step of the noise,
    two roundings of the product and two of the sum. So no token wins the rounded race that would
    lose the exact one with its own logit raised by h; and that one has at most h / noise times the
    probability more that all others are below the top of its raised range. Below, likewise.
    """
    noise = float(np.float32(upper))
    values = scaled.astype(np.float64)
    probabilities = win_probabilities(values, noise)
    if noise == 0:
        return Law(probabilities, probabilities > 0)
    largest = values.max()
    h = float(np.spacing(np.float32(abs(largest) + 2 * noise))) + 3 * UNIT_F32 * noise
    possible = values > largest - noise - h
    racers = values[possible]
    below = np.clip((racers[:, None] + noise + h - racers[None, :]) / noise, 0.0, 1.0)
    np.fill_diagonal(below, 1.0)
    slack = np.zeros(len(values))
    if len(racers) > 1:
        slack[possible] = below.prod(axis=1) * (h / noise)
    return Law(probabilities, possible, slack)


@dataclass(frozen=True)
class Subject:
    """What is drawn from: a row of logits with parameters, and its law.

    Attributes:
        name: how reports call it.
        logits: f32 [V].
        parameters: which sampler, and its parameters.
        law: the law of one draw.
    """

    name: str
    logits: npt.NDArray[np.float32]
    parameters: Parameters
    law: Law

    def describe(self) -> dict[str, str]:
        """Everything but the logits' values, as words for a report."""
        case = Case(self.name, self.name, self.logits, self.parameters, seed=0)
        words = case.describe()
        return {name: words[name] for name in words if name not in _OF_A_CALL}

    @cached_property
    def tied_at_top_k(self) -> npt.NDArray[np.int64]:
        """The tokens tied with the k-th, i64, if for them more than k are kept; else none."""
        p, drawable = self.law.probabilities, self.law.drawable
        top_k = int(values_of(self.parameters).get("top_k") or 0)
        if not 0 < top_k < len(drawable):
            return np.empty(0, np.int64)
        level = np.flatnonzero(p == p[drawable[top_k - 1]])
        # Where a second draw takes what top-k dropped, more than k can be drawn, and none is tied.
        return level if len(level) > len(drawable) - top_k else np.empty(0, np.int64)

    def mistempered(self, factor: float) -> Law:
        """Give the law at ``factor`` times the temperature.

        The mask of ``sample_logits`` stays as it is: the hardest error to see, since a token that
        the mask gains or loses shows at once.
        """
        draw = self.parameters.pipeline.draw
        if not isinstance(draw, NoisyArgmax):
            return tilted(self.law, factor)
        now = float(values_of(self.parameters)[draw.temperature] or 0)
        changed: dict[str, float] = {draw.temperature: now * factor}
        return law_of(self.logits, structs.replace(self.parameters, **changed))


_OF_A_CALL = {"seed", "draws", "advance", "threads"}


def subject(
    name: str,
    logits: npt.NDArray[np.float32],
    parameters: Parameters,
    history: npt.NDArray[np.int64] | None = None,
) -> Subject:
    """Compute the law of ``logits``, f32 [V]; arguments and errors are those of :func:`law_of`."""
    return Subject(name, logits, parameters, law_of(logits, parameters, history))


def tilted(law: Law, factor: float) -> Law:
    """Raise every probability to the power 1 / ``factor``, and normalise."""
    positive = law.probabilities > 0
    logs = np.log(law.probabilities[positive]) / factor
    weights = np.zeros(len(positive))
    weights[positive] = np.exp(logs - logs.max())
    return normalised(weights)


def distance(one: Law, other: Law) -> float:
    """Give the total-variation distance: the share of the draws that would have to move."""
    return float(np.abs(one.probabilities - other.probabilities).sum() / 2)
