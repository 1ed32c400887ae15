"""Which random numbers two calls draw from, and how many of them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.engines.findings import Side
from sampler_parity.engines.ledger import Departed, Ledger
from sampler_parity.engines.own import Own
from sampler_parity.engines.stream import Entry
from sampler_parity.engines.turns import Turn
from sampler_parity.engines.words import CALL, OTHER_DRAWS, PHASE


def streams(own: tuple[Own, Own], ledger: Ledger) -> Iterator[Departed]:
    """Give where two calls' random numbers come from another place, as far as it is recorded."""
    a, b = own
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
            ledger.not_told(f"{one.side} does not say where its random numbers come from")
            return
    same = bool(a.state) and a.state == b.state
    found = _entries(a.entry, b.entry, same=same, first=own[0].first_of_phase)
    if found is not None:
        what, side, words = found
        yield Departed("stream", what, side, words)
    for one, other in (own, own[::-1]):
        if one.strayed and not other.strayed:
            yield Departed("stream", OTHER_DRAWS, one.side, f"{one.side} {one.strayed}")


def draws(a: Turn, b: Turn, own: tuple[Own, Own]) -> Iterator[Departed]:
    """Give where one side draws more often from the same logits."""
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


def _numbers(drawn: npt.NDArray[Any]) -> str:
    shown = ", ".join(f"{float(value):.9g}" for value in drawn[:3])
    return f"{shown}{' and more' if len(drawn) > 3 else ''}"  # noqa: PLR2004  (as many are shown)


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _entries(a: Entry, b: Entry, *, same: bool, first: bool) -> tuple[str, Side, str] | None:
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
