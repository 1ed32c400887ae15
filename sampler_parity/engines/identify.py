"""Which stream made these tokens? Known generators are tried, with every seed that is likely.

A candidate is a generator, the way it turns numbers into a token, when it is made anew, and a seed.
It is followed call by call and dropped at the first token that it cannot have made, rounding
allowed. What stays has evidence: the probability that independent draws fit as well is the product
of the tokens' own, widened by the rounding that is allowed.

Uniforms are screened for thousands of seeds at once. What is left is followed with the generators
themselves, of numpy, torch and Python.
"""

import copy
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sampler_parity.engines import std_rng
from sampler_parity.engines.places import Drawn

MARGIN = 40.0
"""Bits of evidence that are asked for beyond the logarithm of the number of candidates."""
PLENTY = 24.0
"""Bits beyond those, after which screening ends."""
MOST_SCREENED = 1024
"""Calls that are screened, at most."""
CHUNK = 2500
"""Seeds that are screened at a time."""
RACE_SEEDS = 1000
"""Seeds that are tried on torch's race, whose every call draws a number for each token."""
RACED = 3
"""Calls on which races are screened, before each is followed alone."""
BLUR = 1e-6
"""Distance from a boundary of the cumulative sum within which either token is right: some ulp of
1 in f32, by which cumulative sums differ."""
NEAR = 2.0**-20
"""The same for a quotient, as a factor."""
LIKELY = (*range(10_000), 12_345, 31_337, 65_535, 65_536, 123_456, 1_234_567, 123_456_789,
          20_240_101, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 0xDEADBEEF, 0xCAFEBABE)  # fmt: skip
"""Seeds that are tried besides those that a recording names."""

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Scope:
    """When a generator is made anew, and with which seed.

    Attributes:
        words: the same for people.
        fresh: parts of a call's name; a generator is made for each of their values.
        offset: parts that are added to the seed: ``generation`` as it is, ``phase`` as its number
            in order of appearance, ``hundreds`` as 100 for the first phase and 200 for the second,
            ``call`` as the number in the generation.
    """

    words: str
    fresh: tuple[str, ...] = ()
    offset: tuple[str, ...] = ()


SCOPES = (
    Scope("one generator for the recording"),
    Scope("a generator for each generation, from the same seed", ("generation",)),
    Scope("a generator for each generation, from the seed plus its number",
          ("generation",), ("generation",)),
    Scope("a generator for each phase of each generation, from the same seed",
          ("generation", "phase")),
    Scope("a generator for each phase of each generation, from the seed plus the generation's "
          "number", ("generation", "phase"), ("generation",)),
    Scope("a generator for each phase of each generation, from the seed plus the phase's number",
          ("generation", "phase"), ("phase",)),
    Scope("a generator for each phase of each generation, from the seed plus 100 for the first "
          "phase and 200 for the second", ("generation", "phase"), ("hundreds",)),
    Scope("a generator for each phase of each generation, from the seed plus the generation's "
          "number, plus 100 for the first phase and 200 for the second",
          ("generation", "phase"), ("generation", "hundreds")),
    Scope("a generator for each phase of the recording, from the same seed", ("phase",)),
    Scope("a generator for each phase of the recording, from the seed plus 100 for the first and "
          "200 for the second", ("phase",), ("hundreds",)),
    Scope("a generator made anew for every call, from the same seed", ("generation", "call")),
    Scope("a generator made anew for every call, from the seed plus the call's number",
          ("generation", "call"), ("call",)),
)  # fmt: skip
"""The simplest first: where several fit alike, the first is told."""

_PLAIN = tuple(scope for scope in SCOPES if not scope.offset)
HUNDRED = 100


class Numbers:
    """Where calls stand in the streams of one scope."""

    def __init__(self, scope: Scope, phases: dict[str, int]) -> None:
        self._scope, self._phases = scope, phases
        self._used: dict[tuple[object, ...], int] = {}

    def next(self, drawn: Drawn) -> tuple[int, int, tuple[object, ...]]:
        """Give a call's offset to the seed, its position in its stream, and the stream's key."""
        phase = self._phases[drawn.phase]
        parts = {
            "generation": drawn.generation,
            "phase": phase,
            "hundreds": HUNDRED * (phase + 1),
            "call": drawn.call,
        }
        key = tuple(parts[part] for part in self._scope.fresh)
        position = self._used.get(key, 0)
        if "call" not in self._scope.fresh:
            self._used[key] = position + 1
        return sum(parts[part] for part in self._scope.offset), position, key


Draw = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Uniform:
    """A generator of uniforms.

    Attributes:
        words: how it is called.
        start: give a generator's draws from a seed.
        table: give the first n uniforms of each seed, f64 [seeds, n].
        most: the largest seed that it takes.
    """

    words: str
    start: Callable[[int], Draw]
    table: Callable[[Sequence[int], int], Floats]
    most: int


def _mersenne(seeds: Sequence[int], words: int) -> Words:
    """Give MT19937's first words, u64 [seeds, words]; torch takes a seed's low 32 bits."""
    state = np.random.RandomState(0)
    found = np.empty((len(seeds), words), np.uint64)
    for row, seed in enumerate(seeds):
        state.seed(seed & 0xFFFFFFFF)
        found[row] = state.randint(0, 2**32, size=words, dtype=np.uint32)
    return found


def _random_state(seeds: Sequence[int], n: int) -> Floats:
    state = np.random.RandomState(0)
    found = np.empty((len(seeds), n))
    for row, seed in enumerate(seeds):
        state.seed(seed)
        found[row] = state.random_sample(n)
    return found


def _default_rng(dtype: type) -> Callable[[Sequence[int], int], Floats]:
    def table(seeds: Sequence[int], n: int) -> Floats:
        return np.stack([np.random.default_rng(seed).random(n, dtype) for seed in seeds]).astype(
            np.float64
        )

    return table


def _torch_single(seeds: Sequence[int], n: int) -> Floats:
    found: Floats = (_mersenne(seeds, n) & np.uint64(2**24 - 1)).astype(np.float64) * 2.0**-24
    return found


def _torch_double(seeds: Sequence[int], n: int) -> Floats:
    words = _mersenne(seeds, 2 * n)
    joined = (words[:, ::2] << np.uint64(32)) | words[:, 1::2]
    found: Floats = (joined & np.uint64(2**53 - 1)).astype(np.float64) * 2.0**-53
    return found


def _python(seeds: Sequence[int], n: int) -> Floats:
    found = np.empty((len(seeds), n))
    for row, seed in enumerate(seeds):
        draw = random.Random(seed).random  # noqa: S311  (the generator that is looked for)
        found[row] = [draw() for _ in range(n)]
    return found


def _generator(seed: int) -> Any:
    import torch

    return torch.Generator().manual_seed(seed)


def _torch_draws(dtype: str) -> Callable[[int], Draw]:
    def start(seed: int) -> Draw:
        import torch

        generator = _generator(seed)
        kind = getattr(torch, dtype)
        return lambda: float(torch.rand(1, generator=generator, dtype=kind))

    return start


def _numpy_draws(dtype: type) -> Callable[[int], Draw]:
    def start(seed: int) -> Draw:
        rng = np.random.default_rng(seed)
        return lambda: float(rng.random(dtype=dtype))

    return start


UNIFORMS = (
    Uniform("numpy.random.RandomState", lambda seed: np.random.RandomState(seed).random_sample,
            _random_state, 2**32 - 1),
    Uniform("numpy.random.default_rng (PCG64)", _numpy_draws(np.float64), _default_rng(np.float64),
            2**64 - 1),
    Uniform("numpy.random.default_rng (PCG64) in f32", _numpy_draws(np.float32),
            _default_rng(np.float32), 2**64 - 1),
    Uniform("torch.rand in f32", _torch_draws("float32"), _torch_single, 2**64 - 1),
    Uniform("torch.rand in f64", _torch_draws("float64"), _torch_double, 2**64 - 1),
    Uniform("Python's random.random", lambda seed: random.Random(seed).random,  # noqa: S311
            _python, 2**64 - 1),
    Uniform("Rust's StdRng in f32", lambda seed: std_rng.draws(seed, "float32").__next__,
            std_rng.singles, 2**64 - 1),
    Uniform("Rust's StdRng in f64", lambda seed: std_rng.draws(seed, "float64").__next__,
            std_rng.doubles, 2**64 - 1),
)  # fmt: skip

ORDERS = ("in token order", "by descending probability", "by ascending probability")
CHOICE = {
    ("numpy.random.RandomState", "in token order"): " (RandomState.choice)",
    ("numpy.random.default_rng (PCG64)", "in token order"): " (Generator.choice)",
}
RACE = "torch.multinomial, the race p / q with q of torch.Generator"


class Identified(msgspec.Struct, frozen=True, kw_only=True):
    """What made the tokens.

    Attributes:
        stream: the generator, and how it makes a token; empty where nothing fits.
        scope: when it is made anew, and from what.
        seed: that it begins with; ``None`` where nothing fits.
        bits: minus log2 of the probability that independent draws fit as well.
        needed: bits that are asked for.
        tried: candidates, and so chances to fit by accident.
        race_seeds: seeds tried on torch's race, of all ``seeds``.
        seeds: seeds tried.
        calls: calls that fit.
        parted: the generation and call at which a stream parts that was right up to there with
            enough evidence; ``None`` where it fits to the end.
        skipped: numbers that the stream is ahead by from there on; 0 where that does not explain
            it.
        also: other candidates that fit as well: on one generation or phase, several scopes are
            the same.
        available: bits that all tokens together could give.
    """

    stream: str = ""
    scope: str = ""
    seed: int | None = None
    bits: float = 0.0
    needed: float
    tried: int
    race_seeds: int
    seeds: int
    calls: int = 0
    parted: tuple[int, int] | None = None
    skipped: int = 0
    also: tuple[str, ...] = ()
    available: float

    @property
    def known(self) -> bool:
        """Whether a stream fits every call."""
        return self.seed is not None and self.parted is None

    def sentence(self) -> str:
        """Say it in words."""
        tried = (
            f"{self.tried:,} candidates were tried: {self.seeds:,} seeds, on torch's race "
            f"{self.race_seeds:,} of them"
        )
        if self.seed is None:
            if self.available < self.needed:
                return (
                    f"The tokens cannot tell their stream: they hold {self.available:.0f} bits, "
                    f"and {self.needed:.0f} are needed. {tried}."
                )
            return f"No known stream makes these tokens. {tried}."
        words = (
            f"{self.stream}, seed {self.seed}, {self.scope}, makes the tokens of "
            f"{self.calls:,} calls, with {self.bits:.0f} bits of evidence where "
            f"{self.needed:.0f} are asked for"
        )
        if self.parted is not None:
            generation, call = self.parted
            words += f"; call {call} of generation {generation} is the first that it does not make"
            if self.skipped:
                draws = "draw" if self.skipped == 1 else "draws"
                words += (
                    f": from there to the end the stream is ahead by {self.skipped} {draws}, which "
                    "somebody else took"
                )
        if self.also:
            count = f"{len(self.also)} other reading{'s' * (len(self.also) != 1)}"
            words += f". {count} of these calls cannot be told apart from it: {self.also[0]}"
            words += ", and so on" if len(self.also) > 1 else ""
        return f"{words}. {tried}."


@dataclass(frozen=True, slots=True)
class _Seen:
    """A call as the candidates take it.

    Attributes:
        drawn: its name; the weights are not kept.
        vocab: numbers that a race draws.
        tokens: i64 [n], those that can be drawn.
        p: f64 [n], their probabilities.
        place: where the token stands among them; ``None`` where it cannot be drawn.
        spans: f64 [3, 2], the uniforms that give the token, in each order of the walk.
    """

    drawn: Drawn
    vocab: int
    tokens: npt.NDArray[np.int64]
    p: Floats
    place: int
    spans: Floats

    @classmethod
    def of(cls, drawn: Drawn) -> "_Seen | None":
        """Take a call; ``None`` where its token cannot be drawn."""
        exact = np.asarray(drawn.weights, np.float64)
        tokens = np.flatnonzero(exact > 0)
        place = int(np.searchsorted(tokens, drawn.token))
        if place >= len(tokens) or tokens[place] != drawn.token:
            return None
        p = exact[tokens] / exact[tokens].sum()
        own = p[place]
        before = p[:place].sum()
        larger = p[p > own].sum() + p[:place][p[:place] == own].sum()
        after = 1 - larger - own
        spans = np.array([[before, before + own], [larger, larger + own], [after, after + own]])
        slim = Drawn(
            drawn.generation, drawn.phase, drawn.call, np.empty(0, np.float32), drawn.token,
            drawn.generator, drawn.seed,
        )  # fmt: skip
        return cls(slim, len(exact), tokens, p, place, spans)

    @property
    def bits(self) -> float:
        """Evidence that a candidate gains by making this token."""
        return -float(np.log2(min(1.0, self.p[self.place] + 2 * BLUR)))


class _Follower:
    """A candidate that is followed with the generators themselves."""

    def __init__(
        self, order: int | None, uniform: Uniform | None, scope: Scope, seed: int,
        phases: dict[str, int],
    ) -> None:  # fmt: skip
        self.order, self.uniform, self.scope, self.seed = order, uniform, scope, seed
        self._numbers = Numbers(scope, phases)
        self._streams: dict[tuple[object, ...], Any] = {}
        self._last: tuple[int, int, tuple[object, ...]] = (0, 0, ())
        self.bits, self.calls = 0.0, 0
        self.parted: tuple[int, int] | None = None

    @property
    def words(self) -> str:
        """The generator and how it makes a token."""
        if self.uniform is None or self.order is None:
            return RACE
        order = ORDERS[self.order]
        named = CHOICE.get((self.uniform.words, order), "")
        return f"{self.uniform.words} and a walk {order}{named}"

    def step(self, seen: _Seen | None, drawn: Drawn) -> bool:
        """Take the next call; say whether this candidate makes its token."""
        self._last = offset, position, key = self._numbers.next(drawn)
        if position == 0:
            seed = self.seed + offset
            self._streams[key] = (
                _generator(seed) if self.uniform is None else self.uniform.start(seed)
            )
        stream = self._streams.get(key)
        fits = seen is not None and stream is not None and self._fits(seen, stream)
        if "call" in self.scope.fresh:
            del self._streams[key]
        if fits and seen is not None:
            self.bits += seen.bits
            self.calls += 1
        else:
            self.parted = (drawn.generation, drawn.call)
        return fits

    def ahead(self, seen: _Seen, more: int) -> "_Follower | None":
        """Give this candidate as it would stand had somebody drawn ``more`` before the last call.

        That call has been taken, and was not this candidate's; ``None`` if it is not so either.
        """
        offset, position, key = self._last
        if "call" in self.scope.fresh:
            return None
        if self.uniform is None:
            stream = self._streams[key].clone_state()
            for _ in range(more - 1):
                _wins(seen, stream)
        else:
            stream = self.uniform.start(self.seed + offset)
            for _ in range(position + more):
                stream()
        if not self._fits(seen, stream):
            return None
        other = _Follower(self.order, self.uniform, self.scope, self.seed, {})
        other._numbers = copy.deepcopy(self._numbers)
        other._streams = {key: stream}
        other.bits = seen.bits
        return other

    def _fits(self, seen: _Seen, stream: Any) -> bool:
        if self.order is not None:
            low, high = seen.spans[self.order]
            return bool(low - BLUR <= stream() <= high + BLUR)
        return bool(_wins(seen, stream))


def _wins(seen: _Seen, generator: Any) -> bool:
    import torch

    q = torch.empty(seen.vocab).exponential_(generator=generator).numpy()[seen.tokens]
    with np.errstate(divide="ignore"):
        ratios = seen.p / q
    return bool(ratios[seen.place] * (1 + NEAR) >= ratios.max() * (1 - NEAR))


def identify(
    calls: Iterable[Drawn], *, seeds: Sequence[int] = LIKELY, race_seeds: int = RACE_SEEDS
) -> Identified:
    """Find the known stream that made a recording's tokens.

    Args:
        calls: every call in the order of the recording; read once. Calls of one possible token
            count: they draw as well.
        seeds: tried besides those that the calls name.
        race_seeds: how many of them, after those named, are tried on torch's race.
    """
    source = iter(calls)
    head: list[tuple[Drawn, _Seen | None]] = []
    phases: dict[str, int] = {}
    named: dict[int, None] = {}
    kinds = len(UNIFORMS) * len(ORDERS)
    bits, needed = 0.0, 0.0
    for drawn in source:
        seen = _Seen.of(drawn)
        phases.setdefault(drawn.phase, len(phases))
        if drawn.seed is not None and drawn.seed >= 0:
            named[drawn.seed] = None
        head.append((drawn if seen is None else seen.drawn, seen))
        bits += 0.0 if seen is None else seen.bits
        racing = len(named) + race_seeds
        needed = MARGIN + float(np.log2(len(SCOPES) * (kinds * (len(named) + len(seeds)) + racing)))
        if bits >= needed or len(head) >= MOST_SCREENED or seen is None:
            break
    every = list(dict.fromkeys([*named, *seeds]))
    raced = list(dict.fromkeys([*named, *seeds[:race_seeds]]))
    left = [] if not head or bits < needed else [
        *_screened_walks(head, every, phases), *_screened_races(head, raced, phases),
    ]  # fmt: skip
    followers = [
        follower for follower in left if all(follower.step(seen, drawn) for drawn, seen in head)
    ]
    parted: list[_Follower] = []
    shifted: list[tuple[int, _Follower]] = []
    for drawn in source:
        if not followers and not shifted:
            break
        seen = _Seen.of(drawn)
        phases.setdefault(drawn.phase, len(phases))
        if not followers:
            shifted = [each for each in shifted if each[1].step(seen, drawn)]
            continue
        held = [follower for follower in followers if follower.step(seen, drawn)]
        if not held:
            parted = followers
            shifted = [] if seen is None else _shifted(parted[0], seen)
        followers = held
    skipped = min((more for more, ahead in shifted if ahead.bits >= MARGIN), default=0)
    best = followers or parted
    found = best[0] if best else None
    return Identified(
        stream="" if found is None else found.words,
        scope="" if found is None else found.scope.words,
        seed=None if found is None else found.seed,
        bits=0.0 if found is None else found.bits,
        needed=needed,
        tried=len(SCOPES) * (kinds * len(every) + len(raced)),
        race_seeds=len(raced),
        seeds=len(every),
        calls=0 if found is None else found.calls,
        parted=None if found is None or followers else found.parted,
        skipped=0 if found is None or followers else skipped,
        also=_also(best),
        available=bits,
    )


MOST_ALSO = 5
MOST_SKIPPED = 8
"""Draws by which a stream may be ahead, to be found again."""


def _shifted(parted: _Follower, seen: _Seen) -> list[tuple[int, _Follower]]:
    found = [(more, parted.ahead(seen, more)) for more in range(1, MOST_SKIPPED + 1)]
    return [(more, ahead) for more, ahead in found if ahead is not None]


def _also(best: Sequence[_Follower]) -> tuple[str, ...]:
    """Name the others that fit: by their scope alone where stream and seed are the first one's."""
    found = []
    for one in best[1 : 1 + MOST_ALSO]:
        same = one.words == best[0].words and one.seed == best[0].seed
        words = one.scope.words
        found.append(words if same else f"{one.words}, seed {one.seed}, {words}")
    return tuple(found)


Head = Sequence[tuple[Drawn, _Seen | None]]


def _screened_walks(
    head: Head, seeds: Sequence[int], phases: dict[str, int]
) -> Iterator[_Follower]:
    """Give the walks whose first tokens are right, of all seeds."""
    spans = np.array([seen.spans for _, seen in head if seen is not None])
    if len(spans) < len(head):
        return
    wheres = [_wheres(scope, head, phases) for scope in SCOPES]
    offsets = sorted({int(offset) for where in wheres for offset in where[0]})
    for uniform in UNIFORMS:
        for first in range(0, len(seeds), CHUNK):
            # The largest seeds have no room for an offset that the generator takes.
            chunk = [s for s in seeds[first : first + CHUNK] if s + offsets[-1] <= uniform.most]
            alone = [s for s in seeds[first : first + CHUNK] if s <= uniform.most < s + offsets[-1]]
            for own, steps, scopes in ((chunk, offsets, SCOPES), (alone, [0], _PLAIN)):
                if not own:
                    continue
                rows = sorted({seed + step for step in steps for seed in own})
                table = uniform.table(rows, len(head))
                known, tried = np.array(rows, np.uint64), np.array(own, np.uint64)
                for scope in scopes:
                    offset, position = wheres[SCOPES.index(scope)]
                    for order in range(len(ORDERS)):
                        left = _followed(table, known, tried, offset, position, spans[:, order])
                        for seed in left.tolist():
                            yield _Follower(order, uniform, scope, seed, phases)


def _wheres(
    scope: Scope, head: Head, phases: dict[str, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    numbers = Numbers(scope, phases)
    found = np.array([numbers.next(drawn)[:2] for drawn, _ in head], np.int64)
    return found[:, 0], found[:, 1]


def _followed(
    table: Floats,
    known: Words,
    seeds: Words,
    offsets: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int64],
    spans: Floats,
) -> Words:
    """Give the seeds whose uniforms lie in all spans, f64 [calls, 2]; ``known`` seeds have rows."""
    left = seeds
    for offset, position, (low, high) in zip(offsets, positions, spans, strict=True):
        if not len(left):
            break
        u = table[np.searchsorted(known, left + np.uint64(offset)), position]
        left = left[(u >= low - BLUR) & (u <= high + BLUR)]
    return left


def _screened_races(
    head: Head, seeds: Sequence[int], phases: dict[str, int]
) -> Iterator[_Follower]:
    """Give torch's races that make the first tokens; scopes that begin alike are drawn once."""
    made: dict[tuple[int, int, int], bool] = {}
    first = head[:RACED]
    for scope in SCOPES:
        offsets, positions = _wheres(scope, first, phases)
        for seed in seeds:
            if all(
                _makes(made, head, seed + int(offset), int(position), call)
                for call, (offset, position) in enumerate(zip(offsets, positions, strict=True))
            ):
                yield _Follower(None, None, scope, seed, phases)


def _makes(
    made: dict[tuple[int, int, int], bool], head: Head, seed: int, position: int, call: int
) -> bool:
    """Whether a generator of this seed makes a call's token after ``position`` calls before it."""
    import torch

    key = seed, position, call
    if key not in made:
        _, seen = head[call]
        found = seen is not None and seed < 2**64
        if seen is not None and found:
            generator = _generator(seed)
            earlier = [before.vocab for _, before in head[call - position : call] if before]
            torch.empty(sum(earlier)).exponential_(generator=generator)
            found = _wins(seen, generator)
        made[key] = found
    return made[key]
