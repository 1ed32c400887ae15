"""A sampler as data: parameters, an ordered list of stages, a draw.

Whatever judges, shrinks, plants mistakes in, or tells of a sampler, follows from this: nobody asks
which sampler it is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from sampler_parity.model.verdict import Verdict

Array = npt.NDArray[Any]
Values = Mapping[str, Array]
"""Values of ``logits`` and of stages, by name."""

Along = Callable[[Array, Any, Array | None], tuple[Array, Array]]
"""Called with logits [B, V], parameters and the history: each token's least and most place in a
walk, f64 [B, V] both. A token is before another one where its most is below the other's least."""

Doubt = Callable[[Array, Any, int, int], bool]
"""Called with a row's numbers in descending order, parameters, and the first and last token + 1."""

Kind = Literal["numbers", "mask", "draw"]
TOKEN = "token"  # noqa: S105  (a token of the vocabulary)
"""The name of the stage that draws."""

LOGITS = "logits"
"""What a stage reads if not another stage: the logits as they are passed, f32 [B, V] or [V]."""

HISTORY = "history"
"""What a stage reads that looks back: the tokens before this call, i64 [B, n], or [n] of [V]."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """What is known of a parameter beside its name, type and default.

    Attributes:
        words: what it does, for people.
        simpler: the values that shrinking tries, the simplest first.
        usual: the values that cases are made with; none where families alone say them.
        of_vocabulary: how it follows when tokens are left out of the logits: a ``count`` is at most
            V, a ``token`` moves with the token it names, and is ``None`` when that one goes.
        accepts: whether the sampler takes a value, of those that a family makes for others.
    """

    words: str
    simpler: tuple[float | int | str | None, ...] = ()
    usual: tuple[float | int | str | None, ...] = ()
    of_vocabulary: Literal["count", "token"] | None = None
    accepts: Callable[[Any], bool] = field(default=lambda _: True)


class Generators(Protocol):
    """How a pipeline's generators are made, where they are not torch's."""

    @property
    def seeds(self) -> int:
        """How many seeds there are, from 0."""

    def start(self, seed: int, advance: int, state: bytes) -> Any:
        """Make a generator: of a seed, ``advance`` 32-bit outputs further; or of a state."""

    def state(self, generator: Any) -> bytes:
        """Give a generator's state, 5,056 bytes."""


class Parameters(msgspec.Struct, frozen=True, tag_field="sampler"):
    """What a sampler takes beside logits and a generator; the tag is the sampler's name.

    A subclass has a field a parameter, each with a default, the tag once more as ``sampler``, and
    its :class:`Pipeline`.
    """

    sampler: ClassVar[str]
    pipeline: ClassVar["Pipeline"]

    @property
    def greedy(self) -> bool:
        """Whether the token is the largest logit's, and nothing is drawn."""
        return False

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
        along: in which order tokens are added up; without it, by their index.
    """

    of: str
    along: Along | None = None

    def places(self, logits: Array, parameters: Any, history: Array | None) -> tuple[Array, Array]:
        """Give each token's least and most place, f64 [B, V] both; see :data:`Along`."""
        if self.along is not None:
            return self.along(logits, parameters, history)
        at = np.broadcast_to(np.arange(logits.shape[-1], dtype=np.float64), logits.shape)
        return at, at


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


@dataclass(frozen=True, slots=True)
class SecondDraw:
    """A token of what a mask keeps, which may be refused, and then one of all.

    Attributes:
        of: the stage that holds the probabilities, f32.
        mask: the stage that keeps what the first token is drawn from.
        refused: called with a row's history, i64 [n], parameters and V: bool [V], true where the
            first token is refused.
        parts: called with logits, parameters, the tokens of each call, the reference's generator
            and the history: whether rounding may decide how many tokens are drawn.
    """

    of: str
    mask: str
    refused: Callable[[Array, Any, int], Array]
    parts: Callable[[Array, Any, Sequence[Array], Any, Array | None], bool]


Draw = Race | InverseCdf | NoisyArgmax | SecondDraw


@dataclass(frozen=True, slots=True)
class Variation:
    """Another way to compute a stage: a mistake that ports make, or right in other arithmetic.

    Attributes:
        words: what it does otherwise.
        reference: in place of the stage's.
        verdict: of which kind the difference is: ``semantic`` or ``generator`` of a mistake,
            ``rounding`` or ``tie_order`` of what is right.
    """

    words: str
    reference: Callable[[Mapping[str, Any], Any, Any], Any]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a sampler.

    Attributes:
        name: how reports, traces and case files call it.
        words: what it does, for people.
        kind: ``numbers`` (f32), ``mask`` (bool, true where the token stays), or ``draw`` (i64, one
            token a row).
        reads: the stages whose values it takes, :data:`LOGITS` or :data:`HISTORY`, in order.
        reference: the reference's own operation: called with torch tensors of what the stage reads,
            by name, the parameters and the generator. It gives a tensor and changes none.
        random: whether it takes values from the generator.
        truth: of numbers, what they truly are and how far rounding moves them: called with values
            of all earlier stages and the logits, the parameters, and the reference's own operation,
            a function of values. Without it, rounding cannot be told from meaning here.
        doubt: of a mask, whether rounding may have decided otherwise for each of the tokens from
            ``first`` to ``last``: called with a row's numbers in descending order, the parameters,
            ``first`` and ``last + 1``. :func:`compares` where nothing but a comparison decides.
            Without it, rounding cannot be told from meaning here.
        variations: other ways to compute it, which a run plants and ``identify`` knows.
        fold: how the stage goes on from exact weights and sealed fates, which are
            :class:`sampler_parity.pipelines.folding.Folded`: called with them, the parameters and
            the history. Of a mask, it says what ``doubt`` says, of every token by itself.
        absent: what a dropped token counts as in what the stage reads: 0, or -inf among scores.
        off: says of parameters whether they turn the stage off: it hands on what it reads, or
            keeps every token.
    """

    name: str
    words: str
    kind: Kind
    reads: tuple[str, ...]
    reference: Callable[[Mapping[str, Any], Any, Any], Any]
    random: bool = False
    truth: Callable[[Values, Any, Callable[[Values], Array]], Any] | None = None
    doubt: Doubt | None = None
    variations: tuple[Variation, ...] = ()
    fold: Callable[[Any, Any, Any], Any] | None = None
    absent: float = 0.0
    off: Callable[[Any], bool] | None = None

    def folded(self, rows: Any, parameters: Any, history: Array | None) -> Any:
        """Go on with ``rows`` as ``fold`` says; as they are without one, or where it is off."""
        if self.fold is None or (self.off is not None and self.off(parameters)):
            return rows
        return self.fold(rows, parameters, history)


def compares(_: Array, __: Any, ___: int, ____: int) -> bool:
    """Say that a mask is cut by comparisons, in which nothing is rounded."""
    return False


class Oracle(Protocol):
    """What can be said of a sampler's answers from the logits on, where it shows no stages."""

    def fates(self, logits: Array, parameters: Any, history: Array | None = None) -> Any:
        """Give every token's fate, :class:`sampler_parity.pipelines.fates.Fates`, or ``None``."""

    def impossible(self, logits: Array, parameters: Any, history: Array | None = None) -> Array:
        """Mark, bool [B, V], the tokens that no correct sampler draws at the first call."""

    def may_draw(
        self,
        logits: Array,
        parameters: Any,
        tokens: Sequence[Array],
        generator: Any,
        history: Array | None = None,
    ) -> bool:
        """Whether a correct sampler on the reference's generator may draw all of these tokens."""


class Whole(Protocol):
    """The reference in one piece."""

    def __call__(self, logits: Any, parameters: Any, generator: Any, *, traced: bool) -> Any:
        """Call the reference.

        Args:
            logits: a torch tensor, f32 [B, V] or [V]; changed where the reference changes it.
            parameters: the sampler's.
            generator: a torch generator, from which the call takes its random numbers.
            traced: whether every stage is kept.

        Returns:
            The tokens, i64 [B, 1]; ``traced``, an object with every stage by its name.
        """


@dataclass(frozen=True)
class Pipeline:
    """A sampler.

    Attributes:
        name: the sampler's name, the same as the tag of ``parameters``.
        stages: its steps, in order; the last one draws.
        draw: by which law the last one does.
        parameters: what is known of each parameter, by name.
        whole: the reference in one piece, where there is one; the stages, composed, are the same.
        in_place: whether each stage before the draw is computed in the logits, so that a call
            leaves the last of them there, where the next call finds it.
        level_dependent: whether its bits depend on torch's capability and thread count.
        oracle: judges answers without stages; without it, what is not the reference's there is
            called different, and no more.
        aliases: other names that functions of this sampler have in engines.
        stream: how its generators are made; without it, they are torch's.
    """

    name: str
    stages: tuple[Stage, ...]
    draw: Draw
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    whole: Whole | None = None
    in_place: bool = False
    level_dependent: bool = True
    oracle: Oracle | None = None
    aliases: tuple[str, ...] = ()
    stream: Generators | None = None

    def __post_init__(self) -> None:
        known = {LOGITS, HISTORY}
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
        if self.names[-1] != TOKEN:
            raise ValueError(f"the last stage of pipeline {self.name} must be named {TOKEN}")
        if self.draw.of not in known:
            raise ValueError(f"pipeline {self.name} draws from {self.draw.of}, which is no stage")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The stages' names, in order."""
        return tuple(stage.name for stage in self.stages)

    @cached_property
    def looks_back(self) -> bool:
        """Whether a stage reads the history."""
        return any(HISTORY in stage.reads for stage in self.stages)

    @cached_property
    def unchanged(self) -> tuple[str, ...]:
        """The stages that neither the generator nor an earlier call changes."""
        changed = {LOGITS} if self.in_place else set()
        for stage in self.stages:
            if stage.random or not changed.isdisjoint(stage.reads):
                changed.add(stage.name)
        return tuple(name for name in self.names if name not in changed)

    @property
    def final(self) -> str:
        """The stage that tokens are drawn from; empty where no stage is their distribution."""
        return self.draw.of if isinstance(self.draw, Race | InverseCdf) else ""

    @property
    def masks(self) -> tuple[Stage, ...]:
        """The stages that say which tokens stay."""
        return tuple(stage for stage in self.stages if stage.kind == "mask")

    def mask_input(self, stage: Stage, values: Values) -> Array:
        """Give what a mask is cut from: its numbers, without those of dropped tokens."""
        numbers, *masks = stage.reads
        kept = values[numbers]
        for mask in masks:
            kept = np.where(values[mask], kept, kept.dtype.type(stage.absent))
        return kept

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


def computed_by(kind: type[Parameters], pipeline: Pipeline) -> type[Parameters]:
    """Give the parameters of ``kind`` with another pipeline."""
    return type(kind.__name__, (kind,), {"pipeline": pipeline}, frozen=True, tag=kind.sampler)


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
