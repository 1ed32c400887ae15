"""How far up torch's capabilities the processor goes.

torch believes ``ATEN_CPU_CAPABILITY``: told of more than the processor has, the first of its
kernels ends the process with an illegal instruction. So whoever starts a process with that variable
asks here first.
"""

from sampler_parity.build.extension import extension_here
from sampler_parity.model.case import CAPABILITIES


def reached(capability: str) -> str:
    """Give ``capability``, or the processor's highest where that is lower.

    Raises:
        CannotJudgeError: the extension, which looks at the processor, is missing or stale.
    """
    highest: str = extension_here().processor_capability()
    return min(capability, highest, key=CAPABILITIES.index)
