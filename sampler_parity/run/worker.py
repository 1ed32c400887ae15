"""A process of the gate: one implementation at one capability.

torch fixes its capability when it is imported, so each needs a process of its own. The order
comes on standard input, which then stays open; progress and the result go to standard output.
"""

import os
import sys
import threading
from itertools import chain
from pathlib import Path

import msgspec

from sampler_parity.cases.plan import PROFILES, plan, planned
from sampler_parity.cases.recorded import recorded_cases
from sampler_parity.faults.kill import (
    kill_cases,
    plant_in_plain,
    plant_in_port,
    try_correct,
    try_specimens,
)
from sampler_parity.faults.mistakes import CORRECT, MISTAKES
from sampler_parity.faults.port import port_faults
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.specimens import SPECIMENS
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.outcome import Outcome
from sampler_parity.run.noise import NoiseFloor
from sampler_parity.run.orders import Message, Order, Result
from sampler_parity.run.run_file import Shard
from sampler_parity.run.tally import Tally
from sampler_parity.sandbox.isolated import Isolated
from sampler_parity.statistics.frequencies import frequencies

PROGRESS_EVERY = 50

IN_A_ROW = 5
"""How many cases in a row a candidate may leave without an answer before it is given up."""


def work(order: Order) -> Result:
    """Carry out an order.

    Raises:
        CannotJudgeError: see :func:`sampler_parity.run.gate.run_gate`.
    """
    if not order.implementation:
        return _plant(order)
    if order.frequencies:
        return _count(order)
    with Isolated(order.implementation, order.limits) as candidate:
        tallies = [
            Tally(
                order.implementation,
                candidate.about,
                order.capability,
                Path(order.folder),
                order.home,
                order.waivers,
            )
            for _ in range(2)
        ]
        shards = []
        if candidate.about.view == "trace":
            shards.append(_recorded(order, candidate, tallies[0]))
        shards.append(_live(order, candidate, tallies[1]))
    covered = zip(*(tally.covered for tally in tallies), strict=True)
    return Result(shards=tuple(shards), covered=tuple(sum(counts) for counts in covered))


def _recorded(order: Order, candidate: Isolated, tally: Tally) -> Shard:
    cases = list(recorded_cases(order.capability))
    for case, recorded in cases:
        outcome = candidate.run(case, order.capability)
        tally.add(case, recorded.outcome(outcome), outcome, None)
        if tally.unanswered >= IN_A_ROW:
            break
    return tally.shard(len(cases), "recorded", _given_up(len(cases), tally))


def _live(order: Order, candidate: Isolated, tally: Tally) -> Shard:
    profile = PROFILES[order.profile]
    total = planned(profile, order.families)
    here = capability_here()
    if here != order.capability:
        waiver = f"torch reaches capability {here} on this processor, not {order.capability}" + (
            ": the recorded traces were compared instead" if candidate.about.view == "trace" else ""
        )
        _say(Message(done=total, total=total))
        return tally.shard(total, "torch", waiver)
    reference = PythonRef()
    floor = NoiseFloor(order.capability, verify=order.implementation != "rust_ext")

    def run(case: Case) -> tuple[Outcome, Outcome]:
        candidate.ask(case, here)
        return reference.run(case, here), candidate.answer()

    for case in plan(profile, order.seed, order.families):
        expected, outcome = run(case)
        tally.add(case, expected, outcome, run)
        if order.noise:
            floor.add(case, expected)
        if tally.seen % PROGRESS_EVERY == 0:
            _say(Message(done=tally.seen, total=total))
        if tally.unanswered >= IN_A_ROW:
            break
    return tally.shard(total, "torch", _given_up(total, tally), floor.noise())


def _given_up(total: int, tally: Tally) -> str:
    if tally.unanswered < IN_A_ROW:
        return ""
    left = total - tally.seen
    return f"{left:,} not run: the candidate was given up after {IN_A_ROW} cases without an answer"


def _count(order: Order) -> Result:
    def progress(_: str, done: int, total: int) -> None:
        _say(Message(done=done, total=total))

    found = frequencies(order.implementation, order.profile, order.seed, order.limits, progress)
    return Result(statistics=found)


def _plant(order: Order) -> Result:
    """Plant faults; at a capability that torch does not reach here, none."""
    here = capability_here()
    if here != order.capability:
        return Result()
    ports = port_faults() if order.port else ()
    total = len(ports) + (len(MISTAKES) + len(CORRECT) if order.plain else 0)
    specimens = order.plain and order.port
    total += len(SPECIMENS) if specimens else 0
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        _say(Message(done=done, total=total))

    cases = kill_cases(order.profile, here)
    found = plant_in_port(cases, here, step) if order.port else ()
    plain = plant_in_plain(cases, here, step) if order.plain else ()
    caught = try_specimens(cases, here, step) if specimens else ()
    correct = try_correct(cases, here, step) if order.plain else ()
    return Result(planted=tuple(chain(found, plain, caught)), correct=tuple(correct))


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
        _say(Message(result=work(order)))
    except CannotJudgeError as error:
        _say(Message(cannot_judge=str(error)))


if __name__ == "__main__":
    main()
