"""Families of logits: each a function from a seeded generator to a case's logits and parameters."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from msgspec import structs

from sampler_parity.build.extension import extension_here
from sampler_parity.cases.draws import (
    TOP_KS,
    AnyParameters,
    Draft,
    Logits,
    either,
    gaussian,
    pick,
    round_bf16,
    round_f16,
    sample_logits,
    shape,
    simple_batch,
)
from sampler_parity.cases.fixtures import real_logits
from sampler_parity.pipelines import SampleLogits, SimpleBatch

Family = Callable[[np.random.Generator, int], Draft]

PRESETS = {
    "global": (SampleLogits(1.0, 0.95, 20), 4096),
    "semantic": (SampleLogits(1.0, 0.95, 80), 8193),
}
"""What the TTS stages are meant to pass; ``python_ref`` and ``rust_ext`` are tested against it."""


def gaussian_logits(rng: np.random.Generator, index: int) -> Draft:
    """Normal logits, from nearly flat to so peaked that most probabilities underflow."""
    rows, vocab = shape(rng, index)
    scale = pick(rng, (0.01, 0.1, 1.0, 2.0, 4.0, 10.0, 20.0, 50.0))
    return Draft(gaussian(rng, rows, vocab, scale), either(rng, vocab))


def zipf_logits(rng: np.random.Generator, index: int) -> Draft:
    """Probabilities that fall as a power of the rank, as those of language models do."""
    rows, vocab = shape(rng, index)
    exponent = rng.uniform(0.5, 3.0)
    ranks = np.stack([rng.permutation(vocab) for _ in range(rows)]) + 1
    noise = rng.standard_normal((rows, vocab)) * 0.01
    values = (-exponent * np.log(ranks) + noise + rng.uniform(-20, 20)).astype(np.float32)
    return Draft(values, either(rng, vocab))


def flat_logits(rng: np.random.Generator, index: int) -> Draft:
    """Every logit equal: one tie, which every cutoff cuts."""
    rows, vocab = shape(rng, index)
    value = pick(rng, (0.0, -0.0, 1.0, -7.25, 1e30))
    return Draft(np.full((rows, vocab), value, np.float32), either(rng, vocab))


def bf16_logits(rng: np.random.Generator, index: int) -> Draft:
    """Normal logits rounded to bfloat16, as models give them: ties everywhere."""
    rows, vocab = shape(rng, index)
    values = gaussian(rng, rows, vocab, pick(rng, (0.5, 2.0, 8.0)))
    return Draft(round_bf16(values), either(rng, vocab))


def f16_logits(rng: np.random.Generator, index: int) -> Draft:
    """Normal logits rounded to float16."""
    rows, vocab = shape(rng, index)
    values = gaussian(rng, rows, vocab, pick(rng, (0.05, 1.0, 8.0)))
    return Draft(round_f16(values), either(rng, vocab))


def top_k_tie_logits(rng: np.random.Generator, index: int) -> Draft:
    """A tie at the top-k threshold: more than k tokens stay."""
    rows, vocab = shape(rng, index)
    values = gaussian(rng, rows, vocab, 2.0)
    k = int(rng.integers(1, vocab + 1))
    for row in values:
        order = np.argsort(-row)
        first = max(0, k - 1 - int(rng.integers(0, 4)))
        row[order[first : k + int(rng.integers(0, 6))]] = row[order[k - 1]]
    drawn = sample_logits(rng, vocab)
    return Draft(values, SampleLogits(drawn.temperature, drawn.top_p, k))


def top_p_tie_logits(rng: np.random.Generator, index: int) -> Draft:
    """Few levels: a tie straddles the top-p cutoff, and the sort's order decides which stay."""
    rows, vocab = shape(rng, index)
    levels = int(rng.integers(1, 6))
    values = rng.integers(0, levels, (rows, vocab)).astype(np.float32) * np.float32(0.5)
    drawn = sample_logits(rng, vocab)
    top_p = pick(rng, (0.95, 0.85, 0.5, 0.3)) if rng.random() < 0.5 else float(rng.random())
    return Draft(values, SampleLogits(drawn.temperature, max(top_p, 1e-6), drawn.top_k))


def sorted_logits(rng: np.random.Generator, index: int) -> Draft:
    """Ascending, descending, organ-pipe and sawtooth rows with ties: the sort's special paths."""
    rows, vocab = shape(rng, index)
    ramp = np.arange(vocab) // int(rng.integers(1, 9))
    kind = int(rng.integers(4))
    ramp = (ramp, ramp[::-1], np.minimum(ramp, ramp[::-1]), ramp % 7)[kind]
    values = np.tile((ramp * 0.05).astype(np.float32), (rows, 1))
    return Draft(values, SampleLogits(top_p=float(rng.uniform(0.05, 1.0)), top_k=0))


def masked_logits(rng: np.random.Generator, index: int) -> Draft:
    """Tokens masked with -inf, at random or all beyond some tag, at least one left in each row."""
    rows, vocab = shape(rng, index)
    values = gaussian(rng, rows, vocab, 3.0)
    if rng.random() < 0.5:
        masked = rng.random((rows, vocab)) < rng.uniform(0.1, 0.99)
    else:
        masked = np.broadcast_to(np.arange(vocab) > rng.integers(vocab), (rows, vocab)).copy()
    masked[np.arange(rows), rng.integers(0, vocab, rows)] = False
    values[masked] = -np.inf
    return Draft(values, either(rng, vocab))


def huge_logits(rng: np.random.Generator, index: int) -> Draft:
    """Magnitudes up to the largest f32, and a temperature that keeps them finite."""
    rows, vocab = shape(rng, index)
    values = gaussian(rng, rows, vocab, 1.0)
    values *= np.float32(10.0) ** rng.uniform(10, 37)
    drawn = either(rng, vocab)
    if drawn.sampler == SampleLogits.sampler:
        drawn = structs.replace(drawn, temperature=pick(rng, (1.0, 3.0, 1e30)))
    return Draft(values, drawn)


def denormal_logits(rng: np.random.Generator, index: int) -> Draft:
    """Denormal logits, with temperatures that bring them to life, and denormal probabilities."""
    rows, vocab = shape(rng, index)
    if rng.random() < 0.5:
        values = (gaussian(rng, rows, vocab, 1.0) * np.float64(1e-40)).astype(np.float32)
        drawn = sample_logits(rng, vocab)
        temperature = pick(rng, (1.0, 1e-40, 3e-41, 1e-39))
        return Draft(values, SampleLogits(temperature, drawn.top_p, drawn.top_k))
    values = rng.uniform(-104, -80, (rows, vocab)).astype(np.float32)
    values[:, int(rng.integers(vocab))] = 0.0
    return Draft(values, SampleLogits(top_p=pick(rng, (0.0, 1.0, 0.95)), top_k=0))


def boundary_logits(rng: np.random.Generator, index: int) -> Draft:
    """Cumulative sums that land on top_p exactly, and one ulp to either side."""
    exact = int(2 ** rng.integers(0, 9))
    rows, vocab = int(rng.integers(1, 4)), exact + int(rng.integers(0, 40))
    values = np.full((rows, vocab), -np.inf, np.float32)
    for row in values:
        row[rng.permutation(vocab)[:exact]] = 0.0
    # Each of 2^n equal probabilities is exact, and so is every cumulative sum.
    top_p = np.float32(rng.integers(1, exact + 1) / exact)
    towards = (np.float32(0), top_p, np.float32(2))[index % 3]
    return Draft(values, SampleLogits(top_p=float(np.nextafter(top_p, towards)), top_k=0))


def crossing_logits(rng: np.random.Generator, index: int) -> Draft:
    """top_p at one of the reference's own cumulative sums, and one ulp to either side.

    The port gives the softmax, the same wherever a case is made: with torch or without.
    """
    vocab = int(rng.integers(2, 3000))
    values = gaussian(rng, 1, vocab, pick(rng, (0.3, 1.0, 3.0)))
    descending = np.sort(extension_here().softmax(values)[0])[::-1]
    # torch adds up in f64, and rounds each sum.
    sums = np.cumsum(descending, dtype=np.float64).astype(np.float32)
    top_p = sums[int(rng.integers(vocab))]
    towards = (np.float32(0), top_p, np.float32(2))[index % 3]
    return Draft(values, SampleLogits(top_p=float(np.nextafter(top_p, towards)), top_k=0))


def odd_parameters(rng: np.random.Generator, index: int) -> Draft:
    """Parameters at and beyond the edges of what the reference accepts."""
    rows, vocab = shape(rng, index)
    values = gaussian(rng, rows, vocab, 2.0)
    if index % 4 == 0:
        temps = (1.0, np.inf, 1e-45, 1e300, 0.0, -1.0, np.nan)
        noises = (0.0, -1.0, np.nan, np.inf, 1e38, 1e39, 1e-50, -0.0, 1e-45, 1e-44)
        return Draft(values, SimpleBatch(pick(rng, noises), pick(rng, temps)))
    temperatures = (1.0, -1.0, -0.5, np.inf, 1e-3, 0.0, np.nan, 1e-30, 1e30)
    top_ps = (0.95, -1.0, np.nan, 1.0, 1.5, np.inf, 1e-10, 0.0, -0.0)
    top_k = int(rng.integers(-2, 2 * vocab + 2)) if rng.random() < 0.3 else int(pick(rng, TOP_KS))
    zero: Literal["argmax", "raise"] = "argmax" if rng.random() < 0.3 else "raise"
    return Draft(values, SampleLogits(pick(rng, temperatures), pick(rng, top_ps), top_k, zero))


def odd_logits(rng: np.random.Generator, index: int) -> Draft:
    """NaN with a payload, +inf, rows of -inf, -0.0: what the reference refuses, and what not."""
    rows, vocab = shape(rng, index)
    values = gaussian(rng, rows, vocab, 2.0)
    payloads = np.array([0x7FC0_1234, 0xFFC0_0001, 0x7FA0_0000], np.uint32).view(np.float32)
    odd = (payloads[0], payloads[1], payloads[2], np.float32(np.inf), np.float32(-0.0))
    for _ in range(int(rng.integers(1, 4))):
        values[int(rng.integers(rows)), int(rng.integers(vocab))] = odd[int(rng.integers(5))]
    if rng.random() < 0.2:
        values[int(rng.integers(rows))] = -np.inf
    return Draft(values, simple_batch(rng, vocab) if rng.random() < 0.5 else either(rng, vocab))


def one_dimension(rng: np.random.Generator, index: int) -> Draft:
    """Logits [V]: the reference takes them only while top-p is off."""
    _, vocab = shape(rng, index)
    return Draft(gaussian(rng, 1, vocab, 2.0)[0], either(rng, vocab))


def long_rows(rng: np.random.Generator, index: int) -> Draft:
    """Vocabularies of language models, up to 151,936; one row in most, so that threads matter."""
    vocabularies = (32_000, 32_768, 32_769, 49_152, 50_257, 65_536, 128_256, 151_936)
    vocab = vocabularies[index % len(vocabularies)]
    rows = 2 if index % 5 == 4 else 1
    values = gaussian(rng, rows, vocab, pick(rng, (1.0, 3.0, 6.0)))
    if index % 3 == 2:
        values = round_bf16(values)
    return Draft(values, either(rng, vocab))


VAST = (
    (1 << 18, SampleLogits),
    ((1 << 18) + 300, SampleLogits),
    ((1 << 18) + 300, SimpleBatch),
    ((1 << 20) - 1, SampleLogits),
    ((1 << 20) + 300, SampleLogits),
    ((1 << 20) + 300, SimpleBatch),
    (1 << 24, SampleLogits),
    ((1 << 24) + 1, SampleLogits),
    ((1 << 24) + 300, SimpleBatch),
)
"""V and sampler of vast rows. ``torch.multinomial`` draws from 2^24 categories, and from no more
(``aten/src/ATen/native/Distributions.cpp``): beyond that ``sample_logits`` raises. The simple
sampler takes any V; beyond 2^24 an index is no longer exact in f32."""

LIKELY = 256
"""Of so many last tokens of a vast row, every other one is likely. Where V is even, those have odd
indices, which f32 does not hold beyond 2^24."""


def vast_rows(rng: np.random.Generator, index: int) -> Draft:
    """Vocabularies about 2^18, 2^20 and 2^24; the likeliest tokens need every bit of an index."""
    turn, kind = divmod(index, len(VAST))
    vocab, sampler = VAST[kind]
    # What is repeated is a tie: a stretch of random numbers, then the same ones again.
    values = np.resize(rng.standard_normal(min(vocab, 1 << 20), np.float32), (1, vocab))
    # 128 times e^24 outweigh 2^24 others, whose mean e^x is below 2, a hundred thousandfold.
    values[:, 1 - LIKELY :: 2] += np.float32(24 - turn % 3 * 4)
    if kind % 3 == 1 and vocab < 1 << 24:
        values = round_bf16(values)
    if sampler is SimpleBatch:
        parameters: AnyParameters = SimpleBatch(pick(rng, (1.0, 0.0)), pick(rng, (1.0, 0.7)))
    elif vocab >= 1 << 24:
        # To sort so many for top-p takes the reference ten seconds.
        parameters = SampleLogits(top_p=0.0, top_k=int(pick(rng, (0, 20))))
    else:
        parameters = sample_logits(rng, vocab)
    return Draft(values, parameters, calls=1 if vocab >= 1 << 24 else 2)


def _real(rng: np.random.Generator, vocab: int, rows: int) -> Logits:
    recorded = real_logits()
    chosen = rng.choice(len(recorded), size=rows, replace=False)
    return np.ascontiguousarray(recorded[chosen, :vocab])


def real_tts(rng: np.random.Generator, index: int) -> Draft:
    """A language model's logits, sliced as the TTS stages slice theirs, with their presets."""
    parameters, vocab = PRESETS["semantic" if index % 2 else "global"]
    values = _real(rng, vocab, int(pick(rng, (1, 1, 2, 4))))
    if index % 4 >= 2:
        values = round_bf16(values)
    return Draft(values, parameters)


def long_series(rng: np.random.Generator, index: int) -> Draft:
    """Hundreds of calls with one generator, as one sentence of speech takes them."""
    if index % 3 == 2:
        return Draft(gaussian(rng, 1, 257, 2.0), SimpleBatch(noise=1.0))
    parameters, vocab = PRESETS["semantic" if index % 3 else "global"]
    return Draft(_real(rng, vocab, 1), parameters)


def many_calls(rng: np.random.Generator, index: int) -> Draft:
    """Rows that a sampler may decide from estimates, and enough calls to see where it must not."""
    vocab = int(rng.integers(2048, 4200))
    values = gaussian(rng, 1, vocab, pick(rng, (1.0, 2.0, 4.0, 10.0)))
    match index % 5:
        case 1:
            values = round_bf16(values)
        case 2:
            values = -np.sort(-values, axis=-1)
        case 3:
            ranks = rng.permutation(vocab)[None] + 1
            values = (-pick(rng, (0.8, 1.2, 2.0)) * np.log(ranks)).astype(np.float32)
        case 4:
            values[:, vocab // 2 :] = -np.inf
    parameters = SampleLogits(
        temperature=pick(rng, (1.0, 1.0, 0.7, 1.3)),
        top_p=pick(rng, (0.0, 0.3, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0)),
        top_k=int(pick(rng, (0, 0, 0, 20, 31))),
    )
    return Draft(values, parameters)


def real_whole(rng: np.random.Generator, index: int) -> Draft:
    """A language model's logits over its whole vocabulary of 49,152."""
    values = _real(rng, 49_152, 2 if index % 5 == 4 else 1)
    if index % 4 == 3:
        values = round_bf16(values)
    return Draft(values, either(rng, 49_152))


REAL: dict[str, Family] = {
    "real-tts": real_tts,
    "real-whole": real_whole,
    "long-streams": long_series,
}
"""A language model's logits, and parameters that are really used."""

MADE: dict[str, Family] = {
    "many-calls": many_calls,
    "gaussian": gaussian_logits,
    "zipf": zipf_logits,
    "bf16": bf16_logits,
    "f16": f16_logits,
    "masked": masked_logits,
    "top-k-tie": top_k_tie_logits,
    "top-p-tie": top_p_tie_logits,
    "flat": flat_logits,
    "sorted": sorted_logits,
    "boundary": boundary_logits,
    "crossing": crossing_logits,
    "long-rows": long_rows,
    "vast-rows": vast_rows,
}
"""Made-up logits and parameters of sense."""

ODD: dict[str, Family] = {
    "huge": huge_logits,
    "denormal": denormal_logits,
    "one-dimension": one_dimension,
    "odd-parameters": odd_parameters,
    "odd-logits": odd_logits,
}
"""What few will ever give to a sampler: the edges of what the reference accepts, and beyond."""

FAMILIES: dict[str, Family] = {**REAL, **MADE, **ODD}
"""Every family by name, what matters most to a user first: a run compares them in this order, and
keeps the evidence of the first divergences of a kind."""


YOURS = "your-logits"
"""The family of cases that :mod:`sampler_parity.cases.your_logits` makes of somebody's files."""


def importance(family: str) -> int:
    """Rank a family by what matters to a user: 0 for real logits, 2 for what is odd."""
    return 0 if family == YOURS or family in REAL else 2 if family in ODD else 1
