"""The tables of the README and of pages in docs, made from what is in ``results``.

``python -m benchmarks.readme`` writes all of them again.
"""

import textwrap
from pathlib import Path

from benchmarks import instructions, real_engines_page, torch_matrix_page
from benchmarks.rust import EXPONENTIALS, FLOOR, ITS_TWISTS, TWISTS
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
SPEED = REPOSITORY / "docs" / "speed.md"
STORED = REPOSITORY / "benchmarks" / "results" / "speed.json"
BATCHES = (1, 64)
IN_THE_README = ((8_193, 80), (65_536, 0), (151_936, 50))
"""Vocabulary and top-k of the README's three rows, each one row of logits: the Semantic preset,
top-p alone, and the longest."""


def table(benchmark: Benchmark) -> str:
    """Lay out every call, with what its numbers are and which of them miss their bound."""
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


def excerpt(benchmark: Benchmark) -> str:
    """Lay out three calls for the README: the port, torch, and the fastest other sampler.

    Raises:
        CannotJudgeError: the benchmark lacks one of the calls, or torch beside it.
    """
    lines = [
        f"| call | port, µs | {ALL_THREADS} | fastest other sampler |",
        "| --- | ---: | ---: | ---: |",
    ]
    for vocab, top_k in IN_THE_README:
        timing = _one_row(benchmark, vocab, top_k)
        ratios = {side.name: side.ratio for side in timing.sides} | _in_rust(benchmark, timing)
        if ALL_THREADS not in ratios:
            raise CannotJudgeError(f"the benchmark has no {ALL_THREADS} beside V = {vocab:,}")
        others = {name: ratios[name] for name in _measured(benchmark) if name in ratios}
        name = min(others, key=lambda name: others[name].median, default="")
        fastest = f"{_cell(others[name])} ({name})" if name else ""
        words = timing.work.words()
        lines.append(f"| {words} | {timing.us:.1f} | {_cell(ratios[ALL_THREADS])} | {fastest} |")
    return "\n".join(lines)


def floor(benchmark: Benchmark) -> str:
    """Lay out the calls that are held to a multiple of the floor, beside the floor's two parts."""
    lines = [
        "| row | exponentials, µs | twists, µs | `sample`, µs | of the floor |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    rust = {timing.work: timing for timing in benchmark.timings if timing.where == "rust"}
    for bar in benchmark.bars:
        if bar.words == FLOOR:
            timing = rust[bar.work]
            us = {side.name: side.us for side in timing.sides}
            words = bar.work.words().partition(", ")[2]
            cells = (us[EXPONENTIALS], us[TWISTS], timing.us)
            row = " | ".join(f"{cell:.1f}" for cell in cells)
            lines.append(f"| {words} | {row} | {bar.ratio.median:.2f} |")
    drawn = [
        f"{bar.work.words()}: the call takes {bar.ratio.median:.2f} times as long as its twists."
        for bar in benchmark.bars
        if bar.words == ITS_TWISTS
    ]
    return "\n".join([*lines, "", *drawn])


def instruction_table(counts: instructions.Counts) -> str:
    """Lay out the recorded instructions of each call, a column for each way to make it."""
    ways = list(dict.fromkeys((one.call.kernel, one.call.capability) for one in counts.counts))
    found = {
        (one.call.work, (one.call.kernel, one.call.capability)): one.instructions
        for one in counts.counts
    }
    lines = [
        f"| call | {' | '.join(f'{kernel}, `{bits}` bits' for kernel, bits in ways)} |",
        f"| --- | {' | '.join(['---:'] * len(ways))} |",
    ]
    for work in dict.fromkeys(work for work, _ in found):
        row = " | ".join(f"{found[work, way]:,}" if (work, way) in found else "" for way in ways)
        lines.append(f"| {work.words()}, {work.logits} | {row} |")
    toolchain = counts.toolchain
    return "\n".join(
        [*lines, "", f"{toolchain.rustc}, {toolchain.target}, {counts.valgrind}."],
    )


def between(text: str, name: str) -> tuple[str, str, str]:
    """Split a page into what is before the table ``name``, the table, and what is after it.

    Raises:
        CannotJudgeError: the marks of that table are not there.
    """
    first, last = f"<!-- {name}: written by benchmarks/readme.py -->", f"<!-- /{name} -->"
    before, begin, rest = text.partition(first)
    inside, end, after = rest.partition(last)
    if not begin or not end:
        raise CannotJudgeError(f"the page has no {first} followed by {last}")
    return before + begin, inside.strip("\n"), end + after


def tables(
    benchmark: Benchmark, counts: instructions.Counts, readme: Path = README, speed: Path = SPEED
) -> dict[Path, dict[str, str]]:
    """Give every table: page by page, name by name.

    Raises:
        CannotJudgeError: a call that the README shows was not timed.
    """
    return {
        readme: {"speed": excerpt(benchmark)},
        speed: {
            "speed": table(benchmark),
            "floor": floor(benchmark),
            "instructions": instruction_table(counts),
        },
    }


def rewrite(pages: dict[Path, dict[str, str]]) -> None:
    """Put every table between its marks; where a mark is missing, no page is written.

    Raises:
        CannotJudgeError: a mark is missing.
    """
    contents = {}
    for path, inside in pages.items():
        text = path.read_text(encoding="utf-8")
        for name, content in inside.items():
            before, _, after = between(text, name)
            text = f"{before}\n{content}\n{after}"
        contents[path] = text
    for path, text in contents.items():
        write_atomically(path, text.encode())


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


def _one_row(benchmark: Benchmark, vocab: int, top_k: int) -> Timing:
    for timing in _rows(benchmark):
        work = timing.work
        named = (work.function, work.vocab, work.top_k, work.batch)
        if named == ("sample_logits", vocab, top_k, 1):
            return timing
    raise CannotJudgeError(f"the benchmark has no `sample_logits` of V = {vocab:,}, k = {top_k}")


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
        f"Measured on {machine}, {moment(benchmark.started)}, with torch {torch} ({ALL_THREADS}: "
        f"{benchmark.threads}), {versions}. The port's column has the microseconds that a whole "
        "call from Python takes for each token. Every other column has the time of that sampler "
        "over the time of the port. The samplers are timed in turn, round by round; each ratio "
        "compares two times of one round, and the table has the median of the rounds. The "
        "microseconds hold for this machine alone; the ratios are what to compare with another "
        "machine's. candle is called from Rust, and so is the port beside it, with Gaussian "
        f"logits. {benchmark.disturbed}",
        width=100,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _remarks(benchmark: Benchmark) -> list[str]:
    missed = benchmark.missed
    reached = len(benchmark.bars) - len(missed)
    held = f"`make bench` holds {len(benchmark.bars)} of the measured ratios to a bound"
    lines = [
        *faster_peers(benchmark),
        *(
            f"{peer.name} was not measured: {peer.missing}."
            for peer in benchmark.peers
            if peer.missing
        ),
        f"{held}: {reached} keep it.",
        *(f"Missed: {bar.said()}." for bar in missed),
    ]
    return [f"- {line}" for line in lines]


if __name__ == "__main__":
    rewrite(
        tables(read_benchmark(STORED), instructions.read(instructions.STORED))
        | real_engines_page.tables(real_engines_page.read())
        | torch_matrix_page.tables(torch_matrix_page.read())
    )
