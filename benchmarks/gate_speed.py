"""What a case of the gate costs beside the sampler: ``python -m benchmarks.gate_speed [--step 8]``.

Every ``--step``-th case of a quick run is made, run by torch and by a candidate, sent over the wire
in both directions, compared and judged, and counted for reproducibility, in one process. The table
has the processor's time of each, which other work on the machine inflates: compare shares.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from sampler_parity.cases.plan import CASE_COUNTS, plan
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.registry import PORT, load_implementation
from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About, Implementation
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import Divergence
from sampler_parity.run.reproducibility import ReproducibilityCounter
from sampler_parity.run.scheduler import THREADS
from sampler_parity.sandbox import wire
from sampler_parity.sandbox.wire import Form

Result = TypeVar("Result")

PIECES = {
    "cases": "makes cases",
    "reference": "torch",
    "candidate": "the candidate",
    "wire": "asks and answers",
    "judge": "compares and judges",
    "reproducibility": "counts reproducibility",
}


class Clock:
    """Adds up the processor's time of each piece, in seconds."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PIECES, 0.0)

    def timed(self, piece: str, work: Callable[[], Result]) -> Result:
        """Do the work, and add its time to the piece's."""
        began = time.process_time()
        done = work()
        self.seconds[piece] += time.process_time() - began
        return done


def received(message: bytes, kind: type[Form]) -> tuple[Form, wire.Tensors]:
    """Take a message of the wire apart."""
    line, _, payload = message.partition(b"\n")
    return wire.decode(line, payload, kind)


def one_case(
    clock: Clock,
    case: Case,
    reference: Implementation,
    candidate: Implementation,
    counter: ReproducibilityCounter,
) -> bool | None:
    """Do with a case what the gate does; say whether it diverges, ``None`` where it is declined."""
    capability, about = capability_here(), candidate.about
    expected = clock.timed("reference", lambda: reference.run(case, capability))
    ask = clock.timed("wire", lambda: wire.ask_of(case, capability))
    asked = clock.timed("wire", lambda: wire.case_of(*received(ask, wire.Ask)))
    outcome = clock.timed("candidate", lambda: candidate.run(asked, capability))
    reply = clock.timed("wire", lambda: wire.reply_of(outcome, about))
    answer = clock.timed("wire", lambda: wire.outcome_of(*received(reply, wire.Reply), case, about))
    if answer.declined:
        return None
    divergence = clock.timed("judge", lambda: judged(case, expected, answer, about))
    clock.timed("reproducibility", lambda: counter.add(case, expected))
    return divergence is not None


def judged(case: Case, expected: Outcome, answer: Outcome, about: About) -> Divergence | None:
    """Compare and judge as the gate does."""
    return judge(case, expected, answer, compare(case, expected, answer, about), about)


def measure(candidate: Implementation, cases: Iterable[Case], clock: Clock) -> list[bool]:
    """Do with every case what the gate does; say of those that are compared which diverge."""
    counter = ReproducibilityCounter(capability_here(), verify=False)
    reference, samplers = PythonRef(), candidate.about.samplers
    left, found = iter(cases), []
    while (case := clock.timed("cases", lambda: next(left, None))) is not None:
        if case.parameters.sampler in samplers and not candidate.about.too_long(case):
            found.append(one_case(clock, case, reference, candidate, counter))
    return [diverges for diverges in found if diverges is not None]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="What a case of the gate costs.")
    parser.add_argument("--implementation", default=PORT, help="the candidate, run in this process")
    parser.add_argument("--step", type=int, default=8, help="how many cases of a run for one taken")
    arguments = parser.parse_args()
    if not THREADS.items() <= os.environ.items():
        command = [sys.executable, "-m", "benchmarks.gate_speed", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **THREADS})  # noqa: S606  (this program)
    candidate, clock = load_implementation(arguments.implementation), Clock()
    cases = plan(CASE_COUNTS["quick"], 0, chosen=slice(0, None, arguments.step))
    diverge = measure(candidate, cases, clock)
    if not diverge:
        sys.exit(f"{arguments.implementation} takes or answers none of the cases: nothing to time.")
    total = sum(clock.seconds.values())
    table = Table("piece", "µs a case", "share")
    for piece, seconds in clock.seconds.items():
        each = f"{seconds / len(diverge) * 1e6:,.0f}"
        table.add_row(PIECES[piece], each, f"{seconds / total:.0%}")
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"{len(diverge):,} cases at {capability_here()}, of which {sum(diverge):,} diverge: "
        f"{len(diverge) / total:,.0f} a second of the processor."
    )


if __name__ == "__main__":
    main()
