"""Two recordings, call by call: where they part, and which ingredient alone explains it.

``docs/engines.md`` says how it is decided. Every call is judged on its own recorded inputs, and the
reference is run again with one ingredient at a time exchanged.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from sampler_parity.engines import replay
from sampler_parity.engines.contract import NONE, Contract, Phase, departures
from sampler_parity.engines.drawing import draws, streams
from sampler_parity.engines.evidence import with_evidence
from sampler_parity.engines.exchange import EXCHANGED, exchange
from sampler_parity.engines.findings import LONGEST_TIMELINE, Attribution, Kind, Step
from sampler_parity.engines.findings import Side as Which
from sampler_parity.engines.frequencies import tell
from sampler_parity.engines.given import FOLLOWS, Given, History
from sampler_parity.engines.ledger import Departed, Ledger, Place
from sampler_parity.engines.loops import loops
from sampler_parity.engines.own import Own, Watch
from sampler_parity.engines.places import SEED
from sampler_parity.engines.recording import Call, Recording
from sampler_parity.engines.replay import Inputs
from sampler_parity.engines.sides import Logits, Side
from sampler_parity.engines.turns import Generation, Progress, Turn
from sampler_parity.engines.words import conclusion


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
        given, history = Given(self.a, self.b, self.ledger), History()
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
            self._pair(number, turn, other, given, history, watch)
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
        self,
        number: int,
        a: Turn,
        b: Turn,
        given: Given,
        history: History,
        watch: "tuple[Watch, Watch]",
    ) -> None:
        place = self._place(number, a)
        call_a, call_b = self.a.call(a.first), self.b.call(b.first)
        own = watch[0].turn(a), watch[1].turn(b)
        found = list(given.compare(a, b, history))
        if self.contract.engine.streams == "same":
            found += streams(own, self.ledger)
        found += draws(a, b, own)
        found += self._answers(a, b, own, [one.kind for one in found])
        found = self._with_contract(call_a, call_b, a, b, found)
        tokens = self.a.drawn(a), self.b.drawn(b)
        if tokens[0] != tokens[1] and not found:
            found.append(self._unexplained(own, history))
        inputs = ours, theirs = self.a.inputs(a.first), self.b.inputs(b.first)
        for departed in found:
            site = (call_a if departed.side == "A" else call_b).site
            if self.ledger.add(departed, place, site) and departed.kind in EXCHANGED:
                alone = exchange(departed.kind, call_a, ours, call_b, theirs)
                self.ledger.explain(departed, alone)
        for side, turn, known in zip((self.a, self.b), (a, b), inputs, strict=True):
            if known is None:
                self.ledger.not_told(side.why_not_replayed(turn.first))
        self._step(place, tokens, found, *inputs)
        went_on = self.a.call(a.last).went_on_with, self.b.call(b.last).went_on_with
        history.tokens &= went_on[0] == went_on[1]
        given.remember(a, b)

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
            for side in (self.a, self.b):
                if a is not None and not side.tells_what_was_fed:
                    self.ledger.not_told(f"{side.name} does not say what its model was fed")
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
        if a is not None and len(self.timeline) < LONGEST_TIMELINE:
            last = self.timeline[-1]
            kinds = tuple(dict.fromkeys((*last.kinds, departed.kind)))
            self.timeline[-1] = msgspec.structs.replace(last, kinds=kinds)

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
                departed = Departed("consequence", "calls", "both", FOLLOWS)
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
            return Departed("consequence", "tokens", "both", FOLLOWS)
        if any(kind == "stream" for kind, *_ in self.ledger.found):
            return Departed("consequence", "tokens", "both", FOLLOWS)
        if not history.tokens and not all(states):
            return Departed("consequence", "tokens", "both", FOLLOWS)
        if all(states):
            words = "B's token differs from A's, on equal inputs and from an equal generator"
            return Departed("arithmetic", "token", "B", words)
        words = (
            "B's token differs from A's on equal inputs; the generators' states are not recorded, "
            "so that it cannot be told whether the sides draw other numbers or make other tokens "
            "of them"
        )
        return Departed("stream", "not recorded", "B", words)

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


def _asked(
    asked: Phase | None, call: Call, logits: Logits | None
) -> Iterator[tuple[Kind, str, str]]:
    if asked is None:
        yield "loop", "unknown phase", f"has a phase {call.phase!r}, which the contract has not"
        return
    yield from departures(asked, call, logits)


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
