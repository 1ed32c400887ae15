"""Mistakes planted in what users run: the port's shortcuts, its draw, and its batches.

Their calls are made for them, and are the same in every run. Torch gives the tokens of each call
and the generator's state after it; the port must give both without the fault, and not always with
it.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.build.instrumented import instrumented
from sampler_parity.faults.found import Planted
from sampler_parity.implementations.reference import reference_here
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import SAMPLER_ERRORS
from sampler_parity.model.pipeline import values_of
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines import SampleLogits

WITHOUT = "calls that differ without the fault"
"""A call that the unplanted port gets wrong shows nothing of the fault; the fault then survives."""

TokensAndState = tuple[list[int], bytes]
"""The tokens of a call, and the generator's state after it; nothing if the call raised."""


@dataclass(frozen=True, slots=True)
class ShippedFault:
    """A mistake in what users run, as the extension declares it.

    Attributes:
        name: the mistake's name.
        words: what it does.
        file: the file that it is planted in, under ``rust_ext/sampler/src``.
        path: the way that a call must take to come by it.
        calls: how many calls are made for it.
        missed: how probable it is, at most, that none of them shows it, at each capability. The
            crate's test ``planted`` measures that.
    """

    name: str
    words: str
    file: str
    path: str
    calls: int
    missed: float


@dataclass(frozen=True, slots=True)
class ShippedCall:
    """A call that is made for a fault.

    Attributes:
        case: the call. Its draws are one call of ``draw`` where they are more than one.
        seen: f32 [V], a row that the sampler must have seen before; ``None`` for no row.
    """

    case: Case
    seen: npt.NDArray[np.float32] | None


def shipped_faults() -> tuple[ShippedFault, ...]:
    """List every mistake in what users run."""
    return tuple(ShippedFault(*declared) for declared in instrumented().shipped_faults())


def shipped_calls(fault: ShippedFault, capability: str) -> Iterator[ShippedCall]:
    """Make the stated calls, from the probabilities that torch at ``capability`` has."""
    for number in range(fault.calls):
        made = instrumented().shipped_call(fault.name, number, capability)
        parameters = SampleLogits(
            temperature=made["temperature"], top_p=made["top_p"], top_k=made["top_k"]
        )
        case = Case(
            id=f"{fault.name}-{number}",
            family=fault.name,
            logits=made["logits"],
            parameters=parameters,
            seed=number,
            draws=made["draws"],
            state=made["state"],
        )
        yield ShippedCall(case, made["seen"])


def plant_in_shipped(capability: str, done: Callable[[], None]) -> Iterable[Planted]:
    """Plant every mistake in what users run, and compare tokens and generator with torch's.

    Torch must run at ``capability`` in this process.
    """
    reference = reference_here()
    for fault in shipped_faults():
        caught, wrong = 0, 0
        for call in shipped_calls(fault, capability):
            outcome = reference.run(call.case, capability)
            tokens = [int(token) for each in outcome.tokens for token in each]
            expected = (tokens, outcome.generator)
            wrong += outcome.failure is not None or _answer(call, capability) != expected
            with _planted(fault.name):
                caught += _answer(call, capability) != expected
        yield Planted(
            where="shipped",
            name=fault.name,
            stage="token",
            verdict=Verdict.DIFFERS,
            cases=fault.calls,
            caught=caught,
            others={WITHOUT: wrong} if wrong else {},
            killed=caught > 0 and not wrong,
            path=fault.path,
            file=fault.file,
            missed=fault.missed,
        )
        done()


@contextmanager
def _planted(name: str) -> Iterator[None]:
    instrumented().plant_fault(name)
    try:
        yield
    finally:
        instrumented().plant_fault(None)


def _answer(call: ShippedCall, capability: str) -> TokensAndState:
    """Call the port as users do; in a thread of its own, whose workspace has seen no other row."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_called, call, capability).result()


def _called(call: ShippedCall, capability: str) -> TokensAndState:
    extension, case = instrumented(), call.case
    # Without ``threads``: one of torch's is replayed, and helpers share a batch.
    arguments: dict[str, Any] = {**values_of(case.parameters), "capability": capability}
    generator = extension.Generator(case.seed)
    generator.set_state(case.state)
    try:
        if call.seen is not None:
            thrown_away = extension.Generator(0)
            extension.sample_logits(call.seen[None], generator=thrown_away, **arguments)
        if case.draws == 1:
            tokens = extension.sample_logits(case.logits, generator=generator, **arguments)
        else:
            [row] = case.logits
            tokens = extension.draw(row, case.draws, generator=generator, **arguments)
    except SAMPLER_ERRORS:
        # No call here is refused by torch: whatever the port raises is a difference.
        return [], b""
    return tokens.reshape(-1).tolist(), generator.get_state()
