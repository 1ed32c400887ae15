"""The statistical gate for one candidate, in whichever way its draws are had fastest."""

from collections.abc import Callable

import msgspec

from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.isolated import Isolated, Limits
from sampler_parity.statistics.gate import run_statistics
from sampler_parity.statistics.result import StatisticsResult
from sampler_parity.statistics.sources import ImplementationSource, port

DRAWS_OF_A_CASE = 100
"""Times the limit for a case that a candidate may take here: a case has up to 1,000 calls."""


def frequencies(
    implementation: str,
    profile: str,
    seed: int,
    limits: Limits,
    progress: Callable[[str, int, int], None],
) -> StatisticsResult:
    """Draw from ``implementation``, count, and judge.

    The port draws in this process, a million times in some seconds: it is ours. Anything else
    draws in its own.

    Raises:
        CannotJudgeError: it cannot be started; the extension is missing or stale.
    """
    if implementation == "rust_ext":
        return run_statistics(port(), profile, seed, progress)
    patient = msgspec.structs.replace(limits, seconds=limits.seconds * DRAWS_OF_A_CASE)
    with Isolated(implementation, patient) as candidate:
        source = ImplementationSource(candidate, capability_here())
        return run_statistics(source, profile, seed, progress, samplers=candidate.about.samplers)
