"""The oracle of a pipeline whose stages fold: it follows from them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sampler_parity.model.pipeline import (
    Array,
    Draw,
    Generators,
    InverseCdf,
    Parameter,
    Parameters,
    Pipeline,
    Race,
    SecondDraw,
    Stage,
)
from sampler_parity.pipelines.exact import TINY, Mask, gamma
from sampler_parity.pipelines.fates import Fates
from sampler_parity.pipelines.folding import Folded, start
from sampler_parity.pipelines.sample_logits import DRAW


class Folding:
    """Judges answers of a pipeline by what its stages, folded one after the other, seal."""

    def __init__(self, stages: Sequence[Stage], draw: Draw) -> None:
        """Fold ``stages``, of which those without a fold change neither weights nor fates."""
        self._stages = tuple(stages)
        self._draw = draw

    def folded(
        self, logits: Array, parameters: Any, history: Array | None = None, upto: str = ""
    ) -> Folded:
        """Fold the stages up to one, or all of them."""
        rows = start(logits)
        for stage in self._stages:
            if stage.fold is not None and not (stage.off and stage.off(parameters)):
                rows = stage.fold(rows, parameters, history)
            if stage.name == upto:
                break
        return rows

    def fates(self, logits: Array, parameters: Any, history: Array | None = None) -> Fates | None:
        """Give the fates of tokens in the final distribution; ``None`` where logits are odd."""
        if not _plain(logits):
            return None
        rows = self.folded(logits, parameters, history, self._draw.of)
        return rows.fates()

    def impossible(self, logits: Array, parameters: Any, history: Array | None = None) -> Array:
        """Mark what no correct sampler draws, at its first draw or at a second."""
        shape = np.atleast_2d(logits).shape
        if not _plain(logits):
            return np.zeros(shape, bool)
        found = self.folded(logits, parameters, history, self._draw.of).fates().dropped
        if isinstance(self._draw, SecondDraw):
            found = found & (np.atleast_2d(logits) == -np.inf)
        return np.atleast_2d(found)

    def may_draw(
        self,
        logits: Array,
        parameters: Any,
        tokens: Sequence[Array],
        generator: Any,
        history: Array | None = None,
    ) -> bool:
        """Whether a correct sampler on the reference's generator may draw all of these tokens."""
        fate = self.fates(np.atleast_2d(logits), parameters, history)
        if fate is None:
            return False
        draws = {Race: _race, InverseCdf: _walk}.get(type(self._draw))
        return draws is not None and all(draws(fate, drawn, generator) for drawn in tokens)


def _plain(logits: Array) -> bool:
    """Whether every row has a largest logit, and nothing that is no number."""
    rows = np.atleast_2d(logits)
    return bool((~np.isnan(rows) & (rows != np.inf)).all() and np.isfinite(rows).any(axis=-1).all())


def ends(fate: Fates) -> tuple[Array, Array]:
    """Give the least and the most of each token's weight in any correct sampler, [B, V]."""
    shares, tiny = fate.shares, 50 * fate.shares.tiny
    low = np.where(fate.kept, shares.low * (1 - DRAW) - tiny, 0)
    high = np.where(fate.dropped, 0, shares.high * (1 + DRAW) + tiny)
    return np.maximum(low, 0), high


def _race(fate: Fates, drawn: Array, generator: Any) -> bool:
    """Whether each row's token may have the largest p / q; see ``sample_logits``'s oracle."""
    import torch

    low, high = ends(fate)
    rows = np.arange(len(low))
    q = torch.empty(low.shape).exponential_(generator=generator).numpy()
    with np.errstate(all="ignore"):
        return bool((high[rows, drawn] / q[rows, drawn] >= (low / q).max(axis=-1)).all())


def _walk(fate: Fates, drawn: Array, generator: Any) -> bool:
    """Whether each row's token may be where the cumulative sum first exceeds the uniform."""
    low, high = ends(fate)
    found: Mask = np.ones(len(low), bool)
    for row, token in enumerate(drawn):
        uniform = generator.random_sample()
        error = float(gamma(float((high[row] > 0).sum() + 4))) + 4 * TINY
        before, after = high[row][:token].sum(), low[row][token + 1 :].sum()
        least, rest = low[row][:token].sum(), high[row][token + 1 :].sum()
        own = high[row][token]
        with np.errstate(all="ignore"):
            first = least / (least + own + rest)
            last = (before + own) / (before + own + after)
        found[row] = first * (1 - error) - error <= uniform <= last * (1 + error) + error
    return bool(found.all())


def folding_pipeline(
    kind: type[Parameters],
    stages: Sequence[Stage],
    draw: Draw,
    parameters: Mapping[str, Parameter],
    stream: Generators | None = None,
    oracle: type[Folding] = Folding,
) -> Pipeline:
    """Make the pipeline of ``kind`` from stages that fold, with the oracle that follows."""
    return Pipeline(
        name=kind.sampler,
        stages=tuple(stages),
        draw=draw,
        parameters=parameters,
        oracle=oracle(stages, draw),
        stream=stream,
    )
