"""The result of ``sampler-parity calls`` for other programs: Markdown, annotations, JUnit XML."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from sampler_parity.commands.junit import add_problem, add_test, printable, written
from sampler_parity.commands.outputs import ANNOTATED, LISTED, annotation, inline
from sampler_parity.engines.findings import KINDS, Attribution, Finding, listed
from sampler_parity.engines.words import place, sentence_of
from sampler_parity.model.files import write_atomically

_SITE = re.compile(r"(?P<file>.+?):(?P<line>\d+)(\s|$)")
"""The form of a call's site: ``FILE:LINE FUNCTION``."""


def write_calls_outputs(
    found: Attribution, junit_file: Path | None, markdown_file: Path | None
) -> None:
    """Write the files that were asked for."""
    if junit_file is not None:
        _write(junit_file, calls_junit(found))
    if markdown_file is not None:
        _write(markdown_file, calls_markdown(found).encode("utf-8", "backslashreplace"))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def calls_junit(found: Attribution) -> bytes:
    """Write a result as JUnit XML: one suite, with a test of the whole and one of each kind."""
    root = ET.Element("testsuites", name="sampler-parity")
    suite = ET.SubElement(root, "testsuite", name="calls")
    whole = add_test(suite, "calls", "the recordings hold")
    if found.status != "holds":
        kind = "failure" if found.status == "diverges" else "error"
        add_problem(whole, kind, found.sentence, found.sentence)
    generations = _generations(found)
    for name in KINDS:
        if name == "consequence":
            continue
        test = add_test(suite, "calls", name)
        mine = [one for one in found.findings if one.kind == name]
        if mine:
            lines = [sentence_of(one, generations) for one in mine]
            add_problem(test, "failure", ", ".join(one.what for one in mine), "\n".join(lines))
        elif found.status == "unjudged":
            add_problem(test, "error", "not judged", found.sentence)
    for reason in found.not_compared:
        words = f"{reason.calls:,} calls: {reason.reason}"
        ET.SubElement(add_test(suite, "calls", words), "skipped", message=printable(reason.reason))
    return written(root)


def calls_markdown(found: Attribution) -> str:
    """Write a result as a job's summary."""
    mark = {"holds": "=", "diverges": "≠", "unjudged": "?"}[found.status]
    lines = [f"## {mark} sampler-parity calls", "", inline(found.sentence, most=2000), ""]
    lines += ["| side | engine | calls | generations | ends |", "| --- | --- | ---: | ---: | --- |"]
    lines += [
        f"| {one.side} | {inline(one.engine)} | {one.calls:,} | {one.generations:,} "
        f"| {inline(one.ending) or 'closed'} |"
        for one in found.recordings
    ]
    generations = _generations(found)
    if found.findings:
        lines += ["", "| kind | what | side | first at | calls | alone | where |"]
        lines += ["| --- | --- | --- | --- | ---: | --- | --- |"]
        lines += [_row(one, generations) for one in found.findings[:LISTED]]
        more = len(found.findings) - LISTED
        lines += ["", f"{more:,} more findings are in the result."] if more > 0 else []
    lines += ["", "| phase | side | calls | sampler | logits | random numbers |"]
    lines += ["| --- | --- | ---: | --- | --- | --- |"]
    lines += [
        f"| {inline(use.phase)} | {use.side} | {use.calls:,} "
        f"| {inline(f'{use.sampler}({listed(use.parameters)})')} | {inline(use.vocabulary)} "
        f"| {inline(use.source)} |"
        for use in found.uses
    ]
    lines += ["", *(f"- {inline(line)}" for line in found.frequencies)]
    left = found.planned - found.compared
    lines += [
        "",
        f"{found.planned:,} calls planned, {found.compared:,} compared, {left:,} not.",
        "",
    ]
    lines += [f"- {one.calls:,} calls: {inline(one.reason)}" for one in found.not_compared]
    return "\n".join([*lines, ""])


def _row(one: Finding, generations: int) -> str:
    alone = one.alone.words() if one.alone is not None else ""
    return (
        f"| {one.kind} | {inline(one.what)} | {one.side} | {inline(place(one, generations))} "
        f"| {one.times:,} of {one.of:,} | {inline(alone)} | {inline(one.site)} |"
    )


def _generations(found: Attribution) -> int:
    return max((one.generations for one in found.recordings), default=0)


def calls_annotations(found: Attribution) -> tuple[str, ...]:
    """Name the first findings, at their call's line of the engine, or why nothing was judged."""
    if found.status == "holds":
        return ()
    own = [one for one in found.findings if one.kind != "consequence"]
    if not own:
        return (annotation("sampler-parity calls", found.sentence),)
    generations = _generations(found)
    return tuple(
        annotation(f"{one.kind}: {one.what}", sentence_of(one, generations), **_where(one.site))
        for one in own[:ANNOTATED]
    )


def _where(site: str) -> dict[str, str]:
    """Give a call's file and line, where the file is one of the folder that this runs in."""
    matched = _SITE.match(site)
    if matched is None:
        return {}
    path, here = Path(matched["file"]), Path.cwd()
    try:
        inside = (here / path).resolve().relative_to(here.resolve())
        known = (here / inside).is_file()
    except (ValueError, OSError):
        return {}
    return {"file": inside.as_posix(), "line": matched["line"]} if known else {}
