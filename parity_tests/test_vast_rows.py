"""Indices beyond 2^18: the gate has rows in which only they can win."""

from pathlib import Path

import numpy as np
import pytest

from sampler_parity import plug_in
from sampler_parity.cases.families import LIKELY, VAST
from sampler_parity.cases.plan import CASE_COUNTS, LOOK, case_of
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import LONGEST_ROW, About
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.run.gate import run_gate
from sampler_parity.run.request import Request

HERE = capability_here()


def vast(index: int) -> Case:
    return case_of(f"vast-rows-{index}@0")


@plug_in("short", generator=np.random.default_rng, longest_row=1 << 18)
def short(logits: np.ndarray, parameters: SampleLogits, rng: object) -> int:
    """Take the likeliest token: where the likely ones are few, a correct sampler may."""
    del parameters, rng
    return int(logits.argmax())


@pytest.mark.parametrize("profile", sorted(CASE_COUNTS.keys() - {LOOK}))
def test_every_gate_has_every_kind_of_vast_row(profile: str) -> None:
    """A quick look, which is no gate, takes some of them."""
    assert CASE_COUNTS[profile].count("vast-rows") >= len(VAST)


@pytest.mark.parametrize("index", [1, 2, 3, 4, 5])
def test_the_token_needs_every_bit_of_its_index(index: int) -> None:
    case = vast(index)
    vocab = case.logits.shape[-1]
    tokens = PythonRef().run(case, HERE).tokens
    assert len(tokens) == case.draws > 1, "the first call is traced, the second is not"
    assert all(token.min() >= vocab - LIKELY for token in tokens)
    for bits in (16, 18, 20):
        if vocab > 1 << bits:
            assert all((token >> bits).all() for token in tokens)


def test_the_largest_rows_have_winners_that_f32_does_not_hold() -> None:
    case = vast(8)
    assert isinstance(case.parameters, SimpleBatch)
    likely = np.flatnonzero(case.logits[0] > 12)
    assert likely.size == LIKELY // 2
    assert (likely > 1 << 24).all()
    assert (likely.astype(np.float32).astype(np.int64) != likely).all()


def test_torch_draws_from_two_to_the_24_categories_and_from_no_more() -> None:
    assert vast(6).logits.shape == (1, 1 << 24)
    case = vast(7)
    assert case.logits.shape == (1, (1 << 24) + 1)
    sides = [side.run(case, HERE).failure for side in (PythonRef(), RustExt())]
    assert [side is not None and (side.kind, side.draw) for side in sides] == [
        ("RuntimeError", 0),
        ("RuntimeError", 0),
    ]
    assert sides[0] is not None
    assert "number of categories cannot exceed 2^24" in sides[0].message


def test_only_those_that_declare_it_get_the_largest_rows() -> None:
    about = About(name="mine")
    taken = [index for index in range(len(VAST)) if not about.too_long(vast(index))]
    assert taken == [0, 1, 2, 3, 4, 5]
    assert str(f"{LONGEST_ROW:,}") in about.too_long(vast(6))
    for side in (PythonRef.about, RustExt().about):
        assert not any(side.too_long(vast(index)) for index in (6, 7, 8))


@pytest.mark.slow
@pytest.mark.proof
def test_what_is_too_long_is_counted_with_its_reason(tmp_path: Path) -> None:
    run = run_gate(
        Request(
            implementations=("parity_tests.test_vast_rows:short",),
            capabilities=(HERE,),
            families=("vast-rows",),
            folder=tmp_path,
        )
    )
    [shard] = run.shards
    assert (shard.planned, shard.compared, shard.not_compared) == (9, 1, 8)
    assert "the rows are longer than the 262,144 tokens that short takes" in shard.reason
    assert shard.divergent == 0
