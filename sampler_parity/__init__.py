"""The parity harness: feeds identical cases to two samplers and compares every bit.

The curated API; everything else is internal.
"""

from sampler_parity.implementations.plug_in import plug_in
from sampler_parity.implementations.registry import load_implementation
from sampler_parity.judge import compare
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import About, Implementation
from sampler_parity.model.outcome import Failure, Outcome
from sampler_parity.model.verdict import Divergence, Verdict
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.run.gate import run_gate
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import Run, read_run, write_run

__all__ = [
    "About",
    "CannotJudgeError",
    "Case",
    "Divergence",
    "Failure",
    "Implementation",
    "Outcome",
    "Request",
    "Run",
    "SampleLogits",
    "SimpleBatch",
    "Verdict",
    "compare",
    "load_implementation",
    "plug_in",
    "read_run",
    "run_gate",
    "write_run",
]
