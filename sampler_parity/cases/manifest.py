"""The fixture manifest: where every fixture came from and what every tensor must contain.

``fixtures/manifest.json`` names each data file with its origin, licence, recording command and
versions, and each tensor with its dtype, shape and the sha256 of its raw little-endian content.
The content is hashed, not the file, since a safetensors header may be written in any order.
Files that are not safetensors are hashed whole.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TypedDict, cast

import msgspec
from safetensors import SafetensorError, deserialize

from sampler_parity.build.installation import how_to_restore
from sampler_parity.model.files import write_atomically

__all__ = [
    "MANIFEST_NAME",
    "SCHEMA",
    "FileEntry",
    "FixtureError",
    "Manifest",
    "TensorEntry",
    "describe_file",
    "load_manifest",
    "update_manifest",
    "verify",
    "verify_file",
    "write_manifest",
]

MANIFEST_NAME = "manifest.json"
"""The manifest's name inside the fixtures folder."""

SCHEMA = 1
"""The version of the manifest's format that this code reads and writes."""

_RESTORE = how_to_restore()


class FixtureError(Exception):
    """A fixture is missing, unreadable or not what the manifest says; the message tells how on."""


class TensorEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tensor of a safetensors file.

    Attributes:
        name: the tensor's name in its file.
        dtype: the safetensors dtype, such as ``"F32"``, ``"I64"`` or ``"U8"``.
        shape: the tensor's shape.
        sha256: hex digest of the raw little-endian content.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One data file.

    Attributes:
        path: relative to the fixtures folder, with forward slashes.
        origin: where the data comes from.
        licence: SPDX identifier.
        command: the command that recorded the file.
        versions: of everything that shaped the content, by name.
        notes: free text.
        sha256: hex digest of the whole file, or ``None`` for safetensors.
        tensors: every tensor of a safetensors file, by name; empty for other files.
    """

    path: str
    origin: str
    licence: str
    command: str
    versions: dict[str, str]
    notes: str
    sha256: str | None
    tensors: tuple[TensorEntry, ...]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every fixture of a folder.

    Attributes:
        schema: the format's version, see :data:`SCHEMA`.
        files: one entry a file, sorted by path.
    """

    schema: int
    files: tuple[FileEntry, ...]


class _Header(msgspec.Struct):
    schema: int


class _RawTensor(TypedDict):
    dtype: str
    shape: list[int]
    data: bytearray


def load_manifest(folder: Path) -> Manifest:
    """Read the manifest of a fixtures folder.

    Args:
        folder: the fixtures folder.

    Raises:
        FixtureError: the folder is missing or empty, or its manifest is missing, unreadable, of
            another schema version, or has unknown or missing fields.
    """
    if not folder.is_dir():
        raise FixtureError(f"fixtures folder {folder} does not exist: {_restore_or_record()}")
    if not any(folder.iterdir()):
        raise FixtureError(f"fixtures folder {folder} is empty: {_restore_or_record()}")
    path = folder / MANIFEST_NAME
    remedy = (
        f"{_RESTORE}, or delete it and record again with `sampler-parity record logits` "
        "and `sampler-parity record golden`"
    )
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FixtureError(
            f"fixtures folder {folder} has no {MANIFEST_NAME}: {_restore_or_record()}"
        ) from None
    except OSError as error:
        raise FixtureError(f"cannot read {path} ({error.strerror}): {remedy}") from error
    try:
        schema = msgspec.json.decode(content, type=_Header).schema
        if schema != SCHEMA:
            raise FixtureError(
                f"{path} has schema version {schema}, this code reads version {SCHEMA}: {remedy}"
            )
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FixtureError(f"{path} is not a valid manifest ({error}): {remedy}") from error
    _check_paths(path, manifest, remedy)
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a fixtures folder, atomically.

    The text has one tensor a line, so that a diff shows which tensors changed.
    """
    files = ",\n".join(_format_file(entry) for entry in manifest.files)
    text = f'{{\n"schema": {manifest.schema},\n"files": [\n{files}\n]\n}}\n'
    write_atomically(folder / MANIFEST_NAME, text.encode())


def update_manifest(folder: Path, entries: Iterable[FileEntry]) -> Manifest:
    """Add file entries to a folder's manifest, replacing those of the same path.

    Starts a new manifest where there is none.

    Raises:
        FixtureError: there is a manifest, but not a valid one.
    """
    present = load_manifest(folder).files if (folder / MANIFEST_NAME).exists() else ()
    by_path = {entry.path: entry for entry in (*present, *entries)}
    manifest = Manifest(SCHEMA, tuple(by_path[path] for path in sorted(by_path)))
    write_manifest(folder, manifest)
    return manifest


def describe_file(
    folder: Path,
    path: str,
    *,
    origin: str,
    licence: str,
    command: str,
    versions: dict[str, str],
    notes: str = "",
) -> FileEntry:
    """Hash a file that was just recorded and make its manifest entry.

    Args:
        folder: the fixtures folder.
        path: the file, relative to ``folder``, with forward slashes.
        origin: see :class:`FileEntry`.
        licence: see :class:`FileEntry`.
        command: see :class:`FileEntry`.
        versions: see :class:`FileEntry`.
        notes: see :class:`FileEntry`.

    Raises:
        FixtureError: the file is missing or not valid safetensors.
    """
    sha256, tensors = _hash_content(folder, path, command)
    return FileEntry(path, origin, licence, command, versions, notes, sha256, tensors)


def verify(folder: Path) -> None:
    """Check that every fixture is there and has exactly the recorded content.

    Also refuses safetensors files that the manifest does not name.

    Raises:
        FixtureError: naming the first file and tensor that is wrong, and what to do.
    """
    manifest = load_manifest(folder)
    if not manifest.files:
        raise FixtureError(f"{folder / MANIFEST_NAME} names no file at all: {_restore_or_record()}")
    for entry in manifest.files:
        verify_file(folder, entry)
    known = {entry.path for entry in manifest.files}
    for found in sorted(folder.rglob("*.safetensors")):
        path = found.relative_to(folder).as_posix()
        if path not in known:
            raise FixtureError(
                f"fixture {path} is not in {MANIFEST_NAME}: delete it or record it with "
                "`sampler-parity record`"
            )


def verify_file(folder: Path, entry: FileEntry) -> None:
    """Check one fixture against its manifest entry.

    Raises:
        FixtureError: naming the file and tensor that is wrong, and what to do.
    """
    sha256, tensors = _hash_content(folder, entry.path, entry.command)
    remedy = _remedy(entry.command)
    if sha256 != entry.sha256:
        raise FixtureError(
            f"fixture {entry.path} is not as recorded "
            f"(sha256 {sha256}, the manifest says {entry.sha256}): {remedy}"
        )
    expected = {tensor.name: tensor for tensor in entry.tensors}
    actual = {tensor.name: tensor for tensor in tensors}
    for name, tensor in expected.items():
        found = actual.get(name)
        if found is None:
            raise FixtureError(f"fixture {entry.path} lacks the tensor {name!r}: {remedy}")
        if (found.dtype, found.shape) != (tensor.dtype, tensor.shape):
            raise FixtureError(
                f"fixture {entry.path}, tensor {name!r} is {found.dtype} {list(found.shape)}, "
                f"the manifest says {tensor.dtype} {list(tensor.shape)}: {remedy}"
            )
        if found.sha256 != tensor.sha256:
            raise FixtureError(
                f"fixture {entry.path}, tensor {name!r} is not as recorded "
                f"(sha256 {found.sha256}, the manifest says {tensor.sha256}): {remedy}"
            )
    unexpected = sorted(actual.keys() - expected.keys())
    if unexpected:
        raise FixtureError(
            f"fixture {entry.path} has the unexpected tensor {unexpected[0]!r}: {remedy}"
        )


def _hash_content(
    folder: Path, path: str, command: str
) -> tuple[str | None, tuple[TensorEntry, ...]]:
    try:
        content = (folder / path).read_bytes()
    except FileNotFoundError:
        raise FixtureError(f"fixture {path} is missing: {_remedy(command)}") from None
    except OSError as error:
        raise FixtureError(
            f"fixture {path} cannot be read ({error.strerror}): {_remedy(command)}"
        ) from error
    if not path.endswith(".safetensors"):
        return hashlib.sha256(content).hexdigest(), ()
    try:
        decoded = deserialize(content)  # type: ignore[no-untyped-call]  # its stub has no types
    except SafetensorError as error:
        raise FixtureError(
            f"fixture {path} is not valid safetensors ({error}): {_remedy(command)}"
        ) from error
    tensors = cast("list[tuple[str, _RawTensor]]", decoded)
    return None, tuple(
        TensorEntry(
            name, raw["dtype"], tuple(raw["shape"]), hashlib.sha256(raw["data"]).hexdigest()
        )
        for name, raw in sorted(tensors, key=lambda item: item[0])
    )


def _check_paths(manifest_path: Path, manifest: Manifest, remedy: str) -> None:
    seen: set[str] = set()
    for entry in manifest.files:
        path = PurePosixPath(entry.path)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.path or not path.parts:
            raise FixtureError(
                f"{manifest_path} names {entry.path!r}, which is outside the folder: {remedy}"
            )
        if entry.path in seen:
            raise FixtureError(f"{manifest_path} names {entry.path!r} twice: {remedy}")
        seen.add(entry.path)


def _format_file(entry: FileEntry) -> str:
    fields = [
        f'"{field}": {_json(getattr(entry, field))}'
        for field in FileEntry.__struct_fields__
        if field != "tensors"
    ]
    tensors = ",\n".join(_json(tensor) for tensor in entry.tensors)
    fields.append(f'"tensors": [\n{tensors}\n]' if tensors else '"tensors": []')
    return "{\n" + ",\n".join(fields) + "\n}"


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="sorted" if isinstance(value, dict) else None).decode()


def _remedy(command: str) -> str:
    return f"{_RESTORE} or record it again with `{command}`"


def _restore_or_record() -> str:
    return f"{_RESTORE} or record it with `sampler-parity record`"
