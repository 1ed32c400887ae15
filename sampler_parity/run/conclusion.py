"""Whether the gate holds: what a run found, against what the gate asks for."""

from collections.abc import Iterable

from sampler_parity.cases.families import FAMILIES
from sampler_parity.cases.plan import LOOK
from sampler_parity.model.case import CAPABILITIES
from sampler_parity.model.verdict import Verdict
from sampler_parity.run.gathering import Found
from sampler_parity.run.lacking import counts_frequencies, unjudged
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import RunStatus, Shard
from sampler_parity.run.waivers import problems
from sampler_parity.run.words import differences
from sampler_parity.statistics.result import StatisticsResult


def conclude(request: Request, found: Found) -> tuple[RunStatus, tuple[str, ...]]:
    """Conclude: a divergence outweighs everything, and nothing missing passes.

    Where nothing differs in a quick look, or in a part of a run, it is ``equal``, which is never
    ``holds``.

    An answer of a wrong form is no divergence: it could not be compared.
    """
    divergences = [*differences([s for s in found.shards if s.divergent - _unfit(s) > s.accepted])]
    divergences += [
        _frequencies_differ(result) for result in found.statistics if result.status == "diverges"
    ]
    # Another part may have what a waiver covers, or what a run needs beside comparisons.
    in_part = request.part is not None
    divergences += [] if in_part else problems(found.waivers)
    if divergences:
        return "diverges", tuple(divergences)
    reasons = (
        *(() if request.profile == LOOK else _deselected(request)),
        *_misshapen(found.shards),
        *_missing(found.shards),
        *(() if in_part else _survivors(request, found)),
        *(() if in_part else _uncounted(request, found)),
    )
    if reasons:
        return "unjudged", reasons
    return ("equal" if request.profile == LOOK or in_part else "holds"), ()


def _frequencies_differ(result: StatisticsResult) -> str:
    first, *others = result.reasons
    more = f"; so do {len(others)} other tests" if others else ""
    return f"the frequencies of {result.candidate} are not the reference's: {first}{more}"


def _unfit(shard: Shard) -> int:
    return shard.verdicts.get(Verdict.UNFIT, 0)


def _misshapen(shards: tuple[Shard, ...]) -> Iterable[str]:
    for shard in shards:
        first = next(
            (one for one in shard.divergences if one.divergence.verdict is Verdict.UNFIT), None
        )
        if first is not None:
            yield (
                f"{_unfit(shard):,} answers of {shard.implementation} at capability "
                f"{shard.capability} could not be compared, the first to {first.case}: "
                f"{first.divergence.candidate}"
            )


def _deselected(request: Request) -> Iterable[str]:
    for name, wanted, given in (
        ("capability", CAPABILITIES, request.capabilities),
        ("family", tuple(FAMILIES), request.families),
    ):
        missing = [value for value in wanted if value not in given]
        if missing:
            yield (
                f"{name} deselected: {', '.join(missing)}; the gate needs all of them, "
                f"run it without --{name}"
            )


def _missing(shards: tuple[Shard, ...]) -> Iterable[str]:
    for shard in shards:
        if shard.compared + shard.not_compared != shard.planned:
            yield (
                f"{shard.implementation} at capability {shard.capability}: {shard.planned:,} cases "
                f"planned, {shard.compared:,} compared and {shard.not_compared:,} not compared"
            )
        if not shard.live and not shard.compared:
            yield f"no recorded trace was compared at capability {shard.capability}"
    for implementation in dict.fromkeys(shard.implementation for shard in shards):
        live = [s for s in shards if s.implementation == implementation and s.live]
        if not any(shard.compared for shard in live):
            yield f"nothing was compared with torch for {implementation}"
    if not shards:
        yield "nothing was compared: name an implementation, and a capability compared here"


def _survivors(request: Request, found: Found) -> Iterable[str]:
    """A gate that misses a fault, or calls a correct sampler wrong, cannot be believed."""
    if not request.whole:
        return
    if not found.planted or not found.correct:
        yield "no fault was planted: the run has not shown that it can fail"
    for fault in found.planted:
        if not fault.killed:
            yield f"the gate missed a planted fault: {fault.words}"
    if not found.engine_faults and not request.reference and counts_frequencies():
        yield "no fault was planted in an engine: the run has not shown that it would name one"
    for engine in found.engine_faults:
        if not engine.killed:
            yield f"the comparison of recordings missed a planted fault: {engine.told}"
    for sampler in found.correct:
        if not sampler.passed:
            verdicts = ", ".join(f"{n:,} {verdict}" for verdict, n in sampler.verdicts.items())
            got = verdicts or "nothing"
            yield f"the gate misjudged a correct sampler: {sampler.name} got {got}"


def _uncounted(request: Request, found: Found) -> Iterable[str]:
    if request.whole and not counts_frequencies():
        yield from unjudged(found)
    elif request.whole and len(found.statistics) < len(request.implementations):
        yield "the frequencies of an implementation were not counted"
    for result in found.statistics:
        for reason in result.reasons:
            yield f"the frequencies of {result.candidate} could not be judged: {reason}"
