"""The divergent cases in the order in which they matter, with what shows each, and its replay."""

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from sampler_parity.implementations.registry import PORT
from sampler_parity.model.case import Described
from sampler_parity.model.verdict import Divergence, Verdict
from sampler_parity.report.evidence import Array, Evidence, load_evidence
from sampler_parity.report.matrices import Key, waived
from sampler_parity.report.order import DivergentCase, in_order
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
from sampler_parity.run.run_file import Run, Shard, Shrunken
from sampler_parity.run.words import at

DETAILED = 50
"""How many divergences are shown one by one."""

COUNTABLE = 1 << 24
"""Ulps beyond which a distance says nothing: the one value is at least four times the other."""

RETURNS = "returns"
"""How a side is said to end that raises nothing."""

CALLS_SHOWN = 40
"""The tokens of so many calls are shown."""

TOKENS_SHOWN = 12
"""The longest row of a shrunken case that is shown token by token."""


@dataclass(frozen=True, slots=True)
class ShownCause:
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
        start: the number of the first call that is shown, from 1.
        pairs: one a call, of :data:`CALLS_SHOWN` at most.
        calls: how many calls there are.
        first: the number of the first call whose tokens differ, from 1.
        equal: how many tokens agree, over all rows.
        total: tokens of all rows.
    """

    row: int
    start: int
    pairs: tuple[Pair, ...]
    calls: int
    first: int
    equal: int
    total: int


@dataclass(frozen=True, slots=True)
class ShownSmall:
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
        where: at which of torch's dispatch levels, in words.
        values_of: the one whose values are shown, where they are several; empty otherwise.
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
    where: str
    values_of: str
    family: str
    stage: str
    first: str
    verdict: str
    meaning: str
    waived: bool
    plain: Sentence
    sentence: Sentence
    said: str
    causes: tuple[ShownCause, ...]
    consequences: Sentence
    parameters: tuple[tuple[str, str], ...]
    pictures: tuple[Picture, ...]
    unseen: str
    draws: Draws | None
    small: ShownSmall | None
    evidence: str
    link: str
    replays: tuple[str, ...]
    facets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RestRow:
    """Divergences that are only counted.

    Attributes:
        implementation: which candidate differs.
        stage: the gravest cause's.
        verdict: its kind.
        cases: how many; a case counts once at each capability at which it differs.
        where: at which capabilities, in words.
    """

    implementation: str
    stage: str
    verdict: str
    cases: int
    where: str


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
        total: how many there are; a case counts once at each capability at which it differs.
        told: how many of them the articles tell of.
        articles: those that are shown in full, in the order in which they matter.
        filters: what to choose them by; only what has more than one choice.
        rest: all others, counted.
        home: the folder that commands take the run to be in.
    """

    total: int
    told: int
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
    cases = _detailed(in_order(run))
    articles: list[Article] = []
    anchors: dict[Key, str] = {}
    taken: set[str] = set()
    home = _home(run)
    for case in cases:
        article = _article(run, case, folder, home, taken)
        articles.append(article)
        for stage in dict.fromkeys((case.found.divergence.stage, case.found.divergence.first)):
            for family in (case.found.family, ""):
                anchors.setdefault((case.shard.implementation, family, stage), article.anchor)
    filters = _filters(articles)
    return Divergences(
        total=sum(shard.divergent for shard in run.shards),
        told=sum(len(case.capabilities) for case in cases),
        articles=tuple(replace(article, facets=_facets(article, filters)) for article in articles),
        filters=filters,
        rest=_rest(run.shards, cases),
        home=home,
    ), anchors


def _detailed(cases: Sequence[DivergentCase]) -> tuple[DivergentCase, ...]:
    """Choose what is shown in full: what has evidence, and one of a kind that has none at all."""
    known = {case.kind for case in cases if case.shown}
    chosen = []
    for case in cases:
        if case.shown or case.kind not in known:
            known.add(case.kind)
            chosen.append(case)
    return tuple(chosen[:DETAILED])


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
    run: Run, case: DivergentCase, folder: Path | None, home: str, taken: set[str]
) -> Article:
    shard, found = case.shard, case.found
    divergence = found.divergence
    path = found.evidence or ""
    evidence = load_evidence(folder, path)
    shown: tuple[Picture, ...] = ()
    if evidence is not None:
        shown = pictures(evidence, divergence, found.described.parameters, shard.implementation)
    causes = {cause.stage for cause in divergence.causes}
    return Article(
        anchor=anchor((shard.implementation, found.case), taken),
        case=cut(found.case),
        implementation=shard.implementation,
        where=case.where,
        values_of=shard.capability if len(case.capabilities) > 1 else "",
        family=found.family,
        stage=divergence.stage,
        first=divergence.first,
        verdict=divergence.verdict.value,
        meaning=VERDICTS[divergence.verdict],
        waived=waived(run, shard, found),
        plain=_plain(found.family, found.described),
        sentence=_difference(shard.implementation, divergence),
        causes=tuple(
            ShownCause(cause.stage, cause.verdict.value, cut(cause.words))
            for cause in divergence.causes
            # How a call ended, or a candidate was lost, is said once.
            if cause.stage != "error"
        ),
        said=cut(divergence.candidate.partition("\n")[2]) if divergence.stage == "error" else "",
        consequences=listed(stage for stage in divergence.also if stage not in causes),
        parameters=tuple((name, cut(value)) for name, value in found.described.words().items()),
        pictures=shown,
        unseen=_unseen(divergence, path, evidence, shown),
        # Whoever has a generator of its own draws other tokens, as it must.
        draws=_draws(evidence) if evidence and shard.about.stream == "torch" else None,
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
        return "No picture: the case is one of those whose stages the run did not keep."
    if evidence is None:
        return f"No picture: {path} is not beside this page, or cannot be read."
    if divergence.stage in {"error", "token", "generator", "input"}:
        return ""
    return "No picture: this implementation does not show the stage."


def _plain(family: str, described: Described) -> Sentence:
    """Say what the case is: ``sample_logits`` on 1 row of 4,096 logits (family bf16), ...."""
    known = {**described.words()}
    sampler = known.pop("sampler", "")
    known.pop("shape")
    pieces = [Piece(cut(sampler) or "a sampler", code=True), Piece(" on "), *_shape(described)]
    pieces.append(Piece(f" of family {cut(family)}"))
    usual = {"advance": "0", "draws": "1", "threads": "1", "zero_temperature": "raise"}
    usual["forbid_token"] = "None"  # noqa: S105  # a token of the vocabulary
    rest = [f"{name} {cut(value)}" for name, value in known.items() if usual.get(name) != value]
    return (*pieces, Piece(f", with {', '.join(rest)}." if rest else "."))


def _shape(described: Described) -> Sentence:
    *leading, vocab = described.shape or (0,)
    row = f"{vocab:,} {'logit' if vocab == 1 else 'logits'}"
    if not leading:
        return (Piece(f"{row} without a batch"),)
    rows = math.prod(leading)
    return (Piece(row if rows == 1 else f"{rows:,} rows of {row}"),)


def _replays(name: str, explain: str, path: str, home: str) -> tuple[str, ...]:
    if not relative_link(path):
        return (explain,)
    file = shlex.quote(f"{home}/{path}")
    rust = f"cargo run --release --example replay -- {file}"
    if name != PORT:
        rust += "  # the Rust port on the same case"
    # A run knows where it is stored; what was made up for a test may not.
    return explain if file in explain else explain.replace(path, file), rust


def _difference(name: str, divergence: Divergence) -> Sentence:
    candidate = Piece(name, code=True)
    reference, value = cut(divergence.reference), cut(divergence.candidate)
    stage = Piece(divergence.stage, code=True)
    if divergence.stage == "error":
        return _endings(candidate, divergence)
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


def _endings(candidate: Piece, divergence: Divergence) -> Sentence:
    """Say how the calls ended on either side."""
    sides = [
        cut(side.partition("\n")[0].rstrip(".:"))
        for side in (divergence.reference, divergence.candidate)
    ]
    torch, other = ("gives a token" if side == RETURNS else side for side in sides)
    if divergence.verdict is not Verdict.ERROR:
        return Piece(f"Torch {torch}; "), candidate, Piece(f": {other}.")
    sentence = (Piece(f"Torch {torch}; "), candidate, Piece(f" {other}."))
    if RETURNS in sides:
        return sentence
    return (*sentence, Piece(" Both raise, and not the same class of exception at the same call."))


def _draws(evidence: Evidence) -> Draws | None:
    torch, other = evidence.reference.get("token"), evidence.candidate.get("token")
    if torch is None or other is None or torch.shape != other.shape or torch.ndim != 2:  # noqa: PLR2004
        return None
    calls = np.flatnonzero((torch != other).any(axis=0))
    if not calls.size:
        return None
    first = int(calls[0])
    row = int(np.flatnonzero(torch[:, first] != other[:, first])[0])
    start = 0 if first < CALLS_SHOWN else first - CALLS_SHOWN // 4
    shown = zip(torch[row, start:], other[row, start:], strict=True)
    return Draws(
        row=row,
        start=start + 1,
        pairs=tuple(_pair(str(a), str(b)) for a, b in islice(shown, CALLS_SHOWN)),
        calls=torch.shape[1],
        first=first + 1,
        equal=int((torch == other).sum()),
        total=torch.size,
    )


def _pair(reference: str, candidate: str) -> Pair:
    return Pair(reference, "" if reference == candidate else candidate)


def _small(
    shrunken: Shrunken | None, family: str, name: str, folder: Path | None, home: str
) -> ShownSmall | None:
    if shrunken is None:
        return None
    evidence = load_evidence(folder, shrunken.evidence)
    return ShownSmall(
        plain=_plain(family, shrunken.described),
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
    if not stages:
        return ()
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


def _compared(sides: tuple[Array, Array] | None, alone: Array | None, token: int) -> Pair:
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
    for name in ("implementation", "verdict", "stage", "family", "where"):
        counts: Counter[str] = Counter(getattr(article, name) for article in articles)
        found.append(Filter(name, tuple(counts.items())))
    return tuple(filter_ for filter_ in found if len(filter_.choices) > 1)


def _facets(article: Article, filters: Iterable[Filter]) -> tuple[int, ...]:
    return tuple(
        1 + [choice for choice, _ in filter_.choices].index(getattr(article, filter_.name))
        for filter_ in filters
    )


def _rest(shards: Sequence[Shard], told: Sequence[DivergentCase]) -> tuple[RestRow, ...]:
    """Count what is not told: of each kind what the run counts, less what is shown in full."""
    shown: Counter[tuple[str, str, str, str]] = Counter()
    for case in told:
        name, stage, decided = case.kind
        shown.update((name, capability, stage, decided.value) for capability in case.capabilities)
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for shard in shards:
        for cell in shard.cells:
            for verdict, cases in cell.verdicts.items():
                counts[shard.implementation, shard.capability, cell.stage, verdict] += cases
    rest: dict[tuple[str, str, str], dict[str, int]] = {}
    # Counters keep what is above zero.
    for (name, capability, stage, kind), cases in (counts - shown).items():
        rest.setdefault((name, stage, kind), {})[capability] = cases
    order = {name: rank for rank, name in enumerate(implementations(shards))}
    rows = sorted(rest.items(), key=lambda item: (order[item[0][0]], place(item[0][1]), item[0]))
    return tuple(
        RestRow(*key, cases=sum(by_capability.values()), where=at(by_capability))
        for key, by_capability in rows
    )
