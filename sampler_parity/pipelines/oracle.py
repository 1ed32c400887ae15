"""The oracle of a pipeline whose stages fold: it follows from them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sampler_parity.model.pipeline import (
    Array,
    Draw,
    Generators,
    InverseCdf,
    NoisyArgmax,
    Parameter,
    Parameters,
    Pipeline,
    Race,
    SecondDraw,
    Stage,
)
from sampler_parity.pipelines.draws import may_be_largest, may_race, may_walk, never_largest
from sampler_parity.pipelines.fates import Fates
from sampler_parity.pipelines.folding import Folded, start


class Folding:
    """Judges answers of a pipeline by what its stages, folded one after the other, seal."""

    def __init__(self, stages: Sequence[Stage], draw: Draw) -> None:
        """Fold ``stages``, of which those without a fold change neither weights nor fates."""
        self._stages = tuple(stages)
        self._draw = draw

    def folded(self, logits: Array, parameters: Any, history: Array | None = None) -> Folded:
        """Fold all stages, from the logits on."""
        rows = start(logits)
        for stage in self._stages:
            rows = stage.folded(rows, parameters, history)
        return rows

    def fates(self, logits: Array, parameters: Any, history: Array | None = None) -> Fates | None:
        """Give the fates of tokens in the final distribution.

        ``None`` where logits are odd, and where no distribution is drawn from.
        """
        if isinstance(self._draw, NoisyArgmax):
            return None
        return self.folded(logits, parameters, history).fates() if _plain(logits) else None

    def impossible(self, logits: Array, parameters: Any, history: Array | None = None) -> Array:
        """Mark what no correct sampler draws, at its first draw or at a second."""
        rows = np.atleast_2d(logits)
        if isinstance(self._draw, NoisyArgmax) and _plain(logits):
            noise = float(getattr(parameters, self._draw.noise))
            return never_largest(self.folded(rows, parameters, history), noise)
        fate = self.fates(rows, parameters, history)
        if fate is None:
            return np.zeros(rows.shape, bool)
        found: Array = fate.dropped
        if isinstance(self._draw, SecondDraw):
            found = found & (rows == -np.inf)
        return found

    def may_draw(
        self,
        logits: Array,
        parameters: Any,
        tokens: Sequence[Array],
        generator: Any,
        history: Array | None = None,
    ) -> bool:
        """Whether a correct sampler on the reference's generator may draw all of these tokens."""
        if isinstance(self._draw, NoisyArgmax) and _plain(logits):
            noise = float(getattr(parameters, self._draw.noise))
            rows = self.folded(np.atleast_2d(logits), parameters, history)
            return all(may_be_largest(rows, drawn, noise, generator) for drawn in tokens)
        fate = self.fates(np.atleast_2d(logits), parameters, history)
        if fate is None:
            return False
        if isinstance(self._draw, InverseCdf):
            places = self._draw.places(np.atleast_2d(logits), parameters, history)
            return all(may_walk(fate, places, drawn, generator) for drawn in tokens)
        return isinstance(self._draw, Race) and all(
            may_race(fate, drawn, generator) for drawn in tokens
        )


def _plain(logits: Array) -> bool:
    """Whether every row has a largest logit, and nothing that is no number."""
    rows = np.atleast_2d(logits)
    return bool((~np.isnan(rows) & (rows != np.inf)).all() and np.isfinite(rows).any(axis=-1).all())


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
