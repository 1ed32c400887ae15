"""Tokens tied at a cutoff: another order of them is no rejection, and more or fewer kept is."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import torch

import python_ref
from sampler_parity.build.installation import REPOSITORY
from sampler_parity.cases.draws import round_bf16
from sampler_parity.model.pipeline import Parameters
from sampler_parity.pipelines import SampleLogits
from sampler_parity.statistics import subjects, support
from sampler_parity.statistics.alternatives import declared, swaps
from sampler_parity.statistics.budget import Budget
from sampler_parity.statistics.cells import build, choose
from sampler_parity.statistics.controls import faults
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.gate import _Run
from sampler_parity.statistics.goodness import MIN_EXPECTED, goodness
from sampler_parity.statistics.kinds_of_test import (
    StatisticalTest,
    frequencies,
    rows,
    successive,
    versus,
)
from sampler_parity.statistics.kinds_of_test import uniformity as p_values
from sampler_parity.statistics.law import Law, Subject, Tie, normalised, subject
from sampler_parity.statistics.pilot import pilot
from sampler_parity.statistics.planning import DRAW_COUNTS, Plan, plan
from sampler_parity.statistics.result import StatisticsResult
from sampler_parity.statistics.sources import (
    ImplementationSource,
    Logits,
    PortSource,
    Seeds,
    Source,
    Tokens,
    port,
)
from sampler_parity.statistics.tallies import drawn
from sampler_parity.statistics.uniformity import ecdf

RULE = Budget(1e-6, 21).rule
Mask = npt.NDArray[np.bool_]
Keeps = Callable[[npt.NDArray[np.float64], SampleLogits, int], Mask]


@pytest.fixture(scope="module")
def sound() -> PortSource:
    return port()


@dataclass(frozen=True)
class Plain:
    """A sampler in f64 with a generator and a sort of its own: correct if ``keeps`` is.

    ``keeps`` gives the mask of (probabilities, parameters, seed); it is made anew for every
    ``calls`` draws.
    """

    keeps: Keeps
    name: str = "plain"
    fast: bool = True
    chunk: int = 250_000
    calls: int = 250_000

    def draws(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        assert isinstance(parameters, SampleLogits)
        scaled = logits.astype(np.float64) / parameters.temperature
        probs = np.exp(scaled - scaled.max())
        probs /= probs.sum()
        rng = np.random.default_rng(seed)
        parts = []
        for start in range(0, n, self.calls):
            kept = np.where(self.keeps(probs, parameters, seed + start), probs, 0)
            parts.append(rng.choice(len(probs), min(self.calls, n - start), p=kept / kept.sum()))
        return np.concatenate(parts)

    def batches(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        columns = [self.draws(row, parameters, seed + 7919 * i, n) for i, row in enumerate(logits)]
        return np.stack(columns, axis=1)


def nucleus(order: npt.NDArray[np.int64], probs: npt.NDArray[np.float64], p: SampleLogits) -> Mask:
    """The rule in f64: ties at top-k are all kept, those at top-p as ``order`` has them."""
    kept = np.ones(len(probs), bool)
    if p.top_k > 0:
        kept = probs >= np.sort(probs)[-p.top_k]
    if p.top_p > 0:
        masked = np.where(kept, probs, 0)[order]
        kept[order[1:]] &= (np.cumsum(masked) - masked)[1:] <= p.top_p
    return kept


def stable(probs: npt.NDArray[np.float64], p: SampleLogits, _seed: int) -> Mask:
    return nucleus(np.argsort(-probs, kind="stable"), probs, p)


def last_first(probs: npt.NDArray[np.float64], p: SampleLogits, _seed: int) -> Mask:
    return nucleus(np.lexsort((-np.arange(len(probs)), -probs)), probs, p)


def any_order(probs: npt.NDArray[np.float64], p: SampleLogits, seed: int) -> Mask:
    return nucleus(np.lexsort((np.random.default_rng(seed).random(len(probs)), -probs)), probs, p)


def all_ties(probs: npt.NDArray[np.float64], p: SampleLogits, seed: int) -> Mask:
    """Keeps what is not below the least probability kept: the mistake that looks like a tie."""
    found: Mask = probs >= probs[stable(probs, p, seed)].min()
    return found


def beyond(more: int) -> Keeps:
    """Ends the nucleus so many tokens too late, or too early."""

    def keeps(probs: npt.NDArray[np.float64], p: SampleLogits, seed: int) -> Mask:
        order = np.argsort(-probs, kind="stable")
        found = np.zeros(len(probs), bool)
        found[order[: int(stable(probs, p, seed).sum()) + more]] = True
        return found

    return keeps


def exactly_k(probs: npt.NDArray[np.float64], p: SampleLogits, seed: int) -> Mask:
    kept = stable(probs, p, seed)
    if p.top_k > 0:
        kept[np.argsort(-probs, kind="stable")[p.top_k :]] = False
    return kept


def judged(source: Source, tests: list[StatisticalTest], seed: int = 0) -> StatisticsResult:
    sizes = DRAW_COUNTS["quick"]
    some = Plan("quick", sizes, Budget(1e-6, 21), tuple(tests), ())
    run = _Run(source, Seeds.of_run(seed), some, lambda *_: None)
    for test in tests:
        run.carry_out(test)
    return run.conclude("quick", seed, [], 0.0)


def on_ties(sound: PortSource, draws: int = 40_000) -> list[StatisticalTest]:
    """Every kind of test on the row whose cutoff is among equal tokens."""
    tied = subjects.tied()
    return [
        frequencies(tied, draws, RULE),
        versus(tied, draws, RULE, sound),
        successive(tied, 1, draws, RULE),
        rows((tied, tied), draws, RULE),
        p_values(60, 4000, RULE, ("sample_logits",)),
    ]


def test_the_law_knows_what_is_tied() -> None:
    """By torch: 41 equal logits, of which its own sort keeps 7; by exact sums, any order does."""
    tied = subjects.tied()
    [tie] = tied.law.tied
    trace = python_ref.trace_sample_logits(torch.from_numpy(tied.logits)[None], 1.0, 0.85, 0)
    kept = trace.renormalized[0].numpy() > 0
    equal = np.flatnonzero(tied.logits == tied.logits[tie.tokens[0]])
    assert tie.tokens.tolist() == equal.tolist()
    assert tie.room == kept[equal].sum() == 7
    assert np.array_equal(tied.law.probabilities > 0, kept)
    assert np.array_equal(np.flatnonzero(tied.law.possible & ~kept), equal[~kept[equal]])
    probs = np.exp(tied.logits.astype(np.float64))
    larger = sum(map(Fraction, probs[tied.logits > tied.logits[equal[0]]].tolist()))
    total, one = sum(map(Fraction, probs.tolist())), Fraction(float(probs[equal[0]]))
    limit = Fraction(float(np.float32(0.85))) * total
    assert larger + 6 * one <= limit < larger + 7 * one, "the seventh crosses, whichever it is"


def test_tied_tokens_are_in_one_cell_of_every_partition() -> None:
    law = subjects.tied().law
    [tie] = law.tied
    atoms = law.atoms
    assert len(atoms) == len(law.ranked) - len(tie.tokens) + 1
    for head in (0, 4, 150):
        for bands in (2, 7, 24):
            cells = build(law, 10**7, head, bands)
            assert len(set(cells.cell_of[tie.tokens])) == 1
            assert cells.probabilities.sum() == pytest.approx(1, abs=1e-12)
    alone = build(law, 10**7, 1, 4)
    assert np.flatnonzero(alone.cell_of == 0).tolist() == tie.tokens.tolist()
    assert "41 tied tokens always together in a cell" in alone.scheme
    assert (
        choose(law, 200_000, declared(subjects.tied()), RULE).cells.probabilities.min() * (200_000)
        >= MIN_EXPECTED
    )
    with pytest.raises(StatisticsError, match="tied"):
        Law(np.array([1.0, 0.0]), np.array([True, False]), tied=(Tie(np.array([0, 1]), 1),))


@pytest.mark.proof
def test_nothing_else_is_in_doubt_where_frequencies_are_counted(sound: PortSource) -> None:
    """What only rounding decides is in no planned case: it would reject correct samplers."""
    for fast in (True, False):
        for profile in ("quick", "full"):
            for test in plan(profile, replace(sound, fast=fast), sound).tests:
                assert test.planned.granularity < 1e-5
                assert test.planned.blur <= 0.01


def test_a_row_whose_cutoff_rounding_decides_is_not_planned() -> None:
    """2 of 3 equal tokens, and 2/3 of the mass as f32 has it: one or two are kept."""
    logits = np.array([0, 0, 0, -30], np.float32)
    doubtful = subject("doubtful", logits, SampleLogits(1.0, float(np.float32(2 / 3)), 0))
    assert doubtful.law.possible[:3].all()
    assert doubtful.law.tied == ()
    assert doubtful.law.granularity > 0.1
    with pytest.raises(StatisticsError, match="rounding decides"):
        frequencies(doubtful, 100_000, RULE)


@pytest.mark.parametrize("keeps", [stable, last_first])
def test_another_order_of_equal_tokens_is_no_rejection(sound: PortSource, keeps: Keeps) -> None:
    found = judged(Plain(keeps), on_ties(sound))
    assert found.status == "holds", found.reasons
    assert [test.decision for test in found.tests] == ["tie_order"] * 5
    for test in found.tests:
        assert "tie order: of 41 tokens tied at top-p's cutoff, which leaves room for 7" in (
            test.reason
        )
        assert "keeps others than the reference" in test.reason
    [one] = found.tests[0].looks
    [tied] = one.tied
    assert len(tied.drawn) == tied.room == 7
    assert tied.others
    assert msgspec.json.decode(msgspec.json.encode(found), type=StatisticsResult) == found


@pytest.mark.proof
def test_the_reference_s_own_order_passes(sound: PortSource) -> None:
    found = judged(sound, on_ties(sound))
    assert {test.decision for test in found.tests} == {"passes"}, "and is no tie order"


@pytest.mark.proof
def test_an_order_that_varies_is_no_rejection(sound: PortSource) -> None:
    """Every token of the tie comes, and all together no more often than the seven."""
    found = judged(Plain(any_order, calls=20), on_ties(sound)[:2])
    assert found.status == "holds", found.reasons
    assert {test.decision for test in found.tests} == {"tie_order"}
    assert "varies from call to call" in found.tests[0].reason


@pytest.mark.parametrize(("keeps", "different"), [(all_ties, 41), (beyond(1), 8), (beyond(20), 27)])
@pytest.mark.parametrize("draws", [10_000, 40_000])
def test_more_kept_than_any_order_leaves(
    sound: PortSource, keeps: Keeps, different: int, draws: int
) -> None:
    """Also with the few draws of a slow candidate, and by one token only."""
    found = judged(Plain(keeps), on_ties(sound, draws)[:2])
    assert found.status == "diverges"
    for test in found.tests:
        assert test.decision == "rejects"
        assert "keeps more of them than any order of them leaves" in test.reason
        assert f"{different} were drawn" in test.reason
        assert "outside the mask" not in test.reason
        assert "tie order" not in test.reason


def test_fewer_kept_than_every_order_leaves() -> None:
    """As surely as declared: their mass is all that can show it."""
    tied = subjects.tied()
    statement = next(
        each
        for each in frequencies(tied, 200_000, RULE).planned.power
        if "fewer" in each.difference
    )
    assert statement.draws is not None
    test = frequencies(tied, statement.draws, RULE)
    for seed in range(10):
        tally = test.start(0)
        tally.add(Plain(beyond(-1)), Seeds.of_run(seed), statement.draws)
        p = tally.look().p
        assert p is not None
        assert p <= RULE.margin, "marginal at least: the second look has four times the draws"
    assert judged(Plain(beyond(-1)), [test]).status == "diverges"


def test_a_token_below_the_tie_is_still_outside_the_mask(sound: PortSource) -> None:
    """Every tied token is kept, and one more beyond them."""
    found = judged(Plain(beyond(7 + 40)), on_ties(sound)[:1])
    assert "is outside the mask" in found.tests[0].reason


@pytest.mark.proof
def test_the_manual_s_own_callable_is_not_rejected() -> None:
    manual = (REPOSITORY / "docs" / "plug-in.md").read_text(encoding="utf-8")
    listing = re.search(r"<!-- callable -->\n```python\n(.*?)```", manual, re.DOTALL)
    assert listing is not None
    names: dict[str, object] = {}
    exec(listing[1], names)  # noqa: S102  (the manual's own listing)
    source = ImplementationSource(names["sample"], "default")  # type: ignore[arg-type]
    found = judged(source, [frequencies(subjects.tied(), 10_000, RULE)])
    assert found.status == "holds", found.reasons
    assert found.tests[0].decision == "tie_order"


@pytest.mark.parametrize("preset", ["global", "semantic"])
@pytest.mark.parametrize("draws", [10_000, 200_000])
def test_exactly_k_is_wrong_where_tokens_tie_with_the_kth(preset: str, draws: int) -> None:
    """Real logits in bf16: the reference keeps every token tied with the k-th, by torch's trace."""
    rounded = subjects.rounded(preset)
    p = rounded.parameters
    assert isinstance(p, SampleLogits)
    row = torch.from_numpy(rounded.logits)[None]
    trace = python_ref.trace_sample_logits(row, p.temperature, p.top_p, p.top_k)
    kept = int((trace.renormalized > 0).sum())
    assert kept > p.top_k
    test = frequencies(rounded, draws, RULE)
    assert f"{len(rounded.tied_at_top_k)} tokens tied at top-k's threshold not kept: always" in (
        test.planned.catches
    )
    assert judged(Plain(stable), [test]).tests[0].decision == "passes"
    found = judged(Plain(exactly_k), [test]).tests[0]
    assert found.decision == "rejects"
    assert "never drawn" in found.reason
    assert f"all of them, {kept} tokens for k = {p.top_k}; the sampler keeps exactly k" in (
        found.reason
    )


def test_a_token_left_out_for_another_reason_is_named_so() -> None:
    tempered = subjects.tempered()
    rarest = tempered.law.drawable[-1]

    def without(probs: npt.NDArray[np.float64], p: SampleLogits, seed: int) -> Mask:
        kept = stable(probs, p, seed)
        kept[rarest] = False
        return kept

    test = frequencies(tempered, 40_000, RULE)
    [decided] = judged(Plain(without), [test]).tests
    assert decided.decision == "rejects"
    assert f"token {rarest} is in the mask and was never drawn" in decided.reason
    assert "tied" not in decided.reason
    assert 0 < test.planned.omitted < 1e-9
    statement = next(each for each in test.planned.power if "never drawn" in each.difference)
    assert statement.power == 1.0


@pytest.mark.parametrize("words", ["all 41 tokens", "one more kept", "1% of the tail"])
def test_the_declared_draws_show_the_declared_difference(words: str) -> None:
    """The planned power of pooled cells, by drawing from the difference itself."""
    tied = subjects.tied()
    index, other = next(
        (i, each) for i, each in enumerate(declared(tied)) if each.words.startswith(words)
    )
    test = frequencies(tied, 200_000, RULE)
    needed = test.planned.power[index].draws
    assert needed is not None
    caught = 0
    for seed in range(20):
        tally = test.start(0)
        tally.add(_Drawn(other.law), Seeds.of_run(seed), needed)
        look = tally.look()
        again = look.p is not None and look.p <= RULE.margin
        caught += again or any(map(support.too_many, look.tied))
    assert caught == 20


@dataclass(frozen=True)
class _Drawn:
    """Draws from a law."""

    law: Law
    name: str = "drawn"
    fast: bool = True
    chunk: int = 250_000

    def draws(self, _logits: Logits, _parameters: Parameters, seed: int, n: int) -> Tokens:
        p = self.law.probabilities
        return np.random.default_rng(seed).choice(len(p), n, p=p / p.sum())

    def batches(self, logits: Logits, parameters: Parameters, seed: int, n: int) -> Tokens:
        raise NotImplementedError


@pytest.mark.proof
def test_the_p_values_of_another_order_are_uniform() -> None:
    """The budget holds for pooled cells: 400 small tests, each with a fresh seed."""
    tied = subjects.tied()
    cells = build(tied.law, 4000, 4, 8, 200)
    seeds = Seeds.of_run(3)
    found = [
        goodness(
            cells.counts(drawn(Plain(stable), tied, seeds.take(), 4000)), cells.probabilities
        ).pearson_p
        for _ in range(400)
    ]
    uniform = ecdf(found)
    assert uniform.largest < uniform.band


@pytest.mark.proof
def test_planted_faults_are_caught_on_a_row_with_ties(sound: PortSource) -> None:
    """The controls' power is that of pooled cells, and each is drawn as planned."""
    logits = np.concatenate([np.linspace(2, 0.5, 12), np.full(20, 0.25), [-9.0]])
    row = subject("a tie", logits.astype(np.float32), SampleLogits(1.0, 0.9, 0))
    assert [len(tie.tokens) for tie in row.law.tied] == [20]
    assert swaps(row.law)
    controls = faults(row, sound, RULE)
    assert len(controls) == 6
    planned = Plan("quick", DRAW_COUNTS["quick"], Budget(1e-6, 21), (), ())
    run = _Run(sound, Seeds.of_run(1), planned, lambda *_: None)
    for control in controls:
        run.put(control)
    assert [control.decision for control in run.controls] == ["rejects"] * 6


def test_two_black_boxes_with_another_order() -> None:
    """Of a pilot no probability is known: tokens of one logit are counted together."""
    logits, parameters = subjects.tied().logits, subjects.tied().parameters
    piloted = pilot(Plain(stable), "unknown", logits, parameters, 9, 50_000)
    assert all(tie.room is None for tie in piloted.law.tied)
    assert len(piloted.law.tied) >= 1
    test = versus(piloted, 100_000, RULE, Plain(stable, name="stable"))
    assert judged(Plain(stable), [test]).tests[0].decision == "passes"
    other = judged(Plain(last_first), [test]).tests[0]
    assert other.decision == "tie_order", other.reason
    assert "the two samplers keep different ones" in other.reason
    assert judged(Plain(all_ties), [test]).tests[0].decision == "rejects"


def test_a_law_without_ties_is_as_before() -> None:
    law = normalised(1 / np.arange(1, 50))
    assert law.tied == ()
    assert law.atoms.tolist() == list(range(49))
    assert law.ranked.tolist() == law.drawable.tolist()


def every_row() -> Iterator[Subject]:
    for preset in ("global", "semantic"):
        yield from subjects.preset_rows(preset)
        for each in subjects.preset_rows(preset):
            yield subject(each.name, round_bf16(each.logits.copy()), each.parameters)


def test_no_real_row_rejects_a_correct_sampler_for_its_support() -> None:
    """In f64 with a stable sort, every token kept is possible, as it is and in bf16."""
    rows = 0
    for each in every_row():
        assert isinstance(each.parameters, SampleLogits)
        scaled = each.logits.astype(np.float64)
        probs = np.exp(scaled - scaled.max())
        kept = stable(probs / probs.sum(), each.parameters, 0)
        assert not (kept & ~each.law.possible).any(), each.name
        rows += 1
    assert rows > 80
