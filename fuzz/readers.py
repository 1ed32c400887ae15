"""Fuzzes the harness' readers with atheris: ``python fuzz/readers.py READER [OPTIONS]``.

The options are libFuzzer's. A reader may read a file or refuse it in its own words; any other
exception is a find. Readers, and a sound file that each begins from, are those of
``parity_tests/test_hostile_files.py``; finds that were mended are kept in ``fuzz/corpus/READER``.
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["sampler_parity"]):
    from parity_tests.test_hostile_files import READERS, sound


def main() -> None:
    """Fuzz the reader that is named first."""
    name = sys.argv.pop(1)
    reader = READERS[name]
    folder = Path(tempfile.mkdtemp())
    path = folder / "read" / reader.sound.name
    path.parent.mkdir()
    seeds = folder / "seeds"
    seeds.mkdir()
    (seeds / reader.sound.name).write_bytes(sound(reader))

    def once(content: bytes) -> None:
        path.write_bytes(content)
        try:
            reader.read(path)
        except reader.error:
            return

    kept = Path(__file__).parent / "corpus" / name
    atheris.Setup([*sys.argv, str(seeds), *([str(kept)] if kept.exists() else [])], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
