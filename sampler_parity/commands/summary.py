"""A run in the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sampler_parity.run.run_file import Run, Shard
from sampler_parity.statistics.words import summary as summary_of_frequencies

SHOWN = 3
"""Divergences of a shard that are shown, the gravest; the report has the others."""

SENTENCES = {
    "holds": "the gate holds: no bit, token, error or effect differs",
    "diverges": "the gate found a divergence",
    "unjudged": "the gate could not be judged",
}


def conclusion(run: Run) -> str:
    """Give a run's result in one sentence."""
    accepted = sum(shard.accepted for shard in run.shards)
    if run.status == "holds" and accepted:
        return f"the gate holds: {accepted:,} divergent cases are waived, nothing else differs"
    return SENTENCES[run.status]


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
            "torch" if shard.source == "torch" else "recorded torch",
            f"{shard.compared:,} of {shard.planned:,}",
            f"{shard.tokens:,}",
            f"{shard.divergent:,}",
            style="red" if shard.divergent > shard.accepted else None,
        )
    out.print(table)
    for shard in run.shards:
        _details(shard, out)
    if run.planted:
        killed = sum(fault.killed for fault in run.planted)
        out.print(f"{killed} of {len(run.planted)} planted faults caught")
    for counted in run.statistics:
        for line in summary_of_frequencies(counted):
            out.print(escape(line), soft_wrap=True)
    conclude(run, out)


def conclude(run: Run, out: Console) -> None:
    """Print the conclusion, and why."""
    style = {"holds": "green", "diverges": "red", "unjudged": "yellow"}[run.status]
    out.print(f"{conclusion(run)} ({run.seconds:.0f} s)", style=style)
    for reason in run.reasons:
        out.print(f"  {escape(reason)}", soft_wrap=True)


def _details(shard: Shard, out: Console) -> None:
    if shard.waiver:
        out.print(f"waived: {escape(shard.waiver)}", soft_wrap=True)
    for found in shard.divergences[:SHOWN]:
        first = found.divergence
        out.print(
            escape(
                f"{found.case} at {shard.capability}: {first.verdict} at {first.stage}, "
                f"first divergent stage {first.first}, index {list(first.index)}: "
                f"reference {first.reference}, candidate {first.candidate}\n  {found.replay}"
            ),
            soft_wrap=True,
        )
        if found.shrunken is not None:
            shape, replay = found.shrunken.parameters["shape"], found.shrunken.replay
            out.print(escape(f"  made small, {shape}: {replay}"), soft_wrap=True)
