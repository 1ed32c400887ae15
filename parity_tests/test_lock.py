"""The exact versions for development and CI, beside the bounds that users have."""

import re
import tomllib

from packaging.requirements import Requirement

from sampler_parity.build.installation import REPOSITORY

LOCK = (REPOSITORY / "requirements" / "dev.txt").read_text(encoding="utf-8")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def locked(text: str = LOCK) -> dict[str, list[str]]:
    """Give the versions of each package: several where they depend on the Python."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^ ;]+)", text, re.MULTILINE):
        found.setdefault(name.lower(), []).append(version)
    return found


def asked() -> list[Requirement]:
    extras = PROJECT["project"]["optional-dependencies"]
    names = ["torch", "charts", "statistics", "test"]
    lines = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["docs"]]
    lines += [line for name in names for line in extras[name]]
    return [one for one in map(Requirement, lines) if one.name != PROJECT["project"]["name"]]


def test_every_dependency_is_locked_within_its_bounds() -> None:
    versions = locked()
    for one in asked():
        assert one.name.lower() in versions, one
        for version in versions[one.name.lower()]:
            assert one.specifier.contains(version), f"{one} is locked at {version}"


def test_every_version_has_hashes_and_no_address() -> None:
    entries = re.split(r"^(?=\w)", LOCK, flags=re.MULTILINE)[1:]
    assert len(entries) > 50
    assert [one.split()[0] for one in entries if "--hash=sha256:" not in one] == []
    assert not re.search(r"://|^\s*--(?!hash)|^\s*-[^-]| @ ", LOCK, re.MULTILINE)


def test_a_version_without_bounds_is_seen() -> None:
    assert locked("numpy==1.26.0 \\\n    --hash=sha256:0\n") == {"numpy": ["1.26.0"]}
    assert not Requirement("numpy>=2.0").specifier.contains("1.26.0")
