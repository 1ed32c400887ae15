"""What the review had believed, and what running shows: the beginnings of ``docs/findings.md``."""

import re
from dataclasses import dataclass
from pathlib import Path

from sampler_parity.report.words import Sentence, marked

FINDINGS = Path(__file__).parent / "findings.md"
"""A link to ``docs/findings.md``, which a wheel follows."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding of ``docs/findings.md``: its number, heading, and first paragraph."""

    number: str
    heading: Sentence
    words: Sentence


def findings() -> tuple[Finding, ...]:
    """Read the findings' headings and first paragraphs; none where they are missing."""
    try:
        text = FINDINGS.read_text(encoding="utf-8")
    except OSError:
        return ()
    found = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        match = re.fullmatch(r"(F\d+)\. (.+)", heading.strip())
        if match:
            first = body.strip().split("\n\n", 1)[0]
            found.append(Finding(match[1], marked(match[2]), marked(" ".join(first.split()))))
    return tuple(found)
