"""Somebody else's environment: the wheel alone, and no checkout."""

import importlib.metadata
import os
import subprocess
import sys
import venv
from functools import partial
from pathlib import Path
from zipfile import ZipFile

import pytest

from parity_tests.conftest import Shared
from parity_tests.test_commands import SAMPLER
from sampler_parity.build.extension import load_extension
from sampler_parity.build.installation import commit, how_to_restore
from sampler_parity.cases.fixtures import FIXTURES
from sampler_parity.cases.manifest import FixtureError, load_manifest, verify
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run.run_file import read_run

GATED = """
def test_run(parity_run):
    assert parity_run.provenance["sources"]["commit"] == "not known: installed from a package"
    assert all(shard.compared for shard in parity_run.shards)
"""


def build_wheel(folder: Path) -> None:
    """Build the wheel; cargo has built what is in it when this environment was made."""
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "maturin", "build", "--release", "--out", str(folder)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def wheel(shared: Shared) -> Path:
    [built] = shared.once("wheel", build_wheel).glob("*.whl")
    return built


@pytest.fixture(scope="session")
def elsewhere(wheel: Path, shared: Shared) -> Path:
    """Give the `bin` of an environment into which the wheel was installed."""
    return shared.once("elsewhere", partial(install, wheel)) / ".venv" / "bin"


def install(wheel: Path, folder: Path) -> None:
    """Install the wheel into an environment that has this one's other packages."""
    home = folder / ".venv"
    venv.create(home, with_pip=False, symlinks=True)
    [packages] = home.glob("lib/python*/site-packages")
    # A plain line of a .pth file is a folder to import from; links in there to this checkout are
    # lines of its own .pth files, which are not read.
    shared = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "shared.pth").write_text("\n".join(shared), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python")]
    command += ["install", "--quiet", "--no-deps", "--no-index", "--ignore-installed"]
    # What is imported is compiled then.
    command += ["--no-compile", str(wheel)]
    subprocess.run(command, check=True)


def run(*command: str | Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_a_wheel_holds_what_it_reads(wheel: Path, repository: Path, tmp_path: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path)
    assert {
        f"sampler_parity/fixtures/{file.path}" for file in load_manifest(FIXTURES).files
    } < names
    packages = ("python_ref", "sampler_parity")
    sources = {
        path.relative_to(repository).as_posix()
        for package in packages
        for path in (repository / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sources < names
    unpacked = tmp_path / "sampler_parity" / "fixtures"
    verify(unpacked)
    (unpacked / "golden" / "avx2.safetensors").unlink()
    with pytest.raises(FixtureError, match="is missing"):
        verify(unpacked)


def test_the_doctor_finds_nothing_there(elsewhere: Path, tmp_path: Path) -> None:
    done = run(elsewhere / "python", "-c", EXAMINED_TWICE, cwd=tmp_path)
    found, damaged = done.stdout.split(DAMAGED)
    assert "version " in found
    assert "from the sources beside it" not in found
    assert "not needed without a checkout" in found
    assert "ended with 0" in found
    assert "ended with 2" in damaged, done.stdout + done.stderr
    assert "install sampler-parity again" in damaged


DAMAGED = "-- the fixtures are damaged --"
EXAMINED_TWICE = f"""
import sys
from sampler_parity.cases import fixtures
from sampler_parity.cli import main
from sampler_parity.commands import doctor


def examined():
    try:
        main()
        status = 0
    except SystemExit as end:
        status = end.code or 0
    print("ended with", status, flush=True)


sys.argv = ["sampler-parity", "doctor"]
examined()
print({DAMAGED!r})
doctor.check_fixtures = lambda: fixtures.check_fixtures(fixtures.FIXTURES / "cases")
examined()
"""


def test_a_repository_gates_its_sampler_there(elsewhere: Path, tmp_path: Path) -> None:
    """Its own folder has a git repository of its own, whose commit is not ours."""
    (tmp_path / "my_sampler.py").write_text(SAMPLER, encoding="utf-8")
    (tmp_path / "test_mine.py").write_text(GATED, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    options = ["--parity-family=real-tts", "--parity-capability=default", "-p", "no:cacheprovider"]
    options += ["--parity-implementation=my_sampler:greedy"]
    found = run(elsewhere / "python", "-m", "pytest", "-q", *options, cwd=tmp_path)
    assert found.returncode == 1, found.stdout + found.stderr
    assert "1 failed, 1 passed" in found.stdout
    assert "the gate found a divergence" in found.stdout
    folder = tmp_path / "reports" / "my_sampler-greedy"
    assert (folder / "index.html").exists()
    assert read_run(folder).shards[0].divergent


def test_the_port_is_compared_there(elsewhere: Path, tmp_path: Path) -> None:
    arguments = ["--family=real-tts", "--capability=default", "--quiet"]
    found = run(elsewhere / "sampler-parity", "run", *arguments, cwd=tmp_path)
    # Deselected, so never a pass; but nothing differs.
    assert found.returncode == 2, found.stdout + found.stderr
    stored = read_run(tmp_path / "reports" / "latest")
    assert {shard.source for shard in stored.shards} == {"torch", "recorded"}
    assert all(shard.compared and not shard.divergent for shard in stored.shards)
    refused = run(elsewhere / "sampler-parity", "record", cwd=tmp_path)
    assert refused.returncode == 2
    assert "an installed package's fixtures stay as they are" in refused.stderr


def test_an_extension_of_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_extension(tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.0.7")
    with pytest.raises(CannotJudgeError, match=r"and sampler-parity of 0\.0\.7: install"):
        load_extension(tmp_path)


class Installed:
    def __init__(self, text: str | None) -> None:
        self.text = text

    def read_text(self, _: str) -> str | None:
        return self.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"url": "https://x", "vcs_info": {"vcs": "git", "commit_id": "0123abc"}}', "0123abc"),
        ('{"url": "file:///x", "dir_info": {}}', "not known: installed from a package"),
        (None, "not known: installed from a package"),
    ],
)
def test_an_installed_package_knows_its_commit_from_pip_only(
    text: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: Installed(text))
    assert commit(tmp_path) == expected
    assert "install sampler-parity again" in how_to_restore(tmp_path)
