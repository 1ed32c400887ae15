"""A sampler as data: parameters, an ordered list of stages, a draw.

Whatever judges, shrinks, plants mistakes in, or tells of a sampler, follows from this: nobody asks
which sampler it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Values = Mapping[str, Array]
"""Values of ``logits`` and of stages, by name."""

Whole = Callable[[Any, Any, Any], Any]
"""Called with logits (a torch tensor), parameters and generator; gives the tokens, i64 [B, 1]."""
Traced = Callable[[Any, Any, Any], dict[str, Any]]
"""As :data:`Whole`; gives every stage by name, the token last."""

Kind = Literal["numbers", "mask", "draw"]
LOGITS = "logits"
"""What a stage reads if not another stage: the logits as they are passed, f32 [B, V] or [V]."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """What is known of a parameter beside its name, type and default.

    Attributes:
        words: what it does, for people.
        simpler: the values that shrinking tries, the simplest first.
        of_vocabulary: how it follows when tokens are left out of the logits: a ``count`` is at most
            V, a ``token`` moves with the token it names, and is ``None`` when that one goes.
    """

    words: str
    simpler: tuple[float | int | str | None, ...] = ()
    of_vocabulary: Literal["count", "token"] | None = None


class Parameters(msgspec.Struct, frozen=True, tag_field="sampler"):
    """What a sampler takes beside logits and a generator; the tag is the sampler's name.

    A subclass has a field a parameter, each with a default, the tag once more as ``sampler``, and
    its :class:`Pipeline`.
    """

    sampler: ClassVar[str]
    pipeline: ClassVar["Pipeline"]

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the sampler's stages, in order."""
        return self.pipeline.names


@dataclass(frozen=True, slots=True)
class Race:
    """The token with the largest p / q, q ~ Exp(1) for each: torch's ``multinomial`` of one.

    Attributes:
        of: the stage that holds p, f32.
    """

    of: str


@dataclass(frozen=True, slots=True)
class InverseCdf:
    """The first token whose cumulative probability exceeds one uniform.

    Attributes:
        of: the stage that holds the probabilities, f32.
    """

    of: str


@dataclass(frozen=True, slots=True)
class NoisyArgmax:
    """The first largest of values with U[0, noise) added.

    Attributes:
        of: the stage that holds the values, f32.
        noise: the parameter that is the noise's upper end.
        temperature: the parameter that scales the logits.
    """

    of: str
    noise: str
    temperature: str


Draw = Race | InverseCdf | NoisyArgmax


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a sampler.

    Attributes:
        name: how reports, traces and case files call it.
        words: what it does, for people.
        kind: ``numbers`` (f32), ``mask`` (bool, true where the token stays), or ``draw`` (i64, one
            token a row).
        reads: the stages whose values it takes, or :data:`LOGITS`, in order.
        reference: the reference's own operation: called with torch tensors of what the stage reads,
            by name, the parameters and the generator. It gives a tensor and changes none.
        random: whether it takes values from the generator.
    """

    name: str
    words: str
    kind: Kind
    reads: tuple[str, ...]
    reference: Callable[[Mapping[str, Any], Any, Any], Any]
    random: bool = False


@dataclass(frozen=True)
class Pipeline:
    """A sampler.

    Attributes:
        name: the sampler's name, the same as the tag of ``parameters``.
        stages: its steps, in order; the last one draws.
        draw: by which law the last one does.
        parameters: what is known of each parameter, by name.
        whole: the reference in one piece, where there is one; the stages, composed, are the same.
        traced: likewise, keeping every stage.
        in_place: whether each stage before the draw is computed in the logits, so that a call
            leaves the last of them there, where the next call finds it.
        level_dependent: whether its bits depend on torch's capability and thread count.
    """

    name: str
    stages: tuple[Stage, ...]
    draw: Draw
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    whole: Whole | None = None
    traced: Traced | None = None
    in_place: bool = False
    level_dependent: bool = True

    def __post_init__(self) -> None:
        known = {LOGITS}
        for stage in self.stages:
            missing = set(stage.reads) - known
            if missing:
                raise ValueError(
                    f"stage {stage.name} reads {missing}, which no earlier stage gives"
                )
            known.add(stage.name)
        kinds = [stage.kind for stage in self.stages]
        if "draw" not in kinds or kinds.index("draw") != len(kinds) - 1:
            raise ValueError(f"pipeline {self.name} must draw in its last stage, and only there")
        if self.draw.of not in known:
            raise ValueError(f"pipeline {self.name} draws from {self.draw.of}, which is no stage")

    @property
    def names(self) -> tuple[str, ...]:
        """The stages' names, in order."""
        return tuple(stage.name for stage in self.stages)

    def stage(self, name: str) -> Stage:
        """Give a stage by its name.

        Raises:
            KeyError: there is none of that name.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    def replace(self, name: str, **changes: Any) -> "Pipeline":
        """Give the pipeline with one stage changed: how a mistake is planted in its definition."""
        from dataclasses import replace

        stages = tuple(replace(s, **changes) if s.name == name else s for s in self.stages)
        return replace(self, stages=stages)


def values_of(parameters: Parameters) -> dict[str, float | int | str | None]:
    """Give every parameter by name."""
    return {name: getattr(parameters, name) for name in parameters.__struct_fields__}


def to_json(parameters: Parameters) -> dict[str, float | int | str | None]:
    """Give the tag and every parameter in values that JSON has: NaN and infinities as text."""
    found: dict[str, float | int | str | None] = {"sampler": parameters.sampler}
    for name, value in values_of(parameters).items():
        finite = not isinstance(value, float) or np.isfinite(value)
        found[name] = value if finite else str(value)
    return found


def from_json(values: Mapping[str, Any], kinds: Any) -> Parameters:
    """Read what :func:`to_json` gives, as one of ``kinds``, a union of :class:`Parameters`.

    Raises:
        msgspec.ValidationError: it is none of them.
    """
    numbers = {
        name: float(value) if value in {"nan", "inf", "-inf"} else value
        for name, value in values.items()
    }
    found: Parameters = msgspec.convert(numbers, kinds)
    return found
