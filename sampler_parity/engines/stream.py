"""Where a call's random numbers come from: a generator's states, and how far apart two are.

torch's CPU generator is the Mersenne twister MT19937, whose 624 words numpy steps in the same way.
"""

import json
import struct
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sampler_parity.engines.recording import Call, Random

WORDS = 624
"""Words of the twister's state: between two twists it gives as many outputs."""

TORCH_STATE = 5056
"""Bytes of ``torch.Generator("cpu").get_state()``: see ``aten/src/ATen/CPUGeneratorImpl.cpp``: the
seed (u64), how many outputs are left (i32) and whether it was seeded (i32), the next one's place
(u64), 624 words (u64 each), and a normal variate that was kept."""

FARTHEST = 1 << 17
"""How many outputs apart two states are looked for."""

TORCH, RANDOM_STATE, GENERATOR, WALK = "torch", "numpy.RandomState", "numpy.Generator", "f32-walk"


@dataclass(frozen=True, slots=True)
class Twister:
    """A state: 624 words, and how many of them were given out."""

    words: npt.NDArray[np.uint32]
    given: int


def twister(source: str, state: bytes) -> Twister | None:
    """Read a state in its source's form; ``None`` where it is not of a Mersenne twister."""
    if source == TORCH and len(state) == TORCH_STATE:
        _, left, _, following = struct.unpack_from("<QiiQ", state)
        words = np.frombuffer(state, "<u8", WORDS, 24).astype(np.uint32)
        given = WORDS if left == 1 else int(following)
    elif source == RANDOM_STATE and len(state) == 4 * (WORDS + 1):
        words = np.frombuffer(state, "<u4", WORDS).astype(np.uint32)
        given = int(np.frombuffer(state, "<u4", 1, 4 * WORDS)[0])
    else:
        return None
    return Twister(words, given) if 0 <= given <= WORDS else None


def torch_takes(state: bytes) -> bool:
    """Whether torch's generator can be set to a state: ``mt19937::is_valid`` of ATen."""
    if len(state) != TORCH_STATE:
        return False
    _, left, was_seeded, following = struct.unpack_from("<QiiQ", state)
    return bool(was_seeded == 1 and 0 < left <= WORDS and following <= WORDS)


def outputs_between(source: str, before: bytes, after: bytes) -> int | None:
    """Count the 32-bit outputs from one state to another, at most :data:`FARTHEST`.

    ``None`` where the second does not follow from the first within that many, or where the source
    is no Mersenne twister.
    """
    return _between(twister(source, before), twister(source, after))


def outputs_since(source: str, seed: int, state: bytes) -> int | None:
    """Count the outputs that a generator made from ``seed`` has given, as above."""
    return _between(seeded(source, seed), twister(source, state))


def _between(start: Twister | None, end: Twister | None) -> int | None:
    if start is None or end is None:
        return None
    from_here = start.given
    if np.array_equal(start.words, end.words) and end.given >= from_here:
        return end.given - from_here
    bits = np.random.MT19937()
    bits.state = {"bit_generator": "MT19937", "state": {"key": start.words, "pos": from_here}}
    counted = 0
    while counted <= FARTHEST:
        step = WORDS + 1 - from_here if counted == 0 else WORDS
        bits.random_raw(step, output=False)
        counted += step
        now = bits.state["state"]
        if np.array_equal(now["key"], end.words):
            total = counted - int(now["pos"]) + end.given
            return total if total <= FARTHEST else None
    return None


def seeded(source: str, seed: int) -> Twister | None:
    """Give the state of a generator of ``source`` as ``seed`` makes it; ``None`` if not known.

    torch takes the seed's low 32 bits; both seed by Matsumoto and Nishimura's ``init_genrand``.
    """
    if source not in {TORCH, RANDOM_STATE}:
        return None
    low = seed & 0xFFFFFFFF
    legacy = np.random.RandomState(low).get_state(legacy=False)["state"]
    return Twister(np.asarray(legacy["key"], np.uint32), WORDS)


def is_new(source: str, state: bytes, seed: int | None) -> bool:
    """Whether a generator has given nothing since it was made from ``seed``."""
    if seed is None:
        return False
    if source == GENERATOR:
        made_anew: Any = np.random.default_rng(seed).bit_generator.state
        return _same_json(state, made_anew)
    found = twister(source, state)
    if found is None or found.given != WORDS:
        return False
    made = seeded(source, seed)
    return made is not None and np.array_equal(found.words, made.words)


def _same_json(state: bytes, made: Any) -> bool:
    try:
        told = json.loads(state)
    except ValueError:
        return False
    return bool(told == made)


How = Literal["unknown", "goes on", "new", "ahead", "other"]


@dataclass(frozen=True, slots=True)
class Entry:
    """How a call's generator stands to the call before it.

    Attributes:
        how: ``goes on`` where that one left it; ``new`` where it was made for this call, from
            ``seed``; ``ahead`` where somebody has drawn from it in between; ``other`` where it is
            none of these; ``unknown`` where the recording does not tell.
        seed: what a new one was made from.
        outputs: how many 32-bit outputs somebody else has drawn, since that call or since a new one
            was made.
    """

    how: How
    seed: int | None = None
    outputs: int = 0


def entry(
    call: Call, state: bytes, earlier: Call | None, left: bytes, *, search: bool = True
) -> Entry:
    """Say how ``call``, which begins at ``state``, stands to the ``earlier`` one, left at ``left``.

    ``state`` and ``left`` are empty where no state is recorded; then the generators' numbers tell
    what they can. Without ``search``, a state that is neither is not looked for in the stream.
    """
    random = call.random
    if random is None:
        return Entry("unknown")
    before = earlier.random if earlier is not None else None
    if state:
        return _by_state(random, state, before, left, search=search)
    if random.generator is None:
        return Entry("unknown")
    if before is not None and before.generator == random.generator:
        return Entry("goes on")
    return Entry("new", random.seed)


def _by_state(
    random: Random, state: bytes, before: Random | None, left: bytes, *, search: bool
) -> Entry:
    if left and state == left:
        return Entry("goes on")
    if is_new(random.source, state, random.seed):
        return Entry("new", random.seed)
    if not search:
        return Entry("other")
    if left and before is not None and before.source == random.source:
        outputs = outputs_between(random.source, left, state)
        if outputs is not None:
            return Entry("ahead" if outputs else "goes on", outputs=outputs)
    if random.seed is not None:
        outputs = outputs_since(random.source, random.seed, state)
        if outputs is not None:
            return Entry("new", random.seed, outputs)
    return Entry("other")
