"""Samplers with known faults, kept to show that the gate catches them.

Three are ports as they were found, in Rust. The others are made from their definitions: one port as
it was published, twice, and three Python functions that share the reference's name and none of its
steps but the first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.build.extension import extension_here
from sampler_parity.build.instrumented import instrumented
from sampler_parity.implementations.plug_in import Logits, PlugIn, plug_in
from sampler_parity.implementations.rust_ext import advance
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines import SampleLogits, SimpleBatch


@dataclass(frozen=True, slots=True)
class Specimen:
    """A sampler with a known fault.

    Attributes:
        plug_in: the sampler.
        words: what is wrong with it.
        stage: where the gate must find its gravest cause.
        verdict: of which kind.
    """

    plug_in: PlugIn
    words: str
    stage: str
    verdict: Verdict


Weighed = npt.NDArray[np.float32]


def _std_rng(seed: int) -> Any:
    return instrumented().StdRng(seed)


@plug_in(
    "specimen-simple",
    view="trace",
    samplers=(SimpleBatch.sampler,),
    generator=_std_rng,
    version="as found",
)
def simple(logits: Logits, parameters: SimpleBatch, rng: Any) -> dict[str, Any]:
    """Run the Rust ``simple_batch_sampler`` as it was found."""
    trace = instrumented().specimen_simple_batch_sampler(
        logits, parameters.temp, parameters.noise, parameters.forbid_token, rng
    )
    return {stage: getattr(trace, stage) for stage in parameters.stages}


@plug_in("specimen-fast-sampler", view="probs", generator=_std_rng, version="as found")
def fast_sampler(logits: Logits, parameters: SampleLogits, rng: Any) -> dict[str, Any]:
    """Run ``FastSampler::optimized_sample`` as it was found."""
    trace = instrumented().specimen_fast_sampler(
        logits, parameters.temperature, parameters.top_p, parameters.top_k, None, rng
    )
    return {"renormalized": trace.renormalized, "token": trace.token}


@plug_in("specimen-wild", view="probs", generator=_std_rng, version="as found")
def wild(logits: Logits, parameters: SampleLogits, rng: Any) -> dict[str, Any]:
    """Run the later Rust ``sample_logits``, which was reported as fully consistent."""
    trace = instrumented().specimen_sample_logits(
        logits, parameters.temperature, parameters.top_p, parameters.top_k, rng
    )
    return {"renormalized": trace.renormalized, "token": trace.token}


def _seeded(seed: int) -> Any:
    return extension_here().Generator(seed)


def _advance(generator: Any, steps: int) -> None:
    advance(extension_here(), generator, steps)


def _probabilities(logits: Logits) -> Weighed:
    """Take the softmax as torch does, which the port gives without torch."""
    found: Weighed = extension_here().softmax(np.ascontiguousarray(logits))
    return found


def _namesake(name: str, probabilities: Callable[[Weighed, SampleLogits], Weighed]) -> PlugIn:
    """Make a specimen of a Python function that draws from ``probabilities`` as torch does."""

    @plug_in(
        name,
        view="probs",
        stream="torch",
        generator=_seeded,
        advance=_advance,
        version="from its definition",
    )
    def sample(logits: Logits, parameters: SampleLogits, generator: Any) -> dict[str, Any]:
        with np.errstate(all="ignore"):  # of a tiny temperature nothing may be left
            probs = probabilities(_probabilities(logits), parameters)
        extension = extension_here()
        probs = extension.renormalize(probs)
        return {"renormalized": probs, "token": extension.multinomial(probs, generator=generator)}

    return sample


def _tempered(probs: Weighed, parameters: SampleLogits) -> Weighed:
    if parameters.temperature not in {0.0, 1.0}:
        probs = probs ** np.float32(1.0 / parameters.temperature)
    return probs


def _sums(descending: Weighed) -> Weighed:
    """Add up as torch does: in f64, and each sum is rounded."""
    return np.cumsum(descending, dtype=np.float64).astype(np.float32)


def _top_p_then_top_k(probs: Weighed, parameters: SampleLogits) -> Weighed:
    """Keep what reaches top_p, then the k largest of the whole row, then p^(1/T)."""
    order = np.argsort(-probs, kind="stable")
    descending = probs[order]
    kept = probs.copy()
    if 0 < parameters.top_p < 1:
        crossing = int((_sums(descending) > np.float32(parameters.top_p)).argmax())
        kept[kept < descending[crossing]] = 0
    if 0 < parameters.top_k < len(probs):
        kept[order[parameters.top_k :]] = 0
    return _tempered(kept, parameters)


def _mass_adjusted(probs: Weighed, parameters: SampleLogits) -> Weighed:
    """Keep the k largest, then what reaches top_p, the crossing ones cut to fit; then p^(1/T)."""
    order = np.argsort(-probs, kind="stable")
    descending = probs[order]
    kept = probs.copy()
    if 0 < parameters.top_k < len(probs):
        kept[order[parameters.top_k :]] = 0
        descending[parameters.top_k :] = 0
    if 0 < parameters.top_p < 1:
        crossing = int((_sums(descending) >= np.float32(parameters.top_p)).argmax())
        cutoff = descending[crossing]
        at_cutoff = kept == cutoff
        kept[kept < cutoff] = 0
        if cutoff > 0:
            missing = parameters.top_p - float(kept.sum())
            kept[at_cutoff] += np.float32(missing / float(at_cutoff.sum()))
    return _tempered(kept, parameters)


rwkv_pip = _namesake("specimen-rwkv-pip", _top_p_then_top_k)
batch_inference = _namesake("specimen-batch-inference", _mass_adjusted)

CONSTANT_SEED = 42
"""The seed of the generator that the published port makes where it is given none."""


def _softmax(logits: Logits) -> Weighed:
    masses = np.exp(logits - logits.max())
    found: Weighed = masses / masses.sum()
    return found


def _cut(logits: Logits, parameters: SampleLogits) -> Weighed:
    """Keep the k largest, then what reaches top_p, then p^(1/T); the rest of the mass is lost."""
    masses = _softmax(logits)
    order = np.argsort(-masses, kind="stable")
    if 0 < parameters.top_k < len(masses):
        masses[order[parameters.top_k :]] = 0
    if parameters.top_p < 1:
        sums = np.cumsum(masses[order])
        crossing = int((sums >= parameters.top_p).argmax()) if sums[-1] >= parameters.top_p else -1
        masses[masses < masses[order[crossing]]] = 0
    if parameters.temperature not in {0.0, 1.0}:
        with np.errstate(all="ignore"):  # of a tiny temperature nothing may be left
            masses = masses ** np.float32(1 / parameters.temperature)
            masses /= masses.sum()
    return masses


def _walked(masses: Weighed, uniform: float) -> int:
    """Take the first token whose sum exceeds the uniform; the last one kept where none does."""
    beyond = np.flatnonzero(np.cumsum(masses) > uniform)
    return int(beyond[0]) if len(beyond) else int(np.flatnonzero(masses)[-1])


def _single_rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _published(name: str, *, reseeded: bool) -> PlugIn:
    """Make the port as it was published: whatever mass its cuts take away goes to the last token.

    Where it is ``reseeded``, as where its caller passes no generator, every call makes one anew
    from the constant seed, and so draws with one uniform for ever.
    """

    @plug_in(name, view="probs", generator=_single_rng, version="from its definition")
    def sample(
        logits: Logits, parameters: SampleLogits, generator: np.random.Generator
    ) -> dict[str, Any]:
        masses = _cut(logits, parameters)
        own = _single_rng(CONSTANT_SEED) if reseeded else generator
        token = _walked(masses, own.random(dtype=np.float32))
        return {"renormalized": masses, "token": np.array([token])}

    return sample


not_renormalised = _published("specimen-not-renormalised", reseeded=False)
constant_seed = _published("specimen-constant-seed", reseeded=True)


def _random_state(seed: int) -> np.random.RandomState:
    return np.random.RandomState(seed % 2**32)


@plug_in(
    "specimen-numpy-choice",
    view="probs",
    generator=_random_state,
    version="from its definition",
)
def numpy_choice(
    logits: Logits, parameters: SampleLogits, generator: np.random.RandomState
) -> dict[str, Any]:
    """Run the function that TTS scripts have: it is the ``rwkv`` package's, on other parameters."""
    temperature, top_p = parameters.temperature, parameters.top_p
    if temperature == 0:
        temperature, top_p = 1.0, 0.0
    probs = _probabilities(logits)
    order = np.argsort(probs)
    descending = probs[order][::-1]
    cutoff = descending[np.argmax(np.cumsum(descending) >= top_p)]
    probs[probs < cutoff] = 0
    if 0 < parameters.top_k < len(probs):
        probs[order[: -parameters.top_k]] = 0
    with np.errstate(all="ignore"):  # of a tiny temperature nothing may be left
        if temperature != 1:
            probs = probs ** (1 / temperature)
        probs = probs / np.sum(probs)
    token = generator.choice(a=len(probs), p=probs)
    return {"renormalized": probs, "token": np.array([token])}


SPECIMENS = {
    specimen.plug_in.about.name: specimen
    for specimen in (
        Specimen(
            simple,
            "Rust, divides by the temperature, draws its noise from another generator",
            "noised_logits",
            Verdict.GENERATOR,
        ),
        Specimen(
            fast_sampler,
            "Rust, greedy on three fast paths, exactly k, nucleus of the renormalised rest",
            "renormalized",
            Verdict.SEMANTIC,
        ),
        Specimen(
            wild,
            "Rust, exactly k, mass adjusted at the cutoff, temperature last",
            "renormalized",
            Verdict.SEMANTIC,
        ),
        Specimen(
            rwkv_pip,
            "Python, top-p, then top-k, then the temperature as p^(1/T)",
            "renormalized",
            Verdict.SEMANTIC,
        ),
        Specimen(
            batch_inference,
            "Python, top-k, then top-p with mass adjustment, then p^(1/T)",
            "renormalized",
            Verdict.SEMANTIC,
        ),
        Specimen(
            not_renormalised,
            "Rust, not renormalised at T = 1: the walk falls off its end, to the last token kept",
            "renormalized",
            Verdict.SEMANTIC,
        ),
        Specimen(
            constant_seed,
            "the same with a generator of a constant seed for every call: one uniform for ever",
            "renormalized",
            Verdict.SEMANTIC,
        ),
        Specimen(
            numpy_choice,
            "Python, top-p, then top-k, then p^(1/T), and numpy's choice: the sampler of rwkv",
            "renormalized",
            Verdict.SEMANTIC,
        ),
    )
}
"""Every specimen by its name."""
