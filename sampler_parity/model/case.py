"""A case: logits, parameters and a seed, the same for every implementation."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sampler_parity.model.pipeline import Parameters, Pipeline, from_json, to_json

LEVELS = {"x86": ("default", "avx2", "avx512"), "Arm": ("neon", "sve256")}
"""torch's CPU dispatch levels by the processor's architecture, lowest first.

torch on 64-bit Arm calls ``neon`` ``DEFAULT`` or ``SVE128``.
"""

CAPABILITIES = tuple(level for levels in LEVELS.values() for level in levels)
"""All of them: the gate holds at every one, or it does not hold."""

EFFECTS = ("input", "generator")
"""What a call leaves behind: its logits, and the generator's state."""


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
        state: the generator's state before the first call, in torch's form (5,056 bytes); where it
            is given, ``seed`` and ``advance`` only say where it came from.
        history: the tokens before every call, i64 [B, n], or [n] of [V]; ``None`` where the
            pipeline does not look back.
        uniform: the number of [0, 1) that the call draws with, where the generator's is not
            wanted; only for implementations that say in their ``about`` that they take one.
    """

    id: str
    family: str
    logits: npt.NDArray[np.float32] = field(repr=False)
    parameters: Parameters
    seed: int
    draws: int = 1
    advance: int = 0
    threads: int = 1
    state: bytes = field(default=b"", repr=False)
    uniform: float | None = None
    history: npt.NDArray[np.int64] | None = field(default=None, repr=False)

    @property
    def pipeline(self) -> Pipeline:
        """The sampler that the case is for."""
        return self.parameters.pipeline

    def described(self) -> "Described":
        """Give the case without its logits' values."""
        return Described(
            id=self.id,
            family=self.family,
            parameters=to_json(self.parameters),
            shape=self.logits.shape,
            seed=self.seed,
            draws=self.draws,
            advance=self.advance,
            threads=self.threads,
            uniform=msgspec.UNSET if self.uniform is None else self.uniform,
        )

    def describe(self) -> dict[str, str]:
        """Everything but the logits' values, as words for a report."""
        return self.described().words()


class Described(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A case without its logits' values: the form that messages, files and reports share.

    Attributes:
        id: see :class:`Case`.
        family: see :class:`Case`.
        parameters: every parameter by name, and the sampler's name as ``sampler``, from
            :func:`sampler_parity.model.pipeline.to_json`.
        shape: of the logits.
        seed: see :class:`Case`.
        draws: see :class:`Case`.
        advance: see :class:`Case`.
        threads: see :class:`Case`.
        uniform: see :class:`Case`; only where one is given.
    """

    id: str
    family: str
    parameters: dict[str, float | int | str | None]
    shape: tuple[int, ...]
    seed: int
    draws: int = 1
    advance: int = 0
    threads: int = 1
    uniform: float | msgspec.UnsetType = msgspec.UNSET

    def words(self) -> dict[str, str]:
        """Give everything but id and family as words, by name."""
        return {
            **{name: str(value) for name, value in self.parameters.items()},
            "shape": str(list(self.shape)),
            "seed": str(self.seed),
            "draws": str(self.draws),
            "advance": str(self.advance),
            "threads": str(self.threads),
        }

    def case(
        self,
        logits: npt.NDArray[np.float32],
        kinds: Any,
        state: bytes = b"",
        history: npt.NDArray[np.int64] | None = None,
    ) -> Case:
        """Give the case; ``kinds`` is the union of the parameters that may be meant.

        Raises:
            msgspec.ValidationError: the parameters are none of them.
        """
        return Case(
            id=self.id,
            family=self.family,
            logits=logits,
            parameters=from_json(self.parameters, kinds),
            seed=self.seed,
            draws=self.draws,
            advance=self.advance,
            threads=self.threads,
            state=state,
            history=history,
            uniform=None if self.uniform is msgspec.UNSET else self.uniform,
        )
