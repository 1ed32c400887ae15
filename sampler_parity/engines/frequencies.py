"""What one side's tokens say where its draws cannot be replayed: their places, their stream."""

from collections.abc import Iterator

import msgspec
import numpy as np

from sampler_parity.engines import places, replay
from sampler_parity.engines.identify import identify
from sampler_parity.engines.ledger import Departed, Ledger, Place
from sampler_parity.engines.places import Drawn
from sampler_parity.engines.recording import Call
from sampler_parity.engines.replay import Inputs, Logits
from sampler_parity.engines.sides import Side

RIVALS = {"a temperature 5 % too high": 1.05, "a temperature 5 % too low": 1 / 1.05}
"""Mistakes that are tested for by name, with what the temperature is multiplied by."""

TEMPERATURES = ("temperature", "temp")
"""What samplers call the divisor of their logits."""


def tell(side: Side, ledger: Ledger, seed: int) -> tuple[str, ...]:
    """Say what a side's tokens say, in sentences, and add what they reject to the ledger.

    Calls without a law of one row are left out; of a recording without any other nothing is said.
    """
    found = places.audit(_drawn(side), seed=seed, rivals=tuple(RIVALS))
    if not found.calls:
        return ()
    first = next(call for call in side.recording.calls if _one_row(call))
    if found.status == "rejected":
        place = Place(first.generation, first.phase, 0, 0)
        for departed in _departed(side, found):
            ledger.add(departed, place, first.site)
    said = [found.sentence()]
    named = [f"{test.name}: {test.catches}" for test in found.tests if test.name in RIVALS]
    said += [f"Of mistakes that were tested for by name these calls show {'; '.join(named)}."]
    if found.status != "unjudged":
        said.append(identify(_drawn(side)).sentence())
    return tuple(f"{side.name}: {sentence}" for sentence in said)


def _departed(side: Side, found: places.Audit) -> Iterator[Departed]:
    name = side.name
    if found.shared is not None and not found.shared.told:
        words = f"{name} takes {found.shared.sentence().rstrip('.')}"
        yield Departed("stream", found.shared.kind, name, words)
    elif found.rejections:
        told = "; ".join(f"{test.name}: {test.found}" for test in found.rejections)
        words = f"{name}'s tokens are not drawn from the laws of their calls: {told}"
        yield Departed("arithmetic", "frequencies", name, words)


def _rivals(inputs: Inputs, weights: Logits) -> Iterator[Logits]:
    """Give the weights that the call would have had at each temperature that is tested for."""
    name = next((n for n in TEMPERATURES if n in inputs.parameters.__struct_fields__), None)
    now = None if name is None else getattr(inputs.parameters, name)
    for factor in RIVALS.values():
        if name is None or not isinstance(now, float) or not np.isfinite(now) or now <= 0:
            yield weights[0]
            continue
        changed: dict[str, float] = {name: now * factor}
        parameters = msgspec.structs.replace(inputs.parameters, **changed)
        other = replay.weights_of(Inputs(parameters, inputs.logits))
        yield weights[0] if other is None else other[0]


def _as_they_round(inputs: Inputs, weights: Logits, token: tuple[int, ...]) -> bool:
    """Whether a correct sampler keeps a token that the reference drops, as it rounds."""
    if 0 <= token[0] < len(weights) and weights[token[0]] > 0:
        return False
    return replay.judged(inputs, token, b"") is None


def _one_row(call: Call) -> bool:
    return len(call.token) == 1 and call.error is None


def _drawn(side: Side) -> Iterator[Drawn]:
    """Give every call of one row whose law is known."""
    for index, call in enumerate(side.recording.calls):
        inputs = side.inputs(index) if _one_row(call) else None
        weights = None if inputs is None else replay.weights_of(inputs)
        if inputs is None or weights is None or _as_they_round(inputs, weights[0], call.token):
            continue
        random = call.random
        yield Drawn(
            generation=call.generation,
            phase=call.phase,
            call=call.call,
            weights=weights[0],
            token=call.token[0],
            generator=None if random is None else random.generator,
            seed=None if random is None else random.seed,
            rivals=tuple(_rivals(inputs, weights)),
        )
