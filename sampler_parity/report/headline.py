"""The verdict, and what the run would have caught.

A report is only as green as its numbers: a run that says it holds, but compared nothing or does
not add up, is shown as one that could not be judged.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sampler_parity.cases.plan import LOOK
from sampler_parity.model.implementation import About
from sampler_parity.model.verdict import SEVERITY, Verdict
from sampler_parity.report.frequencies import caught
from sampler_parity.report.words import (
    Piece,
    Sentence,
    capabilities,
    cases,
    counted,
    implementations,
    marked,
    noun,
    place,
)
from sampler_parity.run.run_file import Run, Shard
from sampler_parity.run.words import installation, left_out
from sampler_parity.statistics.result import Status


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
        catches: what the run would have caught, or that it has not shown it.
        reasons: why the gate does not hold or could not be judged.
        facts: what was compared, in numbers.
    """

    tone: Status
    mark: str
    word: str
    sentence: Sentence
    meaning: str
    details: tuple[Sentence, ...]
    catches: tuple[Sentence, ...]
    reasons: tuple[Sentence, ...]
    facts: tuple[Fact, ...]

    @property
    def title(self) -> str:
        """The sentence without its markup."""
        return "".join(piece.text for piece in self.sentence)


def _fact(value: int, one: str, many: str = "") -> Fact:
    return Fact(value, noun(value, one, many))


MARKS: dict[Status, str] = {"holds": "=", "diverges": "≠", "unjudged": "?"}


def _explained(shards: Sequence[Shard]) -> str:
    """Say which known change explains the semantic divergences, where one does."""
    found = dict.fromkeys(shard.explained.words for shard in shards if shard.explained)
    return " ".join(f"{words[0].upper()}{words[1:]}." for words in found)


def headline(run: Run) -> Headline:
    """Conclude what may be concluded from a run's numbers."""
    shards = run.shards
    compared = sum(shard.compared for shard in shards)
    divergent = sum(shard.divergent for shard in shards)
    wrong = contradictions(run)
    names = implementations(shards)
    summaries = {name: _summary(name, shards, _whom(run)) for name in names}
    details = tuple(
        (*sentence, Piece(f". {_kinds([s for s in shards if s.implementation == name])}".rstrip()))
        for name, sentence in summaries.items()
    )
    tone, word, sentence, meaning = _conclusion(run, wrong, summaries)
    meaning = " ".join(filter(None, (_explained(shards), meaning, *installation(run))))
    return Headline(
        tone=tone,
        mark="~" if tone == "holds" and divergent else MARKS[tone],
        word=word,
        sentence=sentence,
        meaning=meaning,
        details=details if len(names) > 1 and compared else (),
        catches=_catches(run),
        reasons=tuple(marked(reason) for reason in (*run.reasons, *wrong)),
        facts=(
            _fact(compared, "case compared", "cases compared"),
            _fact(divergent, "case differs", "cases differ"),
            _fact(
                sum(shard.not_compared for shard in shards),
                "case not compared",
                "cases not compared",
            ),
            _fact(sum(shard.stages for shard in shards), "stage comparison"),
            _fact(sum(shard.elements for shard in shards), "number compared", "numbers compared"),
            _fact(sum(shard.tokens for shard in shards), "token compared", "tokens compared"),
        ),
    )


def _conclusion(
    run: Run, wrong: tuple[str, ...], summaries: dict[str, Sentence]
) -> tuple[Status, str, Sentence, str]:
    """Give the tone, its word, the verdict and its meaning."""
    compared = sum(shard.compared for shard in run.shards)
    if run.status == "diverges":
        word = "A quick look differs" if run.profile == LOOK else "The gate does not hold"
        word = "A part of a run differs" if run.part else word
        return "diverges", word, *_diverges(run, summaries)
    if run.status == "holds" and compared and not wrong:
        return "holds", *_holds(run, summaries)
    nothing = "This run says nothing for the port, and nothing against it."
    if run.status == "unjudged":
        divergent = sum(shard.divergent for shard in run.shards)
        meaning = nothing
        if divergent:
            meaning = f"Even so, {divergent:,} of {cases(compared)} that were compared differ."
        elif compared:
            meaning = (
                f"No difference was seen in the {cases(compared)} that were compared, but that "
                "is not enough to trust the port."
            )
        sentence = "The gate could not be judged."
    elif run.status == "equal" and run.part and compared and not wrong:
        sentence = f"This is part {run.part.replace('/', ' of ')} of a run: nothing differs in it."
        meaning = (
            f"No difference was seen in {cases(compared)}. All parts together are the gate: "
            "`sampler-parity merge` concludes."
        )
    elif run.status == "equal" and compared and not wrong:
        sentence = "This is a quick look, and not the gate: nothing differs."
        meaning = (
            f"No difference was seen in {cases(compared)}. A quick look plants no fault and counts "
            "no frequency; run the gate before trusting the port."
        )
    elif compared:
        sentence = "The run contradicts itself, so the gate could not be judged."
        meaning = "Make the run again before trusting the port."
    else:
        sentence, meaning = "Nothing was compared, so nothing is proven.", nothing
    return "unjudged", "Not judged", (Piece(sentence),), meaning


def _holds(run: Run, summaries: dict[str, Sentence]) -> tuple[str, Sentence, str]:
    shards = run.shards
    compared = sum(shard.compared for shard in shards)
    divergent = sum(shard.divergent for shard in shards)
    one = [(*sentence, Piece(".")) for sentence in summaries.values()]
    if divergent:
        several = (
            f"{len(one):,} implementations differ from {_whom(run)} in {divergent:,} of "
            f"{cases(compared)}, and every one of those is covered by a waiver."
        )
        return (
            "The gate holds, with waivers",
            one[0] if len(one) == 1 else (Piece(several),),
            "It differs only where somebody has accepted it; the waivers say why.",
        )
    whom = _whom(run)
    torch = all(shard.about.stream == "torch" for shard in shards)
    if len(one) == 1:
        meaning = f"it can take {whom}'s place" if torch else "it is a correct sampler"
        return "The gate holds", one[0], f"In everything compared here, {meaning}."
    meaning = f"each of them can take {whom}'s place" if torch else "each is a correct sampler"
    several = (
        f"All {len(one):,} implementations agree with {whom}: {cases(compared)} at "
        f"{capabilities(shards)}, 0 differ."
    )
    return "The gate holds", (Piece(several),), f"In everything compared here, {meaning}."


def contradictions(run: Run) -> tuple[str, ...]:
    """Where a run's own numbers do not support what it concludes, one sentence each."""
    found = [
        sentence for shard in run.shards for sentence in (*_unplanned(shard), *_miscounted(shard))
    ]
    if run.status == "holds":
        found += _unsupported(run)
    return tuple(found)


def _unplanned(shard: Shard) -> Iterator[str]:
    where = f"{shard.implementation} at {shard.capability}"
    if shard.planned != shard.compared + shard.not_compared:
        yield (
            f"{where}: {shard.planned:,} cases were planned, but {shard.compared:,} were "
            f"compared and {shard.not_compared:,} not compared."
        )
    if shard.not_compared and not shard.reason.strip():
        yield (f"{where}: {cases(shard.not_compared)} not compared without a reason.")


def _miscounted(shard: Shard) -> Iterator[str]:
    where = f"{shard.implementation} at {shard.capability}"
    first = sum(cell.first for cell in shard.cells)
    if first != shard.divergent:
        yield (
            f"{where}: {shard.divergent:,} cases are said to differ, but the stages show "
            f"{first:,} first differences."
        )
    decided: Counter[str] = Counter()
    for cell in shard.cells:
        decided.update(cell.verdicts)
    if decided != Counter(shard.verdicts):
        yield (
            f"{where}: the stages decide {_counts(decided)}, and the run counts "
            f"{_counts(shard.verdicts)}."
        )
    if len(shard.divergences) > shard.divergent:
        yield (
            f"{where}: {shard.divergent:,} cases are said to differ, but "
            f"{len(shard.divergences):,} divergences are listed."
        )
    if not shard.divergent and any(cell.differing for cell in shard.cells):
        yield (f"{where}: no case is said to differ, but the stages show differences.")
    if not shard.divergent and any(first for part in shard.streams for first in part.first):
        yield (f"{where}: no case is said to differ, but long series of calls do.")
    if shard.accepted > shard.divergent:
        yield (
            f"{where}: waivers are said to cover {shard.accepted:,} divergent cases of "
            f"{shard.divergent:,}."
        )


def _counts(verdicts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.items()) or "no verdict"


def _unsupported(run: Run) -> list[str]:
    found = []
    open_cases = sum(shard.divergent - shard.accepted for shard in run.shards)
    if open_cases > 0:
        found.append(f"The run says that the gate holds, but {cases(open_cases)} differ.")
    if sum(shard.accepted for shard in run.shards) > sum(entry.cases for entry in run.waivers):
        found.append("Divergent cases are said to be covered by waivers that are not listed.")
    if run.reasons:
        found.append("The run says that the gate holds, and gives reasons why it does not.")
    found += [
        f"The run says that the gate holds, but the frequencies of {result.candidate} do not."
        for result in run.statistics
        if result.status != "holds"
    ]
    survivors = [fault.name for fault in run.planted if not fault.killed]
    survivors += [engine.name for engine in run.engine_faults if not engine.killed]
    if survivors:
        found.append(
            f"The run says that the gate holds, but it missed planted faults: {survivors}."
        )
    found += [
        f"{name}: nothing was compared."
        for name in implementations(run.shards)
        if not any(shard.compared for shard in run.shards if shard.implementation == name)
    ]
    return found


def _diverges(run: Run, summaries: dict[str, Sentence]) -> tuple[Sentence, str]:
    compared = sum(shard.compared for shard in run.shards)
    divergent = sum(shard.divergent for shard in run.shards)
    differing = [
        name
        for name in summaries
        if any(shard.divergent for shard in run.shards if shard.implementation == name)
    ]
    meaning = f"It cannot be trusted to give {_whom(run)}'s tokens."
    if len(differing) == 1:
        if all(shard.divergent <= shard.accepted for shard in run.shards):
            meaning = "Every divergence is covered by a waiver, but a waiver fails: see why."
        # Where there are several implementations, each has its own sentence with its kinds.
        kinds = _kinds(run.shards) if len(summaries) == 1 else ""
        return (*summaries[differing[0]], Piece(".")), f"{meaning} {kinds}".strip()
    if differing:
        sentence = (
            f"{len(differing):,} of {len(summaries):,} implementations differ from {_whom(run)}, "
            f"in {divergent:,} of {cases(compared)}."
        )
        return (Piece(sentence),), meaning.replace("It", "They", 1)
    sentence = (
        f"The gate does not hold: {divergent:,} of {cases(compared)} differ, and another check "
        "failed."
    )
    return (
        (Piece(sentence),),
        "The port cannot be trusted until the failed check is explained.",
    )


def _whom(run: Run) -> str:
    """Name what candidates were held against."""
    return run.reference or "torch"


def _summary(name: str, shards: Sequence[Shard], whom: str) -> Sentence:
    mine = [shard for shard in shards if shard.implementation == name]
    compared = sum(shard.compared for shard in mine)
    divergent = sum(shard.divergent for shard in mine)
    if not compared:
        return Piece(name, code=True), Piece(" was not compared at all")
    if not divergent:
        return (
            Piece(name, code=True),
            Piece(
                f" {_equal(mine[0].about, whom)}: {cases(compared)} at {capabilities(mine)}, "
                "0 differ"
            ),
        )
    firsts: Counter[str] = Counter()
    for shard in mine:
        for cell in shard.cells:
            firsts[cell.stage] += cell.first
    accepted = sum(shard.accepted for shard in mine)
    covered = ""
    if accepted:
        every = "all" if accepted == divergent else f"{accepted:,}"
        covered = f", {every} of them covered by waivers"
    opening = (
        Piece(name, code=True),
        Piece(
            f" differs from {whom} in {divergent:,} of {cases(compared)} at {capabilities(mine)}"
            f"{covered}"
        ),
    )
    if not firsts.total():
        return opening
    stage = min(firsts, key=lambda stage: (-firsts[stage], place(stage)))
    how = "always" if firsts[stage] == divergent else "most often"
    return (*opening, Piece(f"; the first divergent stage is {how} "), Piece(stage, code=True))


def _kinds(shards: Sequence[Shard]) -> str:
    """Count the verdicts, the gravest first: ``Cases by verdict: 12 semantic, 3 rounding.``."""
    verdicts: Counter[str] = Counter()
    for shard in shards:
        verdicts.update(shard.verdicts)
    ordered = sorted(
        verdicts.items(), key=lambda item: -SEVERITY.get(Verdict(item[0]), len(SEVERITY))
    )
    if not ordered:
        return ""
    kinds = ", ".join(f"{count:,} {verdict.replace('_', ' ')}" for verdict, count in ordered)
    return f"Cases by verdict: {kinds}."


def _equal(about: About, whom: str) -> str:
    """What equality in everything that it shows amounts to."""
    if about.stream == "own":
        if about.view == "tokens":
            return f"drew only tokens that {whom} could draw"
        return f"gives {whom}'s distribution, bit for bit, with a generator of its own"
    return {
        "trace": f"is {whom}, bit for bit",
        "probs": f"gives {whom}'s distribution and tokens, bit for bit",
        "tokens": f"draws {whom}'s tokens",
    }[about.view]


MISSED = 0.001
"""The probability at which the smallest fault that a run would have missed is stated."""


def _catches(run: Run) -> tuple[Sentence, ...]:
    if not run.shards:
        return ()
    if not run.planted:
        none = "No fault was planted: this run has not shown that it would catch one."
        return ((Piece(none),), *((Piece(f"{words}."),) for words in left_out(run)))
    killed = sum(fault.killed for fault in run.planted)
    sentence = (
        f"It caught {killed:,} of {counted(len(run.planted), 'planted fault')}, each at its stage "
        "and with its verdict"
    )
    if run.correct:
        passed = sum(sampler.passed for sampler in run.correct)
        sentence += (
            f", and took {passed:,} of {counted(len(run.correct), 'correct sampler')} for correct"
        )
    found: list[Sentence] = [(Piece(f"{sentence}."),)]
    # The same cases are compared at each capability: they count once.
    distinct = min(
        max(s.compared for s in run.shards if s.implementation == name)
        for name in implementations(run.shards)
    )
    if distinct:
        # A fault that shows in a share q of the cases is missed with probability (1 - q)^n.
        share = 1 - MISSED ** (1 / distinct)
        words = (
            f"A fault that shows in one of {max(int(1 / share), 1):,} such cases would have been "
            f"missed with a probability of {MISSED}."
        )
        found.append((Piece(words),))
    if by_frequencies := caught(run):
        found.append((Piece(by_frequencies),))
    return tuple(found)
