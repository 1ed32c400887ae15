"""What can run a case, and how one is found by name."""

import importlib
import importlib.metadata
from typing import Literal, Protocol, runtime_checkable

import msgspec

from sampler_parity.case import Case, SampleLogits, SimpleBatch
from sampler_parity.errors import CannotJudgeError
from sampler_parity.outcome import Outcome

ENTRY_POINTS = "sampler_parity.implementations"
"""The group under which a package registers its own, as ``name = "module:object"``."""

COMMAND = "command:"
"""What precedes a command that speaks :mod:`sampler_parity.wire`."""

SPECIMEN = "specimen-"
"""What the names of the samplers with known faults begin with."""

BUILT_IN = {
    "python_ref": "sampler_parity.implementations.python_ref:PythonRef",
    "rust_ext": "sampler_parity.implementations.rust_ext:RustExt",
    **{
        f"{SPECIMEN}{name.replace('_', '-')}": f"sampler_parity.implementations.specimens:{name}"
        for name in ("simple", "fast_sampler", "wild", "rwkv_pip", "batch_inference")
    },
}

View = Literal["trace", "probs", "tokens"]
Stream = Literal["torch", "own"]
Effect = Literal["input", "generator"]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What an implementation is, and how much of itself it shows.

    Attributes:
        name: how reports call it.
        version: its own, in any form.
        view: ``trace`` where it gives every stage, ``probs`` where it gives the distribution that
            ``sample_logits`` draws from (``renormalized``), ``tokens`` for a black box.
        stream: ``torch`` where it is meant to draw torch's tokens for torch's seeds; ``own`` where
            it has another generator, whose tokens only have to be possible ones.
        effects: what it shows of what a call leaves behind.
        samplers: which of the two it has.
    """

    name: str
    version: str = ""
    view: View = "trace"
    stream: Stream = "torch"
    effects: tuple[Effect, ...] = ("input", "generator")
    samplers: tuple[str, ...] = (SampleLogits.sampler, SimpleBatch.sampler)

    def stages(self, case: Case) -> tuple[str, ...]:
        """Name the stages that it shows of ``case``, in order."""
        stages = case.parameters.stages
        if self.view == "trace":
            return stages
        return tuple(s for s in stages if s == "token" or (self.view, s) == ("probs", FINAL))


FINAL = "renormalized"
"""The stage that a view of ``probs`` shows."""


@runtime_checkable
class Implementation(Protocol):
    """Anything that can run a case.

    ``run`` makes ``case.draws`` successive calls on a copy of the logits with one generator:
    the first one traced, the others not. An exception of the sampler is an outcome, not an
    exception of ``run``; a case that it does not take is an outcome that says why.
    """

    @property
    def about(self) -> About:
        """What it is."""

    def run(self, case: Case, capability: str) -> Outcome:
        """Run ``case`` as torch at ``capability`` would."""


def registered() -> dict[str, str]:
    """Give every implementation with a name of its own: built in, or an installed package's."""
    found = {
        entry.name: entry.value for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)
    }
    return {**found, **BUILT_IN}


def target_of(name: str) -> str:
    """Give the ``module:object`` that ``name`` stands for.

    Raises:
        CannotJudgeError: it stands for none.
    """
    target = registered().get(name, name)
    if ":" not in target:
        raise CannotJudgeError(
            f"implementation {name!r} is unknown: name one of {', '.join(registered())}, "
            f"module:object, or {COMMAND}PROGRAM"
        )
    return target


def load_implementation(name: str) -> Implementation:
    """Load a registered implementation, or ``module:object`` (an instance, or a class to call).

    Raises:
        CannotJudgeError: there is no such implementation, or it lacks what one needs.
    """
    module_name, _, attribute = target_of(name).partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
        instance = found() if isinstance(found, type) else found
    except CannotJudgeError:
        raise
    except Exception as error:
        raise CannotJudgeError(
            f"implementation {name!r} could not be loaded: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(instance, Implementation) or not isinstance(instance.about, About):
        raise CannotJudgeError(
            f"implementation {name!r} has no `about` (an About) and `run(case, capability)`"
        )
    return instance
