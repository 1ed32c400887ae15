"""The torch versions for which the gate was proved: ``make torch-matrix`` ran it with each."""

from pathlib import Path

import msgspec
from packaging.version import InvalidVersion, Version

from sampler_parity.build.installation import NOT_INSTALLED
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run.run_file import Run
from sampler_parity.run.stored import decoded

SCHEMA = 1
PROVED = Path(__file__).parent / "proved_torch.json"


class ProvedTorch(msgspec.Struct, frozen=True, kw_only=True):
    """A torch with which the gate holds.

    Attributes:
        torch: its version, without the build's own suffix.
        day: on which it was shown, ISO 8601.
        cases: how many cases were compared with it.
        waived: how many of them differ, and are accepted.
        capabilities: at which of its levels.
    """

    torch: str
    day: str
    cases: int
    waived: int
    capabilities: tuple[str, ...]


class ProvedVersions(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``proved_torch.json``.

    Attributes:
        schema: version of this form.
        versions: the oldest first.
    """

    schema: int
    versions: tuple[ProvedTorch, ...]


def read_proved(path: Path = PROVED) -> tuple[ProvedTorch, ...]:
    """Read the versions, the oldest first.

    Raises:
        CannotJudgeError: the file is missing or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CannotJudgeError(f"{path} cannot be read: {error}") from error
    return decoded(path, content, ProvedVersions, SCHEMA, "install the package again").versions


def said_of(version: str, proved: tuple[ProvedTorch, ...]) -> str:
    """Say, without a full stop, whether the gate was proved with a version of torch.

    Args:
        version: torch's; the suffix of its build, such as ``+cpu``, does not count.
        proved: the versions that are known.
    """
    found = _matching(version, proved)
    if found is not None:
        differ = f"{found.waived:,} differ and are accepted" if found.waived else "0 differ"
        return f"proved ({found.cases:,} cases, {differ}, {found.day})"
    if not proved:
        return "not among the versions proved, of which there are none"
    return f"not among the versions proved ({', '.join(one.torch for one in proved)})"


def torch_remark(run: Run) -> str:
    """Say whether the gate was proved with a run's torch; empty where its torch is not known."""
    version = _torch_of(run)
    if not version:
        return ""
    said = f"torch {version}: {said_of(version, read_proved())}."
    if unproved(run) and run.status == "holds":
        return f"{said} In this run, the gate holds with it."
    return said


def unproved(run: Run) -> tuple[str, ...]:
    """Say that the gate was not proved with a run's torch; nothing where it was."""
    version, proved = _torch_of(run), read_proved()
    if not version or _matching(version, proved) is not None:
        return ()
    return (f"torch {version}: {said_of(version, proved)}",)


def _torch_of(run: Run) -> str:
    version = run.provenance.get("versions", {}).get("torch", "")
    return "" if version == NOT_INSTALLED else version


def _matching(version: str, proved: tuple[ProvedTorch, ...]) -> ProvedTorch | None:
    try:
        public = Version(version).public
    except InvalidVersion:
        return None
    return next((one for one in proved if one.torch == public), None)
