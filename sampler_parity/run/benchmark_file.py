"""A stored benchmark: how fast the port is beside its reference, its peers and its floor.

``benchmarks/side_by_side.py`` makes it; ``docs/speed.md``, the README and the report show it.
"""

from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from sampler_parity.model.errors import CannotJudgeError

SCHEMA: Final = 1
MOST_BYTES = 4 << 20
"""A benchmark has less than a hundred thousand."""

QUIET = 0.02
"""A machine with nothing else to do lets a process wait for less than this share of its time."""

Positive = Annotated[float, msgspec.Meta(gt=0.0, lt=1e12)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 40)]
Name = Annotated[str, msgspec.Meta(max_length=400)]

ONE_THREAD, ALL_THREADS = "torch, 1 thread", "torch, all threads"
"""Sides that are the reference; every other one is a peer's name."""

Where = Literal["python", "rust"]


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """How many times one thing took of what another took, within a round.

    Attributes:
        median: of the rounds.
        lowest: of the rounds.
        highest: of the rounds.
    """

    median: Positive
    lowest: Positive
    highest: Positive


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What stood beside the port.

    Attributes:
        name: :data:`ONE_THREAD`, :data:`ALL_THREADS` or a peer's name.
        us: microseconds a token, the median of the rounds.
        ratio: its time over the port's: below 1 it is faster.
    """

    name: Name
    us: Positive
    ratio: Ratio


class Work(msgspec.Struct, frozen=True):
    """What was timed.

    Attributes:
        function: the port's.
        vocab: row length.
        top_k: 0 where the stage is off.
        top_p: 0 where the stage is off.
        batch: rows a call.
        drawn: tokens that a call of ``draw`` gives; 0 for other functions.
        logits: where they come from.
        temperature: 1 where nothing is divided.
    """

    function: Name
    vocab: Count
    top_k: Count = 0
    top_p: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
    batch: Count = 1
    drawn: Count = 0
    logits: Name = "Gaussian"
    temperature: Annotated[float, msgspec.Meta(gt=0.0)] = 1.0

    def words(self) -> str:
        """Say the call, its function between backticks."""
        parts = [f"`{self.function}`"]
        if self.drawn:
            parts.append(f"{self.drawn:,} tokens a call")
        parts.append(f"V = {self.vocab:,}")
        if self.temperature != 1.0:
            parts.append(f"T = {self.temperature:g}")
        if self.top_k:
            parts.append(f"k = {self.top_k:,}")
        if self.top_p:
            parts.append(f"p = {self.top_p:g}")
        if self.batch > 1:
            parts.append(f"B = {self.batch}")
        return ", ".join(parts)


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """The port and what stood beside it, timed in turn.

    Attributes:
        work: the call.
        where: ``python`` for whole calls from Python, ``rust`` for calls of the crate.
        rounds: how many times each side had its turn.
        us: the port's microseconds a token, the median of the rounds.
        sides: the others.
    """

    work: Work
    where: Where
    rounds: Count
    us: Positive
    sides: tuple[Side, ...]


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A ratio that must be reached, or must not be exceeded.

    Attributes:
        words: what the ratio is, as in "2 times the floor".
        work: the call.
        where: as of :class:`Timing`.
        ratio: what was measured.
        bound: what the median is held against.
        at_least: whether the bound is the lowest that passes; else it is the highest.
    """

    words: Name
    work: Work
    where: Where
    ratio: Ratio
    bound: Positive
    at_least: bool

    @property
    def reached(self) -> bool:
        """Whether it passes."""
        median = self.ratio.median
        return median >= self.bound if self.at_least else median <= self.bound

    def said(self) -> str:
        """Say what was measured and what had to be."""
        ratio, side = self.ratio, "at least" if self.at_least else "at most"
        return (
            f"{self.work.words()}, {self.work.logits} logits: {ratio.median:.4g} {self.words} "
            f"({ratio.lowest:.4g} to {ratio.highest:.4g}), where {side} {self.bound:g} is asked for"
        )


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """A sampler from outside the project that does the same work; none replays torch's stream.

    Attributes:
        name: how tables call it.
        version: of its package; empty where it was not measured.
        words: what is called, and the order of its stages.
        missing: why it was not measured; empty if it was.
    """

    name: Name
    version: Name
    words: Name
    missing: Name = ""


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """A run of the benchmarks.

    Attributes:
        schema: version of this form.
        started: time of day, ISO 8601, UTC.
        seconds: how long it took.
        command: the command that makes the same.
        quick: whether it is a short one, whose numbers are not to be published.
        capability: torch's dispatch level.
        threads: how many "all threads" are.
        waited: the share of its time for which the process was ready to run and had no core,
            since other work had them; ``None`` where that is not known.
        provenance: what it ran on, heading by heading: name and value.
        peers: who stood beside the port, or should have.
        timings: every call that was timed.
        bars: what had to be reached.
    """

    schema: Literal[1]
    started: Name
    seconds: Positive
    command: Name
    quick: bool
    capability: Name
    threads: Count
    waited: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] | None
    provenance: dict[Name, dict[Name, Name]]
    peers: Annotated[tuple[Peer, ...], msgspec.Meta(max_length=50)]
    timings: Annotated[tuple[Timing, ...], msgspec.Meta(min_length=1, max_length=500)]
    bars: Annotated[tuple[Bar, ...], msgspec.Meta(max_length=500)]

    @property
    def disturbed(self) -> str:
        """Say that other work ran beside it; empty where little did."""
        if self.waited is None or self.waited < QUIET:
            return ""
        return (
            f"Other work had the machine's cores for {self.waited:.0%} of the time, so that the "
            "numbers are rough."
        )

    @property
    def missed(self) -> tuple[Bar, ...]:
        """The bars that were not reached."""
        return tuple(bar for bar in self.bars if not bar.reached)


def times(ratio: Ratio) -> str:
    """Say a ratio in few digits."""
    return f"{ratio.median:,.0f}x" if ratio.median >= 10 else f"{ratio.median:.1f}x"  # noqa: PLR2004


def encoded(benchmark: Benchmark) -> bytes:
    """Give the content of a benchmark's file."""
    return msgspec.json.format(msgspec.json.encode(benchmark), indent=1) + b"\n"


def read_benchmark(path: Path) -> Benchmark:
    """Read a benchmark's file.

    Raises:
        CannotJudgeError: there is none, it is damaged, or of another schema.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise CannotJudgeError(f"there is no benchmark in {path}: {error}") from error
    if len(content) > MOST_BYTES:
        raise CannotJudgeError(f"{path} is no benchmark: it has more than {MOST_BYTES:,} bytes")
    try:
        schema = msgspec.json.decode(content, type=_Schema).schema
        if schema != SCHEMA:
            raise CannotJudgeError(
                f"{path} has benchmark schema {schema}, and this version reads {SCHEMA}: "
                "measure again with `make bench`, or read it with the version that wrote it"
            )
        return msgspec.json.decode(content, type=Benchmark)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CannotJudgeError(
            f"{path} is no sound benchmark ({error}): measure again with `make bench`"
        ) from error


def faster_peers(benchmark: Benchmark) -> tuple[str, ...]:
    """Say who is faster than the port, where, and how many times; one sentence each."""
    peers = {peer.name for peer in benchmark.peers}
    return tuple(
        f"{side.name} is {1 / side.ratio.median:.2f} times faster than the port in "
        f"{timing.work.words()}."
        for timing in benchmark.timings
        for side in timing.sides
        if side.name in peers and side.ratio.median < 1
    )


class _Schema(msgspec.Struct):
    schema: int
