"""A run in the terminal."""

from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sampler_parity.cases.plan import LOOK
from sampler_parity.report.order import DivergentCase, in_order
from sampler_parity.run.proved import unproved
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import Run
from sampler_parity.run.words import SHORT, failed_again, installation, left_out, not_compared
from sampler_parity.statistics.words import summary as summary_of_frequencies

SHOWN = 5
"""Divergences of an implementation that are shown, what matters first; the report has others."""

SENTENCES = {
    "holds": "the gate holds: no bit, token, error or effect differs",
    "equal": "a quick look, not the gate: nothing differs",
    "diverges": "the gate found a divergence",
    "unjudged": "the gate could not be judged",
}


def conclusion(run: Run) -> str:
    """Give a run's result in one sentence."""
    accepted = sum(shard.accepted for shard in run.shards)
    if run.status == "holds" and accepted:
        return f"the gate holds: {accepted:,} divergent cases are waived, nothing else differs"
    if run.part:
        part = f"part {run.part.replace('/', ' of ')}, not the gate"
        if run.status != "unjudged":
            found = "it found a divergence" if run.status == "diverges" else "nothing differs in it"
            return f"{part}: {found}; `sampler-parity merge` puts all parts together"
        return f"{part}: it could not be judged"
    if run.profile == LOOK and run.status == "diverges":
        return "a quick look, not the gate: it found a divergence"
    return SENTENCES[run.status]


def before(request: Request) -> str:
    """Say which cases come first."""
    if not request.failed:
        return "nothing diverged in the stored run: the cases come in their usual order"
    first, others = len(request.first), len(request.failed) - len(request.first)
    words = "comes 1 case" if first == 1 else f"come {first:,} cases"
    more = "1 other is" if others == 1 else f"{others:,} others are"
    ending = f"; {more} not in this run" if others else ""
    return f"first {words} that diverged in the stored run{ending}"


def summarise(run: Run, out: Console) -> None:
    """Print the counts, the first divergences, what was planted, and the conclusion."""
    table = Table(box=None, pad_edge=False)
    for name in ("implementation", "capability", "against"):
        table.add_column(name)
    for name in ("cases compared", "tokens", "differ"):
        table.add_column(name, justify="right")
    for shard in run.shards:
        table.add_row(
            escape(shard.implementation),
            escape(shard.capability),
            SHORT[shard.source],
            f"{shard.compared:,} of {shard.planned:,}",
            f"{shard.tokens:,}",
            f"{shard.divergent:,}",
            style="red" if shard.divergent > shard.accepted else None,
        )
    out.print(table)
    for words in (*installation(run), *not_compared(run.shards)):
        out.print(escape(words), soft_wrap=True)
    _divergences(run, out)
    if run.planted:
        killed = sum(fault.killed for fault in run.planted)
        out.print(f"{killed} of {len(run.planted)} planted faults caught")
    if run.engine_faults:
        named = sum(fault.killed for fault in run.engine_faults)
        out.print(f"{named} of {len(run.engine_faults)} engines told apart by their recordings")
    for counted in run.statistics:
        for line in summary_of_frequencies(counted):
            out.print(escape(line), soft_wrap=True)
    print_conclusion(run, out)


def print_conclusion(run: Run, out: Console) -> None:
    """Print the conclusion, and why."""
    style = {"holds": "green", "equal": "green", "diverges": "red", "unjudged": "yellow"}[
        run.status
    ]
    out.print(f"{conclusion(run)} ({run.seconds:.0f} s)", style=style)
    for reason in run.reasons:
        out.print(f"  {escape(reason)}", soft_wrap=True)
    for words in (*failed_again(run.shards), *left_out(run), *unproved(run)):
        out.print(f"  {escape(words)}", soft_wrap=True)


def _divergences(run: Run, out: Console) -> None:
    """Print what matters first of each implementation, at every capability where it is so."""
    printed: Counter[str] = Counter()
    for case in in_order(run):
        name, found = case.shard.implementation, case.found
        printed[name] += 1
        if printed[name] > SHOWN:
            continue
        out.print(escape(f"{name}: {in_words(case)}\n  {found.replay}"), soft_wrap=True)
        if found.shrunken is not None:
            shape, replay = list(found.shrunken.described.shape), found.shrunken.replay
            out.print(escape(f"  made small, {shape}: {replay}"), soft_wrap=True)


def in_words(case: DivergentCase) -> str:
    """Say where a case diverges, with both values."""
    divergence = case.found.divergence
    opening = f"{case.found.case} {case.where}: {divergence.verdict}"
    if divergence.stage == "error":
        return f"{opening}: torch {divergence.reference}, the candidate {divergence.candidate}"
    opening += f" at {divergence.stage}"
    if divergence.first != divergence.stage:
        opening += f", first divergent stage {divergence.first}"
    if divergence.index:
        opening += f", index {list(divergence.index)}"
    return f"{opening}: torch has {divergence.reference}, the candidate {divergence.candidate}"
