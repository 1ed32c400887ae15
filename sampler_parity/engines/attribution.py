"""Two recordings, call by call: where they part, and which ingredient alone explains it.

``docs/engines.md`` says how it is decided. Every call is judged on its own recorded inputs, and the
reference is run again with one ingredient at a time exchanged.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.engines import replay, values
from sampler_parity.engines.contract import NONE, Contract, Phase, departures, shown
from sampler_parity.engines.evidence import with_evidence
from sampler_parity.engines.findings import (
    LONGEST_TIMELINE,
    Attribution,
    Exchange,
    Kind,
    Step,
)
from sampler_parity.engines.findings import Side as Which
from sampler_parity.engines.frequencies import tell
from sampler_parity.engines.known import differing, sampler_of
from sampler_parity.engines.ledger import Departed, Ledger, Place
from sampler_parity.engines.loops import loops
from sampler_parity.engines.own import Own, Watch
from sampler_parity.engines.places import SEED
from sampler_parity.engines.recording import Call, Recording
from sampler_parity.engines.replay import Inputs
from sampler_parity.engines.sides import Logits, Side, overlap, rows_of, start_of
from sampler_parity.engines.stream import Entry
from sampler_parity.engines.turns import Generation, Progress, Turn
from sampler_parity.engines.words import CALL, OTHER_DRAWS, PHASE, conclusion

EXCHANGED: tuple[Kind, ...] = ("sampler", "parameters", "vocabulary", "logits", "stream")
"""What a call is given, and what can be exchanged alone."""


@dataclass(slots=True)
class History:
    """What both sides have in common so far, in one generation.

    Attributes:
        fed: whether the models were given the same, call for call.
        tokens: whether the engines went on with the same tokens.
    """

    fed: bool = True
    tokens: bool = True


@dataclass(slots=True)
class Comparison:
    """A comparison of two recordings, as it goes on."""

    a: Side
    b: Side
    contract: Contract = NONE
    ledger: Ledger = field(default_factory=Ledger)
    timeline: list[Step] = field(default_factory=list)
    planned: int = 0
    compared: int = 0
    _seen_a: dict[bytes, int] = field(default_factory=dict)
    _seen_b: dict[bytes, int] = field(default_factory=dict)

    def run(self, progress: Progress | None = None) -> None:
        """Compare every turn of every generation."""
        watch = Watch(self.a), Watch(self.b)
        total = sum(len(side.recording.calls) for side in (self.a, self.b)) // 2
        for number in sorted(self.a.generations.keys() | self.b.generations.keys()):
            ours, theirs = self.a.generations.get(number), self.b.generations.get(number)
            if ours is None or theirs is None:
                self._missing_generation(number, ours or theirs or Generation(), theirs is None)
                continue
            self._generation(number, ours, theirs, watch)
            if progress is not None:
                progress("comparing", min(self.compared, total), total)

    # ---- one generation

    def _generation(
        self, number: int, ours: Generation, theirs: Generation, watch: "tuple[Watch, Watch]"
    ) -> None:
        self._seen_a.clear()
        self._seen_b.clear()
        history = History()
        others = theirs.phases()
        self._fed(number, ours, theirs, None, None, history)
        unpaired: list[tuple[Turn, bool]] = []
        for turn in ours.turns:
            line = others.get(turn.phase, [])
            if turn.number >= len(line):
                unpaired.append((turn, True))
                continue
            other = line[turn.number]
            self.planned += len(turn.draws) + len(other.draws)
            self._pair(number, turn, other, history, watch)
            self._fed(number, ours, theirs, turn, other, history)
            self.compared += len(turn.draws) + len(other.draws)
        lines = ours.phases()
        unpaired += [
            (turn, False) for turn in theirs.turns if turn.number >= len(lines.get(turn.phase, []))
        ]
        self._unpaired(number, unpaired, history)
        self._loops(number)

    def _place(self, number: int, turn: Turn) -> Place:
        return Place(number, turn.phase, turn.number, self.planned)

    def _pair(
        self, number: int, a: Turn, b: Turn, history: History, watch: "tuple[Watch, Watch]"
    ) -> None:
        place = self._place(number, a)
        call_a, call_b = self.a.call(a.first), self.b.call(b.first)
        own = watch[0].turn(number, a), watch[1].turn(number, b)
        found = list(self._inputs(a, b, history))
        found += self._streams(own)
        found += self._draws(a, b, own)
        found += self._answers(a, b, own, [one.kind for one in found])
        found = self._with_contract(call_a, call_b, a, b, found)
        tokens = self.a.drawn(a), self.b.drawn(b)
        if tokens[0] != tokens[1] and not found:
            found.append(self._unexplained(own, history))
        inputs = self.a.inputs(a.first), self.b.inputs(b.first)
        for departed in found:
            site = (call_a if departed.side == "A" else call_b).site
            if self.ledger.add(departed, place, site) and departed.kind in EXCHANGED:
                self.ledger.explain(departed, self._exchange(a, b, departed.kind, *inputs))
        for side, turn, given in zip((self.a, self.b), (a, b), inputs, strict=True):
            if given is None:
                self.ledger.not_told(side.why_not_replayed(turn.first))
        self._step(place, tokens, found, *inputs)
        went_on = self.a.call(a.last).went_on_with, self.b.call(b.last).went_on_with
        history.tokens &= went_on[0] == went_on[1]
        self._seen_a.setdefault(self.a.marks[a.first], a.first)
        self._seen_b.setdefault(self.b.marks[b.first], b.first)

    # ---- what a call is given

    def _inputs(self, a: Turn, b: Turn, history: History) -> Iterator[Departed]:
        call_a, call_b = self.a.call(a.first), self.b.call(b.first)
        if sampler_of(call_a) != sampler_of(call_b):
            words = f"B calls {shown(call_b)} where A calls {shown(call_a)}"
            yield Departed("sampler", "wrong sampler", "B", words, key=a.phase)
        else:
            other = differing(call_a, call_b)
            if other:
                told = " and ".join(
                    f"{name}={theirs!r} where A passes {ours!r}"
                    for name, (ours, theirs) in other.items()
                )
                words = f"B passes {told}, to {sampler_of(call_b)}"
                yield Departed("parameters", "wrong parameters", "B", words, key=a.phase)
        if history.tokens:
            yield from self._history(a, b)
        yield from self._vocabulary(call_a, call_b, a, b)
        yield from self._logits(a, b, history)

    def _history(self, a: Turn, b: Turn) -> Iterator[Departed]:
        """Compare the tokens that a sampler looks back on."""
        ours, theirs = (
            side.tensors(turn.first).get("history") for side, turn in ((self.a, a), (self.b, b))
        )
        if ours is None and theirs is None:
            return
        if ours is None or theirs is None or not np.array_equal(ours, theirs):
            given = [
                "no history" if one is None else f"a history of {len(one):,} tokens"
                for one in (theirs, ours)
            ]
            words = f"B passes {given[0]} where A passes {given[1]}"
            if given[0] == given[1]:
                words = f"B passes {given[0]}, and A another one as long"
            yield Departed("parameters", "history", "B", words, key=a.phase)

    def _vocabulary(self, call_a: Call, call_b: Call, a: Turn, b: Turn) -> Iterator[Departed]:
        ours, theirs = call_a.slice, call_b.slice
        length = call_a.shape[-1], call_b.shape[-1]
        sliced = ours is not None and theirs is not None and ours != theirs
        if length[0] != length[1] or sliced:
            what = "short slice" if length[1] < length[0] else "long slice"
            told = [
                f"logits {list(cut)}" if cut is not None else f"{count:,} logits"
                for cut, count in ((theirs, length[1]), (ours, length[0]))
            ]
            words = f"B passes {told[0]} where A passes {told[1]}"
            yield Departed("vocabulary", what, "B", words, key=a.phase)
        if rows_of(call_a) != rows_of(call_b):
            words = f"B passes {rows_of(call_b)} rows of logits where A passes {rows_of(call_a)}"
            yield Departed("vocabulary", "rows", "B", words, key=a.phase)
            return
        pair = self._common(a, b)
        if pair is None:
            return
        masks = values.masks(*pair)
        start = max(start_of(call_a), start_of(call_b))
        if masks.only_b.size:
            words = f"B masks {values.named(masks.only_b + start)} with -inf and A does not"
            yield Departed("vocabulary", "mask extra", "B", words, key=a.phase)
        if masks.only_a.size:
            words = f"B does not mask {values.named(masks.only_a + start)} with -inf, which A masks"
            yield Departed("vocabulary", "mask missing", "B", words, key=a.phase)

    def _common(self, a: Turn, b: Turn) -> tuple[Logits, Logits] | None:
        ours, theirs = self.a.logits(a.first), self.b.logits(b.first)
        if ours is None or theirs is None or ours.shape[:-1] != theirs.shape[:-1]:
            return None
        of_a, of_b = overlap(self.a.call(a.first), self.b.call(b.first))
        return (
            np.ascontiguousarray(ours[..., of_a]),
            np.ascontiguousarray(theirs[..., of_b]),
        )

    def _logits(self, a: Turn, b: Turn, history: History) -> Iterator[Departed]:
        pair = self._common(a, b)
        if pair is None:
            yield from self._sparing(a, b, history)
            return
        apart = values.apart(*pair)
        if apart is None:
            return
        stale = self._stale(a, b)
        if stale:
            yield stale
        elif apart.what == "coarser grid":
            yield Departed("logits", "coarser grid", apart.side, apart.words)
            if apart.beyond and history.fed:
                words = (
                    "the logits are not those of the other side either, rounded, although both "
                    "models were given the same since the generation began"
                )
                yield Departed("logits", "other", "B", words)
        elif history.fed:
            words = (
                f"{apart.words}, although both models were given the same since the generation "
                "began"
            )
            yield Departed("logits", apart.what, "B", words)
        else:
            yield Departed("consequence", "logits", "both", _FOLLOWS)

    def _sparing(self, a: Turn, b: Turn, history: History) -> Iterator[Departed]:
        """Compare logits of which one side keeps less than all."""
        keeps = self.a.call(a.first).keep, self.b.call(b.first).keep
        if keeps[0] != keeps[1]:
            self.ledger.not_told(f"A keeps logits as {keeps[0]}, B as {keeps[1]}")
            return
        if self.a.marks[a.first] == self.b.marks[b.first]:
            return
        stale = self._stale(a, b)
        kept = "a digest" if keeps[0] == "digest" else "the largest"
        if stale:
            yield stale
        elif history.fed:
            words = (
                f"the logits differ, of which {kept} is kept, although both models were given the "
                "same since the generation began"
            )
            yield Departed("logits", "other", "B", words)
        else:
            yield Departed("consequence", "logits", "both", _FOLLOWS)

    def _stale(self, a: Turn, b: Turn) -> Departed | None:
        """Find logits that were passed before, on one side and not on the other."""
        for side, turn, seen, others, mark in (
            (self.b, b, self._seen_b, self._seen_a, self.a.marks[a.first]),
            (self.a, a, self._seen_a, self._seen_b, self.b.marks[b.first]),
        ):
            own = side.marks[turn.first]
            other = self.a if side is self.b else self.b
            earlier: Call | None
            if own in seen and mark not in others:
                earlier = side.call(seen[own])
                words = f"passes the logits of its call {_at(earlier)} again"
            elif own in others and mark not in seen and len(own) == len(mark):
                earlier = other.call(others[own])
                words = f"passes the logits that {other.name} has at call {_at(earlier)}, before"
            else:
                earlier = self._prefix(side, turn)
                if earlier is None:
                    continue
                words = f"passes the logits of its call {_at(earlier)} again, in another slice"
            return Departed("logits", "stale", side.name, f"{side.name} {words}")
        return None

    def _prefix(self, side: Side, turn: Turn) -> Call | None:
        """Find, at a phase's first call, the last logits of the phase before, in another slice."""
        number = side.call(turn.first).generation
        turns = side.generations[number].turns
        at = turns.index(turn)
        if turn.number or not at or turns[at - 1].phase == turn.phase:
            return None
        before = turns[at - 1].first
        now, then = side.logits(turn.first), side.logits(before)
        of_now, of_then = overlap(side.call(turn.first), side.call(before))
        if now is None or then is None or now.shape[:-1] != then.shape[:-1]:
            return None
        one = np.ascontiguousarray(now[..., of_now])
        other = np.ascontiguousarray(then[..., of_then])
        return side.call(before) if one.size and values.apart(one, other) is None else None

    # ---- random numbers

    def _streams(self, own: "tuple[Own, Own]") -> Iterator[Departed]:
        a, b = own
        if self.contract.engine.streams == "own":
            return
        if a.source != b.source and "" not in {a.source, b.source}:
            words = f"B draws from {b.source} where A draws from {a.source}"
            yield Departed("stream", "another source", "B", words)
            return
        if a.drawn is not None and b.drawn is not None:
            if not np.array_equal(a.drawn, b.drawn):
                words = f"B draws {_numbers(b.drawn)} where A draws {_numbers(a.drawn)}"
                yield Departed("stream", "other numbers", "B", words)
            return
        for one in own:
            if one.entry.how == "unknown":
                self.ledger.not_told(f"{one.side} does not say where its random numbers come from")
                return
        same = bool(a.state) and a.state == b.state
        found = _entries(a.entry, b.entry, same=same, first=own[0].first_of_phase)
        if found is not None:
            what, side, words = found
            yield Departed("stream", what, side, words)
        for one, other in (own, own[::-1]):
            if one.strayed and not other.strayed:
                yield Departed("stream", OTHER_DRAWS, one.side, f"{one.side} {one.strayed}")

    def _draws(self, a: Turn, b: Turn, own: "tuple[Own, Own]") -> Iterator[Departed]:
        counts = [len(turn.draws) - 1 + one.extra for turn, one in zip((a, b), own, strict=True)]
        ours, theirs = counts
        if ours == theirs:
            return
        what, where = ("extra draw", "ahead") if theirs > ours else ("missing draw", "behind")
        words = (
            f"B draws {_times(theirs + 1)} from the same logits where A draws {_times(ours + 1)}: "
            f"its stream is {where} from there on"
        )
        yield Departed("stream", what, "B", words)

    def _answers(
        self, a: Turn, b: Turn, own: "tuple[Own, Own]", given: list[Kind]
    ) -> Iterator[Departed]:
        """Give what a sampler makes of its own inputs that the reference does not make of them."""
        failing = [one for one in own if one.wrong is not None]
        if len(failing) == len(own) and not given and self.a.drawn(a) == self.b.drawn(b):
            self.ledger.not_told(
                "neither side's sampler is the reference of its name, and both gave the same"
            )
            return
        for one in failing:
            what = one.wrong or ("", "")
            yield Departed("arithmetic", what[0], one.side, f"{one.side} {what[1]}")

    # ---- what a contract asks for

    def _with_contract(
        self, call_a: Call, call_b: Call, a: Turn, b: Turn, found: list[Departed]
    ) -> list[Departed]:
        asked = self.contract.fitting(call_a), self.contract.fitting(call_b)
        if asked == (None, None):
            return found
        broken: dict[Kind, dict[Which, Departed]] = {}
        for name, phase, call, logits in (
            ("A", asked[0], call_a, self.a.logits(a.first)),
            ("B", asked[1], call_b, self.b.logits(b.first)),
        ):
            side: Which = "A" if name == "A" else "B"
            for kind, what, words in _asked(phase, call, logits):
                departed = Departed(kind, what, side, f"{side} {words}", key=a.phase)
                broken.setdefault(kind, {}).setdefault(side, departed)
        kept = [
            replace(one, side="A", words=f"{one.words}; the contract asks for B's")
            if one.kind in _ASKED and set(broken.get(one.kind, ())) == {"A"}
            else one
            for one in found
        ]
        told = {one.kind for one in found}
        for kind, sides in broken.items():
            if kind in told:
                continue
            one = next(iter(sides.values()))
            if len(sides) > 1:
                one = replace(one, side="both", words=f"{one.words}; and so does B")
            kept.append(one)
        return kept

    # ---- the loop

    def _fed(
        self,
        number: int,
        ours: Generation,
        theirs: Generation,
        a: Turn | None,
        b: Turn | None,
        history: History,
    ) -> None:
        """Compare what the models were given after a turn; before the first one, without turns."""
        if not (self.a.tells_what_was_fed and self.b.tells_what_was_fed):
            history.fed = history.tokens
            return
        after_a = -1 if a is None else self.a.call(a.last).call
        after_b = -1 if b is None else self.b.call(b.last).call
        fed_a, fed_b = ours.fed.get(after_a, ()), theirs.fed.get(after_b, ())
        if fed_a == fed_b:
            return
        history.fed = False
        if a is not None and b is not None:
            if not self._goes_on(ours, a) or not self._goes_on(theirs, b):
                return
            drawn = self.a.call(a.last).went_on_with, self.b.call(b.last).went_on_with
            if drawn[0] != drawn[1] and _alike(fed_a, drawn[0], fed_b, drawn[1]):
                return
            after = f"after token {list(drawn[1])}"
        else:
            after = "before the first call"
        words = f"B feeds {list(fed_b)} to its model {after} where A feeds {list(fed_a)}"
        first = ours.turns[0] if ours.turns else Turn("", 0, (0,))
        place = self._place(number, a or first)
        departed = Departed("loop", "fed", "B", words)
        site = self.b.call(b.last).site if b is not None else ""
        self.ledger.add(departed, place, site)

    def _goes_on(self, generation: Generation, turn: Turn) -> bool:
        return generation.turns[-1] is not turn

    def _unpaired(self, number: int, turns: list[tuple[Turn, bool]], history: History) -> None:
        """Tell of calls that only one side has: the first of each phase."""
        told: set[tuple[str, bool]] = set()
        for turn, ours in turns:
            side, other = (self.a, self.b) if ours else (self.b, self.a)
            self.planned += len(turn.draws)
            if not other.whole and number == max(other.generations):
                self.ledger.not_told(f"{other.name} is not whole: it has no such call")
                continue
            self.ledger.not_told(f"{other.name} has no such call")
            place = self._place(number, turn)
            if len(self.timeline) < LONGEST_TIMELINE:
                token = side.call(turn.last).token[0] if side.call(turn.last).token else None
                tokens = (token, None) if ours else (None, token)
                self.timeline.append(Step(number, turn.phase, turn.number, tokens, None, ("loop",)))
            if (turn.phase, ours) in told:
                continue
            told.add((turn.phase, ours))
            if not history.tokens:
                departed = Departed("consequence", "calls", "both", _FOLLOWS)
            else:
                count = sum(1 for one, mine in turns if mine == ours and one.phase == turn.phase)
                verb = "lacks" if ours else "makes"
                what = "missing calls" if ours else "extra calls"
                words = f"B {verb} {count:,} calls that A {'makes' if ours else 'does not make'}"
                departed = Departed("loop", what, "B", words)
            site = side.call(turn.first).site
            self.ledger.add(departed, place, site)

    def _loops(self, number: int) -> None:
        """Hold both loops against the contract, where the two do not differ."""
        told = {key[0] for key in self.ledger.found}
        if "loop" in told:
            return
        broken: dict[tuple[str, str, int], list[tuple[Turn, Departed]]] = {}
        for side in (self.a, self.b):
            for turn, at, departed in loops(side, number, self.contract):
                broken.setdefault((turn.phase, departed.what, at), []).append((turn, departed))
        for (phase, _, at), sides in broken.items():
            turn, departed = sides[0]
            if len(sides) > 1:
                words = f"{departed.words}; and so does B"
                departed = replace(departed, side="both", words=words)
            site = (self.b if departed.side == "B" else self.a).call(turn.first).site
            self.ledger.add(departed, Place(number, phase, at, self.planned), site)

    def _missing_generation(self, number: int, generation: Generation, ours: bool) -> None:
        side, other = (self.a, self.b) if ours else (self.b, self.a)
        calls = sum(len(turn.draws) for turn in generation.turns)
        self.planned += calls
        for _ in range(calls):
            self.ledger.not_told(f"{other.name} has no generation {number}")
        if other.whole and generation.turns:
            turn = generation.turns[0]
            words = f"{other.name} has no generation {number}, and {side.name} has"
            what = "missing calls" if ours else "extra calls"
            place = self._place(number, turn)
            self.ledger.add(Departed("loop", what, "B", words), place, side.call(turn.first).site)

    # ---- evidence

    def _unexplained(self, own: "tuple[Own, Own]", history: History) -> Departed:
        """Say why tokens differ where nothing that the call is given does."""
        if self.contract.engine.streams == "own":
            return Departed("consequence", "tokens", "both", "each side draws from its own stream")
        states = [one.state for one in own]
        if all(states) and states[0] != states[1]:
            return Departed("consequence", "tokens", "both", _FOLLOWS)
        if any(kind == "stream" for kind, *_ in self.ledger.found):
            return Departed("consequence", "tokens", "both", _FOLLOWS)
        if not history.tokens and not all(states):
            return Departed("consequence", "tokens", "both", _FOLLOWS)
        if all(states):
            words = "B's token differs from A's, on equal inputs and from an equal generator"
            return Departed("arithmetic", "token", "B", words)
        words = (
            "B's token differs from A's on equal inputs; the generators' states are not recorded, "
            "so that it cannot be told whether the sides draw other numbers or make other tokens "
            "of them"
        )
        return Departed("stream", "not recorded", "B", words)

    def _exchange(
        self, a: Turn, b: Turn, kind: Kind, ours: Inputs | None, theirs: Inputs | None
    ) -> Exchange:
        """Run the reference on A's inputs with B's ``kind`` alone, and the reverse."""
        if ours is None or theirs is None:
            return Exchange()
        call_a, call_b = self.a.call(a.first), self.b.call(b.first)
        introduced = _exchanged(ours, call_a, theirs, call_b, kind)
        repaired = _exchanged(theirs, call_b, ours, call_a, kind)
        law = replay.law(ours)
        moved = None if kind == "stream" else replay.variation(law, replay.law(introduced))
        flips: bool | None = None
        repairs: bool | None = None
        if ours.state and theirs.state:
            own = replay.token(ours)
            flips = own != replay.token(introduced)
            repairs = own == replay.token(repaired)
        again = replay.variation(law, replay.law(repaired))
        if again is not None:
            repairs = again == 0 and repairs is not False
        return Exchange(variation=moved, flips=flips, repairs=repairs)

    def _step(
        self,
        place: Place,
        tokens: tuple[tuple[int, ...], tuple[int, ...]],
        found: list[Departed],
        ours: Inputs | None,
        theirs: Inputs | None,
    ) -> None:
        if len(self.timeline) >= LONGEST_TIMELINE:
            return
        kinds = tuple(dict.fromkeys(one.kind for one in found))
        apart: float | None = None
        if ours is not None and theirs is not None:
            laws = {"sampler", "parameters", "vocabulary", "logits", "consequence"}
            apart = 0.0
            if laws & set(kinds):
                apart = replay.variation(replay.law(ours), replay.law(theirs))
        shown_tokens = tuple(one[0] if one else None for one in tokens)
        self.timeline.append(
            Step(
                place.generation,
                place.phase,
                place.call,
                (shown_tokens[0], shown_tokens[1]),
                apart,
                kinds,
            )
        )


_ASKED: tuple[Kind, ...] = ("sampler", "parameters", "vocabulary")
"""Of what a contract says which side is right."""

_FOLLOWS = "what differs here follows from what was found before"


def _asked(
    asked: Phase | None, call: Call, logits: Logits | None
) -> Iterator[tuple[Kind, str, str]]:
    if asked is None:
        yield "loop", "unknown phase", f"has a phase {call.phase!r}, which the contract has not"
        return
    yield from departures(asked, call, logits)


def _numbers(drawn: npt.NDArray[Any]) -> str:
    shown = ", ".join(f"{float(value):.9g}" for value in drawn[:3])
    return f"{shown}{' and more' if len(drawn) > 3 else ''}"  # noqa: PLR2004  (as many are shown)


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _at(call: Call) -> str:
    return f"{call.call} of the generation"


def _alike(
    ours: tuple[int, ...], drawn: tuple[int, ...], theirs: tuple[int, ...], other: tuple[int, ...]
) -> bool:
    """Whether two engines feed by one rule: what is fed is equal, or as far from the token."""
    if len(ours) != len(theirs) or not drawn or not other:
        return len(ours) == len(theirs)
    return all(
        a == b or a - drawn[min(at, len(drawn) - 1)] == b - other[min(at, len(other) - 1)]
        for at, (a, b) in enumerate(zip(ours, theirs, strict=True))
    )


def _entries(a: Entry, b: Entry, *, same: bool, first: bool) -> tuple[str, Which, str] | None:
    """Compare how two calls' generators stand to the calls before them."""
    if same or (a == b and a.how != "other"):
        return None
    if a.outputs or b.outputs:
        name, one = ("B", b) if b.outputs else ("A", a)
        words = (
            f"somebody else has drawn {one.outputs:,} 32-bit outputs from {name}'s generator "
            f"since {'it was made' if one.how == 'new' else 'its last call'}"
        )
        return "foreign draw", "B" if name == "B" else "A", words
    if b.how == "new" and a.how == "goes on":
        what, where = (PHASE, "for this phase") if first else (CALL, "for this call")
        words = f"B makes a new generator {where}, from seed {b.seed}, where A goes on with its own"
        return what, "B", words
    if b.how == "goes on" and a.how == "new":
        words = (
            f"B goes on with the generator of the call before where A makes a new one, from seed "
            f"{a.seed}"
        )
        return "shared", "B", words
    if a.how == b.how == "new":
        words = f"B's generator is made from seed {b.seed} where A's is from seed {a.seed}"
        return "another seed", "B", words
    words = (
        "B's generator is in a state that does not follow from the call before, and is not that "
        "of its seed"
        if b.how == "other"
        else "A's generator is in a state that does not follow from the call before, and B's does"
    )
    return "another state", "B" if b.how == "other" else "A", words


def _exchanged(of: Inputs, call: Call, with_: Inputs, other: Call, kind: Kind) -> Inputs:
    """Give inputs with one ingredient of others."""
    if kind in {"sampler", "parameters"}:
        return Inputs(with_.parameters, of.logits, of.state)
    if kind == "stream":
        return Inputs(of.parameters, of.logits, with_.state)
    here, there = overlap(call, other)
    if of.logits.shape[:-1] != with_.logits.shape[:-1]:
        return with_
    if kind == "vocabulary":
        # The other's slice and mask, with one's own values where one has them.
        found = with_.logits.copy()
        theirs, own = found[..., there], of.logits[..., here]
        found[..., there] = np.where(
            np.isneginf(theirs), theirs, np.where(np.isneginf(own), theirs, own)
        )
    else:
        found = of.logits.copy()
        own, theirs = found[..., here], with_.logits[..., there]
        found[..., here] = np.where(np.isneginf(own) | np.isneginf(theirs), own, theirs)
    return Inputs(of.parameters, found, of.state)


def attribute(
    first: Recording,
    second: Recording,
    contract: Contract = NONE,
    progress: Progress | None = None,
    *,
    seed: int = SEED,
    folder: Path | None = None,
) -> Attribution:
    """Compare two recordings.

    Args:
        first: the one that is taken for right where it cannot be told.
        second: the other one.
        contract: what each phase must use.
        progress: called with what is done, how much of it, and of how much.
        seed: of the random places within an atom of a law, where each side has its own stream.
        folder: where the first call of each finding is written as a case; without it the result
            shows no call in full.

    Raises:
        RecordingError: a call of one does not hold what its line says.
    """
    a, b = Side("A", first, progress), Side("B", second, progress)
    comparison = Comparison(a, b, contract)
    comparison.run(progress)
    told: tuple[str, ...] = ()
    if contract.engine.streams == "own":
        told = tuple(line for side in (a, b) for line in tell(side, comparison.ledger, seed))
    found = conclusion(
        comparison.ledger,
        (a, b),
        timeline=tuple(comparison.timeline),
        planned=comparison.planned,
        compared=comparison.compared,
        contract=contract,
        frequencies=told,
        seed=seed if told else None,
    )
    return with_evidence(found, (a, b), folder)
