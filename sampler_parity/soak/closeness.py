"""How close a case came: how little would have made one of its decisions another one.

Everything is worked out from the reference's own stages, and says nothing of the candidate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sampler_parity.implementations.reference import start_generator
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.pipeline import values_of

Row = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

ULP = 2.0**-24
"""The relative step that distances of ratios are counted in: half the largest of f32."""

ESTIMATE_ERROR = 1 / 2048
"""``ERROR`` of ``rust_ext/sampler/src/fast/estimate.rs``: a race whose best two are four times this
apart, as a share, is decided from estimates, and a nucleus likewise."""

ESTIMATED_FROM = 2048
"""``LONG`` of the same file: no shorter row is estimated."""

LEAST_ESTIMATED_MASS = 0.25
"""``LEAST_MASS`` of the same file: no smaller nucleus is."""

LIST_MARGIN = 2.0**-15
"""``MARGIN`` of ``rust_ext/sampler/src/fast/shortlist.rs``: by so much may a logit lie below the
bound on the k-th largest, and still have its probability."""

LIST_REACH = 60.0
"""``REACH`` of the same file: no list is made where the k-th largest is further below."""

LISTED_FROM = 64
"""Tokens for each of k from which on the k largest are listed (``Shortlist::suits``)."""

ENTRANTS = 64
"""Tokens with the largest p / q among which a decision is looked for."""


def distances(case: Case, outcome: Outcome) -> dict[str, float]:
    """Measure how close the reference's ``outcome`` of a case came, by the names of `MEASURES`.

    The case has one row, and its first call gave a token. A decision that was not made, since its
    stage is off or keeps one token, has no distance.
    """
    cutoffs = cutoffs_of(case, outcome.stages)
    found = {
        "top-k": cutoffs.threshold(),
        "list": cutoffs.listed(),
        "top-p": cutoffs.nucleus(),
    }
    final = outcome.stages["renormalized"][0]
    if np.count_nonzero(final) > 1:
        noise = noise_of(case)
        found["race"] = min(gap(ratios_of(final, q)) for q in noise)
        found["estimate"] = _estimate(case, cutoffs, ratios_of(cutoffs.probs, noise[-1]))
    return {name: float(value) for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """What the two masks cut.

    Attributes:
        scaled: f32 [V], the logits by the temperature.
        probs: f32 [V], their probabilities.
        kept: f32 [V], those that top-k left, zeros elsewhere.
        top_k: the parameter; 0 where the stage is off.
        top_p: the parameter as torch compares it; 0 where the stage is off.
    """

    scaled: Row
    probs: Row
    kept: Row
    top_k: int
    top_p: np.float32

    def threshold(self) -> float | None:
        """Give the distance of the k-th largest probability from the next one."""
        if not 0 < self.top_k < self.probs.size:
            return None
        kth, after = np.sort(self.probs)[::-1][self.top_k - 1 : self.top_k + 1]
        if after <= 0:
            return None
        if kth > after:
            return float(_bits(kth) - _bits(after))
        return None if self._spread(kth) == 0 else 0.0

    def listed(self) -> float | None:
        """Give how much room the list's margin leaves for logits that share the k-th's place."""
        if not 0 < self.top_k * LISTED_FROM <= self.probs.size:
            return None
        kth = np.partition(self.probs, -self.top_k)[-self.top_k]
        if self.scaled.max() - self.scaled[self.probs == kth].min() > LIST_REACH:
            return None
        spread = self._spread(kth)
        return LIST_MARGIN / spread if spread > 0 else None

    def _spread(self, probability: np.float32) -> float:
        """Give how far apart the scaled logits are that have one probability."""
        tied = self.scaled[self.probs == probability].astype(np.float64)
        return float(tied.max() - tied.min())

    def sums(self) -> Doubles:
        """Give the cumulative sums in torch's order, f64 [V]: torch rounds each to f32."""
        return np.cumsum(np.sort(self.kept)[::-1], dtype=np.float64)

    def nucleus(self) -> float | None:
        """Give the distance of the nearest cumulative sum from where it exceeds ``top_p``."""
        if self.top_p <= 0:
            return None
        at = turning_point(self.top_p)
        positive = int(np.count_nonzero(self.kept))
        nearest = np.abs(self.sums()[:positive] - at).min()
        return float(nearest / np.spacing(self.top_p))


def turning_point(top_p: np.float32) -> float:
    """Give the f64 above which a sum, rounded to f32, exceeds ``top_p``."""
    above = np.nextafter(top_p, np.float32(np.inf))
    return (float(top_p) + float(above)) / 2


def cutoffs_of(case: Case, stages: Mapping[str, npt.NDArray[Any]]) -> Cutoffs:
    """Give what the masks of a case's first call cut, from the stages of its one row."""
    parameters = values_of(case.parameters)
    probs = stages["probs"][0]
    return Cutoffs(
        scaled=stages["scaled_logits"][0],
        probs=probs,
        kept=np.where(stages["top_k_mask"][0], probs, np.float32(0)),
        top_k=int(parameters["top_k"] or 0),
        top_p=np.float32(max(float(parameters["top_p"] or 0), 0.0)),
    )


def noise_of(case: Case) -> list[Row]:
    """Give the q of every call of a case, f32 [V]: each is an exponential of torch's generator."""
    generator = start_generator(case)
    return [
        torch.empty(case.logits.shape).exponential_(1, generator=generator).numpy()[0]
        for _ in range(case.draws)
    ]


def ratios_of(distribution: Row, noise: Row) -> Doubles:
    """Give p / q of every token, f64 [V]: the largest one is drawn."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios: Doubles = distribution.astype(np.float64) / noise.astype(np.float64)
    return ratios


def gap(ratios: Doubles) -> float:
    """Give by how much the best of a race exceeds the second, in steps of 2^-24."""
    second, best = np.partition(ratios, -2)[-2:]
    return float((best - second) / best / ULP)


def may_estimate(case: Case) -> bool:
    """Whether the port may decide a draw of a case from estimates."""
    parameters = values_of(case.parameters)
    top_p = float(parameters["top_p"] or 0)
    small = 0 < top_p < LEAST_ESTIMATED_MASS
    long = case.logits.shape[-1] >= ESTIMATED_FROM
    return long and not small and not parameters["top_k"]


def _estimate(case: Case, cutoffs: Cutoffs, ratios: Doubles) -> float | None:
    """Give by how much of its bound the last call's decision left no doubt.

    The estimates are not asked: the exact values stand for them. ``None`` where the bound leaves a
    doubt, and the exact stages decide.
    """
    if not may_estimate(case):
        return None
    bound = 4 * ESTIMATE_ERROR
    order = np.argsort(-ratios)[:ENTRANTS]
    left = float("inf")
    for place, token in enumerate(order[:-1]):
        inside, outside = _margins(cutoffs, int(token))
        if inside >= 0:
            apart = 1 - ratios[order[place + 1]] / ratios[token]
            left = min(left, inside, apart / bound - 1)
            return left if left >= 0 else None
        if outside < 0:
            return None
        left = min(left, outside)
    return None


def _margins(cutoffs: Cutoffs, token: int) -> tuple[float, float]:
    """Give how far a token is inside the nucleus and outside of it, as shares of the bound.

    One of them at least is negative; both are where estimates cannot tell.
    """
    if cutoffs.top_p <= 0:
        return float("inf"), -1.0
    probs, p, share = cutoffs.probs.astype(np.float64), float(cutoffs.probs[token]), cutoffs.top_p
    bound = 4 * ESTIMATE_ERROR
    allowed = float(share) * (bound + 2 * (probs.size / 8 + 8) * ULP)
    all_before = 1 - probs[probs < p * (1 - bound)].sum() - p
    surely_before = 1 - probs[probs < p * (1 + bound)].sum()
    inside = float(share) - allowed - all_before
    outside = surely_before - float(share) - allowed
    return float(inside / allowed), float(outside / allowed)


def _bits(value: np.float32) -> int:
    return int(np.float32(value).view(np.int32))
