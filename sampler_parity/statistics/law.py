"""The exact law of a case: the probability of every token, and how far f32 can move it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from msgspec import structs

from sampler_parity.implementations.python_ref import reference_stage
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import SAMPLER_ERRORS
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.race import win_probabilities

Parameters = SampleLogits | SimpleBatch
SUM_TOLERANCE = 1e-12
UNIT_F32 = 2.0**-24
"""Half an ulp of 1 in f32: the largest relative error of a rounding."""
UNIFORM_STEP = 2.0**-53
"""torch's f64 uniforms are multiples of it."""


@dataclass(frozen=True)
class Law:
    """A distribution of tokens.

    Attributes:
        probabilities: f64 [V], sum 1 to within 1e-12; read-only.
        possible: bool [V]; a token elsewhere can never be drawn. Contains every positive
            probability.
        slack: f64 [V], or one number for all: each probability of what the reference draws in f32
            is within it of the exact one.
        stray: the reference itself draws an impossible token with at most this probability.

    Raises:
        StatisticsError: NaN, a negative probability, or a sum that is not 1.
    """

    probabilities: npt.NDArray[np.float64]
    possible: npt.NDArray[np.bool_]
    slack: npt.NDArray[np.float64] | float = 0.0
    stray: float = 0.0

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
        p.flags.writeable = False

    @property
    def granularity(self) -> float:
        """A bound on the total-variation distance between the law and what f32 draws."""
        return float(np.broadcast_to(self.slack, self.probabilities.shape).sum() / 2)

    @cached_property
    def ranked(self) -> npt.NDArray[np.int64]:
        """The possible tokens, i64, the most probable first, ties by index."""
        tokens = np.flatnonzero(self.possible)
        return tokens[np.argsort(-self.probabilities[tokens], kind="stable")]


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


def law_of(logits: npt.NDArray[np.float32], parameters: Parameters) -> Law:
    """Give the law of one draw from ``logits``, f32 [V].

    Raises:
        StatisticsError: the reference refuses the case, or its law cannot be computed.
    """
    values: dict[str, npt.NDArray[np.float32]] = {}
    case = Case("law", "law", np.ascontiguousarray(logits)[None], parameters, seed=0)
    last = "renormalized" if isinstance(parameters, SampleLogits) else "scaled_logits"
    for stage in parameters.stages:
        try:
            values[stage] = reference_stage(stage, case, values)
        except SAMPLER_ERRORS as error:
            raise StatisticsError(f"the reference has no law here: {error}") from error
        if stage == last:
            break
    row = values[last][0]
    return _race_of_ratios(row) if isinstance(parameters, SampleLogits) else _noise(row, parameters)


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


def _noise(scaled: npt.NDArray[np.float32], parameters: SimpleBatch) -> Law:
    """The law of the first largest of scaled logits plus U[0, noise).

    The noise has 24 bits, its product and the sum are rounded to f32: two noised logits compare
    wrongly only where the true ones are within h of each other, h the sum of one step of the noise,
    two roundings of the product and two of the sum. So no token wins the rounded race that would
    lose the exact one with its own logit raised by h; and that one has at most h / noise times the
    probability more that all others are below the top of its raised range. Below, likewise.
    """
    noise = float(np.float32(parameters.noise))
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

    def mistempered(self, factor: float) -> Law:
        """Give the law at ``factor`` times the temperature.

        The mask of ``sample_logits`` stays as it is: the hardest error to see, since a token that
        the mask gains or loses shows at once.
        """
        if isinstance(self.parameters, SampleLogits):
            return tilted(self.law, factor)
        return law_of(
            self.logits, structs.replace(self.parameters, temp=self.parameters.temp * factor)
        )


_OF_A_CALL = {"seed", "draws", "advance", "threads"}


def subject(name: str, logits: npt.NDArray[np.float32], parameters: Parameters) -> Subject:
    """Compute the law of ``logits``, f32 [V]. Raises as :func:`law_of` does."""
    return Subject(name, logits, parameters, law_of(logits, parameters))


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
