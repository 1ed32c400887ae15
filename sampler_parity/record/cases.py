"""Records a few small cases as files that replay in Rust."""

from pathlib import Path

from sampler_parity.cases.case_file import save_case
from sampler_parity.cases.manifest import describe_file, update_manifest
from sampler_parity.cases.plan import case_of
from sampler_parity.record.recording import LICENCE, versions

_FOLDER = "cases"
_COMMAND = "sampler-parity record cases"

_CASE_IDS = {
    "gaussian-26@0": "several draws, after 1,241 outputs",
    "top-k-tie-4@0": "a tie at the top-k threshold, and another at the top-p cutoff",
    "top-p-tie-13@0": "a tie across the top-p cutoff",
    "odd-parameters-162@0": "temperature 0 as argmax, top_k beyond the vocabulary",
    "odd-parameters-33@0": "temperature = nan, refused",
    "odd-logits-7@0": "a NaN among the logits, refused",
    "one-dimension-7@0": "logits [V], refused",
    "bf16-10@0": "the simple sampler with a forbidden token",
    "odd-parameters-12@0": "a negative noise, refused after the logits are scaled",
}
"""What is recorded as case files, and why."""


def record_cases(folder: Path) -> list[Path]:
    """Record a few small cases as files that replay in Rust, at this process' capability.

    Writes ``cases/ID.safetensors``, each a case with the reference's outcome, see
    :mod:`sampler_parity.cases.case_file`.

    Args:
        folder: the fixtures folder; its manifest is updated.

    Returns:
        The files written.

    Raises:
        FixtureError: the folder has a manifest, but not a valid one.
    """
    from sampler_parity.implementations.python_ref import PythonRef, capability_here

    capability = capability_here()
    entries = []
    for case_id, why in _CASE_IDS.items():
        case = case_of(case_id)
        path = f"{_FOLDER}/{case_id}.safetensors"
        outcome = PythonRef().run(case, capability)
        save_case(folder / path, case, capability, outcome, None)
        entries.append(
            describe_file(
                folder,
                path,
                origin="python_ref under torch, on synthetic logits, numpy.random.default_rng",
                licence=LICENCE,
                command=_COMMAND,
                versions=versions("torch"),
                notes=f"ATEN_CPU_CAPABILITY={capability}: {why}",
            )
        )
    update_manifest(folder, entries)
    return [folder / entry.path for entry in entries]
