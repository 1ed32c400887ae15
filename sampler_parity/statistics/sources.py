"""Where draws come from: the port, any implementation, the torch reference."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sampler_parity.build.extension import load_extension
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import Implementation
from sampler_parity.pipelines import SampleLogits
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.law import Parameters

Tokens = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]
TILE = 2**16
"""Logits that are tiled for the simple sampler at a time: they stay in a core's cache."""


class SamplerFailedError(Exception):
    """A sampler raised, or gave fewer tokens than asked for: the test fails, the run goes on."""


class Source(Protocol):
    """Anything that draws."""

    @property
    def name(self) -> str:
        """How reports call it."""

    @property
    def fast(self) -> bool:
        """Whether millions of draws are a matter of seconds; if not, fewer are planned."""

    @property
    def chunk(self) -> int:
        """How many draws to ask for at a time, each chunk from a seed of its own."""

    def draws(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Draw ``n`` tokens from logits [V], one after another from one seed, i64 [n]."""

    def batches(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Draw ``n`` times from a batch of logits [B, V], from one seed, i64 [n, B]."""


@dataclass(frozen=True)
class PortSource:
    """``rust_ext``: a few microseconds a draw."""

    extension: Any
    capability: str | None = None
    name: str = "rust_ext"
    fast: bool = True
    chunk: int = 250_000

    def draws(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Draw with the extension's batched ``draw``, or from tiled rows."""
        generator = self.extension.Generator(seed)
        if isinstance(parameters, SampleLogits):
            drawn: Tokens = self.extension.draw(
                logits, n, generator=generator, **self._arguments(parameters)
            )
            return drawn
        step = max(1, TILE // len(logits))
        parts = [
            self._call(np.tile(logits, (min(step, n - done), 1)), parameters, generator)
            for done in range(0, n, step)
        ]
        tokens: Tokens = np.concatenate(parts)
        return tokens

    def batches(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Draw batch after batch."""
        generator = self.extension.Generator(seed)
        return np.stack([self._call(logits.copy(), parameters, generator) for _ in range(n)])

    def _call(self, logits: Logits, parameters: Parameters, generator: Any) -> Tokens:
        if isinstance(parameters, SampleLogits):
            tokens = self.extension.sample_logits(
                logits, generator=generator, **self._arguments(parameters)
            )
        else:
            tokens = self.extension.simple_batch_sampler(
                logits,
                parameters.noise,
                parameters.temp,
                generator=generator,
                forbid_token=parameters.forbid_token,
            )
        found: Tokens = tokens.reshape(-1)
        return found

    def _arguments(self, parameters: SampleLogits) -> dict[str, Any]:
        return {
            "temperature": parameters.temperature,
            "top_p": parameters.top_p,
            "top_k": parameters.top_k,
            "zero_temperature": parameters.zero_temperature,
            "capability": self.capability,
        }


def port() -> PortSource:
    """Give the port, after checking that it is fresh.

    Raises:
        CannotJudgeError: the extension is missing or stale.
    """
    return PortSource(load_extension())


@dataclass(frozen=True)
class ImplementationSource:
    """Any implementation, black boxes included: only its tokens are looked at."""

    implementation: Implementation
    capability: str
    fast: bool = False
    chunk: int = 1000

    @property
    def name(self) -> str:
        """The implementation's own name."""
        return self.implementation.about.name

    def draws(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Make ``n`` calls; of the simple sampler, which spoils its logits, one call of n rows."""
        if isinstance(parameters, SampleLogits):
            tokens: Tokens = self.batches(logits[None], parameters, seed, n)[:, 0]
        else:
            tokens = self.batches(np.tile(logits, (n, 1)), parameters, seed, 1)[0]
        return tokens

    def batches(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Make ``n`` calls on the batch.

        Raises:
            StatisticsError: several calls of the simple sampler are asked for: the second would
                find the noise of the first in its logits.
        """
        if n > 1 and not isinstance(parameters, SampleLogits):
            raise StatisticsError("successive calls of the simple sampler are not alike")
        case = Case(f"draws@{seed}", "statistics", logits, parameters, seed, draws=n)
        outcome = self.implementation.run(case, self.capability)
        if outcome.lost is not None or outcome.declined:
            why = outcome.declined or (outcome.lost and f"{outcome.lost.words}")
            raise SamplerFailedError(f"{self.name} gave no tokens: {why}")
        if outcome.failure is not None:
            failure = outcome.failure
            raise SamplerFailedError(f"{self.name} raised {failure.kind}: {failure.message}")
        if len(outcome.tokens) != n or any(len(row) != len(logits) for row in outcome.tokens):
            raise SamplerFailedError(
                f"{self.name} gave {len(outcome.tokens)} calls' tokens, {n} of {len(logits)} each "
                "were asked for"
            )
        rows: Tokens = np.stack(outcome.tokens)
        return rows


@dataclass(frozen=True)
class Guarded:
    """A source whose exceptions are its own fault, and whose tokens are an array."""

    source: Source

    @property
    def name(self) -> str:
        """As the source's is."""
        return self.source.name

    @property
    def fast(self) -> bool:
        """As the source is."""
        return self.source.fast

    @property
    def chunk(self) -> int:
        """As the source's is."""
        return self.source.chunk

    def draws(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Draw from the source.

        Raises:
            SamplerFailedError: whatever it raised.
        """
        try:
            return np.asarray(self.source.draws(logits, parameters, seed, n))
        except Exception as error:
            raise self._failed(error) from error

    def batches(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Draw batches from the source. Raises as :meth:`draws` does."""
        try:
            return np.asarray(self.source.batches(logits, parameters, seed, n))
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> SamplerFailedError:
        if isinstance(error, SamplerFailedError):
            return error
        return SamplerFailedError(f"{self.name} raised {type(error).__name__}: {error}")


def torch_reference() -> ImplementationSource:
    """Give the reference itself, on this process' torch: some tenths of a millisecond a draw."""
    return ImplementationSource(PythonRef(), capability_here())


@dataclass(slots=True)
class Seeds:
    """Hands out seeds, no seed twice in a run.

    torch's generator takes the low 32 bits of a seed, so they are consecutive 32-bit numbers from
    a place that depends on the run's own seed.
    """

    next: int

    @classmethod
    def of_run(cls, seed: int) -> "Seeds":
        """Start for a run."""
        return cls(int(np.random.SeedSequence(seed).generate_state(1)[0]))

    def take(self) -> int:
        """Give a seed that was not given before."""
        seed = self.next % 2**32
        self.next += 1
        return seed
