"""The portable vectors: what is in them, and that readers in other languages hold and notice."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from parity_tests.programs import compiled
from sampler_parity.build.installation import REPOSITORY
from sampler_parity.cases.fixtures import FIXTURES
from sampler_parity.cases.plan import case_of
from sampler_parity.cases.vectors import Vector, as_text, from_text, load_vectors
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.pipelines.references import REFERENCES
from sampler_parity.record.vectors import CAPABILITY, FLAGS, numpy_at_avx2, schema

FOLDER = FIXTURES / "vectors"
SMALL = FOLDER / "sample_logits.json"
FILES = [f"{name}{suffix}" for name in REFERENCES for suffix in (".json", ".safetensors")]


@pytest.mark.parametrize("name", FILES)
def test_every_pipeline_has_vectors(name: str) -> None:
    capability, vectors = load_vectors(FOLDER / name)
    assert capability == CAPABILITY
    assert len(vectors) >= (10 if name.endswith(".json") else 2)
    for vector, numbers in vectors:
        case = case_of(vector.id)
        assert vector.pipeline == Path(name).stem == case.pipeline.name
        np.testing.assert_array_equal(numbers.logits.view(np.uint32), case.logits.view(np.uint32))
        assert set(vector.flags) <= set(FLAGS)
        if vector.refused != 0:
            assert set(numbers.stages) == set(case.pipeline.names[:-1])
            rows = case.logits.shape[0] if case.logits.ndim > 1 else 1
            calls = vector.draws if vector.refused is None else vector.refused
            assert np.array(vector.token).shape == (rows, calls)


def of_pipeline(name: str) -> list[Vector]:
    return [vector for vector, _ in load_vectors(FOLDER / f"{name}.json")[1]]


def test_every_flag_is_some_vector_s() -> None:
    seen = {flag for name in REFERENCES for vector in of_pipeline(name) for flag in vector.flags}
    assert seen == set(FLAGS)
    own = {flag for vector in of_pipeline("sample_logits") for flag in vector.flags}
    asked = {"tie_at_top_k", "tie_at_top_p", "boundary_of_top_p", "zero_temperature", "nan"}
    assert asked <= own


def test_the_page_and_the_schema_list_the_flags() -> None:
    page = (REPOSITORY / "docs" / "vectors.md").read_text(encoding="utf-8")
    _, table = page.split("| flag | what it says |")
    assert re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE) == [*FLAGS.items()]
    assert (FOLDER / "schema.json").read_bytes() == schema()
    fields = {field for row in re.findall(r"^\| (`\w+`.*?) \|", page, re.MULTILINE)
              for field in re.findall(r"`(\w+)`", row)}  # fmt: skip
    first = json.loads(SMALL.read_text(encoding="utf-8"))["vectors"][0]
    assert set(first) - fields == {"pipeline"}


def test_text_keeps_every_bit() -> None:
    bits = np.array([0, 0x8000_0000, 1, 0x7F80_0000, 0x7FC0_1234, 0xFFFF_FFFF], np.uint32)
    values = bits.view(np.float32).reshape(2, 3)
    assert from_text(as_text(values), (2, 3), mask=False).tobytes() == values.tobytes()
    mask = np.array([True, False])
    assert from_text(as_text(mask), (2,), mask=True).tolist() == mask.tolist()


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.update(schema=2),
        lambda file: file["vectors"][0].update(logits="0"),
        lambda file: file["vectors"][0].update(logits="x y"),
        lambda file: file["vectors"][0].update(new=1),
        lambda file: file["vectors"][0]["stages"].update(top_k_mask="12"),
        lambda file: file.pop("torch"),
    ],
)
def test_what_is_no_vector_is_refused(tmp_path: Path, change: Callable[[Any], None]) -> None:
    file = json.loads(SMALL.read_text(encoding="utf-8"))
    change(file)
    path = tmp_path / "vectors.json"
    path.write_text(json.dumps(file), encoding="utf-8")
    with pytest.raises(CannotJudgeError, match=r"vectors\.json"):
        load_vectors(path)


@pytest.mark.slow
@pytest.mark.proof
def test_the_references_give_the_vectors_again(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "sampler_parity.record.vectors", CAPABILITY, tmp_path],
        env={**os.environ, "ATEN_CPU_CAPABILITY": CAPABILITY, **numpy_at_avx2()},
        check=True,
    )
    for name in FILES:
        if name.endswith(".json"):
            again, recorded = ((folder / name).read_text() for folder in (tmp_path, FOLDER))
            assert again.splitlines()[1:] == recorded.splitlines()[1:], name
        else:
            tensors, expected = load_file(tmp_path / name), load_file(FOLDER / name)
            assert tensors.keys() == expected.keys()
            for tensor, values in expected.items():
                assert tensors[tensor].tobytes() == values.tobytes(), f"{name}: {tensor}"


# Readers in other languages.


@pytest.fixture(scope="module")
def in_cpp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("reader") / "reader"
    source = REPOSITORY / "examples" / "vectors" / "plain_stages.cpp"
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["c++", *flags, "-o", program, source], check=True)
    return program


def read(program: Path, file: Path) -> tuple[int, str]:
    done = subprocess.run([program, file], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def damaged(stage: str, folder: Path) -> tuple[Path, str]:
    """Change one value of the first vector that has one to change; give the file and its id."""
    lines = SMALL.read_text(encoding="utf-8").splitlines()
    at = next(i for i, line in enumerate(lines) if '"refused":null' in line and "],[" not in line)
    vector = json.loads(lines[at].removesuffix(","))
    if stage == "token":
        vector["token"][0][-1] ^= 1
    elif stage == "generator":
        vector["next_outputs"][3] ^= 1
    elif stage.endswith("_mask"):
        mask = vector["stages"][stage]
        vector["stages"][stage] = "10"[int(mask[0])] + mask[1:]
    else:
        words = vector["stages"][stage].split()
        largest = max(range(len(words)), key=lambda i: int(words[i], 16))
        words[largest] = f"{int(words[largest], 16) ^ 0x100:08x}"
        vector["stages"][stage] = " ".join(words)
    lines[at] = json.dumps(vector, separators=(",", ":")) + ","
    path = folder / f"{stage}.json"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path, vector["id"]


STAGES = ("probs", "top_k_mask", "top_p_mask", "renormalized", "token", "generator")


@pytest.mark.proof
def test_a_reader_in_cpp_holds_and_notices(in_cpp: Path, tmp_path: Path) -> None:
    status, words = read(in_cpp, SMALL)
    assert (status, " 0 differ" in words) == (0, True)
    assert int(words.split()[0]) > 10
    for stage in STAGES:
        path, name = damaged(stage, tmp_path)
        status, words = read(in_cpp, path)
        assert (status, words.splitlines()[0]) == (1, f"{name}: {stage}")


def test_the_reader_in_cpp_is_short() -> None:
    header = (REPOSITORY / "examples" / "vectors" / "vectors.hpp").read_text(encoding="utf-8")
    assert len([line for line in header.splitlines() if line.strip()]) <= 46
    assert "json" not in " ".join(re.findall(r"#include .*", header))


@pytest.mark.proof
def test_a_reader_in_rust_holds_and_notices(tmp_path: Path) -> None:
    program = compiled("example", "vectors")
    status, words = read(program, SMALL)
    assert (status, " 0 differ" in words) == (0, True)
    for stage in STAGES:
        path, name = damaged(stage, tmp_path)
        status, words = read(program, path)
        kind = stage if stage in {"token", "generator"} else "stages"
        assert (status, words.splitlines()[0]) == (1, f'"{name}": {kind}')
