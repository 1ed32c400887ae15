"""The crates that others depend on: what a package holds, what it says, and what it promises."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

import python_ref
from parity_tests.programs import compiled
from parity_tests.test_listings import TRACKED, of
from sampler_parity.build.installation import REPOSITORY

CRATES = {"torch-exact-sampler": "rust_ext/sampler", "sampler-recorder": "rust_ext/recorder"}
WORKSPACE = tomllib.loads((REPOSITORY / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]


def package(folder: str) -> dict[str, Any]:
    manifest = tomllib.loads((REPOSITORY / folder / "Cargo.toml").read_text(encoding="utf-8"))
    return dict(manifest["package"])


def packaged(name: str) -> set[str]:
    """List the files that `cargo package` would put into a crate."""
    command = ["cargo", "package", "--list", "--allow-dirty", "--package", name]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "warning" not in done.stderr
    return set(done.stdout.split())


def outward(text: str) -> list[str]:
    """List the links of a page that a reader of the package alone cannot follow."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("#")]


@pytest.mark.parametrize("name", CRATES)
def test_a_package_is_whole(name: str) -> None:
    files = packaged(name)
    assert {"LICENSE", "README.md", "src/lib.rs"} <= files
    folder = REPOSITORY / CRATES[name]
    assert (folder / "LICENSE").read_bytes() == (REPOSITORY / "LICENSE").read_bytes()
    assert outward((folder / "README.md").read_text(encoding="utf-8")) == []
    reaching = [
        file
        for file in files
        if file.endswith(".rs") and "../.." in (folder / file).read_text(encoding="utf-8")
    ]
    assert reaching == [], "what reads the repository is left out of the package"


def test_a_link_out_of_a_package_is_seen() -> None:
    assert outward("[a](#b), [sampler-parity](../../README.md)") == ["../../README.md"]


@pytest.mark.parametrize("name", CRATES)
def test_a_package_says_where_it_comes_from(name: str) -> None:
    said = package(CRATES[name])
    for field in ("repository", "homepage", "license", "rust-version", "version"):
        assert said[field] == {"workspace": True}, field
        assert WORKSPACE["package"][field]
    assert said["documentation"] == f"https://docs.rs/{name}"
    assert said["metadata"]["docs"]["rs"]


@pytest.mark.parametrize("folder", CRATES.values())
def test_the_listed_interface_has_what_the_crate_hands_out(folder: str) -> None:
    """CI lists it anew with a nightly Rust; a name that is missing is seen here, with any."""
    source = (REPOSITORY / folder / "src" / "lib.rs").read_text(encoding="utf-8")
    handed = re.findall(r"(?<!\]\n)^pub use ([^;]+);", source, re.MULTILINE)
    names = {name for one in handed for name in re.findall(r"\b([A-Z]\w+|[a-z_]+)\b(?!::)", one)}
    listed = (REPOSITORY / folder / "public-api.txt").read_text(encoding="utf-8")
    assert len(names) > 8
    assert {name for name in names if f"::{name}" not in listed} == set()


def test_the_project_s_address_stands_in_one_place() -> None:
    address = WORKSPACE["package"]["repository"].removeprefix("https://")
    naming = [
        path
        for path in TRACKED
        if Path(path).suffix in {".md", ".toml", ".yml", ".py", ".rs", ".json", ".cff"}
        and (REPOSITORY / path).is_file()
        and address in (REPOSITORY / path).read_text(encoding="utf-8")
    ]
    assert naming == ["Cargo.toml"]


def test_the_migration_s_listing_is_the_example_s() -> None:
    [listing] = [one.text for one in of("rust") if one.page == "docs/migration.md"]
    example = REPOSITORY / "rust_ext" / "sampler" / "examples" / "migration.rs"
    assert listing in example.read_text(encoding="utf-8")
    assert sum(bool(line.strip()) for line in listing.splitlines()) <= 15


@pytest.mark.proof
def test_the_migrated_engine_draws_torch_s_tokens() -> None:
    done = subprocess.run(
        [compiled("example", "migration")], capture_output=True, text=True, check=True
    )
    logits = (torch.arange(8193) * 37 % 997).float()[None] / 16
    generator = torch.Generator("cpu").manual_seed(42)
    expected = [
        python_ref.sample_logits(logits, 1.0, 0.95, 80, generator=generator).item()
        for _ in range(8)
    ]
    assert [int(line) for line in done.stdout.split()] == expected
    assert len(set(expected)) > 4
