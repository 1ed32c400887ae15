"""One recording alone: against its contract, against the reference at every call, by its places.

Where the random numbers of a call are known, its token must be the reference's. Where they are not,
the token must be one that the reference can draw, and the places of all tokens in their own calls'
laws must be uniform and independent.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sampler_parity.engines.contract import NONE, Contract, departures
from sampler_parity.engines.evidence import with_evidence
from sampler_parity.engines.findings import LONGEST_TIMELINE, Attribution, Step
from sampler_parity.engines.frequencies import tell
from sampler_parity.engines.ledger import Departed, Ledger, Place
from sampler_parity.engines.loops import loops
from sampler_parity.engines.own import Own, Watch
from sampler_parity.engines.places import SEED
from sampler_parity.engines.recording import Recording
from sampler_parity.engines.sides import Name, Side
from sampler_parity.engines.turns import Generation, Progress, Turn
from sampler_parity.engines.words import OTHER_DRAWS, conclusion


@dataclass(slots=True)
class Alone:
    """A look at one recording, as it goes on.

    Attributes:
        side: the recording.
        contract: what each phase must use.
        ledger: what was found.
        timeline: call by call.
        seen: how many calls were looked at.
        replayed: whether each draw was replayed, from its generator's state.
    """

    side: Side
    contract: Contract = NONE
    ledger: Ledger = field(default_factory=Ledger)
    timeline: list[Step] = field(default_factory=list)
    seen: int = 0
    replayed: bool = True

    def run(self, progress: Progress | None = None) -> None:
        """Look at every turn of every generation."""
        watch = Watch(self.side)
        total = len(self.side.recording.calls)
        for number, generation in sorted(self.side.generations.items()):
            for turn in generation.turns:
                self._turn(number, turn, watch.turn(turn))
                if progress is not None:
                    progress("judging", self.seen, total)
            self._loop(number, generation)

    def _place(self, number: int, turn: Turn) -> Place:
        return Place(number, turn.phase, turn.number, self.seen)

    def _turn(self, number: int, turn: Turn, own: Own) -> None:
        side, call = self.side, self.side.call(turn.first)
        place = self._place(number, turn)
        found = [*self._asked(turn), *self._stream(turn, own), *self._answer(own)]
        for departed in found:
            self.ledger.add(departed, place, call.site)
        if side.inputs(turn.first) is None:
            self.ledger.not_told(side.why_not_replayed(turn.first))
        elif not own.state and own.judged:
            self.ledger.not_told(
                "the generator's state is not recorded: the token only has to be one that the "
                "reference can draw"
            )
        self.replayed &= bool(own.state)
        self.seen += len(turn.draws)
        if len(self.timeline) < LONGEST_TIMELINE:
            token = side.call(turn.last).token
            kinds = tuple(dict.fromkeys(one.kind for one in found))
            first = token[0] if token else None
            self.timeline.append(Step(number, turn.phase, turn.number, (first, None), None, kinds))

    def _asked(self, turn: Turn) -> Iterator[Departed]:
        call = self.side.call(turn.first)
        if not self.contract.phase:
            return
        asked = self.contract.fitting(call)
        name = self.side.name
        if asked is None:
            words = f"{name} has a phase {call.phase!r}, which the contract has not"
            yield Departed("loop", "unknown phase", name, words, key=turn.phase)
            return
        for kind, what, words in departures(asked, call, self.side.logits(turn.first)):
            yield Departed(kind, what, name, f"{name} {words}", key=turn.phase)

    def _stream(self, turn: Turn, own: Own) -> Iterator[Departed]:
        """Find generators that do not go on where the call before left them, and other draws.

        An engine may refuse a token and draw again, where no contract says what it must do.
        """
        name, entry = own.side, own.entry
        if own.earlier == own.state and own.state and entry.how != "goes on":
            words = f"{name} begins this call with the same state as the call before it"
            yield Departed("stream", "reseeded call", name, f"{words}: a generator for every call")
        elif entry.how == "ahead":
            words = (
                f"somebody else has drawn {entry.outputs:,} 32-bit outputs from {name}'s generator "
                "since the call before"
            )
            yield Departed("stream", "foreign draw", name, words)
        again = len(turn.draws) - 1 if self.contract.phase else 0
        if own.extra + again:
            times = own.extra + again + 1
            words = f"{name} draws {times} times from the same logits for one token"
            yield Departed("stream", "extra draw", name, words)
        if own.strayed:
            yield Departed("stream", OTHER_DRAWS, name, f"{name} {own.strayed}")

    def _answer(self, own: Own) -> Iterator[Departed]:
        if own.wrong is not None:
            what, words = own.wrong
            yield Departed("arithmetic", what, own.side, f"{own.side} {words}")

    def _loop(self, number: int, generation: Generation) -> None:
        """Hold a generation's loop against the contract."""
        before = self.seen - sum(len(turn.draws) for turn in generation.turns)
        for turn, at, departed in loops(self.side, number, self.contract):
            order = before + generation.turns.index(turn) + (at > turn.number)
            place = Place(number, turn.phase, at, order)
            self.ledger.add(departed, place, self.side.call(turn.first).site)


def audit(
    recording: Recording,
    contract: Contract = NONE,
    progress: Progress | None = None,
    *,
    name: Name = "A",
    seed: int = SEED,
    folder: Path | None = None,
) -> Attribution:
    """Judge one recording.

    Args:
        recording: what was recorded.
        contract: what each phase must use.
        progress: called with what is done, how much of it, and of how much.
        name: what the recording is called in words.
        seed: of the random places within an atom of a law.
        folder: where the first call of each finding is written as a case; without it the result
            shows no call in full.

    Raises:
        RecordingError: a call does not hold what its line says.
    """
    side = Side(name, recording, progress)
    looked = Alone(side, contract)
    looked.run(progress)
    told = () if looked.replayed else tell(side, looked.ledger, seed)
    found = conclusion(
        looked.ledger,
        (side,),
        timeline=tuple(looked.timeline),
        planned=len(recording.calls),
        compared=looked.seen,
        contract=contract,
        frequencies=told,
        seed=seed,
    )
    return with_evidence(found, (side,), folder)
