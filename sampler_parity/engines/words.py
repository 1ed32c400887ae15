"""What a comparison concludes, in sentences."""

from collections.abc import Iterator, Sequence

import msgspec

from sampler_parity.engines.contract import NONE, Contract, shown
from sampler_parity.engines.findings import Attribution, Finding, Recorded, Status, Step, Use
from sampler_parity.engines.known import sampler_of, telling
from sampler_parity.engines.ledger import Ledger
from sampler_parity.engines.recording import Call
from sampler_parity.engines.sides import Side

OTHER_DRAWS = "other draws"
"""A call that leaves its generator elsewhere than the reference, and gives the same token."""

PHASE, CALL = "reseeded phase", "reseeded call"
"""A generator that is made anew at the first call of a phase, and at another one."""

TOLD = 6
"""How many findings the sentence tells; the others are in the list."""


def conclusion(
    ledger: Ledger,
    sides: Sequence[Side],
    *,
    timeline: tuple[Step, ...] = (),
    planned: int,
    compared: int,
    contract: Contract = NONE,
    frequencies: tuple[str, ...] = (),
    seed: int | None = None,
) -> Attribution:
    """Give the whole of it."""
    findings = _draws_of_another(_each_call(ledger.findings(len(timeline) or compared)))
    own = [one for one in findings if one.kind != "consequence"]
    broken = [side.recording.ending.words for side in sides if not side.whole]
    status: Status = "holds"
    if own:
        status = "diverges"
    elif broken or not compared:
        status = "unjudged"
    return Attribution(
        status=status,
        sentence=_sentence(own, findings, sides, broken, compared),
        findings=findings,
        recordings=tuple(_recorded(side) for side in sides),
        uses=tuple(use for side in sides for use in uses(side)),
        timeline=timeline,
        planned=planned,
        compared=compared,
        not_compared=ledger.not_compared(),
        frequencies=frequencies,
        contract=contract.name,
        seed=seed,
    )


def _draws_of_another(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Make a sampler that draws otherwise one finding, where it gives other tokens as well."""
    for draws in (one for one in findings if one.what == OTHER_DRAWS):
        kind = [one for one in findings if one.kind == "arithmetic" and one.side == draws.side]
        if not kind:
            continue
        first, other = sorted((draws, kind[0]), key=findings.index)
        words = kind[0].words if first is kind[0] else f"{draws.words}, and {kind[0].words[2:]}"
        place = {name: getattr(first, name) for name in ("generation", "phase", "call", "site")}
        times = draws.times + kind[0].times
        one = msgspec.structs.replace(kind[0], words=words, times=times, **place)
        findings = tuple(one if f is first else f for f in findings if f is not other)
    return findings


def _each_call(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Make one finding of generators that are made anew at a phase's first call and at others."""
    each = next((one for one in findings if one.what == CALL), None)
    first = next((one for one in findings if one.what == PHASE), None)
    if each is None:
        return findings
    start = first if first is not None and first.phase == each.phase else each
    words = each.words.replace("for this call", "for every call")
    times = each.times + (first.times if start is first and first is not None else 0)
    one = msgspec.structs.replace(start, what=CALL, words=words, times=times)
    return tuple(one if f is start else f for f in findings if f is start or f is not each)


def place(finding: Finding, generations: int = 1) -> str:
    """Say where a finding first is."""
    of = f" of generation {finding.generation}" if generations > 1 else ""
    phase = f" of the {finding.phase} phase" if finding.phase else ""
    return f"call {finding.call}{phase}{of}"


def sentence_of(finding: Finding, generations: int = 1) -> str:
    """Tell where a finding is first, and what it is, without a full stop."""
    often = f" ({finding.times:,} of {finding.of:,} calls)" if finding.times > 1 else ""
    comma = "," if generations > 1 else ""
    return f"at {place(finding, generations)}{comma} {finding.words}{often}"


def _alone(finding: Finding) -> str:
    words = finding.alone.words() if finding.alone is not None else ""
    return f" {_capital(words)}." if words else ""


def _sentence(
    own: list[Finding],
    findings: tuple[Finding, ...],
    sides: Sequence[Side],
    broken: list[str],
    compared: int,
) -> str:
    generations = max((len(side.generations) for side in sides), default=0)
    told = []
    if own:
        leads = ["", "With that put right, the next difference is: ", *["Then: "] * len(own)]
        for lead, one in zip(leads, own[:TOLD], strict=False):
            words = lead + sentence_of(one, generations)
            before = "" if lead else "; nothing before it differs"
            told.append(f"{_capital(words)}{before}.{_alone(one)}")
        if len(own) > TOLD:
            told.append(f"{len(own) - TOLD} more are listed.")
        follows = [one for one in findings if one.kind == "consequence"]
        if follows:
            told.append(
                f"What else differs from {place(follows[0], generations)} on follows from that: "
                "force one engine to the other's tokens to tell more of the calls after it."
            )
    elif compared and not broken:
        told.append(_equal(sides, compared, generations))
    if broken:
        prefix = "Nothing differs in what could be read. " if not own and compared else ""
        told.append(prefix + " ".join(f"{_capital(words)}." for words in broken if words))
    if not compared:
        told.append("No call was compared.")
    return " ".join(told)


def _equal(sides: Sequence[Side], compared: int, generations: int) -> str:
    over = f"{generations} generation{'s' * (generations != 1)}"
    if len(sides) == 1:
        return f"Each of {compared:,} calls of {over} is what it has to be."
    return (
        f"A and B are equal at each of {compared // 2:,} calls of {over}: sampler, parameters, "
        "vocabulary, logits, random numbers and tokens."
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _recorded(side: Side) -> Recorded:
    header = side.recording.header
    return Recorded(
        side=side.name,
        path=str(side.recording.path),
        engine=f"{header.engine} {header.engine_version}".strip(),
        calls=len(side.recording.calls),
        generations=len(side.generations),
        ending=side.recording.ending.words,
    )


def uses(side: Side) -> Iterator[Use]:
    """Give what a side calls in each phase, every combination once, with its number of calls."""
    found: dict[tuple[str, str, str, str], tuple[Call, int]] = {}
    last: Call | None = None
    for call in side.recording.calls:
        source = call.random.source if call.random is not None else "not recorded"
        if last is None or not _as_shown(call, last):
            words = shown(call)
        last = call
        key = (call.phase, words, vocabulary(call), source)
        first, count = found.get(key, (call, 0))
        found[key] = (first, count + 1)
    for (phase, _, passed, source), (call, count) in found.items():
        yield Use(
            phase=phase,
            side=side.name,
            calls=count,
            sampler=sampler_of(call),
            parameters=dict(telling(call)),
            vocabulary=passed,
            source=source,
            site=call.site,
        )


def _as_shown(one: Call, other: Call) -> bool:
    """Whether two calls are written alike; the reader keeps equal parameters as one object."""
    return one.sampler == other.sampler and one.parameters is other.parameters


def vocabulary(call: Call) -> str:
    """Say which logits a call passes."""
    cut = "" if call.slice is None else f" [{call.slice[0]}:{call.slice[1]}]"
    of = "" if call.vocabulary is None else f" of {call.vocabulary:,}"
    rows = f"{call.shape[0]} rows of " if len(call.shape) > 1 and call.shape[0] > 1 else ""
    return f"{rows}{call.shape[-1]:,} logits{cut}{of}, {call.dtype}"
