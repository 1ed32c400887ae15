"""One uniform number of a call, where its source gives one, and the token that it leads to."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.engines.recording import Tensors
from sampler_parity.engines.stream import GENERATOR, RANDOM_STATE, WALK, twister

UNIT = 2.0**-24
"""Half an ulp of 1 in f32."""

BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


def uniform_of(source: str, tensors: Tensors) -> float | None:
    """Give the number of [0, 1) that a call has drawn; ``None`` where that is not known."""
    if "drawn" in tensors and tensors["drawn"].size == 1:
        value = float(tensors["drawn"][0])
        return value if 0 <= value <= 1 else None
    if "state_before" not in tensors or source == WALK:
        return None
    state = tensors["state_before"].tobytes()
    if source == RANDOM_STATE:
        found = twister(source, state)
        if found is None:
            return None
        generator = np.random.RandomState()
        generator.set_state(("MT19937", found.words, found.given, 0, 0.0))
        return float(generator.random_sample())
    if source == GENERATOR:
        bits = bit_generator(state)
        return None if bits is None else float(np.random.Generator(bits).random())
    return None


def bit_generator(state: bytes) -> Any:
    """Make numpy's bit generator of a recorded state; ``None`` where it is none."""
    try:
        told = json.loads(state)
        if told["bit_generator"] not in BIT_GENERATORS:
            return None
        found = getattr(np.random, told["bit_generator"])()
        found.state = _arrays(told)
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    return found


def _arrays(told: Any) -> Any:
    if isinstance(told, dict):
        return {name: _arrays(value) for name, value in told.items()}
    return np.array(told, np.uint64) if isinstance(told, list) else told


def fits(weights: npt.NDArray[np.float32], uniform: float, token: int) -> bool:
    """Whether a walk to ``uniform`` along the cumulative law of ``weights`` [V] ends at ``token``.

    The walk goes in the tokens' order, or from the likeliest on: engines do either. Each of the n
    probabilities and sums is rounded to f32, so that a place is known to within (n + 8) u.
    """
    if not 0 <= token < len(weights) or not weights[token] > 0:
        return False
    p = weights.astype(np.float64)
    p /= p.sum()
    slack = (int((p > 0).sum()) + 8) * UNIT
    before = p[:token].sum()
    if before - slack <= uniform <= before + p[token] + slack:
        return True
    above = p[p > p[token]].sum()
    equal = p[p == p[token]].sum()
    return bool(above - slack <= uniform <= above + equal + slack)
