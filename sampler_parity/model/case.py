"""A case: logits, parameters and a seed, the same for every implementation."""

from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

CAPABILITIES = ("default", "avx2", "avx512")
"""torch's CPU dispatch levels, lowest first: the gate holds at all of them, or it does not hold."""

SAMPLE_LOGITS_STAGES = (
    "scaled_logits",
    "probs",
    "top_k_mask",
    "top_p_mask",
    "renormalized",
    "token",
)
SIMPLE_BATCH_STAGES = ("scaled_logits", "noised_logits", "token")
EFFECTS = ("input", "generator")
"""What a call leaves behind: its logits, and the generator's state."""


@dataclass(frozen=True, slots=True)
class SampleLogits:
    """Parameters of ``sample_logits``."""

    sampler: ClassVar[str] = "sample_logits"
    stages: ClassVar[tuple[str, ...]] = SAMPLE_LOGITS_STAGES

    temperature: float = 1.0
    top_p: float = 0.85
    top_k: int = 0
    zero_temperature: Literal["raise", "argmax"] = "raise"


@dataclass(frozen=True, slots=True)
class SimpleBatch:
    """Parameters of ``simple_batch_sampler``."""

    sampler: ClassVar[str] = "simple_batch_sampler"
    stages: ClassVar[tuple[str, ...]] = SIMPLE_BATCH_STAGES

    noise: float = 1.0
    temp: float = 1.0
    forbid_token: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One input of a sampler.

    Attributes:
        id: ``FAMILY-INDEX@SEED``; generates the case anew.
        family: the kind of logits.
        logits: f32 [B, V] (or [V]); never modified, implementations copy it.
        parameters: which sampler, and its parameters.
        seed: the generator's seed.
        draws: how many successive calls are made with one generator.
        advance: how many 32-bit outputs the generator has given before the first call.
        threads: torch's thread count.
    """

    id: str
    family: str
    logits: npt.NDArray[np.float32] = field(repr=False)
    parameters: SampleLogits | SimpleBatch
    seed: int
    draws: int = 1
    advance: int = 0
    threads: int = 1

    def parameter_values(self) -> dict[str, float | int | str | None]:
        """Give every parameter by name."""
        parameters = self.parameters
        return {field.name: getattr(parameters, field.name) for field in fields(parameters)}

    def parameter_text(self) -> dict[str, str]:
        """Give every parameter by name, in a form that Python reads back."""
        return {name: str(value) for name, value in self.parameter_values().items()}

    def describe(self) -> dict[str, str]:
        """Everything but the logits' values, as words for a report."""
        return {
            "sampler": self.parameters.sampler,
            **self.parameter_text(),
            "shape": str(list(self.logits.shape)),
            "seed": str(self.seed),
            "draws": str(self.draws),
            "advance": str(self.advance),
            "threads": str(self.threads),
        }
