"""One recording alone: right samplers hold, and each fault is named at the declared power."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import optimize, stats

from sampler_parity.engines.places import (
    SHARING,
    TESTS,
    Audit,
    Drawn,
    audit,
    smallest_departure,
)
from sampler_parity.statistics.constant import Raced, Walked
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.tilts import Tilts, table

Weights = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
SEMANTIC = 8193


def truncated(logits: Floats, top_p: float, top_k: int, temperature: float = 1.0) -> Weights:
    """Give the law of ``sample_logits`` in f64, written anew: softmax, top-k, top-p."""
    p = np.exp((logits - logits.max()) / temperature)
    p /= p.sum()
    if 0 < top_k < len(p):
        p[p < np.partition(p, -top_k)[-top_k]] = 0
    order = np.argsort(-p, kind="stable")
    before = np.cumsum(p[order]) - p[order]
    p[order[before > top_p]] = 0
    found: Weights = (p / p.sum()).astype(np.float32)
    return found


def semantic(rng: np.random.Generator, base: Floats, temperature: float = 1.0) -> Weights:
    """Give the law of a call at 1.0 / 0.95 / 80: logits of one voice, moved by the context."""
    return truncated(base + rng.normal(0, 2, len(base)), 0.95, 80, temperature)


def walk(weights: Weights, u: float) -> int:
    sums = np.cumsum(weights.astype(np.float64))
    return int(np.searchsorted(sums / sums[-1], u, side="right"))


def descending(weights: Weights, u: float) -> int:
    order = np.argsort(-weights, kind="stable")
    return int(order[walk(weights[order], u)])


def race(weights: Weights, q: Floats) -> int:
    return int(np.argmax(weights / q[: len(weights)]))


def recorded(laws: Iterable[Weights], draw: Callable[[Weights], int]) -> Iterator[Drawn]:
    for call, weights in enumerate(laws):
        yield Drawn(0, "semantic", call, weights, draw(weights))


def voice(seed: int, calls: int, vocab: int = SEMANTIC) -> list[Weights]:
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 3, vocab)
    return [semantic(rng, base) for _ in range(calls)]


def mixed(seed: int, calls: int) -> list[Weights]:
    """Make laws of many kinds: peaked, flat, tied, of one token, of the whole vocabulary."""
    rng = np.random.default_rng(seed)
    kinds = [(50, 2.0, 1.0, 0), (400, 3.0, 0.9, 40), (2000, 3.5, 0.95, 20), (300, 1.0, 1.0, 0),
             (500, 8.0, 0.95, 80), (20, 0.0, 1.0, 5), (30, 2.0, 0.95, 1)]  # fmt: skip
    found = []
    for call in range(calls):
        vocab, spread, top_p, top_k = kinds[call % len(kinds)]
        found.append(truncated(rng.normal(0, spread, vocab), top_p, top_k))
    return found


def named(found: Audit) -> set[str]:
    return {test.name for test in found.rejections}


def p_of(found: Audit, name: str) -> float:
    (p,) = [test.p for test in found.tests if test.name == name]
    assert p is not None
    return p


@pytest.mark.proof
def test_right_samplers_hold_and_their_p_values_are_uniform() -> None:
    rng = np.random.default_rng(20)
    generator = torch.Generator().manual_seed(20)
    every = []
    for recording in range(24):
        laws = mixed(recording, 84)
        if recording % 2:
            calls = recorded(laws, lambda weights: walk(weights, rng.random()))
        else:
            calls = recorded(
                laws,
                lambda weights: int(
                    torch.multinomial(torch.from_numpy(weights), 1, generator=generator)
                ),
            )
        found = audit(calls, seed=recording)
        assert found.status == "holds", found.sentence()
        every.append([test.p for test in found.tests])
        names = [test.name for test in found.tests]
    p = np.array(every, float)
    for column, name in enumerate(names):
        exact = name.startswith(("places", "differences", "sums", "temperature"))
        side = "two-sided" if exact else "less"
        # "less" asks only that small p-values are not too many: the others are bounds.
        kind = {"two-sided": "two-sided", "less": "greater"}[side]
        assert stats.kstest(p[:, column], "uniform", alternative=kind).pvalue > 1e-4, name


def test_a_token_outside_its_law_is_told_with_its_call() -> None:
    laws = voice(1, 20)
    rng = np.random.default_rng(1)
    calls = list(recorded(laws, lambda weights: walk(weights, rng.random())))
    impossible = int(np.flatnonzero(laws[7] == 0)[3])
    calls[7] = Drawn(0, "semantic", 7, laws[7], impossible)
    found = audit(calls)
    assert found.status == "rejected"
    assert found.strays == 1
    assert (found.first_strays[0].call, found.first_strays[0].token) == (7, impossible)
    assert f"token {impossible} at call 7 of generation 0 (semantic)" in found.sentence()
    assert audit([Drawn(0, "a", 0, laws[0], SEMANTIC)]).strays == 1
    assert audit([Drawn(0, "a", 0, laws[0], -1)]).strays == 1


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda weights: walk(weights, 0.3712), "walk in token order"),
        (lambda weights: descending(weights, 0.3712), "walk by descending probability"),
    ],
    ids=["token", "descending"],
)
def test_a_constant_uniform_is_named_from_64_calls(
    draw: Callable[[Weights], int], words: str
) -> None:
    found = audit(recorded(voice(2, 64), draw))
    assert found.status == "rejected"
    assert SHARING in named(found)
    assert found.shared is not None
    assert (found.shared.kind, found.shared.draw) == ("constant", words)
    assert found.shared.scope == "of the recording"
    assert found.shared.uniform is not None
    low, high = found.shared.uniform
    assert low <= 0.3712 <= high
    assert high - low < 0.01
    assert "one uniform for ever: a generator is made anew for every call" in found.sentence()
    after = found.constant_after[words != "walk in token order"]
    assert after is not None
    assert after <= 64, "this was declared"


def test_one_race_for_ever_is_named() -> None:
    generator = torch.Generator()

    def fresh(weights: Weights) -> int:
        return int(
            torch.multinomial(torch.from_numpy(weights), 1, generator=generator.manual_seed(42))
        )

    found = audit(recorded(voice(3, 96), fresh))
    assert found.shared is not None
    assert (found.shared.kind, found.shared.draw) == ("constant", "race")
    assert SHARING in named(found)
    assert "one vector of exponentials for ever" in found.sentence()
    assert found.constant_after[2] is not None
    assert found.constant_after[2] <= 96, "this was declared"


def generations(
    draw: Callable[[int, str, int, Weights], int], seeds: Sequence[int | None] = (None, None, None)
) -> Iterator[Drawn]:
    rng = np.random.default_rng(4)
    base = rng.normal(0, 3, 600)
    for generation, seed in enumerate(seeds):
        call = 0
        for phase, length in (("global", 12), ("semantic", 40)):
            for _ in range(length):
                weights = truncated(base + rng.normal(0, 2, 600), 0.95, 40)
                token = draw(generation, phase, call, weights)
                yield Drawn(generation, phase, call, weights, token, seed=seed)
                call += 1


@pytest.mark.parametrize(
    ("key", "kind", "scope"),
    [
        (lambda _g, p, _c: p, "constant", "of a phase"),
        (lambda g, _p, _c: g, "constant", "of a generation"),
        (lambda _g, _p, c: c, "restart", "every generation begins as the first one did"),
    ],
    ids=["phase", "generation", "restart"],
)
def test_which_calls_share_a_uniform_is_told(
    key: Callable[[int, str, int], object], kind: str, scope: str
) -> None:
    rng = np.random.default_rng(5)
    uniforms: dict[object, float] = {}

    def draw(generation: int, phase: str, call: int, weights: Weights) -> int:
        return walk(weights, uniforms.setdefault(key(generation, phase, call), rng.random()))

    found = audit(generations(draw))
    assert found.shared is not None
    assert (found.shared.kind, found.shared.scope) == (kind, scope)
    assert found.status == "rejected"


@pytest.mark.proof
def test_one_seed_for_all_generations_is_no_fault_where_the_recording_says_so() -> None:
    def draw(generation: int, _phase: str, call: int, weights: Weights) -> int:
        if call == 0:
            made[generation] = np.random.default_rng(77)
        return walk(weights, made[generation].random())

    made: dict[int, np.random.Generator] = {}
    told = audit(generations(draw, (77, 77, 77)))
    assert told.shared is not None
    assert told.shared.told
    assert told.status == "holds"
    assert told.judged == 52, "the other generations are no evidence of their own"
    assert audit(generations(draw)).status == "rejected"


@pytest.mark.proof
def test_temperature_is_caught_at_the_declared_power() -> None:
    laws = voice(6, 400, 1000)
    rng = np.random.default_rng(6)
    planned = audit(recorded(laws, lambda weights: walk(weights, rng.random())))
    error = planned.smallest_temperature
    assert error is not None
    assert 0.1 < error < 0.6
    for factor in (1 + error, 1 / (1 + error)):
        caught = 0
        for seed in range(8):
            own = np.random.default_rng(seed)

            def draw(weights: Weights, own: np.random.Generator = own, f: float = factor) -> int:
                return walk(weights.astype(np.float64) ** (1 / f), own.random())  # type: ignore[arg-type]

            found = audit(recorded(laws, draw), seed=seed)
            caught += "temperature" in named(found)
        assert caught >= 6, "0.99 was declared: fewer of 8 has a probability of 5e-5"


def rivalled(
    laws: Sequence[tuple[Weights, Weights, Weights]], which: int, rng: np.random.Generator
) -> Iterator[Drawn]:
    for call, three in enumerate(laws):
        token = walk(three[which], rng.random())
        yield Drawn(0, "semantic", call, three[0], token, rivals=three[1:])


RIVALS = ("temperature 5 % too high", "temperature 5 % too low")


@pytest.fixture(scope="module")
def tempered() -> list[tuple[Weights, Weights, Weights]]:
    """A generation of 2,048 calls at 1.0 / 0.95 / 80, with the laws at a temperature 5 % off."""
    rng = np.random.default_rng(7)
    base = rng.normal(0, 3.5, SEMANTIC)
    found = []
    for _ in range(2048):
        logits = base + rng.normal(0, 2.5, SEMANTIC)
        one, high, low = (truncated(logits, 0.95, 80, t) for t in (1.0, 1.05, 1 / 1.05))
        found.append((one, high, low))
    return found


@pytest.mark.proof
def test_a_right_generation_holds_against_its_rivals(
    tempered: list[tuple[Weights, Weights, Weights]],
) -> None:
    found = audit(rivalled(tempered, 0, np.random.default_rng(1)), rivals=RIVALS)
    assert found.status == "holds"
    assert len(found.tests) == TESTS + 2
    assert all("this very mistake with a probability of" in t.catches for t in found.tests[-2:])


@pytest.mark.proof
@pytest.mark.parametrize("which", [1, 2], ids=RIVALS)
def test_a_temperature_five_percent_off_is_caught_from_one_generation(
    tempered: list[tuple[Weights, Weights, Weights]], which: int
) -> None:
    found = audit(rivalled(tempered, which, np.random.default_rng(2)), rivals=RIVALS)
    declared = float(found.tests[TESTS + which - 1].catches.split()[-1])
    assert declared > 0.9
    assert found.status == "rejected"
    assert found.strays > 0 if which == 1 else RIVALS[1] in named(found)


def falls_off(weights: Weights, u: float) -> int:
    """The mistake: 4 % of the mass is lost, and a walk that falls off takes the last token."""
    kept = np.flatnonzero(weights)
    place = int(np.searchsorted(np.cumsum(weights[kept].astype(np.float64)) * 0.96, u, "right"))
    return int(kept[min(place, len(kept) - 1)])


@pytest.mark.proof
def test_a_walk_that_falls_off_its_end_is_caught() -> None:
    rng = np.random.default_rng(8)
    found = audit(recorded(voice(8, 800, 1000), lambda w: falls_off(w, rng.random())))
    assert "ends in token order" in named(found)


@pytest.mark.proof
def test_a_tail_that_is_cut_off_is_caught() -> None:
    rng = np.random.default_rng(9)
    found = audit(recorded(voice(9, 800, 1000), lambda w: descending(w, 0.95 * rng.random())))
    assert "ends by descending probability" in named(found)


@pytest.mark.proof
def test_uniforms_that_depend_on_the_last_one_are_caught() -> None:
    rng = np.random.default_rng(10)
    laws = voice(10, 400, 1000)
    state = {"u": 0.5}

    def sticky(weights: Weights) -> int:
        state["u"] = (state["u"] + 0.2 * rng.random()) % 1
        return walk(weights, state["u"])

    assert "differences of places in token order" in named(audit(recorded(laws, sticky)))

    def mirrored(weights: Weights) -> int:
        state["u"] = 1 - state["u"] if rng.random() < 0.7 else rng.random()
        return walk(weights, state["u"])

    assert "sums of places in token order" in named(audit(recorded(laws, mirrored)))


@pytest.mark.proof
def test_a_token_that_is_never_drawn_is_named() -> None:
    rng = np.random.default_rng(11)
    laws = []
    for _ in range(600):
        weights = truncated(rng.normal(0, 1, 100), 1.0, 0) * np.float32(0.95)
        weights[13] = 0.05
        laws.append((weights / weights.sum()).astype(np.float32))

    def masked(weights: Weights) -> int:
        without = weights.copy()
        without[13] = 0
        return walk(without, rng.random())

    found = audit(recorded(laws, masked))
    (test,) = [each for each in found.rejections if each.name == "a token never drawn"]
    assert "token 13 is missing" in test.found


def test_nothing_with_a_choice_is_not_a_pass() -> None:
    certain = np.zeros(10, np.float32)
    certain[3] = 1
    found = audit([Drawn(0, "a", call, certain, 3) for call in range(50)])
    assert found.status == "unjudged"
    assert "say nothing" in found.sentence()
    assert audit([]).status == "unjudged"


@pytest.mark.parametrize(
    "weights",
    [
        np.zeros(4, np.float32),
        np.array([0.5, np.nan], np.float32),
        np.array([1.5, -0.5], np.float32),
        np.array([1, np.inf], np.float32),
        np.ones((2, 2), np.float32),
        np.empty(0, np.float32),
    ],
    ids=["zero", "nan", "negative", "inf", "2-D", "empty"],
)
def test_weights_that_are_no_distribution_are_refused(weights: Weights) -> None:
    with pytest.raises(StatisticsError, match="no distribution"):
        audit([Drawn(0, "a", 0, weights, 0)])


def test_another_number_of_rivals_than_named_is_refused() -> None:
    with pytest.raises(StatisticsError, match="0 rivals, and 1 were named"):
        audit([Drawn(0, "a", 0, np.ones(2, np.float32), 0)], rivals=("one",))


def test_an_audit_is_json_and_the_same_for_the_same_seed() -> None:
    def run(seed: int) -> Audit:
        rng = np.random.default_rng(12)
        return audit(recorded(voice(12, 30, 500), lambda w: walk(w, rng.random())), seed=seed)

    one = run(1)
    assert msgspec.json.decode(msgspec.json.encode(one), type=Audit) == one
    assert run(1) == one
    assert run(2) != one
    assert one.seed == 1


def test_the_declared_departure_is_caught() -> None:
    n, level = 500, 1e-7
    shift = smallest_departure(n, level)
    rng = np.random.default_rng(13)
    caught = 0
    for _ in range(200):
        u = rng.random(n)
        # A mass of `shift` is moved from the lower part to 1: the distance is `shift`.
        u = np.where(u < shift, 1 - 1e-9, u)
        caught += stats.kstest(u, "uniform", method="exact").pvalue <= level
    assert caught >= 195


def exact_tail(n: int, p: Floats, total: float) -> float:
    """Give P(sum of log p >= total) of n calls of three tokens, by summing all counts."""
    logs = np.log(p)
    found = 0.0
    for a in range(n + 1):
        b = np.arange(n - a + 1)
        sums = a * logs[0] + b * logs[1] + (n - a - b) * logs[2]
        law = stats.multinomial.pmf(np.stack([np.full_like(b, a), b, n - a - b], 1), n, p)
        found += float(law[sums >= total - 1e-9].sum())
    return found


@pytest.mark.parametrize("z", [-4.0, -2.0, 1.0, 3.0, 5.0])
def test_tails_are_within_the_accuracy_that_the_budget_allows_for(z: float) -> None:
    p = np.array([0.55, 0.3, 0.15])
    n = 200
    tilts = Tilts(n * table(np.log(p)))
    total = tilts.mean + z * np.sqrt(tilts.information)
    exact = exact_tail(n, p, total)
    assert not tilts.stepped
    assert 0.5 < tilts.tail(total, 1) / exact < 2
    assert tilts.tail(total, 1, bound=True) >= exact


def test_few_calls_have_a_bound_for_a_tail() -> None:
    p = np.array([0.999, 0.0006, 0.0004])
    tilts = Tilts(100 * table(np.log(p)))
    assert tilts.stepped
    for rare in range(1, 4):
        total = (100 - rare) * np.log(p[0]) + rare * np.log(p[1])
        exact = 1 - exact_tail(100, p, total + 1e-6)
        assert tilts.p_value(total) >= min(exact, 1.0) * 0.999


@pytest.mark.proof
def test_what_is_possible_in_a_race_is_what_linear_programming_finds() -> None:
    rng = np.random.default_rng(14)
    vocab = 6
    checked = 0
    for _ in range(12):
        followed = Raced()
        rows: list[Floats] = []
        bounds: list[float] = []
        for _ in range(7):
            kept = np.flatnonzero(rng.random(vocab) < 0.7)
            if len(kept) < 2:
                continue
            p = rng.dirichlet(np.full(len(kept), 0.7))
            logs = np.log(p)
            wins = [_constraints(kept, logs, place, vocab) for place in range(len(kept))]
            fits = []
            for own, own_bounds in wins:
                result = optimize.linprog(
                    np.zeros(vocab), A_ub=np.array(rows + own), b_ub=np.array(bounds + own_bounds),
                    bounds=[(None, None)] * vocab,
                )  # fmt: skip
                fits.append(result.status == 0)
            followed._widen(vocab)
            assert followed.possible(kept, logs).tolist() == fits
            checked += len(fits)
            place = int(rng.choice(np.flatnonzero(fits)))
            followed.bits = 0.0  # nothing is given up for want of evidence
            assert followed.step(kept, logs, place)
            rows += wins[place][0]
            bounds += wins[place][1]
    assert checked > 200


def _constraints(
    kept: npt.NDArray[np.int64], logs: Floats, place: int, vocab: int
) -> tuple[list[Floats], list[float]]:
    rows, bounds = [], []
    for other in range(len(kept)):
        if other != place:
            row = np.zeros(vocab)
            row[kept[place]], row[kept[other]] = 1, -1
            rows.append(row)
            bounds.append(float(logs[place] - logs[other]))
    return rows, bounds


@pytest.mark.proof
def test_evidence_for_one_uniform_is_a_martingale() -> None:
    """Of independent draws a share of at most 1 / x ever has evidence of x."""
    rng = np.random.default_rng(15)
    laws = [rng.dirichlet(np.full(5, 0.5)) for _ in range(12)]
    most: dict[str, list[float]] = {"walk": [], "race": []}
    for _ in range(600):
        walked, raced = Walked(), Raced()
        alive = {"walk": True, "race": True}
        peak = {"walk": 0.0, "race": 0.0}
        for p in laws:
            place = int(rng.choice(5, p=p))
            if alive["walk"]:
                alive["walk"] = walked.step(np.append(0, np.cumsum(p)), np.array([place]))
                peak["walk"] = max(peak["walk"], float(walked.bits[0]) * alive["walk"])
            if alive["race"]:
                alive["race"] = raced.step(np.arange(5), np.log(p), place)
                peak["race"] = max(peak["race"], raced.bits * alive["race"])
        for name, highest in peak.items():
            most[name].append(highest)
    for name, every in most.items():
        for threshold in (1, 2, 3, 4):
            share = float(np.mean(np.array(every) >= threshold))
            assert share <= 2.0**-threshold + 3 * np.sqrt(2.0**-threshold / 600), name
