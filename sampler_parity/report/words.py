"""The words that the report uses, and how text and numbers are put into sentences."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from urllib.parse import quote

from sampler_parity.model.case import EFFECTS
from sampler_parity.model.pipeline import TOKEN
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines import PIPELINES
from sampler_parity.pipelines.references import REFERENCES
from sampler_parity.run.run_file import Shard


def _known() -> dict[str, str]:
    """Give every known stage's words: the port's two pipelines first, other stages between theirs.

    A stage that only another reference has stands before the one that follows it there.
    """
    words = {stage.name: stage.words for p in PIPELINES.values() for stage in p.stages}
    del words[TOKEN]
    order = [*words, TOKEN]
    for kind in REFERENCES.values():
        after = TOKEN
        for stage in reversed(kind.pipeline.stages):
            if stage.name not in order:
                order.insert(order.index(after), stage.name)
                words[stage.name] = stage.words
            after = stage.name
    return {name: words[name] for name in order if name != TOKEN}


STAGES = {
    "error": "whether the call raises, at which call, and which class of exception",
    **_known(),
    TOKEN: "the tokens drawn, over all calls of the case",
    "input": "what the call leaves behind in the logits it was given",
    "generator": "the random generator's state after the last call",
}
"""Every stage, error and effect in the order in which they are compared, each in one line."""


def stages_of(reference: str) -> tuple[str, ...]:
    """Name what a run against a reference compares, as far as it is known here."""
    pipelines = [p for p in PIPELINES.values() if not reference]
    if reference in REFERENCES:
        pipelines = [REFERENCES[reference].pipeline]
    names = {stage for pipeline in pipelines for stage in pipeline.names}
    return tuple(s for s in STAGES if s in names or s in {"error", TOKEN, *EFFECTS})


VERDICTS = {
    Verdict.EXACT: "everything is equal, bit for bit",
    Verdict.ROUNDING: "both sides are within rounding of the exact value",
    Verdict.TIE_ORDER: "of tokens with equal probability, others are kept",
    Verdict.EFFECT: "everything is equal but what the calls leave in their input",
    Verdict.GENERATOR: "from the same distribution other tokens are drawn",
    Verdict.DIFFERS: "the bits differ in a stage without an oracle",
    Verdict.SEMANTIC: "the candidate computes something else",
    Verdict.STATEFUL: "the answer depends on earlier cases, or on chance",
    Verdict.ERROR: "one side raises and the other does not, or they raise differently",
    Verdict.TIMED_OUT: "the candidate did not answer in time, and was ended",
    Verdict.CRASHED: "the candidate's process ended before it answered",
    Verdict.UNFIT: "the answer has not the form that the case asks for",
}
"""Each verdict in one line, from harmless to grave."""

LONGEST = 1_000
"""How many characters of a value are shown: an exception's text may be of any length."""

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)

_ORDER = {stage: place for place, stage in enumerate(STAGES)}


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a sentence.

    Attributes:
        text: as it is read, not escaped.
        code: whether it is set as code.
    """

    text: str
    code: bool = False


Sentence = tuple[Piece, ...]


def marked(sentence: str) -> Sentence:
    """Set what stands between backticks as code."""
    pieces = cut(sentence).split("`")
    if len(pieces) % 2 == 0:
        return (Piece(cut(sentence)),)
    return tuple(Piece(text, code=bool(place % 2)) for place, text in enumerate(pieces) if text)


def listed(names: Iterable[str]) -> Sentence:
    """Set names as code, with commas between."""
    pieces: list[Piece] = []
    for place, name in enumerate(names):
        pieces += [*([Piece(", ")] if place else []), Piece(name, code=True)]
    return tuple(pieces)


def cut(text: str) -> str:
    """Shorten what is longer than :data:`LONGEST`."""
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}… ({len(text) - LONGEST:,} more characters)"


def place(stage: str) -> tuple[int, str]:
    """Order stages as they are compared; unknown ones come last, by name."""
    return _ORDER.get(stage, len(_ORDER)), stage


def implementations(shards: Sequence[Shard]) -> tuple[str, ...]:
    """Name every implementation once, in the run's order."""
    return tuple(dict.fromkeys(shard.implementation for shard in shards))


def capabilities(shards: Iterable[Shard]) -> str:
    """Count the capabilities at which something was compared."""
    number = len({shard.capability for shard in shards if shard.compared})
    return counted(number, "capability", "capabilities")


def cases(number: int) -> str:
    """Count cases."""
    return counted(number, "case")


def counted(number: int, one: str, many: str = "") -> str:
    """Give a number with its noun: ``1 case``, ``2 cases``."""
    return f"{number:,} {noun(number, one, many)}"


def noun(number: int, one: str, many: str = "") -> str:
    """Give the noun that stands with a number: ``case`` with 1, ``cases`` with any other."""
    return one if number == 1 else many or one + "s"


def moment(started: str) -> str:
    """Say a time of day; what is none stays as it is."""
    try:
        found = datetime.fromisoformat(started)
    except ValueError:
        return started
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    found = found.astimezone(UTC)
    return f"{found.day} {_MONTHS[found.month - 1]} {found.year}, {found:%H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """Say how long something took."""
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min {rest} s" if hours else f"{minutes} min {rest} s"


def anchor(names: Iterable[str], taken: set[str]) -> str:
    """Make an id that needs no escaping, and is unique among ``taken``."""
    slug = "-".join(
        "".join(c if c.isascii() and (c.isalnum() or c in "_.@") else "-" for c in name)
        for name in names
    )[:LONGEST]
    stem = made = f"case-{slug}"
    number = 1
    while made in taken:
        number += 1
        made = f"{stem}-{number}"
    taken.add(made)
    return made


def relative_link(path: str) -> str:
    """Quote a path below the run's folder; a colon is quoted too, so that no scheme is left."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or ".." in parts:
        return ""
    return quote(path)
