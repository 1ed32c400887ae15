"""Which stream made these tokens: every known one is found by what it is, and nothing else is."""

import random
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sampler_parity.engines import std_rng
from sampler_parity.engines.identify import UNIFORMS, Identified, identify
from sampler_parity.engines.places import Drawn

Weights = npt.NDArray[np.float32]
Draw = Callable[[Weights], int]
FEW = (*range(300), 1234, 2**32 - 1)


def laws(seed: int, calls: int, vocab: int = 500, kept: int = 60) -> list[Weights]:
    """Make the laws of unlike calls, of which each keeps other tokens."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(calls):
        weights = np.zeros(vocab, np.float32)
        weights[rng.permutation(vocab)[:kept]] = np.exp(rng.normal(0, 2, kept))
        found.append((weights / weights.sum()).astype(np.float32))
    return found


def exact(weights: Weights) -> npt.NDArray[np.float64]:
    p: npt.NDArray[np.float64] = weights.astype(np.float64)
    p /= p.sum()
    return p


def walk(weights: Weights, u: float, sign: int = 0) -> int:
    """Walk along the f32 cumulative sum; by descending probability for -1, ascending for 1."""
    order = np.argsort(sign * weights, kind="stable") if sign else np.arange(len(weights))
    sums = np.cumsum(weights[order], dtype=np.float32)
    place = int(np.searchsorted(sums, np.float32(u) * sums[-1], side="right"))
    return int(order[min(place, len(order) - 1)])


def recorded(
    draw: Callable[[int, str, int, Weights], int],
    *,
    generations: int = 1,
    phases: tuple[int, ...] = (40,),
    seed: int | None = None,
) -> Iterator[Drawn]:
    """Run an engine; ``draw`` gets a call's generation, phase, number and weights."""
    every = iter(laws(5, generations * sum(phases)))
    for generation in range(generations):
        call = 0
        for phase, length in zip(("global", "semantic"), phases, strict=False):
            for _ in range(length):
                weights = next(every)
                token = draw(generation, phase, call, weights)
                yield Drawn(generation, phase, call, weights, token, seed=seed)
                call += 1


def one(draw: Draw) -> Identified:
    return identify(recorded(lambda _g, _p, _c, weights: draw(weights)), seeds=FEW)


def torch_race(seed: int) -> Draw:
    generator = torch.Generator().manual_seed(seed)
    return lambda weights: int(torch.multinomial(torch.from_numpy(weights), 1, generator=generator))


def choice(seed: int) -> Draw:
    state = np.random.RandomState(seed)
    return lambda weights: int(state.choice(len(weights), p=exact(weights)))


def generator_choice(seed: int) -> Draw:
    rng = np.random.default_rng(seed)
    return lambda weights: int(rng.choice(len(weights), p=exact(weights)))


def torch_walk(seed: int) -> Draw:
    generator = torch.Generator().manual_seed(seed)
    return lambda weights: walk(weights, float(torch.rand(1, generator=generator)))


def torch_descending(seed: int) -> Draw:
    generator = torch.Generator().manual_seed(seed)

    def draw(weights: Weights) -> int:
        values, tokens = torch.sort(torch.from_numpy(weights), descending=True, stable=True)
        sums = torch.cumsum(values, 0)
        u = torch.rand(1, generator=generator) * sums[-1]
        return int(tokens[int(torch.searchsorted(sums, u, right=True).clamp(max=len(sums) - 1))])

    return draw


def python_choices(seed: int) -> Draw:
    own = random.Random(seed)  # noqa: S311  (what is looked for)
    return lambda weights: own.choices(range(len(weights)), weights=weights.tolist())[0]


def ascending(seed: int) -> Draw:
    rng = np.random.default_rng(seed)
    return lambda weights: walk(weights, rng.random(dtype=np.float32), 1)


def torch_double(seed: int) -> Draw:
    generator = torch.Generator().manual_seed(seed)
    return lambda weights: walk(
        weights, float(torch.rand(1, generator=generator, dtype=torch.float64)), -1
    )


@pytest.mark.parametrize(
    ("make", "seed", "words"),
    [
        (torch_race, 42, "torch.multinomial"),
        (choice, 1234, "RandomState.choice"),
        (choice, 2**32 - 1, "RandomState.choice"),
        (generator_choice, 77, "Generator.choice"),
        (torch_walk, 0, "torch.rand in f32 and a walk in token order"),
        (torch_descending, 299, "torch.rand in f32 and a walk by descending probability"),
        (torch_double, 8, "torch.rand in f64 and a walk by descending probability"),
        (python_choices, 5, "Python's random.random and a walk in token order"),
        (ascending, 6, "default_rng (PCG64) in f32 and a walk by ascending probability"),
    ],
)
def test_a_known_stream_is_named_with_its_seed(
    make: Callable[[int], Draw], seed: int, words: str
) -> None:
    found = one(make(seed))
    assert found.known
    assert words in found.stream
    assert found.seed == seed
    assert found.scope == "one generator for the recording"
    assert found.bits > found.needed > 40
    assert found.calls == 40
    assert f"seed {seed}" in found.sentence()
    assert f"{found.tried:,} candidates were tried" in found.sentence()


# Drawn by rand 0.10.4's StdRng::seed_from_u64, in units of 2^-24 and 2^-53.
STD_RNG = {
    0: (
        [13446255, 12266047, 9316201, 12976508, 6649884, 9384038],
        [6585284214498701, 6966709996078317, 232787770205729, 5261638868761790],
    ),
    42: (
        [2238244, 8834167, 4173137, 9105418, 11109205, 10845639],
        [4742807501948132, 4888434106168746, 5732767966677542, 3656038014234310],
    ),
    2**64 - 1: (
        [3030367, 1025944, 4264518, 668528, 15392169, 13232261],
        [550799642314667, 358913615077960, 655891668711618, 3273271653550628],
    ),
}


@pytest.mark.parametrize("seed", STD_RNG)
def test_rust_s_generator_draws_as_rand_does(seed: int) -> None:
    singles, doubles = STD_RNG[seed]
    assert (std_rng.singles([3, seed], 40)[1, [0, 1, 2, 3, 38, 39]] * 2**24).tolist() == singles
    assert (std_rng.doubles([seed], 4)[0] * 2**53).tolist() == doubles
    for dtype, table in (("float32", std_rng.singles), ("float64", std_rng.doubles)):
        draws = std_rng.draws(seed, dtype)
        assert [next(draws) for _ in range(40)] == table([seed], 40)[0].tolist()


def test_a_rust_engine_s_walk_is_named() -> None:
    draws = std_rng.draws(42, "float32")
    found = one(lambda weights: walk(weights, next(draws)))
    assert found.stream == "Rust's StdRng in f32 and a walk in token order"
    assert found.seed == 42


@pytest.mark.parametrize("uniform", UNIFORMS, ids=lambda uniform: uniform.words)
@pytest.mark.parametrize("seed", [0, 1234, 2**32 - 1])
def test_screened_uniforms_are_the_generators_own(uniform: object, seed: int) -> None:
    assert isinstance(uniform, type(UNIFORMS[0]))
    table = uniform.table([7, seed], 20)
    draw = uniform.start(seed)
    assert [draw() for _ in range(20)] == table[1].tolist()


Rule = Callable[[int, str, int], tuple[object, int]]


def hundreds(phase: str) -> int:
    return 100 if phase == "global" else 200


RULES: dict[str, Rule] = {
    "one generator for the recording": lambda *_: ((), 0),
    "a generator for each generation, from the same seed": lambda g, *_: (g, 0),
    "a generator for each generation, from the seed plus its number": lambda g, *_: (g, g),
    "a generator for each phase of each generation, from the same seed": (
        lambda g, p, _c: ((g, p), 0)
    ),
    "a generator for each phase of each generation, from the seed plus 100 for the first phase "
    "and 200 for the second": lambda g, p, _c: ((g, p), hundreds(p)),
    "a generator for each phase of each generation, from the seed plus the generation's number, "
    "plus 100 for the first phase and 200 for the second": (
        lambda g, p, _c: ((g, p), g + hundreds(p))
    ),
    "a generator for each phase of the recording, from the same seed": lambda _g, p, _c: (p, 0),
    "a generator made anew for every call, from the same seed": lambda g, _p, c: ((g, c), 0),
    "a generator made anew for every call, from the seed plus the call's number": (
        lambda g, _p, c: ((g, c), c)
    ),
}
"""Of each scope: which generator a call draws from, and what is added to its seed."""


@pytest.mark.parametrize("words", RULES)
@pytest.mark.parametrize("make", [torch_race, choice])
def test_when_generators_are_made_is_named(words: str, make: Callable[[int], Draw]) -> None:
    made: dict[object, Draw] = {}

    def draw(generation: int, phase: str, call: int, weights: Weights) -> int:
        key, offset = RULES[words](generation, phase, call)
        return made.setdefault(key, make(17 + offset))(weights)

    found = identify(recorded(draw, generations=3, phases=(6, 30)), seeds=FEW)
    assert (found.scope, found.seed, found.calls) == (words, 17, 108)


def test_independent_draws_are_nobody_s() -> None:
    rng = np.random.default_rng(2**40)
    found = one(lambda weights: int(rng.choice(len(weights), p=exact(weights))))
    assert not found.known
    assert found.seed is None
    assert "No known stream" in found.sentence()


def test_a_seed_that_the_recording_names_is_tried() -> None:
    draw = choice(3_000_000_019)
    calls = recorded(lambda _g, _p, _c, weights: draw(weights), seed=3_000_000_019)
    found = identify(calls, seeds=FEW)
    assert found.seed == 3_000_000_019


@pytest.mark.parametrize("more", [1, 3])
def test_a_foreign_draw_is_found_where_it_is(more: int) -> None:
    state = np.random.RandomState(9)

    def draw(_generation: int, _phase: str, call: int, weights: Weights) -> int:
        if call == 60:
            state.random_sample(more)
        return int(state.choice(len(weights), p=exact(weights)))

    found = identify(recorded(draw, phases=(100,)), seeds=FEW)
    assert found.seed == 9
    assert not found.known
    assert found.parted is not None
    assert found.parted[1] in {60, 61}, "one token may be the same by chance"
    assert found.skipped == more
    assert "somebody else took" in found.sentence()


def test_an_extra_race_is_found_where_it_is() -> None:
    generator = torch.Generator().manual_seed(11)

    def draw(_generation: int, _phase: str, call: int, weights: Weights) -> int:
        if call == 50:
            torch.multinomial(torch.from_numpy(weights), 1, generator=generator)
        return int(torch.multinomial(torch.from_numpy(weights), 1, generator=generator))

    found = identify(recorded(draw, phases=(90,)), seeds=FEW)
    assert (found.seed, found.skipped) == (11, 1)
    assert found.parted is not None


def test_tokens_of_few_bits_tell_nothing() -> None:
    draw = choice(4)
    calls = recorded(lambda _g, _p, _c, weights: draw(weights), phases=(4,))
    found = identify(calls, seeds=FEW)
    assert found.seed is None
    assert "cannot tell their stream" in found.sentence()


def test_an_empty_recording_tells_nothing() -> None:
    assert identify([], seeds=FEW).seed is None


def test_a_token_outside_its_law_ends_the_search() -> None:
    draw = choice(4)
    calls = list(recorded(lambda _g, _p, _c, weights: draw(weights), phases=(60,)))
    impossible = int(np.flatnonzero(calls[50].weights == 0)[0])
    calls[50] = Drawn(0, "global", 50, calls[50].weights, impossible)
    found = identify(calls, seeds=FEW)
    assert found.parted == (0, 50)
    assert found.seed == 4
