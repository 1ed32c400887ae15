"""What the families draw their shapes and parameters from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sampler_parity.pipelines import SampleLogits, SimpleBatch

Logits = npt.NDArray[np.float32]
AnyParameters = SampleLogits | SimpleBatch

VOCABULARIES = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 255, 257)
"""Around every lane count and unrolling of the reference's kernels."""
LARGE = (999, 1000, 1024, 2049, 4096, 4099, 8193)
TEMPERATURES = (1.0, 0.8, 0.3, 1.7, 0.7, 1.3, 2.5, 0.05)
TOP_PS = (0.95, 0.85, 0.5, 0.999, 0.1, 0.0, 1.0)
TOP_KS = (0, 1, 2, 5, 20, 50, 80)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a family makes: a case without its name and seed.

    Attributes:
        logits: f32 [B, V] or [V].
        parameters: which sampler, and its parameters.
        calls: how many calls; 0 leaves that to the plan.
    """

    logits: Logits
    parameters: AnyParameters
    calls: int = 0


def pick(rng: np.random.Generator, values: tuple[float, ...] | tuple[int, ...]) -> float:
    """Take one of ``values``."""
    return values[int(rng.integers(len(values)))]


def shape(rng: np.random.Generator, index: int) -> tuple[int, int]:
    """Draw B and V: small mostly, one in sixteen large, B up to 64 while the case stays small."""
    if index % 16 == 15:
        return int(rng.integers(1, 4)), int(pick(rng, LARGE))
    vocab = int(pick(rng, VOCABULARIES)) if rng.random() < 0.7 else int(rng.integers(1, 300))
    batches = (1, 1, 2, 3, 5, 8, 16) if vocab > 40 else (1, 2, 3, 7, 32, 64)
    return int(pick(rng, batches)), vocab


def sample_logits(rng: np.random.Generator, vocab: int) -> SampleLogits:
    """Draw parameters of ``sample_logits`` that the reference accepts."""
    top_k = int(pick(rng, TOP_KS))
    if rng.random() < 0.1:
        top_k = vocab
    return SampleLogits(
        temperature=pick(rng, TEMPERATURES) if rng.random() < 0.6 else 1.0,
        top_p=pick(rng, TOP_PS) if rng.random() < 0.7 else float(rng.random()),
        top_k=min(top_k, vocab),
    )


def simple_batch(rng: np.random.Generator, vocab: int) -> SimpleBatch:
    """Draw parameters of ``simple_batch_sampler`` that the reference accepts."""
    return SimpleBatch(
        noise=pick(rng, (0.0, 0.5, 1.0, 1e-3, 7.3, 1e-7)),
        temp=pick(rng, (1.0, 0.7, 3.0, 1e-3, 0.9)),
        forbid_token=int(rng.integers(vocab)) if rng.random() < 0.2 else None,
    )


def either(rng: np.random.Generator, vocab: int) -> AnyParameters:
    """Draw parameters of one sampler or the other, three in four of ``sample_logits``."""
    return sample_logits(rng, vocab) if rng.random() < 0.75 else simple_batch(rng, vocab)


def gaussian(rng: np.random.Generator, rows: int, vocab: int, scale: float) -> Logits:
    """Draw normal logits."""
    values: Logits = (rng.standard_normal((rows, vocab)) * scale).astype(np.float32)
    return values


def round_bf16(values: Logits) -> Logits:
    """Round to bfloat16, ties to even, and back; NaN is not expected."""
    bits = values.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF_0000
    return rounded.astype(np.uint32).view(np.float32)


def round_f16(values: Logits) -> Logits:
    """Round to float16 and back."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)
