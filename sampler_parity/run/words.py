"""Sentences about shards: what is the same at several capabilities is said once."""

from collections.abc import Iterable, Sequence

from sampler_parity.model.case import CAPABILITIES
from sampler_parity.run.command_words import gate_command
from sampler_parity.run.run_file import Against, Run, Shard

AGAINST: dict[Against, str] = {
    "torch": "live torch",
    "port": "the port in torch's place",
    "recorded": "recorded torch",
}
"""What a shard was compared with, in words."""


def at(capabilities: Iterable[str], *, each: bool = False) -> str:
    """Say where: ``at avx2``, ``at default and avx2``, ``at all five capabilities``.

    With ``each``, what stands before it counts at one of them: ``at each of default and avx2``.
    """
    names = list(dict.fromkeys(capabilities))
    if len(names) > 1 and set(names) == set(CAPABILITIES):
        return "at each of the five capabilities" if each else "at all five capabilities"
    if len(names) < 2:  # noqa: PLR2004
        return f"at {''.join(names)}"
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    return f"at each of {listed}" if each else f"at {listed}"


def differences(shards: Sequence[Shard]) -> tuple[str, ...]:
    """Say in how many cases each shard differs; those with equal counts share a sentence."""
    alike: dict[tuple[object, ...], list[Shard]] = {}
    for shard in shards:
        verdicts = tuple(sorted(shard.verdicts.items()))
        counts = (shard.compared, shard.divergent, shard.accepted, verdicts, shard.explained)
        alike.setdefault((shard.implementation, shard.source, *counts), []).append(shard)
    return tuple(_differs(group) for group in alike.values())


def _differs(group: Sequence[Shard]) -> str:
    shard = group[0]
    verdicts = ", ".join(f"{count:,} {verdict}" for verdict, count in shard.verdicts.items())
    return (
        f"{shard.implementation} differs from the reference in {shard.divergent:,} of "
        f"{shard.compared:,} cases {at((one.capability for one in group), each=True)} "
        f"({AGAINST[shard.source]}): {verdicts}"
        + (f"; {shard.accepted:,} are waived" if shard.accepted else "")
        + (f"; {shard.explained.words}" if shard.explained else "")
    )


def failed_again(shards: Sequence[Shard]) -> tuple[str, ...]:
    """Say how many of the cases that diverged last time still do."""
    return tuple(
        f"{shard.implementation} {at([shard.capability])}: of {shard.failed_before:,} cases that "
        f"diverged last time, {shard.failed_again:,} still do"
        for shard in shards
        if shard.failed_before
    )


SHORT: dict[Against, str] = {"torch": "torch", "port": "the port", "recorded": "recorded torch"}
"""The same in a table."""


def installation(run: Run) -> tuple[str, ...]:
    """Say what follows from what is not installed; nothing where everything is."""
    return tuple(filter(None, (_certificate(run), *run.lacking)))


def _certificate(run: Run) -> str:
    """Say why the port stood in torch's place."""
    found = [shard for shard in run.shards if shard.certificate is not None]
    if not found:
        return ""
    levels = {shard.capability: shard.certificate for shard in found}
    traces = sum(one.traces for one in levels.values() if one is not None)
    versions = " and ".join(dict.fromkeys(one.torch for one in levels.values() if one is not None))
    return (
        f"Compared against the port, which equals torch {versions} on {traces:,} recorded traces "
        f"here, {at(levels)}: torch is not installed."
    )


def left_out(run: Run) -> tuple[str, ...]:
    """Say what a quick look did not do with divergent cases, and what does more of it."""
    found = [f"{shard.implementation}: {words}" for shard in run.shards for words in shard.left_out]
    if not found:
        return ()
    return (*found, f"the gate does more of it: {gate_command(run.command)}")


def not_compared(shards: Sequence[Shard]) -> tuple[str, ...]:
    """Say of how many cases each of ``shards`` has no comparison, and why; equal ones once."""
    alike: dict[tuple[str, Against, int, str], list[str]] = {}
    for shard in shards:
        if shard.not_compared:
            key = (shard.implementation, shard.source, shard.not_compared, shard.reason.strip())
            alike.setdefault(key, []).append(shard.capability)
    return tuple(
        f"{name} {at(capabilities, each=True)}, {count:,} {'case' if count == 1 else 'cases'} not "
        f"compared with {AGAINST[source]}: {reason or 'no reason is given'}"
        for (name, source, count, reason), capabilities in alike.items()
    )
