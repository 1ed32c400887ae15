"""The form of the golden cases, ``golden/cases.json``."""

import msgspec


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


class SampleLogitsCase(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="sampler",
    tag="sample_logits",
):
    """A golden case of ``sample_logits``: ``draws`` calls on one generator.

    Floats that JSON lacks are the strings ``"nan"`` and ``"inf"``.
    """

    id: str
    batch: int
    vocab: int
    temperature: float | str
    top_p: float | str
    top_k: int
    seed: int
    threads: int
    draws: int
    logits: LogitsSource


class SimpleBatchCase(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="sampler",
    tag="simple_batch_sampler",
):
    """A golden case of the simple sampler: ``draws`` in-place calls on one tensor and generator."""

    id: str
    batch: int
    vocab: int
    noise: float
    temp: float
    seed: int
    threads: int
    draws: int
    logits: LogitsSource
