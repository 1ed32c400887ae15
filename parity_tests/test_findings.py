"""Findings F1 to F9: what a reading believed, the smallest case that shows otherwise, both sides.

``docs/findings.md`` tells them. Every expected value is torch's or exact arithmetic.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.numpy import load_file

import python_ref
import rust_ext
from sampler_parity.cases.draws import round_bf16
from sampler_parity.cases.fixtures import FIXTURES, real_logits
from sampler_parity.implementations.python_ref import capability_here

STAGES = ("scaled_logits", "probs", "top_k_mask", "top_p_mask", "renormalized", "token")
CAPABILITIES = ("default", "avx2", "avx512")
F32 = np.float32
F32s = npt.NDArray[np.float32]


def same_bits(expected: Any, actual: Any) -> bool:
    """The same values, the sign of zero included."""
    one, other = np.ascontiguousarray(expected), np.ascontiguousarray(actual)
    return one.shape == other.shape and one.tobytes() == other.tobytes()


def trace(
    logits: Sequence[Sequence[float]] | F32s,
    temperature: float = 1.0,
    top_p: float = 0.0,
    top_k: int = 0,
) -> python_ref.SampleLogitsTrace:
    """The reference's stages, once the port's are seen to be the same."""
    values = np.array(logits, np.float32)
    reference = python_ref.trace_sample_logits(
        torch.from_numpy(values),
        temperature,
        top_p,
        top_k,
        generator=torch.Generator().manual_seed(1),
    )
    port = rust_ext.trace_sample_logits(
        values,
        temperature,
        top_p,
        top_k,
        generator=rust_ext.Generator(1),
        threads=torch.get_num_threads(),
    )
    for stage in STAGES:
        assert same_bits(getattr(reference, stage), getattr(port, stage)), stage
    return reference


def kept(reference: python_ref.SampleLogitsTrace) -> list[list[int]]:
    """The tokens that can be drawn, row by row."""
    return [torch.nonzero(row)[:, 0].tolist() for row in reference.renormalized]


def counts(
    logits: list[float], temperature: float = 1.0, top_p: float = 0.0, top_k: int = 0
) -> list[int]:
    """How often 1,000 draws take each token, once the port's draws are seen to be the same."""
    generator, row = torch.Generator().manual_seed(0), torch.tensor([logits])
    expected = [
        python_ref.sample_logits(row, temperature, top_p, top_k, generator=generator).item()
        for _ in range(1000)
    ]
    port = rust_ext.Generator(0)
    drawn = rust_ext.draw(row[0].numpy(), 1000, temperature, top_p, top_k, generator=port)
    assert drawn.tolist() == expected
    return [expected.count(token) for token in range(len(logits))]


def nucleus(probs: torch.Tensor, top_p: float) -> torch.Tensor:
    """The nucleus of one row in stable order: the tokens before which at most top_p has gone."""
    ordered, indices = torch.sort(probs, descending=True, stable=True)
    before = torch.cat((torch.zeros(1), torch.cumsum(ordered, 0)[:-1]))
    mask = torch.zeros_like(probs, dtype=torch.bool)
    mask[indices[before <= top_p]] = True
    return mask & (probs > 0)


def simple(logits: list[float], temp: float, noise: float = 0.0) -> tuple[F32s, int]:
    """What the simple sampler leaves of one row, and its token; the same on both sides."""
    row, values = torch.tensor([logits]), np.array([logits], np.float32)
    generator = torch.Generator().manual_seed(1)
    token = python_ref.sampler_simple_batch(row, noise, temp, generator=generator)
    drawn = rust_ext.simple_batch_sampler(values, noise, temp, generator=rust_ext.Generator(1))
    assert same_bits(row, values)
    assert same_bits(token, drawn)
    return values[0], int(token)


# F1: "temperature 0 is deterministic sampling".


@pytest.mark.parametrize("logit", [0.0, 1.0, -1.0])
def test_f1_temperature_0_raises_even_where_there_is_one_token(logit: float) -> None:
    values, generator, port = np.array([[logit]], F32), torch.Generator(), rust_ext.Generator(1)
    before = generator.get_state()
    with pytest.raises(RuntimeError, match="element < 0"):
        python_ref.sample_logits(torch.from_numpy(values), 0.0, generator=generator)
    with pytest.raises(RuntimeError, match="temperature = 0"):
        rust_ext.sample_logits(values, 0.0, generator=port)
    assert generator.get_state().equal(before)
    assert port.get_state() == rust_ext.Generator(1).get_state()


def test_f1_dividing_by_0_leaves_nothing_but_nan() -> None:
    for row in ([2.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, -2.0]):
        assert torch.softmax(torch.tensor(row) / 0.0, -1).isnan().all()


# F2: "the simple sampler's temperature is consistent": the reference multiplies by 1 / temp.


@pytest.mark.parametrize(
    ("temp", "logit", "multiplied", "divided"),
    [(1.1, 1.0, 0.9090909361839294, 0.9090908765792847), (3.0, 5.0, 1.6666667461395264, 5 / 3)],
)
def test_f2_one_logit_is_enough(
    temp: float, logit: float, multiplied: float, divided: float
) -> None:
    left, _ = simple([logit], temp)
    assert left[0] == F32(multiplied)
    scaled = trace([[logit]], temp).scaled_logits.item()
    assert scaled == F32(divided)
    assert left[0] != scaled


def test_f2_the_greedy_token_changes() -> None:
    """Two logits one ulp apart: multiplied they tie and the first wins, divided they do not."""
    logits = [0.1, float(np.nextafter(F32(0.1), F32(1)))]
    left, token = simple(logits, 1.2)
    assert left[0] == left[1]
    assert token == 0
    divided = trace([logits], 1.2).scaled_logits
    assert torch.argmax(divided).item() == 1


def test_f2_one_logit_in_seven_at_a_temperature_of_0_8() -> None:
    logits = np.random.default_rng(0).standard_normal((1, 1_000_000)).astype(np.float32)
    divided = torch.from_numpy(logits) / 0.8
    multiplied, ours = torch.from_numpy(logits.copy()), logits.copy()
    python_ref.sampler_simple_batch(multiplied, 0.0, 0.8)
    rust_ext.simple_batch_sampler(ours, 0.0, 0.8, generator=rust_ext.Generator(1))
    assert same_bits(multiplied, ours)
    assert int((multiplied != divided).sum()) == 145_367


def test_f2_at_0_8_the_multiplication_is_the_accurate_one() -> None:
    """1 / 0.8 is 1.25 exactly, while 0.8 has no exact f32."""
    assert F32(1 / 0.8) == 1.25
    assert Fraction(float(F32(0.8))) > Fraction(4, 5)


# F3: "top-k leaves k tokens": ties at the threshold stay.


def test_f3_two_equal_tokens_survive_a_top_k_of_1() -> None:
    assert kept(trace([[0.0, 0.0]], top_k=1)) == [[0, 1]]


def test_f3_unequal_logits_can_tie_as_probabilities() -> None:
    """A sampler that cuts the logits keeps one of these; the reference cuts the softmax."""
    assert F32(0.0) != F32(1e-8)
    assert kept(trace([[0.0, 1e-8]], top_k=1)) == [[0, 1]]


@pytest.mark.parametrize(
    ("preset", "rows", "most"), [(python_ref.GLOBAL, 9, 23), (python_ref.SEMANTIC, 16, 89)]
)
def test_f3_real_logits_rounded_to_bf16(preset: python_ref.Preset, rows: int, most: int) -> None:
    logits = np.ascontiguousarray(real_logits()[:, : preset.vocab])
    survivors = trace(logits, 1.0, preset.top_p, preset.top_k).top_k_mask.sum(-1)
    assert survivors.tolist() == [preset.top_k] * len(logits)
    rounded = round_bf16(logits)
    assert same_bits(torch.from_numpy(logits).bfloat16().float(), rounded)
    survivors = trace(rounded, 1.0, preset.top_p, preset.top_k).top_k_mask.sum(-1)
    assert int((survivors > preset.top_k).sum()) == rows
    assert int(survivors.max()) == most


# F4: "renormalise after top-k, then take the nucleus": the reference measures what top-k left.


def test_f4_three_tokens_are_enough() -> None:
    """e^2 / (e^2 + e + 1) = 0.665 is within 0.7, e^2 / (e^2 + e) = 0.731 is beyond it."""
    e = math.e
    assert e**2 / (e**2 + e + 1) < 0.7 < e**2 / (e**2 + e)
    logits = [2.0, 1.0, 0.0]
    reference = trace([logits], 1.0, 0.7, 2)
    assert kept(reference) == [[0, 1]]
    left = reference.probs[0] * reference.top_k_mask[0]
    assert nucleus(left, 0.7).tolist() == [True, True, False]
    assert nucleus(left / left.sum(), 0.7).tolist() == [True, False, False]
    assert counts(logits, 1.0, 0.7, 2) == [758, 242, 0]


@pytest.mark.parametrize(("preset", "rows"), [(python_ref.GLOBAL, 19), (python_ref.SEMANTIC, 18)])
def test_f4_most_rows_of_real_logits(preset: python_ref.Preset, rows: int) -> None:
    logits = np.ascontiguousarray(real_logits()[:, : preset.vocab])
    reference = trace(logits, 1.0, preset.top_p, preset.top_k)
    differing = 0
    for probs, mask, final in zip(
        reference.probs, reference.top_k_mask, reference.renormalized, strict=True
    ):
        left = probs * mask
        assert nucleus(left, preset.top_p).equal(final > 0)
        differing += not nucleus(left / left.sum(), preset.top_p).equal(final > 0)
    assert differing == rows


# F5: "top_p = 0 is greedy": it is no nucleus at all.


def test_f5_top_p_0_draws_every_token_and_just_above_0_only_the_first() -> None:
    assert kept(trace([[1.0, 0.0]], top_p=0.0)) == [[0, 1]]
    assert kept(trace([[1.0, 0.0]], top_p=1e-9)) == [[0]]
    assert counts([1.0, 0.0], top_p=0.0) == [728, 272]
    assert counts([1.0, 0.0], top_p=1e-9) == [1000, 0]


def test_f5_one_dimension_works_only_then() -> None:
    row = np.array([1.0, 0.0], F32)
    expected = python_ref.sample_logits(
        torch.from_numpy(row), top_p=0.0, generator=torch.Generator().manual_seed(1)
    )
    drawn = rust_ext.sample_logits(row, top_p=0.0, generator=rust_ext.Generator(1))
    assert same_bits(expected, drawn)
    assert drawn.shape == (1,)
    with pytest.raises(IndexError):
        python_ref.sample_logits(torch.from_numpy(row), top_p=1e-9)
    with pytest.raises(IndexError, match=r"shape \[2\]"):
        rust_ext.sample_logits(row, top_p=1e-9, generator=rust_ext.Generator(1))


# F6: "of tied tokens at the cutoff, the first ones stay": torch.sort is not stable past 16.


@pytest.mark.parametrize(
    ("vocab", "top_p", "expected"),
    [
        (16, 0.5, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (17, 0.5, [8, 9, 10, 11, 12, 13, 14, 15, 16]),
        (16, 0.01, [0]),
        (17, 0.01, [8]),
    ],
)
def test_f6_equal_logits(vocab: int, top_p: float, expected: list[int]) -> None:
    assert kept(trace([[0.0] * vocab], top_p=top_p)) == [expected]
    stable = nucleus(torch.softmax(torch.zeros(vocab), -1), top_p)
    assert torch.nonzero(stable)[:, 0].tolist() == list(range(len(expected)))


def test_f6_rows_of_up_to_16_are_in_stable_order() -> None:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        row = torch.from_numpy(rng.integers(0, 3, int(rng.integers(1, 17))))
        order = torch.sort(row.float(), descending=True)[1]
        assert order.equal(torch.sort(row.float(), descending=True, stable=True)[1])


# F7: "a seed fixes the result": the bits also depend on the capability and the thread count.

# torch 2.15.0's softmax of each row, run at each ATEN_CPU_CAPABILITY.
SOFTMAX_BITS: "list[tuple[list[float], int, dict[rust_ext.Capability, int]]]" = [
    ([0.0, 2.2], 0, {"default": 1036798459, "avx2": 1036798460, "avx512": 1036798460}),
    (
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4],
        1,
        {"default": 1032591841, "avx2": 1032591841, "avx512": 1032591842},
    ),
    (
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4],
        0,
        {"default": 1030056191, "avx2": 1030056189, "avx512": 1030056191},
    ),
]


@pytest.mark.parametrize(("logits", "token", "bits"), SOFTMAX_BITS)
def test_f7_the_capability_shows(
    logits: list[float], token: int, bits: "dict[rust_ext.Capability, int]"
) -> None:
    assert len(set(bits.values())) > 1
    here = capability_here()
    live = trace([logits]).probs.numpy().view(np.uint32)[0, token]
    assert live == {str(level): value for level, value in bits.items()}[here]
    for capability, expected in bits.items():
        probs = rust_ext.trace_sample_logits(
            np.array([logits], F32),
            top_p=0.0,
            generator=rust_ext.Generator(1),
            capability=capability,
        ).probs
        assert probs.view(np.uint32)[0, token] == expected


def test_f7_in_the_recorded_traces_bits_differ_and_decisions_do_not() -> None:
    recorded = [
        {name.removesuffix(".sha256"): values.tobytes() for name, values in load_file(path).items()}
        for path in (FIXTURES / "golden" / f"{level}.safetensors" for level in CAPABILITIES)
    ]
    cases = [name.removesuffix(".probs") for name in recorded[0] if name.endswith(".probs")]
    differing = {
        stage: sum(len({tensors[f"{case}.{stage}"] for tensors in recorded}) > 1 for case in cases)
        for stage in STAGES[1:]
    }
    assert len(cases) == 74
    assert differing == {
        "probs": 45,
        "top_k_mask": 0,
        "top_p_mask": 0,
        "renormalized": 37,
        "token": 0,
    }


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("vocab", "rows", "differing"), [(32_776, 1, 0), (32_777, 1, 32_777), (32_777, 2, 0)]
)
def test_f7_the_thread_count_shows_in_a_single_long_row(
    vocab: int, rows: int, differing: int
) -> None:
    """Equal logits: every bit before the renormalisation is the same at any capability."""
    logits = np.zeros((rows, vocab), np.float32)
    with threads(1):
        one = trace(logits).renormalized
    with threads(2):
        two = trace(logits).renormalized
    assert int((one != two).sum()) == differing


# F8: "a seed gives the same tokens in every torch": before 2.7, on Intel, it gave others.
# No old torch was run: its stream is replayed from what pytorch issues 132395 and 154031 tell.
# Issue 150538 prints five numbers of each stream; docs/findings.md says under which version.

OLD = ["0.5809", "0.0436", "2.0548", "1.9680", "0.3315"]
NEW = ["1.6459", "0.4294", "0.0677", "1.3809", "0.7803"]


def mt19937(seed: int, outputs: int) -> npt.NDArray[np.uint64]:
    """numpy's own MT19937, 32 bits an output."""
    bits = np.random.MT19937()
    bits._legacy_seeding(seed)
    return np.array(bits.random_raw(outputs), np.uint64)


def exponentials(raw: npt.NDArray[np.uint64]) -> F32s:
    """-log1p(-u) of 53 bits out of every two outputs, the first one the high half."""
    u = (((raw[::2] << np.uint64(32)) | raw[1::2]) & np.uint64(2**53 - 1)) * 2.0**-53
    return np.array([-math.log1p(-value) for value in u.tolist()], np.float32)


def mcg31(seed: int, count: int) -> list[float]:
    """-ln(u) of Intel MKL's generator MCG31, which older torch seeded with one output."""
    modulus, multiplier = 2**31 - 1, 1_132_489_760
    state, values = seed % modulus, []
    for _ in range(count):
        values.append(-math.log(state / modulus))
        state = state * multiplier % modulus
    return values


def test_f8_the_installed_torch_draws_from_its_own_generator() -> None:
    assert tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 7)
    drawn = torch.empty(10_000).exponential_(generator=torch.Generator().manual_seed(42))
    assert same_bits(exponentials(mt19937(42, 20_000)), drawn)


def test_f8_the_five_numbers_of_each_stream_in_issue_150538() -> None:
    generator = torch.Generator().manual_seed(42)
    torch.rand(5, generator=generator)
    now = torch.empty(5).exponential_(generator=generator)
    assert [f"{value:.4f}" for value in now.tolist()] == NEW
    raw = mt19937(42, 15)
    assert [f"{value:.4f}" for value in exponentials(raw[5:])] == NEW
    assert [f"{value:.4f}" for value in mcg31(int(raw[5]), 5)] == OLD


def test_f8_of_five_equal_tokens_the_two_streams_take_different_ones() -> None:
    """The token is the largest p / q, so with equal p the smallest q."""
    generator, port = torch.Generator().manual_seed(42), rust_ext.Generator(0)
    torch.rand(5, generator=generator)
    port.set_state(generator.get_state().numpy().tobytes())
    token = python_ref.sample_logits(torch.zeros(1, 5), top_p=0.0, generator=generator)
    drawn = rust_ext.sample_logits(np.zeros((1, 5), F32), top_p=0.0, generator=port)
    assert same_bits(token, drawn)
    assert token.item() == int(np.argmin([float(q) for q in NEW])) == 2
    assert int(np.argmin([float(q) for q in OLD])) == 1


# F9: "the caller's logits are left alone": the simple sampler works in place.


def test_f9_a_second_call_scales_again() -> None:
    row, values = torch.tensor([[1.0, 2.0]]), np.array([[1.0, 2.0]], F32)
    for expected in ([[2.0, 4.0]], [[4.0, 8.0]]):
        python_ref.sampler_simple_batch(row, 0.0, 0.5)
        rust_ext.simple_batch_sampler(values, 0.0, 0.5, generator=rust_ext.Generator(1))
        assert row.tolist() == values.tolist() == expected


def test_f9_the_noise_stays_in_the_logits() -> None:
    left, token = simple([1.0, 2.0], 0.5, noise=1.0)
    noise = (mt19937(1, 2) & np.uint64(2**24 - 1)).astype(np.float32) * F32(2**-24)
    assert same_bits(np.array([2.0, 4.0], F32) + noise, left)
    assert token == 1


def test_f9_a_refused_noise_comes_too_late() -> None:
    row, values = torch.tensor([[1.0, 2.0]]), np.array([[1.0, 2.0]], F32)
    with pytest.raises(RuntimeError, match="uniform_"):
        python_ref.sampler_simple_batch(row, -1.0, 0.5)
    with pytest.raises(RuntimeError, match="noise = -1"):
        rust_ext.simple_batch_sampler(values, -1.0, 0.5, generator=rust_ext.Generator(1))
    assert row.tolist() == values.tolist() == [[2.0, 4.0]]


def test_f9_sample_logits_leaves_them_alone() -> None:
    row = torch.tensor([[1.0, 2.0]])
    python_ref.sample_logits(row, 0.5)
    rust_ext.sample_logits(row.numpy(), 0.5, generator=rust_ext.Generator(1))
    assert row.tolist() == [[1.0, 2.0]]


# Beliefs of the ports as they were found, each against two tokens.


@pytest.mark.parametrize(
    ("logits", "temperature", "expected"),
    [
        pytest.param([0.1, 0.0], 0.09, [750, 250], id="temperature < 0.1"),
        pytest.param([2.1, 0.0], 1.0, [899, 101], id="a gap of more than 2 temperatures"),
        pytest.param([1.0, 0.0], 1.0, [728, 272], id="a probability above 0.7"),
    ],
)
def test_what_the_fast_paths_take_for_greedy_is_a_draw(
    logits: list[float], temperature: float, expected: list[int]
) -> None:
    assert counts(logits, temperature, 0.95) == expected


def test_the_temperature_comes_before_the_nucleus() -> None:
    """A function of the same name applies it last, as p^(1 / T), and keeps both tokens."""
    logits, top_p = [1.0, 0.0], 0.8
    first = 1 / (1 + math.exp(-1.0))
    assert first < top_p < 1 / (1 + math.exp(-2.0))
    assert kept(trace([logits], 0.5, top_p)) == [[0]]
    assert nucleus(torch.softmax(torch.tensor(logits), -1), top_p).tolist() == [True, True]


def test_the_token_at_which_the_sum_reaches_top_p_is_not_the_last() -> None:
    """Two halves and top_p = 0.5: the sum has to exceed it, so both stay; ``>=`` keeps one."""
    assert kept(trace([[0.0, 0.0]], top_p=0.5)) == [[0, 1]]
