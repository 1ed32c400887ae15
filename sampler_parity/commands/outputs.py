"""A run for other programs: JUnit XML, a Markdown summary, GitHub annotations."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from sampler_parity.commands.summary import conclusion
from sampler_parity.manifest import write_atomically
from sampler_parity.run_file import FoundDivergence, Run, Shard

ANNOTATED = 10
"""Annotations of a run: GitHub shows no more of a step."""

LISTED = 20
"""Divergences in a Markdown summary."""

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(run: Run) -> bytes:
    """Write a run as JUnit XML: a suite a shard, a test a family, one for the gate itself."""
    root = ET.Element("testsuites", name="sampler-parity", time=f"{run.seconds:.1f}")
    gate = ET.SubElement(root, "testsuite", name="gate", time=f"{run.seconds:.1f}")
    verdict = _test(gate, "gate", "the gate holds")
    if run.status != "holds" or not run.shards:
        kind = "failure" if run.status == "diverges" else "error"
        _problem(verdict, kind, conclusion(run), "\n".join(run.reasons) or "nothing was compared")
    for fault in run.planted:
        test = _test(gate, f"planted.{fault.where}", fault.name)
        if not fault.killed:
            words = f"had to be {fault.verdict} at {fault.stage}, and was not"
            _problem(test, "failure", "a planted fault was missed", words)
    for shard in run.shards:
        _suite(root, shard)
    for suite in root:
        suite.set("tests", str(len(suite)))
        suite.set("failures", str(len(suite.findall("testcase/failure"))))
        suite.set("errors", str(len(suite.findall("testcase/error"))))
        suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    ET.indent(root)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content


def _suite(root: ET.Element, shard: Shard) -> None:
    name = f"{shard.implementation}.{shard.capability}.{shard.source}"
    suite = ET.SubElement(root, "testsuite", name=_printable(name))
    for family in dict.fromkeys(cell.family for cell in shard.cells):
        test = _test(suite, name, family)
        first = sum(cell.first for cell in shard.cells if cell.family == family)
        known = [found for found in shard.divergences if found.family == family]
        if first and shard.divergent > shard.accepted:
            message = f"{first:,} cases differ"
            _problem(test, "failure", message, "\n\n".join(map(_words, known)) or message)
    if shard.waived:
        test = _test(suite, name, f"{shard.waived:,} cases not compared")
        ET.SubElement(test, "skipped", message=_printable(shard.waiver))


def _test(suite: ET.Element, classname: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=_printable(classname), name=_printable(name))


def _problem(test: ET.Element, kind: str, message: str, text: str) -> None:
    ET.SubElement(test, kind, message=_printable(message)).text = _printable(text)


def _printable(text: str) -> str:
    """Replace what XML has no form for."""
    return _UNPRINTABLE.sub("\ufffd", text)


def _words(found: FoundDivergence) -> str:
    divergence = found.divergence
    return (
        f"{found.case}: {divergence.verdict} at {divergence.stage}, "
        f"first divergent stage {divergence.first}, index {list(divergence.index)}: "
        f"reference {divergence.reference}, candidate {divergence.candidate}\n{found.replay}"
    )


def markdown(run: Run) -> str:
    """Write a run as a job's summary."""
    mark = {"holds": "=", "diverges": "≠", "unjudged": "?"}[run.status]
    lines = [f"## {mark} sampler-parity: {conclusion(run)}", ""]
    lines += [f"- {_inline(reason)}" for reason in run.reasons]
    lines += ["", "| implementation | capability | against | cases compared | tokens | differ |"]
    lines += ["| --- | --- | --- | ---: | ---: | ---: |"]
    lines += [
        f"| {_inline(shard.implementation)} | {_inline(shard.capability)} "
        f"| {'torch' if shard.source == 'torch' else 'recorded torch'} "
        f"| {shard.compared:,} of {shard.planned:,} | {shard.tokens:,} | {shard.divergent:,} |"
        for shard in run.shards
    ]
    if run.planted:
        killed = sum(fault.killed for fault in run.planted)
        lines += ["", f"{killed} of {len(run.planted)} planted faults caught."]
    found = list(_divergences(run))[:LISTED]
    if found:
        lines += ["", "| case | capability | verdict | stage | torch | candidate |"]
        lines += ["| --- | --- | --- | --- | --- | --- |"]
        lines += [
            f"| {_inline(one.case)} | {_inline(shard.capability)} | {one.divergence.verdict} "
            f"| {_inline(one.divergence.stage)} | {_inline(one.divergence.reference)} "
            f"| {_inline(one.divergence.candidate)} |"
            for shard, one in found
        ]
    lines += ["", f"`{run.command}`, {run.seconds:.0f} s", ""]
    return "\n".join(lines)


def _divergences(run: Run) -> Iterator[tuple[Shard, FoundDivergence]]:
    for shard in run.shards:
        for found in shard.divergences:
            yield shard, found


def _inline(text: str) -> str:
    """Escape what Markdown or HTML would take for more than text, on one line."""
    flat = " ".join(text[:300].split())
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&@])", r"\\\1", flat).replace("\\<", "&lt;")


def annotations(run: Run) -> tuple[str, ...]:
    """Name the first divergences, or why nothing could be judged, as GitHub shows them."""
    if run.status == "unjudged":
        return tuple(_annotation("sampler-parity", reason) for reason in run.reasons[:ANNOTATED])
    return tuple(
        _annotation(
            f"{shard.implementation} at {shard.capability}: {found.case}, {found.divergence.stage}",
            _words(found),
        )
        for shard, found in list(_divergences(run))[:ANNOTATED]
        if run.status == "diverges"
    )


def _annotation(title: str, message: str) -> str:
    def data(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    safe = data(title).replace(":", "%3A").replace(",", "%2C")
    return f"::error title={safe}::{data(message)}"


def write_outputs(run: Run, junit_file: Path | None, markdown_file: Path | None) -> None:
    """Write the files that were asked for."""
    for path, content in (
        (junit_file, junit),
        (markdown_file, lambda run: markdown(run).encode("utf-8", "backslashreplace")),
    ):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content(run))
