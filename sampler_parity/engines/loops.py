"""A side's loop, held against its contract: how many calls, what ends a phase, what is fed."""

from collections.abc import Iterator

from sampler_parity.engines.contract import Contract, Loop, loop_departures
from sampler_parity.engines.ledger import Departed
from sampler_parity.engines.sides import Side
from sampler_parity.engines.turns import Turn


def loops(side: Side, number: int, contract: Contract) -> Iterator[tuple[Turn, int, Departed]]:
    """Give what departs in a generation: the turn, the number of the call, and what it is.

    The call may be the one after the last turn, where one is missing.
    """
    generation = side.generations[number]
    ended = side.whole or number != max(side.generations)
    tells = side.tells_what_was_fed
    for phase, turns in generation.phases().items():
        first = side.call(turns[0].first)
        asked = contract.fitting(first)
        if asked is None:
            continue
        fed = [generation.fed.get(side.call(turn.last).call, ()) for turn in turns]
        before = generation.fed.get(first.call - 1, ())
        loop = Loop(
            tokens=[side.call(turn.last).went_on_with for turn in turns],
            fed=fed if tells else None,
            before=before if tells else None,
            ended=ended,
        )
        for at, what, words in loop_departures(asked, loop):
            turn = turns[min(at, len(turns) - 1)]
            yield turn, at, Departed("loop", what, side.name, f"{side.name} {words}", key=phase)
