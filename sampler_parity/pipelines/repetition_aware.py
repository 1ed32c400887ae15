"""Repetition-aware sampling, as speech models of the CosyVoice kind have it.

A token is drawn from the nucleus: the likeliest tokens while their sum before is below top_p, at
most top_k of them. Where it occurs too often among the last ``window`` tokens, another one is drawn
from the whole softmax.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from sampler_parity.model.pipeline import (
    HISTORY,
    LOGITS,
    TOKEN,
    Array,
    Parameter,
    Parameters,
    Pipeline,
    SecondDraw,
    Stage,
    Variation,
)
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines import folding, stages
from sampler_parity.pipelines.draws import ends, winners
from sampler_parity.pipelines.oracle import Folding, folding_pipeline


class RepetitionAware(Parameters, frozen=True, tag="repetition_aware"):
    """Parameters of repetition-aware sampling."""

    sampler: ClassVar[str] = "repetition_aware"
    pipeline: ClassVar[Pipeline]

    top_p: float = 0.8
    top_k: int = 25
    window: int = 10
    tau: float = 0.1

    def refuses(self, token: int, history: Array) -> bool:
        """Whether ``token`` occurs too often in the window."""
        recent = history[-self.window :] if self.window else history[:0]
        return bool((recent == token).sum() >= self.window * self.tau)


def _nucleus(tensors: stages.Given, p: RepetitionAware, *, shift: int = 1) -> Any:
    import torch

    probs = tensors["probs"]
    values, order = probs.sort(descending=True, stable=True)
    # Successive sums in f32, as a loop that adds one probability after the other has them: torch
    # would keep the sum in f64.
    sums = torch.from_numpy(np.add.accumulate(values.numpy(), axis=-1, dtype=np.float32))
    before = torch.zeros_like(values)
    before[..., shift:] = sums[..., : values.shape[-1] - shift]
    kept = before < p.top_p
    kept[..., p.top_k :] = False
    kept[..., :1] = True
    return torch.zeros_like(kept).scatter_(-1, order, kept)


def _drawn(
    tensors: stages.Given,
    p: RepetitionAware,
    generator: Any,
    *,
    always: bool = False,
    never: bool = False,
) -> Any:
    import torch

    probs = stages.rows_of(tensors["probs"])
    mask = stages.rows_of(tensors["nucleus_mask"])
    history = stages.rows_of(tensors[HISTORY])
    tokens = []
    for row, kept, past in zip(probs, mask, history, strict=True):
        values, order = row.sort(descending=True, stable=True)
        left = kept[order]
        first = order[left][torch.multinomial(values[left], 1, generator=generator)]
        refused = p.refuses(int(first), past.numpy())
        second = first
        if always or (refused and not never):
            second = torch.multinomial(row, 1, generator=generator)
        tokens.append(second if refused and not never else first)
    return torch.stack(tokens).reshape(-1, 1)


_STAGES = (
    stages.softmax(LOGITS),
    Stage(
        "nucleus_mask",
        "which tokens the first draw is from: at most k, while the sum before is below top_p",
        "mask",
        ("probs",),
        lambda tensors, p, _: _nucleus(tensors, p),
        fold=lambda rows, p, _: folding.top_k(
            folding.top_p(rows, p.top_p, reaching=True, whole=True), p.top_k, exactly=True
        ),
        variations=(
            stages.wrong("nucleus without the shift", lambda t, p, _: _nucleus(t, p, shift=0)),
            stages.wrong("nucleus shifted twice", lambda t, p, _: _nucleus(t, p, shift=2)),
        ),
    ),
    Stage(
        TOKEN,
        "draw from the nucleus, and once more from all where the token came too often",
        "draw",
        ("probs", "nucleus_mask", HISTORY),
        _drawn,
        random=True,
        variations=(
            Variation(
                "the second draw is always made",
                lambda t, p, g: _drawn(t, p, g, always=True),
                Verdict.GENERATOR,
            ),
            Variation(
                "never drawn again",
                lambda t, p, g: _drawn(t, p, g, never=True),
                Verdict.GENERATOR,
            ),
        ),
    ),
)


def _refused(history: Array, p: RepetitionAware, count: int) -> Array:
    return np.array([p.refuses(token, history) for token in range(count)])


class _TwoDraws(Folding):
    """Judges tokens of two races, of which the second follows from the first one's token."""

    def may_draw(
        self,
        logits: Array,
        parameters: RepetitionAware,
        tokens: Sequence[Array],
        generator: Any,
        history: Array | None = None,
    ) -> bool:
        """Whether a correct sampler on torch's generator may draw all of these tokens.

        Where the stream goes on in more than one way, any is taken for possible.
        """
        return _follow(self, logits, parameters, tokens, generator, history) is not False


def _follow(
    oracle: Folding,
    logits: Array,
    parameters: RepetitionAware,
    tokens: Sequence[Array],
    generator: Any,
    history: Array | None,
) -> bool | None:
    """Say whether a correct sampler may draw these tokens; ``None`` where its stream parts.

    The stream goes on in more than one way where rounding decides what the nucleus keeps, or which
    token comes first, and that one may be refused.
    """
    rows = oracle.folded(np.atleast_2d(logits), parameters)
    if rows.open.any():
        return None
    low, high = ends(rows.fates())
    whole_low, whole_high = ends(folding.start(np.atleast_2d(logits)).fates())
    past = np.empty((len(low), 0), np.int64) if history is None else np.atleast_2d(history)
    for drawn in tokens:
        for row, token in enumerate(drawn):
            order = np.argsort(-rows.log[row], kind="stable")
            order = order[rows.kept[row][order]]
            first = order[winners(low[row][order], high[row][order], generator)]
            refused = [parameters.refuses(int(one), past[row]) for one in first]
            if len(first) > 1 and any(refused):
                return None
            if refused[0]:
                if not winners(whole_low[row], whole_high[row], generator)[token]:
                    return False
            elif token not in first:
                return False
    return True


def _parts(
    logits: Array,
    parameters: RepetitionAware,
    tokens: Sequence[Array],
    generator: Any,
    history: Array | None,
) -> bool:
    return _follow(_ORACLE, logits, parameters, tokens, generator, history) is None


_DRAW = SecondDraw(of="probs", mask="nucleus_mask", refused=_refused, parts=_parts)
_ORACLE = _TwoDraws(_STAGES, _DRAW)

RepetitionAware.pipeline = folding_pipeline(
    RepetitionAware,
    _STAGES,
    _DRAW,
    parameters={
        "top_p": Parameter(
            "mass of the nucleus",
            simpler=(1.0, 0.5, 0.8),
            usual=(0.8, 0.9, 0.95, 0.5),
            accepts=lambda value: 0 < value <= 1,
        ),
        "top_k": Parameter(
            "most tokens of the nucleus",
            simpler=(1, 2, 25),
            usual=(25, 25, 50, 5),
            of_vocabulary="count",
            accepts=lambda value: value > 0,
        ),
        "window": Parameter("how many of the last tokens count", simpler=(1, 2), usual=(10, 10, 3)),
        "tau": Parameter(
            "share of the window from which a token came too often",
            simpler=(0.1, 0.5),
            usual=(0.1, 0.1, 0.3),
        ),
    },
    oracle=_TwoDraws,
)
