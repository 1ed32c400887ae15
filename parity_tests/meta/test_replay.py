"""A case's file replays in Rust alone, and what differs in it is named."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save

from parity_tests.programs import compiled
from sampler_parity.cases.case_file import save_case
from sampler_parity.cases.families import FAMILIES
from sampler_parity.cases.fixtures import FIXTURES
from sampler_parity.cases.plan import THREADED, case_of
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.run.effort import WHOLE

HERE = capability_here()
RECORDED = sorted((FIXTURES / "cases").glob("*.safetensors"))
SAMPLED = FIXTURES / "cases" / "top-k-tie-4@0.safetensors"
REFUSED = FIXTURES / "cases" / "odd-logits-7@0.safetensors"
STAGES = {
    "scaled_logits", "probs", "top_k_mask", "top_p_mask", "renormalized", "token", "input",
    "generator",
}  # fmt: skip


@pytest.fixture(scope="session")
def example() -> Path:
    return compiled("example", "replay")


def replay(example: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [str(path) for path in (example, *files)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def differing(printed: str) -> set[str]:
    lines = [line.split() for line in printed.splitlines() if line.startswith("  ")]
    return {stage for stage, word, *_ in lines if word != "equal"}


def changed(path: Path, to: Path, **metadata: str) -> None:
    """Copy a case's file with other metadata."""
    with safe_open(path, "numpy") as file:
        kept = file.metadata() or {}
    to.write_bytes(save(load_file(path), metadata={**kept, **metadata}))


def test_the_recorded_cases_replay(example: Path) -> None:
    done = replay(example, *RECORDED)
    assert len(RECORDED) >= 9
    assert (done.returncode, done.stderr, differing(done.stdout)) == (0, "", set())
    assert all(f"{path}: " in done.stdout for path in RECORDED)


def test_any_case_replays(example: Path, tmp_path: Path) -> None:
    """Of every family: what the reference does here is what the port does in Rust."""
    paths, failures = [], 0
    for family in sorted(FAMILIES.keys() - THREADED):
        for index in range(8):
            case = case_of(f"{family}-{index}@3")
            if case.logits.size > WHOLE.largest:
                continue  # a run keeps no file of it
            outcome = PythonRef().run(case, HERE)
            failures += outcome.failure is not None
            paths.append(tmp_path / f"{case.id}.safetensors")
            save_case(paths[-1], case, HERE, outcome, outcome)
    done = replay(example, *paths)
    assert (done.returncode, done.stderr, differing(done.stdout)) == (0, "", set())
    assert done.stdout.count("  error ") == len(paths) > 100
    assert failures > 5


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_one_flipped_bit_is_named(stage: str, example: Path, tmp_path: Path) -> None:
    with safe_open(SAMPLED, "numpy") as file:
        metadata = file.metadata()
    tensors = load_file(SAMPLED)
    flipped = tensors[f"reference.{stage}"].copy()
    flipped.reshape(-1).view(np.uint8)[0] ^= 1
    tensors[f"reference.{stage}"] = flipped
    path = tmp_path / "flipped.safetensors"
    path.write_bytes(save(tensors, metadata=metadata))
    done = replay(example, path)
    assert done.returncode == 1
    assert differing(done.stdout) == {stage}
    assert f"differs at {[0] * flipped.ndim}: reference" in done.stdout


def test_another_seed_draws_other_tokens(example: Path, tmp_path: Path) -> None:
    with safe_open(SAMPLED, "numpy") as file:
        note = (file.metadata() or {})["case"]
    path = tmp_path / "seed.safetensors"
    changed(SAMPLED, path, case=json.dumps({**json.loads(note), "seed": 1}))
    done = replay(example, path)
    assert done.returncode == 1
    assert differing(done.stdout) == {"token", "generator"}


def test_a_call_that_only_one_side_refuses(example: Path, tmp_path: Path) -> None:
    """The reference refused: the same case without its NaN does not."""
    with safe_open(REFUSED, "numpy") as file:
        metadata = file.metadata()
    tensors = load_file(REFUSED)
    tensors["logits"] = np.nan_to_num(tensors["logits"], posinf=0)
    path = tmp_path / "accepted.safetensors"
    path.write_bytes(save(tensors, metadata=metadata))
    done = replay(example, path)
    assert done.returncode == 1
    assert "the reference refuses call 0, the port refuses no call" in done.stdout


def test_what_cannot_be_read(example: Path, tmp_path: Path) -> None:
    path = tmp_path / "case.safetensors"

    def reason(*files: Path) -> str:
        done = replay(example, *files)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert str(files[-1]) in done.stderr
        return done.stderr

    assert "No such file" in reason(path)
    path.write_bytes(SAMPLED.read_bytes()[:-1])
    assert "cannot be replayed" in reason(path)
    # A file that can be read changes nothing about one that cannot.
    assert "cannot be replayed" in reason(SAMPLED, path)
    changed(SAMPLED, path, schema="9")
    assert "it has schema 9, and this version reads 2" in reason(path)
    changed(SAMPLED, path, case="{}")
    assert "missing field" in reason(path)
    with safe_open(SAMPLED, "numpy") as file:
        metadata = file.metadata() or {}
    changed(SAMPLED, path, case=metadata["case"].replace('"top_p":0.85', '"top_p":"most"'))
    assert "top_p = most" in reason(path)
    tensors = load_file(SAMPLED)
    del tensors["reference.probs"]
    path.write_bytes(save(tensors, metadata=metadata))
    assert "reference.probs" in reason(path)
    assert replay(example).returncode == 2
