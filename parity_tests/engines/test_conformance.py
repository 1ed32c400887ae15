"""The conformance files: the reader makes of each what is recorded beside it."""

import shutil
from pathlib import Path

import pytest

from sampler_parity.cases.fixtures import FIXTURES
from sampler_parity.record.recordings import expected, record_recordings

FILES = sorted((FIXTURES / "recordings").glob("*.calls"))


def test_there_are_files() -> None:
    assert len(FILES) == 12


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_reader_makes_of_it_what_is_recorded(path: Path) -> None:
    assert expected(path) == path.with_suffix(".json").read_bytes()


def test_the_recorder_writes_these_files(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "manifest.json", tmp_path)
    for written in record_recordings(tmp_path):
        assert written.read_bytes() == (FIXTURES / "recordings" / written.name).read_bytes()
