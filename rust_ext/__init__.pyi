"""Rust token samplers that replay torch on a CPU, bit for bit.

``capability`` is torch's CPU dispatch level, whose bits are computed on any machine: ``"default"``,
``"avx2"``, ``"avx512"``, or ``None`` for the one that torch would choose here (the environment
variable ``ATEN_CPU_CAPABILITY`` honoured; read once).
``threads`` is torch's thread count. It shows in one place: the renormalisation sum of a batch of
one row with more than 32,768 tokens.
"""

from typing import Any, Literal, TypeAlias, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Capability: TypeAlias = Literal["default", "avx2", "avx512"]
ZeroTemperature: TypeAlias = Literal["raise", "argmax"]

@final
class Generator:
    """Replays ``torch.Generator("cpu")``."""

    def __new__(cls, seed: int) -> Generator:
        """Seed as ``torch.Generator("cpu").manual_seed(seed)`` does.

        Raises:
            ValueError: ``seed`` is not within [-2**63, 2**64).
        """

    def manual_seed(self, seed: int) -> Generator:
        """Seed anew and return the generator itself. Raises as the constructor does."""

    def initial_seed(self) -> int:
        """The seed last given, as an unsigned number of 64 bits."""

    def get_state(self) -> bytes:
        """The state in torch's form, 5,056 bytes: ``torch.Generator.set_state`` takes it."""

    def set_state(self, state: bytes) -> None:
        """Take over what ``torch.Generator.get_state`` gave, as bytes.

        Raises:
            RuntimeError: the state is not one that torch's generator can be in; the generator is
                then as it was.
        """

@final
class SampleLogitsTrace:
    """Every stage of one ``sample_logits`` call, in order."""

    @property
    def scaled_logits(self) -> npt.NDArray[np.float32]:
        """f32 [B, V] or [V], logits / temperature."""

    @property
    def probs(self) -> npt.NDArray[np.float32]:
        """f32 [B, V], the softmax."""

    @property
    def top_k_mask(self) -> npt.NDArray[np.bool_]:
        """bool [B, V], true where top-k keeps the token (everywhere if the stage is off)."""

    @property
    def top_p_mask(self) -> npt.NDArray[np.bool_]:
        """bool [B, V], true where top-p keeps the token (everywhere if the stage is off)."""

    @property
    def renormalized(self) -> npt.NDArray[np.float32]:
        """f32 [B, V], the distribution that the token is drawn from."""

    @property
    def token(self) -> npt.NDArray[np.int64]:
        """i64 [B, 1]."""

@final
class SimpleBatchTrace:
    """Every stage of one ``simple_batch_sampler`` call, in order."""

    @property
    def scaled_logits(self) -> npt.NDArray[np.float32]:
        """f32 [B, V], logits * (1 / temp)."""

    @property
    def noised_logits(self) -> npt.NDArray[np.float32]:
        """f32 [B, V], with U[0, noise) added."""

    @property
    def token(self) -> npt.NDArray[np.int64]:
        """i64 [B, 1]."""

@final
class Preset:
    """The parameters of one TTS stage; the same as ``python_ref.Preset``."""

    @property
    def name(self) -> str: ...
    @property
    def temperature(self) -> float: ...
    @property
    def top_p(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def vocab(self) -> int: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def stop_token(self) -> int | None: ...

GLOBAL: Preset
SEMANTIC: Preset
PRESETS: tuple[Preset, ...]

def sample_logits(
    logits: npt.NDArray[np.float32],
    temperature: float = 1.0,
    top_p: float = 0.85,
    top_k: int = 0,
    *,
    generator: Generator,
    capability: Capability | None = None,
    threads: int = 1,
    zero_temperature: ZeroTemperature = "raise",
) -> npt.NDArray[np.int64]:
    """Draw one token a row, as ``python_ref.sample_logits`` does; the GIL is released.

    Args:
        logits: f32 [B, V], any strides; read, not modified. [V] works when top-p is off.
        temperature: divisor of the logits.
        top_p: nucleus mass; off when not > 0.
        top_k: number of largest probabilities that survive, ties included; off when not > 0.
        generator: where the draws come from; left alone when an error is raised.
        capability: see the module.
        threads: see the module.
        zero_temperature: what temperature 0 does: ``"raise"`` as the reference, or the first
            index of the largest logit.

    Returns:
        i64 [B, 1]; [1] for logits [V].

    Raises:
        RuntimeError: probabilities would be NaN, infinite or negative; ``top_k`` > V; more than
            two dimensions; V > 2**24; V = 0 while top-p is off.
        IndexError: [V] while top-p is on; V = 0 while it is on.
        NotImplementedError: integer or boolean logits.
        TypeError: other logits that are not a numpy array of float32.
        ValueError: unknown ``capability`` or ``zero_temperature``, ``threads`` < 1.
    """

def sample_logits_torch(
    logits: Tensor,
    temperature: float = 1.0,
    top_p: float = 0.85,
    top_k: int = 0,
    *,
    generator: torch.Generator,
    capability: Capability | None = None,
    threads: int | None = None,
    zero_temperature: ZeroTemperature = "raise",
) -> Tensor:
    """``sample_logits`` on torch's own objects: the only function here that needs torch.

    Args:
        logits: f32 [B, V] on the CPU, read without a copy; or bfloat16 or float16, widened first,
            which gives what ``python_ref.sample_logits(logits.float(), ...)`` gives.
        temperature: as of ``sample_logits``.
        top_p: as of ``sample_logits``.
        top_k: as of ``sample_logits``.
        generator: of the CPU; its state is taken over and handed back. Left alone when an error is
            raised.
        capability: as of ``sample_logits``.
        threads: torch's thread count; ``None`` asks torch.
        zero_temperature: as of ``sample_logits``.

    Returns:
        i64 [B, 1].

    Raises:
        TypeError: the generator is not one of the CPU, or the logits are of another type.
        RuntimeError, IndexError, NotImplementedError, ValueError: as ``sample_logits``.
    """

def trace_sample_logits(
    logits: npt.NDArray[np.float32],
    temperature: float = 1.0,
    top_p: float = 0.85,
    top_k: int = 0,
    *,
    generator: Generator,
    capability: Capability | None = None,
    threads: int = 1,
    zero_temperature: ZeroTemperature = "raise",
) -> SampleLogitsTrace:
    """``sample_logits``, keeping every stage. Same arguments, same errors."""

def draw(
    logits: npt.NDArray[np.float32],
    n: int,
    temperature: float = 1.0,
    top_p: float = 0.85,
    top_k: int = 0,
    *,
    generator: Generator,
    capability: Capability | None = None,
    threads: int = 1,
    zero_temperature: ZeroTemperature = "raise",
) -> npt.NDArray[np.int64]:
    """Draw ``n`` tokens of the row ``logits`` (f32 [V]) into i64 [n].

    They are what as many calls of ``sample_logits`` on [1, V] give; the other arguments and the
    errors are its own, and a ``ValueError`` says that the logits are not [V].
    """

def simple_batch_sampler(
    logits: npt.NDArray[np.float32],
    noise: float = 1.0,
    temp: float = 1.0,
    *,
    generator: Generator,
    forbid_token: int | None = None,
) -> npt.NDArray[np.int64]:
    """Take the argmax of scaled logits plus noise, as ``python_ref.sampler_simple_batch`` does.

    Args:
        logits: f32 [..., V], modified in place: scaled and noised afterwards, and scaled even when
            ``noise`` is refused. Non-contiguous logits have at most two dimensions; a transposed
            array takes its noise column by column, as torch does.
        noise: upper end of the uniform noise; 0 adds none.
        temp: the logits are multiplied by 1 / temp.
        generator: where the noise comes from.
        forbid_token: a token whose logits are set to -inf first.

    Returns:
        i64 [..., 1].

    Raises:
        AssertionError: temp <= 0 or NaN.
        RuntimeError: noise negative, NaN, infinite or beyond f32.
        IndexError: V = 0; ``forbid_token`` out of range.
        NotImplementedError: integer or boolean logits.
        TypeError: other logits that are not a numpy array of float32.
        ValueError: read-only logits, or strides that are not supported.
    """

def trace_simple_batch_sampler(
    logits: npt.NDArray[np.float32],
    noise: float = 1.0,
    temp: float = 1.0,
    *,
    generator: Generator,
    forbid_token: int | None = None,
) -> SimpleBatchTrace:
    """``simple_batch_sampler``, keeping every stage. Same arguments, effects and errors."""

def build_info() -> dict[str, Any]:
    """What the extension was built from: version, source_hash, profile, target, rustc, ..."""
