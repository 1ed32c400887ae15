"""The counterfactual replay: the reference on inputs with one ingredient exchanged alone."""

import numpy as np

from sampler_parity.engines import replay
from sampler_parity.engines.findings import Exchange, Kind
from sampler_parity.engines.recording import Call
from sampler_parity.engines.replay import Inputs
from sampler_parity.engines.sides import overlap

EXCHANGED: tuple[Kind, ...] = ("sampler", "parameters", "vocabulary", "logits", "stream")
"""What a call is given, and what can be exchanged alone."""


def exchange(
    kind: Kind, call_a: Call, ours: Inputs | None, call_b: Call, theirs: Inputs | None
) -> Exchange:
    """Run the reference on A's inputs with B's ``kind`` alone, and the reverse."""
    if ours is None or theirs is None:
        return Exchange()
    introduced = _exchanged(ours, call_a, theirs, call_b, kind)
    repaired = _exchanged(theirs, call_b, ours, call_a, kind)
    law = replay.law(ours)
    moved = None if kind == "stream" else replay.variation(law, replay.law(introduced))
    flips: bool | None = None
    repairs: bool | None = None
    if ours.state and theirs.state:
        own = replay.token(ours)
        flips = own != replay.token(introduced)
        repairs = own == replay.token(repaired)
    again = replay.variation(law, replay.law(repaired))
    if again is not None:
        repairs = again == 0 and repairs is not False
    return Exchange(variation=moved, flips=flips, repairs=repairs)


def _exchanged(of: Inputs, call: Call, with_: Inputs, other: Call, kind: Kind) -> Inputs:
    """Give inputs with one ingredient of others."""
    if kind in {"sampler", "parameters"}:
        return Inputs(with_.parameters, of.logits, of.state)
    if kind == "stream":
        return Inputs(of.parameters, of.logits, with_.state)
    here, there = overlap(call, other)
    if of.logits.shape[:-1] != with_.logits.shape[:-1]:
        return with_
    if kind == "vocabulary":
        # The other's slice and mask, with one's own values where one has them.
        found = with_.logits.copy()
        theirs, own = found[..., there], of.logits[..., here]
        found[..., there] = np.where(
            np.isneginf(theirs), theirs, np.where(np.isneginf(own), theirs, own)
        )
    else:
        found = of.logits.copy()
        own, theirs = found[..., here], with_.logits[..., there]
        found[..., here] = np.where(np.isneginf(own) | np.isneginf(theirs), own, theirs)
    return Inputs(of.parameters, found, of.state)
