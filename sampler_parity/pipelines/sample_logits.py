"""``sample_logits``: temperature, softmax, top-k, top-p, renormalise, draw.

Each stage's reference is the operation of :mod:`python_ref` on the values of earlier stages; a test
shows over every family that the stages, composed, are ``python_ref.sample_logits``, bit for bit.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np

from sampler_parity.model.pipeline import (
    LOGITS,
    Array,
    Parameter,
    Parameters,
    Pipeline,
    Race,
    Stage,
    Values,
    compares,
    values_of,
)
from sampler_parity.pipelines import exact
from sampler_parity.pipelines.draws import may_race
from sampler_parity.pipelines.fates import Fates, fates

TorchTensors = Mapping[str, Any]


class SampleLogits(Parameters, frozen=True, tag="sample_logits"):
    """Parameters of ``sample_logits``; see :func:`python_ref.sample_logits`."""

    sampler: ClassVar[str] = "sample_logits"
    pipeline: ClassVar[Pipeline]

    temperature: float = 1.0
    top_p: float = 0.85
    top_k: int = 0
    zero_temperature: Literal["raise", "argmax"] = "raise"

    @property
    def greedy(self) -> bool:
        """Whether the token is the largest logit's, without a draw."""
        return self.temperature == 0 and self.zero_temperature == "argmax"

    @property
    def nucleus(self) -> float:
        """``top_p``, or 0 where temperature 0 turns the nucleus off."""
        return 0.0 if self.temperature == 0 else self.top_p


def _scaled(tensors: TorchTensors, p: SampleLogits, _: Any) -> Any:
    logits = tensors[LOGITS]
    if p.greedy or p.temperature == 1.0:
        return logits.clone()
    return logits / p.temperature


def _probs(tensors: TorchTensors, p: SampleLogits, _: Any) -> Any:
    import torch

    scaled = tensors["scaled_logits"]
    if p.greedy:
        token = torch.argmax(scaled, dim=-1, keepdim=True)
        return torch.zeros_like(scaled).scatter_(-1, token, 1.0)
    return torch.nn.functional.softmax(scaled, dim=-1)


def _top_k(tensors: TorchTensors, p: SampleLogits, _: Any) -> Any:
    import torch

    import python_ref

    probs = tensors["probs"]
    if p.top_k <= 0 or p.greedy:
        return torch.ones_like(probs, dtype=torch.bool)
    return ~python_ref.top_k_dropped(probs, p.top_k)


def _top_p(tensors: TorchTensors, p: SampleLogits, _: Any) -> Any:
    import torch

    import python_ref

    probs = tensors["probs"]
    if not p.nucleus > 0:
        return torch.ones_like(probs, dtype=torch.bool)
    kept = probs.masked_fill(~tensors["top_k_mask"], 0)
    return ~python_ref.top_p_dropped(kept, p.nucleus)


def _renormalized(tensors: TorchTensors, p: SampleLogits, _: Any) -> Any:
    import python_ref

    if p.greedy:
        return tensors["probs"].clone()
    kept = tensors["top_k_mask"] & tensors["top_p_mask"]
    return python_ref.renormalize(tensors["probs"].masked_fill(~kept, 0))


def _token(tensors: TorchTensors, p: SampleLogits, generator: Any) -> Any:
    import torch

    if p.greedy:
        return torch.argmax(tensors["renormalized"], dim=-1, keepdim=True)
    return torch.multinomial(tensors["renormalized"], 1, generator=generator)


def _true_scaled(values: Values, p: SampleLogits, _: Any) -> exact.Truth:
    return exact.quotient(values[LOGITS], p.temperature or 1.0)


def _true_probs(values: Values, _: SampleLogits, __: Any) -> exact.Shares:
    return exact.softmax(values["scaled_logits"])


def _true_renormalized(values: Values, _: SampleLogits, __: Any) -> exact.Shares:
    kept = values["top_k_mask"] & values["top_p_mask"]
    probs = np.where(kept, values["probs"], np.float32(0))
    return exact.renormalized(probs, values["scaled_logits"])


def _cutoff_in_doubt(descending: Array, p: SampleLogits, first: int, last: int) -> bool:
    return exact.cutoff_in_doubt(descending, p.top_p, first, last)


@lru_cache(maxsize=2)
def _fates(values: bytes, shape: tuple[int, ...], parameters: SampleLogits) -> Fates:
    return fates(np.frombuffer(values, np.float32).reshape(shape), parameters)


def _fates_of(logits: Array, parameters: SampleLogits) -> Fates:
    """Work out the fates once for a case, of which the judge asks several times in a row."""
    return _fates(logits.tobytes(), logits.shape, parameters)


class _Oracle:
    """Judges ``sample_logits`` by every token's fate."""

    def fates(self, logits: Array, parameters: SampleLogits, _: Array | None = None) -> Fates:
        """See :func:`sampler_parity.pipelines.fates.fates`."""
        return _fates_of(logits, parameters)

    def impossible(self, logits: Array, parameters: SampleLogits, _: Array | None = None) -> Array:
        """Mark what no correct sampler keeps; at temperature 0, what is not the largest."""
        if parameters.temperature == 0:
            return ~exact.largest(np.atleast_2d(logits))
        return np.atleast_2d(_fates_of(logits, parameters).dropped)

    def may_draw(
        self,
        logits: Array,
        parameters: SampleLogits,
        tokens: Sequence[Array],
        generator: Any,
        _: Array | None = None,
    ) -> bool:
        """Whether a correct sampler on torch's ``generator`` may draw all of these tokens."""
        fate = _fates_of(np.atleast_2d(logits), parameters)
        return all(may_race(fate, drawn, generator) for drawn in tokens)


def _whole(logits: Any, parameters: SampleLogits, generator: Any, *, traced: bool) -> Any:
    import python_ref

    arguments: dict[str, Any] = {**values_of(parameters), "generator": generator}
    if traced:
        return python_ref.trace_sample_logits(logits, **arguments)
    return python_ref.sample_logits(logits, **arguments)


SampleLogits.pipeline = Pipeline(
    name=SampleLogits.sampler,
    stages=(
        Stage(
            "scaled_logits",
            "the logits after temperature",
            "numbers",
            (LOGITS,),
            _scaled,
            truth=_true_scaled,
        ),
        Stage(
            "probs",
            "softmax of the scaled logits",
            "numbers",
            ("scaled_logits",),
            _probs,
            truth=_true_probs,
        ),
        Stage(
            "top_k_mask",
            "which tokens top-k keeps",
            "mask",
            ("probs",),
            _top_k,
            doubt=compares,
        ),
        Stage(
            "top_p_mask",
            "which tokens top-p, the nucleus, keeps",
            "mask",
            ("probs", "top_k_mask"),
            _top_p,
            doubt=_cutoff_in_doubt,
        ),
        Stage(
            "renormalized",
            "the probabilities that are left, divided by their sum",
            "numbers",
            ("probs", "top_k_mask", "top_p_mask"),
            _renormalized,
            truth=_true_renormalized,
        ),
        Stage("token", "draw one token a row", "draw", ("renormalized",), _token, random=True),
    ),
    draw=Race(of="renormalized"),
    whole=_whole,
    oracle=_Oracle(),
    parameters={
        "temperature": Parameter("divisor of the logits", (1.0, 2.0, 0.5)),
        "top_p": Parameter("mass of the nucleus; off where it is not > 0", (0.0, 1.0, 0.5, 0.9)),
        "top_k": Parameter(
            "how many tokens stay; off where it is not > 0", (0, 1, 2), of_vocabulary="count"
        ),
        "zero_temperature": Parameter("what temperature 0 does: raise, or take the largest"),
    },
)
