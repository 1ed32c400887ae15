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
    """No answer: the candidate's process ended, or was ended.

    Attributes:
        verdict: ``crashed`` or ``timed_out``.
        words: how it ended, with the last of what it said.
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

    stages: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    tokens: list[npt.NDArray[np.int64]] = field(default_factory=list)
    failure: Failure | None = None
    input: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    generator: bytes = b""
    declined: str = ""
    lost: Lost | None = None
