"""llama.cpp's chain of samplers as llama-cpp-python makes it (``Llama._init_sampler``).

Penalties over the last tokens; top-k; typical; top-p; min-p; the temperature; and ``dist``. Each
cut works on what the ones before have left, renormalised, and before the temperature. ``dist``
walks along the candidates in the order that the chain has left them, until their sum reaches one
uniform of ``std::mt19937``. At temperature 0 the chain is penalties and the largest logit, without
a draw; below 0, penalties and ``dist``.

The arithmetic is that of :mod:`sampler_parity.pipelines.candidates`. Of equal logits the order is
that of GNU's C++ library, :mod:`sampler_parity.pipelines.libstdcxx`: it says which of them a cut
keeps, and where in the walk each stands.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from sampler_parity.model.pipeline import (
    HISTORY,
    LOGITS,
    TOKEN,
    Array,
    InverseCdf,
    Parameter,
    Parameters,
    Pipeline,
    Stage,
    Values,
    Variation,
)
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines import exact, folding, stages
from sampler_parity.pipelines.candidates import (
    STEPS,
    Candidates,
    CutValues,
    Left,
    Step,
    chain,
    f32,
    masks,
)
from sampler_parity.pipelines.mt19937 import MT19937
from sampler_parity.pipelines.oracle import folding_pipeline

_P = "penalized"
MASKS = ("top_k_mask", "typical_mask", "top_p_mask", "min_p_mask")


class LlamaCpp(Parameters, frozen=True, tag="llama_cpp"):
    """Parameters of the chain; each default turns its step off."""

    sampler: ClassVar[str] = "llama_cpp"
    pipeline: ClassVar[Pipeline]

    penalty_last_n: int = 64
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    top_k: int = 0
    typical_p: float = 1.0
    top_p: float = 1.0
    min_p: float = 0.0
    temperature: float = 1.0

    @property
    def unpenalised(self) -> bool:
        """Whether no penalty changes anything."""
        return self.penalty_last_n <= 0 or (
            (self.repeat_penalty, self.frequency_penalty, self.presence_penalty) == (1, 0, 0)
        )

    @property
    def rank(self) -> int:
        """How many tokens top-k leaves; all where it is not > 0. The largest alone is greedy."""
        if self.temperature == 0:
            return 1
        return self.top_k if self.temperature > 0 else 0

    @property
    def typicality(self) -> float:
        """``typical_p``, or 1 where the chain has no cuts."""
        return self.typical_p if self.temperature > 0 else 1.0

    @property
    def nucleus(self) -> float:
        """``top_p``, or 1 where the chain has no cuts."""
        return self.top_p if self.temperature > 0 else 1.0

    @property
    def share(self) -> float:
        """``min_p``, or 0 where the chain has no cuts."""
        return self.min_p if self.temperature > 0 else 0.0

    @property
    def cuts(self) -> CutValues:
        """What the cuts are given."""
        return CutValues(self.rank, self.typicality, self.nucleus, self.share)

    @property
    def divisor(self) -> float:
        """The temperature, or 1 where the chain has none."""
        return self.temperature if self.temperature > 0 else 1.0


# Penalties.


def counts_of(history: Array, p: LlamaCpp, vocab: int) -> Array:
    """Count each token of the vocabulary among the last ``penalty_last_n``, i64 [B, V]."""
    rows = np.atleast_2d(history)
    recent = rows[:, -p.penalty_last_n :] if p.penalty_last_n > 0 else rows[:, :0]
    known = [row[(row >= 0) & (row < vocab)] for row in recent]
    found: Array = np.stack([np.bincount(row, minlength=vocab) for row in known])
    return found


def penalised(logits: Array, history: Array, p: LlamaCpp) -> Array:
    """Penalise what is among the last tokens, f32 [B, V] or [V]."""
    if p.unpenalised:
        return logits.copy()
    rows = np.atleast_2d(logits)
    counts = counts_of(history, p, rows.shape[-1])
    repeat, frequency, presence = _numbers(p)
    with np.errstate(all="ignore"):
        changed = np.where(rows <= 0, rows * repeat, rows / repeat)
        less = counts.astype(f32) * frequency + (counts > 0).astype(f32) * presence
        found: Array = np.where(counts > 0, changed - less, rows).reshape(logits.shape)
    return found


def _numbers(p: LlamaCpp) -> tuple[f32, f32, f32]:
    return f32(p.repeat_penalty), f32(p.frequency_penalty), f32(p.presence_penalty)


def _penalising(tensors: stages.Given, p: LlamaCpp, _: Any) -> Any:
    import torch

    return torch.from_numpy(penalised(tensors[LOGITS].numpy(), tensors[HISTORY].numpy(), p))


def _with(**changes: Any) -> stages.Operation:
    from msgspec import structs

    return lambda tensors, p, _: _penalising(tensors, structs.replace(p, **changes), None)


def _other(change: Callable[[Array, Array, LlamaCpp], Array]) -> stages.Operation:
    """Compute penalties otherwise, from logits and counts [B, V], where something was counted."""

    def reference(tensors: stages.Given, p: LlamaCpp, _: Any) -> Any:
        import torch

        logits = tensors[LOGITS].numpy()
        rows = np.atleast_2d(logits)
        counts = counts_of(tensors[HISTORY].numpy(), p, rows.shape[-1])
        with np.errstate(all="ignore"):
            found = np.where(counts > 0, change(rows, counts, p), rows)
        plain = logits if p.unpenalised else found
        return torch.from_numpy(plain.reshape(logits.shape).astype(f32))

    return reference


def _less(counts: Array, p: LlamaCpp) -> Array:
    found: Array = counts * p.frequency_penalty + (counts > 0) * p.presence_penalty
    return found


def _repeated(x: Array, by: Array | float) -> Array:
    found: Array = np.where(x <= 0, x * by, x / by)
    return found


def _in_f64(x: Array, counts: Array, p: LlamaCpp) -> Array:
    return _repeated(x.astype(np.float64), float(f32(p.repeat_penalty))) - _less(counts, p)


def _bounds(x: Array, counts: Array, p: LlamaCpp) -> tuple[Array, Array]:
    """Give what penalties make of logits or logarithms, f64 [B, V], and how far that rounds."""
    with np.errstate(all="ignore"):
        found = np.where(counts > 0, _in_f64(x, counts, p), x)
        sizes = np.abs(found) + counts * abs(p.frequency_penalty) + abs(p.presence_penalty)
        own = exact.gamma(6) * (np.abs(_repeated(x, float(p.repeat_penalty))) + sizes)
        own = np.where((counts > 0) & np.isfinite(found), own + 4 * exact.TINY, 0)
    return found, own


def _fold_penalties(rows: folding.Folded, p: LlamaCpp, history: Array) -> folding.Folded:
    counts = counts_of(history, p, rows.log.shape[-1])
    log, own = _bounds(rows.log, counts, p)
    by = max(p.repeat_penalty, 1 / p.repeat_penalty)
    moved = np.where(counts > 0, rows.moved * by + own, rows.moved)
    return rows.changed(log, np.where(np.isfinite(log), moved, 0))


def _true_penalties(values: Values, p: LlamaCpp, _: Any) -> exact.Truth:
    x = np.atleast_2d(values[LOGITS]).astype(np.float64)
    value, own = x, np.zeros_like(x)
    if not p.unpenalised:
        value, own = _bounds(x, counts_of(values[HISTORY], p, x.shape[-1]), p)
    return exact.Truth(
        *(one.reshape(values[LOGITS].shape).astype(np.longdouble) for one in (value, own))
    )


def _penalties() -> Stage:
    return Stage(
        _P,
        "the logits after penalties for tokens among the last ones",
        "numbers",
        (LOGITS, HISTORY),
        _penalising,
        truth=_true_penalties,
        fold=_fold_penalties,
        off=lambda p: p.unpenalised,
        variations=(
            stages.wrong("penalties forgotten", lambda t, _, __: t[LOGITS].clone()),
            stages.wrong("presence left out", _with(presence_penalty=0.0)),
            stages.wrong("frequency left out", _with(frequency_penalty=0.0)),
            stages.wrong("repetition left out", _with(repeat_penalty=1.0)),
            stages.wrong("of the whole history", _with(penalty_last_n=10**6)),
            stages.wrong(
                "always divided", _other(lambda x, n, p: x / f32(p.repeat_penalty) - _less(n, p))
            ),
            stages.wrong(
                "repetition for every time",
                _other(lambda x, n, p: _repeated(x, f32(p.repeat_penalty) ** n) - _less(n, p)),
            ),
            stages.wrong(
                "presence for every time",
                _other(lambda x, n, p: _in_f64(x, n, p) - (n - 1) * p.presence_penalty),
            ),
            stages.rounds("in f64", _other(_in_f64)),
        ),
    )


# Cuts.


def _cut(at: int, step: Step | None = None, *, scaled: bool = False) -> stages.Operation:
    """Mark what the cut of a place leaves of what the masks before it do.

    The order is that of the chain's own candidates, as far as masks that are given keep those.
    Another ``step`` is a mistake, and ``scaled`` is one: that the temperature comes first.
    """

    def left(to: CutValues, scores: Array, kept: Array) -> Array:
        found = chain(scores, to)[at].candidates(scores)
        found.only(kept)
        (step or STEPS[at])(found, to)
        return found.mask

    def reference(tensors: stages.Given, p: LlamaCpp, _: Any) -> Any:
        import torch

        shape = tensors[_P].shape
        scores = np.atleast_2d(tensors[_P].numpy())
        kept = scores > -np.inf
        for mask in MASKS[:at]:
            kept &= np.atleast_2d(tensors[mask].numpy())
        if scaled:
            scores = scores / f32(p.divisor)
        known = masks(scores, p.cuts)
        if step is None and np.array_equal(kept, known[at]):
            return torch.from_numpy(known[at + 1].reshape(shape).copy())
        rows = [left(p.cuts, *row) for row in zip(scores, kept, strict=True)]
        return torch.from_numpy(np.stack(rows).reshape(shape))

    return reference


def _tempered(words: str, at: int) -> Variation:
    return stages.wrong(f"{words} after the temperature", _cut(at, scaled=True))


def _above_share(found: Candidates, to: CutValues) -> None:
    """Leave what exceeds the share of the largest, and the largest: a mistake."""
    scores = found.scores[found.tokens]
    if to.share > 0 and len(scores):
        stay = scores > scores.max() + f32(np.log(to.share))
        stay[scores.argmax()] = True
        found.tokens = found.tokens[stay]


def _zeros(rows: folding.Folded, p: LlamaCpp) -> Array:
    """Say of each row, bool [B, 1], whether a candidate's probability may be zero.

    Tokens of -inf are candidates where top-k finds no others.
    """
    finite = (rows.log > -np.inf).sum(axis=-1, keepdims=True)
    most = rows.log.shape[-1] if p.rank <= 0 else min(p.rank, rows.log.shape[-1])
    shares = rows.shares()
    faint = ~rows.dropped & (shares.low <= 2 * shares.tiny + 2 * exact.TINY)
    found: Array = (finite < most) | faint.any(axis=-1, keepdims=True)
    return found


def _fold_typical(rows: folding.Folded, p: LlamaCpp, _: Any) -> folding.Folded:
    """Cut by the distance from the entropy; where that may be no number, leave all open."""
    cut = folding.typical(rows, p.typicality, reaching=False, ties=False)
    sure = ~_zeros(rows, p)
    return rows.cut(cut.kept & sure, cut.dropped & sure)


def _fold_min_p(rows: folding.Folded, p: LlamaCpp, _: Any) -> folding.Folded:
    """Cut by a share of the largest, whether probabilities are compared or, as here, logarithms."""
    cut = folding.min_p(rows, p.share)
    with np.errstate(all="ignore"):
        log = np.where(rows.dropped, -np.inf, rows.log)
        top = log.max(axis=-1, keepdims=True)
        own = exact.gamma(4) * (np.abs(top) + abs(np.log(p.share)) + np.abs(log)) + exact.U
        off = rows.moved + rows.moved.max(axis=-1, keepdims=True) + own
        # What is open may be the largest, or not be there.
        sure = np.where(rows.kept, log, -np.inf).max(axis=-1, keepdims=True)
        stays = log - (top + np.log(p.share)) >= off
        goes = log - (sure + np.log(p.share)) < -off
    return rows.cut(cut.kept & (stays | rows.largest), cut.dropped & goes)


def _cuts() -> tuple[Stage, ...]:
    top_k = stages.top_k(_P, parameter="rank", exactly="first")
    typical = stages.typical(_P, MASKS[:1], parameter="typicality")
    top_p = stages.nucleus(_P, MASKS[:2], parameter="nucleus")
    min_p = stages.min_p(_P, MASKS[:3], parameter="share")
    first = Variation("of tied tokens the first", top_k.reference, Verdict.TIE_ORDER)
    stable = Variation("of equal tokens the first", top_p.reference, Verdict.TIE_ORDER)
    return (
        replace(
            top_k,
            words="which tokens top-k keeps: exactly k, of tied ones as the sort has them",
            reference=_cut(0),
            variations=(*top_k.variations, first),
        ),
        replace(
            typical,
            words="which tokens typical sampling keeps: until their sum exceeds the mass",
            reference=_cut(1),
            fold=_fold_typical,
            variations=(*typical.variations, _tempered("typical", 1)),
        ),
        replace(
            top_p,
            reference=_cut(2),
            variations=(*top_p.variations, stable, _tempered("top-p", 2)),
        ),
        replace(
            min_p,
            reference=_cut(3),
            fold=_fold_min_p,
            variations=(
                *min_p.variations,
                stages.wrong("min-p > for >=", _cut(3, _above_share)),
                _tempered("min-p", 3),
            ),
        ),
    )


# The distribution, and the walk along it.


def _renormalized() -> Stage:
    whole = stages.softmax("scaled_logits", MASKS, name="renormalized")

    def reference(tensors: stages.Given, _: LlamaCpp, __: Any) -> Any:
        import torch

        scores = stages.left(tensors, "scaled_logits", MASKS).numpy()
        there = scores > -np.inf
        with np.errstate(all="ignore"):
            depths = scores - scores.max(axis=-1, keepdims=True)
            weights = np.exp(depths.astype(np.float64)).astype(f32)
            found = weights / weights.sum(axis=-1, keepdims=True, dtype=np.float64)
        # One candidate is taken as it is; where there is none, nothing is a number.
        count = there.sum(axis=-1, keepdims=True)
        found = np.where(there, np.where(count == 1, 1, found), np.where(count == 0, np.nan, 0))
        return torch.from_numpy(found.astype(f32))

    return replace(
        whole,
        reference=reference,
        variations=(*whole.variations, stages.rounds("in f32", whole.reference)),
    )


OfWalk = Callable[[Array, Candidates, Any], int]
"""From a row's probabilities f32 [V], its candidates and a generator to a token."""


def _walk(probs: Array, found: Candidates, uniform: float) -> int:
    """Give the first candidate at which the sum comes to the uniform; the last where none does."""
    sums = np.cumsum(probs[found.tokens].astype(np.float64))
    reached = sums >= sums[-1] * uniform
    return int(found.tokens[reached.argmax() if reached.any() else -1])


def _in_order(probs: Array, left: Left, scores: Array) -> Candidates:
    """Order candidates by probabilities that are given, where the chain's own descend."""
    found = left.candidates(scores)
    if not np.isnan(probs).any():
        if not np.array_equal(probs > 0, left.mask):
            found.only(probs > 0)
        if found.ordered:
            found.tokens = found.tokens[np.argsort(-probs[found.tokens], kind="stable")]
    return found


def _drawing(draw: OfWalk) -> stages.Operation:
    """Draw each row's token from its probabilities, along its own chain's candidates.

    These are worked out from the logits once more: of some candidates nothing else is known than
    their probabilities.
    """

    def reference(tensors: stages.Given, p: LlamaCpp, generator: Any) -> Any:
        import torch

        names = ("renormalized", LOGITS, HISTORY)
        probs, logits, history = (tensors[name].numpy() for name in names)
        scores = np.atleast_2d(penalised(logits, history, p))
        tokens, to, greedy = [], p.cuts, p.temperature == 0
        for row, own in zip(np.atleast_2d(probs), scores, strict=True):
            found = _in_order(row, chain(own, to)[-1], own)
            tokens.append(int(found.tokens[0]) if greedy else draw(row, found, generator))
        return torch.tensor(tokens, dtype=torch.int64)[:, None]

    return reference


def _dist() -> Stage:
    def by_index(probs: Array, found: Candidates, generator: Any) -> int:
        found.tokens = np.sort(found.tokens)
        return _walk(probs, found, generator.random())

    def from_the_end(probs: Array, found: Candidates, generator: Any) -> int:
        found.tokens = found.tokens[::-1]
        return _walk(probs, found, generator.random())

    def of_equals(probs: Array, found: Candidates, generator: Any) -> int:
        if found.ordered:
            found.tokens = np.sort(found.tokens)
            found.tokens = found.tokens[np.argsort(-probs[found.tokens], kind="stable")]
        return _walk(probs, found, generator.random())

    def twice(probs: Array, found: Candidates, generator: Any) -> int:
        generator.random()
        return _walk(probs, found, generator.random())

    def saved(probs: Array, found: Candidates, generator: Any) -> int:
        alone = len(found.tokens) == 1
        return int(found.tokens[0]) if alone else _walk(probs, found, generator.random())

    mistakes: tuple[tuple[str, OfWalk], ...] = (
        ("draw is argmax", lambda probs, _, __: int(probs.argmax())),
        ("a walk in the order of tokens", by_index),
        ("a walk from the end", from_the_end),
        ("generator advanced twice", twice),
        ("nothing drawn where one token is left", saved),
        ("a uniform as numpy makes it", lambda x, to, g: _walk(x, to, g.words.random_sample())),
    )
    return Stage(
        TOKEN,
        "walk in the chain's order until the sum comes to a uniform of std::mt19937",
        "draw",
        ("renormalized", LOGITS, HISTORY),
        _drawing(lambda probs, found, generator: _walk(probs, found, generator.random())),
        random=True,
        variations=(
            *(Variation(words, _drawing(d), Verdict.GENERATOR) for words, d in mistakes),
            stages.rounds("equal ones by their index", _drawing(of_equals)),
        ),
    )


_STAGES = (
    _penalties(),
    *_cuts(),
    stages.temperature("divisor", reads=_P),
    _renormalized(),
    _dist(),
)


def _along(logits: Array, p: LlamaCpp, history: Array | None) -> tuple[Array, Array]:
    """Give each token's place in the walk: by its score, its distance from the entropy, or index.

    Equal ones may come in any order, and those that rounding may exchange.
    """
    penalties, top_k = _STAGES[:2]
    rows = penalties.folded(folding.start(logits), p, history)
    if p.nucleus < 1 or (p.rank > 0 and p.typicality >= 1):
        # Two may be ordered as probabilities are, which round as well, to equal ones at that.
        size = np.abs(rows.log) + np.abs(rows.log.max(axis=-1, keepdims=True)) + 2
        off = rows.moved + exact.gamma(4) * size * max(1.0, p.divisor)
        return _around(-rows.log, off)
    if p.typicality < 1:
        cut = top_k.folded(rows, p, history)
        key, off = folding.distances(cut)
        return _around(key, np.where(_zeros(cut, p), np.inf, off))
    key = np.broadcast_to(np.arange(rows.log.shape[-1], dtype=np.float64), rows.log.shape)
    return key, key


def _around(key: Array, off: Array) -> tuple[Array, Array]:
    with np.errstate(all="ignore"):
        low, high = key - off, key + off
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


LlamaCpp.pipeline = folding_pipeline(
    LlamaCpp,
    _STAGES,
    InverseCdf(of="renormalized", along=_along),
    stream=MT19937,
    parameters={
        "penalty_last_n": Parameter(
            "how many of the last tokens are penalised; off at 0", usual=(64, 64, 64, 5, 0)
        ),
        "repeat_penalty": Parameter(
            "divisor of positive logits of these, factor of the others",
            simpler=(1.0, 2.0, 1.5),
            usual=(1.0, 1.0, 1.1, 1.3, 2.0),
            accepts=lambda value: value > 0,
        ),
        "frequency_penalty": Parameter(
            "what each time that a token was seen takes off", usual=(0.0, 0.0, 0.2, 1.0)
        ),
        "presence_penalty": Parameter(
            "what a token that was seen loses", usual=(0.0, 0.0, 0.5, -0.5)
        ),
        "top_k": Parameter(
            "how many tokens stay; off where it is not > 0",
            simpler=(0, 1, 2),
            usual=(40, 40, 0, 1, 5, 20),
            of_vocabulary="count",
        ),
        "typical_p": Parameter(
            "mass of typical sampling; off at 1",
            simpler=(1.0, 0.5, 0.9),
            usual=(*[1.0] * 8, 0.95, 0.5),
        ),
        "top_p": Parameter(
            "mass of the nucleus; off at 1",
            simpler=(1.0, 0.5, 0.9),
            usual=(0.95, 0.95, 1.0, 0.9, 0.5),
            accepts=lambda value: 0 <= value <= 1,
        ),
        "min_p": Parameter(
            "least share of the largest probability; off at 0",
            simpler=(0.0, 0.5, 0.1),
            usual=(0.05, 0.05, 0.0, 0.1, 1.0),
        ),
        "temperature": Parameter(
            "divisor of the logits; 0 takes the largest, and below 0 there is no cut",
            simpler=(1.0, 2.0, 0.5),
            usual=(0.8, 0.8, 0.8, 1.0, 1.0, 0.3, 1.7, 0.0, -1.0),
            # A reciprocal must be a number of f32 as well.
            accepts=lambda value: value <= 0 or value > 1e-30,  # noqa: PLR2004
        ),
    },
)
