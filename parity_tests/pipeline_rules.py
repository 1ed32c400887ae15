"""Transformers' processors beside ``rust_ext.Pipeline``: the rows and steps they are compared on.

``python -m parity_tests.pipeline_rules`` compares both at the capability that torch has there, and
prints what it found as JSON.
"""

import itertools
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import LogitsProcessorList
from transformers.generation import logits_process

import rust_ext
from sampler_parity.cases.draws import round_bf16
from sampler_parity.cases.fixtures import real_logits
from sampler_parity.implementations.python_ref import capability_here

Rows = npt.NDArray[np.float32]
Step = tuple[str, float]
Rule = Callable[[Tensor, Tensor], Tensor]
"""From a history i64 [B, n] and scores f32 [B, V] to scores, as transformers' processors are."""

PROCESSORS: dict[str, Callable[[float], Rule]] = {
    "repetition_penalty": logits_process.RepetitionPenaltyLogitsProcessor,
    "temperature": logits_process.TemperatureLogitsWarper,
    "top_k": logits_process.TopKLogitsWarper,
    "top_p": logits_process.TopPLogitsWarper,
    "min_p": logits_process.MinPLogitsWarper,
    "typical_p": logits_process.TypicalLogitsWarper,
    "epsilon_cutoff": logits_process.EpsilonLogitsWarper,
    "eta_cutoff": logits_process.EtaLogitsWarper,
}

STEPS: tuple[Step, ...] = (
    ("repetition_penalty", 1.3),
    ("repetition_penalty", 0.7),
    ("temperature", 0.7),
    ("temperature", 1.9),
    ("top_k", 1),
    ("top_k", 50),
    ("top_p", 0.9),
    ("top_p", 0.35),
    ("top_p", 0.0),
    ("top_p", 1.0),
    ("min_p", 0.05),
    ("min_p", 0.5),
    ("min_p", 1.0),
    ("typical_p", 0.9),
    ("typical_p", 0.2),
    ("epsilon_cutoff", 3e-4),
    ("epsilon_cutoff", 0.02),
    ("eta_cutoff", 3e-4),
    ("eta_cutoff", 0.02),
)
FULL_ORDER: tuple[Step, ...] = (
    ("repetition_penalty", 1.2),
    ("temperature", 0.8),
    ("top_k", 50),
    ("top_p", 0.9),
    ("min_p", 0.02),
    ("typical_p", 0.95),
    ("epsilon_cutoff", 1e-3),
    ("eta_cutoff", 1e-3),
)
"""The order of ``generate``."""

SINGLES: tuple[tuple[Step, ...], ...] = ((), *((step,) for step in STEPS), FULL_ORDER)
PAIRS: tuple[tuple[Step, ...], ...] = tuple(
    pair for pair in itertools.permutations(STEPS[::2] + STEPS[5:6], 2) if pair[0][0] != pair[1][0]
)
SIZES = ((1, 1), (2, 3), (7, 2), (15, 2), (16, 2), (17, 3), (40, 2), (1000, 2), (4099, 1))
"""Of the rows on which each step is compared: V and B."""
PAIR_SIZES = ((17, 2), (300, 2))
VAST = (49_152, 151_936)


def families(vocab: int, batch: int, random: np.random.Generator) -> Iterator[tuple[str, Rows]]:
    """Make rows of each kind, f32 [batch, vocab]."""
    gaussian = (3 * random.standard_normal((batch, vocab))).astype(np.float32)
    yield "gaussian", gaussian
    yield "bf16", round_bf16(gaussian)
    yield "flat", np.full_like(gaussian, 1.5)
    yield "near", round_bf16((gaussian / 200).astype(np.float32))
    masked = gaussian.copy()
    masked[random.random(masked.shape) < 0.7] = -np.inf
    masked[:, random.integers(vocab)] = 1
    yield "masked", masked
    yield "masked bf16", round_bf16(masked)
    peaked = gaussian.copy()
    peaked[:, random.integers(vocab)] += 25
    yield "peaked", peaked
    yield "wide", 20 * gaussian


def edges(vocab: int, random: np.random.Generator) -> Iterator[tuple[Rows, Step]]:
    """Make rows, f32 [1, vocab], with a parameter on which a comparison of f32 stands exactly."""
    for rows in (random.standard_normal((1, vocab)) * 2, np.zeros((1, vocab))):
        logits = rows.astype(np.float32)
        scores = torch.from_numpy(logits)
        place = int(random.integers(vocab))
        mass = scores.sort().values.softmax(-1).cumsum(-1)[0, place].item()
        yield logits, ("top_p", 1 - min(mass, 1.0))
        yield logits, ("top_p", min(1 - mass, 1.0) if mass < 1 else 0.0)
        probs = scores.softmax(-1)
        yield logits, ("epsilon_cutoff", probs[0, place].item())
        yield logits, ("min_p", (probs[0, place] / probs.max()).item())
        normalized = scores.log_softmax(-1)
        shifted = (-normalized + (normalized * normalized.exp()).nansum(-1, keepdim=True)).abs()
        order = shifted.sort().indices
        typical = scores.gather(-1, order).softmax(-1).cumsum(-1)[0, place].item()
        if 0 < typical < 1:
            yield logits, ("typical_p", typical)


@dataclass(slots=True)
class Found:
    """What a comparison found.

    Attributes:
        capability: torch's.
        rows: rows that were compared, by the steps' names and the family of each.
        differing: what differs, in words.
        uncertain: rows that the port says torch may mask otherwise.
    """

    capability: str
    rows: dict[str, int] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)
    uncertain: int = 0


def bits(values: npt.NDArray[Any]) -> bytes:
    return values.tobytes()


def compare(
    logits: Rows, history: npt.NDArray[np.int64], steps: Sequence[Step], seed: int
) -> tuple[str, int]:
    """Say where the port differs from transformers, empty for nowhere; and how many rows may."""
    pipeline, ours = rust_ext.Pipeline(steps), rust_ext.Generator(seed)
    trace = pipeline.trace(logits, generator=rust_ext.Generator(seed), history=history)
    tokens = pipeline.sample(logits, generator=ours, history=history)
    theirs = torch.Generator().manual_seed(seed)
    scores, before = torch.from_numpy(logits), torch.from_numpy(history)
    uncertain = int(np.count_nonzero(~trace.certain))
    for (name, value), after in zip(steps, trace.scores, strict=True):
        scores = PROCESSORS[name](value)(before, scores)
        if bits(scores.numpy()) != bits(after):
            return f"the scores after {name} = {value}", uncertain
    probs = scores.softmax(-1)
    token = torch.multinomial(probs, 1, generator=theirs).numpy()
    for words, same in (
        ("the probabilities", bits(probs.numpy()) == bits(trace.probs)),
        ("the token of the trace", bits(token) == bits(trace.token)),
        ("the token", bits(token) == bits(tokens)),
        ("the generator", theirs.get_state().numpy().tobytes() == ours.get_state()),
    ):
        if not same:
            return words, uncertain
    return "", uncertain


def cases(seed: int) -> Iterator[tuple[str, Rows, tuple[Step, ...]]]:
    """Make everything that is compared: a family's name, rows and steps."""
    random = np.random.default_rng(seed)
    for vocab, batch in SIZES:
        for name, rows in families(vocab, batch, random):
            yield from ((name, rows, steps) for steps in SINGLES)
    for vocab, batch in PAIR_SIZES:
        for name, rows in families(vocab, batch, random):
            yield from ((name, rows, steps) for steps in PAIRS)
    for vocab in (2, 3, 10, 16, 100, 1000, 5000):
        for rows, step in edges(vocab, random):
            yield "edges", rows, (step,)
    for row in real_logits()[::4]:
        yield from (("real", row[None].copy(), steps) for steps in SINGLES)
    for vocab in VAST:
        for name, rows in itertools.islice(families(vocab, 1, random), 2):
            yield from ((name, rows, steps) for steps in SINGLES)


def compare_all(seed: int) -> Found:
    """Compare everything at this process' capability."""
    found = Found(capability_here())
    for number, (family, rows, steps) in enumerate(cases(seed)):
        random = np.random.default_rng([seed, number])
        # Beyond the vocabulary, too: such tokens are ignored.
        history = random.integers(0, rows.shape[1] + 2, (len(rows), 12))
        where, uncertain = compare(rows, history, steps, zlib.crc32(f"{seed} {number}".encode()))
        names = " + ".join(name for name, _ in steps) or "nothing"
        key = f"{names}: {family}"
        found.rows[key] = found.rows.get(key, 0) + len(rows)
        found.uncertain += uncertain
        if where:
            found.differing.append(f"{steps} on {family} {rows.shape}: {where}")
    return found


def transformers_scores(steps: Sequence[Step], history: Tensor, scores: Tensor) -> Tensor:
    """Apply transformers' processors as ``generate`` does."""
    processors = LogitsProcessorList([PROCESSORS[name](value) for name, value in steps])
    processed: Tensor = processors(history, scores)
    return processed


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.buffer.write(msgspec.json.encode(compare_all(seed=20)))
