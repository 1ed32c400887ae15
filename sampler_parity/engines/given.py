"""What two calls are given: sampler, parameters, history, slice, masks and logits."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from sampler_parity.engines import values
from sampler_parity.engines.contract import shown
from sampler_parity.engines.known import differing, sampler_of
from sampler_parity.engines.ledger import Departed, Ledger
from sampler_parity.engines.recording import Call
from sampler_parity.engines.sides import Logits, Side, overlap, rows_of, start_of
from sampler_parity.engines.turns import Turn

FOLLOWS = "what differs here follows from what was found before"
"""What is said of a consequence."""


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
class Given:
    """Compares what calls are given, turn after turn of one generation.

    Attributes:
        a: one recording.
        b: the other one.
        ledger: where what cannot be told is counted.
        seen_a: the logits that A has passed in this generation, with the index of the first call.
        seen_b: likewise.
    """

    a: Side
    b: Side
    ledger: Ledger
    seen_a: dict[bytes, int] = field(default_factory=dict)
    seen_b: dict[bytes, int] = field(default_factory=dict)

    def remember(self, a: Turn, b: Turn) -> None:
        """Keep what tells a pair's logits from later ones."""
        self.seen_a.setdefault(self.a.marks[a.first], a.first)
        self.seen_b.setdefault(self.b.marks[b.first], b.first)

    def compare(self, a: Turn, b: Turn, history: History) -> Iterator[Departed]:
        """Give everything in which two calls are given something else."""
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
            yield Departed("consequence", "logits", "both", FOLLOWS)

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
            yield Departed("consequence", "logits", "both", FOLLOWS)

    def _stale(self, a: Turn, b: Turn) -> Departed | None:
        """Find logits that were passed before, on one side and not on the other."""
        for side, turn, seen, others, mark in (
            (self.b, b, self.seen_b, self.seen_a, self.a.marks[a.first]),
            (self.a, a, self.seen_a, self.seen_b, self.b.marks[b.first]),
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


def _at(call: Call) -> str:
    return f"{call.call} of the generation"
