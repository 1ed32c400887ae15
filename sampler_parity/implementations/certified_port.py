"""The port in the reference's place, where torch is not installed.

It stands there once it equals what torch was recorded to give: see
:mod:`sampler_parity.run.certificate`. What it has is what :mod:`.python_ref` has of torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.build.extension import extension_here
from sampler_parity.build.installation import how_to_install
from sampler_parity.build.processor import asked_here, levels_here, reached, stands_at
from sampler_parity.implementations.rust_ext import RustExt, port_generator
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.pipeline import LOGITS, Stage
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.pipelines.numbers import Shape

Array = npt.NDArray[Any]
Values = Mapping[str, Array]


def capability_here() -> str:
    """Name the level that torch would choose here: ``ATEN_CPU_CAPABILITY``, or the processor's.

    Where the port stands at a level of another architecture, it is that.
    """
    return stands_at() or reached(asked_here() or levels_here()[-1])


@dataclass(frozen=True, slots=True)
class PortGenerator:
    """torch's generator, of the port: it gives itself what torch has as methods of tensors.

    Attributes:
        extension: the port.
        stream: the port's generator.
    """

    extension: Any
    stream: Any

    def uniforms(self, shape: Shape, most: float) -> npt.NDArray[np.float32]:
        """Take uniforms of [0, most), f32."""
        values = np.zeros(shape, np.float32)
        if values.size:
            flat = values.reshape(1, -1)
            self.extension.simple_batch_sampler(flat, most, 1.0, generator=self.stream)
        return values

    def doubles(self, shape: Shape) -> npt.NDArray[np.float64]:
        """Take uniforms of [0, 1), f64."""
        taken = self.extension.uniforms(int(np.prod(shape)), generator=self.stream)
        found: npt.NDArray[np.float64] = taken.reshape(shape)
        return found

    def exponentials(self, shape: Shape) -> npt.NDArray[np.float32]:
        """Take exponentials of rate 1, f32."""
        taken = self.extension.exponentials(int(np.prod(shape)), generator=self.stream)
        found: npt.NDArray[np.float32] = taken.reshape(shape)
        return found

    def clone_state(self) -> "PortGenerator":
        """Give a generator that goes on as this one does."""
        return PortGenerator(self.extension, self.stream.clone_state())


def start_generator(case: Case) -> PortGenerator:
    """Give the generator as the case's first call finds it."""
    extension = extension_here()
    return PortGenerator(extension, port_generator(extension, case))


def seeded(seed: int) -> PortGenerator:
    """Give the generator of a seed."""
    extension = extension_here()
    return PortGenerator(extension, extension.Generator(seed))


def state_of(generator: PortGenerator) -> bytes:
    """Give a generator's state."""
    found: bytes = generator.stream.get_state()
    return found


class CertifiedPort:
    """The port, for torch."""

    about = About(name="the port in torch's place", longest_row=None)

    def __init__(self) -> None:
        self._port = RustExt()

    def run(self, case: Case, capability: str) -> Outcome:
        """Run the case, which must be of a sampler that the port has.

        Raises:
            CannotJudgeError: it is of another one.
        """
        if case.pipeline.name not in STAGES:
            raise CannotJudgeError(
                f"the reference {case.pipeline.name} is computed by torch: "
                f"{how_to_install('torch')}"
            )
        return self._port.run(case, capability)


@cache
def reference() -> CertifiedPort:
    """Give the reference."""
    return CertifiedPort()


@dataclass(frozen=True, slots=True)
class _Call:
    """What a stage is computed with, beside its input."""

    case: Case
    extension: Any
    generator: PortGenerator | None

    @property
    def stream(self) -> Any:
        """The generator; of a stage that takes nothing from it, any."""
        return self.extension.Generator(0) if self.generator is None else self.generator.stream


def computed(step: Stage, case: Case, values: Values, generator: Any) -> Array:
    """Compute a stage from what it reads.

    Raises:
        CannotJudgeError: the port has no such stage.
    """
    stage = STAGES.get(case.pipeline.name, {}).get(step.name)
    if stage is None:
        raise CannotJudgeError(
            f"the stage {step.name} of {case.pipeline.name} is computed by torch: "
            f"{how_to_install('torch')}"
        )
    call = _Call(case, extension_here(), generator)
    with np.errstate(all="ignore"):
        found: Array = stage(values, case.parameters, call)
    return found


def _divided(values: Values, p: SampleLogits, _: _Call) -> Array:
    logits = values[LOGITS]
    if p.greedy or p.temperature == 1.0:
        return logits.copy()
    # torch rounds the number to the tensor's type.
    quotient: Array = logits / np.float32(p.temperature)
    return quotient


def _probs(values: Values, p: SampleLogits, call: _Call) -> Array:
    scaled = values["scaled_logits"]
    if p.greedy:
        largest = scaled.argmax(axis=-1)[..., None]
        one_hot = np.arange(scaled.shape[-1]) == largest
        found: Array = one_hot.astype(np.float32)
        return found
    probs: Array = call.extension.softmax(scaled, capability=capability_here())
    return probs


def _top_k(values: Values, p: SampleLogits, call: _Call) -> Array:
    found: Array = call.extension.top_k_mask(values["probs"], 0 if p.greedy else p.top_k)
    return found


def _top_p(values: Values, p: SampleLogits, call: _Call) -> Array:
    kept = np.where(values["top_k_mask"], values["probs"], np.float32(0))
    found: Array = call.extension.top_p_mask(kept, 0.0 if p.greedy else p.nucleus)
    return found


def _renormalized(values: Values, p: SampleLogits, call: _Call) -> Array:
    if p.greedy:
        return values["probs"].copy()
    both = values["top_k_mask"] & values["top_p_mask"]
    kept = np.where(both, values["probs"], np.float32(0))
    found: Array = call.extension.renormalize(
        kept, capability=capability_here(), threads=call.case.threads
    )
    return found


def _drawn(values: Values, p: SampleLogits, call: _Call) -> Array:
    final = values["renormalized"]
    if p.greedy:
        largest: Array = final.argmax(axis=-1)[..., None]
        return largest
    found: Array = call.extension.multinomial(final, generator=call.stream)
    return found


def _scaled(values: Values, p: SimpleBatch, call: _Call) -> Array:
    trace = call.extension.trace_simple_batch_sampler(
        values[LOGITS].copy(), 0.0, p.temp, forbid_token=p.forbid_token, generator=call.stream
    )
    found: Array = trace.scaled_logits
    return found


def _noised(values: Values, p: SimpleBatch, call: _Call) -> Array:
    scaled = values["scaled_logits"].copy()
    trace = call.extension.trace_simple_batch_sampler(scaled, p.noise, 1.0, generator=call.stream)
    found: Array = trace.noised_logits
    return found


def _largest(values: Values, _: SimpleBatch, call: _Call) -> Array:
    noised = values["noised_logits"].copy()
    found: Array = call.extension.simple_batch_sampler(noised, 0.0, 1.0, generator=call.stream)
    return found


STAGES: Mapping[str, Mapping[str, Callable[[Values, Any, _Call], Array]]] = {
    SampleLogits.sampler: {
        "scaled_logits": _divided,
        "probs": _probs,
        "top_k_mask": _top_k,
        "top_p_mask": _top_p,
        "renormalized": _renormalized,
        "token": _drawn,
    },
    SimpleBatch.sampler: {
        "scaled_logits": _scaled,
        "noised_logits": _noised,
        "token": _largest,
    },
}
"""The stages that the port has, by sampler and name; a test holds them against torch's."""
