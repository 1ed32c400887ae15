"""A run for other programs: a Markdown summary, GitHub annotations, and JUnit XML."""

import re
from collections.abc import Iterator
from pathlib import Path

from sampler_parity.commands.junit import junit, misjudged
from sampler_parity.commands.summary import conclusion, in_words
from sampler_parity.model.files import write_atomically
from sampler_parity.report.order import DivergentCase, in_order
from sampler_parity.run.run_file import Run
from sampler_parity.run.words import SHORT, installation, left_out, not_compared
from sampler_parity.statistics.result import StatisticsResult
from sampler_parity.statistics.words import controlled, summary, tested

ANNOTATED = 10
"""Annotations of a run: GitHub shows no more of a step."""

KEPT_FREE = 4
"""Annotations for frequencies and planted faults, where a run has divergences for all of them."""

LISTED = 20
"""Divergences in a Markdown summary."""


def markdown(run: Run) -> str:
    """Write a run as a job's summary."""
    mark = {"holds": "=", "equal": "?", "diverges": "≠", "unjudged": "?"}[run.status]
    lines = [f"## {mark} sampler-parity: {conclusion(run)}", ""]
    lines += [f"- {inline(reason)}" for reason in (*run.reasons, *left_out(run))]
    lines += ["", "| implementation | capability | against | cases compared | tokens | differ |"]
    lines += ["| --- | --- | --- | ---: | ---: | ---: |"]
    lines += [
        f"| {inline(shard.implementation)} | {inline(shard.capability)} "
        f"| {SHORT[shard.source]} "
        f"| {shard.compared:,} of {shard.planned:,} | {shard.tokens:,} | {shard.divergent:,} |"
        for shard in run.shards
    ]
    told = (*installation(run), *not_compared(run.shards))
    skipped = [f"- {inline(words)}" for words in told]
    lines += ["", *skipped] if skipped else []
    if run.planted:
        killed = sum(fault.killed for fault in run.planted)
        lines += ["", f"{killed} of {len(run.planted)} planted faults caught."]
    if run.engine_faults:
        named = sum(fault.killed for fault in run.engine_faults)
        lines += [
            "",
            f"{named} of {len(run.engine_faults)} engines told apart by their recordings.",
        ]
    for result in run.statistics:
        first, *others = summary(result)
        lines += ["", inline(first), ""]
        lines += [f"- {inline(line)}" for line in others]
    problems = [f"- {title}: {inline(words)}" for title, words in _beside(run)]
    if problems:
        lines += ["", "Beside the cases:", "", *problems]
    found = in_order(run)[:LISTED]
    if found:
        several = len({shard.implementation for shard in run.shards}) > 1
        names = ["case", *(["implementation"] if several else []), "where"]
        names += ["verdict", "stage", "torch", "candidate"]
        lines += ["", f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
        lines += [f"| {' | '.join(map(inline, _row(one, several=several)))} |" for one in found]
    lines += ["", f"`{run.command}`, {run.seconds:.0f} s", ""]
    return "\n".join(lines)


def _row(case: DivergentCase, *, several: bool) -> tuple[str, ...]:
    divergence = case.found.divergence
    return (
        case.found.case,
        *([case.shard.implementation] if several else []),
        case.where,
        divergence.verdict.value,
        divergence.stage,
        divergence.reference,
        divergence.candidate,
    )


def _beside(run: Run) -> Iterator[tuple[str, str]]:
    """Say what failed beside the comparison of cases: what it is, and its words."""
    for fault in run.planted:
        if not fault.killed:
            yield "a planted fault was missed", fault.words
    for engine in run.engine_faults:
        if not engine.killed:
            yield "a fault of an engine was missed", engine.told
    for sampler in run.correct:
        if not sampler.passed:
            yield "a correct sampler was misjudged", misjudged(sampler)
    for result in run.statistics:
        yield from _of_frequencies(result)


def _of_frequencies(result: StatisticsResult) -> Iterator[tuple[str, str]]:
    for test in result.tests:
        if test.decision == "rejects":
            yield "frequencies rejected", tested(test, result)
    for control in result.controls:
        if not control.holds:
            yield "a control did not come out as it must", controlled(control)
    if result.uniforms is not None:
        for misstep in result.uniforms.missteps:
            yield "a constructed uniform", f"{result.candidate}: {misstep}"


def inline(text: str, most: int = 300) -> str:
    """Escape what Markdown or HTML would take for more than text, on one line, cut at ``most``."""
    flat = " ".join(text[:most].split())
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&@])", r"\\\1", flat).replace("\\<", "&lt;")


def annotations(run: Run) -> tuple[str, ...]:
    """Name the first divergences, or why nothing could be judged, as GitHub shows them."""
    if run.status in {"holds", "equal"}:
        return ()
    if run.status == "unjudged":
        return tuple(annotation("sampler-parity", reason) for reason in run.reasons[:ANNOTATED])
    found = [
        annotation(
            f"{case.shard.implementation} {case.where}: {case.found.case}, "
            f"{case.found.divergence.stage}",
            f"{in_words(case)}\n{case.found.replay}",
        )
        for case in in_order(run)
    ]
    beside = [annotation(title, words) for title, words in _beside(run)]
    free = max(KEPT_FREE, ANNOTATED - len(found))
    return (*found[: ANNOTATED - len(beside[:free])], *beside[:free])


def annotation(title: str, message: str, **place: str) -> str:
    """Give an error as GitHub shows it, at the ``file`` and ``line`` that ``place`` may have."""

    def data(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    given = {"title": title, **place}
    told = ",".join(
        f"{name}={data(text).replace(':', '%3A').replace(',', '%2C')}"
        for name, text in given.items()
    )
    return f"::error {told}::{data(message)}"


def write_outputs(run: Run, junit_file: Path | None, markdown_file: Path | None) -> None:
    """Write the files that were asked for."""
    for path, content in (
        (junit_file, junit),
        (markdown_file, lambda run: markdown(run).encode("utf-8", "backslashreplace")),
    ):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content(run))
