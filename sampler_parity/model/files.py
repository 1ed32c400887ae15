"""Files that nobody sees half of."""

import os
from pathlib import Path

import msgspec
from safetensors import SafetensorError

DAMAGED = (
    OSError,
    EOFError,
    ValueError,  # a UnicodeDecodeError too
    LookupError,  # of a name or a row that is not there
    OverflowError,  # of a number that its type cannot hold
    RecursionError,  # of JSON that is nested without end
    MemoryError,  # of a length that is not the file's
    AttributeError,  # safetensors looks in numpy for a dtype that numpy lacks
    msgspec.MsgspecError,
    SafetensorError,
)
"""What the libraries that read JSON and safetensors raise of files that are damaged."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees half of it, making its folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
