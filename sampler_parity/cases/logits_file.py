"""Files of logits: safetensors, npy and npz, in one form, read without running code."""

import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import deserialize, safe_open

from sampler_parity.cases.draws import Logits
from sampler_parity.cases.your_logits import LogitsPart, Value, YourLogits, parameters_given
from sampler_parity.model.bfloat16 import from_bf16
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import DAMAGED
from sampler_parity.model.pipeline import Parameters

LOGITS = "logits"
SEED = "seed"
HISTORY = "history"
SUFFIXES = (".safetensors", ".npy", ".npz")
FLOATS = ("float32", "float16", "F32", "F16")

_OF_NUMPY = (
    SyntaxError,
    tokenize.TokenError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy raises, beside others, of a file that is damaged: its headers are Python literals."""

UNFOLDED = 1 << 30
RATIO = 50
"""An archive whose arrays have more bytes than ``UNFOLDED``, and than ``RATIO`` times its own, is
none of logits: those of a model are hardly compressed at all."""


@dataclass(frozen=True, slots=True)
class _File:
    """What a file holds.

    Attributes:
        shape: of its logits: [N, B, V], or [N, V].
        rows: gives the logits from one number to another, f32.
        beside: the other arrays, by name: one value for all, or one for each of N.
    """

    shape: tuple[int, ...]
    rows: Callable[[int, int], Logits]
    beside: dict[str, npt.NDArray[Any]]


def parts_of(path: Path, asked: YourLogits, kind: type[Parameters]) -> Iterator[LogitsPart]:
    """Cut a file's rows into parts, as ``asked``: of one batch, with one set of parameters.

    Raises:
        CannotJudgeError: the file cannot be read, holds what is not understood, or has batches of
            its own where a batch is asked for.
    """
    try:
        file = _open(path)
    except (*DAMAGED, *_OF_NUMPY) as error:
        raise CannotJudgeError(f"{path} cannot be read as logits: {error}") from error
    batched = len(file.shape) > 2
    if batched and asked.batch != 1:
        raise CannotJudgeError(
            f"{path} holds batches, {list(file.shape)}: leave --batch out, or store [N, V]"
        )
    number = file.shape[0]
    row, last = asked.rows
    end = number if last is None else min(last, number)
    each = {each: _beside(path, file.beside, each, number) for each in range(row, end)}
    while row < end:
        values, seed = each[row]
        stop = row + 1
        while stop < min(end, row + asked.batch) and _same(each[stop][0], values):
            stop += 1
        where = f"row {row}" if stop == row + 1 else f"rows {row} to {stop - 1}"
        yield LogitsPart(
            file=str(path),
            where=where,
            read=_reader(file, row, stop, batched=batched),
            parameters=parameters_given(kind, asked.parameters, values, f"{path}, {where}"),
            seed=seed,
            history=_history(file.beside.get(HISTORY), row, stop, batched=batched),
        )
        row = stop


def _open(path: Path) -> _File:
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"its name ends in none of {', '.join((*SUFFIXES, '.calls'))}")
    with path.open("rb") as file:
        archive = file.read(2) == b"PK"
    if archive:
        _refuse_bomb(path)
    with np.errstate(over="ignore"):  # a shape beyond all bounds: what follows refuses it
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(found, np.ndarray):
        return _of_arrays(found, {})
    with found:
        arrays = {name: found[name] for name in found.files}
    if len(arrays) == 1 and LOGITS not in arrays:
        return _of_arrays(next(iter(arrays.values())), {})
    return _of_arrays(arrays.pop(LOGITS, None), arrays)


def _refuse_bomb(path: Path) -> None:
    """Look what an archive says of its size, before it is unfolded; it cannot say less than it has.

    Raises:
        ValueError: it is far more than the file's.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > max(UNFOLDED, RATIO * path.stat().st_size):
        raise ValueError(f"it unfolds to {size:,} bytes of memory, from {path.stat().st_size:,}")


def _safetensors(path: Path) -> _File:
    """Open the logits without reading them; bf16, which numpy lacks, is read whole."""
    with safe_open(path, "numpy") as opened:
        names = list(opened.keys())
        if LOGITS not in names:
            raise ValueError(f"it holds no tensor {LOGITS!r}, but {', '.join(names) or 'nothing'}")
        about = opened.get_slice(LOGITS)
        shape, dtype = _shape(tuple(about.get_shape())), str(about.get_dtype())
        beside = {name: opened.get_tensor(name) for name in names if name != LOGITS}
    if dtype == "BF16":
        entries: Any = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]  # no types
        raw = next(entry for name, entry in entries if name == LOGITS)
        bits = np.frombuffer(bytes(raw["data"]), "<u2").reshape(shape)
        return _File(shape, lambda first, last: from_bf16(bits[first:last]), beside)

    def rows(first: int, last: int) -> Logits:
        with safe_open(path, "numpy") as again:
            kept = again.get_slice(LOGITS)
            found = kept[first:last] if len(kept.get_shape()) > 1 else kept[:].reshape(shape)
        widened: Logits = found.astype(np.float32)
        return widened

    if dtype not in FLOATS:
        with safe_open(path, "numpy") as opened:
            return _of_arrays(opened.get_tensor(LOGITS), beside)
    return _File(shape, rows, beside)


def _of_arrays(logits: npt.NDArray[Any] | None, beside: dict[str, npt.NDArray[Any]]) -> _File:
    if logits is None:
        raise ValueError(f"it holds no array {LOGITS!r}, but {', '.join(beside) or 'nothing'}")
    shaped = logits.reshape(_shape(logits.shape))
    if str(shaped.dtype) not in FLOATS:
        shaped = _as_f32(shaped)
    return _File(shaped.shape, lambda first, last: shaped[first:last].astype(np.float32), beside)


def _shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) not in {1, 2, 3} or not all(shape):
        raise ValueError(f"its logits have shape {list(shape)}, and not [V], [N, V] or [N, B, V]")
    return (1, *shape) if len(shape) == 1 else shape


def _as_f32(values: npt.NDArray[Any]) -> Logits:
    """Give numbers as f32, where that changes none of them.

    Raises:
        ValueError: it would.
    """
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"its logits are {values.dtype}, and not float32, float16 or bfloat16")
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    if not np.array_equal(narrow.astype(values.dtype), values, equal_nan=True):
        raise ValueError(
            f"its logits are {values.dtype} and not all of them are float32 numbers: store what "
            "the sampler is given, with .astype(numpy.float32)"
        )
    return narrow


def _beside(
    path: Path, arrays: dict[str, npt.NDArray[Any]], row: int, number: int
) -> tuple[dict[str, Value], int | None]:
    """Give a row's parameters and its seed."""
    found: dict[str, Value] = {}
    for name, values in arrays.items():
        if name == HISTORY:
            continue
        if values.size not in {1, number} or values.ndim > 1:
            raise CannotJudgeError(
                f"{path}: {name} has shape {list(values.shape)}, and not one value, or one for "
                f"each of the {number:,} rows"
            )
        value = values.reshape(-1)[row if values.size > 1 else 0].item()
        found[name] = value if isinstance(value, int | float | str) else str(value)
    seed = found.pop(SEED, None)
    if seed is not None and (isinstance(seed, str) or seed != int(seed)):
        raise CannotJudgeError(f"{path}: the seed of row {row} is {seed!r}, and no whole number")
    return found, None if seed is None else int(seed)


def _same(one: dict[str, Value], other: dict[str, Value]) -> bool:
    # As text, in which a NaN is like another one.
    return str(one) == str(other)


def _reader(file: _File, row: int, stop: int, *, batched: bool) -> Callable[[], Logits]:
    def read() -> Logits:
        values = file.rows(row, stop)
        return values[0] if batched else values

    return read


def _history(
    values: npt.NDArray[Any] | None, row: int, stop: int, *, batched: bool
) -> npt.NDArray[np.int64] | None:
    if values is None:
        return None
    own = values[row] if batched else np.atleast_2d(values)[row:stop]
    return np.ascontiguousarray(own, np.int64)
