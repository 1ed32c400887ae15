"""Rust token samplers that replay torch on a CPU, bit for bit.

``capability`` is torch's CPU dispatch level, whose bits are computed on any machine: ``"default"``,
``"avx2"`` and ``"avx512"`` of torch on x86, ``"neon"`` and ``"sve256"`` of torch for Linux on Arm,
which calls ``"neon"`` ``DEFAULT`` or ``SVE128``; or ``None`` for the one that torch would choose
here (the environment variable ``ATEN_CPU_CAPABILITY`` honoured; read once).

``threads`` is torch's thread count, and the most that a call uses itself. torch's shows in one
place: the renormalisation sum of a batch of one row with more than 32,768 tokens. A call's own
never shows in the bits: batches of many rows are shared between threads. ``threads=1`` means one;
``None`` replays a torch of one thread, and shares batches between all cores
(``RAYON_NUM_THREADS``).

Numbers are taken as torch takes them. ``temperature``, ``top_p``, ``noise`` and ``temp`` may be
Python's and numpy's scalars, or tensors without dimensions; an array of one element is what torch
makes of it in that place, which is mostly a ``TypeError``. ``top_k`` is an int, as an index is; a
bool or a float is refused where it is > 0, and means off where it is not.

Every call computes in the default floating-point mode: denormal numbers are kept and all are
rounded to nearest, whatever the thread's mode is (``torch.set_flush_denormal``), which is then as
it was.

Every call may be made by several threads at once. Calls that share a generator wait for each other,
without the GIL. Where another thread writes the logits meanwhile, the tokens are of no certain
distribution, or the call raises what it raises for logits that torch refuses.

A call that takes long sees a signal, such as that of Ctrl-C, within a fraction of a second, if
Python handles it in that thread. Where its handler raises, the generator is as it was before the
call. A handler that uses the generator of the call that it interrupts gets a ``RuntimeError``.
``simple_batch_sampler`` is not interrupted: it would leave its logits half written.

A process may be forked whenever it likes. A generator that another thread was using then raises
``RuntimeError`` in the child.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import Buffer

Capability: TypeAlias = Literal["default", "avx2", "avx512", "neon", "sve256"]
ZeroTemperature: TypeAlias = Literal["raise", "argmax"]

@final
class Generator:
    """Replays ``torch.Generator("cpu")``.

    As torch's, it can be copied, deep-copied and pickled, each with its state, and is equal to
    itself only: compare ``get_state()`` to know whether two stand at the same place.
    """

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

    def set_state(self, state: Buffer | Tensor) -> Generator:
        """Take over what ``torch.Generator.get_state`` gave, and return the generator itself.

        Args:
            state: the tensor, u8 [5056]; or bytes, a bytearray, a memoryview or a numpy array of
                uint8 that hold the same.

        Raises:
            TypeError: the state is of another type.
            RuntimeError: the state is not one that torch's generator can be in; the generator is
                then as it was.
        """

    def clone_state(self) -> Generator:
        """Make another generator that stands where this one does, as torch's method does."""

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
    threads: int | None = None,
    zero_temperature: ZeroTemperature = "raise",
) -> npt.NDArray[np.int64]:
    """Draw one token a row, as ``python_ref.sample_logits`` does; the GIL is released.

    Args:
        logits: f32 [B, V], any strides; read, not modified. [V] works when top-p is off. Integers
            and booleans where ``temperature`` is not 1: they are divided in float32, as in torch.
            Of any shape where ``zero_temperature="argmax"`` applies, as ``torch.argmax`` takes it.
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
        NotImplementedError: integer or boolean logits where ``temperature`` is 1, or where torch
            has no argmax of them.
        TypeError: other logits that are not a numpy array of float32, another generator, or an
            argument of another type than it must be, which is named.
        ValueError: unknown ``capability`` or ``zero_temperature``, ``threads`` < 1, ``top_k``
            beyond 64 bits, an array of several numbers for one.
        OverflowError: an int beyond 64 bits.
        MemoryError: there is no memory for the result, or for a row-major copy of the logits.
        RuntimeError: a mistake in this module, which is said to be one; the generator may stand
            anywhere.
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
        logits: f32 [B, V] on the CPU, read without a copy; or bfloat16 or float16, which give what
            ``python_ref.sample_logits(logits.float(), ...)`` gives; or integers as of
            ``sample_logits``.
        temperature: as of ``sample_logits``.
        top_p: as of ``sample_logits``.
        top_k: as of ``sample_logits``.
        generator: of the CPU; its state is taken over and handed back. Left alone when an error is
            raised. Calls of this function wait for each other; torch's own draws, if another thread
            makes them from the same generator meanwhile, do not, and may be repeated.
        capability: as of ``sample_logits``.
        threads: as of ``sample_logits``; ``None`` asks torch, and uses no more.
        zero_temperature: as of ``sample_logits``.

    Returns:
        i64 [B, 1].

    Raises:
        TypeError: the generator is not one of the CPU, or the logits are of another type.
        RuntimeError, IndexError, NotImplementedError, ValueError, OverflowError, MemoryError: as
            ``sample_logits``.
    """

def trace_sample_logits(
    logits: npt.NDArray[np.float32],
    temperature: float = 1.0,
    top_p: float = 0.85,
    top_k: int = 0,
    *,
    generator: Generator,
    capability: Capability | None = None,
    threads: int | None = None,
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
    threads: int | None = None,
    zero_temperature: ZeroTemperature = "raise",
) -> npt.NDArray[np.int64]:
    """Draw ``n`` tokens of the row ``logits`` (f32 [V]) into i64 [n].

    They are what as many calls of ``sample_logits`` on [1, V] give; the other arguments and the
    errors are its own, and a ``ValueError`` says that the logits are not [V], or ``n`` is negative.
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
            array takes its noise column by column, as torch does. Integers only where nothing is
            written: ``noise`` is 0 and ``temp`` is 1.
        noise: upper end of the uniform noise; 0 adds none.
        temp: the logits are multiplied by 1 / temp.
        generator: where the noise comes from.
        forbid_token: a token whose logits are set to -inf first.

    Returns:
        i64 [..., 1].

    Raises:
        AssertionError: temp <= 0 or NaN.
        RuntimeError: noise negative, NaN, infinite or beyond f32; logits that lie in one place of
            the memory more than once, where they are written (torch finds those of a stride of 0
            only); integer logits, where ``temp`` is not 1.
        IndexError: V = 0; ``forbid_token`` out of range.
        NotImplementedError: integer logits, where there is noise, and where torch has no argmax.
        TypeError: other logits that are not a numpy array of float32, another generator, or an
            argument of another type than it must be, which is named.
        ValueError: read-only logits, or strides that are not supported; an array of several numbers
            for one.
        OverflowError: an int beyond float64.
        MemoryError: there is no memory for the result, or for a copy of the logits.
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

def softmax(
    scores: npt.NDArray[np.float32], *, capability: Capability | None = None
) -> npt.NDArray[np.float32]:
    """Give ``torch.softmax(scores, -1)``: one stage by itself, on any values.

    Args:
        scores: f32 [B, V] or [V], any strides; read, not modified.
        capability: see the module.

    Returns:
        f32, of the same shape.

    Raises:
        TypeError: the scores are not a numpy array of float32.
        ValueError: they have another shape; ``capability`` is unknown.
    """

def top_k_mask(probs: npt.NDArray[np.float32], top_k: int) -> npt.NDArray[np.bool_]:
    """Mark what is not below the ``top_k``-th largest of its row, ties included.

    Args:
        probs: f32 [B, V] or [V]. NaN counts as the largest, as in ``torch.topk``.
        top_k: how many stay; everything where it is not > 0.

    Returns:
        bool, of the same shape.

    Raises:
        RuntimeError: ``top_k`` > V.
        TypeError, ValueError: as ``softmax``.
    """

def top_p_mask(probs: npt.NDArray[np.float32], top_p: float) -> npt.NDArray[np.bool_]:
    """Mark what comes before the cumulative sum has exceeded ``top_p``, largest first.

    Args:
        probs: f32 [B, V] or [V]; what an earlier stage has dropped is 0.
        top_p: mass of the nucleus; everything stays where it is not > 0.

    Returns:
        bool, of the same shape.

    Raises:
        TypeError, ValueError: as ``softmax``.
    """

def renormalize(
    probs: npt.NDArray[np.float32],
    *,
    capability: Capability | None = None,
    threads: int | None = None,
) -> npt.NDArray[np.float32]:
    """Give ``probs / probs.sum(-1, keepdim=True)``.

    Args:
        probs: f32 [B, V] or [V]; what an earlier stage has dropped is 0.
        capability: see the module.
        threads: see the module.

    Returns:
        f32, of the same shape.

    Raises:
        TypeError, ValueError: as ``softmax``; ``threads`` < 1.
    """

def multinomial(probs: npt.NDArray[np.float32], *, generator: Generator) -> npt.NDArray[np.int64]:
    """Give ``torch.multinomial(probs, 1)``, one token a row.

    Args:
        probs: f32 [B, V] or [V]; they need not sum to 1.
        generator: where the draws come from; left alone when an error is raised.

    Returns:
        i64 [B, 1]; [1] for [V].

    Raises:
        RuntimeError: a probability is NaN, infinite or negative; a row's are all zero; V = 0;
            V > 2**24.
        TypeError, ValueError: as ``softmax``; another generator.
    """

def exponentials(n: int, *, generator: Generator) -> npt.NDArray[np.float32]:
    """Give ``torch.empty(n).exponential_()``: what ``torch.multinomial`` divides by.

    Args:
        n: how many, not negative.
        generator: where they come from.

    Returns:
        f32 [n].
    """

def uniforms(n: int, *, generator: Generator) -> npt.NDArray[np.float64]:
    """Give ``torch.empty(n, dtype=torch.float64).uniform_()``.

    Args:
        n: how many, not negative.
        generator: where they come from.

    Returns:
        f64 [n].
    """

@final
class PipelineTrace:
    """Every step of one ``Pipeline`` call, in order."""

    @property
    def scores(self) -> tuple[npt.NDArray[np.float32], ...]:
        """f32 [B, V] or [V], the scores after each step; -inf where a token is removed."""

    @property
    def probs(self) -> npt.NDArray[np.float32]:
        """f32 [B, V], the softmax of the last scores: what the token is drawn from."""

    @property
    def token(self) -> npt.NDArray[np.int64]:
        """i64 [B, 1]."""

    @property
    def certain(self) -> npt.NDArray[np.bool_]:
        """bool [B, 1], false where torch may have removed other tokens of the row.

        ``torch.exp``, ``torch.log`` and ``torch.sqrt``, with which ``typical_p`` and ``eta_cutoff``
        take an entropy, are Intel's closed VML, and may be either float next to the exact result. A
        row is certain where that cannot be seen in what is removed. Other steps are certain.
        """

@final
class Pipeline:
    """The sampling of transformers' ``generate(do_sample=True)``, without torch.

    Steps take scores to scores; a removed token has a score of -inf. Then comes a softmax, and
    ``torch.multinomial(probs, 1)``. The tokens are transformers' for the generator's seed, bit for
    bit, each step included; of ``typical_p`` and ``eta_cutoff`` see ``PipelineTrace.certain``.

    A pipeline is a value: it holds its steps only, is equal to one of the same steps, can be copied
    and pickled, and may be used by several threads at once.
    """

    def __new__(cls, steps: Sequence[tuple[str, float]]) -> Pipeline:
        """Take steps in the order in which they are applied.

        Args:
            steps: names and parameters. The names are ``"repetition_penalty"``, ``"temperature"``
                (floats > 0), ``"top_k"`` (an int > 0), ``"top_p"``, ``"min_p"`` (within [0, 1]),
                ``"typical_p"``, ``"epsilon_cutoff"`` and ``"eta_cutoff"`` (between 0 and 1).

        Raises:
            ValueError: a name is unknown, or transformers' constructor refuses the parameter: an
                int for the two that must be floats, or a float for ``top_k``, included.
            TypeError: a parameter is no number.
        """

    @staticmethod
    def transformers(
        *,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        typical_p: float | None = None,
        repetition_penalty: float | None = None,
        epsilon_cutoff: float | None = None,
        eta_cutoff: float | None = None,
    ) -> Pipeline:
        """Take the steps that ``model.generate(do_sample=True, ...)`` takes, in its order.

        What is ``None`` is ``generate``'s default, of which one step is on: a ``top_k`` of 50. 0
        switches it off. A model may have other defaults in its ``generation_config``; they are not
        known here. Beams, and ``generate``'s other processors, are not replayed.

        Raises:
            ValueError, TypeError: as the constructor.
        """

    @property
    def steps(self) -> tuple[tuple[str, float], ...]:
        """The steps, in order."""

    def sample(
        self,
        logits: npt.NDArray[np.float32],
        *,
        generator: Generator,
        history: npt.NDArray[np.int64] | None = None,
        capability: Capability | None = None,
        threads: int | None = None,
    ) -> npt.NDArray[np.int64]:
        """Draw one token a row; the GIL is released.

        Args:
            logits: f32 [B, V] or [V], any strides; read, not modified.
            generator: where the draws come from; left alone when an error is raised.
            history: i64 [B, n] or [n], the tokens that came before, the prompt's included; needed
                where there is a ``repetition_penalty``, else not read. What is >= V is ignored:
                ``generate`` ignores the padding on the left of a prompt, so write V there.
            capability: see the module.
            threads: torch's, see the module: it may show in the entropies of a row alone that is
                longer than 32,768. The call itself uses one.

        Returns:
            i64 [B, 1]; [1] for logits [V].

        Raises:
            RuntimeError: the probabilities would be NaN: a score is NaN or +inf, or all are -inf; V
                is 0 or > 2**24; a token of the history is negative.
            TypeError: logits that are not a numpy array of float32, a history that is not one of
                int64, or another generator.
            ValueError: logits or a history of another shape, or of different B; no history where it
                is needed; unknown ``capability``; ``threads`` < 1.
            MemoryError: there is no memory for the result, or for a row-major copy of the arrays.
        """

    def trace(
        self,
        logits: npt.NDArray[np.float32],
        *,
        generator: Generator,
        history: npt.NDArray[np.int64] | None = None,
        capability: Capability | None = None,
        threads: int | None = None,
    ) -> PipelineTrace:
        """``sample``, keeping every step. Same arguments, same errors."""

def processor_capability() -> Capability:
    """The highest capability that this processor has, whatever ``ATEN_CPU_CAPABILITY`` says.

    On x86, torch believes that variable, and is ended by an illegal instruction where it names more
    than the processor has.
    """

def build_info() -> dict[str, Any]:
    """What the extension was built from: version, source_hash, profile, target, rustc, ..."""
