"""How fast the port is beside its reference, its peers, its floor, and itself on one core.

``python -m benchmarks.side_by_side [--json FILE] [--readme] [--quick]`` times the sides of each
comparison in turn, round by round, after checking that the port draws the reference's tokens and
leaves its generator in the same state. A ratio is taken within a round; the median of the rounds
is reported. Exit status: 0 every bar is reached, 1 one is not, 2 there was nothing sound to time.
"""

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import cores, readme, rust
from benchmarks.peers import SAMPLERS, Sampler, describe
from benchmarks.timing import Budget
from benchmarks.workloads import compare, workloads
from sampler_parity.build.extension import load_extension
from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import write_atomically
from sampler_parity.run.benchmark_file import (
    ONE_THREAD,
    SCHEMA,
    Bar,
    Benchmark,
    Peer,
    Timing,
    Work,
    encoded,
    faster_peers,
)
from sampler_parity.run.provenance import provenance

REFERENCE_BARS = {
    ("sample_logits", 4_096): 40.0,
    ("sample_logits", 8_193): 40.0,
    ("sample_logits", 65_536): 60.0,
    ("sample_logits", 151_936): 40.0,
    ("simple_batch_sampler", 65_536): 10.0,
}
"""How many times torch's time with one thread must be the port's, for one row, whatever logits."""

CORES_WORKS = (
    Work("sample_logits", 8_193, 80, 0.95, 64),
    Work("sample_logits", 65_536, 0, 0.85, 64),
    Work("sample_logits", 151_936, 50, 0.95, 64),
)

WIDE = 160
"""Columns of a file that the tables are written to."""


def reference_bars(timings: list[Timing]) -> list[Bar]:
    """Hold torch's time with one thread against the bars.

    Raises:
        CannotJudgeError: a bar is for nothing measured.
    """
    found = []
    for timing in timings:
        work = timing.work
        bound = REFERENCE_BARS.get((work.function, work.vocab))
        if bound is not None and work.batch == 1:
            [ratio] = [side.ratio for side in timing.sides if side.name == ONE_THREAD]
            found.append(
                Bar(
                    words="times as fast as torch with one thread",
                    work=work,
                    where="python",
                    ratio=ratio,
                    bound=bound,
                    at_least=True,
                )
            )
    if len({(bar.work.function, bar.work.vocab) for bar in found}) < len(REFERENCE_BARS):
        raise CannotJudgeError("a bar is for nothing that was measured")
    return found


def benchmark(*, quick: bool, log: Console) -> Benchmark:
    """Measure everything.

    Raises:
        CannotJudgeError: the extension is missing or stale, the crate of the benchmarks cannot be
            built, or a side does not do its work.
    """
    load_extension()
    before = schedule()
    started, clock = datetime.now(UTC), time.monotonic()
    threads = torch.get_num_threads()
    log.print("in Rust: the floor and candle")
    timings, bars = rust.timings(rust.run(*((3, 5, 1) if quick else (15, 20, 3))))
    peers = [describe(sampler) for sampler in SAMPLERS]
    here = {peer.name for peer in peers if not peer.missing}
    samplers: list[Sampler] = [sampler for sampler in SAMPLERS if sampler.name in here]
    budget = Budget(rounds=5, seconds=0.4) if quick else Budget(rounds=9, seconds=3.0)
    measured = []
    for workload in workloads(quick=quick):
        log.print(f"from Python: {workload.work.words()}, {workload.work.logits} logits")
        measured.append(compare(workload, samplers, threads, budget))
    log.print("from Python: two cores")
    alternated = cores.bars(list(CORES_WORKS), *((5, 0.03) if quick else (15, 0.1)))
    return Benchmark(
        schema=SCHEMA,
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 1),
        command="python -m benchmarks.side_by_side" + " --quick" * quick,
        quick=quick,
        capability=capability_here(),
        threads=threads,
        waited=waited(before, schedule()),
        # The fixtures' hashes are of no use here.
        provenance={name: it for name, it in provenance().items() if name != "fixtures"},
        peers=(*peers, rust.peer()),
        timings=(*measured, *timings),
        bars=(*reference_bars(measured), *bars, *alternated),
    )


def schedule() -> tuple[int, int] | None:
    """Read for how long this thread has run, and has waited for a core, in ns; Linux says."""
    try:
        ran, delayed, _ = Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return int(ran), int(delayed)


def waited(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    """Give the share of the time between, of what was run or waited, that was waited."""
    if before is None or after is None:
        return None
    ran, delayed = (end - start for start, end in zip(before, after, strict=True))
    return round(delayed / max(ran + delayed, 1), 4)


def show(result: Benchmark, out: Console) -> None:
    """Print every timing, every bar, and who is faster."""
    for where, title in (("python", "Whole calls from Python"), ("rust", "Calls in Rust")):
        timings = [timing for timing in result.timings if timing.where == where]
        names = list(dict.fromkeys(side.name for timing in timings for side in timing.sides))
        table = Table(title=f"{title}: microseconds a token of the port, times of the others")
        table.add_column("call", no_wrap=True)
        table.add_column("logits")
        for heading in ("port", *names):
            table.add_column(heading, justify="right")
        for timing in timings:
            sides = {side.name: f"{side.ratio.median:,.3g}" for side in timing.sides}
            work = timing.work
            table.add_row(
                work.words().replace("`", ""),
                work.logits,
                f"{timing.us:.1f}",
                *(sides.get(name, "") for name in names),
            )
        out.print(table)
    for bar in result.bars:
        out.print(
            f"{'reached' if bar.reached else 'MISSED '} {bar.said()}".replace("`", ""),
            soft_wrap=True,
        )
    for sentence in (*faster_peers(result), *map(missing, result.peers), result.disturbed):
        if sentence:
            out.print(sentence.replace("`", ""), soft_wrap=True)


def missing(peer: Peer) -> str:
    """Say why a peer was not measured; empty if it was."""
    return f"{peer.name} was not measured: {peer.missing}" if peer.missing else ""


def main() -> int:
    """Measure, report and judge."""
    parser = argparse.ArgumentParser(description="Times the port beside its reference and peers.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the result")
    parser.add_argument("--readme", action="store_true", help="write the README's table from it")
    parser.add_argument("--quick", action="store_true", help="half a minute instead of three")
    arguments = parser.parse_args()
    if arguments.quick and arguments.readme:
        parser.error("a quick run is not for the README")
    try:
        result = benchmark(quick=arguments.quick, log=Console(stderr=True, highlight=False))
        show(result, Console(highlight=False, width=None if sys.stdout.isatty() else WIDE))
        if arguments.json:
            write_atomically(arguments.json, encoded(result))
        if arguments.readme:
            readme.rewrite(result)
    except CannotJudgeError as error:
        print(f"Nothing to time: {error}.", file=sys.stderr)
        return 2
    return 1 if result.missed else 0


if __name__ == "__main__":
    sys.exit(main())
