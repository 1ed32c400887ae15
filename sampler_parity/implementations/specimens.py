"""Samplers with known faults, kept to show that the gate catches them.

Three are ports as they were found, in Rust; two are Python functions that share the reference's
name and none of its steps but the first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from sampler_parity.build.instrumented import instrumented
from sampler_parity.implementations.plug_in import Logits, PlugIn, plug_in
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


def _torch_generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _advance(generator: torch.Generator, steps: int) -> None:
    torch.empty(steps).uniform_(generator=generator)


Probabilities = Callable[[torch.Tensor, SampleLogits], torch.Tensor]


def _namesake(name: str, probabilities: Probabilities) -> PlugIn:
    """Make a specimen of a Python function that draws from ``probabilities`` as torch does."""

    @plug_in(
        name,
        view="probs",
        stream="torch",
        generator=_torch_generator,
        advance=_advance,
        version="from its definition",
    )
    def sample(
        logits: Logits, parameters: SampleLogits, generator: torch.Generator
    ) -> dict[str, Any]:
        probs = torch.softmax(torch.from_numpy(logits.copy()), dim=-1)
        probs = probabilities(probs, parameters)
        probs = probs / probs.sum()
        token = torch.multinomial(probs, 1, generator=generator)
        return {"renormalized": probs.numpy(), "token": token.numpy()}

    return sample


def _tempered(probs: torch.Tensor, parameters: SampleLogits) -> torch.Tensor:
    if parameters.temperature not in {0.0, 1.0}:
        probs = probs ** (1.0 / parameters.temperature)
    return probs


def _top_p_then_top_k(probs: torch.Tensor, parameters: SampleLogits) -> torch.Tensor:
    """Keep what reaches top_p, then the k largest of the whole row, then p^(1/T)."""
    descending, order = torch.sort(probs, descending=True)
    kept = probs.clone()
    if 0 < parameters.top_p < 1:
        crossing = int((torch.cumsum(descending, dim=-1) > parameters.top_p).int().argmax())
        kept[kept < descending[crossing]] = 0
    if 0 < parameters.top_k < len(probs):
        kept[order[parameters.top_k :]] = 0
    return _tempered(kept, parameters)


def _mass_adjusted(probs: torch.Tensor, parameters: SampleLogits) -> torch.Tensor:
    """Keep the k largest, then what reaches top_p, the crossing ones cut to fit; then p^(1/T)."""
    descending, order = torch.sort(probs, descending=True)
    kept = probs.clone()
    if 0 < parameters.top_k < len(probs):
        kept[order[parameters.top_k :]] = 0
        descending = torch.where(
            torch.arange(len(probs)) < parameters.top_k, descending, torch.zeros(())
        )
    if 0 < parameters.top_p < 1:
        sums = torch.cumsum(descending, dim=-1)
        crossing = int((sums >= parameters.top_p).int().argmax())
        cutoff = descending[crossing]
        at_cutoff = kept == cutoff
        kept[kept < cutoff] = 0
        if cutoff > 0:
            missing = parameters.top_p - float(kept.sum())
            kept[at_cutoff] += missing / float(at_cutoff.sum())
    return _tempered(kept, parameters)


rwkv_pip = _namesake("specimen-rwkv-pip", _top_p_then_top_k)
batch_inference = _namesake("specimen-batch-inference", _mass_adjusted)

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
    )
}
"""Every specimen by its name."""
