"""One recording alone, by frequencies: the place of each token in its own call's law.

No two calls of an engine have the same logits, so tokens cannot be counted. But each token has a
place in the law of its own call, u = F(t-) + v p(t), v a fresh uniform of ours: if the sampler
draws from the law, these places are uniform and independent, whatever the laws. Every statistic
here has an exact or bounded distribution under that alone, needs no further draw, and states what
it would have caught from the laws, before it sees a token.

The calls are read once. What is kept of one is two places and a few numbers.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from sampler_parity.statistics.budget import FAMILY_WISE, Budget, holm
from sampler_parity.statistics.constant import Raced, Walked
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.tilts import CUMULANTS, EXPONENTS, POWER, Tilts, table
from sampler_parity.statistics.uniformity import half_width

SEED = 20_261_125
"""Of the uniforms within the atoms, and of the simulated recordings that declare a power."""

SHADOWS = 200
"""Simulated engines with a constant uniform, from which the calls needed are declared."""
RACES = 8
"""The same with a constant vector of exponentials, which costs more."""
RACE_CALLS = 128
"""Calls that those see at most."""
RESTARTS = 4096
"""Calls from a restart on that are held against those of the other restarts."""
RACE_RESTARTS = 32
"""The same for a race, whose bounds take memory."""
MOST_SHARING = 8192
"""Groups of calls that share their random numbers and are followed; more add nothing."""
MOST_RACES = 64
"""The same for a race."""
LISTED = 20
"""Tokens outside the law that are listed one by one."""

Floats = npt.NDArray[np.float64]
Order = Literal["token", "descending"]
ORDERS: tuple[Order, ...] = ("token", "descending")
ORDER_WORDS = {"token": "in token order", "descending": "by descending probability"}
Status = Literal["holds", "rejected", "unjudged"]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A call's law and its token.

    Attributes:
        generation: number of the request.
        phase: the phase's name.
        call: number of the call within its generation.
        weights: f32 [V], what the reference's draw takes; divided by their sum in f64, the law.
        token: what was drawn.
        generator: number of the generator object, where the recording tells.
        seed: what that was made from, where the recording tells.
        rivals: f32 [V] each: the weights that mistakes named beforehand would have had here, in the
            order of the names that ``audit`` is given; each mistake is then tested for itself.
    """

    generation: int
    phase: str
    call: int
    weights: npt.NDArray[np.float32]
    token: int
    generator: int | None = None
    seed: int | None = None
    rivals: tuple[npt.NDArray[np.float32], ...] = ()


class Stray(msgspec.Struct, frozen=True, kw_only=True):
    """A token that the law of its call cannot draw."""

    generation: int
    phase: str
    call: int
    token: int


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """One test.

    Attributes:
        name: how a report calls it.
        question: what it asks.
        catches: what it would have caught, in words, from the laws alone.
        p: its p-value; ``None`` where these calls have none.
        adjusted: the same by Holm's procedure over all tests.
        rejected: what follows.
        found: what was seen, in words.
    """

    name: str
    question: str
    catches: str
    p: float | None
    adjusted: float | None = None
    rejected: bool = False
    found: str = ""


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that drew with the same random numbers.

    Attributes:
        kind: ``constant`` for one uniform at every call, ``restart`` for the same row of them in
            each generation or phase.
        draw: ``walk in token order``, ``walk by descending probability`` or ``race``.
        scope: which calls share, in words.
        bits: minus log2 of the chance that independent draws fit as well.
        calls: calls that fit, all of those that share.
        told: the recorded seeds say that these begin alike: then it is no fault.
        uniform: the interval in which a constant uniform lies; ``None`` where there is none.
    """

    kind: Literal["constant", "restart"]
    draw: str
    scope: str
    bits: float
    calls: int
    told: bool = False
    uniform: tuple[float, float] | None = None

    def sentence(self) -> str:
        """Say it in words."""
        if self.kind == "restart":
            what = f"the same random numbers again: {self.scope}"
        elif self.draw == "race":
            what = (
                "one vector of exponentials for ever: a generator is made anew for every call "
                f"{self.scope}"
            )
        else:
            low, high = self.uniform or (0.0, 1.0)
            what = (
                "one uniform for ever: a generator is made anew for every call "
                f"{self.scope} (the uniform is {(low + high) / 2:.6g}, within {high - low:.1e})"
            )
        return (
            f"{what}. All {self.calls:,} tokens fit a {self.draw}; independent draws fit as well "
            f"with a probability of at most 2^-{self.bits:.0f}."
        )


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What the tokens of one recording say of the sampler that drew them.

    Attributes:
        status: ``rejected`` where a test rejects or a token lies outside its law; ``unjudged``
            where there was no call with a choice.
        calls: calls read.
        judged: calls on which places were tested: of streams that begin alike, only the longest.
        choices: judged calls of more than one possible token.
        seed: of the uniforms within the atoms.
        alpha: the error budget.
        level: what a lone p-value rejects at.
        strays: how many tokens lie outside the law of their call.
        first_strays: the first of them.
        tests: every test.
        shared: calls that drew with the same random numbers, if any did.
        information: Fisher's information of all calls on the logarithm of the temperature.
        smallest_temperature: smallest relative temperature error caught with a power of 0.99 if
            the same tokens are kept; ``None`` if none up to twice or half.
        power_at_5_percent: the power at a temperature 5 % too high, and 5 % too low, likewise.
        smallest_departure: smallest distance of the places' distribution from the uniform one
            that is caught with a power of 0.99.
        constant_after: calls from the first one on after which a constant uniform is caught, for a
            walk in token order, one by descending probability, and a race, in all simulated
            recordings but 1 % of them; ``None`` where these calls are too few.
    """

    status: Status
    calls: int
    judged: int
    choices: int
    seed: int
    alpha: float
    level: float
    strays: int
    first_strays: tuple[Stray, ...]
    tests: tuple[Test, ...]
    shared: Shared | None
    information: float
    smallest_temperature: float | None
    power_at_5_percent: tuple[float, float]
    smallest_departure: float
    constant_after: tuple[int | None, int | None, int | None]

    @property
    def rejections(self) -> tuple[Test, ...]:
        """The tests that reject."""
        return tuple(test for test in self.tests if test.rejected)

    def sentence(self) -> str:
        """Say in words what was found, how sure it is, and what would have been caught."""
        if self.status == "unjudged":
            return f"Of {self.calls:,} calls none had a choice: their tokens say nothing."
        if self.status == "holds":
            return (
                f"Nothing in the tokens of {self.judged:,} calls speaks against the reference's "
                f"laws ({len(self.tests)} tests, error budget {self.alpha:.0e}). {self.caught()}"
            )
        parts = []
        if self.strays:
            one = self.first_strays[0]
            parts.append(
                f"{self.strays:,} of {self.calls:,} tokens cannot be drawn from the law of their "
                f"call, the first one token {one.token} at call {one.call} of generation "
                f"{one.generation} ({one.phase})."
            )
        named = self.rejections
        if self.shared is not None:
            parts.append(f"The engine takes {self.shared.sentence()}")
            others = [test.name for test in named if test.name != SHARING]
            if others:
                parts.append(f"Rejected with it, as its consequence: {', '.join(others)}.")
        else:
            parts += [f"Rejected: {test.name}: {test.found}." for test in named]
        parts.append(f"A right sampler is rejected with a probability of at most {self.alpha:.0e}.")
        return " ".join(parts)

    def caught(self) -> str:
        """Say what would have been caught, as the laws alone tell."""
        error = self.smallest_temperature
        words = (
            "no temperature error up to twice or half"
            if error is None
            else f"a temperature error of {error:.1%}"
        )
        after = [calls for calls in self.constant_after if calls is not None]
        constant = (
            f", and a generator made anew for every call from {max(after):,} calls on"
            if after
            else ""
        )
        return (
            f"With a probability of 0.99 these calls would have shown {words} with the same tokens "
            f"kept, a shift of {self.smallest_departure:.1%} of the draws{constant}."
        )


SHARING = "one uniform for ever"
TESTS = 11
"""Of every audit; each rival is one more."""


@dataclass(slots=True)
class _Call:
    """A law as the statistics take it."""

    tokens: npt.NDArray[np.int64]
    p: Floats
    logs: Floats
    ranks: npt.NDArray[np.int64]
    token_edges: Floats
    rank_edges: Floats

    @classmethod
    def of(cls, weights: npt.NDArray[np.float32]) -> "_Call":
        exact = np.asarray(weights, np.float64)
        total = float(exact.sum()) if exact.ndim == 1 else np.nan
        if not (np.isfinite(total) and total > 0 and exact.min() >= 0):
            raise StatisticsError(
                f"weights {list(exact.shape)} that sum to {total} are no distribution"
            )
        tokens = np.flatnonzero(exact)
        p = exact[tokens] / total
        by_rank = np.argsort(-p, kind="stable")
        ranks = np.empty(len(p), np.int64)
        ranks[by_rank] = np.arange(len(p))
        return cls(tokens, p, np.log(p), ranks, _edges(p), _edges(p[by_rank]))

    def at(self, token: int) -> int | None:
        """Give where a token stands among those that can be drawn."""
        place = int(np.searchsorted(self.tokens, token))
        inside = place < len(self.tokens) and self.tokens[place] == token
        return place if inside else None


def _edges(p: Floats) -> Floats:
    edges = np.empty(len(p) + 1)
    edges[0] = 0.0
    np.cumsum(p, out=edges[1:])
    edges[-1] = 1.0
    return edges


_GENERATIONS = "every generation begins as the first one did"
_PHASES = "every phase begins as the first one of its generation did"
_PHASE = "a phase begins in every generation as it did in the first"
_ALL = "every phase of every generation begins alike"

DRAWS = ("walk in token order", "walk by descending probability", "race")

Key = tuple[object, ...]


@dataclass(slots=True)
class _Scope:
    """Which calls might share their random numbers: those of equal key."""

    kind: Literal["constant", "restart"]
    words: str
    parts: tuple[str, ...]
    followers: tuple[dict[Key, Walked | Raced] | None, ...] = field(
        default_factory=lambda: ({}, {}, {})
    )


def _scopes() -> list[_Scope]:
    return [
        _Scope("constant", "of the recording", ()),
        _Scope("constant", "of a generation", ("generation",)),
        _Scope("constant", "of a phase", ("phase",)),
        _Scope("constant", "of a phase in a generation", ("generation", "phase")),
        _Scope("constant", "of a generator", ("generator",)),
        _Scope("restart", _GENERATIONS, ("at",)),
        _Scope("restart", _PHASES, ("generation", "at_phase")),
        _Scope("restart", _ALL, ("at_phase",)),
        _Scope("restart", _PHASE, ("phase", "at_phase")),
    ]


class _Sharing:
    """Follow every way in which calls might share their random numbers, until tokens refute it."""

    def __init__(self) -> None:
        self.scopes = _scopes()
        self.hypotheses = len(self.scopes) * len(DRAWS)

    def take(self, key: Mapping[str, object], call: _Call, place: int) -> None:
        for scope in self.scopes:
            if not any(follower is not None for follower in scope.followers):
                continue
            if any(key[part] is None for part in scope.parts):
                scope.followers = (None, None, None)
                continue
            own = tuple(key[part] for part in scope.parts)
            at = key["at"] if "at" in scope.parts else key["at_phase"]
            far = int(str(at)) if scope.kind == "restart" else 0
            scope.followers = tuple(
                self._step(followers, draw, own, far, call, place)
                for draw, followers in enumerate(scope.followers)
            )

    @staticmethod
    def _step(
        followers: dict[Key, Walked | Raced] | None,
        draw: int,
        own: Key,
        far: int,
        call: _Call,
        place: int,
    ) -> dict[Key, Walked | Raced] | None:
        if followers is None:
            return None
        race = draw == len(DRAWS) - 1
        if far >= (RACE_RESTARTS if race else RESTARTS):
            return followers
        follower = followers.get(own)
        if follower is None:
            if len(followers) >= (MOST_RACES if race else MOST_SHARING):
                return followers
            follower = followers[own] = Raced() if race else Walked()
        if isinstance(follower, Raced):
            fits = follower.step(call.tokens, call.logs, place)
        elif draw == 0:
            fits = follower.step(call.token_edges, np.array([place]))
        else:
            fits = follower.step(call.rank_edges, call.ranks[[place]])
        return followers if fits else None

    def best(self) -> tuple[float, Shared] | None:
        """Give the hypothesis with the most evidence, and its p-value for their number."""
        found: list[tuple[float, Shared]] = []
        for scope in self.scopes:
            for draw, followers in zip(DRAWS, scope.followers, strict=True):
                if not followers:
                    continue
                each = list(followers.values())
                bits = float(sum(np.sum(one.bits) for one in each))
                uniform = None
                if len(each) == 1 and isinstance(each[0], Walked) and scope.kind == "constant":
                    low, high = float(each[0].low[0]), float(each[0].high[0])
                    uniform = (max(low, 0.0), min(high, 1.0))
                calls = sum(one.calls for one in each)
                shared = Shared(
                    kind=scope.kind, draw=draw, scope=scope.words, bits=bits, calls=calls,
                    uniform=uniform,
                )  # fmt: skip
                found.append((bits, shared))
        if not found:
            return None
        bits, shared = max(found, key=lambda each: each[0])
        return min(1.0, self.hypotheses * 2.0 ** -min(bits, 1000.0)), shared


class _Shadows:
    """Engines that are simulated on the recording's laws, with one uniform for ever.

    They declare after how many calls such an engine is caught; they see no token.
    """

    def __init__(self, rng: np.random.Generator, bits: float) -> None:
        self._bits = bits
        self._uniforms = rng.random(SHADOWS)
        self._walks = [Walked(SHADOWS) for _ in ORDERS]
        self._races = [(np.empty(0), Raced()) for _ in range(RACES)]
        self._rng = rng
        self._calls = 0
        self._after: tuple[list[int], ...] = ([], [], [])

    def take(self, call: _Call) -> None:
        """Let every simulated engine draw from the next law."""
        self._calls += 1
        for order, edges in enumerate((call.token_edges, call.rank_edges)):
            walked, caught = self._walks[order], self._after[order]
            if len(caught) < SHADOWS:
                places = np.searchsorted(edges[1:-1], self._uniforms, side="right")
                walked.step(edges, places)
                now = int((walked.bits >= self._bits).sum())
                caught += [self._calls] * (now - len(caught))
        self._race(call)

    def _race(self, call: _Call) -> None:
        left = []
        for times, race in self._races if self._calls <= RACE_CALLS else ():
            missing = max(0, int(call.tokens[-1]) + 1 - len(times))
            drawn = np.concatenate([times, self._rng.exponential(size=missing)])
            place = int(np.argmax(call.p / drawn[call.tokens]))
            race.step(call.tokens, call.logs, place)
            if race.bits >= self._bits:
                self._after[2].append(self._calls)
            else:
                left.append((drawn, race))
        self._races = left

    def after(self) -> tuple[int | None, int | None, int | None]:
        """Give the calls after which all but 1 % of the simulated engines are caught."""
        found = []
        for draw, of in enumerate((SHADOWS, SHADOWS, RACES)):
            needed = int(np.ceil(0.99 * of))
            caught = sorted(self._after[draw])
            found.append(caught[needed - 1] if len(caught) >= needed else None)
        return found[0], found[1], found[2]


def _nothing() -> Floats:
    return np.zeros((CUMULANTS, len(EXPONENTS)))


MOST_GROUPS = 4096
"""Phases of generations whose sums are kept apart; later ones share one place."""


@dataclass(slots=True)
class _Group:
    """Sums over the calls of one phase in one generation."""

    number: int
    generation: int
    phase: str
    seed: int | None
    calls: int = 0
    total: float = 0.0
    tables: Floats = field(default_factory=_nothing)
    rivals: list["_Rival"] = field(default_factory=list)


class _Reading:
    """Everything that is summed while the calls go by."""

    def __init__(self, seed: int, rivals: int, bits: float) -> None:
        within, shadows = np.random.SeedSequence(seed).spawn(2)
        self._rng = np.random.default_rng(within)
        self.shadows = _Shadows(np.random.default_rng(shadows), bits)
        self.sharing = _Sharing()
        self.calls, self.choices, self.strays = 0, 0, 0
        self.first_strays: list[Stray] = []
        self.groups: dict[tuple[int, str], _Group] = {}
        self._at: dict[int, int] = {}
        self._places = array("d")
        self._of = array("i")
        self._rivals = rivals
        self.unseen = np.zeros(0)
        self.seen = np.zeros(0, bool)

    def take(self, drawn: Drawn) -> None:
        """Take the next call."""
        if len(drawn.rivals) != self._rivals:
            raise StatisticsError(
                f"call {drawn.call} of generation {drawn.generation} has {len(drawn.rivals)} "
                f"rivals, and {self._rivals} were named"
            )
        call = _Call.of(drawn.weights)
        self.calls += 1
        group = self._group(drawn)
        key = self._key(drawn, group)
        if len(call.tokens) > 1:
            self.shadows.take(call)
        place = call.at(drawn.token)
        group.calls += 1
        if place is None:
            self._stray(drawn)
            return
        if len(call.tokens) == 1:
            return
        self.choices += 1
        self._omitted(call, drawn.token)
        group.tables += table(call.logs)
        group.total += float(call.logs[place])
        if self._rivals:
            group.rivals = group.rivals or [_Rival() for _ in drawn.rivals]
            for rival, weights in zip(group.rivals, drawn.rivals, strict=True):
                rival.take(call, place, weights)
        v = self._rng.random()
        rank = int(call.ranks[place])
        self._places.extend(
            [
                call.token_edges[place]
                + v * (call.token_edges[place + 1] - call.token_edges[place]),
                call.rank_edges[rank] + v * (call.rank_edges[rank + 1] - call.rank_edges[rank]),
            ]
        )
        self._of.append(group.number)
        self.sharing.take(key, call, place)

    def _group(self, drawn: Drawn) -> _Group:
        own = (drawn.generation, drawn.phase)
        if own not in self.groups and len(self.groups) >= MOST_GROUPS:
            own = (-1, "")
        if own not in self.groups:
            seed = drawn.seed if own[0] >= 0 else None
            self.groups[own] = _Group(len(self.groups), *own, seed)
        return self.groups[own]

    @staticmethod
    def _key(drawn: Drawn, group: _Group) -> dict[str, object]:
        return {
            "generation": drawn.generation,
            "phase": drawn.phase,
            "generator": drawn.generator,
            "at": drawn.call,
            "at_phase": group.calls if group.generation >= 0 else None,
        }

    def _stray(self, drawn: Drawn) -> None:
        self.strays += 1
        if len(self.first_strays) < LISTED:
            self.first_strays.append(
                Stray(
                    generation=drawn.generation,
                    phase=drawn.phase,
                    call=drawn.call,
                    token=drawn.token,
                )
            )

    def _omitted(self, call: _Call, token: int) -> None:
        missing = int(call.tokens[-1]) + 1 - len(self.seen)
        if missing > 0:
            self.unseen = np.concatenate([self.unseen, np.zeros(missing)])
            self.seen = np.concatenate([self.seen, np.zeros(missing, bool)])
        self.unseen[call.tokens] += np.log1p(-np.minimum(call.p, 1 - 2.0**-53))
        self.seen[token] = True

    def judged(self, shared: Shared | None) -> list[_Group]:
        """Give the groups that are tested: of those that begin alike, the longest."""
        groups = list(self.groups.values())
        if shared is None or shared.kind != "restart":
            return groups
        groups = [group for group in groups if group.generation >= 0]
        if shared.scope == _GENERATIONS:
            lengths: dict[int, int] = {}
            for group in groups:
                lengths[group.generation] = lengths.get(group.generation, 0) + group.calls
            longest = max(lengths, key=lambda each: lengths[each])
            return [group for group in groups if group.generation == longest]
        by: dict[object, _Group] = {}
        for group in groups:
            own = {_PHASES: group.generation, _PHASE: group.phase}.get(shared.scope)
            if own not in by or by[own].calls < group.calls:
                by[own] = group
        return list(by.values())

    def places(self, groups: Sequence[_Group]) -> Floats:
        """Give the places of these groups' tokens, f64 [calls, 2], a generation after another."""
        both = np.frombuffer(self._places).reshape(-1, 2)
        of = np.frombuffer(self._of, np.int32)
        generation = {group.number: group.generation for group in groups}
        kept = np.flatnonzero(np.isin(of, list(generation)))
        order = np.argsort([generation[number] for number in of[kept].tolist()], kind="stable")
        found: Floats = both[kept[order]]
        return found


@dataclass(slots=True)
class _Rival:
    """Sums over calls that hold a law against the one of a mistake.

    Attributes:
        tables: of the log-ratio of both, on the tokens that both can draw.
        ratio: the tokens' log-ratios; -inf after a token that the mistake cannot draw.
        kept: log of the probability that the law draws only tokens that both can draw.
        caught: the same for the mistake: where it draws another, it is caught at once.
    """

    tables: Floats = field(default_factory=_nothing)
    ratio: float = 0.0
    kept: float = 0.0
    caught: float = 0.0

    def take(self, call: _Call, place: int, weights: npt.NDArray[np.float32]) -> None:
        exact = np.asarray(weights, np.float64)
        q = exact[call.tokens] if exact.shape > (call.tokens[-1],) else np.zeros(len(call.tokens))
        both = q > 0
        mass, rest = float(q.sum()), float(call.p[both].sum())
        if not both.any():
            self.ratio = self.kept = self.caught = -np.inf
            return
        logs = call.logs[both] - np.log(rest)
        values = np.log(q[both] / mass) - logs
        self.tables += table(logs, values)
        self.kept += float(np.log(rest))
        self.caught += float(np.log(mass / exact.sum()))
        self.ratio += float(values[int(both[:place].sum())]) if both[place] else -np.inf

    def add(self, other: "_Rival") -> None:
        self.tables += other.tables
        self.ratio += other.ratio
        self.kept += other.kept
        self.caught += other.caught

    def p_value(self) -> float:
        """Give the probability that a right sampler's tokens fit the mistake as well."""
        tilts = Tilts(self.tables)
        chance = float(np.exp(self.kept))
        if self.ratio == -np.inf:
            return 1.0
        tail = 1.0 if tilts.flat else tilts.tail(self.ratio, 1, bound=tilts.stepped)
        return min(1.0, chance * tail)

    def power(self, level: float) -> float:
        """Give the probability that the mistake is rejected at ``level``."""
        tilts = Tilts(self.tables)
        enough = level / max(float(np.exp(self.kept)), 1e-300)
        if enough >= 1:
            return 1.0
        critical = None if tilts.flat else tilts.critical(1, enough)
        found = 0.0 if critical is None else tilts.tail(critical, 1, _MISTAKEN)
        return float(1 - np.exp(self.caught) * (1 - found))


_MISTAKEN = 2.0
"""The exponent at which a table of log-ratios has the law of the mistake."""


def audit(
    calls: Iterable[Drawn],
    *,
    seed: int = SEED,
    alpha: float = FAMILY_WISE,
    rivals: Sequence[str] = (),
) -> Audit:
    """Hold a recording's tokens against the laws of their calls.

    Args:
        calls: every call in the order of the recording; read once.
        seed: of the uniforms within the atoms.
        alpha: the error budget of the audit: a right sampler is rejected no more often.
        rivals: names of the mistakes whose laws each call brings (``Drawn.rivals``).

    Raises:
        StatisticsError: weights that are no distribution; another number of rivals than named.
    """
    budget = Budget(alpha, TESTS + len(rivals))
    level = budget.nominal / budget.tests
    sharing_bits = float(np.log2(len(_scopes()) * len(DRAWS) / level))
    reading = _Reading(seed, len(rivals), sharing_bits)
    for drawn in calls:
        reading.take(drawn)
    best = reading.sharing.best()
    shared = best[1] if best is not None and best[0] <= level else None
    groups = reading.judged(shared)
    if shared is not None and shared.kind == "restart":
        seeds = {group.seed for group in reading.groups.values()}
        told = len(seeds) == 1 and None not in seeds
        shared = msgspec.structs.replace(shared, told=told)
    places = reading.places(groups)
    tilts = Tilts(sum((group.tables for group in groups), _nothing()))
    smallest = tilts.smallest(level)
    tests = [
        *_of_places(places, level),
        _of_temperature(tilts, sum(group.total for group in groups), smallest),
        _of_omission(reading, shared, level),
        _of_sharing(reading, best, shared),
        *_of_rivals(groups, rivals, level),
    ]
    tests = _decided(tests, budget)
    rejected = reading.strays > 0 or any(test.rejected for test in tests)
    status: Status = "rejected" if rejected else "holds" if reading.choices else "unjudged"
    return Audit(
        status=status,
        calls=reading.calls,
        judged=sum(group.calls for group in groups),
        choices=len(places),
        seed=seed,
        alpha=alpha,
        level=level,
        strays=reading.strays,
        first_strays=tuple(reading.first_strays),
        tests=tuple(tests),
        shared=shared,
        information=tilts.information,
        smallest_temperature=smallest,
        power_at_5_percent=(tilts.power(1.05, level), tilts.power(1 / 1.05, level)),
        smallest_departure=smallest_departure(len(places), level),
        constant_after=reading.shadows.after(),
    )


def smallest_departure(n: int, level: float, power: float = POWER) -> float:
    """Give the distance from the uniform distribution that n places show with ``power``.

    Kolmogorov's statistic finds at least the true distance less the half width of Massart's band.
    """
    from scipy import stats

    if n < 1:
        return 1.0
    return float(min(1.0, stats.kstwo.isf(level, n) + half_width(n, 1 - power)))


def _decided(tests: Sequence[Test], budget: Budget) -> list[Test]:
    adjusted, rejected = holm([1.0 if test.p is None else test.p for test in tests], budget.nominal)
    return [
        test
        if test.p is None
        else msgspec.structs.replace(test, adjusted=adjusted[index], rejected=rejected[index])
        for index, test in enumerate(tests)
    ]


def _of_places(places: Floats, level: float) -> list[Test]:
    found = []
    for column, order in enumerate(ORDERS):
        u = places[:, column]
        words = ORDER_WORDS[order]
        after = (u[1:] - u[:-1] + 0.5) % 1.0
        sums = (u[1:] + u[:-1]) % 1.0
        found += [
            _uniform(
                f"places {words}", "Are the tokens' places in their laws uniform?", u, level,
                "a shift of {} of the draws",
            ),
            _ends(f"ends {words}", u, level),
            _uniform(
                f"differences of places {words}",
                "Is a token's place independent of the one before?", after, level,
                "a place that is the last one's again in {2} of the calls",
            ),
            _uniform(
                f"sums of places {words}",
                "Is a token's place independent of the one before, mirrored?", sums, level,
                "a place that mirrors the last one's in {2} of the calls",
            ),
        ]  # fmt: skip
    return found


def _uniform(name: str, question: str, u: Floats, level: float, catches: str) -> Test:
    """Kolmogorov's test, whose distribution is exact at every level and number of calls.

    Differences and sums modulo 1 of successive independent uniforms are themselves independent and
    uniform, so that it is exact for them too.
    """
    from scipy import stats

    smallest = smallest_departure(len(u), level)
    words = catches.replace("{2}", f"{min(1.0, 2 * smallest):.1%}").replace("{}", f"{smallest:.1%}")
    if not len(u):
        return Test(name=name, question=question, catches="nothing: no calls", p=None)
    result = stats.kstest(u, "uniform", method="exact")
    return Test(
        name=name,
        question=question,
        catches=words,
        p=float(min(1.0, result.pvalue)),
        found=f"{result.statistic:.1%} of the draws are elsewhere than they should be",
    )


def _ends(name: str, u: Floats, level: float) -> Test:
    """Berk and Jones's idea on a dyadic grid: how many places are within 2^-k of an end.

    Each count is binomial; the smallest p-value times their number is the test's. Kolmogorov's
    statistic sees the middle, this sees the ends: a walk that falls off its end, a tail cut off.
    """
    from scipy import optimize, stats

    question = "Are there as many tokens at the ends of the laws as there should be?"
    n = len(u)
    if not n:
        return Test(name=name, question=question, catches="nothing: no calls", p=None)
    widths = 2.0 ** -np.arange(1, max(2, int(np.log2(n)) + 2))
    each = level / (4 * len(widths))
    smallest: tuple[float, str] = (1.0, "")
    for side, values in (("first", u), ("last", 1 - u)):
        for width in widths.tolist():
            count = int((values < width).sum())
            tails = stats.binom.cdf(count, n, width), stats.binom.sf(count - 1, n, width)
            p = float(min(tails))
            if p < smallest[0]:
                words = f"{count:,} of {n:,} tokens lie in the {side} {width:.3%} of their laws"
                smallest = p, f"{words}, where {n * width:,.1f} are expected"
    narrow = float(widths[-1])
    critical = int(stats.binom.isf(each, n, narrow)) + 1
    excess: float = 1.0
    if critical <= n:
        excess = optimize.brentq(
            lambda more: stats.binom.sf(critical - 1, n, more) - POWER, narrow, 1.0
        )
    cut = 1 - (each ** (1 / n)) if n else 1.0
    return Test(
        name=name,
        question=question,
        catches=(
            f"{excess:.1%} of the draws piled up at an end, or none in an outermost {cut:.1%}"
        ),
        p=min(1.0, 4 * len(widths) * smallest[0]),
        found=smallest[1],
    )


def _of_temperature(tilts: Tilts, total: float, error: float | None) -> Test:
    question = "Is the temperature the reference's?"
    if tilts.flat:
        return Test(
            name="temperature", question=question, p=None,
            catches="nothing: temperature does not change these laws",
        )  # fmt: skip
    words = (
        "no temperature between half and twice the right one"
        if error is None
        else f"a temperature {error:.1%} too high or too low, with the same tokens kept"
    )
    return Test(
        name="temperature",
        question=question,
        catches=words,
        p=tilts.p_value(total),
        found=(
            f"the tokens fit {tilts.estimate(total):.3f} times the temperature best "
            f"(score {tilts.score(total):+.1f} standard deviations)"
        ),
    )


def _of_omission(reading: _Reading, shared: Shared | None, level: float) -> Test:
    name, question = "a token never drawn", "Was every token drawn that must be?"
    if shared is not None and shared.kind == "restart":
        words = "nothing: streams repeat, so that calls are not independent"
        return Test(name=name, question=question, catches=words, p=None)
    possible = reading.unseen < 0
    tokens = int(possible.sum())
    if not tokens:
        return Test(name=name, question=question, catches="nothing: no calls", p=None)
    would = int((reading.unseen <= np.log(level / tokens)).sum())
    logs = np.where(possible & ~reading.seen, reading.unseen, 0.0)
    token = int(np.argmin(logs))
    return Test(
        name=name,
        question=question,
        catches=f"the absence of each of {would:,} tokens, of {tokens:,} that can be drawn",
        p=float(min(1.0, tokens * np.exp(logs[token]))),
        found=f"token {token} is missing, by chance in {np.exp(logs[token]):.1e} of recordings",
    )


def _of_sharing(
    reading: _Reading, best: tuple[float, Shared] | None, shared: Shared | None
) -> Test:
    after = reading.shadows.after()
    words = "; ".join(
        f"a {draw}: from {calls:,} calls on"
        if calls is not None
        else f"a {draw}: not by these calls"
        for draw, calls in zip(DRAWS, after, strict=True)
    )
    told = shared is not None and shared.told
    return Test(
        name=SHARING,
        question="Do many calls draw with the same random numbers?",
        catches=words,
        p=None if told else 1.0 if best is None else best[0],
        found="" if shared is None else shared.sentence(),
    )


def _of_rivals(groups: Sequence[_Group], names: Sequence[str], level: float) -> list[Test]:
    """The likelihood ratio of each mistake: by Neyman and Pearson's lemma nothing has more power.

    Of the tokens that the mistake drops, none may have come; the ratio's own distribution is that
    of a tilted law, known exactly.
    """
    found = []
    for index, name in enumerate(names):
        rival = _Rival()
        for group in groups:
            if group.rivals:
                rival.add(group.rivals[index])
        total = (rival.ratio - rival.kept) / np.log(10)
        found.append(
            Test(
                name=name,
                question=f"Do the tokens fit this better than the reference: {name}?",
                catches=f"this very mistake with a probability of {rival.power(level):.3f}",
                p=rival.p_value(),
                found=f"the tokens are 10^{total:.1f} times as probable with it",
            )
        )
    return found
