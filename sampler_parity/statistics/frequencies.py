"""The statistical gate for one candidate, in whichever way its draws are had fastest."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import msgspec

from sampler_parity.implementations.reference import capability_here, require_reference
from sampler_parity.implementations.registry import PORT
from sampler_parity.pipelines.references import reference_of
from sampler_parity.sandbox.isolated import Isolated, Limits
from sampler_parity.sandbox.together import Together
from sampler_parity.statistics.gate import run_statistics
from sampler_parity.statistics.law import Subject
from sampler_parity.statistics.of_reference import reference_statistics
from sampler_parity.statistics.result import StatisticsResult
from sampler_parity.statistics.sources import ImplementationSource, port

PATIENCE = 10
"""Times the limit for a case that a candidate may take here: a case has up to 1,000 calls."""


def frequencies(
    implementation: str,
    profile: str,
    seed: int,
    limits: Limits,
    progress: Callable[[str, int, int], None],
    yours: Sequence[Subject] = (),
    reference: str = "",
    processes: int = 1,
) -> StatisticsResult:
    """Draw from ``implementation``, count, and judge; from rows of ``yours`` as well.

    It is held against the port's two samplers, or against a ``reference``.

    The port draws in this process, a million times in some seconds: it is ours. Anything else
    draws in ``processes`` of its own, whose number changes no seed and so no token.

    Raises:
        CannotJudgeError: it cannot be started, or says in each process something else that it is;
            the extension is missing or stale.
    """
    require_reference(implementation, reference)
    if implementation == PORT and not reference:
        return run_statistics(port(), profile, seed, progress, yours=yours)
    patient = msgspec.structs.replace(limits, seconds=limits.seconds * PATIENCE)
    kind = reference_of(reference) if reference else None
    also = kind.sampler if kind else ""
    with ExitStack() as started:
        candidate = Together(
            implementation,
            [
                started.enter_context(Isolated(implementation, patient, also=also, wait=False))
                for _ in range(processes)
            ],
        )
        source = ImplementationSource(candidate, capability_here())
        if kind is not None:
            return reference_statistics(source, kind, profile, seed, progress, yours)
        samplers = candidate.about.samplers
        return run_statistics(source, profile, seed, progress, samplers=samplers, yours=yours)
