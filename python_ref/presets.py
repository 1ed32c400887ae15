"""The parameters that the TTS stages pass to ``sample_logits``, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    """The parameters of one TTS stage.

    Attributes:
        name: the stage's name.
        temperature: divisor of the logits.
        top_p: nucleus mass.
        top_k: number of largest probabilities that survive (more where they tie).
        vocab: the stage samples from the first ``vocab`` logits.
        max_tokens: the longest sequence the stage draws.
        stop_token: the token that ends the stage, or ``None`` where the length is fixed.
    """

    name: str
    temperature: float
    top_p: float
    top_k: int
    vocab: int
    max_tokens: int
    stop_token: int | None


GLOBAL = Preset("global", 1.0, 0.95, 20, vocab=4096, max_tokens=32, stop_token=None)
"""The speaker stage: 32 tokens over the first 4,096 logits."""

SEMANTIC = Preset("semantic", 1.0, 0.95, 80, vocab=8193, max_tokens=2048, stop_token=8192)
"""The speech stage: up to 2,048 tokens over the first 8,193 logits; token 8,192 ends it."""

PRESETS: tuple[Preset, ...] = (GLOBAL, SEMANTIC)
"""Every preset, in the order the TTS runs them."""
