"""Recorded calls of samplers that the harness knows: which pipeline, with which parameters."""

import math
from collections.abc import Mapping
from typing import get_type_hints

import msgspec
import numpy as np

from sampler_parity.engines.recording import Call, Value
from sampler_parity.model.pipeline import Parameters, from_json, values_of
from sampler_parity.pipelines import KINDS, PIPELINES

SEPARATORS = ("::", ".")
SETTINGS = frozenset({"capability", "threads"})
"""Arguments of the port's functions that say how it computes, and are no parameters."""

_KINDS = {kind.sampler: kind for kind in (KINDS.__args__)}
_TYPES = {kind.sampler: get_type_hints(kind) for kind in KINDS.__args__}
_NAMES = {
    name: pipeline.name
    for pipeline in PIPELINES.values()
    for name in (pipeline.name, *pipeline.aliases)
}


def sampler_of(call: Call) -> str:
    """Name a call's sampler: the pipeline where it is one, else the function's own last name."""
    name = call.sampler
    for separator in SEPARATORS:
        name = name.rpartition(separator)[2]
    return _NAMES.get(name, name)


def parameters_of(call: Call) -> Parameters | None:
    """Give a call's parameters where its sampler is known; what is left out has its default.

    A function of a known name that is given a parameter of another name is another function; what
    is ``None`` is not given.
    """
    kind = _KINDS.get(sampler_of(call))
    if kind is None:
        return None
    hints = _TYPES[kind.sampler]
    given = {
        name: value
        for name, value in call.parameters.items()
        if name in kind.__struct_fields__ or (name not in SETTINGS and value is not None)
    }
    if not given.keys() <= set(kind.__struct_fields__):
        return None
    values = {name: _fitting(value, hints[name]) for name, value in given.items()}
    try:
        return from_json({"sampler": kind.sampler, **values}, KINDS)
    except (msgspec.ValidationError, TypeError):
        return None


def _fitting(value: Value, hint: object) -> Value:
    """Give a number in the type that a parameter has: engines pass 1 for 1.0, and 20.0 for 20."""
    if isinstance(value, float) and hint is not float and value.is_integer():
        return int(value)
    if isinstance(value, bool) and hint in {int, float}:
        return int(value)
    return value


def values(call: Call) -> Mapping[str, Value]:
    """Give every parameter by name, those of a known sampler that are left out as well."""
    known = parameters_of(call)
    return call.parameters if known is None else values_of(known)


def telling(call: Call) -> Mapping[str, Value]:
    """Give the parameters that are worth telling: numbers, and what else is no default."""
    known = parameters_of(call)
    if known is None:
        return call.parameters
    usual = values_of(type(known)())
    return {
        name: value
        for name, value in values_of(known).items()
        if not isinstance(value, str) or value != usual[name]
    }


def same(one: Value, other: Value) -> bool:
    """Whether two values of a parameter are one: as they are, or both as f32."""
    if isinstance(one, str) and isinstance(other, int | float):
        one = _number(one)
    if isinstance(other, str) and isinstance(one, int | float):
        other = _number(other)
    numbers = (int, float)
    if not isinstance(one, numbers) or not isinstance(other, numbers):
        return one == other
    if one == other or (math.isnan(one) and math.isnan(other)):
        return True
    with np.errstate(over="ignore"):
        return bool(np.float32(one) == np.float32(other))


def _number(text: str) -> float | str:
    return float(text) if text in {"nan", "inf", "-inf"} else text


def differing(one: Call, other: Call) -> dict[str, tuple[Value, Value]]:
    """Give the parameters that two calls of one sampler do not share."""
    ours, theirs = values(one), values(other)
    return {
        name: (ours.get(name), theirs.get(name))
        for name in dict.fromkeys((*ours, *theirs))
        if not same(ours.get(name), theirs.get(name))
    }
