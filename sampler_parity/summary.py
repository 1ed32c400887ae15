"""A run in a terminal."""

from rich.console import Console
from rich.table import Table

from sampler_parity.run_file import FoundDivergence, Run, Shard
from sampler_parity.statistics.words import summary as summary_of_frequencies
from sampler_parity.verdict import SEVERITY

SHOWN = 3
"""Divergences of a shard that are printed: the gravest."""

CONCLUSIONS = {
    "holds": "the gate holds: no bit, token, error or effect differs",
    "diverges": "the gate found a divergence",
    "unjudged": "the gate could not be judged",
}


def summarise(result: Run, out: Console) -> None:
    """Print what was compared, what differs, what was caught, and the conclusion."""
    out.print(_table(result.shards))
    for shard in result.shards:
        if shard.waiver:
            out.print(f"waived: {shard.waiver}", soft_wrap=True)
        for found in sorted(shard.divergences, key=_gravity)[:SHOWN]:
            out.print(_divergence(found, shard.capability), soft_wrap=True)
    if result.planted:
        named = sum(fault.killed for fault in result.planted)
        out.print(f"planted faults named at their stage: {named} of {len(result.planted)}")
    for counted in result.statistics:
        for line in summary_of_frequencies(counted):
            out.print(line, soft_wrap=True)
    out.print(f"{_conclusion(result)} ({result.seconds:.0f} s)")
    for reason in result.reasons:
        out.print(f"  {reason}", soft_wrap=True)


def _table(shards: tuple[Shard, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("implementation", "capability", "against"):
        table.add_column(name)
    for name in ("cases compared", "tokens", "differ"):
        table.add_column(name, justify="right")
    for shard in shards:
        table.add_row(
            shard.implementation,
            shard.capability,
            "torch" if shard.source == "torch" else "recorded torch",
            f"{shard.compared:,} of {shard.planned:,}",
            f"{shard.tokens:,}",
            f"{shard.divergent:,}",
            style="red" if shard.divergent > shard.accepted else None,
        )
    return table


def _conclusion(result: Run) -> str:
    accepted = sum(shard.accepted for shard in result.shards)
    if result.status == "holds" and accepted:
        return f"the gate holds: nothing differs but {accepted:,} cases that are waived"
    return CONCLUSIONS[result.status]


def _gravity(found: FoundDivergence) -> tuple[int, bool]:
    return -SEVERITY[found.divergence.verdict], found.shrunken is None


def _divergence(found: FoundDivergence, capability: str) -> str:
    at = found.divergence
    words = (
        f"{found.case} at {capability}: {at.verdict} at {at.stage}, first divergent stage "
        f"{at.first}, index {list(at.index)}: reference {at.reference}, candidate {at.candidate}\n"
        f"  {found.replay}"
    )
    if found.shrunken is not None:
        shape = found.shrunken.parameters["shape"]
        words += f"\n  made small, {shape}: {found.shrunken.replay}"
    return words
