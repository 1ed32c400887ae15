"""What is timed in Rust: the sampler beside its floor and beside candle (``benchmarks/rust``)."""

import statistics
import tomllib
from pathlib import Path

import msgspec

from benchmarks.programs import build
from benchmarks.programs import run as run_program
from benchmarks.timing import ratio
from sampler_parity.build.installation import REPOSITORY
from sampler_parity.run.benchmark_file import Bar, Peer, Side, Timing, Work

CRATE = REPOSITORY / "benchmarks" / "rust"
TARGET = REPOSITORY / "target" / "benchmarks"

EXPONENTIALS, TWISTS = "exponentials alone", "twists alone"
CANDLE = "candle"
LONG = 8_193
"""The bar of the floor is for rows from here on: a short one is over before the clock counts."""
FLOOR_BAR = 1.5
DRAW_BAR = 1.3
MANY = 1_000_000


class Measured(msgspec.Struct):
    """A workload, and each side's microseconds a token by round."""

    workload: dict[str, float]
    drawn: int
    rounds: dict[str, list[float]]


class Output(msgspec.Struct):
    """What the program prints."""

    capability: str
    measured: list[Measured]


def run(rounds: int, milliseconds: int, draws: int) -> Output:
    """Build the program and run it, with one thread.

    Args:
        rounds: turns of each side.
        milliseconds: of each turn.
        draws: rounds of a million tokens.

    Raises:
        CannotJudgeError: it cannot be built, or found that a side does not do its work.
    """
    program = build(CRATE, TARGET) / "sampler-benchmarks"
    arguments = [str(number) for number in (rounds, milliseconds, draws)]
    printed = run_program(str(program), *arguments, RAYON_NUM_THREADS="1").stdout
    return msgspec.json.decode(printed, type=Output)


def peer(lock: Path = CRATE / "Cargo.lock") -> Peer:
    """Describe candle's sampler."""
    packages = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    [version] = [one["version"] for one in packages if one["name"] == "candle-transformers"]
    return Peer(
        name=CANDLE,
        version=version,
        words="LogitsProcessor of candle-transformers, in Rust, beside the port in Rust, on one "
        "thread: temperature, softmax, top-k, top-p of the whole row",
    )


def timings(output: Output) -> tuple[list[Timing], list[Bar]]:
    """Lay out what the program measured, with the bars of the floor."""
    found, bars = [], []
    for one in output.measured:
        rounds = one.rounds
        work = Work(
            function="sample_logits",
            vocab=int(one.workload["vocab"]),
            top_k=int(one.workload["top_k"]),
            top_p=one.workload["top_p"],
        )
        drawing = msgspec.structs.replace(work, function="draw", drawn=one.drawn)
        floor: dict[str, list[float]] = {TWISTS: rounds["twists"]}
        if "sample" in rounds:
            floor[EXPONENTIALS] = rounds["exponentials"]
            sides = floor | {CANDLE: rounds["candle"]}
            found.append(_timing(work, rounds["sample"], sides))
            both = [sum(pair) for pair in zip(*floor.values(), strict=True)]
            bars.append(
                _bar(
                    work,
                    "times the floor, exponentials and twists alone",
                    rounds["sample"],
                    both,
                    FLOOR_BAR,
                )
            )
        found.append(_timing(drawing, rounds["draw"], {TWISTS: rounds["twists"]}))
        if one.drawn == MANY:
            bars.append(
                _bar(drawing, "times its twists alone", rounds["draw"], rounds["twists"], DRAW_BAR)
            )
    return found, [bar for bar in bars if bar.work.vocab >= LONG]


def _timing(work: Work, port: list[float], sides: dict[str, list[float]]) -> Timing:
    return Timing(
        work=work,
        where="rust",
        rounds=len(port),
        us=statistics.median(port),
        sides=tuple(
            Side(name=name, us=statistics.median(times), ratio=ratio(times, port))
            for name, times in sides.items()
        ),
    )


def _bar(work: Work, words: str, port: list[float], other: list[float], bound: float) -> Bar:
    return Bar(
        words=words,
        work=work,
        where="rust",
        ratio=ratio(port, other),
        bound=bound,
        at_least=False,
    )
