"""How many instructions a call of the crate takes: counts that a machine's load does not move.

``python -m benchmarks.instructions [--record]`` counts with callgrind, and holds the counts against
the recorded ones, or records them. A program makes a call N times, then 2N times; the difference is
N calls without start-up, in a workspace that has grown.
Exit status: 0 no call takes more than was recorded, 1 one does, 2 there was nothing to compare.
"""

import argparse
import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.programs import build, run
from python_ref import GLOBAL, SEMANTIC
from sampler_parity.build.installation import REPOSITORY
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import write_atomically
from sampler_parity.run.benchmark_file import Name, Work

SCHEMA: Final = 1
STORED = REPOSITORY / "benchmarks" / "results" / "instructions.json"
RECORD = "record them anew with `python -m benchmarks.instructions --record`"

MARGIN = 0.01
"""The same program gives the same count. The C library has less than this share of one."""
TIMES = 16
"""N. 2N has as many digits for the program to read."""
WIDE = 160
"""Columns of a file that the table is written to."""

WORKS = (
    Work("sample_logits", GLOBAL.vocab, GLOBAL.top_k, GLOBAL.top_p),
    Work("sample_logits", SEMANTIC.vocab, SEMANTIC.top_k, SEMANTIC.top_p),
    Work("sample_logits", SEMANTIC.vocab, SEMANTIC.top_k, SEMANTIC.top_p, batch=8),
    Work("sample_logits", 65_536, 0, 0.85),
    Work("sample_logits", 65_536, 0, 0.85, logits="bf16 Gaussian"),
    Work("sample_logits", 65_536, 0, 0.85, logits="bf16 bits"),
    Work("sample_logits", 65_536, 0, 0.85, logits="f16 bits"),
    Work("sample_logits", 151_936, 50, 0.95),
    Work("sample_logits", 151_936, 50, 0.95, logits="bf16 bits"),
    Work("sample_logits", 49_152, 1_000, 0.95),
    Work("sample_logits", 49_152, 1_000, 0.95, logits="peaked Gaussian"),
    Work("sample_logits", 49_152, 50, 0.95, logits="peaked Gaussian", temperature=0.7),
    Work("draw", SEMANTIC.vocab, SEMANTIC.top_k, SEMANTIC.top_p, drawn=64),
    Work("simple_batch_sampler", 65_536),
    Work("estimates", 65_536),
    Work("exponentials", 65_536),
)

SETTINGS = (("avx2", "avx512"), ("avx2", "avx2"), ("portable", "avx512"))
"""Kernel and capability. The valgrind of Debian 12 has no AVX-512; its bits need none."""


class Call(msgspec.Struct, frozen=True):
    """What is counted, as the program is told it.

    Attributes:
        work: the call.
        kernel: the instruction set that the kernels are compiled for.
        capability: the level of torch whose bits are replayed.
    """

    work: Work
    kernel: Name
    capability: Name

    def words(self) -> tuple[str, str]:
        """Say the call, and how it is made."""
        work = f"{self.work.words()}, {self.work.logits} logits".replace("`", "")
        return work, f"{self.kernel} kernels, {self.capability} bits"


CALLS = tuple(Call(work, *setting) for work in WORKS for setting in SETTINGS)


class Count(msgspec.Struct, frozen=True):
    """A call, and the instructions that it takes, a mean of :data:`TIMES`."""

    call: Call
    instructions: Annotated[int, msgspec.Meta(ge=1, lt=1 << 40)]


class Toolchain(msgspec.Struct, frozen=True):
    """What made the instructions: the compiler's version and commit, and its target."""

    rustc: Name
    target: Name


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Every count of one build.

    Attributes:
        schema: version of this form.
        toolchain: what built it.
        valgrind: what counted.
        counts: call by call.
    """

    schema: Literal[1]
    toolchain: Toolchain
    valgrind: Name
    counts: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1, max_length=500)]


class Change(msgspec.Struct, frozen=True):
    """What a call took when it was recorded, and what it takes."""

    call: Call
    recorded: int
    counted: int

    @property
    def ratio(self) -> float:
        """How many times the recorded count it is."""
        return self.counted / self.recorded

    def said(self) -> str:
        """Say the call, both counts and their ratio."""
        return (
            f"{', '.join(self.call.words())}: {self.counted:,} instructions, "
            f"{self.recorded:,} recorded: {self.ratio:.4f} times"
        )


def here() -> Toolchain:
    """Ask the compiler what it is.

    Raises:
        CannotJudgeError: there is none.
    """
    first, *others = run("rustc", "--version", "--verbose").stdout.splitlines()
    values = dict(line.split(": ", 1) for line in others)
    return Toolchain(rustc=first, target=values["host"])


def count(program: Path, call: Call) -> Count:
    """Count the instructions of one call.

    Raises:
        CannotJudgeError: the program fails, or the same run does not give the same count.
    """
    once, again, twice = (collected(program, call, times) for times in (TIMES, TIMES, 2 * TIMES))
    if once != again:
        raise CannotJudgeError(
            f"{', '.join(call.words())}: two equal runs took {once:,} and {again:,} instructions"
        )
    return Count(call, per_call(call, once, twice))


def collected(program: Path, call: Call, times: int) -> int:
    """Count the instructions of a whole run that makes a call so many times.

    Raises:
        CannotJudgeError: it fails, or callgrind gives no count.
    """
    callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    said = run(*callgrind, str(program), msgspec.json.encode(call).decode(), str(times)).stderr
    found = re.search(r"Collected : (\d+)$", said, re.MULTILINE)
    if found is None:
        raise CannotJudgeError(f"callgrind gave no count, but {said.strip()!r}")
    return int(found[1])


def per_call(call: Call, once: int, twice: int) -> int:
    """Give the instructions of one call, from those of N calls and of 2N, with their start-up.

    Raises:
        CannotJudgeError: there are none.
    """
    found = round((twice - once) / TIMES)
    if found < 1:
        raise CannotJudgeError(f"{', '.join(call.words())}: the calls took no instructions")
    return found


def measure(toolchain: Toolchain) -> Counts:
    """Build the program and count every call, as many at a time as there are cores.

    Raises:
        CannotJudgeError: valgrind is not installed, the program cannot be built, or it fails.
    """
    if shutil.which("valgrind") is None:
        raise CannotJudgeError("valgrind is not installed: `apt install valgrind`")
    valgrind = run("valgrind", "--version").stdout.strip()
    options = ["--package", "torch-exact-sampler", "--features", "internals"]
    built = build(REPOSITORY, REPOSITORY / "target", *options, "--example", "instructions")
    program = built / "examples" / "instructions"
    check_inlined(program)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = tuple(pool.map(lambda call: count(program, call), CALLS))
    return Counts(schema=SCHEMA, toolchain=toolchain, valgrind=valgrind, counts=counts)


def check_inlined(program: Path) -> None:
    """Check that no kernel calls its vector instructions one by one.

    A closure is not compiled for its kernel's instruction set, unless it happens to be inlined.
    That is ten times as slow, perhaps for such rows only as are not counted.

    Raises:
        CannotJudgeError: one does, or the program does not name its functions.
    """
    symbols = run("nm", "--demangle", str(program)).stdout
    if "torch_exact_sampler" not in symbols:
        raise CannotJudgeError(f"{program} does not name its functions")
    called = sorted(set(re.findall(r"core_arch::x86\S*::(_mm\w+)", symbols)))
    if called:
        raise CannotJudgeError(
            f"kernels call {', '.join(called)} as functions: an operation in a closure?"
        )


def read(path: Path) -> Counts:
    """Read recorded counts.

    Raises:
        CannotJudgeError: there are none, or they are damaged or of another schema.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Counts)
    except (OSError, msgspec.MsgspecError) as error:
        raise CannotJudgeError(f"{path} holds no sound counts ({error}): {RECORD}") from error


def check_toolchain(recorded: Toolchain, found: Toolchain) -> None:
    """Check that counts may be compared.

    Raises:
        CannotJudgeError: they are another compiler's.
    """
    if found != recorded:
        raise CannotJudgeError(
            f"the counts were recorded with {recorded.rustc} for {recorded.target}, and this is "
            f"{found.rustc} for {found.target}: counts of another compiler are no bar; {RECORD}"
        )


def compare(recorded: Counts, counted: Counts) -> tuple[Change, ...]:
    """Hold every count against the recorded one.

    Raises:
        CannotJudgeError: they are of another compiler, or not of the same calls.
    """
    check_toolchain(recorded.toolchain, counted.toolchain)
    before = {one.call: one.instructions for one in recorded.counts}
    after = {one.call: one.instructions for one in counted.counts}
    for call in before.keys() ^ after.keys():
        where = "counted" if call in before else "recorded"
        raise CannotJudgeError(f"{', '.join(call.words())}: it was not {where}; {RECORD}")
    return tuple(Change(call, before[call], found) for call, found in after.items())


def slower(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Give those that take more than was recorded, and the margin."""
    return tuple(change for change in changes if change.ratio > 1 + MARGIN)


def faster(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Give those whose record can be lowered."""
    return tuple(change for change in changes if change.ratio < 1 - MARGIN)


def table(counted: Counts) -> Table:
    """Lay out the instructions of each call, a column for each way to make it."""
    cells: dict[str, dict[str, str]] = {}
    for one in counted.counts:
        work, how = one.call.words()
        cells.setdefault(work, {})[how] = f"{one.instructions:,}"
    found = Table(title=f"Instructions a call: {counted.toolchain.rustc}, {counted.valgrind}")
    found.add_column("call")
    headings = list(dict.fromkeys(how for row in cells.values() for how in row))
    for heading in headings:
        found.add_column(heading, justify="right")
    for work, row in cells.items():
        found.add_row(work, *(row.get(heading, "") for heading in headings))
    return found


def main() -> int:
    """Count, then record or compare."""
    parser = argparse.ArgumentParser(description="Counts the instructions of the crate's calls.")
    parser.add_argument("--record", action="store_true", help="store the counts as the bar")
    arguments = parser.parse_args()
    out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)
    try:
        toolchain = here()
        if arguments.record:
            counted = measure(toolchain)
            content = msgspec.json.format(msgspec.json.encode(counted), indent=1) + b"\n"
            write_atomically(STORED, content)
            out.print(table(counted))
            return 0
        recorded = read(STORED)
        check_toolchain(recorded.toolchain, toolchain)
        counted = measure(toolchain)
        out.print(table(counted))
        changes = compare(recorded, counted)
    except CannotJudgeError as error:
        print(f"Nothing to compare: {error}.", file=sys.stderr)
        return 2
    for change in slower(changes):
        out.print(f"MORE {change.said()}")
    for change in faster(changes):
        out.print(f"less {change.said()}; {RECORD}")
    return 1 if slower(changes) else 0


if __name__ == "__main__":
    sys.exit(main())
