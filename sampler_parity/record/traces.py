"""Records traces in little room: ``python -m sampler_parity.record.traces CAPABILITY FILE``.

torch fixes its CPU capability when it is imported, so each is recorded by a process of its own.
"""

import sys
from pathlib import Path

import msgspec
import numpy as np
import safetensors.numpy
from rich.console import Console
from rich.progress import track

from sampler_parity.build.processor import reached
from sampler_parity.cases.manifest import describe_file, update_manifest
from sampler_parity.cases.plan import case_of
from sampler_parity.cases.traces import FOLDER, digests, ids
from sampler_parity.model.case import CAPABILITIES
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import write_atomically
from sampler_parity.record.golden import run_worker
from sampler_parity.record.recording import LICENCE, versions

_COMMAND = "sampler-parity record traces"
_CASES = "cases.json"


def record_traces(folder: Path) -> list[Path]:
    """Record digests of what torch gives for generated cases, at the capabilities reached here.

    Those of a capability that this processor lacks stay as they are, unless the list of cases
    changes: then they are removed.

    Args:
        folder: the fixtures folder; its manifest is updated.

    Returns:
        The files written.

    Raises:
        RecordError: a recording process failed.
    """
    home = folder / FOLDER
    home.mkdir(parents=True, exist_ok=True)
    listed = msgspec.json.format(msgspec.json.encode(ids()), indent=0) + b"\n"
    here = [name for name in CAPABILITIES if reached(name) == name]
    known = home / _CASES
    if known.exists() and known.read_bytes() != listed:
        for name in CAPABILITIES:
            (home / f"{name}.safetensors").unlink(missing_ok=True)
    write_atomically(known, listed)
    for capability in track(here, description="recording traces", console=Console(stderr=True)):
        run_worker("sampler_parity.record.traces", capability, home / f"{capability}.safetensors")
    names = [_CASES, *(f"{name}.safetensors" for name in here)]
    update_manifest(
        folder,
        [
            describe_file(
                folder,
                f"{FOLDER}/{name}",
                origin="python_ref under torch, on synthetic logits, numpy.random.default_rng",
                licence=LICENCE,
                command=_COMMAND,
                versions=versions("torch"),
                notes="" if name == _CASES else f"ATEN_CPU_CAPABILITY={Path(name).stem}",
            )
            for name in names
        ],
    )
    return [home / name for name in names]


def main() -> int:
    """Record one capability, which must be this process'."""
    from sampler_parity.implementations.python_ref import PythonRef

    capability, path = sys.argv[1:]
    reference = PythonRef()
    try:
        cases = [case_of(name) for name in ids()]
        found = np.stack([digests(case, reference.run(case, capability)) for case in cases])
    except CannotJudgeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    write_atomically(Path(path), safetensors.numpy.save({"digests": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
