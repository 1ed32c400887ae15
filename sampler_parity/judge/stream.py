"""Tokens that a correct sampler may draw from the reference's own stream."""

from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.implementations.reference import start_generator
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.pipeline import InverseCdf, SecondDraw
from sampler_parity.pipelines.draws import DRAW, surely_beside
from sampler_parity.pipelines.exact import Wide, gamma
from sampler_parity.pipelines.numbers import exponentials, uniform_of


def draws_as_near(
    case: Case, candidate: Outcome, tokens: npt.NDArray[np.int64], generator: Any
) -> bool:
    """Whether each row's token is within rounding of the one that ``generator`` draws.

    It is drawn from the candidate's own distribution. Of a sampler without one, nothing is near.
    """
    if not case.pipeline.final:
        return False
    final = np.atleast_2d(candidate.stages[case.pipeline.final])
    if not ((tokens >= 0) & (tokens < final.shape[-1])).all():
        return False
    draw = case.pipeline.draw
    if isinstance(draw, InverseCdf):
        places = draw.places(np.atleast_2d(case.logits), case.parameters, case.history)
        return _near_in_walk(final, places, tokens, generator)
    return _near_in_race(final, tokens, generator)


def _near_in_race(
    final: npt.NDArray[np.float32], tokens: npt.NDArray[np.int64], generator: Any
) -> bool:
    rows = np.arange(len(final))
    q = exponentials(final.shape, generator)
    with np.errstate(all="ignore"):
        quotients = final.astype(np.float64) / q
        won = quotients[rows, tokens] * (1 + DRAW) >= quotients.max(axis=-1) * (1 - DRAW)
    return bool(won.all())


def _near_in_walk(
    final: npt.NDArray[np.float32],
    places: tuple[Wide, Wide],
    tokens: npt.NDArray[np.int64],
    generator: Any,
) -> bool:
    """Whether the uniform is where a walk may end that rounds each partial sum to f32."""
    for row, least, most, token in zip(final.astype(np.float64), *places, tokens, strict=True):
        uniform, total = uniform_of(generator), row.sum()
        error = float(gamma(float((row > 0).sum() + 4)))
        before, after = surely_beside((least, most), int(token))
        first, last = row[before].sum() / total, 1 - row[after].sum() / total
        if row[token] <= 0 or not first - error <= uniform <= last + error:
            return False
    return True


def may_draw(case: Case, candidate: Outcome) -> bool:
    """Whether a correct sampler on the reference's generator may draw all of these tokens.

    Of a pipeline without an oracle, none is known to.
    """
    oracle = case.pipeline.oracle
    if oracle is None:
        return False
    generator = start_generator(case)
    return oracle.may_draw(case.logits, case.parameters, candidate.tokens, generator, case.history)


def may_part(case: Case, candidate: Outcome) -> bool:
    """Whether rounding may decide how many numbers the calls take from the generator."""
    draw = case.pipeline.draw
    return isinstance(draw, SecondDraw) and draw.parts(
        case.logits, case.parameters, candidate.tokens, start_generator(case), case.history
    )
