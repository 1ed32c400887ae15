"""The gate with every torch that an index has, each in an environment of its own.

``python -m benchmarks.torch_matrix [--profile full] [--only 2.9] [--again]`` installs the newest
patch of each minor version, runs the gate in it, and stores what it found after each one: an
interrupted run loses one version. What was measured of the same sources is not measured again.
Versions from before the oldest that is promised get a quick look. Exit status: 0 the gate holds
with every one that is promised, 1 it does not with one, 2 one could not be measured.

Torch comes from PyPI, whose builds for Linux bring CUDA's libraries, 5 GB a version while it is
measured. ``TORCH_INDEX_URL`` names an index with smaller builds, such as PyTorch's own for the CPU.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from benchmarks import readme
from benchmarks import torch_matrix_page as page
from benchmarks.programs import run
from benchmarks.torch_matrix_page import MeasuredTorch, TorchMatrix, minor
from sampler_parity.build.extension import source_hash
from sampler_parity.build.installation import REPOSITORY, commit
from sampler_parity.cases.plan import LOOK
from sampler_parity.commands.doctor import OLDEST_TORCH
from sampler_parity.implementations.registry import PORT
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import write_atomically
from sampler_parity.run.proved import PROVED
from sampler_parity.run.run_file import RUN_NAME, read_run

OLDEST_MEASURED = "2.4"
"""Some minor versions before the oldest that is promised are looked at too."""

INDEX = "TORCH_INDEX_URL"
EXTRAS = ("charts", "statistics")
"""What the gate needs of the project's extras, beside torch."""

ACCEPTED = {"<2.12": ".github/denormal-noise.toml"}
"""What the gate accepts, and with which versions of torch; in others it fails."""

EXPONENTIALS = (
    "import json, torch; torch.manual_seed(42); torch.rand(5); "
    "print(json.dumps(torch.empty(5).exponential_().tolist()))"
)
"""What finding F8 shows: the numbers of which the smallest one decides between equal tokens."""

SHAPING = ("python_ref", "sampler_parity", "fixtures/manifest.json", ".github")
"""What a result depends on, beside the Rust sources and torch."""


def sources(root: Path = REPOSITORY) -> str:
    """Hash everything that shapes a result but torch and what is installed with it.

    Raises:
        CannotJudgeError: there is no checkout.
    """
    rust = source_hash(root)
    if rust is None:
        raise CannotJudgeError("the gate is run with every torch from a checkout only")
    digest = hashlib.sha256(rust.encode())
    for name in SHAPING:
        path = root / name
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        for file in files:
            if file.suffix in {".py", ".toml"} or file.name == "manifest.json":
                digest.update(f"{file.relative_to(root).as_posix()}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def newest_of_minors(listed: str, oldest: str = OLDEST_MEASURED) -> list[str]:
    """Give the newest patch of each minor version, the oldest first.

    Args:
        listed: what ``pip index versions torch`` prints.
        oldest: the first minor version that counts.

    Raises:
        CannotJudgeError: there are no versions in it.
    """
    found = re.search(r"^Available versions:(.*)$", listed, re.MULTILINE)
    if found is None:
        raise CannotJudgeError(f"pip lists no versions of torch: {listed.strip() or 'nothing'}")
    newest: dict[tuple[int, ...], Version] = {}
    for name in found[1].split(","):
        version = Version(name.strip())
        key = version.release[:2]
        if key >= Version(oldest).release[:2] and not version.is_prerelease:
            newest[key] = max(version, newest.get(key, version))
    return [newest[key].public for key in sorted(newest)]


def index_options() -> list[str]:
    """Name the index that the user has for torch, beside the usual one."""
    url = os.environ.get(INDEX, "")
    return ["--extra-index-url", url] if url else []


def pip(*arguments: str, python: Path | None = None) -> str:
    """Run this environment's pip, perhaps for another environment; give what it prints.

    Raises:
        CannotJudgeError: it fails.
    """
    for_other = ["--python", str(python)] if python is not None else []
    return run(sys.executable, "-m", "pip", *for_other, *arguments).stdout


def environment(folder: Path, torch: str, wheel: Path) -> Path:
    """Make an environment with a torch and the project's wheel; give its interpreter.

    The wheel is installed without its extra ``torch``, which asks for a newer one than some of
    those that are looked at.

    Raises:
        CannotJudgeError: something cannot be installed.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    project = f"{wheel}[{','.join(EXTRAS)}]"
    wanted = ("--no-compile", "--no-cache-dir", f"torch=={torch}", project)
    pip("install", "--quiet", *index_options(), *wanted, python=python)
    return python


def accepted(torch: str) -> list[str]:
    """Name the file of what is accepted with a torch; none where nothing is."""
    return [waivers for versions, waivers in ACCEPTED.items() if torch in SpecifierSet(versions)]


def gate(python: Path, torch: str, profile: str, folder: Path) -> MeasuredTorch:
    """Run the gate in an environment, from this checkout, and read what it stored.

    Raises:
        CannotJudgeError: it stored nothing.
    """
    command = [str(python), "-m", "sampler_parity", "run", "--implementation", PORT, "--quiet"]
    command += ["--quick-look"] if profile == LOOK else ["--profile", profile]
    if profile != LOOK:
        for waivers in accepted(torch):
            command += ["--waivers", waivers]
    command += ["--out", str(folder)]
    # What the user's shell adds must not stand before the environment's own packages.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Exit status 1 and 2 are results too: the stored run says which.
    done = subprocess.run(
        command, cwd=REPOSITORY, env=clean, capture_output=True, text=True, check=False
    )
    if not (folder / RUN_NAME).exists():
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise CannotJudgeError(f"the gate did not come to an end: {''.join(last) or 'no words'}")
    found = page.measured_torch(read_run(folder), torch=torch, sources=sources())
    numbers = msgspec.json.decode(
        run(str(python), "-c", EXPONENTIALS).stdout, type=tuple[float, ...]
    )
    return msgspec.structs.replace(found, exponentials=numbers)


def measure(torch: str, profile: str, wheel: Path) -> MeasuredTorch:
    """Install a torch and run the gate in it; what keeps it from running is a result too."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(prefix="torch-matrix-") as folder:
        try:
            python = environment(Path(folder, "venv"), torch, wheel)
            return gate(python, torch, profile, Path(folder, "run"))
        except CannotJudgeError as error:
            return MeasuredTorch(
                torch=torch,
                sources=sources(),
                commit=commit().split()[0],
                profile=profile,
                status=None,
                reasons=(str(error).splitlines()[-1],),
                started=started,
            )


def known(matrix: TorchMatrix, torch: str, profile: str) -> bool:
    """Whether that torch was measured of the same sources, with the same profile."""
    now = sources()
    return any(
        one.torch == torch and one.sources == now and one.profile == profile
        for one in matrix.measured
        if one.status is not None
    )


def store(matrix: TorchMatrix) -> None:
    """Write the result, the package's list of proved versions, and the page."""
    write_atomically(page.STORED, page.encoded(matrix))
    write_atomically(PROVED, page.encoded(page.proved(matrix)))
    readme.rewrite(page.tables(matrix))


def told(one: MeasuredTorch) -> str:
    """Say in a line what was found with a torch."""
    if one.status is None:
        return f"torch {one.torch}: not measured: {'; '.join(one.reasons)}"
    return (
        f"torch {one.torch}: {one.status}, {one.differing:,} of {one.compared:,} cases differ, "
        f"{one.accepted:,} of them accepted ({one.seconds:.0f} s)"
    )


def exit_status(promised: Iterable[MeasuredTorch]) -> int:
    """Give 1 where the gate found a divergence with one, else 2 where one was not judged."""
    found = {one.status if one.proved or one.status != "holds" else None for one in promised}
    if "diverges" in found:
        return 1
    return 0 if found == {"holds"} else 2


def measure_all(only: list[str], profile: str, *, again: bool) -> int:
    """Measure every version that is asked for and not known; give the exit status.

    Raises:
        CannotJudgeError: the index lists no version, or the wheel cannot be built.
    """
    matrix = page.read(page.STORED) if page.STORED.exists() else TorchMatrix(oldest=OLDEST_TORCH)
    versions = newest_of_minors(pip("index", "versions", "torch", *index_options()))
    if only:
        versions = [torch for chosen in only for torch in versions if minor(torch) == chosen]
    profiles = {
        torch: profile if Version(torch) >= Version(OLDEST_TORCH) else LOOK for torch in versions
    }
    wanted = [torch for torch in versions if again or not known(matrix, torch, profiles[torch])]
    if wanted:
        with tempfile.TemporaryDirectory(prefix="torch-matrix-wheel-") as folder:
            pip("wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(REPOSITORY))
            [wheel] = Path(folder).glob("*.whl")
            for torch in wanted:
                one = measure(torch, profiles[torch], wheel)
                matrix = page.with_one(matrix, one)
                store(matrix)
                print(told(one), flush=True)
    measured = [one for one in matrix.promised if not only or minor(one.torch) in only]
    return exit_status(measured) if measured else 0


def main() -> int:
    """Measure, store after each version, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", choices=("quick", "full"), default="quick")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="MINOR", help="such as 2.9, in this order"
    )
    parser.add_argument("--again", action="store_true", help="measure what is known too")
    chosen = parser.parse_args()
    try:
        return measure_all(chosen.only, chosen.profile, again=chosen.again)
    except CannotJudgeError as error:
        print(f"Nothing was measured: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted: what was measured before is stored.", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
