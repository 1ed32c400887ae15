"""What the report says, as plain values: every count, order and sentence; the template lays out.

A report is only as green as its numbers: a run that says it holds, but compared nothing or does
not add up, is shown as one that could not be judged.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import quote

from sampler_parity.run_file import Cell, FoundDivergence, Run, Shard, Status
from sampler_parity.verdict import Divergence, Verdict

STAGES = {
    "error": "whether the call raises, at which call, and which class of exception",
    "scaled_logits": "the logits after temperature",
    "probs": "softmax of the scaled logits",
    "top_k_mask": "which tokens top-k keeps",
    "top_p_mask": "which tokens top-p, the nucleus, keeps",
    "renormalized": "the probabilities that are left, divided by their sum",
    "noised_logits": "the scaled logits plus noise, in the simple sampler",
    "token": "the tokens drawn, over all calls of the case",
    "input": "what the call leaves behind in the logits it was given",
    "generator": "the random generator's state after the last call",
}
"""Every stage, error and effect in the order in which they are compared, each in one line."""

VERDICTS = {
    Verdict.EXACT: "everything is equal",
    Verdict.ERROR: "one side raises and the other does not, or they raise differently",
    Verdict.GENERATOR: "every earlier stage is equal, a token or the generator's state is not",
    Verdict.EFFECT: "every earlier stage is equal, what the call leaves in its input is not",
    Verdict.ROUNDING: "both sides are within rounding of the exact value",
    Verdict.TIE_ORDER: "of tokens with equal probability, others are kept",
    Verdict.SEMANTIC: "the candidate computes something else",
}
"""Each verdict in one line."""

DETAILED = 50
"""How many divergences are shown one by one."""

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


@dataclass(frozen=True, slots=True)
class Fact:
    """A number with its name."""

    value: int
    name: str


@dataclass(frozen=True, slots=True)
class Headline:
    """The verdict.

    Attributes:
        tone: what it looks like; never ``holds`` without evidence.
        mark: one character that shows the tone without colour.
        word: one word or two that do the same.
        sentence: the verdict.
        meaning: what follows from it for somebody who wants to use the port.
        details: one sentence an implementation, where there are several.
        reasons: why the gate does not hold or could not be judged.
        facts: what was compared, in numbers.
    """

    tone: Status
    mark: str
    word: str
    sentence: Sentence
    meaning: str
    details: tuple[Sentence, ...]
    reasons: tuple[Sentence, ...]
    facts: tuple[Fact, ...]

    @property
    def title(self) -> str:
        """The sentence without its markup."""
        return "".join(piece.text for piece in self.sentence)


@dataclass(frozen=True, slots=True)
class Row:
    """One shard's numbers, or the totals.

    Attributes:
        implementation: its name.
        capability: torch's dispatch level.
        source: where the reference's side came from.
        planned: cases planned.
        compared: cases compared.
        waived: cases not compared.
        balanced: whether planned = compared + waived.
        note: number of the waiver's footnote; 0 for none.
        stages: stage comparisons.
        elements: numbers compared.
        tokens: tokens compared.
        divergent: cases that differ.
        threads: torch's thread counts, with the cases of each.
    """

    implementation: str
    capability: str
    source: str
    planned: int
    compared: int
    waived: int
    balanced: bool
    note: int
    stages: int
    elements: int
    tokens: int
    divergent: int
    threads: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Numbers:
    """The table of key numbers.

    Attributes:
        rows: one a shard.
        totals: their sum.
        waivers: footnotes, numbered from 1.
    """

    rows: tuple[Row, ...]
    totals: Row
    waivers: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """A cell of a matrix.

    Attributes:
        compared: cases compared; 0 shows as not compared.
        differing: cases that differ.
        first: cases of which it is the first divergent stage.
        anchor: a divergence to link to; empty for none.
    """

    compared: int
    differing: int
    first: int
    anchor: str

    @property
    def kind(self) -> Literal["absent", "equal", "first", "later"]:
        """How the cell is shown."""
        if not self.compared and not self.differing:
            return "absent"
        if not self.differing:
            return "equal"
        return "first" if self.first else "later"


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """A family's cells, in the order of the matrix's stages."""

    family: str
    tallies: tuple[Tally, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Families x stages.

    Attributes:
        anchor: the caption's id.
        caption: what it shows.
        stages: the columns.
        rows: one a family.
        totals: all families.
    """

    anchor: str
    caption: str
    stages: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    totals: tuple[Tally, ...]


@dataclass(frozen=True, slots=True)
class ImplementationMatrices:
    """One implementation's matrix over all capabilities, and one for each."""

    name: str
    overall: Matrix
    breakdown: tuple[Matrix, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """One side's value at the first difference.

    Attributes:
        name: whose value it is.
        value: the value in words, cut to :data:`LONGEST` characters.
    """

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Article:
    """A divergence shown in full.

    Attributes:
        anchor: its id, the same for the same case in every report.
        case: the case's id.
        implementation: which candidate differs.
        capability: at which dispatch level.
        family: the kind of logits.
        stage: the first divergent stage.
        verdict: its kind.
        meaning: the verdict in words.
        sentences: what differs, in words.
        sides: both values.
        parameters: the case.
        evidence: the evidence file's path; empty for none.
        link: a relative URL of it; empty if it has none that is safe.
        replay: the command that runs the case again.
    """

    anchor: str
    case: str
    implementation: str
    capability: str
    family: str
    stage: str
    verdict: str
    meaning: str
    sentences: tuple[Sentence, ...]
    sides: tuple[Side, Side]
    parameters: tuple[tuple[str, str], ...]
    evidence: str
    link: str
    replay: str


@dataclass(frozen=True, slots=True)
class RestRow:
    """Divergences that are only counted.

    Attributes:
        implementation: which candidate differs.
        stage: the first divergent stage.
        verdict: its kind; empty where the run keeps the count only.
        cases: how many.
    """

    implementation: str
    stage: str
    verdict: str
    cases: int


@dataclass(frozen=True, slots=True)
class Divergences:
    """The divergent cases.

    Attributes:
        total: how many there are.
        articles: the worst, worst first.
        rest: all others, counted.
    """

    total: int
    articles: tuple[Article, ...]
    rest: tuple[RestRow, ...]

    @property
    def uncounted(self) -> int:
        """How many are not shown in full."""
        return sum(row.cases for row in self.rest)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the provenance."""

    name: str
    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The whole page, from top to bottom."""

    headline: Headline
    numbers: Numbers
    findings: tuple[Sentence, ...]
    matrices: tuple[ImplementationMatrices, ...]
    legend: tuple[tuple[str, str], ...]
    divergences: Divergences
    started: str
    started_words: str
    command: str
    provenance: tuple[Heading, ...]


def build(run: Run) -> Report:
    """Work out everything the report says."""
    divergences, anchors = _divergences(run.shards)
    stages = sorted(
        {cell.stage for shard in run.shards for cell in shard.cells} | {*STAGES}, key=_place
    )
    started = _started(run.started)
    this_run = {
        "profile": run.profile,
        "seed": str(run.seed),
        "started": started,
        "took": _duration(run.seconds),
    }
    return Report(
        headline=_headline(run),
        numbers=_numbers(run.shards),
        findings=tuple(_marked(finding) for finding in run.findings),
        matrices=_matrices(run.shards, tuple(stages), anchors),
        legend=tuple((stage, STAGES.get(stage, "not described here")) for stage in stages),
        divergences=divergences,
        started=run.started,
        started_words=started,
        command=run.command,
        provenance=(
            Heading("this run", tuple(this_run.items())),
            *(Heading(name, tuple(entries.items())) for name, entries in run.provenance.items()),
        ),
    )


def contradictions(run: Run) -> tuple[str, ...]:
    """Where a run's own numbers do not support what it concludes, one sentence each."""
    found = []
    for shard in run.shards:
        where = f"{shard.implementation} at {shard.capability}"
        if shard.planned != shard.compared + shard.waived:
            found.append(
                f"{where}: {shard.planned:,} cases were planned, but {shard.compared:,} were "
                f"compared and {shard.waived:,} waived."
            )
        if shard.waived and not shard.waiver.strip():
            found.append(f"{where}: {_cases(shard.waived)} waived without a reason.")
        first = sum(cell.first for cell in shard.cells)
        if first != shard.divergent:
            found.append(
                f"{where}: {shard.divergent:,} cases are said to differ, but the stages show "
                f"{first:,} first differences."
            )
        if len(shard.divergences) > shard.divergent:
            found.append(
                f"{where}: {shard.divergent:,} cases are said to differ, but "
                f"{len(shard.divergences):,} divergences are listed."
            )
        if not shard.divergent and any(cell.differing for cell in shard.cells):
            found.append(f"{where}: no case is said to differ, but the stages show differences.")
    if run.status == "holds":
        divergent = sum(shard.divergent for shard in run.shards)
        if divergent:
            found.append(f"The run says that the gate holds, but {_cases(divergent)} differ.")
        if run.reasons:
            found.append("The run says that the gate holds, and gives reasons why it does not.")
        found.extend(
            f"{name}: nothing was compared."
            for name in _implementations(run.shards)
            if not any(shard.compared for shard in run.shards if shard.implementation == name)
        )
    return tuple(found)


def _headline(run: Run) -> Headline:
    compared = sum(shard.compared for shard in run.shards)
    divergent = sum(shard.divergent for shard in run.shards)
    wrong = contradictions(run)
    reasons = (*run.reasons, *wrong)
    names = _implementations(run.shards)
    summaries = {name: _summary(name, run.shards) for name in names}
    details = tuple((*sentence, Piece(".")) for sentence in summaries.values())
    tone = run.status
    sentence: Sentence
    if run.status == "diverges":
        meaning = "The port cannot be trusted to give torch's tokens."
        differing = [name for name in names if _divergent(name, run.shards)]
        if len(differing) == 1:
            sentence = (*summaries[differing[0]], Piece("."))
        elif differing:
            sentence = (
                Piece(
                    f"{len(differing):,} of {len(names):,} implementations differ from torch, in "
                    f"{divergent:,} of {_cases(compared)}."
                ),
            )
        else:
            sentence = (
                Piece(
                    f"The gate does not hold: {divergent:,} of {_cases(compared)} differ, and "
                    "another check failed."
                ),
            )
            meaning = "The port cannot be trusted until the failed check is explained."
    elif run.status == "unjudged":
        sentence = (Piece("The gate could not be judged."),)
        meaning = "This run says nothing for the port, and nothing against it."
        if divergent:
            meaning = f"Even so, {divergent:,} of {_cases(compared)} that were compared differ."
        elif compared:
            meaning = (
                f"No difference was seen in the {_cases(compared)} that were compared, but that "
                "is not enough to trust the port."
            )
    elif not compared:
        tone = "unjudged"
        sentence = (Piece("Nothing was compared, so nothing is proven."),)
        meaning = "This run says nothing for the port, and nothing against it."
    elif wrong:
        tone = "unjudged"
        sentence = (Piece("The run contradicts itself, so the gate could not be judged."),)
        meaning = "Make the run again before trusting the port."
    elif len(names) == 1:
        sentence = details[0]
        meaning = "In everything compared here, the port can take torch's place."
    else:
        sentence = (
            Piece(
                f"All {len(names):,} implementations are torch, bit for bit: {_cases(compared)} "
                f"at {_capabilities(run.shards)}, 0 differ."
            ),
        )
        meaning = "In everything compared here, each of them can take torch's place."
    mark, word = {
        "holds": ("=", "The gate holds"),
        "diverges": ("≠", "The gate does not hold"),
        "unjudged": ("?", "Not judged"),
    }[tone]
    return Headline(
        tone=tone,
        mark=mark,
        word=word,
        sentence=sentence,
        meaning=meaning,
        details=details if len(names) > 1 and compared else (),
        reasons=tuple(_marked(reason) for reason in reasons),
        facts=(
            Fact(compared, "cases compared"),
            Fact(divergent, "cases differ"),
            Fact(sum(shard.waived for shard in run.shards), "cases waived"),
            Fact(sum(shard.stages for shard in run.shards), "stage comparisons"),
            Fact(sum(shard.elements for shard in run.shards), "numbers compared"),
            Fact(sum(shard.tokens for shard in run.shards), "tokens compared"),
        ),
    )


def _summary(name: str, shards: Sequence[Shard]) -> Sentence:
    mine = [shard for shard in shards if shard.implementation == name]
    compared = sum(shard.compared for shard in mine)
    divergent = sum(shard.divergent for shard in mine)
    if not compared:
        return Piece(name, code=True), Piece(" was not compared at all")
    if not divergent:
        return (
            Piece(name, code=True),
            Piece(f" is torch, bit for bit: {_cases(compared)} at {_capabilities(mine)}, 0 differ"),
        )
    firsts: Counter[str] = Counter()
    for shard in mine:
        for cell in shard.cells:
            firsts[cell.stage] += cell.first
    opening = (
        Piece(name, code=True),
        Piece(f" differs from torch in {divergent:,} of {_cases(compared)}"),
    )
    if not firsts.total():
        return opening
    stage = min(firsts, key=lambda stage: (-firsts[stage], _place(stage)))
    how = "always" if firsts[stage] == divergent else "most often"
    return (*opening, Piece(f"; the first divergent stage is {how} "), Piece(stage, code=True))


def _numbers(shards: Sequence[Shard]) -> Numbers:
    waivers: list[Sentence] = []
    rows = []
    for shard in shards:
        if shard.waived:
            waivers.append(
                (
                    Piece(shard.implementation, code=True),
                    Piece(f" at {shard.capability}, {_cases(shard.waived)} waived: "),
                    *_marked(shard.waiver.strip() or "no reason is given."),
                )
            )
        rows.append(_row(shard, note=len(waivers) if shard.waived else 0))
    threads: Counter[str] = Counter()
    for shard in shards:
        threads.update(shard.threads)
    totals = Row(
        implementation="all",
        capability="",
        source="",
        planned=sum(row.planned for row in rows),
        compared=sum(row.compared for row in rows),
        waived=sum(row.waived for row in rows),
        balanced=all(row.balanced for row in rows),
        note=0,
        stages=sum(row.stages for row in rows),
        elements=sum(row.elements for row in rows),
        tokens=sum(row.tokens for row in rows),
        divergent=sum(row.divergent for row in rows),
        threads=_threads(threads),
    )
    return Numbers(tuple(rows), totals, tuple(waivers))


def _row(shard: Shard, *, note: int) -> Row:
    return Row(
        implementation=shard.implementation,
        capability=shard.capability,
        source="torch, live" if shard.source == "torch" else "torch, recorded",
        planned=shard.planned,
        compared=shard.compared,
        waived=shard.waived,
        balanced=shard.planned == shard.compared + shard.waived,
        note=note,
        stages=shard.stages,
        elements=shard.elements,
        tokens=shard.tokens,
        divergent=shard.divergent,
        threads=_threads(shard.threads),
    )


def _threads(threads: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(threads.items(), key=lambda item: (len(item[0]), item[0])))


def _matrices(
    shards: Sequence[Shard], stages: tuple[str, ...], anchors: dict[tuple[str, str, str], str]
) -> tuple[ImplementationMatrices, ...]:
    found: list[ImplementationMatrices] = []
    for name in _implementations(shards):
        mine = [shard for shard in shards if shard.implementation == name]
        links = {key[1:]: anchor for key, anchor in anchors.items() if key[0] == name}
        at = f"at {mine[0].capability}" if len(mine) == 1 else "over all capabilities"
        number = len(found) + 1
        overall = _matrix(f"matrix-{number}", f"{name} {at}", mine, stages, links)
        breakdown = tuple(
            _matrix(
                f"matrix-{number}-{place}",
                f"{name} at {shard.capability}, against {_row(shard, note=0).source}",
                [shard],
                stages,
                {},
            )
            for place, shard in enumerate(mine if len(mine) > 1 else (), 1)
        )
        found.append(ImplementationMatrices(name, overall, breakdown))
    return tuple(found)


def _matrix(
    anchor: str,
    caption: str,
    shards: Sequence[Shard],
    stages: tuple[str, ...],
    links: dict[tuple[str, str], str],
) -> Matrix:
    cells: dict[tuple[str, str], list[Cell]] = {}
    for shard in shards:
        for cell in shard.cells:
            cells.setdefault((cell.family, cell.stage), []).append(cell)
    families = dict.fromkeys(family for family, _ in cells)
    return Matrix(
        anchor=anchor,
        caption=caption,
        stages=stages,
        rows=tuple(
            MatrixRow(
                family,
                tuple(
                    _tally(cells.get((family, stage), ()), links.get((family, stage), ""))
                    for stage in stages
                ),
            )
            for family in families
        ),
        totals=tuple(
            _tally([cell for key, found in cells.items() if key[1] == stage for cell in found], "")
            for stage in stages
        ),
    )


def _tally(cells: Iterable[Cell], anchor: str) -> Tally:
    found = tuple(cells)
    return Tally(
        compared=sum(cell.compared for cell in found),
        differing=sum(cell.differing for cell in found),
        first=sum(cell.first for cell in found),
        anchor=anchor,
    )


def _divergences(
    shards: Sequence[Shard],
) -> tuple[Divergences, dict[tuple[str, str, str], str]]:
    """Order the divergences; also find the worst one of each implementation, family and stage."""
    stored = sorted(
        ((shard, found) for shard in shards for found in shard.divergences),
        key=lambda pair: _badness(*pair),
    )
    articles: list[Article] = []
    anchors: dict[tuple[str, str, str], str] = {}
    taken: set[str] = set()
    for shard, found in stored[:DETAILED]:
        article = _article(shard, found, taken)
        articles.append(article)
        key = (shard.implementation, found.family, found.divergence.stage)
        anchors.setdefault(key, article.anchor)
    rest: Counter[tuple[str, str, str]] = Counter(
        (shard.implementation, found.divergence.stage, found.divergence.verdict.value)
        for shard, found in stored[DETAILED:]
    )
    for shard in shards:
        unstored = Counter({cell.stage: 0 for cell in shard.cells})
        for cell in shard.cells:
            unstored[cell.stage] += cell.first
        unstored.subtract(found.divergence.stage for found in shard.divergences)
        for stage, cases in unstored.items():
            if cases > 0:
                rest[shard.implementation, stage, ""] += cases
    order = {name: place for place, name in enumerate(_implementations(shards))}
    rows = sorted(rest.items(), key=lambda item: (order[item[0][0]], _place(item[0][1]), item[0]))
    return Divergences(
        total=sum(shard.divergent for shard in shards),
        articles=tuple(articles),
        rest=tuple(RestRow(*key, cases=cases) for key, cases in rows),
    ), anchors


def _badness(shard: Shard, found: FoundDivergence) -> tuple[object, ...]:
    """Earliest stage first; a difference that has no size in ulps is larger than any that has."""
    divergence = found.divergence
    return (
        _place(divergence.stage),
        divergence.ulps is not None,
        -(divergence.ulps or 0),
        -divergence.differing / max(divergence.total, 1),
        shard.implementation,
        shard.capability,
        found.case,
    )


def _article(shard: Shard, found: FoundDivergence, taken: set[str]) -> Article:
    divergence = found.divergence
    evidence = found.evidence or ""
    return Article(
        anchor=_anchor((shard.implementation, shard.capability, found.case), taken),
        case=found.case,
        implementation=shard.implementation,
        capability=shard.capability,
        family=found.family,
        stage=divergence.stage,
        verdict=divergence.verdict.value,
        meaning=VERDICTS.get(divergence.verdict, "not described here"),
        sentences=_sentences(shard.implementation, divergence),
        sides=(
            Side("torch", _cut(divergence.reference)),
            Side(shard.implementation, _cut(divergence.candidate)),
        ),
        parameters=tuple((name, _cut(value)) for name, value in found.parameters.items()),
        evidence=evidence,
        link=_relative_link(evidence),
        replay=found.replay,
    )


def _sentences(name: str, divergence: Divergence) -> tuple[Sentence, ...]:
    candidate = Piece(name, code=True)
    reference, value = _cut(divergence.reference), _cut(divergence.candidate)
    stage = Piece(divergence.stage, code=True)
    first: Sentence
    if divergence.stage == "error":
        first = (Piece(f"torch {reference}; "), candidate, Piece(f" {value}."))
    else:
        where: Sentence
        if not divergence.index:
            where = (Piece("In "), stage)
        elif divergence.stage == "generator":
            where = (Piece(f"At byte {divergence.index[0]} of the state of "), stage)
        else:
            axes = " (row, call)" if divergence.stage == "token" else ""
            where = (Piece(f"At index {list(divergence.index)}{axes} of "), stage)
        ulps = "" if divergence.ulps is None else f", {divergence.ulps:,} ulp apart"
        count = ""
        if divergence.index:
            noun = {"token": "tokens", "generator": "bytes"}.get(divergence.stage, "numbers")
            if divergence.stage.endswith("_mask"):
                noun = "places"
            verb = "differs" if divergence.differing == 1 else "differ"
            count = f"; {divergence.differing:,} of {divergence.total:,} {noun} {verb}"
        first = (
            *where,
            Piece(" torch has "),
            Piece(reference, code=True),
            Piece(", "),
            candidate,
            Piece(" has "),
            Piece(value, code=True),
            Piece(f"{ulps}{count}."),
        )
    causes = tuple(
        (
            Piece("Cause at "),
            Piece(cause.stage, code=True),
            Piece(f", {cause.verdict.value}: {_cut(cause.words)}."),
        )
        for cause in divergence.causes
    )
    if not divergence.also:
        return first, *causes, (Piece("Nothing else that was compared differs."),)
    others: list[Piece] = [Piece("Also different: ")]
    for place, also in enumerate(divergence.also):
        others += [*([Piece(", ")] if place else []), Piece(also, code=True)]
    return first, *causes, (*others, Piece("."))


def _anchor(names: Iterable[str], taken: set[str]) -> str:
    """Make an id that needs no escaping, and is unique among ``taken``."""
    slug = "-".join(
        "".join(c if c.isascii() and (c.isalnum() or c in "_.@") else "-" for c in name)
        for name in names
    )[:LONGEST]
    stem = anchor = f"case-{slug}"
    number = 1
    while anchor in taken:
        number += 1
        anchor = f"{stem}-{number}"
    taken.add(anchor)
    return anchor


def _relative_link(path: str) -> str:
    """Quote a path below the run's folder; a colon is quoted too, so that no scheme is left."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or ".." in parts:
        return ""
    return quote(path)


def _marked(sentence: str) -> Sentence:
    """Set what stands between backticks as code."""
    pieces = _cut(sentence).split("`")
    if len(pieces) % 2 == 0:
        return (Piece(_cut(sentence)),)
    return tuple(Piece(text, code=bool(place % 2)) for place, text in enumerate(pieces) if text)


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}… ({len(text) - LONGEST:,} more characters)"


def _place(stage: str) -> tuple[int, str]:
    return _ORDER.get(stage, len(_ORDER)), stage


def _implementations(shards: Sequence[Shard]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(shard.implementation for shard in shards))


def _divergent(name: str, shards: Sequence[Shard]) -> int:
    return sum(shard.divergent for shard in shards if shard.implementation == name)


def _capabilities(shards: Iterable[Shard]) -> str:
    number = len({shard.capability for shard in shards if shard.compared})
    return f"{number:,} {'capability' if number == 1 else 'capabilities'}"


def _cases(number: int) -> str:
    return f"{number:,} {'case' if number == 1 else 'cases'}"


def _started(started: str) -> str:
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        return started
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    moment = moment.astimezone(UTC)
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}, {moment:%H:%M:%S} UTC"


def _duration(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min {rest} s" if hours else f"{minutes} min {rest} s"
