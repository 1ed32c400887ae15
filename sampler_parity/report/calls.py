"""The page of ``sampler-parity calls``: a result laid out as one self-contained HTML page."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sampler_parity.engines.findings import KINDS, Attribution, Finding, Kind, Recorded, Step, Use
from sampler_parity.engines.in_full import Evidence, Passed, Token, Weighed
from sampler_parity.engines.words import place, sentence_of
from sampler_parity.model.files import write_atomically
from sampler_parity.report import REPORT_NAME, page
from sampler_parity.report.calls_timeline import Timeline, timeline
from sampler_parity.report.words import cut, noun

MEANINGS: dict[Kind, str] = {
    "loop": "which calls there are, what ends a phase, what is fed to the model",
    "sampler": "which function is called",
    "parameters": "what it is called with",
    "vocabulary": "which logits it is given: the slice, and what is masked with -inf",
    "stream": "which random numbers it draws from",
    "logits": "the values of the logits",
    "arithmetic": "what the sampler makes of its own inputs",
    "consequence": "what follows from the findings before it",
}
"""Each kind in one line, in the order of the words of ``docs/engines.md``."""

MARKS = {"holds": "=", "diverges": "≠", "unjudged": "?"}

_WORDS = {
    True: {"holds": "Nothing differs", "diverges": "The engines differ", "unjudged": "Not judged"},
    False: {
        "holds": "The recording holds",
        "diverges": "The recording does not hold",
        "unjudged": "Not judged",
    },
}

NOTHING = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Cell:
    """A text, and whether the other side has another one."""

    text: str
    differs: bool = False


@dataclass(frozen=True, slots=True)
class UseRow:
    """What one side calls in a phase."""

    side: str
    calls: Cell
    sampler: Cell
    parameters: tuple[Cell, ...]
    vocabulary: Cell
    source: Cell
    site: str


@dataclass(frozen=True, slots=True)
class PhaseView:
    """What is called in a phase.

    Attributes:
        name: the phase's name.
        differs: whether the sides call something else in it.
        rows: one for each combination of a side.
    """

    name: str
    differs: bool
    rows: tuple[UseRow, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A property of a call: its name, and what each side has."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """One token on one side, in words."""

    rank: str
    logit: Cell
    before: str
    probability: Cell
    decided: Cell
    drawn: bool


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One token on each side; ``None`` where a side has no such logit."""

    token: int
    sides: tuple[Decision | None, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """A command that replays a call, and what it shows; or why there is none."""

    side: str
    command: str
    words: str


@dataclass(frozen=True, slots=True)
class InFull:
    """The first call of a finding.

    Attributes:
        sides: the sides that have it.
        lines: what each side passed, and got.
        tokens: those that matter.
        row: which row of the batch; ``None`` where there is one.
        variation: between both laws; empty where that is not known.
        replays: the commands.
    """

    sides: tuple[str, ...]
    lines: tuple[Line, ...]
    tokens: tuple[TokenRow, ...]
    row: int | None
    variation: str
    replays: tuple[Replay, ...]


@dataclass(frozen=True, slots=True)
class FindingView:
    """A finding.

    Attributes:
        anchor: its id.
        finding: what the result has of it.
        words: what it is, in a sentence.
        place: where it is first.
        variation: what it alone moves the law by.
        token: what it alone does to the token.
        repaired: whether anything else differs at this call with it put right.
        first: whether it is the first of its kind, and no consequence.
        full: its first call.
    """

    anchor: str
    finding: Finding
    words: str
    place: str
    variation: str
    token: str
    repaired: str
    first: bool
    full: InFull | None


@dataclass(frozen=True, slots=True)
class CallsReport:
    """The whole page, from top to bottom."""

    status: str
    mark: str
    word: str
    pair: bool
    sentence: str
    more: str
    facts: tuple[tuple[str, int], ...]
    recordings: tuple[Recorded, ...]
    phases: tuple[PhaseView, ...]
    timeline: Timeline | None
    legend: tuple[tuple[Kind, str, int], ...]
    findings: tuple[FindingView, ...]
    frequencies: tuple[str, ...]
    not_compared: tuple[tuple[str, int], ...]
    planned: int
    compared: int
    contract: str
    seed: int | None
    command: str


def write_calls_report(found: Attribution, folder: Path) -> Path:
    """Write a result's page atomically, making the folder if needed.

    Args:
        found: the result.
        folder: the folder of ``calls.json``, to which the cases of its evidence are relative.

    Returns:
        The page's path, ``index.html`` in ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / REPORT_NAME
    text = page("calls.html.j2", report=build(found, folder))
    write_atomically(path, text.encode("utf-8", "backslashreplace"))
    return path


def build(found: Attribution, folder: Path) -> CallsReport:
    """Work out everything the page says."""
    pair = len(found.recordings) > 1
    generations = max((one.generations for one in found.recordings), default=0)
    sentence, more = _first_sentence(found, generations)
    own = [one for one in found.findings if one.kind != "consequence"]
    left_out = found.planned - found.compared
    facts = [
        (f"{noun(found.planned, 'call')} planned", found.planned),
        (f"{noun(found.compared, 'call')} {'compared' if pair else 'judged'}", found.compared),
        (f"{noun(left_out, 'call')} left out", left_out),
        (noun(len(own), "finding"), len(own)),
    ]
    return CallsReport(
        status=found.status,
        mark=MARKS[found.status],
        word=_WORDS[pair][found.status],
        pair=pair,
        sentence=sentence,
        more=more,
        facts=tuple(facts),
        recordings=found.recordings,
        phases=tuple(_phases(found.uses)),
        timeline=timeline(_marked(found), pair=pair),
        legend=tuple(_legend(found)),
        findings=tuple(_findings(found, generations, folder)),
        frequencies=found.frequencies,
        not_compared=tuple((one.reason, one.calls) for one in found.not_compared),
        planned=found.planned,
        compared=found.compared,
        contract=found.contract,
        seed=found.seed,
        command=_command(found, folder),
    )


def _marked(found: Attribution) -> tuple[Step, ...]:
    """Give the timeline with every finding at its first place: what is fed lies after a call."""
    kinds: dict[tuple[int, str, int], list[Kind]] = {}
    for one in found.findings:
        kinds.setdefault((one.generation, one.phase, one.call), []).append(one.kind)
    return tuple(
        msgspec.structs.replace(
            step, kinds=tuple(dict.fromkeys((*step.kinds, *kinds.get(key, ()))))
        )
        if key in kinds
        else step
        for step in found.timeline
        for key in [(step.generation, step.phase, step.call)]
    )


def _first_sentence(found: Attribution, generations: int) -> tuple[str, str]:
    """Part what is said of the first finding from what follows."""
    own = next((one for one in found.findings if one.kind != "consequence"), None)
    if own is None:
        return found.sentence, ""
    told = sentence_of(own, generations)
    first = f"{told[:1].upper()}{told[1:]}; nothing before it differs."
    if not found.sentence.startswith(first):
        return found.sentence, ""
    return first, found.sentence[len(first) :].strip()


def _command(found: Attribution, folder: Path) -> str:
    words = ["sampler-parity", "calls", *(one.path for one in found.recordings)]
    words += ["--contract", found.contract] if found.contract else []
    words += ["--seed", str(found.seed)] if found.seed is not None else []
    return shlex.join([*words, "--out", str(folder)])


def _legend(found: Attribution) -> Iterator[tuple[Kind, str, int]]:
    """Give each kind that there is, what it means, and how often it was found."""
    for kind in KINDS:
        count = sum(one.kind == kind for one in found.findings)
        if count:
            yield kind, MEANINGS[kind], count


# ---- phases


def _phases(uses: Sequence[Use]) -> Iterator[PhaseView]:
    sides = {use.side for use in uses}
    for name in dict.fromkeys(use.phase for use in uses):
        mine = [use for use in uses if use.phase == name]
        of = {side: [use for use in mine if use.side == side] for side in sides}
        rows = tuple(
            _use(use, of[use.side], [one for one in mine if one.side != use.side]) for use in mine
        )
        marked = any(
            cell.differs
            for row in rows
            for cell in (row.calls, row.sampler, *row.parameters, row.vocabulary, row.source)
        )
        alone = len(sides) > 1 and len({use.side for use in mine}) == 1
        yield PhaseView(name, marked or alone, rows)


def _use(use: Use, own: Sequence[Use], others: Sequence[Use]) -> UseRow:
    """Lay a use out; what no use of the other side has in this phase is marked.

    The number of calls is marked where both sides' calls of the phase are not as many.
    """
    total = sum(one.calls for one in own)

    def cell(get: Callable[[Use], str]) -> Cell:
        return Cell(cut(get(use)), bool(others) and get(use) not in {get(one) for one in others})

    def parameter(name: str) -> Cell:
        told = f"{name}={use.parameters[name]!r}"
        alike = [one for one in others if one.sampler == use.sampler]
        known = {f"{name}={one.parameters[name]!r}" for one in alike if name in one.parameters}
        return Cell(cut(told), bool(alike) and told not in known)

    return UseRow(
        side=use.side,
        calls=Cell(f"{use.calls:,}", bool(others) and total != sum(o.calls for o in others)),
        sampler=cell(lambda one: one.sampler),
        parameters=tuple(parameter(name) for name in use.parameters),
        vocabulary=cell(lambda one: one.vocabulary),
        source=cell(lambda one: one.source),
        site=cut(_short(use.site)),
    )


def _short(site: str) -> str:
    """Give a place in the engine's sources with the last two parts of its path."""
    path, line, rest = site.partition(":")
    return "/".join(path.replace("\\", "/").split("/")[-2:]) + line + rest


# ---- findings


def _findings(found: Attribution, generations: int, folder: Path) -> Iterator[FindingView]:
    full = {one.finding: one for one in found.evidence}
    kinds: set[Kind] = set()
    for number, finding in enumerate(found.findings):
        alone = finding.alone
        shown = full.get(number)
        variation = alone.variation if alone is not None else None
        flips = alone.flips if alone is not None else None
        repairs = alone.repairs if alone is not None else None
        yield FindingView(
            anchor=f"finding-{number + 1}",
            finding=finding,
            words=cut(f"{finding.words[:1].upper()}{finding.words[1:]}."),
            place=place(finding, generations),
            variation=NOTHING if variation is None else f"{variation:.3g}",
            token={True: "flips it", False: "leaves it", None: NOTHING}[flips],
            repaired={True: "nothing else", False: "something else", None: NOTHING}[repairs],
            first=finding.kind not in kinds and finding.kind != "consequence",
            full=None if shown is None or not shown.sides else _in_full(shown, folder),
        )
        kinds.add(finding.kind)


def _in_full(shown: Evidence, folder: Path) -> InFull:
    sides = tuple(one.side for one in shown.sides)
    rows = {one.row for one in shown.sides}
    several = any(row for row in rows)
    return InFull(
        sides=sides,
        lines=tuple(_lines(shown.sides)),
        tokens=tuple(_token(token, sides) for token in shown.tokens),
        row=max(rows) if several else None,
        variation="" if shown.variation is None else f"{shown.variation:.6g}",
        replays=tuple(
            Replay(
                one.side,
                shlex.join(["sampler-parity", "explain", str(folder / one.case)])
                if one.case
                else "",
                cut(one.replay),
            )
            for one in shown.sides
        ),
    )


def _lines(sides: Sequence[Passed]) -> Iterator[Line]:
    """Give what the sides have, property by property; what nobody has is left out."""

    def line(name: str, get: Callable[[Passed], str], *, mark: bool = True) -> Iterator[Line]:
        told = [cut(get(one)) for one in sides]
        if any(told):
            differs = mark and len(set(told)) > 1
            yield Line(name, tuple(Cell(text or NOTHING, differs) for text in told))

    def number(value: int | None) -> str:
        return "" if value is None else f"{value:,}"

    yield from line("call of the generation", lambda one: f"{one.call:,}", mark=False)
    yield from line("where", lambda one: one.site, mark=False)
    yield from line("fed to the model before", lambda one: one.fed_before)
    yield from line("sampler", lambda one: one.code)
    yield from line("logits", lambda one: one.vocabulary)
    yield from line("of them -inf", lambda one: number(one.masked))
    yield from line("random numbers", lambda one: one.random)
    yield from line("its generator", lambda one: one.entry)
    yield from line("uniform drawn", lambda one: one.uniform)
    yield from line("32-bit outputs taken", lambda one: number(one.took))
    yield from line("tokens that truncation leaves", lambda one: number(one.kept))
    yield from line("token drawn", lambda one: ", then again: ".join(one.drawn))
    yield from line("token of the reference", lambda one: one.reference)
    yield from line("raised", lambda one: one.error)
    yield from line("went on with", lambda one: one.went_on_with, mark=False)
    yield from line("fed to the model after", lambda one: one.fed_after)


def _token(token: Token, sides: Sequence[str]) -> TokenRow:
    both = {"A": token.a, "B": token.b}
    have = [both[side] for side in sides]
    return TokenRow(token.token, tuple(_decision(one, have) for one in have))


def _decision(one: Weighed | None, have: Sequence[Weighed | None]) -> Decision | None:
    if one is None:
        return None
    others = [other for other in have if other is not None and other is not one]

    def cell(get: Callable[[Weighed], str]) -> Cell:
        return Cell(get(one), any(get(other) != get(one) for other in others))

    return Decision(
        rank=f"{one.rank:,}",
        logit=cell(lambda side: side.logit),
        before="" if one.before is None else f"{one.before:.7g}",
        probability=cell(
            lambda side: NOTHING if side.probability is None else f"{side.probability:.6g}"
        ),
        decided=cell(lambda side: {True: "keeps", False: "drops", None: NOTHING}[side.kept]),
        drawn=one.drawn,
    )
