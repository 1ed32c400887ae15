"""Gives a family's logits the parameters, and the history, of another pipeline."""

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.cases.draws import Draft
from sampler_parity.model.pipeline import Parameter, Parameters

SAME = 0.7
"""How often a parameter has the value that the family made for one of the same name: its logits may
be made for that value."""

RECENT = 12
"""A history's last so many tokens are likely ones mostly, as an engine's are."""


def parameters_for(draft: Draft, kind: type[Parameters], rng: np.random.Generator) -> Parameters:
    """Draw parameters of ``kind`` from their usual values, or take the family's own."""
    vocab = draft.logits.shape[-1]
    known = kind.pipeline.parameters
    made: dict[str, Any] = {}
    for name in kind.__struct_fields__:
        about = known.get(name, Parameter(""))
        own = getattr(draft.parameters, name, None)
        values = about.usual or (getattr(kind(), name),)
        value = values[int(rng.integers(len(values)))]
        if rng.random() < SAME and own is not None and _takes(about, own):
            value = own
        if about.of_vocabulary == "count" and isinstance(value, int):
            value = min(value, vocab)
        elif about.of_vocabulary == "token" and value is not None:
            value = int(rng.integers(vocab))
        made[name] = value
    return kind(**made)


def _takes(about: Parameter, value: Any) -> bool:
    return not isinstance(value, str) and bool(np.isfinite(value)) and about.accepts(value)


def history_for(logits: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Make a history, i64 [B, n] or [n]: likely tokens, some often, and others at random."""
    rows = np.atleast_2d(logits)
    length = int(rng.choice((0, 1, 3, 10, 40)))
    found = rng.integers(0, rows.shape[-1], (len(rows), length))
    for tokens, row in zip(found, rows, strict=True):
        likely = np.argsort(-row, kind="stable")[: max(1, min(3, len(row)))]
        recent = tokens[-RECENT:]
        often = rng.random(len(recent)) < 0.5
        recent[often] = rng.choice(likely, int(often.sum()))
    return np.ascontiguousarray(found if logits.ndim > 1 else found[0], np.int64)


def stream_of(name: str, case_id: str) -> np.random.Generator:
    """Make the generator that a case's parameters for a reference are drawn from."""
    return np.random.default_rng([zlib.crc32(name.encode()), zlib.crc32(case_id.encode())])
