"""The table of docs/engines.md on two real engines, made from ``results/engines.json``.

``python -m benchmarks.readme`` writes it again.
"""

import textwrap
from pathlib import Path

import msgspec

from sampler_parity.build.installation import REPOSITORY
from sampler_parity.model.errors import CannotJudgeError

ENGINES = REPOSITORY / "docs" / "engines.md"
STORED = REPOSITORY / "benchmarks" / "results" / "engines.json"

HEADINGS = (
    "candle's products",
    "free: first token that differs, by generation",
    "forced: tokens that differ",
    "logits apart: median, largest",
    "total variation: median, largest",
    "named",
)


class Named(msgspec.Struct, frozen=True):
    """A finding of the comparison, and at how many calls it is seen."""

    kind: str
    what: str
    words: str
    times: int
    of: int


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """What came of comparing candle with transformers.

    A call is *comparable* where both models were given the same tokens before it. All calls of a
    forced pair are; of a free one, those up to a generation's first token that differs.

    Attributes:
        way: how candle multiplies.
        forced: whether candle went on with the tokens of transformers.
        sentence: the comparison's.
        findings: the comparison's, without consequences.
        first_flips: of each generation, the first call whose tokens differ; ``None`` where none do.
        flips: how many comparable calls have tokens that differ.
        comparable: how many calls are comparable.
        differing: how many of these have logits that differ.
        apart: the largest absolute distance of two logits of a comparable call: the median of the
            calls, and the largest of all.
        scale: the largest absolute logit of the comparable calls.
        variation: the total variation of the two laws of a comparable call: the median, and the
            largest.
    """

    way: str
    forced: bool
    sentence: str
    findings: tuple[Named, ...]
    first_flips: tuple[int | None, ...]
    flips: int
    comparable: int
    differing: int
    apart: tuple[float, float]
    scale: float
    variation: tuple[float, float]


class Alone(msgspec.Struct, frozen=True):
    """What came of judging one recording by itself: its status, and how many calls were judged."""

    engine: str
    forced: bool
    status: str
    calls: int
    judged: int

    @property
    def exact(self) -> bool:
        """Whether the reference gives every token, and leaves the generator as the engine did."""
        return self.status == "holds" and self.judged == self.calls > 0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``results/engines.json``.

    Attributes:
        model: the model's file, as its package has it.
        sha256: of that file.
        versions: of everything that shapes the result, by name.
        processor: of the machine.
        generations: how many prompts there are.
        calls: of a generation.
        seed: of the first generation; the next one has the next seed.
        parameters: of ``sample_logits``.
        pairs: every comparison.
        alone: every recording.
    """

    model: str
    sha256: str
    versions: dict[str, str]
    processor: str
    generations: int
    calls: int
    seed: int
    parameters: dict[str, float]
    pairs: tuple[Pair, ...]
    alone: tuple[Alone, ...]


def read(path: Path = STORED) -> Result:
    """Read a stored result.

    Raises:
        CannotJudgeError: there is none, or it is damaged.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except (OSError, msgspec.MsgspecError) as error:
        raise CannotJudgeError(f"{path} is no result of `make real-engines`: {error}") from error


def encoded(result: Result) -> bytes:
    """Give the content of the result's file."""
    return msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n"


def section(result: Result) -> str:
    """Lay out what is known of every pair, and of every recording by itself.

    Raises:
        CannotJudgeError: the result lacks one of a pair.
    """
    lines = [
        *_wrapped(_caption(result)),
        "",
        f"| {' | '.join(HEADINGS)} |",
        f"| {' | '.join(['---'] * len(HEADINGS))} |",
        *(_row(free, forced) for free, forced in _ways(result)),
        "",
        *_wrapped(_exactness(result)),
    ]
    for free, _ in _ways(result)[:1]:
        lines += ["", "The first of these comparisons, free, begins:", ""]
        lines += [f"> {line}" for line in _wrapped(free.sentence, 98)]
    return "\n".join(lines)


def tables(result: Result) -> dict[Path, dict[str, str]]:
    """Give what stands between the page's marks; raises as :func:`section`."""
    return {ENGINES: {"real-engines": section(result)}}


def _ways(result: Result) -> list[tuple[Pair, Pair]]:
    """Give both pairs of each way, the free one first."""
    found = {(pair.way, pair.forced): pair for pair in result.pairs}
    ways = dict.fromkeys(pair.way for pair in result.pairs)
    if not ways or len(found) != 2 * len(ways):
        raise CannotJudgeError("the result has no free and forced pair of each way")
    return [(found[way, False], found[way, True]) for way in ways]


def _caption(result: Result) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    parameters = ", ".join(f"{name} {value:g}" for name, value in result.parameters.items())
    return (
        f"Measured with `{result.model}` ({versions}) on {result.processor}, each model on one "
        f"thread: {result.generations} prompts of {result.calls} calls each, {parameters}, the "
        "logits and the total variation of the forced calls."
    )


def _row(free: Pair, forced: Pair) -> str:
    flips = ", ".join("none" if at is None else f"{at:,}" for at in free.first_flips)
    apart = f"{forced.apart[0]:.2g}, {forced.apart[1]:.2g} of {forced.scale:.3g}"
    variation = f"{forced.variation[0]:.2g}, {forced.variation[1]:.2g}"
    named = "; ".join(
        f"`{one.kind}`: {one.what}, {one.times:,} of {one.of:,} calls" for one in forced.findings
    )
    cells = (
        free.way,
        flips,
        f"{forced.flips:,} of {forced.comparable:,}",
        apart,
        variation,
        named or "nothing",
    )
    return f"| {' | '.join(cells)} |"


def _exactness(result: Result) -> str:
    exact = [one for one in result.alone if one.exact]
    judged = sum(one.judged for one in result.alone)
    others = [
        f"{one.engine}{', forced' if one.forced else ''}: {one.status}"
        for one in result.alone
        if not one.exact
    ]
    told = (
        f"Each sampler judged on its own logits: of {len(result.alone)} recordings with {judged:,} "
        f"judged calls, {len(exact)} hold: the reference gives every token, and leaves the "
        "generator in the state in which the engine left it"
    )
    return f"{told}. The others: {'; '.join(others)}." if others else f"{told}."


def _wrapped(text: str, width: int = 100) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
