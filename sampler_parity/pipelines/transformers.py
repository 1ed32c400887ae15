"""What transformers' ``generate(do_sample=True)`` does to scores, in its order.

The order is that of ``GenerationMixin._get_logits_processor`` (transformers 5): processors, of
which the repetition penalty is here, then warpers. Each works on scores, where -inf is what was
dropped; one softmax at the end gives the probabilities that ``torch.multinomial`` draws from.
"""

from typing import ClassVar

from sampler_parity.model.pipeline import Parameter, Parameters, Pipeline, Race
from sampler_parity.pipelines import stages
from sampler_parity.pipelines.oracle import folding_pipeline


class Transformers(Parameters, frozen=True, tag="transformers"):
    """Arguments of ``generate``; each default turns its step off."""

    sampler: ClassVar[str] = "transformers"
    pipeline: ClassVar[Pipeline]

    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0


_SCORES = "scaled_logits"
_STEPS = (
    stages.repetition_penalty(),
    stages.temperature(reads="penalized"),
    stages.top_k(_SCORES),
    stages.top_p(_SCORES, ("top_k_mask",)),
    stages.min_p(_SCORES, ("top_k_mask", "top_p_mask")),
    stages.typical(_SCORES, ("top_k_mask", "top_p_mask", "min_p_mask")),
    stages.epsilon(_SCORES, ("top_k_mask", "top_p_mask", "min_p_mask", "typical_mask")),
    stages.eta(_SCORES, ("top_k_mask", "top_p_mask", "min_p_mask", "typical_mask", "epsilon_mask")),
)
_STAGES = (
    *_STEPS,
    stages.softmax(
        _SCORES, tuple(step.name for step in _STEPS if step.kind == "mask"), name="renormalized"
    ),
    stages.race("renormalized"),
)
Transformers.pipeline = folding_pipeline(
    Transformers,
    _STAGES,
    Race(of="renormalized"),
    parameters={
        "repetition_penalty": Parameter(
            "divisor of positive logits of tokens seen before, factor of negative ones",
            simpler=(1.0, 2.0, 1.5),
            usual=(1.0, 1.0, 1.1, 1.3, 2.0, 0.8),
            accepts=lambda value: value > 0,
        ),
        "temperature": Parameter(
            "divisor of the logits",
            simpler=(1.0, 2.0, 0.5),
            usual=(1.0, 1.0, 0.8, 0.3, 1.7),
            accepts=lambda value: value > 0,
        ),
        "top_k": Parameter(
            "how many tokens stay, ties included; off at 0",
            simpler=(0, 1, 2),
            usual=(0, 0, 1, 5, 20, 50),
            of_vocabulary="count",
            accepts=lambda value: value >= 0,
        ),
        "top_p": Parameter(
            "mass of the nucleus; off at 1",
            simpler=(1.0, 0.5, 0.9),
            usual=(1.0, 1.0, 0.95, 0.9, 0.5, 0.1),
            accepts=lambda value: 0 <= value <= 1,
        ),
        "min_p": Parameter(
            "least share of the largest probability; off at 0",
            simpler=(0.0, 0.5, 0.1),
            usual=(0.0, 0.0, 0.0, 0.05, 0.1, 0.5),
        ),
        "typical_p": Parameter(
            "mass of typical sampling; off at 1",
            simpler=(1.0, 0.5, 0.9),
            usual=(*[1.0] * 8, 0.95, 0.5, 0.2),
        ),
        "epsilon_cutoff": Parameter(
            "least probability; off at 0",
            simpler=(0.0, 0.5, 0.01),
            usual=(*[0.0] * 8, 3e-4, 0.01, 0.1),
        ),
        "eta_cutoff": Parameter(
            "least probability, less where the entropy is high; off at 0",
            simpler=(0.0, 0.5, 0.01),
            usual=(*[0.0] * 8, 3e-4, 0.01, 0.2),
        ),
    },
)
