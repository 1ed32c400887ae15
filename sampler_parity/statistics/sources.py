"""Where draws come from: the port, any implementation, the torch reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from sampler_parity.build.extension import load_extension
from sampler_parity.implementations.reference import capability_here, reference_here
from sampler_parity.implementations.registry import PORT
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import Implementation
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.pipeline import Parameters, Pipeline, values_of
from sampler_parity.statistics.errors import StatisticsError

Tokens = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]
HISTORY = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3], np.int64)
"""Before every draw of a sampler that looks back."""
TILE = 2**16
"""Logits that are tiled for the simple sampler at a time: they stay in a core's cache."""


def history_of(pipeline: Pipeline) -> Tokens | None:
    """Give the tokens before every draw, where a pipeline looks back."""
    return HISTORY if pipeline.looks_back else None


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


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a source: ``n`` tokens from logits [V], by one seed."""

    logits: Logits
    parameters: Parameters
    seed: int
    n: int


@runtime_checkable
class DrawsTogether(Protocol):
    """A source that carries out several asks at a time."""

    @property
    def at_once(self) -> int:
        """How many."""

    def each(self, asks: Sequence[Wanted]) -> list[Tokens]:
        """Draw for every ask, i64 [n] each, in their order."""


def at_once(source: Source) -> int:
    """Give how many asks a source carries out at a time."""
    return source.at_once if isinstance(source, DrawsTogether) else 1


def draw_each(source: Source, asks: Sequence[Wanted]) -> list[Tokens]:
    """Draw for every ask, in their order: the tokens are those of one ask after another."""
    if isinstance(source, DrawsTogether):
        return source.each(asks)
    return [source.draws(ask.logits, ask.parameters, ask.seed, ask.n) for ask in asks]


@runtime_checkable
class RunsTogether(Implementation, Protocol):
    """An implementation that runs several cases at a time."""

    @property
    def at_once(self) -> int:
        """How many."""

    def outcomes(self, cases: Sequence[Case], capability: str) -> list[Outcome]:
        """Run every case, and give the outcomes in their order."""


@dataclass(frozen=True)
class PortSource:
    """``rust_ext``: a few microseconds a draw."""

    extension: Any
    capability: str | None = None
    name: str = PORT
    fast: bool = True
    chunk: int = 250_000

    def draws(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Draw with the extension's batched ``draw``, or from tiled rows."""
        generator = self.extension.Generator(seed)
        if not parameters.pipeline.in_place:
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
        call = getattr(self.extension, parameters.sampler)
        tokens: Tokens = call(logits, generator=generator, **self._arguments(parameters))
        return tokens.reshape(-1)

    def _arguments(self, parameters: Parameters) -> dict[str, Any]:
        arguments: dict[str, Any] = dict(values_of(parameters))
        if parameters.pipeline.level_dependent:
            arguments["capability"] = self.capability
        return arguments


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
    history: Tokens | None = None
    """Before every call, i64 [n]; ``None`` for samplers that do not look back."""

    @property
    def name(self) -> str:
        """The implementation's own name."""
        return self.implementation.about.name

    @property
    def at_once(self) -> int:
        """As many as the implementation runs."""
        one = self.implementation
        return one.at_once if isinstance(one, RunsTogether) else 1

    def draws(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Make ``n`` calls; of a sampler that works in place, one call of n rows."""
        return self.each([Wanted(logits, parameters, seed, n)])[0]

    def each(self, asks: Sequence[Wanted]) -> list[Tokens]:
        """Make the calls of every ask, see :meth:`draws`.

        Raises:
            SamplerFailedError: those of one did not give its tokens.
        """
        cases = [
            self._case(np.tile(ask.logits, (ask.n, 1)), ask.parameters, ask.seed, 1)
            if ask.parameters.pipeline.in_place
            else self._case(ask.logits[None], ask.parameters, ask.seed, ask.n)
            for ask in asks
        ]
        one = self.implementation
        if isinstance(one, RunsTogether):
            outcomes = one.outcomes(cases, self.capability)
        else:
            outcomes = [one.run(case, self.capability) for case in cases]
        return [
            self._tokens(case, outcome).reshape(-1)
            for case, outcome in zip(cases, outcomes, strict=True)
        ]

    def batches(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Make ``n`` calls on the batch.

        Raises:
            StatisticsError: several calls of a sampler that works in place are asked for: the
                second would find the noise of the first in its logits.
        """
        if n > 1 and parameters.pipeline.in_place:
            raise StatisticsError("successive calls of a sampler that works in place are not alike")
        case = self._case(logits, parameters, seed, n)
        return self._tokens(case, self.implementation.run(case, self.capability))

    def _tokens(self, case: Case, outcome: Outcome) -> Tokens:
        if outcome.lost is not None or outcome.declined:
            why = outcome.declined or (outcome.lost and f"{outcome.lost.words}")
            raise SamplerFailedError(f"{self.name} gave no tokens: {why}")
        if outcome.failure is not None:
            failure = outcome.failure
            raise SamplerFailedError(f"{self.name} raised {failure.kind}: {failure.message}")
        n, rows_of = case.draws, len(case.logits)
        if len(outcome.tokens) != n or any(len(row) != rows_of for row in outcome.tokens):
            raise SamplerFailedError(
                f"{self.name} gave {len(outcome.tokens)} calls' tokens, {n} of {rows_of} each "
                "were asked for"
            )
        rows: Tokens = np.stack(outcome.tokens)
        return rows

    def declines(self, logits: Logits, parameters: Parameters) -> bool:
        """Whether the implementation says that it does not take logits [V] with parameters."""
        case = self._case(logits[None], parameters, 0, 1)
        return bool(self.implementation.run(case, self.capability).declined)

    def _case(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Case:
        history = None if self.history is None else np.tile(self.history, (len(logits), 1))
        return Case(
            f"draws@{seed}", "statistics", logits, parameters, seed, draws=n, history=history
        )


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

    @property
    def at_once(self) -> int:
        """As many as the source."""
        return at_once(self.source)

    def draws(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        """Draw from the source.

        Raises:
            SamplerFailedError: whatever it raised.
        """
        return self.each([Wanted(logits, parameters, seed, n)])[0]

    def each(self, asks: Sequence[Wanted]) -> list[Tokens]:
        """Draw for every ask from the source. Raises as :meth:`draws` does."""
        try:
            return [np.asarray(tokens) for tokens in draw_each(self.source, asks)]
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
    return ImplementationSource(reference_here(), capability_here())


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
