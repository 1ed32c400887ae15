"""Which pipelines a candidate can be held against, and how each is found by name."""

import importlib
from types import MappingProxyType

from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.pipeline import Parameters, Pipeline
from sampler_parity.pipelines.llama_cpp import LlamaCpp
from sampler_parity.pipelines.repetition_aware import RepetitionAware
from sampler_parity.pipelines.rwkv import Rwkv
from sampler_parity.pipelines.rwkv_generate import RwkvGenerate
from sampler_parity.pipelines.sample_logits import SampleLogits
from sampler_parity.pipelines.simple_batch import SimpleBatch
from sampler_parity.pipelines.transformers import Transformers

REFERENCES = MappingProxyType(
    {
        kind.sampler: kind
        for kind in (
            SampleLogits,
            SimpleBatch,
            Transformers,
            Rwkv,
            RwkvGenerate,
            RepetitionAware,
            LlamaCpp,
        )
    }
)
"""Parameters of every pipeline that comes with the harness, by the pipeline's name."""


def name_of(kind: type[Parameters]) -> str:
    """Give the name that :func:`reference_of` finds ``kind`` by."""
    if REFERENCES.get(kind.sampler) is kind:
        return kind.sampler
    return f"{kind.__module__}:{kind.__qualname__}"


def require_named(found: str, named: str, whose: str) -> None:
    """Refuse to import what only a file names: a reference of one's own is code.

    Args:
        found: the reference that the file names.
        named: the one that was asked for.
        whose: what the file says of itself, as ``the run was``.

    Raises:
        CannotJudgeError: it is one's own, and was not asked for.
    """
    if ":" in found and found != named:
        raise CannotJudgeError(
            f"{whose} held against {found}, which is code that would be imported: if it is yours, "
            f"name it as well, --reference {found}"
        )


def reference_of(name: str) -> type[Parameters]:
    """Give the parameters of the pipeline that ``name`` stands for.

    Args:
        name: of one that comes with the harness, or ``module:OBJECT`` of one's own, which is a
            subclass of :class:`~sampler_parity.model.pipeline.Parameters`.

    Raises:
        CannotJudgeError: there is none.
    """
    if name in REFERENCES:
        return REFERENCES[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise CannotJudgeError(
            f"reference {name!r} is unknown: name one of {', '.join(REFERENCES)}, or module:OBJECT"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise CannotJudgeError(
            f"reference {name!r} could not be loaded: {type(error).__name__}: {error}"
        ) from error
    if not (
        isinstance(found, type)
        and issubclass(found, Parameters)
        and isinstance(getattr(found, "pipeline", None), Pipeline)
    ):
        raise CannotJudgeError(
            f"reference {name!r} is no pipeline's parameters: a subclass of Parameters with "
            "`sampler` and `pipeline`"
        )
    return found
