"""What a comparison of recordings, or a look at one alone, concludes."""

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from sampler_parity.engines.in_full import Evidence

Kind = Literal[
    "loop",
    "sampler",
    "parameters",
    "vocabulary",
    "stream",
    "logits",
    "arithmetic",
    "consequence",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order in which findings of one call are told: what a call is given before what it gives.

loop: which calls there are, what ends a phase, what is fed to the model.
sampler: which function is called.
parameters: what it is called with.
vocabulary: which logits it is given: the slice, and what is masked with -inf.
stream: which random numbers it draws from.
logits: the logits' values.
arithmetic: what the sampler makes of its own inputs.
consequence: what follows from the findings before it, and is none of its own.
"""

Side = Literal["A", "B", "both"]
Status = Literal["holds", "diverges", "unjudged"]


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One ingredient of a call, exchanged alone: the counterfactual replay.

    Attributes:
        variation: total variation between the reference's law on A's inputs and on A's inputs with
            this ingredient of B, 0 to 1; ``None`` where one of them has no law.
        flips: whether A's token becomes another one with this ingredient of B; ``None`` where the
            generator's state is not recorded.
        repairs: whether B's inputs with this ingredient of A give A's law, and A's token where that
            can be replayed; ``None`` where it cannot be said.
    """

    variation: float | None = None
    flips: bool | None = None
    repairs: bool | None = None

    def words(self) -> str:
        """Say it in a clause; empty where nothing could be replayed."""
        parts = []
        if self.variation is not None:
            parts.append(f"moves the law by {self.variation:.3g} (total variation)")
        if self.flips is not None:
            parts.append("flips this token" if self.flips else "leaves this token as it is")
        told = " and ".join(parts)
        if not told:
            return ""
        repaired = "; put right alone, nothing else differs at this call" if self.repairs else ""
        return f"alone it {told}{repaired}"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that differs, at the first call at which it does.

    Attributes:
        kind: of what kind it is, see :data:`KINDS`.
        what: which fault of that kind, in a word or two.
        generation: number of the generation.
        phase: the phase's name.
        call: number of the call within its phase, from 0.
        side: which recording departs; of a pair of which neither is known to be right, ``B``.
        site: where in the departing engine the call stands.
        words: the finding in a sentence.
        times: at how many calls it is seen, over all generations.
        of: how many calls could have shown it.
        alone: what it does alone, at its first call.
    """

    kind: Kind
    what: str
    generation: int
    phase: str
    call: int
    side: Side
    site: str = ""
    words: str
    times: int = 1
    of: int = 1
    alone: Exchange | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One of the recordings.

    Attributes:
        side: ``A`` or ``B``.
        path: the file.
        engine: the engine's name and version.
        calls: how many calls were read.
        generations: how many generations.
        ending: how the file ends, in a sentence; empty where the engine closed it.
    """

    side: Side
    path: str
    engine: str
    calls: int
    generations: int
    ending: str = ""


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What one side calls in one phase.

    Attributes:
        phase: the phase's name.
        side: ``A`` or ``B``.
        calls: how many calls do so.
        sampler: the function, as it is recorded.
        parameters: every parameter by name, those left out at their defaults.
        vocabulary: the slice and the mask, in words.
        source: where the random numbers come from.
        site: where in the engine the first such call stands.
    """

    phase: str
    side: Side
    calls: int
    sampler: str
    parameters: dict[str, float | int | str | bool | None]
    vocabulary: str
    source: str
    site: str = ""


class Step(msgspec.Struct, frozen=True, array_like=True):
    """A pair of calls on the timeline.

    Attributes:
        generation: number of the generation.
        phase: the phase's name.
        call: number of the call within its phase.
        tokens: A's token and B's; ``None`` where a side has no such call.
        variation: total variation between the laws of both sides' own inputs; ``None`` where it is
            not known.
        kinds: what differs at this call.
    """

    generation: int
    phase: str
    call: int
    tokens: tuple[int | None, int | None]
    variation: float | None
    kinds: tuple[Kind, ...]


class NotCompared(msgspec.Struct, frozen=True, kw_only=True):
    """What could not be told of some calls, and why."""

    calls: int
    reason: str


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        status: ``diverges`` where there is a finding; ``unjudged`` where there is none and a
            recording is not whole, or something was not compared that has to be; else ``holds``.
        sentence: what matters, in one sentence, or a few.
        findings: everything that differs, the first call first.
        recordings: which files.
        uses: phase by phase, what each side calls with what.
        timeline: call by call, at most :data:`LONGEST_TIMELINE` of them.
        planned: how many calls there are to compare, over both sides.
        compared: how many were.
        not_compared: the others, with the reason; and what could not be told of those that were.
        frequencies: what the places of each recording's tokens say, in sentences.
        contract: the contract's name; empty where there is none.
        seed: of the random places within an atom.
        evidence: the first call of each finding in full, where the result has a folder.
    """

    status: Status
    sentence: str
    findings: tuple[Finding, ...] = ()
    recordings: tuple[Recorded, ...] = ()
    uses: tuple[Use, ...] = ()
    timeline: tuple[Step, ...] = ()
    planned: int = 0
    compared: int = 0
    not_compared: tuple[NotCompared, ...] = ()
    frequencies: tuple[str, ...] = ()
    contract: str = ""
    seed: int | None = None
    evidence: tuple[Evidence, ...] = ()


LONGEST_TIMELINE = 20_000


EQUAL = "equal"
"""The name of an engine without a fault."""


class EngineFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault of an engine, and what the comparison made of it.

    Attributes:
        name: the fault, as ``docs/engines.md`` names it; ``equal`` for engines without one.
        words: what the engine does.
        forced: whether the engine went on with the other's tokens.
        expected: what had to be found, where; empty for nothing.
        found: what was: everything but consequences.
        calls: how many calls were compared.
        killed: whether that is what was expected, alone, at its first call.
    """

    name: str
    words: str
    forced: bool
    expected: str
    found: tuple[str, ...]
    calls: int
    killed: bool

    @property
    def how(self) -> str:
        """Say how the engine went on."""
        return "forced" if self.forced else "free"

    @property
    def told(self) -> str:
        """Say what had to be found, and what was."""
        expected = self.expected or "nothing"
        found = "; ".join(self.found) or "nothing"
        return (
            f"{self.name}, {self.how} ({self.words}): {expected} had to be found, and {found} was"
        )


def listed(parameters: Mapping[str, float | int | str | bool | None]) -> str:
    """Give parameters as arguments; those that are None are left out."""
    given = ((name, value) for name, value in parameters.items() if value is not None)
    return ", ".join(f"{name}={value!r}" for name, value in given)
