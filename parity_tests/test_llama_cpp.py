"""The reference ``llama_cpp`` is llama-cpp-python's chain, bit for bit.

The package is compiled, which takes minutes. What it gave is a fixture, which the reference is held
against everywhere; where the package is installed, it is asked as well.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice

import numpy as np
import numpy.typing as npt
import pytest
from msgspec import structs

from benchmarks.reference_evidence import Evidence, ports
from sampler_parity.cases.families import FAMILIES
from sampler_parity.cases.plan import case_of
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.reference import reference_stage
from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About, View
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.pipeline import values_of
from sampler_parity.model.verdict import HARMLESS
from sampler_parity.pipelines.candidates import Candidates, chain
from sampler_parity.pipelines.draws import surely_beside
from sampler_parity.pipelines.libstdcxx import partial_sort, sort
from sampler_parity.pipelines.llama_cpp import MASKS, LlamaCpp
from sampler_parity.pipelines.mt19937 import MT19937
from sampler_parity.record.llama_package import (
    CUTS,
    FOUND_BY,
    ChainSeen,
    PackageChain,
    ask,
    cases,
    recorded_chains,
)

HERE = capability_here()
Array = npt.NDArray[np.float32]

live = pytest.mark.skipif(
    find_spec(FOUND_BY) is None,
    reason="llama-cpp-python, which is compiled, is not installed: "
    "pip install 'sampler-parity[bench-llama]'; what it gave is a fixture, which is held",
)


def finite(tokens: npt.NDArray[np.int32], scores: Array) -> list[int]:
    """The order of those that are -inf is open where there are others."""
    left = tokens[scores[tokens] > -np.inf]
    return [int(token) for token in (left if len(left) else tokens)]


def held(
    asked: Iterable[tuple[Case, list[npt.NDArray[np.int64]], list[ChainSeen]]],
) -> Counter[str]:
    """Hold the reference against what the package gave; count what was compared, and how far."""
    counts: Counter[str] = Counter()
    for case, tokens, rows in asked:
        outcome, p = PythonRef().run(case, HERE), case.parameters
        assert isinstance(p, LlamaCpp)
        assert outcome.failure is None, case.id
        shown = {name: np.atleast_2d(values) for name, values in outcome.stages.items()}
        for row, seen in enumerate(rows):
            scores = shown["penalized"][row]
            assert scores.tobytes() == seen.penalized.tobytes(), case.id
            if p.temperature > 0:
                held_cuts(case, row, seen)
                kept = np.logical_and.reduce([shown[mask][row] for mask in MASKS])
                last = seen.left[-1]
                there = last[scores[last] > -np.inf]
                assert np.flatnonzero(kept).tolist() == sorted(there.tolist()), case.id
                scaled = shown["scaled_logits"][row][last]
                assert scaled.tobytes() == seen.scores.tobytes(), case.id
                held_probabilities(case, shown["renormalized"][row][last], seen, counts)
            counts["rows"] += 1
        for ours, theirs in zip(outcome.tokens, tokens, strict=True):
            assert ours.tolist() == theirs.tolist(), case.id
            counts["tokens"] += len(ours)
    return counts


def held_cuts(case: Case, row: int, seen: ChainSeen) -> None:
    p = case.parameters
    assert isinstance(p, LlamaCpp)
    left = chain(seen.penalized, p.cuts)[1:]
    for name, ours, theirs in zip(CUTS, left, seen.left, strict=True):
        assert len(ours.tokens) == len(theirs), (case.id, row, name)
        orders = [finite(tokens, seen.penalized) for tokens in (ours.tokens, theirs)]
        assert orders[0] == orders[1], (case.id, row, name)


def held_probabilities(case: Case, ours: Array, seen: ChainSeen, counts: Counter[str]) -> None:
    """Of some thousands of exponentials, glibc rounds one otherwise in its last bit."""
    if not np.isfinite(seen.probs).all():
        assert not np.isfinite(ours).any(), case.id
        return
    counts["probabilities"] += len(ours)
    counts["other last bits"] += int((ours != seen.probs).sum())
    np.testing.assert_array_max_ulp(ours, seen.probs, maxulp=2)


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.proof), 10])
def test_what_the_package_gave(every: int) -> None:
    """Each candidate after each step, in its order; its logit; its probability; every token."""
    found = held(islice(recorded_chains(), 0, None, every))
    assert found["rows"] > 2500 / every / 2
    assert found["tokens"] > 7000 / every / 2
    assert found["probabilities"] > 15_000 / every / 2
    assert found["other last bits"] < found["probabilities"] / 1000


def outcome_of(case: Case, tokens: list[npt.NDArray[np.int64]], rows: list[ChainSeen]) -> Outcome:
    """Give what the package gave as a candidate's outcome, with every stage."""
    p, stages = case.parameters, defaultdict(list)
    assert isinstance(p, LlamaCpp)
    for seen in rows:
        stages["penalized"].append(seen.penalized)
        for name, left in zip(MASKS, seen.left, strict=True):
            mask = np.zeros(len(seen.penalized), bool)
            mask[left] = seen.penalized[left] > -np.inf
            stages[name].append(mask)
        scaled, probs = seen.penalized / np.float32(p.divisor), np.zeros_like(seen.penalized)
        scaled[seen.left[-1]], probs[seen.left[-1]] = seen.scores, seen.probs
        stages["scaled_logits"].append(scaled)
        stages["renormalized"].append(probs)
    shape = case.logits.shape
    shown = {name: np.stack(values).reshape(shape) for name, values in stages.items()}
    return Outcome(stages=shown, tokens=tokens, input=case.logits.copy())


VIEWS: tuple[View, ...] = ("trace", "probs", "tokens")


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.proof), 20])
def test_the_package_is_judged_to_be_right(every: int) -> None:
    """In each view: what it rounds otherwise is called so, and nothing is worse."""
    verdicts: Counter[str] = Counter()
    for case, tokens, rows in islice(recorded_chains(), 0, None, every):
        if case.parameters.temperature == 0:  # type: ignore[attr-defined]
            continue  # Its greedy sampler makes no probabilities.
        expected, candidate = PythonRef().run(case, HERE), outcome_of(case, tokens, rows)
        for view in VIEWS:
            about = About(name="package", samplers=("llama_cpp",), view=view, effects=())
            comparison = compare(case, expected, candidate, about)
            found = judge(case, expected, candidate, comparison, about)
            assert found is None or found.verdict in HARMLESS, (case.id, view, found)
            verdicts[found.verdict.value if found else "exact"] += 1
    assert verdicts["exact"] > 700 / every
    assert every > 1 or verdicts["rounding"] > 5


@pytest.mark.parametrize("name", ["odd-parameters-11@2", "denormal-1@1", "many-calls-11@3"])
def test_no_correct_port_is_called_wrong(name: str) -> None:
    """The cases were found by ``reference_evidence``.

    Of k tokens all but two vanish at a temperature near 0; tokens differ by a denormal; and typical
    sampling leaves open which token is the largest, of which min-p takes a share.
    """
    case = replace(case_of(f"llama_cpp/{name}"), advance=0)
    expected, evidence = PythonRef().run(case, HERE), Evidence()
    for words, changed in ports(LlamaCpp):
        other = replace(case, parameters=changed(**values_of(case.parameters)))
        evidence.add(case, expected, words, PythonRef().run(other, HERE))
    assert evidence.wrong == 0, evidence.words
    assert evidence.done > 10


def test_the_recording_has_what_is_hard() -> None:
    """Ties, an entropy that is no number, rows that are searched twice, and each kind of chain."""
    counts: Counter[str] = Counter()
    for case, _, rows in recorded_chains():
        p = case.parameters
        assert isinstance(p, LlamaCpp)
        counts["penalised"] += not p.unpenalised
        counts["greedy"] += p.temperature == 0
        counts["without cuts"] += p.temperature < 0
        for seen in rows if p.temperature > 0 else []:
            top_k, typical, top_p, _ = seen.left
            counts["ties"] += len(np.unique(seen.scores)) < len(seen.scores)
            counts["typical"] += len(typical) < len(top_k)
            masked = np.isneginf(seen.penalized[top_k]).any()
            counts["no entropy"] += p.typical_p < 1 and bool(masked)
            counts["searched twice"] += len(typical) > 1024 and p.top_p < 1 and len(top_p) > 256
            counts["in buckets"] += len(top_k) > 128 and p.top_k > 0
    assert counts["ties"] > 100
    assert all(count > 3 for count in counts.values()), counts
    assert len(counts) == 8


@pytest.mark.parametrize(
    "changes",
    [{"typical_p": 0.3}, {"top_p": 0.4}, {"min_p": 0.4}, {"top_k": 3}, {"temperature": 2}],
)
def test_another_chain_is_seen(changes: dict[str, float]) -> None:
    """Each parameter decides: with another one, the recording is not what the reference gives."""
    other = (
        (replace(case, parameters=structs.replace(case.parameters, **changes)), tokens, rows)
        for case, tokens, rows in recorded_chains()
        if case.parameters.temperature > 0  # type: ignore[attr-defined]
    )
    with pytest.raises(AssertionError, match="llama_cpp/"):
        held(other)


ORDERS = {
    "few values": ("c527f772dcf2f0f4", "8b9e943af94fc276"),
    "equal": ("6fc14c0ed4ccd88f", "999cabb9d432b3b8"),
    "ascending": ("ae845dec7766ab54", "305bb6818b609677"),
    "descending": ("9043edd10a21d3a3", "aa7a910ba54b6a66"),
    "against the median": ("6c7377799acc9b47", "5cbcbcb4bfc3047d"),
}
"""Digests of what ``std::sort``, and ``std::partial_sort`` of 40, made of keys: g++ 12.2, -O2."""


def keys(name: str) -> npt.NDArray[np.float64]:
    against = [0] * 400
    for place in range(1, 201):
        if place % 2:
            against[place - 1 : place + 1] = [place, 200 + place]
        against[199 + place] = 2 * place
    made = {
        "few values": [place * 7919 % 5 for place in range(300)],
        "equal": [1] * 100,
        "ascending": [place // 3 for place in range(300)],
        "descending": [-(place // 3) for place in range(300)],
        "against the median": [key // 2 for key in against],
    }
    return np.array(made[name], np.float64)


def digest(order: npt.NDArray[np.int64]) -> str:
    return hashlib.sha256(order.astype("<i4").tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("name", ORDERS)
def test_equal_keys_are_left_as_the_library_leaves_them(name: str) -> None:
    given = keys(name)
    assert (digest(sort(given)), digest(partial_sort(given, 40))) == ORDERS[name]
    assert given.tobytes() == keys(name).tobytes()
    for order in (sort(given), partial_sort(given, len(given))):
        assert (np.diff(given[order]) >= 0).all()
        assert sorted(order.tolist()) == list(range(len(given)))


def test_a_short_row_is_sorted_so() -> None:
    """Beyond 16, equal ones are exchanged; the numbers are g++'s."""
    few = np.array([place * 7919 % 5 for place in range(20)], np.float64)
    expected = [0, 15, 10, 5, 19, 14, 9, 4, 8, 13, 3, 18, 7, 12, 2, 17, 6, 11, 16, 1]
    assert sort(few).tolist() == expected
    assert partial_sort(few, 6).tolist() == [0, 10, 15, 5, 4, 14]
    assert sort(few[:16]).tolist() == np.argsort(few[:16], kind="stable").tolist()


def test_different_keys_need_no_replay() -> None:
    rng = np.random.default_rng(3)
    some = rng.permutation(500).astype(np.float64)
    assert sort(some).tolist() == sort(some, replayed=True).tolist()
    assert partial_sort(some, 90).tolist() == partial_sort(some, 90, replayed=True).tolist()


def test_the_generator_is_the_standard_s() -> None:
    """The 10,000th output of ``std::mt19937()``, whose seed is 5489, is in the C++ standard."""
    generator = MT19937.start(5489, 9999, b"")
    assert int.from_bytes(generator.words.bytes(4), "little") == 4123659995
    again = MT19937.start(0, 0, MT19937.state(generator))
    assert again.random() == generator.random()
    assert MT19937.start(7, 2, b"").random() != MT19937.start(7, 0, b"").random()


def test_a_uniform_is_two_outputs_the_lower_first() -> None:
    words = MT19937.start(7, 0, b"").words
    low, high = (int.from_bytes(words.bytes(4), "little") for _ in range(2))
    assert MT19937.start(7, 0, b"").random() == (low + (high << 32)) / 2**64


def asked(p: LlamaCpp, *logits: float, seed: int = 1, draws: int = 3) -> Case:
    row = np.array([logits], np.float32)
    return Case("one", "one", row, p, seed=seed, draws=draws, history=np.empty((1, 0), np.int64))


def test_at_zero_the_largest_is_taken_and_nothing_drawn() -> None:
    case = asked(LlamaCpp(temperature=0, top_k=1, min_p=0.9), 1, 3, 2, 3)
    outcome = PythonRef().run(case, HERE)
    assert [tokens.tolist() for tokens in outcome.tokens] == [[1]] * 3
    assert outcome.generator == MT19937.state(MT19937.start(1, 0, b""))
    assert outcome.stages["renormalized"].tolist() == [[0, 1, 0, 0]]


def test_below_zero_there_is_no_cut() -> None:
    case = asked(LlamaCpp(temperature=-1, top_k=1, min_p=0.9), 1, 3, 2, 3)
    outcome = PythonRef().run(case, HERE)
    assert (outcome.stages["renormalized"] > 0).all()
    assert outcome.stages["scaled_logits"].tolist() == case.logits.tolist()


def test_a_draw_of_one_candidate_takes_its_uniform() -> None:
    outcome = PythonRef().run(asked(LlamaCpp(top_k=1), 1, 3, 2, draws=2), HERE)
    assert outcome.generator == MT19937.state(MT19937.start(1, 4, b""))


def test_a_masked_candidate_makes_the_entropy_no_number() -> None:
    """Then typical sampling takes the likeliest, and not the nearest to the entropy."""
    likely = np.log(np.array([0.4, 0.3, 0.3], np.float32))
    cuts = LlamaCpp(typical_p=0.25).cuts
    assert chain(likely, cuts)[2].tokens.tolist() == [1]
    assert chain(np.append(likely, np.float32(-np.inf)), cuts)[2].tokens.tolist() == [0]


def test_what_is_no_number_is_refused() -> None:
    failure = PythonRef().run(asked(LlamaCpp(), 1, np.nan), HERE).failure
    assert failure is not None
    assert (failure.kind, failure.draw) == ("ValueError", 0)


def test_a_token_that_no_row_has_is_not_penalised() -> None:
    p = LlamaCpp(repeat_penalty=2, presence_penalty=1)
    case = replace(asked(p, 1, 3, 2), history=np.array([[7, -1, 1]]))
    assert reference_stage("penalized", case, {}).tolist() == [[1, 0.5, 2]]


def test_candidates_of_other_masks_keep_their_order() -> None:
    """Where a mask keeps what the chain does not, that comes where its logit puts it."""
    found = Candidates(np.array([1, 4, 2, 3], np.float32))
    found.top_k(2)
    assert found.tokens.tolist() == [1, 3]
    found.only(np.array([True, True, False, False]))
    assert found.tokens.tolist() == [1, 0]


def test_what_is_surely_beside_a_token() -> None:
    """Equal ones, and those that rounding may exchange, are on neither side."""
    least, most = np.array([0.0, 1.0, 1.0, 3.0]), np.array([0.5, 1.0, 2.0, 3.0])
    before, after = surely_beside((least, most), 1)
    assert (before.tolist(), after.tolist()) == ([1, 0, 0, 0], [0, 0, 0, 1])


@live
@pytest.mark.proof
@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in {"vast-rows", "long-streams"}])
def test_the_package_itself(family: str) -> None:
    def cases_of() -> Iterable[Case]:
        for index in range({"odd-logits": 40, "real-whole": 3, "long-rows": 6}.get(family, 12)):
            case = replace(case_of(f"llama_cpp/{family}-{index}@11"), advance=0, threads=1)
            if not np.isnan(case.logits).any():
                yield case

    assert held((case, *ask(case)) for case in cases_of())["tokens"] > 5


@live
@pytest.mark.proof
def test_the_recording_is_what_the_package_gives() -> None:
    for case, (known, tokens, rows) in zip(cases(), recorded_chains(), strict=True):
        assert case.id == known.id
        assert case.logits.tobytes() == known.logits.tobytes()
        found, seen = ask(case)
        assert [one.tolist() for one in found] == [one.tolist() for one in tokens]
        for ours, theirs in zip(seen, rows, strict=True):
            assert ours.penalized.tobytes() == theirs.penalized.tobytes()
            assert ours.probs.tobytes() == theirs.probs.tobytes()
            assert [a.tolist() for a in ours.left] == [a.tolist() for a in theirs.left]


@live
def test_the_order_is_the_package_s() -> None:
    usual = LlamaCpp(40, 1.1, 0.0, 0.0, 40, 0.9, 0.95, 0.05, 0.8)
    names = {0.8: ["penalties", *CUTS, "temp", "dist"], 0.0: ["penalties", "greedy"]}
    names[-1.0] = ["penalties", "dist"]
    for temperature, expected in names.items():
        p = structs.replace(usual, temperature=temperature)
        assert PackageChain(p, 10, 0).names == expected
