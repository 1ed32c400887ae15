"""The simple sampler: the largest of scaled logits with uniform noise, in place.

It has two names that were asked for, one at each face: ``python_ref.sampler_simple_batch`` and
``rust_ext.simple_batch_sampler``. Here it is ``SimpleBatch``.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from sampler_parity.model.pipeline import (
    LOGITS,
    NoisyArgmax,
    Parameter,
    Parameters,
    Pipeline,
    Stage,
)

Tensors = Mapping[str, Any]


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
    """Mask the forbidden token of a tensor, if there is one, in place."""
    if p.forbid_token is not None:
        logits[..., p.forbid_token] = -float("inf")
    return logits


def _scaled(tensors: Tensors, p: SimpleBatch, _: Any) -> Any:
    import python_ref

    logits = forbid(tensors[LOGITS].clone(), p)
    return python_ref.trace_sampler_simple_batch(logits, 0.0, p.temp).scaled_logits


def _noised(tensors: Tensors, p: SimpleBatch, generator: Any) -> Any:
    import python_ref

    scaled = tensors["scaled_logits"].clone()
    trace = python_ref.trace_sampler_simple_batch(scaled, p.noise, 1.0, generator=generator)
    return trace.noised_logits


def _token(tensors: Tensors, _: SimpleBatch, __: Any) -> Any:
    import python_ref

    return python_ref.sampler_simple_batch(tensors["noised_logits"].clone(), 0.0, 1.0)


def _whole(logits: Any, p: SimpleBatch, generator: Any) -> Any:
    import python_ref

    return python_ref.sampler_simple_batch(forbid(logits, p), p.noise, p.temp, generator=generator)


def _traced(logits: Any, p: SimpleBatch, generator: Any) -> dict[str, Any]:
    import python_ref

    logits = forbid(logits, p)
    trace = python_ref.trace_sampler_simple_batch(logits, p.noise, p.temp, generator=generator)
    return {name: getattr(trace, name) for name in p.stages}


SimpleBatch.pipeline = Pipeline(
    name=SimpleBatch.sampler,
    stages=(
        Stage("scaled_logits", "logits * (1 / temp)", "numbers", (LOGITS,), _scaled),
        Stage(
            "noised_logits",
            "add uniform noise from [0, noise)",
            "numbers",
            ("scaled_logits",),
            _noised,
            random=True,
        ),
        Stage("token", "take the first largest value", "draw", ("noised_logits",), _token),
    ),
    draw=NoisyArgmax(of="scaled_logits", noise="noise", temperature="temp"),
    whole=_whole,
    traced=_traced,
    parameters={
        "noise": Parameter("upper end of the uniform noise; 0 for none", (0.0, 1.0)),
        "temp": Parameter("the logits are multiplied by 1 / temp", (1.0, 2.0, 0.5, 3.0)),
        "forbid_token": Parameter("a token that is never taken", (None,), "token"),
    },
    in_place=True,
    level_dependent=False,
)
