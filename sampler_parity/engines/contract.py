"""What a phase must use, from a file ``parity.toml``: the contract of an engine.

.. code-block:: toml

    [engine]
    streams = "own"            # each side draws from a generator of its own; else "same"

    [[phase]]
    name = "semantic"
    sampler = "sample_logits"
    parameters = { temperature = 1.0, top_p = 0.95, top_k = 80 }
    slice = [0, 8193]          # which of the model's logits
    masked = []                # tokens that are -inf in every call
    calls_at_most = 2048       # or calls = 32
    end = 8192                 # the token that ends the phase, and is not fed
    fed_first = [8194]         # what the model is given before the first call
    fed_plus = 0               # what is added to a token when it is fed

A phase that stands there several times may be any one of them, in each generation.
"""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from sampler_parity.engines.findings import Kind, listed
from sampler_parity.engines.known import same, sampler_of, telling, values
from sampler_parity.engines.recording import Call, Value
from sampler_parity.engines.values import named
from sampler_parity.model.errors import CannotJudgeError

CONTRACTS = Path(__file__).parent / "contracts"
"""The contracts that come with the harness, a file each, known by the file's name."""

Count = Annotated[int, msgspec.Meta(ge=0)]


class Phase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one phase must use; what is left out may be anything.

    Attributes:
        name: the phase's name, as the recording has it.
        sampler: the function's name.
        parameters: every one that matters, by name.
        slice: first and last + 1 of the model's logits that are passed.
        masked: the tokens that are -inf, and no others; anything where it is left out.
        calls: how many there are, exactly.
        calls_at_most: how many there may be.
        end: the token that ends the phase, and is not fed to the model.
        fed_first: what the model is given last before the first call.
        fed_plus: what is added to a token when it is fed.
    """

    name: str
    sampler: str | None = None
    parameters: dict[str, Value] = {}
    slice: tuple[Count, Count] | None = None
    masked: tuple[Count, ...] | None = None
    calls: Count | None = None
    calls_at_most: Count | None = None
    end: Count | None = None
    fed_first: tuple[int, ...] = ()
    fed_plus: int | None = None


class Engine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for a pair of engines.

    Attributes:
        streams: ``own`` where both draw from different generators by design.
    """

    streams: Literal["same", "own"] = "same"


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """All phases.

    Attributes:
        name: the file's name, or that of one that comes with the harness.
        phase: the phases; several of one name are alternatives.
        engine: what holds for a pair.
    """

    phase: tuple[Phase, ...] = ()
    engine: Engine = Engine()
    name: str = ""

    def named(self, phase: str) -> list[Phase]:
        """Give what a phase may be."""
        return [one for one in self.phase if one.name == phase]

    def fitting(self, call: Call) -> Phase | None:
        """Give the alternative that a phase's first call fits best; ``None`` for unknown phases."""
        found = self.named(call.phase)
        return min(found, key=lambda one: len(list(departures(one, call, None))), default=None)


NONE = Contract()
_TABLES = {"phase", "engine", "waiver"}
"""What a ``parity.toml`` has; waivers are for the gate."""


def load_contract(what: str) -> Contract:
    """Read a contract: a file, or the name of one that comes with the harness.

    Raises:
        CannotJudgeError: there is no such file, or it is no contract.
    """
    path = CONTRACTS / f"{what}.toml"
    if not path.is_file():
        path = Path(what)
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
        found = msgspec.convert(tables, Contract)
    except OSError as error:
        known = ", ".join(sorted(file.stem for file in CONTRACTS.glob("*.toml")))
        raise CannotJudgeError(
            f"contract {what} cannot be read: {error.strerror}; those that come with the harness: "
            f"{known}"
        ) from error
    except (
        tomllib.TOMLDecodeError,
        UnicodeDecodeError,
        RecursionError,
        msgspec.ValidationError,
    ) as error:
        raise CannotJudgeError(f"{path} is no contract: {error}") from error
    unknown = tables.keys() - _TABLES
    if unknown:
        raise CannotJudgeError(f"{path} is no contract: it has no use for {', '.join(unknown)}")
    if not found.phase and found.engine == Engine():
        raise CannotJudgeError(f"{path} has no [[phase]] table: it asks for nothing")
    return msgspec.structs.replace(found, name=what)


Departure = tuple[Kind, str, str]
"""Kind, which fault of it, and the words: what the contract asks for."""


def departures(
    asked: Phase, call: Call, logits: npt.NDArray[np.float32] | None
) -> Iterator[Departure]:
    """Give everything in which a call is not what its contract asks for."""
    if asked.sampler is not None and sampler_of(call) != asked.sampler:
        yield "sampler", "wrong sampler", f"calls {shown(call)} where {wanted(asked)} is asked for"
    else:
        given = values(call)
        wrong = {
            name: value
            for name, value in asked.parameters.items()
            if name not in given or not same(given[name], value)
        }
        if wrong:
            told = ", ".join(f"{n}={given.get(n, 'nothing')!r}" for n in wrong)
            right = ", ".join(f"{n}={value!r}" for n, value in wrong.items())
            yield "parameters", "wrong parameters", f"passes {told} where {right} is asked for"
    yield from _vocabulary(asked, call, logits)


def _vocabulary(
    asked: Phase, call: Call, logits: npt.NDArray[np.float32] | None
) -> Iterator[Departure]:
    if asked.slice is not None:
        length = asked.slice[1] - asked.slice[0]
        given = call.slice or (0, call.shape[-1])
        if call.shape[-1] != length or (call.slice is not None and call.slice != asked.slice):
            words = f"passes logits {list(given)} where {list(asked.slice)} is asked for"
            what = "short slice" if call.shape[-1] < length else "long slice"
            yield "vocabulary", what, words
    if asked.masked is not None and logits is not None:
        start = call.slice[0] if call.slice is not None else 0
        found = np.flatnonzero(np.isneginf(np.atleast_2d(logits)).any(axis=0)) + start
        last = start + call.shape[-1]
        right = np.array([token for token in asked.masked if start <= token < last], np.int64)
        extra, missing = np.setdiff1d(found, right), np.setdiff1d(right, found)
        if extra.size:
            words = f"masks {named(extra)} with -inf, which is not asked for"
            yield "vocabulary", "mask extra", words
        if missing.size:
            words = f"does not mask {named(missing)} with -inf, which is asked for"
            yield "vocabulary", "mask missing", words


@dataclass(frozen=True, slots=True)
class Loop:
    """A phase of one generation, as a loop.

    Attributes:
        tokens: what the engine went on with, a turn each.
        fed: what the model was given after each; ``None`` where that is not recorded.
        before: what the model was given last before the first call; ``None`` as above.
        ended: whether the phase is known to be over.
    """

    tokens: Sequence[tuple[int, ...]]
    fed: Sequence[tuple[int, ...]] | None
    before: tuple[int, ...] | None
    ended: bool


def loop_departures(asked: Phase, loop: Loop) -> Iterator[tuple[int, str, str]]:
    """Give where a loop is not what is asked for: the call's number, the fault, the words."""
    first = asked.fed_first
    if loop.before is not None and first and loop.before[-len(first) :] != first:
        words = f"gives the model {list(loop.before)} before the first call, and not {list(first)}"
        yield 0, "fed", words
    yield from _calls(asked, loop)
    if asked.fed_plus is None or loop.fed is None:
        return
    for at, (drawn, given) in enumerate(zip(loop.tokens[:-1], loop.fed, strict=False)):
        right = tuple(token + asked.fed_plus for token in drawn)
        if asked.end not in drawn and given[: len(right)] != right:
            yield at, "fed", f"feeds {list(given)} after token {list(drawn)}, and not {list(right)}"
            return


def _calls(asked: Phase, loop: Loop) -> Iterator[tuple[int, str, str]]:
    """Give calls beyond the most that there may be, or the end; and those that are missing."""
    count = len(loop.tokens)
    most = asked.calls if asked.calls is not None else asked.calls_at_most
    if most is not None and count > most:
        yield most, "extra calls", f"makes {count:,} calls where {most:,} is the most"
    stops = [at for at, drawn in enumerate(loop.tokens) if asked.end in drawn]
    if stops and stops[0] + 1 < count:
        yield stops[0] + 1, "extra calls", f"goes on after token {asked.end}, which ends the phase"
    if not loop.ended or stops or most is None or count >= most:
        return
    if asked.calls is not None:
        yield count, "missing calls", f"makes {count:,} calls of {asked.calls:,}"
    elif asked.end is not None:
        words = f"ends after {count:,} calls, neither by token {asked.end} nor at the {most:,}th"
        yield count, "missing calls", words


def shown(call: Call) -> str:
    """Give a call as code: its numbers, and what else is not as it is by default."""
    return f"{sampler_of(call)}({listed(telling(call))})"


def wanted(asked: Phase) -> str:
    """Give what is asked for as code."""
    return f"{asked.sampler}({listed(asked.parameters)})"
