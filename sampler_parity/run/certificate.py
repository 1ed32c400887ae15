"""Whether the port may stand in torch's place here: it must equal every trace recorded of torch."""

from collections.abc import Callable

from sampler_parity.cases.golden import GOLDEN
from sampler_parity.cases.recorded import recorded_cases
from sampler_parity.cases.traces import FOLDER, load_traces, recorded_with
from sampler_parity.implementations.reference import reference_here
from sampler_parity.judge import compare
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run.run_file import Certificate

SOME = 100
"""After as many traces somebody is told."""


def certified(capability: str, told: Callable[[int], None] = lambda _: None) -> Certificate:
    """Run the reference of this process on every trace that torch left at ``capability``.

    ``told`` is called now and then with how many were equal.

    Raises:
        CannotJudgeError: one differs, or there are none.
    """
    reference = reference_here()
    versions = [recorded_with(f"{GOLDEN}/{capability}.safetensors")]
    equal = 0
    for case, recorded in recorded_cases(capability):
        mine = reference.run(case, capability)
        found = compare(case, recorded.outcome(mine), mine).divergence()
        if found is not None:
            raise _refused(case, capability, versions[0], found.stage)
        equal += 1
    for trace in load_traces(capability):
        if not equal % SOME:
            told(equal)
        if len(versions) == 1:
            versions.append(recorded_with(f"{FOLDER}/{capability}.safetensors"))
        parted = trace.parted(reference.run(trace.case, capability))
        if parted:
            raise _refused(trace.case, capability, versions[-1], parted)
        equal += 1
    if not equal:
        raise CannotJudgeError(f"no trace of torch was recorded at capability {capability}")
    return Certificate(traces=equal, torch=" and ".join(dict.fromkeys(versions)))


def _refused(case: Case, capability: str, torch: str, stage: str) -> CannotJudgeError:
    return CannotJudgeError(
        f"the port cannot stand in torch's place: at capability {capability} it is not what torch "
        f"{torch} was recorded to give for {case.id}, first in {stage}"
    )
