"""The simple sampler: the largest of scaled logits with uniform noise, in place.

It has two names that were asked for, one at each face: ``python_ref.sampler_simple_batch`` and
``rust_ext.simple_batch_sampler``. Here it is ``SimpleBatch``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from sampler_parity.model.pipeline import (
    LOGITS,
    Array,
    NoisyArgmax,
    Parameter,
    Parameters,
    Pipeline,
    Stage,
    Values,
)
from sampler_parity.pipelines import exact, numbers

TorchTensors = Mapping[str, Any]


class SimpleBatch(Parameters, frozen=True, tag="simple_batch_sampler"):
    """Parameters of the simple sampler; see :func:`python_ref.sampler_simple_batch`.

    ``forbid_token`` is the port's own: that token's logit is -inf.
    """

    sampler: ClassVar[str] = "simple_batch_sampler"
    pipeline: ClassVar[Pipeline]

    noise: float = 1.0
    temp: float = 1.0
    forbid_token: int | None = None


def forbid(logits: Any, p: SimpleBatch) -> Any:
    """Mask the forbidden token of a tensor or array, if there is one, in place."""
    if p.forbid_token is not None:
        logits[..., p.forbid_token] = -float("inf")
    return logits


def _scaled(tensors: TorchTensors, p: SimpleBatch, _: Any) -> Any:
    import python_ref

    logits = forbid(tensors[LOGITS].clone(), p)
    return python_ref.trace_sampler_simple_batch(logits, 0.0, p.temp).scaled_logits


def _noised(tensors: TorchTensors, p: SimpleBatch, generator: Any) -> Any:
    import python_ref

    scaled = tensors["scaled_logits"].clone()
    trace = python_ref.trace_sampler_simple_batch(scaled, p.noise, 1.0, generator=generator)
    return trace.noised_logits


def _token(tensors: TorchTensors, _: SimpleBatch, __: Any) -> Any:
    import python_ref

    return python_ref.sampler_simple_batch(tensors["noised_logits"].clone(), 0.0, 1.0)


def _true_scaled(values: Values, p: SimpleBatch, _: Any) -> exact.Truth:
    return exact.quotient(forbid(values[LOGITS].copy(), p), p.temp)


def _true_noised(
    values: Values, _: SimpleBatch, reference: Callable[[Values], Array]
) -> exact.Truth:
    scaled = values["scaled_logits"]
    added = reference({"scaled_logits": np.zeros_like(scaled)})
    return exact.noised(scaled, added)


class _Oracle:
    """Judges the simple sampler by the range of each noised logit."""

    def fates(self, _: Array, __: SimpleBatch, ___: Array | None = None) -> None:
        """There is no distribution."""

    def impossible(self, logits: Array, parameters: SimpleBatch, _: Array | None = None) -> Array:
        """Mark tokens whose logit is further below the largest one than noise reaches."""
        rows = forbid(np.atleast_2d(logits).copy(), parameters)
        scaled = exact.quotient(rows, parameters.temp)
        noise = np.longdouble(parameters.noise)
        with np.errstate(all="ignore"):
            # What is beyond f32 is an infinity there, as large as any other; a mask stays one.
            within = np.clip(scaled.value, -exact.LARGEST, exact.LARGEST)
            value = np.where(scaled.value == -np.inf, scaled.value, within)
            # The sum with the noise is rounded as well.
            slack = scaled.bound + exact.gamma(2) * (np.abs(value) + noise)
            slack = np.where(np.isfinite(slack), slack, 0)
            least = (value - slack).max(axis=-1, keepdims=True)
            found = value + noise + slack < least
            # An infinity by a reciprocal of zero, or zero by an infinite one, is NaN, which wins.
            products = rows * np.float32(np.float64(1) / np.float64(parameters.temp))
            undefined = (np.isnan(products) | np.isnan(value)).any(axis=-1, keepdims=True)
        possible: Array = ~found | undefined
        return ~possible

    def may_draw(
        self,
        logits: Array,
        parameters: SimpleBatch,
        tokens: Sequence[Array],
        generator: Any,
        _: Array | None = None,
    ) -> bool:
        """Whether each of the tokens is the largest, as a correct sampler may round.

        A call starts from what the one before has left, which is off by its roundings: they add up.
        """
        value: exact.Wide = np.atleast_2d(logits).astype(np.float64)
        rows = np.arange(len(value))
        temp, error = np.float64(parameters.temp), exact.scale_error(parameters.temp)
        bound: exact.Wide = np.zeros_like(value)
        with np.errstate(all="ignore"):
            for drawn in tokens:
                if not ((drawn >= 0) & (drawn < value.shape[-1])).all():
                    return False
                forbid(value, parameters)
                added = numbers.noise(value.shape, parameters.noise, generator)
                value, bound = value / temp, bound / temp
                bound = bound + error * (np.abs(value) + bound)
                value = value + added
                bound = bound + exact.gamma(2) * (np.abs(value) + np.abs(added) + bound)
                bound = np.where(np.isfinite(value), bound, 0) + 4 * exact.TINY
                if not ((value + bound)[rows, drawn] >= (value - bound).max(axis=-1)).all():
                    return False
        return True


def _whole(logits: Any, parameters: SimpleBatch, generator: Any, *, traced: bool) -> Any:
    import python_ref

    forbid(logits, parameters)
    noise, temp = parameters.noise, parameters.temp
    if traced:
        return python_ref.trace_sampler_simple_batch(logits, noise, temp, generator=generator)
    return python_ref.sampler_simple_batch(logits, noise, temp, generator=generator)


SimpleBatch.pipeline = Pipeline(
    name=SimpleBatch.sampler,
    aliases=("sampler_simple_batch",),
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
            "noised_logits",
            "the scaled logits plus noise, in the simple sampler",
            "numbers",
            ("scaled_logits",),
            _noised,
            random=True,
            truth=_true_noised,
        ),
        Stage("token", "take the first largest value", "draw", ("noised_logits",), _token),
    ),
    draw=NoisyArgmax(of="scaled_logits", noise="noise", temperature="temp"),
    whole=_whole,
    oracle=_Oracle(),
    parameters={
        "noise": Parameter("upper end of the uniform noise; 0 for none", (0.0, 1.0)),
        "temp": Parameter("the logits are multiplied by 1 / temp", (1.0, 2.0, 0.5, 3.0)),
        "forbid_token": Parameter("a token that is never taken", (None,), of_vocabulary="token"),
    },
    in_place=True,
    level_dependent=False,
)
