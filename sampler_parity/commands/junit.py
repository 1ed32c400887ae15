"""A run as JUnit XML."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence

from sampler_parity.commands.summary import conclusion, in_words
from sampler_parity.faults.found import Correct
from sampler_parity.report.order import DivergentCase, in_order
from sampler_parity.run.run_file import Run, Shard
from sampler_parity.statistics.result import StatisticsResult
from sampler_parity.statistics.words import PASSED, controlled, tested

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(run: Run) -> bytes:
    """Write a run as JUnit XML.

    A suite is the gate with its planted faults, a shard with a test a family, or the frequencies of
    a candidate with a test for each of theirs and for each control.
    """
    root = ET.Element("testsuites", name="sampler-parity", time=f"{run.seconds:.1f}")
    gate = ET.SubElement(root, "testsuite", name="gate", time=f"{run.seconds:.1f}")
    verdict = add_test(gate, "gate", "the gate holds")
    if run.status != "holds" or not run.shards:
        kind = "failure" if run.status == "diverges" else "error"
        add_problem(
            verdict, kind, conclusion(run), "\n".join(run.reasons) or "nothing was compared"
        )
    _planted(gate, run)
    ordered = in_order(run)
    for shard in run.shards:
        _suite(root, shard, ordered)
    for result in run.statistics:
        _frequencies(root, result)
    return written(root)


def written(root: ET.Element) -> bytes:
    """Count the tests of each suite, and give the document."""
    for suite in root:
        suite.set("tests", str(len(suite)))
        suite.set("failures", str(len(suite.findall("testcase/failure"))))
        suite.set("errors", str(len(suite.findall("testcase/error"))))
        suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    ET.indent(root)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content


def _planted(gate: ET.Element, run: Run) -> None:
    for fault in run.planted:
        test = add_test(gate, f"planted.{fault.where}", fault.name)
        if not fault.killed:
            add_problem(test, "failure", "a planted fault was missed", fault.words)
    for engine in run.engine_faults:
        test = add_test(gate, "engines", f"{engine.name}, {engine.how}")
        if not engine.killed:
            add_problem(test, "failure", "a fault of an engine was missed", engine.told)
    for sampler in run.correct:
        test = add_test(gate, "correct", sampler.name)
        if not sampler.passed:
            add_problem(test, "failure", "a correct sampler was misjudged", misjudged(sampler))


def _suite(root: ET.Element, shard: Shard, ordered: Sequence[DivergentCase]) -> None:
    name = f"{shard.implementation}.{shard.capability}.{shard.source}"
    suite = ET.SubElement(root, "testsuite", name=printable(name))
    for family in dict.fromkeys(cell.family for cell in shard.cells):
        test = add_test(suite, name, family)
        first = sum(cell.first for cell in shard.cells if cell.family == family)
        if first and shard.divergent > shard.accepted:
            verdicts: Counter[str] = Counter()
            for cell in shard.cells:
                verdicts.update(cell.verdicts if cell.family == family else {})
            kinds = ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.items())
            message = f"{first:,} {'case differs' if first == 1 else 'cases differ'}: {kinds}"
            known = [
                f"{in_words(case)}\n{case.found.replay}"
                for case in ordered
                if case.found.family == family
                and case.shard.implementation == shard.implementation
                and shard.capability in case.capabilities
            ]
            add_problem(test, "failure", message, "\n\n".join(known) or message)
    if shard.not_compared:
        test = add_test(suite, name, f"{shard.not_compared:,} cases not compared")
        ET.SubElement(test, "skipped", message=printable(shard.reason))


def _frequencies(root: ET.Element, result: StatisticsResult) -> None:
    name = f"frequencies.{result.candidate}"
    suite = ET.SubElement(root, "testsuite", name=printable(name), time=f"{result.seconds:.1f}")
    for checked in result.tests:
        test = add_test(suite, name, checked.planned.name)
        if checked.decision == "unfinished" and result.finished:
            ET.SubElement(test, "skipped", message=printable(checked.reason))
        elif checked.decision not in PASSED:
            kind = "failure" if checked.decision == "rejects" else "error"
            add_problem(test, kind, checked.reason or checked.decision, tested(checked, result))
    for control in result.controls:
        test = add_test(suite, f"{name}.controls", f"{control.name}, before {control.test}")
        if not control.holds:
            add_problem(
                test, "failure", "a control did not come out as it must", controlled(control)
            )
    if result.uniforms is not None:
        test = add_test(suite, name, "constructed uniforms")
        if result.uniforms.missteps:
            words = f"{len(result.uniforms.missteps):,} missteps"
            add_problem(test, "failure", words, "\n".join(result.uniforms.missteps))
    for reason in result.waived:
        ET.SubElement(add_test(suite, name, reason), "skipped", message=printable(reason))
    if not result.finished:
        add_problem(
            add_test(suite, name, "finished"), "error", "interrupted", "\n".join(result.reasons)
        )


def misjudged(sampler: Correct) -> str:
    """Say what a correct sampler was called."""
    kinds = ", ".join(f"{count:,} {verdict}" for verdict, count in sampler.verdicts.items())
    return f"{sampler.name}, which is correct, got {kinds or 'nothing'} in {sampler.cases:,} cases"


def add_test(suite: ET.Element, classname: str, name: str) -> ET.Element:
    """Add a test to a suite."""
    return ET.SubElement(suite, "testcase", classname=printable(classname), name=printable(name))


def add_problem(test: ET.Element, kind: str, message: str, text: str) -> None:
    """Have a test end with a ``failure`` or an ``error``."""
    ET.SubElement(test, kind, message=printable(message)).text = printable(text)


def printable(text: str) -> str:
    """Replace what XML has no form for."""
    return _UNPRINTABLE.sub("\ufffd", text)
