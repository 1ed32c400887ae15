"""The README's table of speeds, made from the stored benchmark.

``python -m benchmarks.readme`` writes it again.
"""

import textwrap
from pathlib import Path

from sampler_parity.build.installation import REPOSITORY
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import write_atomically
from sampler_parity.report.words import moment
from sampler_parity.run.benchmark_file import (
    ALL_THREADS,
    ONE_THREAD,
    Benchmark,
    Ratio,
    Timing,
    faster_peers,
    read_benchmark,
    times,
)

README = REPOSITORY / "README.md"
STORED = REPOSITORY / "benchmarks" / "results" / "speed.json"
BEGIN, END = "<!-- speed: written by benchmarks/readme.py -->", "<!-- /speed -->"
BATCHES = (1, 64)


def table(benchmark: Benchmark) -> str:
    """Lay out the table, what its numbers are, and what is not as good as it should be."""
    headings = [ONE_THREAD, ALL_THREADS, *_measured(benchmark)]
    lines = [
        f"| call | logits | port, µs | {' | '.join(headings)} |",
        f"| --- | --- | {' | '.join(['---:'] * (len(headings) + 1))} |",
    ]
    for timing in _rows(benchmark):
        ratios = {side.name: side.ratio for side in timing.sides} | _in_rust(benchmark, timing)
        cells = [_cell(ratios.get(name)) for name in headings]
        work = timing.work
        lines.append(f"| {work.words()} | {work.logits} | {timing.us:.1f} | {' | '.join(cells)} |")
    return "\n".join([*_caption(benchmark), "", *lines, "", *_remarks(benchmark)])


def between(text: str) -> tuple[str, str, str]:
    """Split a README into what is before the table, the table, and what is after it.

    Raises:
        CannotJudgeError: the marks are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not begin or not end:
        raise CannotJudgeError(f"the README has no {BEGIN} followed by {END}")
    return before + begin, inside.strip("\n"), end + after


def rewrite(benchmark: Benchmark, path: Path = README) -> None:
    """Put the table of ``benchmark`` between the README's marks.

    Raises:
        CannotJudgeError: the marks are not there.
    """
    before, _, after = between(path.read_text(encoding="utf-8"))
    write_atomically(path, f"{before}\n{table(benchmark)}\n{after}".encode())


def _measured(benchmark: Benchmark) -> list[str]:
    return [peer.name for peer in benchmark.peers if not peer.missing]


def _rows(benchmark: Benchmark) -> list[Timing]:
    """Leave out batches in between, and Gaussian logits where there are real ones."""
    python = [timing for timing in benchmark.timings if timing.where == "python"]
    calls = {timing.work.words() for timing in python if timing.work.logits == "real"}
    functions = list(dict.fromkeys(timing.work.function for timing in python))
    shown = [
        timing
        for timing in python
        if timing.work.batch in BATCHES
        and (timing.work.logits == "real" or timing.work.words() not in calls)
    ]
    return sorted(
        shown,
        key=lambda one: (functions.index(one.work.function), one.work.batch, one.work.vocab),
    )


def _in_rust(benchmark: Benchmark, timing: Timing) -> dict[str, Ratio]:
    """Give the ratios of peers that are timed in Rust, at the same call."""
    return {
        side.name: side.ratio
        for other in benchmark.timings
        for side in other.sides
        if other.where == "rust" and other.work.words() == timing.work.words()
        if side.name in _measured(benchmark)
    }


def _cell(ratio: Ratio | None) -> str:
    if ratio is None:
        return ""
    return f"**{times(ratio)}**" if ratio.median < 1 else times(ratio)


def _caption(benchmark: Benchmark) -> list[str]:
    machine = benchmark.provenance.get("machine", {}).get("processor", "an unknown processor")
    torch = benchmark.provenance.get("versions", {}).get("torch", "")
    versions = ", ".join(
        f"{peer.name} {peer.version}" for peer in benchmark.peers if not peer.missing
    )
    return textwrap.wrap(
        f"Whole calls from Python on {machine}, {moment(benchmark.started)}: the port's "
        "microseconds a token, and how many times as long the others take. Sides are timed in "
        "turn, a ratio is taken within a round, and medians of the rounds are shown. Only the "
        f"ratios travel. torch {torch}, all threads: {benchmark.threads}. Peers: {versions}; "
        "candle is timed in Rust beside the port in Rust, on Gaussian logits. "
        f"{benchmark.disturbed}",
        width=100,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _remarks(benchmark: Benchmark) -> list[str]:
    missed = benchmark.missed
    reached = len(benchmark.bars) - len(missed)
    lines = [
        *faster_peers(benchmark),
        *(
            f"{peer.name} was not measured: {peer.missing}."
            for peer in benchmark.peers
            if peer.missing
        ),
        f"{reached} of {len(benchmark.bars)} bars are reached.",
        *(f"Missed: {bar.said()}." for bar in missed),
    ]
    return [f"- {line}" for line in lines]


if __name__ == "__main__":
    rewrite(read_benchmark(STORED))
