"""The divergent cases, worst first, each with what shows it and how it is run again."""

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sampler_parity.model.verdict import SEVERITY, Divergence
from sampler_parity.report.evidence import Evidence, Values, load_evidence
from sampler_parity.report.matrices import Key, waived
from sampler_parity.report.pictures import Picture, pictures
from sampler_parity.report.words import (
    VERDICTS,
    Piece,
    Sentence,
    anchor,
    cut,
    implementations,
    listed,
    place,
    relative_link,
)
from sampler_parity.run.run_file import FoundDivergence, Run, Shard, Shrunken

DETAILED = 50
"""How many divergences are shown one by one."""

COUNTABLE = 1 << 24
"""Ulps beyond which a distance says nothing: the one value is at least four times the other."""

TOKENS_SHOWN = 12
"""The longest row of a shrunken case that is shown token by token."""


@dataclass(frozen=True, slots=True)
class CauseView:
    """A stage that departs of its own accord."""

    stage: str
    verdict: str
    words: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A value of both sides.

    Attributes:
        reference: the reference's, in words.
        candidate: the candidate's; empty where it is the same.
    """

    reference: str
    candidate: str = ""


@dataclass(frozen=True, slots=True)
class StageTable:
    """A row of a small case, token by token.

    Attributes:
        row: which row of the batch.
        columns: the stages.
        lines: one a token: its logit, then each stage.
    """

    row: int
    columns: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Pair, ...]], ...]


@dataclass(frozen=True, slots=True)
class Draws:
    """The tokens of successive calls with one generator.

    Attributes:
        row: which row of the batch.
        pairs: one a call.
        first: the first call whose tokens differ.
        equal: how many calls agree, over all rows.
        total: calls of all rows.
    """

    row: int
    pairs: tuple[Pair, ...]
    first: int
    equal: int
    total: int


@dataclass(frozen=True, slots=True)
class Small:
    """The case made small.

    Attributes:
        plain: the case in a sentence.
        logits: its logits, row by row.
        sentence: both values at the first difference.
        tables: its stages, where rows are short.
        tried: how many cases were run to find it.
        replays: the commands that run it again.
    """

    plain: Sentence
    logits: tuple[str, ...]
    sentence: Sentence
    tables: tuple[StageTable, ...]
    tried: int
    replays: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Article:
    """A divergence shown in full.

    Attributes:
        anchor: its id, the same for the same case in every report.
        case: the case's id.
        implementation: which candidate differs.
        capability: at which dispatch level.
        family: the kind of logits.
        stage: the stage of the gravest cause.
        first: the first stage at which any bit differs.
        verdict: the kind of the gravest cause.
        meaning: the verdict in words.
        waived: a waiver covers it.
        plain: the case in a sentence.
        sentence: what differs, in words.
        said: what the candidate said before it was lost; empty if nothing.
        causes: every stage that departs of its own accord.
        consequences: the other stages that differ.
        parameters: the case.
        pictures: what shows it.
        unseen: why there is no picture; empty if there is one.
        draws: tokens of the calls, where they differ; otherwise ``None``.
        small: the case made small, if it was.
        evidence: the evidence file's path; empty for none.
        link: a relative URL of it; empty if it has none that is safe.
        replays: the commands that run the case again.
        facets: the numbers of its choices among the filters, in their order.
    """

    anchor: str
    case: str
    implementation: str
    capability: str
    family: str
    stage: str
    first: str
    verdict: str
    meaning: str
    waived: bool
    plain: Sentence
    sentence: Sentence
    said: str
    causes: tuple[CauseView, ...]
    consequences: Sentence
    parameters: tuple[tuple[str, str], ...]
    pictures: tuple[Picture, ...]
    unseen: str
    draws: Draws | None
    small: Small | None
    evidence: str
    link: str
    replays: tuple[str, ...]
    facets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RestRow:
    """Divergences that are only counted.

    Attributes:
        implementation: which candidate differs.
        stage: the stage: the gravest cause's, or the first one that differs where the run keeps
            the count only.
        verdict: its kind; empty where the run keeps the count only.
        cases: how many.
    """

    implementation: str
    stage: str
    verdict: str
    cases: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Something to choose articles by.

    Attributes:
        name: what it is.
        choices: what there is to choose, with the number of articles of each.
    """

    name: str
    choices: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Divergences:
    """The divergent cases.

    Attributes:
        total: how many there are.
        articles: the worst, worst first.
        filters: what to choose them by; only what has more than one choice.
        rest: all others, counted.
        home: the folder that commands take the run to be in.
    """

    total: int
    articles: tuple[Article, ...]
    filters: tuple[Filter, ...]
    rest: tuple[RestRow, ...]
    home: str

    @property
    def uncounted(self) -> int:
        """How many are not shown in full."""
        return sum(row.cases for row in self.rest)


def divergences(run: Run, folder: Path | None) -> tuple[Divergences, dict[Key, str]]:
    """Order the divergences; also find the worst one of each implementation, family and stage.

    Args:
        run: the run.
        folder: where its evidence is; ``None`` for a run without any.
    """
    stored = _worst_first([(shard, found) for shard in run.shards for found in shard.divergences])
    articles: list[Article] = []
    anchors: dict[Key, str] = {}
    taken: set[str] = set()
    home = _home(run)
    for shard, found in stored[:DETAILED]:
        article = _article(run, shard, found, folder, home, taken)
        articles.append(article)
        for stage in dict.fromkeys((found.divergence.stage, found.divergence.first)):
            for family in (found.family, ""):
                anchors.setdefault((shard.implementation, family, stage), article.anchor)
    filters = _filters(articles)
    return Divergences(
        total=sum(shard.divergent for shard in run.shards),
        articles=tuple(replace(article, facets=_facets(article, filters)) for article in articles),
        filters=filters,
        rest=_rest(run.shards, stored[DETAILED:]),
        home=home,
    ), anchors


def _worst_first(
    stored: list[tuple[Shard, FoundDivergence]],
) -> list[tuple[Shard, FoundDivergence]]:
    """Gravest first, one of each kind before a second one of any."""
    ordered = sorted(stored, key=lambda pair: _badness(*pair))
    again: Counter[tuple[object, ...]] = Counter()
    turns = []
    for shard, found in ordered:
        kind = (
            shard.implementation,
            found.family,
            found.divergence.stage,
            found.divergence.verdict,
        )
        turns.append(again[kind])
        again[kind] += 1
    # Sorting is stable: within a turn the order stays.
    return [pair for _, pair in sorted(zip(turns, ordered, strict=True), key=lambda item: item[0])]


def _badness(shard: Shard, found: FoundDivergence) -> tuple[object, ...]:
    """Gravest first, then earliest; what can be shown before what cannot; then the largest.

    What has no size in ulps is larger than all that has.
    """
    divergence = found.divergence
    return (
        -SEVERITY[divergence.verdict],
        place(divergence.stage),
        found.evidence is None,
        divergence.ulps is not None,
        -(divergence.ulps or 0),
        -divergence.differing / max(divergence.total, 1),
        shard.implementation,
        shard.capability,
        found.case,
    )


def _home(run: Run) -> str:
    """The folder that the run's command names: what replay commands are relative to."""
    try:
        words = shlex.split(run.command)
    except ValueError:
        words = []
    if "--out" in words[:-1]:
        return words[words.index("--out") + 1]
    return "reports/latest"


def _article(
    run: Run,
    shard: Shard,
    found: FoundDivergence,
    folder: Path | None,
    home: str,
    taken: set[str],
) -> Article:
    divergence = found.divergence
    path = found.evidence or ""
    evidence = load_evidence(folder, path)
    shown: tuple[Picture, ...] = ()
    if evidence is not None:
        shown = pictures(evidence, divergence, found.parameters, shard.implementation)
    causes = {cause.stage for cause in divergence.causes}
    return Article(
        anchor=anchor((shard.implementation, shard.capability, found.case), taken),
        case=cut(found.case),
        implementation=shard.implementation,
        capability=shard.capability,
        family=found.family,
        stage=divergence.stage,
        first=divergence.first,
        verdict=divergence.verdict.value,
        meaning=VERDICTS[divergence.verdict],
        waived=waived(run, shard, found),
        plain=_plain(found.family, found.parameters),
        sentence=_difference(shard.implementation, divergence),
        causes=tuple(
            CauseView(cause.stage, cause.verdict.value, cut(cause.words))
            for cause in divergence.causes
            # How a candidate was lost is said once.
            if cause.words != divergence.candidate
        ),
        said=cut(divergence.candidate.partition("\n")[2]) if divergence.stage == "error" else "",
        consequences=listed(stage for stage in divergence.also if stage not in causes),
        parameters=tuple((name, cut(value)) for name, value in found.parameters.items()),
        pictures=shown,
        unseen=_unseen(divergence, path, evidence, shown),
        draws=_draws(evidence) if evidence is not None else None,
        small=_small(found.shrunken, found.family, shard.implementation, folder, home),
        evidence=path,
        link=relative_link(path),
        replays=_replays(shard.implementation, found.replay, path, home),
    )


def _unseen(
    divergence: Divergence, path: str, evidence: Evidence | None, shown: tuple[Picture, ...]
) -> str:
    if shown:
        return ""
    if not path:
        return "No picture: the run kept the stages of its first divergences only."
    if evidence is None:
        return f"No picture: {path} is not beside this page, or cannot be read."
    if divergence.stage in {"error", "token", "generator", "input"}:
        return ""
    return "No picture: this implementation does not show the stage."


def _plain(family: str, parameters: dict[str, str]) -> Sentence:
    """Say what the case is: ``sample_logits`` on 1 row of 4,096 logits (family bf16), ...."""
    known = dict(parameters)
    sampler, shape = known.pop("sampler", ""), known.pop("shape", "")
    pieces = [Piece(cut(sampler) or "a sampler", code=True), Piece(" on "), *_shape(shape)]
    pieces.append(Piece(f" of family {cut(family)}"))
    usual = {"advance": "0", "draws": "1", "threads": "1", "zero_temperature": "raise"}
    usual["forbid_token"] = "None"  # noqa: S105  # a token of the vocabulary
    rest = [f"{name} {cut(value)}" for name, value in known.items() if usual.get(name) != value]
    return (*pieces, Piece(f", with {', '.join(rest)}." if rest else "."))


def _shape(shape: str) -> Sentence:
    sizes = [word.strip() for word in shape.strip("[]").split(",")]
    if all(size.isdigit() for size in sizes) and len(sizes) in {1, 2}:
        row = f"{int(sizes[-1]):,} {'logit' if sizes[-1] == '1' else 'logits'}"
        if len(sizes) == 1:
            return (Piece(f"{row} without a batch"),)
        return (Piece(f"{row}" if sizes[0] == "1" else f"{int(sizes[0]):,} rows of {row}"),)
    return (Piece(f"logits {cut(shape)}".strip()),)


def _replays(name: str, explain: str, path: str, home: str) -> tuple[str, ...]:
    if not relative_link(path):
        return (explain,)
    file = shlex.quote(f"{home}/{path}")
    rust = f"cargo run --release --example replay -- {file}"
    if name != "rust_ext":
        rust += "  # the Rust port on the same case"
    # A run knows where it is stored; what was made up for a test may not.
    return explain if file in explain else explain.replace(path, file), rust


def _difference(name: str, divergence: Divergence) -> Sentence:
    candidate = Piece(name, code=True)
    reference, value = cut(divergence.reference), cut(divergence.candidate)
    stage = Piece(divergence.stage, code=True)
    if divergence.stage == "error":
        first = value.partition("\n")[0].rstrip(".:")
        return Piece(f"torch {reference}; "), candidate, Piece(f" {first}.")
    where: Sentence
    if not divergence.index:
        where = (Piece("In "), stage)
    elif divergence.stage == "generator":
        where = (Piece(f"At byte {divergence.index[0]} of the state of "), stage)
    else:
        axes = " (row, call)" if divergence.stage == "token" else ""
        where = (Piece(f"At index {list(divergence.index)}{axes} of "), stage)
    ulps = ""
    if divergence.ulps is not None and divergence.ulps <= COUNTABLE:
        ulps = f", {divergence.ulps:,} ulp apart"
    count = ""
    if divergence.index:
        noun = {"token": "tokens", "generator": "bytes"}.get(divergence.stage, "numbers")
        if divergence.stage.endswith("_mask"):
            noun = "places"
        verb = "differs" if divergence.differing == 1 else "differ"
        count = f"; {divergence.differing:,} of {divergence.total:,} {noun} {verb}"
    return (
        *where,
        Piece(" torch has "),
        Piece(reference, code=True),
        Piece(", "),
        candidate,
        Piece(" has "),
        Piece(value, code=True),
        Piece(f"{ulps}{count}."),
    )


def _draws(evidence: Evidence) -> Draws | None:
    torch, other = evidence.reference.get("token"), evidence.candidate.get("token")
    if torch is None or other is None or torch.shape != other.shape or torch.ndim != 2:  # noqa: PLR2004
        return None
    calls = np.flatnonzero((torch != other).any(axis=0))
    if not calls.size:
        return None
    first = int(calls[0])
    row = int(np.flatnonzero(torch[:, first] != other[:, first])[0])
    return Draws(
        row=row,
        pairs=tuple(_pair(str(a), str(b)) for a, b in zip(torch[row], other[row], strict=True)),
        first=first + 1,
        equal=int((torch == other).sum()),
        total=torch.size,
    )


def _pair(reference: str, candidate: str) -> Pair:
    return Pair(reference, "" if reference == candidate else candidate)


def _small(
    shrunken: Shrunken | None, family: str, name: str, folder: Path | None, home: str
) -> Small | None:
    if shrunken is None:
        return None
    evidence = load_evidence(folder, shrunken.evidence)
    return Small(
        plain=_plain(family, shrunken.parameters),
        logits=tuple(cut(row) for row in shrunken.logits),
        sentence=_difference(name, shrunken.divergence),
        tables=_tables(evidence) if evidence is not None else (),
        tried=shrunken.tried,
        replays=_replays(name, shrunken.replay, shrunken.evidence, home),
    )


def _tables(evidence: Evidence) -> tuple[StageTable, ...]:
    logits = np.atleast_2d(evidence.logits)
    if logits.shape[-1] > TOKENS_SHOWN or not logits.size:
        return ()
    stages = tuple(
        stage
        for stage, values in evidence.reference.items()
        if values.shape == evidence.logits.shape and stage not in {"input", "token"}
    )
    stages = tuple(sorted(stages, key=place))
    found = []
    for row in range(min(len(logits), 2)):
        columns = [evidence.rows(stage, row) for stage in stages]
        lone = [evidence.reference_row(stage, row) for stage in stages]
        lines = tuple(
            (
                _number(logits[row, token]),
                tuple(
                    _compared(sides, alone, token)
                    for sides, alone in zip(columns, lone, strict=True)
                ),
            )
            for token in range(logits.shape[-1])
        )
        found.append(StageTable(row, stages, lines))
    return tuple(found)


def _compared(sides: tuple[Values, Values] | None, alone: Values | None, token: int) -> Pair:
    if sides is None:
        return Pair(_number(alone[token]) if alone is not None else "")
    reference, candidate = (side[token] for side in sides)
    if reference.tobytes() == candidate.tobytes():
        return Pair(_number(reference))
    return Pair(_number(reference), _number(candidate))


def _number(value: np.generic) -> str:
    """Give the shortest text that is this f32; a mask's place as a word."""
    if value.dtype == np.bool_:
        return "kept" if value else "cut"
    return str(value)


def _filters(articles: Sequence[Article]) -> tuple[Filter, ...]:
    found = []
    for name in ("implementation", "verdict", "stage", "family", "capability"):
        counts: Counter[str] = Counter(getattr(article, name) for article in articles)
        found.append(Filter(name, tuple(counts.items())))
    return tuple(filter_ for filter_ in found if len(filter_.choices) > 1)


def _facets(article: Article, filters: Iterable[Filter]) -> tuple[int, ...]:
    return tuple(
        1 + [choice for choice, _ in filter_.choices].index(getattr(article, filter_.name))
        for filter_ in filters
    )


def _rest(
    shards: Sequence[Shard], stored: Sequence[tuple[Shard, FoundDivergence]]
) -> tuple[RestRow, ...]:
    rest: Counter[tuple[str, str, str]] = Counter(
        (shard.implementation, found.divergence.stage, found.divergence.verdict.value)
        for shard, found in stored
    )
    for shard in shards:
        unstored = Counter({cell.stage: 0 for cell in shard.cells})
        for cell in shard.cells:
            unstored[cell.stage] += cell.first
        unstored.subtract(found.divergence.first for found in shard.divergences)
        for stage, cases in unstored.items():
            if cases > 0:
                rest[shard.implementation, stage, ""] += cases
    order = {name: rank for rank, name in enumerate(implementations(shards))}
    rows = sorted(rest.items(), key=lambda item: (order[item[0][0]], place(item[0][1]), item[0]))
    return tuple(RestRow(*key, cases=cases) for key, cases in rows)
