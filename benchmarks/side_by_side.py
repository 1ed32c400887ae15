"""How fast the port is beside its reference: whole calls from Python, one thread, one process.

``python benchmarks/side_by_side.py [--json FILE] [--quick]`` times both sides in turn, round by
round, after checking that they give the same tokens and leave their generators in the same state.
A ratio is the reference's median over the port's within one round; the median of the rounds is
reported. Exit status: 0 every bar is reached, 1 one is not, 2 there was nothing sound to time.
"""

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

import python_ref
import rust_ext
from python_ref import GLOBAL, SEMANTIC
from sampler_parity.cases.fixtures import real_logits
from sampler_parity.errors import CannotJudgeError
from sampler_parity.extension import load_extension
from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.manifest import write_atomically
from sampler_parity.provenance import provenance

BARS = {
    "sample_logits V=4096 k=20 p=0.95": 40.0,
    "sample_logits V=8193 k=80 p=0.95": 40.0,
    "sample_logits V=65536 p=0.85": 60.0,
    "sample_logits V=151936 k=50 p=0.95": 40.0,
    "simple_batch_sampler V=65536": 10.0,
}
"""How many times faster than the reference the port must be, whatever the logits."""

SEED = 20240229
ROWS = 8
CHECKED = 4 * ROWS
DRAWN = 256

Rows = list[npt.NDArray[np.float32]]
Call = Callable[[], object]


@dataclasses.dataclass(frozen=True, slots=True)
class Workload:
    """One comparison.

    Attributes:
        name: function and parameters.
        logits: where they come from.
        reference: given a call's number, makes ready what is timed; it returns tokens.
        port: the same of the port.
        tokens: tokens a row that a call of the port draws; the reference draws one.
        same_state: whether both generators are in the same state.
    """

    name: str
    logits: str
    reference: Callable[[int], Callable[[], torch.Tensor]]
    port: Callable[[int], Callable[[], npt.NDArray[np.int64]]]
    tokens: int
    same_state: Callable[[], bool]


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """What a workload took; times are microseconds a token, medians of the rounds' medians."""

    name: str
    logits: str
    reference_us: float
    port_us: float
    ratio: float
    lowest_ratio: float
    highest_ratio: float
    bar: float | None


def gaussian(vocab: int, batch: int = 1) -> Rows:
    """Make batches [batch, vocab] of Gaussian logits of scale 2."""
    values = np.random.default_rng(SEED).standard_normal((ROWS, batch, vocab)) * 2.0
    return list(values.astype(np.float32))


def real(vocab: int) -> Rows:
    """Take rows [1, vocab] of the recorded logits."""
    recorded = real_logits()
    chosen = np.linspace(0, len(recorded) - 1, ROWS).astype(int)
    return [np.ascontiguousarray(recorded[row : row + 1, :vocab]) for row in chosen]


def sample(logits: str, rows: Rows, top_p: float, top_k: int = 0, *, drawn: int = 0) -> Workload:
    """Compare ``sample_logits``, or ``draw`` of ``drawn`` tokens with as many of its calls."""
    tensors = [torch.from_numpy(row.copy()) for row in rows]
    theirs, ours = torch.Generator().manual_seed(SEED), rust_ext.Generator(SEED)

    def reference(number: int) -> Callable[[], torch.Tensor]:
        tensor = tensors[number // max(drawn, 1) % ROWS]
        return lambda: python_ref.sample_logits(tensor, 1.0, top_p, top_k, generator=theirs)

    def port(number: int) -> Callable[[], npt.NDArray[np.int64]]:
        row = rows[number % ROWS]
        if drawn:
            return lambda: rust_ext.draw(row[0], drawn, 1.0, top_p, top_k, generator=ours)
        return lambda: rust_ext.sample_logits(row, 1.0, top_p, top_k, generator=ours)

    batch = rows[0].shape[0]
    function = "draw, a token," if drawn else "sample_logits"
    k = f" k={top_k}" if top_k else ""
    b = f" B={batch}" if batch > 1 else ""
    name = f"{function} V={rows[0].shape[-1]}{k} p={top_p}{b}"
    return Workload(
        name, logits, reference, port, drawn or 1, lambda: _state(theirs) == ours.get_state()
    )


def simple(logits: str, rows: Rows) -> Workload:
    """Compare ``simple_batch_sampler``; the copy that it works in is not timed."""
    theirs, ours = torch.Generator().manual_seed(SEED), rust_ext.Generator(SEED)

    def reference(number: int) -> Callable[[], torch.Tensor]:
        tensor = torch.from_numpy(rows[number % ROWS].copy())
        return lambda: python_ref.sampler_simple_batch(tensor, generator=theirs)

    def port(number: int) -> Callable[[], npt.NDArray[np.int64]]:
        row = rows[number % ROWS].copy()
        return lambda: rust_ext.simple_batch_sampler(row, generator=ours)

    name = f"simple_batch_sampler V={rows[0].shape[-1]}"
    return Workload(name, logits, reference, port, 1, lambda: _state(theirs) == ours.get_state())


def workloads() -> Iterator[Workload]:
    """Make every comparison."""
    for preset in (GLOBAL, SEMANTIC):
        for logits, rows in (("Gaussian", gaussian), ("real", real)):
            yield sample(logits, rows(preset.vocab), preset.top_p, preset.top_k)
    yield sample("Gaussian", gaussian(65_536), 0.85)
    for vocab in (32_000, 49_152, 128_256, 151_936):
        yield sample("Gaussian", gaussian(vocab), 0.95, 50)
    yield sample("Gaussian", gaussian(SEMANTIC.vocab, 8), SEMANTIC.top_p, SEMANTIC.top_k)
    yield sample("Gaussian", gaussian(SEMANTIC.vocab, 64), SEMANTIC.top_p, SEMANTIC.top_k)
    for logits, rows in (("Gaussian", gaussian), ("real", real)):
        yield sample(logits, rows(SEMANTIC.vocab), SEMANTIC.top_p, SEMANTIC.top_k, drawn=DRAWN)
    yield simple("Gaussian", gaussian(65_536))


def check(workload: Workload) -> None:
    """Check that both sides draw the same tokens from the same stream; this also warms them up.

    Raises:
        CannotJudgeError: they do not.
    """
    calls = max(CHECKED // workload.tokens, 1)
    ours = np.concatenate([workload.port(call)().reshape(-1) for call in range(calls)])
    theirs: list[int] = []
    for call in range(len(ours)):
        if len(theirs) < len(ours):
            theirs += workload.reference(call)().reshape(-1).tolist()
    if theirs != ours.tolist() or not workload.same_state():
        raise CannotJudgeError(f"{workload.name}, {workload.logits} logits: the tokens differ")


def measure(workload: Workload, rounds: int, seconds: float) -> Timing:
    """Time both sides in turn, each with as many calls a round as the reference has time for."""
    once = _median_us(workload.reference, 3)
    calls = max(int(seconds * 1e6 / once), ROWS)
    pairs = [
        (_median_us(workload.reference, calls), _median_us(workload.port, calls) / workload.tokens)
        for _ in range(rounds)
    ]
    ratios = [reference / port for reference, port in pairs]
    return Timing(
        workload.name,
        workload.logits,
        reference_us=statistics.median(reference for reference, _ in pairs),
        port_us=statistics.median(port for _, port in pairs),
        ratio=statistics.median(ratios),
        lowest_ratio=min(ratios),
        highest_ratio=max(ratios),
        bar=BARS.get(workload.name),
    )


def _median_us(side: Callable[[int], Call], calls: int) -> float:
    times = []
    for number in range(calls):
        call = side(number)
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1e3


def _state(generator: torch.Generator) -> bytes:
    return generator.get_state().numpy().tobytes()


def show(timings: list[Timing]) -> None:
    """Print the table."""
    table = Table(title="Microseconds a token, one thread")
    table.add_column("function")
    table.add_column("logits")
    for heading in ("torch", "Rust", "ratio", "of the rounds", "bar"):
        table.add_column(heading, justify="right")
    for timing in timings:
        table.add_row(
            timing.name,
            timing.logits,
            f"{timing.reference_us:.1f}",
            f"{timing.port_us:.1f}",
            f"{timing.ratio:.1f}",
            f"{timing.lowest_ratio:.1f} to {timing.highest_ratio:.1f}",
            "" if timing.bar is None else f"{timing.bar:g}",
        )
    Console(highlight=False).print(table)


def main() -> int:
    """Measure, report and judge."""
    parser = argparse.ArgumentParser(description="Times the port beside its reference.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the result")
    parser.add_argument("--quick", action="store_true", help="some seconds instead of a minute")
    arguments = parser.parse_args()
    rounds, seconds = (5, 0.05) if arguments.quick else (15, 0.2)

    torch.set_num_threads(1)
    timings = []
    try:
        load_extension()
        for workload in workloads():
            check(workload)
            timings.append(measure(workload, rounds, seconds))
    except CannotJudgeError as error:
        print(f"Nothing to time: {error}.", file=sys.stderr)
        return 2
    show(timings)
    if arguments.json:
        result = {
            "capability": capability_here(),
            "threads": torch.get_num_threads(),
            "rounds": rounds,
            **provenance(),
            "timings": timings,
        }
        content = msgspec.json.format(msgspec.json.encode(result), indent=2)
        write_atomically(arguments.json, content + b"\n")
    assert BARS.keys() <= {timing.name for timing in timings}, "a bar is for nothing measured"
    missed = [timing for timing in timings if timing.bar and timing.ratio < timing.bar]
    for timing in missed:
        print(
            f"{timing.name}, {timing.logits} logits: {timing.ratio:.1f} times the reference's "
            f"speed is below the bar of {timing.bar:g}.",
            file=sys.stderr,
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
