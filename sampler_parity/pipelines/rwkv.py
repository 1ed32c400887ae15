"""The sampler of the ``rwkv`` package, and of the TTS scripts that have taken it over.

``rwkv.utils.PIPELINE.sample_logits`` on a CPU: softmax; what is below the probability at which the
descending sum reaches top_p is dropped; then all but the last k of ``numpy.argsort``; then p^(1/T);
then ``numpy.random.choice``. Temperature 0 means T = 1 and top_p = 0, which keeps the largest.
"""

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from sampler_parity.model.pipeline import (
    LOGITS,
    Array,
    InverseCdf,
    Parameter,
    Parameters,
    Pipeline,
    Stage,
)
from sampler_parity.pipelines import folding, stages
from sampler_parity.pipelines.numpy_stream import NUMPY
from sampler_parity.pipelines.oracle import folding_pipeline

OfRow = Callable[[Array, "Rwkv"], Array]


class Rwkv(Parameters, frozen=True, tag="rwkv"):
    """Parameters of ``rwkv.utils.PIPELINE.sample_logits``."""

    sampler: ClassVar[str] = "rwkv"
    pipeline: ClassVar[Pipeline]

    temperature: float = 1.0
    top_p: float = 0.85
    top_k: int = 0

    @property
    def nucleus(self) -> float:
        """``top_p``, or 0 where temperature 0 asks for the largest token."""
        return 0.0 if self.temperature == 0 else self.top_p

    @property
    def exponent(self) -> float:
        """The power of the probabilities, 1 / T."""
        return 1.0 if self.temperature == 0 else 1.0 / self.temperature


def _by_numpy(change: OfRow, numbers: str, *masks: str) -> Callable[[stages.Given, Any, Any], Any]:
    """Compute in numpy, row by row: its powers and sums have other bits than torch's."""

    def reference(tensors: stages.Given, p: Rwkv, _: Any) -> Any:
        import torch

        kept = stages.left(tensors, numbers, masks, 0.0).numpy()
        with np.errstate(all="ignore"):
            rows = [change(row, p) for row in kept.reshape(-1, kept.shape[-1])]
        return torch.from_numpy(np.stack(rows).reshape(kept.shape))

    return reference


def _mask(change: OfRow) -> Callable[[stages.Given, Any, Any], Any]:
    """Cut probabilities as the package does.

    The mask is false where the probability is zero: nothing comes of it, whatever a rule says.
    """
    return _by_numpy(lambda row, p: change(row, p) & (row > 0), "probs")


def _nucleus(probs: Array, p: Rwkv) -> Array:
    descending = probs[np.argsort(probs)][::-1]
    cutoff = float(descending[np.argmax(np.cumsum(descending) >= p.nucleus)])
    kept: Array = ~(probs < cutoff)
    return kept


def _crossing(crosses: Callable[[Array, float], Array], shift: int) -> OfRow:
    def kept(probs: Array, p: Rwkv) -> Array:
        descending = np.sort(probs)[::-1]
        at = int(np.argmax(crosses(np.cumsum(descending), p.nucleus))) + shift
        found: Array = ~(probs < float(descending[max(0, min(at, len(probs) - 1))]))
        return found

    return kept


def _not_more(probs: Array, p: Rwkv) -> Array:
    """Drop all but the last top_k of the order that numpy sorts the whole row in."""
    kept = np.ones(len(probs), bool)
    if 0 < p.top_k < len(probs):
        kept[np.argsort(probs)[: -p.top_k]] = False
    return kept


def _ties(probs: Array, p: Rwkv) -> Array:
    if not 0 < p.top_k < len(probs):
        return np.ones(len(probs), bool)
    found: Array = probs >= np.sort(probs)[-p.top_k]
    return found


def _one_more(probs: Array, p: Rwkv) -> Array:
    kept = np.ones(len(probs), bool)
    if 0 < p.top_k < len(probs) - 1:
        kept[np.argsort(probs)[: -p.top_k - 1]] = False
    return kept


AFTER_SOFTMAX = (
    Stage(
        "top_p_mask",
        "which tokens top-p, the nucleus, keeps: all ties with the one that reaches it",
        "mask",
        ("probs",),
        _mask(_nucleus),
        fold=lambda rows, p, _: _fold_nucleus(rows, p),
        variations=(
            stages.wrong("top-p without the shift", _mask(_crossing(operator.ge, -1))),
            stages.wrong("top-p shifted twice", _mask(_crossing(operator.ge, 1))),
            stages.wrong("top-p forgotten", _mask(lambda row, _: np.ones(len(row), bool))),
        ),
    ),
    Stage(
        "top_k_mask",
        "which tokens top-k keeps: exactly k of the whole row",
        "mask",
        ("probs",),
        _mask(_not_more),
        fold=lambda rows, p, _: _fold_top_k(rows, p),
        variations=(
            stages.wrong("top-k keeps every tie", _mask(_ties)),
            stages.wrong("top-k one more", _mask(_one_more)),
            stages.wrong("top-k forgotten", _mask(lambda row, _: np.ones(len(row), bool))),
        ),
    ),
    replace(
        stages.power("probs", ("top_p_mask", "top_k_mask"), lambda p: float(p.exponent)),
        reference=_by_numpy(
            lambda kept, p: kept if p.exponent == 1.0 else kept**p.exponent,
            "probs",
            "top_p_mask",
            "top_k_mask",
        ),
    ),
    replace(
        stages.renormalize("powered"),
        reference=_by_numpy(lambda kept, _: kept / np.sum(kept), "powered"),
    ),
    stages.choice("renormalized"),
)
"""What comes after the softmax."""


def _fold_nucleus(rows: folding.Folded, p: Rwkv) -> folding.Folded:
    """Cut the nucleus; where rounding may keep every sum below top_p, only the largest is sure.

    ``numpy.argmax`` of a sum that nowhere reaches top_p is 0: the package keeps the largest alone.
    """
    cut = folding.top_p(rows, p.nucleus, reaching=True, whole=True, ties=True)
    reaches = folding.least_mass(rows) >= p.nucleus
    largest = rows.log == rows.log.max(axis=-1, keepdims=True)
    return rows.cut(np.where(reaches, cut.kept, largest), cut.dropped & reaches)


def _fold_top_k(rows: folding.Folded, p: Rwkv) -> folding.Folded:
    """Cut exactly k of the whole row, whatever the nucleus has dropped of it."""
    if not 0 < p.top_k < rows.log.shape[-1]:
        return rows
    whole = folding.Folded(rows.log, rows.moved, np.ones_like(rows.kept), np.isneginf(rows.log), ())
    cut = folding.top_k(whole, p.top_k, exactly=True)

    def right(mask: Array) -> Array:
        found: Array = mask.sum(axis=-1) <= p.top_k
        return found

    return rows.cut(cut.kept, cut.dropped, right)


Rwkv.pipeline = folding_pipeline(
    Rwkv,
    (stages.softmax(LOGITS), *AFTER_SOFTMAX),
    InverseCdf(of="renormalized"),
    stream=NUMPY,
    parameters={
        "temperature": Parameter(
            "the probabilities that are left are raised to 1 / temperature",
            simpler=(1.0, 2.0, 0.5),
            usual=(1.0, 1.0, 0.8, 0.3, 1.7, 0.0),
            accepts=lambda value: 0 <= value < 100,  # noqa: PLR2004  (beyond, powers are 1)
        ),
        "top_p": Parameter(
            "mass of the nucleus",
            simpler=(1.0, 0.5, 0.9),
            usual=(0.95, 0.9, 0.85, 0.5, 0.1),
            accepts=lambda value: 0 <= value <= 1,
        ),
        "top_k": Parameter(
            "how many tokens stay; off where it is not > 0",
            simpler=(0, 1, 2),
            usual=(0, 0, 1, 5, 20, 50),
            of_vocabulary="count",
            accepts=lambda value: value >= 0,
        ),
    },
)
