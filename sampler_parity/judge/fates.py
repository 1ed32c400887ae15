"""Which tokens every correct sampler keeps, and which none does.

Somebody who sees a sampler's final distribution, or only its tokens, does not see the probabilities
that its masks were cut from. But however it rounds, they are within a bound of the exact ones, and
so is every sum that it compares with ``top_p``. Where the bound leaves no doubt, a token's fate is
sealed; where it does, either is correct.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sampler_parity.judge.oracle import F32, TINY, Exact, Truth, U, gamma, quotient
from sampler_parity.pipelines import SampleLogits

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fates:
    """Of every token of a batch, [B, V].

    Attributes:
        kept: every correct sampler keeps it.
        dropped: none does, or its probability is zero.
        ranked: every correct sampler's top-k keeps it.
        probs: the exact probabilities before truncation.
        error: bound on their relative error in f32, [B, 1]; 4 * 2^-149 comes on top.
    """

    kept: Mask
    dropped: Mask
    ranked: Mask
    probs: Exact
    error: Exact

    def cut_right(self, kept: Mask, top_p: float) -> Mask:
        """Whether some order of equal tokens makes each row's nucleus ``kept``, bool [B].

        Without its least token, a nucleus has not exceeded ``top_p``; with it, it has, or there is
        nothing left to add. That holds in any order, and says how many of equal tokens stay.
        """
        values = np.where(kept, self.probs, 0)
        mass = values.sum(axis=-1, keepdims=True)
        least = np.where(kept, self.probs, np.inf).min(axis=-1, keepdims=True, initial=np.inf)
        bounds = (np.longdouble(top_p), np.longdouble(np.float32(top_p)))
        slack = self.error + gamma(kept.sum(axis=-1, keepdims=True).astype(np.longdouble))
        tiny = 4 * TINY * kept.sum(axis=-1, keepdims=True)
        too_many = (mass - least) * (1 - slack) - tiny > max(bounds)
        too_few = mass * (1 + slack) + tiny <= min(bounds)
        more = (self.ranked & ~kept & (self.probs > 8 * TINY * mass)).any(axis=-1, keepdims=True)
        alone = kept.sum(axis=-1, keepdims=True) <= 1
        right: Mask = ~(too_many & ~alone | too_few & more)[..., 0]
        return right

    def renormalized(self, kept: Mask) -> Truth:
        """Bound kept / sum(kept): both are off by ``error``, the sum by its roundings as well."""
        values = np.where(kept, self.probs, 0)
        with np.errstate(all="ignore"):
            mass = values.sum(axis=-1, keepdims=True)
            value = values / mass
            roundings = kept.sum(axis=-1, keepdims=True) - 1 + 3
            bound = (2 * self.error + gamma(roundings)) * value + 4 * TINY / mass + 2 * TINY
        return Truth(value, np.where(kept, bound, 0))


def fates(logits: F32, parameters: SampleLogits) -> Fates:
    """Work out every token's fate, for finite temperatures other than zero.

    A scaled logit is off by three roundings (:func:`~sampler_parity.judge.oracle.quotient`), which
    moves its exponential by as much, relatively; so is the largest one, which is taken from it. The
    rest is the bound of :func:`~sampler_parity.judge.oracle.softmax`. One bound holds for a row:
    the largest among its tokens that have a probability at all.
    """
    flat = np.atleast_2d(logits)
    x = flat.astype(np.longdouble)
    moved: Exact = np.zeros_like(x)
    if parameters.temperature != 1.0:
        truth = quotient(flat, parameters.temperature)
        x, moved = truth.value, truth.bound
    with np.errstate(all="ignore"):
        top = x.max(axis=-1, keepdims=True)
        terms = np.exp(x - top)
        alive = terms > 0
        probs = terms / terms.sum(axis=-1, keepdims=True)
        depth = np.where(alive, np.abs(x - top), 0)
        moved = np.where(
            alive, moved + moved.max(axis=-1, keepdims=True, where=alive, initial=0), 0
        )
        count = alive.sum(axis=-1, keepdims=True)
        own = (depth + 4).max(axis=-1, keepdims=True) * U + moved.max(axis=-1, keepdims=True)
        weighted = (probs * (depth * U + moved)).sum(axis=-1, keepdims=True)
        error = own + weighted + gamma(count + 6)
    rows = [_row(flat[row], probs[row], error[row, 0], parameters) for row in range(len(x))]
    kept, dropped, ranked = (np.stack(masks) for masks in zip(*rows, strict=True))
    return Fates(
        kept=kept.reshape(logits.shape),
        dropped=(dropped | ~alive).reshape(logits.shape),
        ranked=ranked.reshape(logits.shape),
        probs=probs.reshape(logits.shape),
        error=error.reshape((*logits.shape[:-1], 1)),
    )


def _row(
    logits: F32, probs: Exact, error: np.longdouble, parameters: SampleLogits
) -> tuple[Mask, Mask, Mask]:
    order = np.argsort(-logits, kind="stable")
    descending = probs[order]
    low = descending * (1 - error) - 4 * TINY
    high = descending * (1 + error) + 4 * TINY
    # Every array is descending: how many others are surely, and how many possibly, larger.
    surely = np.searchsorted(-low, -high, side="left")
    possibly = np.searchsorted(-high, -low, side="right")
    kept, dropped = np.ones(len(probs), bool), np.zeros(len(probs), bool)
    if parameters.top_k > 0:
        # Equal logits have equal probabilities: at the threshold, the rule keeps them all.
        values = -logits[order]
        equal = np.searchsorted(values, values, side="right")
        equal -= np.searchsorted(values, values, side="left")
        dropped = surely >= parameters.top_k
        kept = possibly - equal < parameters.top_k
    ranked = kept
    if parameters.top_p > 0:
        mass = np.where(dropped, 0, descending)
        sums = np.concatenate([np.zeros(1, np.longdouble), np.cumsum(mass)])
        exact, rounded = (
            np.longdouble(parameters.top_p),
            np.longdouble(np.float32(parameters.top_p)),
        )
        counts = np.arange(len(probs) + 1).astype(np.longdouble)
        least = sums * (1 - error - gamma(counts)) - 4 * TINY * counts
        most = (sums[possibly] - mass) * (1 + error + gamma(counts[possibly])) + 4 * TINY * possibly
        dropped = dropped | (least[surely] > max(exact, rounded))
        kept = kept & ((most <= min(exact, rounded)) | (possibly <= 1))
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return kept[back], dropped[back], ranked[back]
