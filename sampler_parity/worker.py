"""A process of the gate: one implementation at one capability.

torch fixes its capability when it is imported, so each needs a process of its own. The order
comes on standard input, which then stays open; progress and the result go to standard output.
"""

import os
import sys
import threading
from pathlib import Path

import msgspec

from sampler_parity.cases.plan import PROFILES, plan, planned
from sampler_parity.cases.recorded import recorded_cases
from sampler_parity.errors import CannotJudgeError
from sampler_parity.implementation import Implementation, load_implementation
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.noise import NoiseFloor
from sampler_parity.orders import Message, Order
from sampler_parity.run_file import Shard
from sampler_parity.tally import Tally

PROGRESS_EVERY = 50


def work(order: Order) -> tuple[Shard, ...]:
    """Compare the recorded traces, then every planned case with torch.

    Raises:
        CannotJudgeError: see :func:`sampler_parity.run.run_gate`.
    """
    candidate = load_implementation(order.implementation)
    return (_recorded(order, candidate), _live(order, candidate))


def _recorded(order: Order, candidate: Implementation) -> Shard:
    tally = Tally(order.implementation, candidate.name, order.capability, Path(order.folder))
    cases = list(recorded_cases(order.capability))
    for case, recorded in cases:
        outcome = candidate.run(case, order.capability)
        tally.add(case, recorded.outcome(outcome), outcome)
    return tally.shard(len(cases), "recorded")


def _live(order: Order, candidate: Implementation) -> Shard:
    tally = Tally(order.implementation, candidate.name, order.capability, Path(order.folder))
    profile = PROFILES[order.profile]
    total = planned(profile, order.families)
    here = capability_here()
    if here != order.capability:
        waiver = (
            f"torch reaches capability {here} on this processor, not {order.capability}: "
            "the recorded traces were compared instead"
        )
        _say(Message(done=total))
        return tally.shard(total, "torch", waiver)
    reference = PythonRef()
    floor = NoiseFloor(candidate, order.capability)
    for case in plan(profile, order.seed, order.families):
        outcome, expected = candidate.run(case, order.capability), reference.run(case, here)
        tally.add(case, expected, outcome)
        if order.implementation == "rust_ext":
            floor.add(case, expected)
        if tally.compared % PROGRESS_EVERY == 0:
            _say(Message(done=tally.compared))
    return tally.shard(total, "torch", noise=floor.noise())


def _say(message: Message) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def _end_with_the_gate() -> None:
    """The gate keeps the pipe open for as long as it wants the worker, however it ends."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def main() -> None:
    """Carry out the order that is the first line of standard input."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    threading.Thread(target=_end_with_the_gate, daemon=True).start()
    try:
        _say(Message(shards=work(order)))
    except CannotJudgeError as error:
        _say(Message(cannot_judge=str(error)))


if __name__ == "__main__":
    main()
