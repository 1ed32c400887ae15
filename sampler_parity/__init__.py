"""The parity harness: feeds identical cases to two samplers and compares every bit.

The curated API; everything else is internal.
"""

from sampler_parity.case import Case, SampleLogits, SimpleBatch
from sampler_parity.compare import compare
from sampler_parity.errors import CannotJudgeError
from sampler_parity.implementation import About, Implementation, load_implementation
from sampler_parity.outcome import Failure, Outcome
from sampler_parity.plug_in import plug_in
from sampler_parity.run import Request, run_gate
from sampler_parity.run_file import Run, read_run, write_run
from sampler_parity.verdict import Divergence, Verdict

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
