"""What ``generate`` of the ``rwkv`` package does with logits, step by step.

``rwkv.utils.PIPELINE.generate``: banned tokens get -inf; each token that this generation has drawn
loses ``alpha_presence`` + occurrence * ``alpha_frequency``; then the package's own sampler draws
(:mod:`sampler_parity.pipelines.rwkv`). Occurrences are multiplied by ``alpha_decay`` before a drawn
token is counted. Blanks and digits are counted 0 times. The history are the tokens that this
generation has drawn; those of its prompt are not counted.
"""

from typing import ClassVar

from sampler_parity.model.pipeline import InverseCdf, Parameter, Pipeline
from sampler_parity.pipelines import penalties, stages
from sampler_parity.pipelines.numpy_stream import NUMPY
from sampler_parity.pipelines.oracle import folding_pipeline
from sampler_parity.pipelines.rwkv import AFTER_SOFTMAX, Rwkv

UNCOUNTED = frozenset({10, 33, 264, *range(49, 59), 621, 632, 643, 654, 665, 676, 687, 698, 709})
"""Tokens of the package's vocabulary ``rwkv_vocab_v20230424`` whose text is in " \\t0123456789"."""


class RwkvGenerate(Rwkv, frozen=True, tag="rwkv_generate"):
    """Parameters of ``rwkv.utils.PIPELINE.generate``, with one banned token."""

    sampler: ClassVar[str] = "rwkv_generate"
    pipeline: ClassVar[Pipeline]

    alpha_presence: float = 0.2
    alpha_frequency: float = 0.2
    alpha_decay: float = 0.996
    token_ban: int | None = None


RwkvGenerate.pipeline = folding_pipeline(
    RwkvGenerate,
    (
        stages.forbid("token_ban"),
        penalties.occurrences(
            "alpha_presence", "alpha_frequency", "alpha_decay", UNCOUNTED, reads="allowed"
        ),
        stages.softmax("less_frequent"),
        *AFTER_SOFTMAX,
    ),
    InverseCdf(of="renormalized"),
    stream=NUMPY,
    parameters={
        **Rwkv.pipeline.parameters,
        "alpha_presence": Parameter(
            "subtracted from the logit of a token that has occurred",
            simpler=(0.0, 1.0, 0.2),
            usual=(0.2, 0.2, 0.4, 0.0, 1.5),
        ),
        "alpha_frequency": Parameter(
            "subtracted for every time that it has occurred",
            simpler=(0.0, 1.0, 0.2),
            usual=(0.2, 0.2, 0.4, 0.0, 1.0),
        ),
        "alpha_decay": Parameter(
            "what a count is multiplied by at every step",
            simpler=(1.0, 0.5, 0.996),
            usual=(0.996, 0.996, 0.997, 1.0, 0.9),
            accepts=lambda value: 0 <= value <= 1,
        ),
        "token_ban": Parameter(
            "a token that is never drawn", (None,), usual=(None, None, 0), of_vocabulary="token"
        ),
    },
)
