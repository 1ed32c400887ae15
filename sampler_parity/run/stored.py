"""Files that a run stores: JSON of a version, which a later one may not read."""

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import DAMAGED

StoredKind = TypeVar("StoredKind")


class _Version(msgspec.Struct):
    schema: int


def decoded(
    path: Path,
    content: bytes,
    kind: type[StoredKind],
    schema: int,
    again: str,
    dec_hook: Any = None,
) -> StoredKind:
    """Decode what ``path`` holds as ``kind``, if it is of version ``schema``.

    Args:
        path: as errors name it.
        content: of the file.
        kind: a struct with a field ``schema``.
        schema: the version that is read.
        again: how a damaged file is made anew.
        dec_hook: see :func:`msgspec.json.decode`.

    Raises:
        CannotJudgeError: it is damaged, or of another version.
    """
    try:
        version = msgspec.json.decode(content, type=_Version).schema
        if version != schema:
            raise CannotJudgeError(
                f"{path} has schema {version}, and this version reads {schema}: "
                "read it with the version that wrote it"
            )
        return msgspec.json.decode(content, type=kind, dec_hook=dec_hook)
    except DAMAGED as error:
        raise CannotJudgeError(f"{path} is damaged ({error}): {again}") from error
