"""Measures what the judge promises of correct samplers, and the smallest fault that it sees.

    python -m benchmarks.verdicts_evidence [--cases 100000] [--seed 1]

Correct samplers of other arithmetic run cases of every family at parameters drawn from the edges of
what the reference accepts, and are judged in every view and with either stream. None may be called
worse than ``tie_order``; on a stream of their own, none may differ at all where only tokens are
shown. Then, for rows of each length, the smallest error of a temperature that a distribution shows.
One core takes about a quarter of an hour for 100,000 cases, which are 600,000 verdicts.
"""

import argparse
import math
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from sampler_parity.cases.families import FAMILIES
from sampler_parity.cases.fixtures import real_logits
from sampler_parity.cases.plan import case_of
from sampler_parity.faults import plain
from sampler_parity.faults.mistakes import CORRECT
from sampler_parity.faults.plain import F32, AnyArray, Plain, PlainSimple
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.reference import start_generator
from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About, Implementation, Stream, View
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import HARMLESS, Divergence, Verdict
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.pipelines.fates import fates

LONGEST = 10_000
"""The longest row that is judged here, but in one case of ``LONG_EVERY``."""
LONG_EVERY = 10
SHOWN = 20
"""Divergences that are printed."""


def near(*values: float) -> tuple[float, ...]:
    """Give each value with its neighbours in f32 and in f64."""
    ends = [(kind, end) for kind in (np.float32, np.float64) for end in (-np.inf, np.inf)]
    beside = [float(np.nextafter(kind(v), kind(end))) for v in values for kind, end in ends]
    return (*values, *beside)


TEMPERATURES = (
    *near(1.0, -1.0, 0.5, 1 / 3, 3.0), np.inf, -np.inf, 1e-45, 1e-40, -1e-40, 3e-39, 1.2e-38,
    1e-30, -1e-30, 1e-12, 1e-6, -1e-6, 1e-3, -0.05, -0.8, 2.5, 1e3, -1e3, 1e6, 1e7, -1e7, 3e7,
    1e9, 1e30, 1e38, -1e38, 3e38, 1e39, -1e39, 1e300,
)  # fmt: skip
TOP_PS = (
    *near(1.0, 0.95, 0.5, 0.25, 0.125, 1 / 3), 0.1, 0.85, 0.999, 1e-45, 5e-324, 1e-310, 1e-38, 1e-7,
    1.5, 3.5e38, 1e39, np.inf, 0.0, -0.0, -1.0, np.nan,
)  # fmt: skip
NOISES = (0.0, -0.0, 1e-50, 1e-45, 1e-44, 1e-38, 1e-7, 1e-3, 0.5, 1.0, 7.3, 1e6, 1e30, 1e38, 3e38)
TEMPS = (
    *near(1.0, 3.0), 1e-45, 1e-40, 3e-39, 1.2e-38, 1e-30, 1e-3, 0.7, 2.0, 1e7, 1e30, 1e38, 3e38,
    1e39, 1e300, np.inf,
)  # fmt: skip


def adversarial(case: Case, rng: np.random.Generator) -> Case:
    """Draw parameters from the edges, or leave some as they are."""
    vocab = case.logits.shape[-1]
    parameters: Any = case.parameters
    if isinstance(parameters, SimpleBatch):
        forbidden = int(rng.integers(vocab)) if _chance(rng, 0.2) else None
        changed = SimpleBatch(_pick(rng, NOISES), _pick(rng, TEMPS), forbidden)
        return replace(case, parameters=changed)
    top_ks = (
        0,
        -1,
        1,
        2,
        min(20, vocab),
        max(vocab - 1, 1),
        vocab,
        int(rng.integers(1, vocab + 1)),
    )
    temperature, top_p, top_k = parameters.temperature, parameters.top_p, parameters.top_k
    if _chance(rng, 0.8):
        temperature = _pick(rng, TEMPERATURES)
    if _chance(rng, 0.6):
        top_p = _pick(rng, TOP_PS)
    elif _chance(rng, 0.3):
        # At a partial sum of equal probabilities, or beside it.
        top_p = _pick(rng, near(int(rng.integers(1, vocab + 1)) / vocab))
    if _chance(rng, 0.6):
        top_k = top_ks[int(rng.integers(len(top_ks)))]
    if _chance(rng, 0.02):
        return replace(case, parameters=SampleLogits(0.0, top_p, top_k, "argmax"))
    return replace(case, parameters=SampleLogits(temperature, top_p, top_k))


def _chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def _pick(rng: np.random.Generator, values: tuple[float, ...]) -> float:
    return values[int(rng.integers(len(values)))]


def by_reciprocal(x: AnyArray, p: SampleLogits) -> AnyArray:
    """Multiply by the reciprocal of the temperature, where it is a number."""
    factor = x.dtype.type(1) / x.dtype.type(p.temperature)
    return x * factor if np.isfinite(factor) else plain.scale(x, p)


def by_quotient(x: AnyArray, p: SimpleBatch) -> AnyArray:
    """Divide by the temperature, where f32 has a number for it and for its reciprocal."""
    both = np.array([p.temp, 1 / p.temp]).astype(F32)
    return x / both[0] if (both > 0).all() and np.isfinite(both).all() else plain.scale_simple(x, p)


def by_powers_of_two(x: AnyArray, _: SampleLogits) -> AnyArray:
    """Take exponentials to base 2, and multiply by the reciprocal of their sum."""
    powers = np.exp2((x - x.max(axis=-1, keepdims=True)) * x.dtype.type(np.log2(math.e)))
    return powers * (1 / powers.sum(axis=-1, keepdims=True))


def summed_one_by_one(x: AnyArray, _: SampleLogits) -> AnyArray:
    """Add the exponentials from the first to the last, in the logits' precision."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / np.add.accumulate(e, axis=-1)[..., -1:]


@dataclass(frozen=True)
class Unrounded(Plain):
    """A sampler that rounds nothing to f32 but the distribution that it shows."""

    def run(self, case: Case, capability: str) -> Outcome:
        """Draw from the distribution as it was before it was rounded."""
        found = super().run(case, capability)
        parameters: Any = case.parameters
        if found.failure is None and not found.declined and isinstance(parameters, SampleLogits):
            generator = start_generator(case)
            final = self.wide(case.logits, parameters)
            found.stages = {"renormalized": final.astype(F32)}
            found.tokens = [self.draw(final, generator) for _ in range(case.draws)]
        return found

    def wide(self, logits: AnyArray, p: SampleLogits) -> AnyArray:
        """Compute the distribution in f64."""
        with np.errstate(all="ignore"):
            probs = self.softmax(self.scale(logits.astype(np.float64), p), p)
            kept = np.where(plain.top_k(probs, p), probs, 0.0)
            if p.top_p > 0:
                order = np.argsort(-kept, axis=-1, kind="stable")
                sums = np.cumsum(np.take_along_axis(kept, order, axis=-1), axis=-1)
                crossed = plain.after_first(sums > p.top_p)
                kept = np.where(plain.unsort(crossed, order), 0.0, kept)
            return kept / kept.sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class LastOfEqual(Plain):
    """A sampler that takes the last of several largest logits at temperature 0."""

    def run(self, case: Case, capability: str) -> Outcome:
        """Run the case; nothing is drawn at temperature 0."""
        parameters: Any = case.parameters
        if not isinstance(parameters, SampleLogits) or parameters.temperature != 0:
            return super().run(case, capability)
        token = case.logits.shape[-1] - 1 - case.logits[..., ::-1].argmax(axis=-1)
        final = (np.arange(case.logits.shape[-1]) == np.expand_dims(token, -1)).astype(F32)
        masks = {name: np.ones(final.shape, bool) for name in ("top_k_mask", "top_p_mask")}
        stages = {"scaled_logits": case.logits.copy(), "probs": final, **masks}
        return Outcome(
            stages={**stages, "renormalized": final.copy()},
            tokens=[token.reshape(-1) for _ in range(case.draws)],
            input=case.logits.copy(),
            generator=start_generator(case).get_state().numpy().tobytes(),
        )


SAMPLERS: tuple[Plain | PlainSimple, ...] = (
    *CORRECT,
    Plain("numpy f64, temperature by reciprocal", scale=by_reciprocal),
    Plain("numpy f32, temperature by reciprocal", precision=np.float32, scale=by_reciprocal),
    Plain("numpy f32, powers of two", precision=np.float32, softmax=by_powers_of_two),
    Plain("numpy f32, summed one by one", precision=np.float32, softmax=summed_one_by_one),
    Unrounded("numpy f64, not rounded in between"),
    PlainSimple("numpy f32"),
    PlainSimple("numpy f32, temperature by quotient", scale=by_quotient),
)
"""Samplers without a mistake whose bits are not the reference's."""

VIEWS: tuple[tuple[View, Stream], ...] = (
    ("trace", "torch"), ("probs", "torch"), ("tokens", "torch"),
    ("trace", "own"), ("probs", "own"), ("tokens", "own"),
)  # fmt: skip


def judged(
    candidate: Implementation, case: Case, expected: Outcome, capability: str
) -> Iterator[tuple[View, Stream, Divergence | None]]:
    """Judge what ``candidate`` makes of a case in every view, and with either stream."""
    for stream in ("torch", "own"):
        seed = case.seed if stream == "torch" else case.seed ^ 1
        outcome = candidate.run(replace(case, seed=seed), capability)
        if outcome.declined:
            return
        # Of logits [V], the plain samplers give a number; the reference gives tokens [1].
        outcome.tokens = [tokens.reshape(-1) for tokens in outcome.tokens]
        for view, of in VIEWS:
            if of != stream or (view == "trace" and isinstance(candidate, Unrounded)):
                continue
            about = About(name="correct", view=view, stream=of, effects=())
            shown = {k: v for k, v in outcome.stages.items() if k in about.stages(case)}
            seen = replace(outcome, stages=shown)
            comparison = compare(case, expected, seen, about)
            yield view, of, judge(case, expected, seen, comparison, about)


def cases(seed: int) -> Iterator[tuple[Case, Outcome, int]]:
    """Give cases of every family that the reference accepts, with its outcomes and a number."""
    rng, reference, capability = np.random.default_rng(seed), PythonRef(), capability_here()
    index = number = 0
    while True:
        for family in FAMILIES:
            case = replace(case_of(f"{family}-{index}@{seed}"), threads=1)
            case = adversarial(replace(case, draws=min(case.draws, 3)), rng)
            if case.logits.size > LONGEST and index % LONG_EVERY:
                continue
            outcome = reference.run(case, capability)
            if outcome.failure is None:
                yield case, outcome, number
                number += 1
        index += 1


def applies(candidate: Implementation, case: Case) -> bool:
    """Whether ``candidate`` has the case's sampler, and its temperature."""
    at_zero = getattr(case.parameters, "temperature", 1.0) == 0
    return case.parameters.sampler in candidate.about.samplers and (
        not at_zero or isinstance(candidate, LastOfEqual)
    )


def false_alarms(wanted: int, seed: int) -> Iterator[tuple[Case, str, View, Stream, Divergence]]:
    """Judge ``wanted`` outcomes of correct samplers; give what is worse than ``tie_order``.

    The counts are printed at the end.
    """
    found, taken, number = Counter[str](), Counter[str](), 0
    everyone = (*SAMPLERS, LastOfEqual("last of equal"))
    families = Counter[str]()
    for case, expected, at in cases(seed):
        # Two of the samplers in turn: all cases are not needed for each.
        able = [candidate for candidate in everyone if applies(candidate, case)]
        for candidate in (able[at % len(able)], able[(at + 1 + at // len(able)) % len(able)]):
            families[case.family] += 1
            number += 1
            for view, stream, divergence in judged(candidate, case, expected, capability_here()):
                verdict = Verdict.EXACT if divergence is None else divergence.verdict
                found[f"{view}, {stream}: {verdict}"] += 1
                taken[candidate.name] += 1
                if divergence is None or allowed(stream, divergence):
                    continue
                yield case, candidate.name, view, stream, divergence
        if number >= wanted:
            break
    print(f"{number:,} cases, {found.total():,} verdicts")
    for counted in (found, taken, families):
        print(", ".join(f"{name} {count:,}" for name, count in sorted(counted.items())))


def allowed(stream: Stream, divergence: Divergence) -> bool:
    """Whether a correct sampler may be judged so: no token of its own stream is the reference's."""
    if divergence.verdict in HARMLESS:
        return True
    return stream == "own" and divergence.verdict is Verdict.GENERATOR


@dataclass(frozen=True)
class Row:
    """A row whose temperature is planted off.

    Attributes:
        name: what it is.
        logits: f32 [1, V].
        parameters: what it is sampled with.
    """

    name: str
    logits: Any
    parameters: SampleLogits


GAUSSIAN_LENGTHS = (4_096, 8_193, 49_152, 151_936)


FEWEST = 10
"""Tokens that top_p = 0.95 keeps of a real row, at least."""


def _kept_by_nucleus(logits: AnyArray) -> int:
    return int(np.asarray(plain.top_p(plain.softmax(logits, WHOLE), WHOLE)).sum())


WHOLE = SampleLogits(1.0, 0.95, 0)


def rows() -> Iterator[Row]:
    """Give Gaussian and real rows of each length, truncated and not, tempered and not."""
    rng = np.random.default_rng(13)
    recorded = real_logits()
    sources = [
        ("Gaussian", (2 * rng.standard_normal((1, vocab))).astype(F32))
        for vocab in GAUSSIAN_LENGTHS
    ]
    for vocab in (4_096, 8_193, 49_152):
        # Where a token has nearly all of the mass, it is kept alone: there are no ratios.
        wide = next(row for row in recorded[:, :vocab] if _kept_by_nucleus(row) >= FEWEST)
        sources.append(("real", np.ascontiguousarray(wide[None])))
    for name, logits in sources:
        for temperature in (1.0, 0.8):
            for top_p, top_k in ((0.0, 0), (0.95, 80)):
                parameters = SampleLogits(temperature, top_p, top_k)
                yield Row(f"{name}, V = {logits.shape[-1]:,}", logits, parameters)


def smallest_visible(row: Row, expected: Outcome) -> float:
    """Give the relative error of a temperature from which on a distribution is sure to show it.

    A temperature of T (1 + e) moves the logarithm of token i's probability by -e x_i beside the
    others, x_i the scaled logit. A correct f32 computation moves it by up to w_i either way. So a
    pair shows e for certain from e |x_i - x_j| > 2 (w_i + w_j) on; the e of the best pair is found
    by halving, since the largest e x - 2 w and the smallest e x + 2 w grow apart with e.
    """
    kept = expected.stages["renormalized"] > 0
    fate = fates(row.logits, row.parameters)
    truth = fate.renormalized(kept)
    x = fate.scaled[kept]
    width = np.log(truth.high[kept] / truth.low[kept])
    least, most = 0.0, 1.0
    while most - least > 1e-3 * most:
        e = (least + most) / 2
        if (e * x - width).max() > (e * x + width).min():
            most = e
        else:
            least = e
    return most


def off_by(error: float) -> Unrounded:
    """Plant a temperature that is ``error`` of itself off, and nothing else."""
    return Unrounded(
        f"temperature off by {error:.2g}", scale=lambda x, p: x / (p.temperature * (1 + error))
    )


def planted(row: Row, error: float) -> Divergence | None:
    """Judge the distribution that a sampler makes of a row by a temperature off by ``error``."""
    case = Case("row", "row", row.logits, row.parameters, seed=1)
    expected = PythonRef().run(case, capability_here())
    return next(
        divergence
        for view, stream, divergence in judged(off_by(error), case, expected, capability_here())
        if (view, stream) == ("probs", "torch")
    )


def visible_temperatures() -> bool:
    """Print the smallest error that each row shows; false where a planted one is not seen."""
    held = True
    for row in rows():
        case = Case("row", "row", row.logits, row.parameters, seed=1)
        smallest = smallest_visible(row, PythonRef().run(case, capability_here()))
        seen = [planted(row, sign * 1.01 * smallest) for sign in (1, -1)]
        caught = all(found is not None and found.verdict is Verdict.SEMANTIC for found in seen)
        unseen = planted(row, 0.1 * smallest)
        harmless = unseen is None or unseen.verdict in HARMLESS
        held &= caught and harmless
        p = row.parameters
        print(
            f"{row.name}, T = {p.temperature}, top_p = {p.top_p}, top_k = {p.top_k}: from "
            f"{smallest:.2g} on{'' if caught and harmless else ', NOT AS COMPUTED'}"
        )
    return held


def main() -> int:
    """Print the measurements; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    held = visible_temperatures()
    alarms = 0
    for case, name, view, stream, divergence in false_alarms(given.cases, given.seed):
        alarms += 1
        if alarms <= SHOWN:
            words = "; ".join(f"{cause.stage}: {cause.words}" for cause in divergence.causes)
            print(
                f"{case.id} {case.parameters} {case.logits.shape}: {name}, {view}, {stream}: "
                f"{divergence.verdict} at {divergence.stage}: {words}",
                flush=True,
            )
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"{alarms} false alarms; processor time: {used.ru_utime + used.ru_stime:.0f} s")
    return int(alarms > 0 or not held)


if __name__ == "__main__":
    sys.exit(main())
