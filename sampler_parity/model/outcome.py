"""What an implementation made of a case."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.model.verdict import Verdict

SAMPLER_ERRORS = (
    RuntimeError,
    IndexError,
    AssertionError,
    NotImplementedError,
    TypeError,
    ValueError,
)
"""What a sampler raises of its own accord: an outcome of the case."""


Array = npt.NDArray[Any]


class UnfitError(Exception):
    """What a candidate hands over has not the form that its case asks for; the message says how."""


def fit(
    name: str, values: object, dtype: npt.DTypeLike, shape: tuple[int, ...] | None = None
) -> Array:
    """Give ``values`` as they are: they are never converted.

    Raises:
        UnfitError: they are no numpy array, their dtype is not ``dtype``, or their shape is not
            ``shape`` (any, if that is ``None``).
    """
    if not isinstance(values, np.ndarray):
        raise UnfitError(f"`{name}` is of type {type(values).__name__}, and no numpy array")
    wanted = np.dtype(dtype)
    shape = values.shape if shape is None else shape
    if values.dtype != wanted or values.shape != shape:
        given = f"{values.dtype} {list(values.shape)}"
        raise UnfitError(f"`{name}` is {given}, and {wanted} {list(shape)} is asked for")
    return values


def dtype_of(stage: str) -> npt.DTypeLike:
    """Give the dtype of a stage's values: bool for a mask, i64 for the token, f32 for the rest."""
    if stage == "token":
        return np.int64
    return np.bool_ if stage.endswith("_mask") else np.float32


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception, with the call it ended.

    Attributes:
        kind: the exception's class, by name.
        message: its text; never compared.
        draw: index of the call that raised.
    """

    kind: str
    message: str
    draw: int


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer that can be compared.

    Attributes:
        verdict: ``crashed`` or ``timed_out`` where the candidate's process ended, or was ended;
            ``unfit`` where the answer has not the form that the case asks for.
        words: how it ended, with the last of what it said; or what is wrong with the form.
    """

    verdict: Verdict
    words: str


@dataclass(slots=True)
class Outcome:
    """The result of a case's calls, and what they left behind.

    Attributes:
        stages: the first call's stages by name, without the token.
        tokens: i64 [B], one array a call.
        failure: the exception that ended the calls, if one did.
        input: f32, the logits after the last call.
        generator: the generator's state after the last call, in torch's form (5,056 bytes).
        declined: why the implementation does not take such a case; empty if it does.
        lost: why there is no answer, if there is none.
    """

    stages: dict[str, Array] = field(default_factory=dict)
    tokens: list[npt.NDArray[np.int64]] = field(default_factory=list)
    failure: Failure | None = None
    input: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    generator: bytes = b""
    declined: str = ""
    lost: Lost | None = None
