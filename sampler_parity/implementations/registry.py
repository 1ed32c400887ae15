"""How an implementation is found by name."""

import importlib
import importlib.metadata

from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import About, Implementation

ENTRY_POINTS = "sampler_parity.implementations"
"""The group under which a package registers its own, as ``name = "module:object"``."""

COMMAND = "command:"
"""What precedes a command that speaks :mod:`sampler_parity.sandbox.wire`."""

SPECIMEN = "specimen-"
"""What the names of the samplers with known faults begin with."""

COMPILED = frozenset(f"{SPECIMEN}{name}" for name in ("simple", "fast-sampler", "wild"))
"""Those of them that are in Rust: a checkout compiles them before they run."""

PORT = "rust_ext"
"""Our own port: the candidate where none is named. Where it equals the reference, it stands for the
reference at other capabilities, and it draws in the gate's own process."""

BUILT_IN = {
    "python_ref": "sampler_parity.implementations.python_ref:PythonRef",
    PORT: "sampler_parity.implementations.rust_ext:RustExt",
    **{
        f"{SPECIMEN}{name.replace('_', '-')}": f"sampler_parity.implementations.specimens:{name}"
        for name in (
            "simple",
            "fast_sampler",
            "wild",
            "rwkv_pip",
            "batch_inference",
            "not_renormalised",
            "constant_seed",
            "numpy_choice",
        )
    },
}


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
