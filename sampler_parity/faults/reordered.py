"""Pipelines whose steps are in another order: a temperature after a cut, two cuts exchanged.

They follow from a pipeline's stages where those are a chain: a mask that is cut from scores, or
from probabilities, and from the masks before it. A step that is moved reads what comes before it in
the new order, by the names that it knows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, takewhile
from typing import Any

from sampler_parity.implementations.reference import reference_here
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.pipeline import Parameters, Pipeline, Stage, computed_by, values_of
from sampler_parity.model.verdict import HARMLESS

BY_RANK = "top_k_mask"
"""Keeps tokens by their rank, which no temperature changes."""

COMBINED = ("> for", ">= for", "mass")
"""What a variation's words hold that is tried in another order as well: where a sum crosses, and
what it is a share of."""


@dataclass(frozen=True)
class Reordered:
    """The reference with its steps in another order.

    Attributes:
        kind: the pipeline's parameters.
        words: which step comes before which.
        stage: the step that sees something else for it.
        pipeline: with the steps in that order.
        idle: says of parameters whether the order makes no difference, for steps that are off.
    """

    kind: type[Parameters]
    words: str
    stage: str
    pipeline: Pipeline
    idle: Callable[[Any], bool]

    @property
    def about(self) -> About:
        """What it is: as the reference, it shows every stage."""
        return About(name=self.words, samplers=(self.kind.sampler,))

    @cached_property
    def _computed(self) -> type[Parameters]:
        return computed_by(self.kind, replace(self.pipeline, whole=None))

    def run(self, case: Case, capability: str) -> Outcome:
        """Run a case of the reference, with the steps in this order."""
        parameters = self._computed(**values_of(case.parameters))
        return reference_here().run(replace(case, parameters=parameters), capability)


def reordered(kind: type[Parameters]) -> Iterator[Reordered]:
    """Give every order that differs by a move, alone and with another end of a cut as well."""
    pipeline = kind.pipeline
    for move in (*_exchanged(pipeline), *_scaled_later(pipeline), *_scaled_earlier(pipeline)):
        changed = _rewired(pipeline, move.order)
        yield Reordered(kind, move.words, move.stage, changed, move.idle)
        for name in move.combined:
            for variation in pipeline.stage(name).variations:
                told = any(part in variation.words for part in COMBINED)
                if told and variation.verdict not in HARMLESS:
                    both = pipeline.replace(name, reference=variation.reference)
                    words = f"{move.words}, {variation.words}"
                    changed = _rewired(both, move.order)
                    if variation.words.endswith("mass") and len(changed.stage(name).reads) == 1:
                        continue  # Nothing has been cut: there is one mass.
                    # What is computed otherwise says something in any order.
                    yield Reordered(kind, words, move.stage, changed, lambda _: False)


@dataclass(frozen=True, slots=True)
class _Move:
    """A move of a step: in words, where it shows, the new order, and what is varied with it."""

    words: str
    stage: str
    order: list[str]
    idle: Callable[[Any], bool]
    combined: tuple[str, ...] = ()


def _label(stage: Stage) -> str:
    return stage.name.removesuffix("_mask").replace("_", "-")


def _off(*stages: Stage) -> Callable[[Any], bool]:
    """Say of parameters whether all of these are off."""
    return lambda p: all(stage.off is not None and stage.off(p) for stage in stages)


def _exchanged(pipeline: Pipeline) -> Iterator[_Move]:
    """Exchange two masks, of which the second is cut from what the first one before it left."""
    names = list(pipeline.names)
    for at, (first, second) in enumerate(pairwise(pipeline.stages)):
        chained = first.kind == second.kind == "mask" and first.name in second.reads[1:]
        if chained and first.reads[0] == second.reads[0]:
            order = [*names[:at], second.name, first.name, *names[at + 2 :]]
            words = f"{_label(second)} before {_label(first)}"
            either = (_off(first), _off(second))
            yield _Move(
                words,
                second.name,
                order,
                lambda p, either=either: any(off(p) for off in either),  # type: ignore[misc]
                (first.name, second.name),
            )


def _scaled_later(pipeline: Pipeline) -> Iterator[_Move]:
    """Move a scale of scores behind the first mask that it changes, and behind all masks."""
    names = list(pipeline.names)
    for at, scale in enumerate(pipeline.stages):
        if not _scales(scale):
            continue
        masks = list(
            takewhile(
                lambda stage, of=scale.name: (
                    stage.kind == "mask"  # type: ignore[misc]
                    and stage.reads[0] == of
                    and stage.absent < 0
                ),
                pipeline.stages[at + 1 :],
            )
        )
        ends = [end for end, mask in enumerate(masks, at + 1) if mask.name != BY_RANK]
        for end in sorted({ends[0], ends[-1]} if ends else ()):
            cut = pipeline.stages[end]
            order = [*names[:at], *names[at + 1 : end + 1], scale.name, *names[end + 1 :]]
            before = _off(*pipeline.stages[at + 1 : end + 1])
            first = end == ends[0]
            yield _Move(
                f"{_label(cut) if first else 'every cut'} before temperature",
                cut.name,
                order,
                lambda p, scale=scale, before=before: _off(scale)(p) or before(p),  # type: ignore[misc]
                (cut.name,) if first else (),
            )


def _scaled_earlier(pipeline: Pipeline) -> Iterator[_Move]:
    """Move a scale of scores before each of the masks that come first, and that it changes.

    Before the last of them alone is a variation of that one.
    """
    names = list(pipeline.names)
    for at, scale in enumerate(pipeline.stages):
        if not _scales(scale):
            continue
        for begin, mask in enumerate(pipeline.stages[: at - 1]):
            if mask.kind == "mask" and mask.reads[0] == scale.reads[0] and mask.name != BY_RANK:
                order = [*names[:begin], scale.name, *names[begin:at], *names[at + 1 :]]
                changed = _off(*pipeline.stages[begin:at])
                yield _Move(
                    f"temperature before {_label(mask)}",
                    mask.name,
                    order,
                    lambda p, scale=scale, changed=changed: _off(scale)(p) or changed(p),  # type: ignore[misc]
                )


def _scales(stage: Stage) -> bool:
    return stage.name == "scaled_logits" and len(stage.reads) == 1 and not stage.random


def _rewired(pipeline: Pipeline, order: Sequence[str]) -> Pipeline:
    """Give a pipeline in another order, whose masks read what is before them in it."""
    stages = []
    for place, name in enumerate(order):
        stage = pipeline.stage(name)
        if stage.kind == "mask":
            before = order[:place]
            numbers = stage.reads[0]
            source = numbers
            if numbers in order and numbers not in before:
                source = pipeline.stage(numbers).reads[0]
            for scale in filter(_scales, map(pipeline.stage, before)):
                if scale.reads[0] == numbers:
                    source = scale.name
            masks = [m for m in before if pipeline.stage(m).kind == "mask"]
            stage = _moved(stage, source, [m for m in masks if m in _chain(pipeline, stage)])
        stages.append(stage)
    return replace(pipeline, stages=tuple(stages), oracle=None)


def _chain(pipeline: Pipeline, stage: Stage) -> set[str]:
    """Give the masks that are cut one from another, of which ``stage`` is one."""
    found = set(stage.reads[1:])
    found |= {mask.name for mask in pipeline.masks if stage.name in mask.reads[1:]}
    return found


def _moved(stage: Stage, source: str, masks: Sequence[str]) -> Stage:
    numbers, *known = stage.reads
    operation: Callable[[Mapping[str, Any], Any, Any], Any] = stage.reference

    def reference(tensors: Mapping[str, Any], p: Any, generator: Any) -> Any:
        import torch

        values = tensors[source]
        left = torch.ones_like(values, dtype=torch.bool)
        for mask in masks:
            left = left & tensors[mask]
        given = {mask: torch.ones_like(left) for mask in known}
        if known:
            given[known[0]] = left
        else:
            values = values.masked_fill(~left, stage.absent)
        return operation({**tensors, **given, numbers: values}, p, generator)

    return replace(stage, reads=(source, *masks), reference=reference)
