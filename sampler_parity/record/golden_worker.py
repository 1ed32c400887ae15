"""The process that records one capability: ``golden_worker CAPABILITY FIXTURES STAGING...``."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from sampler_parity.cases.recorded import load_golden
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import write_atomically

_SMALL = 2_500
"""Up to this many logits a case stores its stages in full, beyond it their digests."""


def record(capability: str, fixtures: Path, staging: Path) -> None:
    """Run every case that ``staging`` holds, and write the stages there.

    Raises:
        CannotJudgeError: torch runs at another capability here, or the cases cannot be read.
    """
    here = capability_here()
    if here != capability:
        raise CannotJudgeError(
            f"torch runs at {here}, not {capability}: "
            f"set ATEN_CPU_CAPABILITY={capability} before it starts"
        )
    results: dict[str, npt.NDArray[Any]] = {}
    for name, case in load_golden(staging, fixtures):
        outcome = PythonRef().run(case, capability)
        stages = dict(outcome.stages)
        if case.pipeline.in_place:
            stages["logits_after"] = outcome.input
        for stage, value in stages.items():
            stored = value.astype(np.uint8) if value.dtype == np.bool_ else value
            if case.logits.size <= _SMALL:
                results[f"{name}.{stage}"] = stored
            else:
                digest = hashlib.sha256(stored.astype(stored.dtype.newbyteorder("<")).tobytes())
                results[f"{name}.{stage}.sha256"] = np.frombuffer(digest.digest(), np.uint8)
        results[f"{name}.token"] = np.stack(outcome.tokens, axis=-1)
        results[f"{name}.state"] = np.frombuffer(outcome.generator, np.uint8)
    write_atomically(staging / f"{capability}.safetensors", safetensors.numpy.save(results))


def main() -> int:
    """Record as the arguments say."""
    capability, fixtures, *stagings = sys.argv[1:]
    try:
        for staging in stagings:
            record(capability, Path(fixtures), Path(staging))
    except CannotJudgeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
