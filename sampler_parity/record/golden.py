"""Records golden traces: torch's stages, tokens and states at every capability.

torch fixes its CPU capability when it is imported, so each capability is recorded by a process of
its own.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import safetensors.numpy
from rich.console import Console
from rich.progress import track

from sampler_parity.build.installation import how_to_restore
from sampler_parity.build.processor import environment_at, reached
from sampler_parity.cases.golden import GOLDEN
from sampler_parity.cases.manifest import (
    FileEntry,
    FixtureError,
    describe_file,
    load_manifest,
    update_manifest,
    verify_file,
)
from sampler_parity.model.case import LEVELS
from sampler_parity.model.files import write_atomically
from sampler_parity.record.golden_plan import golden_cases
from sampler_parity.record.recording import (
    LICENCE,
    LOGITS_COMMAND,
    LOGITS_PATH,
    RecordError,
    versions,
)

_COMMAND = "sampler-parity record golden"
_HERE = LEVELS["x86"]
"""The levels that are recorded together, on one processor; those of Arm are recorded by
:mod:`sampler_parity.record.arm`."""
WORKER = "sampler_parity.record.golden_worker"
_WORKER_SECONDS = 300


def record_golden(folder: Path) -> list[Path]:
    """Record golden traces of both samplers at every CPU capability of torch on x86.

    Writes ``cases.json``, ``cases.safetensors`` and one safetensors file a capability into
    ``golden/``, all or none of them. ``fixtures/README.md`` describes their contents.

    Args:
        folder: the fixtures folder; it must hold the real logits, and its manifest is updated.

    Returns:
        The files written.

    Raises:
        FixtureError: the real logits are missing or not as recorded.
        RecordError: this machine lacks a capability, or a recording process failed.
    """
    _require_logits(folder)
    cases, inputs = golden_cases()
    names = ["cases.json", "cases.safetensors", *(f"{name}.safetensors" for name in _HERE)]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".golden-") as name:
        staging = Path(name)
        lines = ",\n".join(msgspec.json.encode(case).decode() for case in cases)
        (staging / "cases.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8", newline="\n")
        (staging / "cases.safetensors").write_bytes(safetensors.numpy.save(inputs))
        for capability in track(
            _HERE, description="recording golden traces", console=Console(stderr=True)
        ):
            run_worker(WORKER, capability, folder, staging)
        for file in names:
            write_atomically(folder / GOLDEN / file, (staging / file).read_bytes())
    update_manifest(folder, [_describe_golden(folder, name) for name in names])
    return [folder / GOLDEN / name for name in names]


def _require_logits(folder: Path) -> None:
    for entry in load_manifest(folder).files:
        if entry.path == LOGITS_PATH:
            verify_file(folder, entry)
            return
    raise FixtureError(
        f"{LOGITS_PATH} is not recorded yet: run `{LOGITS_COMMAND}` first, or {how_to_restore()}"
    )


def _describe_golden(folder: Path, name: str) -> FileEntry:
    synthetic = name.startswith("cases.")
    capability = name.removesuffix(".safetensors")
    return describe_file(
        folder,
        f"{GOLDEN}/{name}",
        origin="synthetic, numpy.random.default_rng"
        if synthetic
        else f"python_ref under torch, on the synthetic logits and {LOGITS_PATH}",
        licence=LICENCE,
        command=_COMMAND,
        versions=versions() if synthetic else versions("torch"),
        notes="" if synthetic else f"ATEN_CPU_CAPABILITY={capability}",
    )


def run_worker(
    module: str, capability: str, *paths: Path, environment: Mapping[str, str] | None = None
) -> None:
    """Have a process at ``capability`` record: ``python -m MODULE CAPABILITY PATHS``.

    Args:
        module: what is run.
        capability: torch's dispatch level.
        paths: where to.
        environment: further variables of the process.

    Raises:
        RecordError: this machine lacks the capability, or the process failed.
    """
    if reached(capability) != capability:
        raise RecordError(f"this processor does not reach the capability {capability}")
    tuned = ("ATEN_", "GOMP_", "KMP_", "MKL_", "OMP_")
    untuned = {key: value for key, value in os.environ.items() if not key.startswith(tuned)}
    command = [sys.executable, "-m", module, capability, *(str(p.resolve()) for p in paths)]
    try:
        done = subprocess.run(
            command,
            env={**untuned, **environment_at(capability), **(environment or {})},
            capture_output=True,
            text=True,
            timeout=_WORKER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RecordError(
            f"recording the capability {capability} took over {_WORKER_SECONDS} s"
        ) from error
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RecordError(
            f"recording the capability {capability} failed (exit {done.returncode}): {reason}"
        )
