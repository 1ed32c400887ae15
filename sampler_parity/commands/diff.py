"""What changed from one run to another: a port upgraded, torch upgraded."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sampler_parity.commands.summary import conclusion
from sampler_parity.report.order import in_order
from sampler_parity.report.words import implementations, place
from sampler_parity.run.run_file import Run, Shard
from sampler_parity.run.words import at

LISTED = 20
"""Cases of a kind that are listed; the others are counted."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is not the same in both runs.

    Attributes:
        what: its name.
        before: its value in the first run, in words.
        after: its value in the second.
        better: whether the second is better; ``None`` where neither is.
    """

    what: str
    before: str
    after: str
    better: bool | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """Changes of one kind.

    Attributes:
        heading: of which kind.
        changes: all of them; none if nothing of the kind changed.
        result: whether they are results, and not only what the runs ran on.
    """

    heading: str
    changes: tuple[Change, ...]
    result: bool = True


def compare_runs(before: Run, after: Run) -> tuple[Section, ...]:
    """Compare two runs, the verdict first and what they ran on last."""
    return (
        Section("Verdict", _verdict(before, after)),
        Section("Divergent cases", _counts(before, after)),
        Section("Stages", _stages(before, after)),
        Section("Verdicts of divergent cases", _kinds(before, after)),
        Section("Cases that the runs keep", _cases(before, after)),
        Section("Frequencies", _frequencies(before, after)),
        Section("Planted faults", _faults(before, after)),
        Section("Torch beside itself", _reproducibility(before, after)),
        Section("What they ran on", _provenance(before, after), result=False),
    )


def headline(sections: Iterable[Section]) -> str:
    """Say in one sentence what changed."""
    results = [section for section in sections if section.result and section.changes]
    if not results:
        return "nothing differs between the results of the two runs"
    changes = [change for section in results for change in section.changes]
    worse = sum(change.better is False for change in changes)
    better = sum(change.better is True for change in changes)
    return f"{len(changes):,} results changed: {better:,} for the better, {worse:,} for the worse"


def changed(sections: Iterable[Section]) -> bool:
    """Whether any result changed."""
    return any(section.result and section.changes for section in sections)


def show(sections: tuple[Section, ...], out: Console) -> None:
    """Print what changed."""
    for section in sections:
        if not section.changes:
            continue
        table = Table(box=None, pad_edge=False, title=section.heading, title_justify="left")
        for name in ("", "before", "after"):
            table.add_column(name, overflow="fold")
        for change in section.changes:
            style = {True: "green", False: "red", None: None}[change.better]
            words = (change.what, change.before, change.after)
            table.add_row(*map(escape, words), style=style)
        out.print(table)
        out.print()
    out.print(headline(sections))


def _verdict(before: Run, after: Run) -> tuple[Change, ...]:
    if (before.status, before.reasons) == (after.status, after.reasons):
        return ()
    order = ("diverges", "unjudged", "equal", "holds")
    ranks = order.index(before.status), order.index(after.status)
    better = None if ranks[0] == ranks[1] else ranks[1] > ranks[0]
    return (Change("the gate", conclusion(before), conclusion(after), better),)


def _together(found: Iterable[tuple[str, str, str, Change]]) -> tuple[Change, ...]:
    """Say once what changed alike at several capabilities.

    Each is what stands before the capability, the capability, what stands after it, and the change.
    """
    alike: dict[tuple[str, str, Change], list[str]] = {}
    for head, capability, tail, change in found:
        alike.setdefault((head, tail, change), []).append(capability)
    return tuple(
        replace(change, what=f"{head} {at(capabilities, each=True)}{tail}")
        for (head, tail, change), capabilities in alike.items()
    )


def _counts(before: Run, after: Run) -> tuple[Change, ...]:
    def shards(run: Run) -> dict[tuple[str, str, str], Shard]:
        return {(one.implementation, one.capability, one.source): one for one in run.shards}

    def count(shard: Shard | None) -> str:
        return f"{shard.divergent:,} of {shard.compared:,}" if shard else "not run"

    left, right = shards(before), shards(after)
    found = []
    for key in dict.fromkeys((*left, *right)):
        old, new = left.get(key), right.get(key)
        if count(old) != count(new):
            better = _fewer(old.divergent, new.divergent) if old and new else None
            name, capability, source = key
            tail = "" if source != "recorded" else ", recorded"
            found.append((name, capability, tail, Change("", count(old), count(new), better)))
    return _together(found)


def _fewer(before: int, after: int) -> bool | None:
    return None if before == after else after < before


def _stages(before: Run, after: Run) -> tuple[Change, ...]:
    def differing(run: Run) -> Counter[tuple[str, str]]:
        counts: Counter[tuple[str, str]] = Counter()
        for shard in run.shards:
            for cell in shard.cells:
                counts[shard.implementation, cell.stage] += cell.differing
        return counts

    left, right = differing(before), differing(after)
    # An implementation that only one of them ran is a change of its own.
    shared = {key for key in left if key in right}
    return tuple(
        Change(
            f"{name}, {stage}",
            f"{left[name, stage]:,}",
            f"{right[name, stage]:,}",
            _fewer(left[name, stage], right[name, stage]),
        )
        for name, stage in sorted(shared, key=lambda key: (key[0], place(key[1])))
        if left[name, stage] != right[name, stage]
    )


def _kinds(before: Run, after: Run) -> tuple[Change, ...]:
    both = set(implementations(before.shards)) & set(implementations(after.shards))

    def verdicts(run: Run) -> Counter[tuple[str, str]]:
        counts: Counter[tuple[str, str]] = Counter()
        for shard in run.shards:
            # An implementation that only one of them ran is a change of its own.
            if shard.implementation in both:
                for verdict, count in shard.verdicts.items():
                    counts[shard.implementation, verdict] += count
        return counts

    left, right = verdicts(before), verdicts(after)
    return tuple(
        Change(
            f"{name}, {verdict}",
            f"{left[name, verdict]:,}",
            f"{right[name, verdict]:,}",
            _fewer(left[name, verdict], right[name, verdict]),
        )
        for name, verdict in sorted({*left, *right})
        if left[name, verdict] != right[name, verdict]
    )


def _cases(before: Run, after: Run) -> tuple[Change, ...]:
    def kept(run: Run) -> dict[tuple[str, str, str], str]:
        return {
            (name, capability, case.found.case): f"{verdict} at {stage}"
            for case in in_order(run)
            for name, stage, verdict in [case.kind]
            for capability in case.capabilities
        }

    left, right = kept(before), kept(after)
    found = _together(
        (name, capability, f": {case}", Change("", *sides))
        for name, capability, case in dict.fromkeys((*right, *left))
        for key in [(name, capability, case)]
        for sides in [(left.get(key, "not kept"), right.get(key, "not kept"))]
        if sides[0] != sides[1]
    )
    if len(found) <= LISTED:
        return found
    rest = f"{len(found) - LISTED:,} more"
    return (*found[:LISTED], Change(rest, "", ""))


def _frequencies(before: Run, after: Run) -> tuple[Change, ...]:
    def decisions(run: Run) -> dict[str, str]:
        return {
            f"{result.candidate}: {test.planned.name}": test.decision
            for result in run.statistics
            for test in result.tests
        }

    left, right = decisions(before), decisions(after)
    better = {("rejects", "passes"): True, ("passes", "rejects"): False}
    return tuple(
        Change(
            name,
            left.get(name, "not run"),
            right.get(name, "not run"),
            better.get((left.get(name, ""), right.get(name, ""))),
        )
        for name in dict.fromkeys((*left, *right))
        if left.get(name) != right.get(name)
    )


def _faults(before: Run, after: Run) -> tuple[Change, ...]:
    def killed(run: Run) -> dict[str, str]:
        faults = {f"{fault.name} ({fault.where})": fault.killed for fault in run.planted}
        for engine in run.engine_faults:
            faults[f"{engine.name} ({engine.how} engine)"] = engine.killed
        return {name: "caught" if caught else "missed" for name, caught in faults.items()}

    left, right = killed(before), killed(after)
    return tuple(
        Change(
            name,
            left.get(name, "not planted"),
            right.get(name, "not planted"),
            {"caught": True, "missed": False}.get(right.get(name, "")),
        )
        for name in dict.fromkeys((*left, *right))
        if left.get(name) != right.get(name)
    )


def _reproducibility(before: Run, after: Run) -> tuple[Change, ...]:
    def differing(run: Run) -> dict[str, str]:
        return {
            f"{shard.capability} {found.against}, {stage}": f"{count:,} of {found.cases:,}"
            for shard in run.shards
            for found in shard.noise
            for stage, count in found.differing.items()
        }

    return _entries(differing(before), differing(after))


def _provenance(before: Run, after: Run) -> tuple[Change, ...]:
    def entries(run: Run) -> dict[str, str]:
        return {
            "profile": run.profile,
            "seed": str(run.seed),
            "command": run.command,
            "started": run.started,
            **{
                f"{heading}: {name}": value
                for heading, values in run.provenance.items()
                for name, value in values.items()
            },
        }

    return _entries(entries(before), entries(after))


def _entries(left: dict[str, str], right: dict[str, str]) -> tuple[Change, ...]:
    return tuple(
        Change(name, left.get(name, "none"), right.get(name, "none"))
        for name in dict.fromkeys((*left, *right))
        if left.get(name) != right.get(name)
    )
