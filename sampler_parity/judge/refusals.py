"""What a sampler refuses, whoever words it."""

import re

CAUSES = (
    ("the temperature", r"greedy decoding"),
    ("top_k", r"index k out of range|top_k = \S+ is out of range"),
    ("the probabilities", r"contains? (?:either )?`?inf"),
    ("the noise", r"uniform_ expects|out of bounds for float|noise = "),
    ("the shape", r"Dimension out of range|logits have shape"),
)
"""A cause, and how torch, the reference's own assertion and the port word it; the first one counts:
a refused temperature is told to use ``noise = 0``."""


def cause_of(message: str) -> str:
    """Name what an exception's text refuses; empty where the words are not known."""
    return next((cause for cause, pattern in CAUSES if re.search(pattern, message)), "")
