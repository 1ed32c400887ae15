"""The form of the golden cases, ``golden/cases.json``."""

import msgspec

from sampler_parity.model.case import Described

GOLDEN = "golden"
"""Their folder, with the traces of them, in the fixtures folder."""


ARM = "arm"
"""A folder of the same form, of cases that were recorded of torch on Arm only."""


class LogitsSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the logits of a golden case come from: either ``tensor`` or the other three.

    Attributes:
        tensor: a tensor of ``golden/cases.safetensors``, f32 [B, V].
        rows: rows of the tensor ``logits`` of ``smollm2/logits.safetensors``, B of them.
        vocab: the first ``vocab`` columns of those rows are taken.
        bf16: round to bfloat16 (to nearest, ties to even) and back to f32.
    """

    tensor: str | msgspec.UnsetType = msgspec.UNSET
    rows: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET
    vocab: int | msgspec.UnsetType = msgspec.UNSET
    bf16: bool | msgspec.UnsetType = msgspec.UNSET


class GoldenCase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A golden case.

    Attributes:
        id: what its tensors' names begin with.
        case: the case.
        logits: where its logits come from.
    """

    id: str
    case: Described
    logits: LogitsSource
