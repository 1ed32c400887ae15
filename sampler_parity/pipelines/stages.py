"""The stages that samplers are made of: operation, exact truth, sealed fates, known variations.

A function makes a stage for the parameter that it is given the name of. Stages that work on scores
read them by ``numbers``, and the masks before them by ``masks``: what a mask drops counts as -inf
there, and as 0 among probabilities. Operations are those of transformers 5 unless a line says
otherwise (``transformers/generation/logits_process.py``).
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from sampler_parity.model.pipeline import (
    HISTORY,
    LOGITS,
    TOKEN,
    Array,
    Stage,
    Values,
    Variation,
)
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines import exact, folding
from sampler_parity.pipelines.numbers import uniform_of

Given = Mapping[str, Any]
Masks = tuple[str, ...]
Operation = Callable[[Given, Any, Any], Any]
Crosses = Callable[[Any, float], Any]

INFINITY = float("inf")


def wrong(words: str, reference: Operation) -> Variation:
    """Give a mistake."""
    return Variation(words, reference, Verdict.SEMANTIC)


def rounds(words: str, reference: Operation) -> Variation:
    """Give what is right in other arithmetic."""
    return Variation(words, reference, Verdict.ROUNDING)


def left(tensors: Given, numbers: str, masks: Masks, absent: float = -INFINITY) -> Any:
    """Give numbers with ``absent`` for what a mask drops."""
    values = tensors[numbers]
    for mask in masks:
        values = values.masked_fill(~tensors[mask], absent)
    return values


def _left(values: Values, numbers: str, masks: Masks, absent: float = -INFINITY) -> Array:
    found = values[numbers]
    for mask in masks:
        found = np.where(values[mask], found, np.float32(absent))
    return found


def rows_of(tensor: Any) -> Any:
    """Give [V] as [1, V], and [B, V] as it is."""
    return tensor[None] if tensor.ndim == 1 else tensor


def _wide(values: Array) -> exact.Exact:
    found: exact.Exact = values.astype(np.longdouble)
    return found


def _all(values: Any) -> Any:
    import torch

    return torch.ones_like(values, dtype=torch.bool)


# Numbers.


def temperature(
    parameter: str = "temperature", reads: str = LOGITS, *, by_reciprocal: bool = False
) -> Stage:
    """Divide by the temperature, or multiply by its reciprocal: the other one only rounds."""

    def t(p: Any) -> float:
        return float(getattr(p, parameter))

    def divided(tensors: Given, p: Any, _: Any) -> Any:
        return tensors[reads].clone() if t(p) == 1.0 else tensors[reads] / t(p)

    def multiplied(tensors: Given, p: Any, _: Any) -> Any:
        return tensors[reads] * (1 / t(p))

    return Stage(
        "scaled_logits",
        "the logits after temperature",
        "numbers",
        (reads,),
        multiplied if by_reciprocal else divided,
        truth=lambda values, p, _: exact.quotient(values[reads], t(p)),
        fold=lambda rows, p, _: folding.scale(rows, t(p)),
        off=lambda p: t(p) == 1.0,
        variations=(
            wrong("temperature forgotten", lambda x, _, __: x[reads].clone()),
            wrong("multiplied by the temperature", lambda x, p, _: x[reads] * t(p)),
            wrong("temperature off by 1 %", lambda x, p, _: x[reads] / (t(p) * 1.01)),
            wrong("logits rounded to f16", lambda x, p, _: (x[reads] / t(p)).half().float()),
            rounds("by division", divided)
            if by_reciprocal
            else rounds("by the reciprocal", multiplied),
            rounds("in f64", lambda x, p, _: (x[reads].double() / t(p)).float()),
        ),
    )


def _seen(tensors: Given) -> tuple[Any, Any]:
    """Give the logits, and which tokens the history has, both [B, V]."""
    import torch

    logits = rows_of(tensors[LOGITS])
    seen = torch.zeros_like(logits, dtype=torch.bool)
    seen.scatter_(1, rows_of(tensors[HISTORY]), value=True)
    return logits, seen


def repetition_penalty(parameter: str = "repetition_penalty") -> Stage:
    """Divide positive logits of tokens seen before by the penalty, multiply negative ones."""

    def penalty(p: Any) -> float:
        return float(getattr(p, parameter))

    def penalised(tensors: Given, p: Any, _: Any) -> Any:
        import torch

        logits, seen = _seen(tensors)
        changed = torch.where(logits < 0, logits * penalty(p), logits / penalty(p))
        return torch.where(seen, changed, logits).reshape(tensors[LOGITS].shape)

    def always(change: Callable[[Any, float], Any]) -> Operation:
        def reference(tensors: Given, p: Any, _: Any) -> Any:
            import torch

            logits, seen = _seen(tensors)
            found = torch.where(seen, change(logits, penalty(p)), logits)
            return found.reshape(tensors[LOGITS].shape)

        return reference

    def for_each(tensors: Given, p: Any, _: Any) -> Any:
        """Apply the penalty as often as the history has the token."""
        found = tensors[LOGITS].clone()
        tokens = tensors[HISTORY]
        for row, seen in zip(found.view(-1, found.shape[-1]), tokens.view(-1, tokens.shape[-1]),
                             strict=True):  # fmt: skip
            for token in seen:
                x = row[token]
                row[token] = x * penalty(p) if x < 0 else x / penalty(p)
        return found

    def truth(values: Values, p: Any, _: Any) -> exact.Truth:
        rows = folding.penalise(folding.start(values[LOGITS]), values[HISTORY], penalty(p))
        shape = values[LOGITS].shape
        return exact.Truth(_wide(rows.log.reshape(shape)), _wide(rows.moved.reshape(shape)))

    return Stage(
        "penalized",
        "the logits after a penalty for tokens seen before",
        "numbers",
        (LOGITS, HISTORY),
        penalised,
        truth=truth,
        fold=lambda rows, p, history: folding.penalise(rows, history, penalty(p)),
        off=lambda p: penalty(p) == 1.0,
        variations=(
            wrong("penalty forgotten", lambda x, _, __: x[LOGITS].clone()),
            wrong("always divided", always(lambda x, by: x / by)),
            wrong("always multiplied", always(lambda x, by: x * by)),
            wrong("subtracted", always(lambda x, by: x - by)),
            wrong("once for every time a token was seen", for_each),
            rounds("by the reciprocal", always(
                lambda x, by: (x * by).where(x < 0, x * (1 / by))
            )),
        ),
    )  # fmt: skip


def forbid(
    parameter: str | None = "forbid_token", tokens: Sequence[int] = (), reads: str = LOGITS
) -> Stage:
    """Give tokens -inf: those of a list, and the one that a parameter names.

    Args:
        parameter: holds a token, or ``None`` for none; without it, ``tokens`` are all.
        tokens: always forbidden, as far as the vocabulary has them.
        reads: the logits or scores.
    """

    def forbidden(p: Any, count: int) -> list[int]:
        one = None if parameter is None else getattr(p, parameter)
        return [token for token in tokens if token < count] + ([] if one is None else [int(one)])

    def given(value: float, further: int = 0) -> Operation:
        def reference(tensors: Given, p: Any, _: Any) -> Any:
            found = tensors[reads].clone()
            count = found.shape[-1]
            found[..., [(token + further) % count for token in forbidden(p, count)]] = value
            return found

        return reference

    def truth(values: Values, p: Any, _: Any) -> exact.Truth:
        value = values[reads].copy()
        value[..., forbidden(p, value.shape[-1])] = -np.inf
        return _exactly_as(value)

    return Stage(
        "allowed",
        "the logits with -inf for what is forbidden",
        "numbers",
        (reads,),
        given(-INFINITY),
        truth=truth,
        fold=lambda rows, p, _: folding.forbid(rows, forbidden(p, rows.log.shape[-1])),
        off=lambda p: not tokens and (parameter is None or getattr(p, parameter) is None),
        variations=(
            wrong("nothing is forbidden", lambda x, _, __: x[reads].clone()),
            wrong("forbidden by a zero", given(0.0)),
            wrong("the token after the forbidden one", given(-INFINITY, 1)),
        ),
    )


def masked(numbers: str, masks: Masks, name: str = "masked") -> Stage:
    """Give scores with -inf for what masks drop: what noise is added to, or a draw looks at."""
    return Stage(
        name,
        "the scores that are left, and -inf for the others",
        "numbers",
        (numbers, *masks),
        lambda tensors, _, __: left(tensors, numbers, masks).clone(),
        truth=lambda values, _, __: _exactly_as(_left(values, numbers, masks)),
        variations=(
            wrong("masks forgotten", lambda t, _, __: t[numbers].clone()),
            wrong("zero for what is dropped", lambda t, _, __: left(t, numbers, masks, 0.0)),
        ),
    )


def _exactly_as(values: Array) -> exact.Truth:
    return exact.Truth(_wide(values), np.zeros_like(_wide(values)))


def softmax(numbers: str, masks: Masks = (), name: str = "probs") -> Stage:
    """Take the softmax of what is left."""

    def x(tensors: Given) -> Any:
        return left(tensors, numbers, masks)

    def unmasked(tensors: Given, _: Any, __: Any) -> Any:
        probs = tensors[numbers].softmax(-1)
        for mask in masks:
            probs = probs.masked_fill(~tensors[mask], 0)
        return probs

    variations = [
        wrong("not normalised", lambda t, _, __: (x(t) - x(t).amax(-1, keepdim=True)).exp()),
        wrong("in f16", lambda t, _, __: x(t).softmax(-1).half().float()),
        wrong("to another base", lambda t, _, __: (x(t) * float(np.log(2))).softmax(-1)),
        rounds("in f64", lambda t, _, __: x(t).double().softmax(-1).float()),
    ]
    if masks:
        variations.append(wrong("softmax before the masks, not renormalised", unmasked))
    return Stage(
        name,
        "softmax of the scores that are left",
        "numbers",
        (numbers, *masks),
        lambda tensors, _, __: x(tensors).softmax(-1),
        truth=lambda values, _, __: exact.softmax(_left(values, numbers, masks)),
        # Masks are cut from these; where those came before, nothing is left to cut.
        fold=None if masks else lambda rows, _, __: folding.softmax(rows),
        variations=tuple(variations),
    )


def power(numbers: str, masks: Masks, exponent: Callable[[Any], float]) -> Stage:
    """Raise the probabilities that are left to a power: a temperature after truncation."""

    def raised(tensors: Given, p: Any, _: Any) -> Any:
        kept = left(tensors, numbers, masks, 0.0)
        return kept if exponent(p) == 1.0 else kept ** exponent(p)

    def truth(values: Values, p: Any, _: Any) -> exact.Truth:
        kept = _left(values, numbers, masks, 0.0).astype(np.longdouble)
        with np.errstate(all="ignore"):
            value = np.where(kept > 0, kept ** np.longdouble(exponent(p)), 0)
            depth = np.where(kept > 0, np.abs(np.log(kept)), 0) * exponent(p)
        bound = value * (4 * exact.U * depth + exact.gamma(8)) + 2 * exact.TINY
        return exact.Truth(value, _wide(bound))

    return Stage(
        "powered",
        "the probabilities that are left, to the power of 1 / temperature",
        "numbers",
        (numbers, *masks),
        raised,
        truth=truth,
        fold=lambda rows, p, _: folding.power(rows, exponent(p)),
        off=lambda p: exponent(p) == 1.0,
        variations=(
            wrong("temperature forgotten", lambda t, _, __: left(t, numbers, masks, 0.0)),
            wrong(
                "to the power of the temperature",
                lambda t, p, _: left(t, numbers, masks, 0.0) ** (1 / exponent(p)),
            ),
            rounds(
                "in f64",
                lambda t, p, _: (left(t, numbers, masks, 0.0).double() ** exponent(p)).float(),
            ),
        ),
    )


def renormalize(numbers: str, masks: Masks = ()) -> Stage:
    """Divide what is left by its sum."""

    def kept(tensors: Given) -> Any:
        return left(tensors, numbers, masks, 0.0)

    def divided(tensors: Given, _: Any, __: Any) -> Any:
        return kept(tensors) / kept(tensors).sum(-1, keepdim=True)

    def truth(values: Values, _: Any, __: Any) -> exact.Shares:
        found = _left(values, numbers, masks, 0.0)
        with np.errstate(all="ignore"):
            return exact.renormalized(found, np.log(found).astype(np.float32))

    return Stage(
        "renormalized",
        "the probabilities that are left, divided by their sum",
        "numbers",
        (numbers, *masks),
        divided,
        truth=truth,
        variations=(
            wrong("not renormalised", lambda t, _, __: kept(t)),
            wrong("softmax once more", lambda t, _, __: _again(kept(t))),
            rounds(
                "in f64",
                lambda t, _, __: (
                    kept(t).double() / kept(t).double().sum(-1, keepdim=True)
                ).float(),
            ),
        ),
    )


def _again(kept: Any) -> Any:
    return kept.masked_fill(kept == 0, -INFINITY).softmax(-1)


# Masks of scores.


def _mask(
    name: str,
    words: str,
    numbers: str,
    masks: Masks,
    operation: Callable[[Any, Any], Any],
    fold: Callable[[Any, Any, Any], Any],
    off: Callable[[Any], bool],
    *mistakes: tuple[str, Callable[[Any, Any], Any]],
    ties: Sequence[tuple[str, Callable[[Any, Any], Any]]] = (),
) -> Stage:
    """Make a mask of scores; operations are called with what is left and parameters.

    The mask is false wherever nothing was left: of -inf nothing comes, whatever a rule says.
    """

    def of(change: Callable[[Any, Any], Any]) -> Operation:
        def reference(tensors: Given, p: Any, _: Any) -> Any:
            scores = left(tensors, numbers, masks)
            there = scores > -INFINITY
            return there if off(p) else change(scores, p) & there

        return reference

    return Stage(
        name,
        words,
        "mask",
        (numbers, *masks),
        of(operation),
        fold=fold,
        absent=-INFINITY,
        off=off,
        variations=(
            *(wrong(words, of(change)) for words, change in mistakes),
            *(Variation(words, of(change), Verdict.TIE_ORDER) for words, change in ties),
        ),
    )


def _threshold(scores: Any, k: int) -> Any:
    import torch

    return torch.topk(scores, max(1, min(k, scores.shape[-1])))[0][..., -1, None]


def _put_back(sorted_mask: Any, order: Any) -> Any:
    return sorted_mask.scatter(-1, order, sorted_mask)


def _exactly(scores: Any, k: int, of_ties: str = "first") -> Any:
    if of_ties == "last":
        return _exactly(scores.flip(-1), k).flip(-1)
    order = scores.argsort(dim=-1, descending=True, stable=True)
    ranks = order.argsort(-1)
    return ranks < k


def top_k(
    numbers: str,
    masks: Masks = (),
    parameter: str = "top_k",
    *,
    exactly: Literal["first", "last"] | None = None,
) -> Stage:
    """Keep what is not below the k-th largest: all of its ties; or exactly k.

    Args:
        numbers: the scores.
        masks: those before it.
        parameter: holds k; off where it is not > 0.
        exactly: which of those tied with the k-th stay, by their index: the others only order ties
            otherwise. Without it, all of them stay.
    """

    def k(p: Any) -> int:
        return int(getattr(p, parameter))

    def ties(scores: Any, p: Any) -> Any:
        return ~(scores < _threshold(scores, k(p)))

    if exactly is not None:
        other = {"first": "last", "last": "first"}[exactly]
        return _mask(
            "top_k_mask",
            f"which tokens top-k keeps: exactly k, of tied ones the {exactly}",
            numbers,
            masks,
            lambda scores, p: _exactly(scores, k(p), exactly),
            lambda rows, p, _: folding.top_k(rows, k(p), exactly=True),
            lambda p: k(p) <= 0,
            ("top-k keeps every tie", ties),
            ("top-k one more", lambda scores, p: _exactly(scores, k(p) + 1, exactly)),
            ("top-k one fewer", lambda scores, p: _exactly(scores, max(1, k(p) - 1), exactly)),
            ("top-k forgotten", lambda scores, _: _all(scores)),
            ties=[(f"of tied tokens the {other}", lambda scores, p: _exactly(scores, k(p), other))],
        )
    return _mask(
        "top_k_mask",
        "which tokens top-k keeps",
        numbers,
        masks,
        ties,
        lambda rows, p, _: folding.top_k(rows, k(p)),
        lambda p: k(p) <= 0,
        ("top-k by exactly k", lambda scores, p: _exactly(scores, k(p))),
        ("top-k one more", lambda scores, p: ~(scores < _threshold(scores, k(p) + 1))),
        ("top-k one fewer", lambda scores, p: ~(scores < _threshold(scores, k(p) - 1))),
        ("top-k <= for <", lambda scores, p: (scores > _threshold(scores, k(p)))
         | (scores == scores.amax(-1, keepdim=True))),
        ("top-k forgotten", lambda scores, _: _all(scores)),
    )  # fmt: skip


def _until(crosses: Crosses, mass: float, descending: Any, order: Any, shift: int) -> Any:
    """Keep tokens while the sum of ``descending`` probabilities, in ``order``, does not cross.

    ``shift`` is how many of those that cross stay; the first one always does.
    """
    gone = crosses(descending.cumsum(-1), mass)
    if shift:
        gone[..., shift:] = gone[..., :-shift].clone()
    gone[..., : max(shift, 1)] = False
    return ~_put_back(gone, order)


def _with_ties(scores: Any, kept: Any) -> Any:
    """Keep what is equal to the least that is kept as well."""
    return scores >= scores.masked_fill(~kept, INFINITY).amin(-1, keepdim=True)


def top_p(numbers: str, masks: Masks = (), parameter: str = "top_p") -> Stage:
    """Drop ascending scores while their cumulative probability is at most 1 - p."""

    def mass(p: Any) -> float:
        return float(getattr(p, parameter))

    def ascending(scores: Any, p: Any, *, least: int = 1) -> Any:
        values, order = scores.sort(descending=False)
        gone = values.softmax(-1).cumsum(-1) <= 1 - mass(p)
        if least:
            gone[..., -least:] = False
        return ~_put_back(gone, order)

    def descending(scores: Any, p: Any, crosses: Crosses, shift: int) -> Any:
        values, order = scores.sort(descending=True, stable=True)
        return _until(crosses, mass(p), values.softmax(-1), order, shift)

    cut = _mask(
        "top_p_mask",
        "which tokens top-p, the nucleus, keeps",
        numbers,
        masks,
        ascending,
        lambda rows, p, _: folding.top_p(rows, mass(p), reaching=True),
        lambda p: not mass(p) < 1.0,
        ("top-p > for >=", lambda scores, p: descending(scores, p, operator.gt, 1)),
        ("top-p without the shift", lambda scores, p: descending(scores, p, operator.ge, 0)),
        ("top-p shifted twice", lambda scores, p: descending(scores, p, operator.ge, 2)),
        ("top-p of the smallest", lambda scores, p: ascending(-scores, p)),
        ("top-p keeps every tie", lambda scores, p: _with_ties(scores, ascending(scores, p))),
        ("top-p forgotten", lambda scores, _: _all(scores)),
    )  # fmt: skip
    if not masks:
        return cut
    whole = nucleus(numbers, masks, parameter, whole=True).reference
    return replace(cut, variations=(*cut.variations, wrong("top-p on the whole row's mass", whole)))


def nucleus(
    numbers: str,
    masks: Masks = (),
    parameter: str = "top_p",
    *,
    crosses: Literal[">", ">="] = ">=",
    shifted: bool = True,
    whole: bool = False,
) -> Stage:
    """Drop descending scores once their cumulative probability crosses p; the largest stays.

    Args:
        numbers: the scores.
        masks: those before it.
        parameter: holds p; off at 1 and above.
        crosses: whether a sum crosses p that exceeds it, or one that reaches it.
        shifted: whether the token that crosses stays.
        whole: whether probabilities are measured on the whole row's mass, and not renormalised to
            what the masks have left.

    :func:`top_p` is the nucleus that ascends, which is this one as it is without options.
    """
    compared = {">": operator.gt, ">=": operator.ge}

    def mass(p: Any) -> float:
        return float(getattr(p, parameter))

    def of(
        shift: int = int(shifted),
        crosses: str = crosses,
        *,
        whole: bool = whole,
        descending: bool = True,
        ties: bool = False,
        last: bool = False,
    ) -> Operation:
        def reference(tensors: Given, p: Any, _: Any) -> Any:
            scores = left(tensors, numbers, masks)
            there = scores > -INFINITY
            if not mass(p) < 1.0:
                return there
            weights = tensors[numbers] if whole else scores
            probs = weights.softmax(-1).masked_fill(~there, 0)
            order = (scores.flip(-1) if last else scores).argsort(
                dim=-1, descending=descending, stable=True
            )
            order = scores.shape[-1] - 1 - order if last else order
            kept = _until(compared[crosses], mass(p), probs.gather(-1, order), order, shift) & there
            return _with_ties(scores, kept) & there if ties else kept

        return reference

    other = {">": ">=", ">=": ">"}[crosses]
    changed_mass = "renormalised before" if whole else "on the whole row's mass"
    return Stage(
        "top_p_mask",
        "which tokens top-p, the nucleus, keeps",
        "mask",
        (numbers, *masks),
        of(),
        fold=lambda rows, p, _: folding.top_p(
            rows, mass(p), reaching=crosses == ">=", whole=whole, shifted=shifted
        ),
        absent=-INFINITY,
        off=lambda p: not mass(p) < 1.0,
        variations=(
            wrong(f"top-p {other} for {crosses}", of(crosses=other)),
            *([wrong("top-p without the shift", of(0))] if shifted else []),
            wrong("top-p shifted twice" if shifted else "top-p shifted", of(int(shifted) + 1)),
            *([wrong(f"top-p {changed_mass}", of(whole=not whole))] if masks else []),
            wrong("top-p of the smallest", of(descending=False)),
            wrong("top-p keeps every tie", of(ties=True)),
            wrong("top-p forgotten", lambda x, _, __: left(x, numbers, masks) > -INFINITY),
            Variation("of equal tokens the last", of(last=True), Verdict.TIE_ORDER),
        ),
    )


def min_p(numbers: str, masks: Masks = (), parameter: str = "min_p") -> Stage:
    """Keep what is at least a share of the largest probability."""

    def share(p: Any) -> float:
        return float(getattr(p, parameter))

    def at_least(scores: Any, cutoff: Callable[[Any], Any]) -> Any:
        probs = scores.softmax(-1)
        gone = probs < cutoff(probs)
        return ~gone.scatter_(-1, probs.topk(1, -1).indices, False)

    return _mask(
        "min_p_mask",
        "which tokens min-p keeps",
        numbers,
        masks,
        lambda scores, p: at_least(scores, lambda q: share(p) * q.amax(-1, keepdim=True)),
        lambda rows, p, _: folding.min_p(rows, share(p)),
        lambda p: not share(p) > 0,
        ("min-p as a probability", lambda scores, p: at_least(scores, lambda _: share(p))),
        ("min-p squared", lambda scores, p: at_least(
            scores, lambda q: share(p) ** 2 * q.amax(-1, keepdim=True))),
        ("min-p of logits", lambda scores, p: at_least(
            scores, lambda q: q.where(scores < share(p) * scores.amax(-1, keepdim=True), -q) + q)),
        ("min-p forgotten", lambda scores, _: _all(scores)),
    )  # fmt: skip


def _distances(scores: Any) -> Any:
    logs = scores.log_softmax(-1)
    entropy = -(logs * logs.exp()).nansum(-1, keepdim=True)
    return (-logs - entropy).abs()


def typical(numbers: str, masks: Masks = (), parameter: str = "typical_p") -> Stage:
    """Keep the tokens whose surprise is nearest the entropy, until their sum reaches the mass."""

    def mass(p: Any) -> float:
        return float(getattr(p, parameter))

    def nearest(scores: Any, p: Any, distances: Any, less: int = 0) -> Any:
        values, order = distances.sort(descending=False)
        sums = scores.gather(-1, order).softmax(-1).cumsum(-1)
        last = (sums < mass(p)).sum(-1, keepdim=True) - less
        last = last.clamp(min=0, max=values.shape[-1] - 1)
        gone = values > values.gather(-1, last)
        gone[..., :1] = False
        return ~_put_back(gone, order)

    return _mask(
        "typical_mask",
        "which tokens typical sampling keeps",
        numbers,
        masks,
        lambda scores, p: nearest(scores, p, _distances(scores)),
        lambda rows, p, _: folding.typical(rows, mass(p)),
        lambda p: not mass(p) < 1.0,
        ("typical: the likeliest first", lambda scores, p: nearest(scores, p, -scores)),
        ("typical: one fewer", lambda scores, p: nearest(scores, p, _distances(scores), 1)),
        ("typical: entropy left out",
         lambda scores, p: nearest(scores, p, scores.log_softmax(-1).abs())),
        ("typical forgotten", lambda scores, _: _all(scores)),
    )  # fmt: skip


def _above(scores: Any, cutoff: Any) -> Any:
    return ~((scores.softmax(-1) < cutoff) & (scores < scores.amax(-1, keepdim=True)))


def epsilon(numbers: str, masks: Masks = (), parameter: str = "epsilon_cutoff") -> Stage:
    """Drop what has less than a probability; the largest stays."""

    def cutoff(p: Any) -> float:
        return float(getattr(p, parameter))

    return _mask(
        "epsilon_mask",
        "which tokens the epsilon cutoff keeps",
        numbers,
        masks,
        lambda scores, p: _above(scores, cutoff(p)),
        lambda rows, p, _: folding.epsilon(rows, cutoff(p)),
        lambda p: not 0 < cutoff(p) < 1,
        ("epsilon of the largest", lambda scores, p: _above(
            scores, cutoff(p) * scores.softmax(-1).amax(-1, keepdim=True))),
        ("epsilon: logarithms to another base", lambda scores, p: _above(
            scores * float(np.log(2)), cutoff(p))),
        ("epsilon forgotten", lambda scores, _: _all(scores)),
    )  # fmt: skip


def eta(numbers: str, masks: Masks = (), parameter: str = "eta_cutoff") -> Stage:
    """Drop what has less than min(eta, sqrt(eta) exp(-entropy)); the largest stays."""

    def limit(scores: Any, p: Any, sign: float, *, root: bool) -> Any:
        import torch

        cutoff = torch.tensor(float(getattr(p, parameter)))
        categorical: Any = torch.distributions.Categorical
        entropy = categorical(logits=scores).entropy()
        scale = torch.sqrt(cutoff) if root else cutoff
        return torch.min(cutoff, scale * torch.exp(sign * entropy))[..., None]

    return _mask(
        "eta_mask",
        "which tokens the eta cutoff keeps",
        numbers,
        masks,
        lambda scores, p: _above(scores, limit(scores, p, -1.0, root=True)),
        lambda rows, p, _: folding.eta(rows, float(getattr(p, parameter))),
        lambda p: not 0 < getattr(p, parameter) < 1,
        ("eta: entropy of the wrong sign",
         lambda scores, p: _above(scores, limit(scores, p, 1.0, root=True))),
        ("eta: root left out",
         lambda scores, p: _above(scores, limit(scores, p, -1.0, root=False))),
        ("eta forgotten", lambda scores, _: _all(scores)),
    )  # fmt: skip


# Draws.


def noise(scores: str, parameter: str = "noise") -> Stage:
    """Add U[0, noise) of torch's generator to scores; none where ``noise`` is 0.

    :func:`largest` takes the largest of them: the two are a ``NoisyArgmax`` of ``scores``, which
    are no probabilities: the oracle follows logarithms.
    """

    def upto(p: Any) -> float:
        return float(getattr(p, parameter))

    def added(draw: Callable[[Any, float, Any], Any]) -> Operation:
        def reference(tensors: Given, p: Any, generator: Any) -> Any:
            x = tensors[scores]
            return x.clone() if upto(p) == 0 else x + draw(x, upto(p), generator)

        return reference

    def uniform(x: Any, most: float, generator: Any) -> Any:
        import torch

        return torch.empty_like(x).uniform_(0.0, most, generator=generator)

    def in_f64(tensors: Given, p: Any, generator: Any) -> Any:
        x = tensors[scores]
        if upto(p) == 0:
            return x.clone()
        return (x.double() + upto(p) * uniform(x, 1.0, generator).double()).float()

    def normal(x: Any, most: float, generator: Any) -> Any:
        import torch

        return most * torch.empty_like(x).normal_(generator=generator)

    def truth(values: Values, _: Any, reference: Callable[[Values], Array]) -> exact.Truth:
        x = values[scores]
        return exact.noised(x, reference({scores: np.zeros_like(x)}))

    def unlike(words: str, draw: Callable[[Any, float, Any], Any]) -> Variation:
        return Variation(words, added(draw), Verdict.GENERATOR)

    return Stage(
        "noised",
        "the scores plus noise",
        "numbers",
        (scores,),
        added(uniform),
        random=True,
        truth=truth,
        variations=(
            unlike("normal noise", normal),
            unlike("noise around zero", lambda x, to, g: uniform(x, to, g) - to / 2),
            unlike("noise from 0 to 1", lambda x, _, g: uniform(x, 1.0, g)),
            rounds("in f64", in_f64),
        ),
    )  # fmt: skip


def largest(numbers: str) -> Stage:
    """Take the first largest value."""

    def last(tensors: Given, _: Any, __: Any) -> Any:
        x = tensors[numbers]
        return x.shape[-1] - 1 - x.flip(-1).argmax(-1, keepdim=True)

    def second(tensors: Given, _: Any, __: Any) -> Any:
        x = tensors[numbers]
        return x.topk(min(2, x.shape[-1]), -1).indices[..., -1:]

    return Stage(
        TOKEN,
        "take the first largest value",
        "draw",
        (numbers,),
        lambda tensors, _, __: tensors[numbers].argmax(-1, keepdim=True),
        variations=(
            wrong("the second largest", second),
            Variation("the last of equal ones", last, Verdict.TIE_ORDER),
        ),
    )


def race(probs: str) -> Stage:
    """Draw as ``torch.multinomial`` does: the largest p / q, q exponential."""

    def drawn(tensors: Given, _: Any, generator: Any) -> Any:
        import torch

        return torch.multinomial(tensors[probs], 1, generator=generator)

    def twice(tensors: Given, p: Any, generator: Any) -> Any:
        drawn(tensors, p, generator)
        return drawn(tensors, p, generator)

    def inverse(tensors: Given, _: Any, generator: Any) -> Any:
        import torch

        rows = rows_of(tensors[probs])
        uniform = torch.rand(len(rows), 1, generator=generator)
        found = (rows.cumsum(-1) <= uniform).sum(-1, keepdim=True)
        return found.clamp(max=rows.shape[-1] - 1)

    def largest(tensors: Given, _: Any, __: Any) -> Any:
        return tensors[probs].argmax(-1, keepdim=True)

    return Stage(
        TOKEN,
        "draw one token a row",
        "draw",
        (probs,),
        drawn,
        random=True,
        variations=(
            Variation("draw by inverse CDF", inverse, Verdict.GENERATOR),
            Variation("draw is argmax", largest, Verdict.GENERATOR),
            Variation("generator advanced twice", twice, Verdict.GENERATOR),
        ),
    )


def _drawing(
    probs: str,
    words: str,
    token: Callable[[Any, Any], int],
    others: Sequence[tuple[str, Callable[[Any, Any], int]]],
) -> Stage:
    """Draw each row's token by itself, of ``probs`` [V] as numpy has them, and a generator."""

    def of(draw: Callable[[Any, Any], int]) -> Operation:
        def reference(tensors: Given, _: Any, generator: Any) -> Any:
            import torch

            rows = rows_of(tensors[probs]).numpy()
            tokens = [draw(row, generator) for row in rows]
            return torch.tensor(tokens, dtype=torch.int64)[:, None]

        return reference

    def from_above(row: Any, generator: Any) -> int:
        return len(row) - 1 - token(np.ascontiguousarray(row[::-1]), generator)

    def twice(row: Any, generator: Any) -> int:
        token(row, generator)
        return token(row, generator)

    changes = (
        ("draw is argmax", lambda row, _: int(row.argmax())),
        ("a walk from the last token", from_above),
        ("generator advanced twice", twice),
        *others,
    )
    return Stage(
        TOKEN,
        words,
        "draw",
        (probs,),
        of(token),
        random=True,
        variations=tuple(
            Variation(change, of(draw), Verdict.GENERATOR) for change, draw in changes
        ),
    )


def choice(probs: str) -> Stage:
    """Draw by the ``choice`` of the pipeline's numpy generator: a ``RandomState``, a ``Generator``.

    The pipeline's ``stream`` says which:
    :data:`~sampler_parity.pipelines.numpy_stream.NUMPY` or
    :data:`~sampler_parity.pipelines.numpy_stream.PCG64`. Its draw is an ``InverseCdf``.

    Raises:
        ValueError: probabilities do not sum to 1, as numpy has it.
    """
    return _drawing(
        probs,
        "draw by numpy's choice: the first token whose cumulative sum exceeds one uniform",
        lambda row, generator: int(generator.choice(a=len(row), p=row)),
        (),
    )


def walk(probs: str) -> Stage:
    """Draw the first token whose cumulative sum, in f32, exceeds one uniform of torch's generator.

    Where the whole sum does not exceed it, the last token that is left is taken. Rows are walked in
    order, each with a uniform f32 of its own. The pipeline's draw is an ``InverseCdf``.
    """

    def ended(row: Any, uniform: float) -> int:
        over = np.cumsum(row, dtype=np.float32) > np.float32(uniform)
        return int(over.argmax()) if over.any() else int(np.flatnonzero(row)[-1])

    return _drawing(
        probs,
        "walk along the cumulative sum in f32: the first token where it exceeds one uniform",
        lambda row, generator: ended(row, uniform_of(generator)),
        [("one more for every token", lambda row, g: min(
            ended(row, uniform_of(g)) + 1, len(row) - 1))],
    )  # fmt: skip
