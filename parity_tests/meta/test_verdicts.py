"""The verdict engine: correct samplers are never called semantic, wrong ones always are."""

import operator
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from parity_tests.meta import plain
from parity_tests.meta.plain import F32, Array, Plain, nucleus
from sampler_parity.case import Case, SampleLogits
from sampler_parity.cases.plan import case_of
from sampler_parity.compare import compare
from sampler_parity.compare.causes import judge
from sampler_parity.implementation import Implementation
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.outcome import Outcome
from sampler_parity.verdict import Divergence, Verdict

FAMILIES = (
    "gaussian", "zipf", "flat", "bf16", "f16", "top-k-tie", "top-p-tie", "sorted", "masked",
    "huge", "denormal", "boundary", "crossing", "real-tts",
)  # fmt: skip
HARMLESS = {Verdict.EXACT, Verdict.ROUNDING, Verdict.TIE_ORDER}


def accepted(families: tuple[str, ...], count: int, seed: int) -> Iterator[Case]:
    """Cases of ``sample_logits`` that the reference accepts."""
    for family in families:
        for index in range(count):
            case = case_of(f"{family}-{index}@{seed}")
            if isinstance(case.parameters, SampleLogits):
                yield replace(case, threads=1)


def reference(case: Case) -> Outcome:
    return PythonRef().run(case, capability_here())


@pytest.fixture(scope="module")
def cases() -> list[tuple[Case, Outcome]]:
    found = [(case, reference(case)) for case in accepted(FAMILIES, 100, seed=5)]
    return [(case, outcome) for case, outcome in found if outcome.failure is None]


def divergences(
    candidate: Implementation, cases: list[tuple[Case, Outcome]]
) -> Iterator[tuple[Case, Divergence]]:
    for case, expected in cases:
        actual = candidate.run(case, "")
        found = judge(case, expected, actual, compare(case, expected, actual))
        if found is not None:
            yield case, found


def by_torch_f64(x: Array, _: SampleLogits) -> Array:
    return torch.softmax(torch.from_numpy(x).double(), dim=-1).numpy()


def pairwise(kept: Array, _: SampleLogits) -> Array:
    return kept * (1 / kept.sum(axis=-1, keepdims=True))


CORRECT = [
    Plain("numpy f64"),
    Plain("numpy f32", precision=np.float32),
    Plain("torch f64 cast back", softmax=by_torch_f64),
    Plain("numpy f32, by reciprocals", precision=np.float32, renormalize=pairwise),
]


@pytest.mark.parametrize("candidate", CORRECT, ids=lambda candidate: candidate.name)
def test_a_correct_sampler_is_never_semantic(
    candidate: Plain, cases: list[tuple[Case, Outcome]]
) -> None:
    verdicts = Counter[Verdict]()
    for case, found in divergences(candidate, cases):
        verdicts[found.verdict] += 1
        assert found.verdict in HARMLESS, (case.id, found)
    assert len(cases) > 1000
    assert verdicts[Verdict.ROUNDING] > 100, "a sampler that never differs proves nothing"
    assert verdicts[Verdict.TIE_ORDER] > 10


def by_reciprocal_in_f16(x: Array, p: SampleLogits) -> Array:
    return (x / p.temperature).astype(np.float16).astype(x.dtype)


def untempered(x: Array, _: SampleLogits) -> Array:
    return x


def hotter(x: Array, p: SampleLogits) -> Array:
    return x / (p.temperature * 1.01)


def flushed(x: Array, _: SampleLogits) -> Array:
    probs = plain.softmax(x, _).astype(F32)
    return np.where(probs < np.finfo(F32).tiny, F32(0), probs)


def half(x: Array, _: SampleLogits) -> Array:
    return plain.softmax(x, _).astype(np.float16)


def unnormalized(x: Array, _: SampleLogits) -> Array:
    return np.exp(x - x.max(axis=-1, keepdims=True))


def shifted_vocabulary(x: Array, _: SampleLogits) -> Array:
    return np.roll(plain.softmax(x, _), 1, axis=-1)


def exactly_k(probs: Array, p: SampleLogits) -> Array:
    if p.top_k <= 0:
        return np.ones(probs.shape, bool)
    ranks = np.argsort(np.argsort(-probs, axis=-1, kind="stable"), axis=-1)
    return ranks < p.top_k


def above_threshold(probs: Array, p: SampleLogits) -> Array:
    kept = plain.top_k(probs, p)
    if p.top_k > 0:
        kept &= probs > np.sort(probs, axis=-1)[..., -p.top_k, None]
    kept[probs == probs.max(axis=-1, keepdims=True)] = True
    return kept


def one_more(probs: Array, p: SampleLogits) -> Array:
    return plain.top_k(probs, replace(p, top_k=min(p.top_k + 1, probs.shape[-1]) if p.top_k else 0))


def one_fewer(probs: Array, p: SampleLogits) -> Array:
    return plain.top_k(probs, replace(p, top_k=max(p.top_k - 1, 1) if p.top_k > 0 else 0))


def no_top_k(probs: Array, _: SampleLogits) -> Array:
    return np.ones(probs.shape, bool)


def renormalized_between(probs: Array, p: SampleLogits) -> Array:
    return plain.top_p(probs / probs.sum(axis=-1, keepdims=True), p)


def greedy_without_nucleus(probs: Array, p: SampleLogits) -> Array:
    if p.top_p > 0:
        return plain.top_p(probs, p)
    return np.arange(probs.shape[-1]) == probs.argmax(axis=-1)[..., None]


def untouched(kept: Array, _: SampleLogits) -> Array:
    return kept


def smoothed(kept: Array, _: SampleLogits) -> Array:
    kept = kept + 1e-6
    return kept / kept.sum(axis=-1, keepdims=True)


def tempered_after(kept: Array, p: SampleLogits) -> Array:
    kept = kept ** (1 / p.temperature)
    return kept / kept.sum(axis=-1, keepdims=True)


def inverse_cdf(probs: Array, generator: torch.Generator) -> Array:
    u = torch.rand(probs.shape[0], 1, generator=generator).numpy()
    return (np.cumsum(probs, axis=-1) <= u).sum(axis=-1).clip(max=probs.shape[-1] - 1)


def argmax(probs: Array, _: torch.Generator) -> Array:
    return probs.argmax(axis=-1)


def rows_reversed(probs: Array, generator: torch.Generator) -> Array:
    return plain.draw(probs[::-1], generator)[::-1]


def twice(probs: Array, generator: torch.Generator) -> Array:
    plain.draw(probs, generator)
    return plain.draw(probs, generator)


def log_for_log1p(probs: Array, generator: torch.Generator) -> Array:
    u = torch.empty(probs.shape, dtype=torch.float64).uniform_(generator=generator).numpy()
    with np.errstate(all="ignore"):
        return (probs / -np.log(u)).argmax(axis=-1)


def not_advanced(probs: Array, generator: torch.Generator) -> Array:
    return plain.draw(probs, generator.clone_state())


def swapped(p: SampleLogits) -> SampleLogits:
    return replace(p, temperature=p.top_p or 1.0, top_p=p.temperature)


S, G = Verdict.SEMANTIC, Verdict.GENERATOR
MISTAKES: dict[str, tuple[Plain, str, Verdict]] = {
    "logits rounded to f16": (Plain(scale=by_reciprocal_in_f16), "scaled_logits", S),
    "temperature forgotten": (Plain(scale=untempered), "scaled_logits", S),
    "temperature off by 1 %": (Plain(scale=hotter), "scaled_logits", S),
    "denormals flushed": (Plain(softmax=flushed), "probs", S),
    "probabilities in f16": (Plain(softmax=half), "probs", S),
    "softmax not normalised": (Plain(softmax=unnormalized), "probs", S),
    "vocabulary off by one": (Plain(softmax=shifted_vocabulary), "probs", S),
    "top-k by exactly k": (Plain(top_k=exactly_k), "top_k_mask", S),
    "top-k <= for <": (Plain(top_k=above_threshold), "top_k_mask", S),
    "top-k one more": (Plain(top_k=one_more), "top_k_mask", S),
    "top-k one fewer": (Plain(top_k=one_fewer), "top_k_mask", S),
    "top-k forgotten": (Plain(top_k=no_top_k), "top_k_mask", S),
    "top-p >= for >": (Plain(top_p=nucleus(operator.ge)), "top_p_mask", S),
    "top-p without the shift": (
        Plain(top_p=nucleus(shift=False)), "top_p_mask", S,
    ),
    "top-p renormalised before": (Plain(top_p=renormalized_between), "top_p_mask", S),
    "top_p = 0 as greedy": (Plain(top_p=greedy_without_nucleus), "top_p_mask", S),
    "top-p ascending": (Plain(top_p=nucleus(descending=False)), "top_p_mask", S),
    "not renormalised": (Plain(renormalize=untouched), "renormalized", S),
    "smoothed": (Plain(renormalize=smoothed), "renormalized", S),
    "temperature once more at the end": (Plain(renormalize=tempered_after), "renormalized", S),
    "draw by inverse CDF": (Plain(draw=inverse_cdf), "token", G),
    "draw is argmax": (Plain(draw=argmax), "token", G),
    "draw out of row order": (Plain(draw=rows_reversed), "token", G),
    "generator advanced twice": (Plain(draw=twice), "token", G),
    "generator not advanced": (Plain(draw=not_advanced), "token", G),
    "log for log1p": (Plain(draw=log_for_log1p), "token", G),
    "temperature and top_p swapped": (Plain(parameters=swapped), "scaled_logits", S),
    "input mutated": (Plain(mutates=True), "input", Verdict.EFFECT),
}  # fmt: skip


CONSEQUENCES = {("error", Verdict.ERROR), ("generator", G)}
"""Nothing left to draw from; or no token differs by chance, and only the generator tells."""


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_its_stage_and_verdict(name: str, cases: list[tuple[Case, Outcome]]) -> None:
    """The gravest cause is the planted one, or harmless where the mistake does not show."""
    candidate, stage, verdict = MISTAKES[name]
    few = cases[::4]
    caught = Counter((found.stage, found.verdict) for _, found in divergences(candidate, few))
    grave = {cause: n for cause, n in caught.items() if cause[1] not in HARMLESS}
    assert grave, "the mistake was not caught"
    if name not in {"temperature and top_p swapped", "input mutated"}:
        assert set(grave) - CONSEQUENCES == {(stage, verdict)}, grave
    assert grave[stage, verdict] > 0


def test_the_port_is_exact(cases: list[tuple[Case, Outcome]]) -> None:
    from sampler_parity.implementations.rust_ext import RustExt

    capability = capability_here()
    port = RustExt()
    for case, expected in cases:
        actual = port.run(case, capability)
        assert judge(case, expected, actual, compare(case, expected, actual)) is None
