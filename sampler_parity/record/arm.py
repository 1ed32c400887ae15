"""Records traces of torch on Arm under emulation: ``python -m sampler_parity.record.arm``.

Each is recorded by a process of qemu's user mode, with a processor that torch takes for one of its
levels: of the golden cases, and of some that are recorded on Arm alone. ``docs/arm.md`` says how
the two folders that it needs are made, and what was seen.
"""

import argparse
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from sampler_parity.build.installation import REPOSITORY
from sampler_parity.cases.fixtures import FIXTURES
from sampler_parity.cases.golden import ARM, GOLDEN, GoldenCase, LogitsSource
from sampler_parity.cases.manifest import FileEntry, describe_file, update_manifest
from sampler_parity.model.files import write_atomically
from sampler_parity.pipelines import SampleLogits
from sampler_parity.record.golden import WORKER
from sampler_parity.record.golden_plan import golden_case
from sampler_parity.record.recording import LICENCE, LOGITS_PATH, RecordError
from sampler_parity.record.recording import versions as versions_here

_COMMAND = "make record-arm"
_SECONDS = 3600
"""An import of torch takes up to a minute under emulation, and a case a fraction of a second."""


@dataclass(frozen=True, slots=True)
class Emulated:
    """A processor, and what torch takes it for.

    Attributes:
        recording: the name of the file that is recorded.
        capability: the level whose bits torch has on it.
        processor: as qemu calls it.
        called: what torch calls the level.
    """

    recording: str
    capability: str
    processor: str
    called: str


EMULATED = (
    Emulated("neon", "neon", "neoverse-n1", "DEFAULT"),
    Emulated("sve128", "neon", "neoverse-n2", "SVE128"),
    Emulated("sve256", "sve256", "neoverse-v1", "SVE256"),
)
"""What is recorded."""


_SAYS = "import torch; print(torch.backends.cpu.get_cpu_capability())"

VOCABS = (
    1,
    2,
    3,
    *(4, 5, 6, 7) * 4,
    *range(8, 21),
    31,
    32,
    33,
    63,
    64,
    65,
    140,
    1000,
    8192,
    49_152,
)
"""Lengths of the rows of the cases that are recorded on Arm alone: four to seven tokens are added
up otherwise there."""


@dataclass(frozen=True, slots=True)
class Machine:
    """An emulator, and what it needs of Linux on Arm.

    Attributes:
        qemu: the emulator's command, ``qemu-aarch64`` of version 10 or newer.
        root: a folder with a Python for Arm and the libraries that it needs, as Debian's packages
            have them.
        packages: a folder with torch, numpy, msgspec, packaging and safetensors for Arm.
    """

    qemu: str
    root: Path
    packages: Path

    def run(self, processor: str, arguments: Sequence[str]) -> str:
        """Run Python on a processor, and give what it prints.

        Raises:
            RecordError: it ended with an error, or took too long.
        """
        pythons = sorted((self.root / "usr" / "bin").glob("python3.[0-9]*"))
        if not pythons:
            raise RecordError(f"{self.root} has no usr/bin/python3.*: see docs/arm.md")
        path = os.pathsep.join(map(str, (self.packages.resolve(), REPOSITORY)))
        command = [self.qemu, "-cpu", processor, "-L", str(self.root)]
        command += ["-E", f"PYTHONPATH={path}", "-E", f"PYTHONHOME={self.root.resolve() / 'usr'}"]
        command += ["-E", "PYTHONDONTWRITEBYTECODE=1", str(pythons[-1]), *arguments]
        try:
            done = subprocess.run(
                command,
                env={"PATH": os.environ.get("PATH", "")},
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RecordError(f"{self.qemu} could not run Python: {error}") from error
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise RecordError(f"Python on {processor} ended with {done.returncode}: {reason}")
        return done.stdout

    def versions(self, processor: str) -> dict[str, str]:
        """Give the versions of everything that shapes a recording, by name."""
        script = (
            "import platform; "
            "print(platform.python_version(), platform.machine(), ''.join(platform.libc_ver()))"
        )
        names = ("python", "machine", "libc")
        found = dict(zip(names, self.run(processor, ["-c", script]).split(), strict=True))
        for one in importlib.metadata.distributions(path=[str(self.packages)]):
            if one.name in {"torch", "numpy", "safetensors"}:
                found[one.name] = one.version
        said = subprocess.run([self.qemu, "--version"], capture_output=True, text=True, check=False)
        return found | {"qemu": said.stdout.split()[2]}


def arm_cases() -> tuple[list[GoldenCase], dict[str, npt.NDArray[np.float32]]]:
    """Give the cases that are recorded on Arm alone, and their logits, f32 [B, V], by id."""
    cases: list[GoldenCase] = []
    inputs: dict[str, npt.NDArray[np.float32]] = {}
    for number, vocab in enumerate(VOCABS):
        rng = np.random.default_rng(number)
        shape = (8 if vocab < 8 else 2 if vocab < 1000 else 1, vocab)
        parameters = SampleLogits(
            temperature=(1.0, 0.8, 1.3)[number % 3],
            top_p=(0.0, 0.0, 0.95)[number % 3],
            top_k=(0, 0, 0, 3)[number % 4] if vocab > 3 else 0,
        )
        name = f"arm-{number:02}-b{shape[0]}-v{vocab}"
        inputs[name] = (rng.standard_normal(shape) * 2).astype(np.float32)
        source = LogitsSource(tensor=name)
        cases.append(golden_case(name, parameters, shape, number, 1 + number % 2, 3, source))
    return cases, inputs


def record_arm(machine: Machine, folder: Path = FIXTURES) -> list[Path]:
    """Record traces of torch at every level that it has on Arm, all or none of them.

    Args:
        machine: what runs torch.
        folder: the fixtures folder; it must hold the golden cases and the real logits, and its
            manifest is updated.

    Returns:
        The files written.

    Raises:
        RecordError: torch took a processor for another level, or could not be run.
    """
    cases, inputs = arm_cases()
    lines = ",\n".join(msgspec.json.encode(case).decode() for case in cases)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".arm-") as name:
        staging = {place: Path(name) / place for place in (GOLDEN, ARM)}
        for made in staging.values():
            made.mkdir()
        for case_file in ("cases.json", "cases.safetensors"):
            shutil.copyfile(folder / GOLDEN / case_file, staging[GOLDEN] / case_file)
        (staging[ARM] / "cases.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8", newline="\n")
        (staging[ARM] / "cases.safetensors").write_bytes(safetensors.numpy.save(inputs))
        recorded: dict[str, bytes] = {}
        for one in EMULATED:
            sys.stderr.write(f"recording {one.recording} on {one.processor}\n")
            said = machine.run(one.processor, ["-c", _SAYS]).strip()
            if said != one.called:
                raise RecordError(f"on {one.processor} torch says {said}, and not {one.called}")
            places = [str(made.resolve()) for made in staging.values()]
            machine.run(
                one.processor, ["-m", WORKER, one.capability, str(folder.resolve()), *places]
            )
            for place, made in staging.items():
                found = made / f"{one.capability}.safetensors"
                _check(found)
                recorded[f"{place}/{one.recording}.safetensors"] = found.read_bytes()
                found.unlink()
        versions = machine.versions(EMULATED[0].processor)
        inputs_of_arm = [f"{ARM}/cases.json", f"{ARM}/cases.safetensors"]
        for path in inputs_of_arm:
            recorded[path] = (Path(name) / path).read_bytes()
    (folder / ARM).mkdir(exist_ok=True)
    for path, content in recorded.items():
        write_atomically(folder / path, content)
    entries = [
        described(folder, place, one, versions) for one in EMULATED for place in (GOLDEN, ARM)
    ]
    entries += [
        describe_file(
            folder,
            path,
            origin="synthetic, numpy.random.default_rng",
            licence=LICENCE,
            command=_COMMAND,
            versions=versions_here(),
        )
        for path in inputs_of_arm
    ]
    update_manifest(folder, entries)
    return [folder / path for path in recorded]


def _check(made: Path) -> None:
    try:
        with safe_open(made, "np") as tensors:
            empty = not tensors.keys()
    except (OSError, SafetensorError) as error:
        raise RecordError(f"what was recorded cannot be read: {error}") from error
    if empty:
        raise RecordError(f"nothing was recorded in {made.name}")


def described(folder: Path, place: str, one: Emulated, versions: dict[str, str]) -> FileEntry:
    """Make the manifest entry of a recording that was made under emulation."""
    return describe_file(
        folder,
        f"{place}/{one.recording}.safetensors",
        origin="python_ref under torch, on the synthetic logits"
        + (f" and {LOGITS_PATH}" if place == GOLDEN else ""),
        licence=LICENCE,
        command=_COMMAND,
        versions=versions,
        notes=f"under emulation, not on an Arm processor: qemu's user mode as {one.processor}, "
        f"on which torch says {one.called}",
    )


def main() -> int:
    """Record as the arguments say."""
    parser = argparse.ArgumentParser(description="Record golden traces of torch on Arm.")
    parser.add_argument("--qemu", default="qemu-aarch64", help="the emulator")
    parser.add_argument("--root", type=Path, required=True, help="Python and libraries for Arm")
    parser.add_argument("--packages", type=Path, required=True, help="torch and numpy for Arm")
    given = parser.parse_args()
    try:
        for path in record_arm(Machine(given.qemu, given.root, given.packages)):
            sys.stdout.write(f"{path}\n")
    except RecordError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
