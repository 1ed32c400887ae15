"""Which golden cases are recorded: their parameters, seeds and synthetic logits."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sampler_parity.cases.draws import round_bf16
from sampler_parity.cases.golden import GoldenCase, LogitsSource
from sampler_parity.model.case import Described
from sampler_parity.model.pipeline import Parameters, to_json
from sampler_parity.pipelines import SampleLogits, SimpleBatch

_F32 = npt.NDArray[np.float32]


def _gauss(scale: float) -> Callable[[np.random.Generator, tuple[int, int]], _F32]:
    return lambda rng, shape: (rng.standard_normal(shape) * scale).astype(np.float32)


def _masked(rng: np.random.Generator, shape: tuple[int, int]) -> _F32:
    values = _gauss(4.0)(rng, shape)
    hidden = rng.random(shape) < 0.4
    hidden[np.arange(shape[0]), rng.integers(shape[1], size=shape[0])] = False
    values[hidden] = -np.inf
    return values


def _lone(rng: np.random.Generator, shape: tuple[int, int]) -> _F32:
    values = np.full(shape, -np.inf, np.float32)
    values[np.arange(shape[0]), rng.integers(shape[1], size=shape[0])] = 1.5
    return values


def _with_nan(*fractions: float) -> Callable[[np.random.Generator, tuple[int, int]], _F32]:
    """Gaussian logits whose columns at these fractions of the row hold the NaN 0x7fc01234."""

    def make(rng: np.random.Generator, shape: tuple[int, int]) -> _F32:
        values = _gauss(1.0)(rng, shape)
        columns = [round(fraction * (shape[1] - 1)) for fraction in fractions]
        values.view(np.uint32)[:, columns] = 0x7FC0_1234
        return values

    return make


_LOGITS: Mapping[str, Callable[[np.random.Generator, tuple[int, int]], _F32]] = {
    "soft": _gauss(0.1),
    "gauss": _gauss(1.0),
    "sharp": _gauss(4.0),
    "steep": _gauss(20.0),
    "bf16": lambda rng, shape: round_bf16(_gauss(4.0)(rng, shape)),
    "coarse": lambda rng, shape: np.round(_gauss(1.5)(rng, shape)),
    "flat": lambda _, shape: np.full(shape, 0.5, np.float32),
    "masked": _masked,
    "lone": _lone,
    "huge": lambda rng, shape: rng.uniform(-3e38, 3e38, shape).astype(np.float32),
    "large": lambda rng, shape: rng.choice(np.array([-1e38, 1e38], np.float32), shape),
    "denormal": lambda rng, shape: rng.uniform(-1e-42, 1e-42, shape).astype(np.float32),
    "zeros": lambda rng, shape: rng.choice(np.array([-0.0, 0.0], np.float32), shape),
    "nan-first": _with_nan(0.0),
    "nan-last": _with_nan(1.0),
    "nan-twice": _with_nan(0.4, 0.8),
}
"""Families of synthetic logits; ``bf16``, ``coarse``, ``flat`` and ``zeros`` are full of ties."""

_INF = math.inf
_NAN = math.nan


class _Sample(NamedTuple):
    batch: int
    vocab: int
    family: str
    temperature: float
    top_p: float
    top_k: int
    draws: int = 3
    threads: int = 1


class _Simple(NamedTuple):
    batch: int
    vocab: int
    family: str
    noise: float
    temp: float
    draws: int = 3
    threads: int = 1


class _Real(NamedTuple):
    rows: tuple[int, ...]
    vocab: int
    bf16: bool
    top_p: float
    top_k: int
    draws: int
    threads: int = 1


_SAMPLE_CASES = (
    _Sample(1, 1, "gauss", 1.0, 0.95, 1, draws=700),
    _Sample(3, 1, "flat", 0.8, 0.85, 0),
    _Sample(1, 2, "gauss", 1.0, 0.95, 0, draws=400),
    _Sample(2, 2, "sharp", 0.3, 0.5, 1),
    _Sample(1, 3, "bf16", 0.8, 0.85, 0, draws=12),
    _Sample(5, 3, "flat", 1.0, 0.5, 2),
    _Sample(1, 5, "gauss", 1.7, 0.999, 5, draws=12),
    _Sample(2, 5, "masked", 1.0, 0.95, 0),
    _Sample(1, 7, "sharp", 1.0, 0.85, 0),
    _Sample(3, 7, "zeros", 1.0, 0.5, 0),
    _Sample(1, 8, "gauss", 0.8, 0.95, 0),
    _Sample(2, 8, "flat", 1.0, 0.85, 8),
    _Sample(1, 9, "steep", 1.0, 0.85, 0),
    _Sample(3, 9, "coarse", 1.7, 1.0, -1),
    _Sample(1, 15, "sharp", -1.0, 0.95, 0),
    _Sample(2, 15, "bf16", 1.0, 0.5, 5),
    _Sample(1, 16, "gauss", _INF, 0.5, 0),
    _Sample(2, 16, "coarse", 0.3, 0.999, 16),
    _Sample(1, 17, "huge", 1.0, 0.95, 0),
    _Sample(5, 17, "gauss", 1.0, 0.0, 1),
    _Sample(2, 17, "coarse", 1.0, 0.85, 0),
    _Sample(1, 31, "denormal", 1.0, 0.85, 0),
    _Sample(2, 31, "sharp", 1e-3, 0.95, 0),
    _Sample(1, 33, "soft", 1.0, 1.5, 0),
    _Sample(3, 33, "masked", 0.8, 0.95, 20),
    _Sample(2, 33, "bf16", 1.7, _NAN, 20),
    _Sample(1, 64, "flat", 1.0, 0.5, 0),
    _Sample(2, 64, "bf16", 1.0, 0.5, 20, threads=2),
    _Sample(1, 64, "coarse", 1.0, 0.85, 0),
    _Sample(1, 64, "zeros", 1.0, 0.999, 0),
    _Sample(2, 64, "gauss", 0.3, 1.0, 64),
    _Sample(1, 64, "lone", 1.0, 0.95, 20),
    _Sample(1, 64, "denormal", 0.3, 0.5, 20),
    _Sample(1, 64, "large", 1.0, 0.85, 0),
    _Sample(2, 100, "sharp", 1.0, 0.95, 20),
    _Sample(1, 100, "flat", 0.8, 0.85, 20),
    _Sample(1, 100, "gauss", -1.0, 0.5, -1),
    _Sample(3, 100, "coarse", 1.0, 0.5, 20),
    _Sample(1, 100, "bf16", 1e-3, 0.999, 0),
    _Sample(1, 100, "soft", _INF, 0.95, 20),
    _Sample(1, 127, "gauss", 1.0, 0.0, 0),
    _Sample(2, 127, "masked", 1.7, 0.85, 0),
    _Sample(1, 127, "coarse", 0.8, 0.95, 20, threads=4),
    _Sample(1, 127, "zeros", -1.0, 0.5, 0),
    _Sample(1, 257, "gauss", 0.8, 0.95, 20),
    _Sample(1, 257, "bf16", 1.0, 0.85, 0),
    _Sample(2, 257, "coarse", 1.0, 0.5, 0),
    _Sample(1, 257, "flat", 1.0, 0.95, 0),
    _Sample(1, 257, "soft", 1.0, 1.0, 0),
    _Sample(1, 257, "steep", 0.3, 0.999, 257),
    _Sample(1, 257, "huge", 1.0, 1.5, 20),
    _Sample(1, 257, "masked", 1.0, _NAN, 0),
    _Sample(1, 1000, "gauss", 1.0, 0.95, 20),
    _Sample(1, 1000, "bf16", 0.8, 0.85, 0),
    _Sample(1, 1000, "coarse", 1.0, 0.5, 0),
    _Sample(1, 1000, "soft", 1.0, 1.0, 0),
    _Sample(1, 2049, "bf16", 1.0, 0.95, 80),
    _Sample(1, 2049, "gauss", 1.7, 0.999, 0),
    _Sample(5, 1000, "bf16", 1.0, 0.95, 20),
    _Sample(3, 2049, "coarse", 0.8, 0.85, 0),
    _Sample(2, 2049, "flat", 1.0, 0.5, 0),
)

_REAL_CASES = (
    _Real((3,), 4096, False, 0.95, 20, draws=32),
    _Real((12,), 4096, False, 0.95, 20, draws=32),
    _Real((20,), 4096, True, 0.95, 20, draws=32),
    _Real((7, 17), 4096, True, 0.95, 20, draws=8),
    _Real((4,), 8193, False, 0.95, 80, draws=32),
    _Real((18,), 8193, False, 0.95, 80, draws=32),
    _Real((22,), 8193, True, 0.95, 80, draws=32),
    _Real((0, 13), 8193, True, 0.95, 80, draws=8),
    _Real((21,), 49152, False, 0.85, 0, draws=4, threads=1),
    _Real((21,), 49152, False, 0.85, 0, draws=4, threads=2),
    _Real((21,), 49152, False, 0.85, 0, draws=4, threads=4),
    _Real((23,), 49152, True, 0.85, 0, draws=4, threads=1),
    _Real((2, 11, 23), 49152, False, 0.85, 0, draws=2, threads=2),
)

_SIMPLE_CASES = (
    _Simple(1, 1, "gauss", 1.0, 1.0, draws=700),
    _Simple(3, 2, "zeros", 0.0, 1.0),
    _Simple(2, 3, "gauss", 0.5, 0.7),
    _Simple(5, 7, "bf16", 1.0, 3.0),
    _Simple(1, 8, "flat", 1.0, 1.0, draws=12),
    _Simple(2, 9, "nan-first", 1.0, 0.7),
    _Simple(1, 16, "flat", 0.0, 0.7),
    _Simple(3, 17, "masked", 1.0, 1.0),
    _Simple(1, 33, "lone", 0.5, 3.0),
    _Simple(2, 64, "nan-twice", 0.5, 3.0),
    _Simple(1, 100, "nan-last", 0.0, 0.7),
    _Simple(1, 100, "denormal", 1e-3, 3.0),
    _Simple(1, 127, "coarse", 1e-3, 0.7, threads=2),
    _Simple(2, 100, "large", 1.0, 0.7),
    _Simple(1, 257, "soft", 0.5, 1.0),
    _Simple(1, 1000, "soft", 1.0, 0.7),
    _Simple(5, 1000, "bf16", 1e-3, 3.0),
)

_SIMPLE_REAL = ((14,), 8193, 1.0, 0.7)

_SEEDS = (0, 1, 2**32 - 1, 2**32, 2**32 + 7, 2**53 + 1, 2**63 - 1, 2**64 - 1)


def golden_case(
    case_id: str,
    parameters: Parameters,
    shape: tuple[int, int],
    seed: int,
    threads: int,
    draws: int,
    logits: LogitsSource,
) -> GoldenCase:
    """Give a case as it is stored beside what is recorded of it."""
    described = Described(
        id=f"recorded:{case_id}",
        family="recorded",
        parameters=to_json(parameters),
        shape=shape,
        seed=seed,
        draws=draws,
        threads=threads,
    )
    return GoldenCase(id=case_id, case=described, logits=logits)


def golden_cases() -> tuple[list[GoldenCase], dict[str, _F32]]:
    """Give every golden case, and the synthetic logits, f32 [B, V], by the case's id."""
    cases: list[GoldenCase] = []
    inputs: dict[str, _F32] = {}

    def seed() -> int:
        number = len(cases)
        return _SEEDS[number // 4 % len(_SEEDS)] if number % 4 == 0 else 1000 + number

    def synthesize(case_id: str, family: str, shape: tuple[int, int]) -> LogitsSource:
        inputs[case_id] = _LOGITS[family](np.random.default_rng(len(cases)), shape)
        return LogitsSource(tensor=case_id)

    def add(
        case_id: str,
        parameters: Parameters,
        shape: tuple[int, int],
        case_seed: int,
        threads: int,
        draws: int,
        logits: LogitsSource,
    ) -> None:
        cases.append(golden_case(case_id, parameters, shape, case_seed, threads, draws, logits))

    for number, sample in enumerate(_SAMPLE_CASES):
        shape = (sample.batch, sample.vocab)
        case_id = f"sample-{number:02d}-{sample.family}-b{sample.batch}-v{sample.vocab}"
        parameters = SampleLogits(sample.temperature, sample.top_p, sample.top_k)
        source = synthesize(case_id, sample.family, shape)
        add(case_id, parameters, shape, seed(), sample.threads, sample.draws, source)
    for number, real in enumerate(_REAL_CASES):
        kind = "bf16" if real.bf16 else "f32"
        add(
            f"real-{number:02d}-{kind}-b{len(real.rows)}-v{real.vocab}-t{real.threads}",
            SampleLogits(1.0, real.top_p, real.top_k),
            (len(real.rows), real.vocab),
            7 if real.rows == (21,) else seed(),
            real.threads,
            real.draws,
            LogitsSource(rows=real.rows, vocab=real.vocab, bf16=real.bf16),
        )
    for number, simple in enumerate(_SIMPLE_CASES):
        shape = (simple.batch, simple.vocab)
        case_id = f"simple-{number:02d}-{simple.family}-b{simple.batch}-v{simple.vocab}"
        source = synthesize(case_id, simple.family, shape)
        add(
            case_id,
            SimpleBatch(simple.noise, simple.temp),
            shape,
            seed(),
            simple.threads,
            simple.draws,
            source,
        )
    rows, vocab, noise, temp = _SIMPLE_REAL
    add(
        f"simple-{len(_SIMPLE_CASES):02d}-real-b1-v{vocab}",
        SimpleBatch(noise, temp),
        (1, vocab),
        seed(),
        1,
        3,
        LogitsSource(rows=rows, vocab=vocab, bf16=False),
    )
    return cases, inputs
