"""What findings are seen in: the first call of each, in full, and as a case to replay."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from sampler_parity.cases.case_file import save_case
from sampler_parity.engines import replay
from sampler_parity.engines.contract import shown
from sampler_parity.engines.findings import Attribution, Finding
from sampler_parity.engines.in_full import Evidence, Passed, Token, Weighed
from sampler_parity.engines.recording import Call
from sampler_parity.engines.replay import Inputs
from sampler_parity.engines.sides import Logits, Side, start_of
from sampler_parity.engines.stream import Entry, entry, outputs_between
from sampler_parity.engines.turns import Generation, Turn
from sampler_parity.engines.uniform import uniform_of
from sampler_parity.engines.words import vocabulary
from sampler_parity.judge.around import WIDTH, neighbours
from sampler_parity.model.outcome import Outcome
from sampler_parity.statistics.errors import StatisticsError

FOLDER = "evidence"
"""Where the cases are, below the result's folder."""

MOST = 48
"""How many findings are shown in full; a recording may have one for each of thousands of phases."""

LIKELIEST, APART = 5, 4
"""How many tokens are shown of each side's likeliest, and of those that differ most."""

LISTED = 8
"""How many tokens of a row of them are told."""

Row = npt.NDArray[np.float64]


@dataclass(slots=True)
class _Looked:
    """One side of one call, with what is worked out of it.

    Attributes:
        side: the recording.
        turn: the turn.
        index: the call.
        inputs: what the reference needs; ``None`` where it cannot be replayed.
        logits: f32 [B, V]; ``None`` where they are not all recorded.
        law: f64 [B, V]; ``None`` where the call has none.
    """

    side: Side
    turn: Turn
    index: int
    inputs: Inputs | None
    logits: Logits | None
    law: Row | None

    @property
    def call(self) -> Call:
        return self.side.call(self.index)


@dataclass(slots=True)
class _Order:
    """Which call is before which, on one side."""

    side: Side
    before: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        calls = [
            index
            for _, generation in sorted(self.side.generations.items())
            for turn in generation.turns
            for index in turn.draws
        ]
        self.before = dict(zip(calls[1:], calls, strict=False))


def evidence(
    sides: Sequence[Side], findings: Sequence[Finding], folder: Path | None = None
) -> tuple[Evidence, ...]:
    """Show the first call of each finding, at most :data:`MOST` of them.

    Args:
        sides: the recordings, one or two.
        findings: what was found in them.
        folder: the result's folder, below which the calls are written as cases; none without it.

    Raises:
        RecordingError: a call does not hold what its line says.
    """
    orders = [_Order(side) for side in sides]
    return tuple(
        _one(number, finding, orders, folder) for number, finding in enumerate(findings[:MOST])
    )


def with_evidence(found: Attribution, sides: Sequence[Side], folder: Path | None) -> Attribution:
    """Give a result with its evidence, where it has a ``folder``; raises as :func:`evidence`."""
    if folder is None:
        return found
    for old in (folder / FOLDER).glob("[AB]-*.safetensors"):
        old.unlink()
    return msgspec.structs.replace(found, evidence=evidence(sides, found.findings, folder))


def _one(number: int, finding: Finding, orders: Sequence[_Order], folder: Path | None) -> Evidence:
    found = [(order, _turn(order.side, finding)) for order in orders]
    if all(turn is None for _, turn in found):
        # A call that is missing: the last one before it is shown.
        found = [(order, _turn(order.side, finding, last=True)) for order in orders]
    looked = [
        (order, _look(order.side, turn, finding)) for order, turn in found if turn is not None
    ]
    both = [one for _, one in looked]
    row = _row(both)
    return Evidence(
        finding=number,
        sides=tuple(_passed(order, one, row, folder) for order, one in looked),
        variation=_variation(both, row),
        tokens=tuple(_tokens(both, row)),
    )


def _turn(side: Side, finding: Finding, *, last: bool = False) -> Turn | None:
    generation = side.generations.get(finding.generation, Generation())
    line = generation.phases().get(finding.phase, [])
    if last and line:
        return line[min(finding.call, len(line) - 1)]
    return line[finding.call] if finding.call < len(line) else None


def _look(side: Side, turn: Turn, finding: Finding) -> _Looked:
    """Look at a turn's first draw; where a sampler errs, at the first draw at which it does."""
    index = turn.first
    if finding.kind == "arithmetic":
        index = next((i for i in turn.draws if _errs(side, i)), index)
    inputs, logits = side.inputs(index), side.logits(index)
    law = None
    if inputs is not None:
        try:
            law = replay.law(inputs)
        except StatisticsError:
            law = None
    return _Looked(
        side, turn, index, inputs, None if logits is None else np.atleast_2d(logits), law
    )


def _errs(side: Side, index: int) -> bool:
    inputs = side.inputs(index)
    return inputs is not None and replay.token(inputs) != side.call(index).token


def _row(looked: Sequence[_Looked]) -> int:
    """Choose the row: the first whose token differs, else the first whose law does, else 0."""
    if len(looked) == 1:
        return _erring(looked[0])
    a, b = looked
    tokens = zip(a.call.token, b.call.token, strict=False)
    apart = next((row for row, (ours, theirs) in enumerate(tokens) if ours != theirs), None)
    if apart is not None:
        return apart
    if a.law is not None and b.law is not None and a.law.shape == b.law.shape:
        return int(np.abs(a.law - b.law).sum(axis=-1).argmax())
    return 0


def _erring(one: _Looked) -> int:
    if one.inputs is None:
        return 0
    expected = replay.token(one.inputs)
    pairs = zip(expected, one.call.token, strict=False)
    return next((row for row, (ours, theirs) in enumerate(pairs) if ours != theirs), 0)


def _variation(looked: Sequence[_Looked], row: int) -> float | None:
    laws = [
        one.law[[row]] if one.law is not None and row < len(one.law) else None for one in looked
    ]
    return replay.variation(*laws) if len(laws) > 1 else None


# ---- one side


def _passed(order: _Order, one: _Looked, row: int, folder: Path | None) -> Passed:
    side, call = one.side, one.call
    generation = side.generations[call.generation]
    logits = _of_row(one.logits, row)
    random = call.random
    state, after = side.states(one.index)
    source = random.source if random is not None else ""
    case, told = _case(one, folder)
    law = _of_row(one.law, row)
    return Passed(
        side=side.name,
        generation=call.generation,
        phase=call.phase,
        call=call.call,
        row=row,
        site=call.site,
        code=shown(call),
        vocabulary=vocabulary(call),
        masked=None if logits is None else int(np.isneginf(logits).sum()),
        kept=None if law is None or not _truncates(one) else int((law > 0).sum()),
        random=_random(call),
        entry=_entry(order, one, state),
        uniform=_uniform(source, side, one.index),
        took=outputs_between(source, state, after) if state and after else None,
        drawn=tuple(listed(side.call(index).token) for index in one.turn.draws),
        went_on_with="" if call.went_on_with == call.token else listed(call.went_on_with),
        reference=_reference(one),
        error="" if call.error is None else f"{call.error.kind}: {call.error.message}",
        fed_before=_fed(side, generation, order.before.get(one.turn.first), call),
        fed_after=_fed(side, generation, one.turn.last, call),
        case=case,
        replay=told,
    )


def _uniform(source: str, side: Side, index: int) -> str:
    found = uniform_of(source, side.tensors(index))
    return "" if found is None else f"{found:.9g}"


def _of_row(values: npt.NDArray[Any] | None, row: int) -> npt.NDArray[Any] | None:
    return None if values is None or row >= len(values) else values[row]


def _truncates(one: _Looked) -> bool:
    return one.inputs is not None and bool(one.inputs.parameters.pipeline.masks)


def _random(call: Call) -> str:
    if call.random is None:
        return "not recorded"
    told = [call.random.source]
    if call.random.generator is not None:
        told.append(f"generator {call.random.generator}")
    if call.random.seed is not None:
        told.append(f"seed {call.random.seed}")
    return ", ".join(told)


def _entry(order: _Order, one: _Looked, state: bytes) -> str:
    """Say how the call's generator stands to the call before."""
    if one.call.random is None:
        return "not recorded"
    before = order.before.get(one.index)
    earlier = None if before is None else one.side.call(before)
    left = b"" if before is None else one.side.states(before)[1]
    return entry_words(entry(one.call, state, earlier, left))


def entry_words(found: Entry) -> str:
    """Say how a generator stands to the call before, in a clause."""
    return {
        "goes on": "goes on where the call before left it",
        "new": f"made anew for this call, from seed {found.seed}",
        "ahead": f"{found.outputs:,} 32-bit outputs beyond where the call before left it",
        "other": "in a state that follows neither from the call before nor from its seed",
        "unknown": "not recorded",
    }[found.how]


def _reference(one: _Looked) -> str:
    if one.inputs is None or not one.inputs.state:
        return ""
    failure = one.inputs.outcome.failure
    return f"raises {failure.kind}" if failure is not None else listed(replay.token(one.inputs))


def _fed(side: Side, generation: Generation, index: int | None, call: Call) -> str:
    """Say what the model was given after the call at ``index``, or before any."""
    if not side.tells_what_was_fed:
        return "not recorded"
    after = -1
    if index is not None and side.call(index).generation == call.generation:
        after = side.call(index).call
    return listed(generation.fed.get(after, ()))


def listed(tokens: Sequence[int]) -> str:
    """Give tokens in words: of many the last ones, which the model was given last."""
    if not tokens:
        return "nothing"
    told = ", ".join(map(str, tokens[-LISTED:]))
    return told if len(tokens) <= LISTED else f"{len(tokens):,} tokens, the last {told}"


def _case(one: _Looked, folder: Path | None) -> tuple[str, str]:
    """Write a call as a case; give the file, and what replaying it shows or why there is none."""
    inputs, call = one.inputs, one.call
    if inputs is None:
        return "", one.side.why_not_replayed(one.index)
    if folder is None:
        return "", ""
    name = f"{one.side.name}-{call.generation}-{_plain(call.phase)}-{call.call}"
    path = f"{FOLDER}/{name}.safetensors"
    given = Outcome(
        tokens=[np.array(call.token, np.int64)] if call.token else [],
        generator=one.side.states(one.index)[1],
        input=np.empty(0, np.float32),
    )
    case = replace(inputs.case, id=name, family="recording")
    save_case(folder / path, case, "", None, given)
    if inputs.state:
        return path, "stage by stage, with the generator as it was on entry"
    return path, "stage by stage; the generator's state is not recorded, so that it draws another"


def _plain(name: str) -> str:
    """Give a name that is part of a file's, whatever a phase is called."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "-" for c in name)
    return kept[:40] or "phase"


# ---- its tokens


def _tokens(looked: Sequence[_Looked], row: int) -> Iterator[Token]:
    """Give the tokens that matter, the likeliest on the first side first."""
    near = [_near(one, row) for one in looked]
    wanted: set[int] = set()
    for one, around in zip(looked, near, strict=True):
        start = start_of(one.call)
        wanted.update(token + start for token in _own(one, row, around))
    if len(looked) > 1:
        wanted.update(_most_apart(looked[0], looked[1], row))
    weighed = [_weighed(one, row, wanted, around) for one, around in zip(looked, near, strict=True)]
    beyond = 1 << 62

    def place(token: int) -> tuple[int, ...]:
        return tuple(side[token].rank if token in side else beyond for side in weighed)

    names: list[Literal["a", "b"]] = ["a" if one.side.name == "A" else "b" for one in looked]
    for token in sorted(wanted, key=place):
        sides = {name: side.get(token) for name, side in zip(names, weighed, strict=True)}
        if any(side is not None for side in sides.values()):
            yield Token(token=token, **sides)


def _near(one: _Looked, row: int) -> dict[int, float | None]:
    """Give the tokens around the cutoff, likeliest first, each with the sum before it.

    Those that top-k has taken away have no sum: top-p does not see them.
    """
    law = _of_row(one.law, row)
    if one.inputs is None or law is None or not _truncates(one):
        return {}
    pipeline, stages = one.inputs.parameters.pipeline, one.inputs.outcome.stages
    numbers = np.atleast_2d(stages[pipeline.masks[-1].reads[0]])[row]
    cut = int((law > 0).sum())
    around = np.argsort(-numbers, kind="stable")[max(cut - WIDTH, 0) : cut + WIDTH]
    seen = np.atleast_2d(pipeline.mask_input(pipeline.masks[-1], stages))[row]
    told = neighbours(one.inputs.case, one.inputs.outcome, Outcome(), row)
    sums = {one.token: one.before for one in told if seen[one.token] > 0}
    return {int(token): sums.get(int(token)) for token in (*around, *sums)}


def _own(one: _Looked, row: int, around: Iterable[int]) -> Iterator[int]:
    yield from around
    logits, law = _of_row(one.logits, row), _of_row(one.law, row)
    if logits is not None:
        numbers = logits if law is None else law
        yield from _largest(np.asarray(numbers, np.float64), LIKELIEST)
    for index in one.turn.draws:
        yield from one.side.call(index).token[row : row + 1]
    if one.inputs is not None and one.inputs.state:
        yield from replay.token(one.inputs)[row : row + 1]


def _largest(values: Row, count: int) -> Iterator[int]:
    ranked = np.where(np.isnan(values), -np.inf, values)
    for token in np.argsort(-ranked, kind="stable")[:count]:
        if ranked[token] > 0 or not np.isneginf(ranked[token]):
            yield int(token)


def _most_apart(a: _Looked, b: _Looked, row: int) -> Iterator[int]:
    """Give the tokens whose probability differs most, and those whose logit does."""
    for ours, theirs in ((a.law, b.law), (a.logits, b.logits)):
        left, right = _of_row(ours, row), _of_row(theirs, row)
        if left is None or right is None:
            continue
        first = max(start_of(a.call), start_of(b.call))
        last = min(start_of(a.call) + len(left), start_of(b.call) + len(right))
        if first >= last:
            continue
        wide = [
            np.asarray(values[first - start : last - start], np.float64)
            for values, start in ((left, start_of(a.call)), (right, start_of(b.call)))
        ]
        with np.errstate(invalid="ignore"):
            distance = np.abs(wide[0] - wide[1])
        # NaN is infinity less infinity: equal masks.
        distance = np.where(np.isnan(distance), 0.0, distance)
        for token in np.argsort(-distance, kind="stable")[:APART]:
            if distance[token] > 0:
                yield int(token) + first


def _weighed(
    one: _Looked, row: int, wanted: Iterable[int], around: dict[int, float | None]
) -> dict[int, Weighed]:
    """Give what a side has of each token that it has."""
    logits, law = _of_row(one.logits, row), _of_row(one.law, row)
    if logits is None:
        return {}
    start = start_of(one.call)
    numbers = np.nan_to_num(np.asarray(logits, np.float64), nan=np.inf)
    ranks = np.empty(len(numbers), np.int64)
    ranks[np.argsort(-numbers, kind="stable")] = np.arange(1, len(numbers) + 1)
    drawn = {
        token for index in one.turn.draws for token in one.side.call(index).token[row : row + 1]
    }
    found = {}
    for token in wanted:
        here = token - start
        if not 0 <= here < len(numbers):
            continue
        probability = None if law is None else float(law[here])
        truncates = probability is not None and _truncates(one)
        found[token] = Weighed(
            logit=str(np.float32(logits[here])),
            rank=int(ranks[here]),
            probability=probability,
            before=around.get(here),
            kept=bool(probability) if truncates else None,
            drawn=here in drawn,
        )
    return found
