"""What can run a case."""

import importlib
from typing import Protocol, runtime_checkable

from sampler_parity.case import Case
from sampler_parity.errors import CannotJudgeError
from sampler_parity.outcome import Outcome

BUILT_IN = {
    "python_ref": "sampler_parity.implementations.python_ref:PythonRef",
    "rust_ext": "sampler_parity.implementations.rust_ext:RustExt",
}


@runtime_checkable
class Implementation(Protocol):
    """Anything that can run a case.

    ``run`` makes ``case.draws`` successive calls on a copy of the logits with one generator:
    the first one traced, the others not. An exception of the sampler is an outcome, not an
    exception of ``run``.
    """

    @property
    def name(self) -> str:
        """How reports call it."""

    def run(self, case: Case, capability: str) -> Outcome:
        """Run ``case`` as torch at ``capability`` would."""


def load_implementation(name: str) -> Implementation:
    """Load a built-in implementation, or ``module:object`` (an instance, or a class to call).

    Raises:
        CannotJudgeError: there is no such implementation.
    """
    module_name, separator, attribute = BUILT_IN.get(name, name).partition(":")
    if not separator:
        known = ", ".join(BUILT_IN)
        raise CannotJudgeError(
            f"implementation {name!r} is unknown: name one of {known}, or module:object"
        )
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise CannotJudgeError(f"implementation {name!r} could not be loaded: {error}") from error
    instance = found() if isinstance(found, type) else found
    if not isinstance(instance, Implementation):
        raise CannotJudgeError(f"implementation {name!r} has no `name` and `run(case, capability)`")
    return instance
