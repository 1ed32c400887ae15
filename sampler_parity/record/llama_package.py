"""Runs llama-cpp-python's own chain, sampler by sampler, and records what it gives.

The package is compiled where it is installed, which takes minutes. What it gives is therefore kept
in ``fixtures/llama_cpp``, and recorded anew, where the package is installed, by

    python -m sampler_parity.record.llama_package [--out FOLDER]
"""

import argparse
import ctypes
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save

from sampler_parity.build.installation import how_to_install
from sampler_parity.cases.fixtures import FIXTURES
from sampler_parity.cases.manifest import describe_file, update_manifest
from sampler_parity.cases.plan import case_of
from sampler_parity.model.case import Case
from sampler_parity.model.files import write_atomically
from sampler_parity.pipelines.llama_cpp import LlamaCpp
from sampler_parity.record.recording import LICENCE, RecordError, versions

Array = npt.NDArray[Any]

FOUND_BY = "llama_cpp"
"""What the package is imported as."""

COMMAND = "python -m sampler_parity.record.llama_package"
TENSORS, CASES = "llama_cpp/chain.safetensors", "llama_cpp/cases.json"

CUTS = ("top-k", "typical", "top-p", "min-p")
"""The package's samplers that cut, in the order of its chain."""

FAMILIES = {
    "gaussian": 60, "zipf": 30, "flat": 20, "bf16": 40, "f16": 20, "top-k-tie": 20, "top-p-tie": 20,
    "sorted": 20, "masked": 30, "denormal": 10, "boundary": 20, "crossing": 20, "real-tts": 6,
}  # fmt: skip
"""The families of which cases are recorded, and how many indices of each are looked at."""

SEED = 36
MOST = 2_000
"""Numbers of the largest batch that is recorded."""

FIELDS = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""``llama_token_data``."""


@dataclass(frozen=True, slots=True)
class ChainSeen:
    """What the package makes of one row at the first call.

    Attributes:
        penalized: the logits after penalties, f32 [V].
        left: the candidates after each of :data:`CUTS`, i32, in the package's order.
        scores: the logits of the last of them after the temperature, f32 [n].
        probs: their probabilities, f32 [n].
    """

    penalized: Array
    left: tuple[Array, ...]
    scores: Array
    probs: Array


def package() -> Any:
    """Import the package.

    Raises:
        RecordError: it is not installed.
    """
    try:
        return importlib.import_module(FOUND_BY)
    except ImportError as error:
        raise RecordError(
            f"llama-cpp-python is not installed: {how_to_install('bench-llama')}"
        ) from error


class PackageChain:
    """The chain of ``Llama._init_sampler``, whose samplers are applied one by one."""

    def __init__(self, p: LlamaCpp, vocab: int, seed: int) -> None:
        """Have the package make its chain of parameters, for V tokens, with a seed."""
        self._llama = package()
        owner = SimpleNamespace(_n_vocab=vocab, last_n_tokens_size=p.penalty_last_n, _seed=seed)
        self._made = self._llama.Llama._init_sampler(  # noqa: SLF001  (it has no other name)
            owner,
            top_k=p.top_k,
            top_p=p.top_p,
            min_p=p.min_p,
            typical_p=p.typical_p,
            temp=p.temperature,
            repeat_penalty=p.repeat_penalty,
            frequency_penalty=p.frequency_penalty,
            presence_penalty=p.presence_penalty,
        )
        chain = self._made.sampler
        count = self._llama.llama_sampler_chain_n(chain)
        self._samplers = [self._llama.llama_sampler_chain_get(chain, at) for at in range(count)]
        self.names = [self._name(sampler) for sampler in self._samplers]

    def _name(self, sampler: Any) -> str:
        return str(self._llama.llama_sampler_name(sampler).decode()).removeprefix("?")

    def close(self) -> None:
        """Free the chain."""
        self._made.close()

    def call(self, row: Array, history: Sequence[int]) -> tuple[int, ChainSeen]:
        """Sample from a row, f32 [V], after a history: the token, and what each sampler left."""
        llama, vocab = self._llama, len(row)
        data = np.zeros(vocab, FIELDS)
        data["id"], data["logit"] = np.arange(vocab), row
        pointer = data.ctypes.data_as(llama.llama_token_data_p)
        array = llama.llama_token_data_array(data=pointer, size=vocab, selected=-1, sorted=False)
        penalties, *others, last = self._samplers
        llama.llama_sampler_reset(penalties)
        for token in history:
            llama.llama_sampler_accept(penalties, int(token))
        llama.llama_sampler_apply(penalties, ctypes.byref(array))
        penalized = data["logit"].copy()
        left = {}
        for sampler, name in zip(others, self.names[1:-1], strict=True):
            llama.llama_sampler_apply(sampler, ctypes.byref(array))
            left[name] = data["id"][: array.size].copy()
        llama.llama_sampler_apply(last, ctypes.byref(array))
        rest = data[: array.size].copy()
        everything = np.arange(vocab, dtype=np.int32)
        cuts = tuple(left.get(name, everything) for name in CUTS)
        seen = ChainSeen(penalized, cuts, rest["logit"], rest["p"])
        return int(rest["id"][array.selected]), seen


def ask(case: Case) -> tuple[list[Array], list[ChainSeen]]:
    """Ask the package a case: each call's tokens, i64 [B], and what the first makes of each row.

    All calls draw from one generator, which begins at the case's seed.
    """
    p, rows = case.parameters, np.atleast_2d(case.logits)
    assert isinstance(p, LlamaCpp)
    assert not case.advance
    none = np.empty((len(rows), 0), np.int64)
    histories = none if case.history is None else np.atleast_2d(case.history)
    tokens, first = [], []
    with closing(PackageChain(p, rows.shape[-1], case.seed)) as chain:
        for call in range(case.draws):
            found = [chain.call(row, past) for row, past in zip(rows, histories, strict=True)]
            tokens.append(np.array([token for token, _ in found], np.int64))
            if not call:
                first = [seen for _, seen in found]
    return tokens, first


class RecordedChain(msgspec.Struct, frozen=True):
    """A case of the recording.

    Attributes:
        id: the case's, of which logits and history are a copy.
        parameters: the chain's.
        seed: the generator's.
        shape: of the logits.
        past: how many tokens each row's history has.
        draws: calls.
    """

    id: str
    parameters: LlamaCpp
    seed: int
    shape: tuple[int, ...]
    past: int
    draws: int


def cases() -> Iterator[Case]:
    """Give the cases that are recorded."""
    for family, count in FAMILIES.items():
        for index in range(count):
            case = replace(case_of(f"llama_cpp/{family}-{index}@{SEED}"), advance=0, threads=1)
            long = case.logits.shape[-1] > MOST // 2
            if case.logits.size <= MOST or (long and family == "real-tts"):
                yield case


SAME = -1
"""The size of what a sampler leaves as it was, which is not kept once more."""

_KINDS = {
    "logits": np.float32, "history": np.int32, "penalized": np.float32, "sizes": np.int32,
    "candidates": np.int32, "scores": np.float32, "probs": np.float32, "tokens": np.int32,
}  # fmt: skip


def record_chain(folder: Path) -> list[Path]:
    """Record what the package gives, into the fixtures folder, and name it in the manifest.

    Raises:
        RecordError: the package is not installed.
        FixtureError: the folder has a manifest, but not a valid one.
    """
    found: list[RecordedChain] = []
    parts: dict[str, list[Array]] = {name: [] for name in _KINDS}
    for case in cases():
        tokens, rows = ask(case)
        assert isinstance(case.parameters, LlamaCpp)
        past = np.empty((1, 0)) if case.history is None else np.atleast_2d(case.history)
        shape, length = case.logits.shape, past.shape[-1]
        found.append(RecordedChain(case.id, case.parameters, case.seed, shape, length, case.draws))
        parts["logits"].append(case.logits)
        parts["history"].append(past)
        parts["tokens"].append(np.stack(tokens, axis=-1))
        for row in rows:
            if not case.parameters.unpenalised:
                parts["penalized"].append(row.penalized)
            before = np.arange(shape[-1])
            for left in row.left:
                same = np.array_equal(left, before)
                parts["sizes"].append(np.array([SAME if same else len(left)]))
                parts["candidates"].append(left[:0] if same else left)
                before = left
            parts["scores"].append(row.scores)
            parts["probs"].append(row.probs)
    tensors = {
        name: np.concatenate([part.reshape(-1) for part in parts[name]]).astype(kind)
        for name, kind in _KINDS.items()
    }
    (folder / TENSORS).parent.mkdir(exist_ok=True)
    write_atomically(folder / TENSORS, save(tensors))
    lines = ",\n".join(msgspec.json.encode(one).decode() for one in found)
    write_atomically(folder / CASES, f"[\n{lines}\n]\n".encode())
    entries = [
        describe_file(
            folder,
            path,
            origin="the sampler chain of llama-cpp-python, on synthetic logits",
            licence=LICENCE,
            command=COMMAND,
            versions=versions("llama-cpp-python"),
            notes=notes,
        )
        for path, notes in ((TENSORS, "what it gives"), (CASES, "parameters and seeds"))
    ]
    update_manifest(folder, entries)
    return [folder / TENSORS, folder / CASES]


def recorded_chains(
    folder: Path = FIXTURES,
) -> Iterator[tuple[Case, list[Array], list[ChainSeen]]]:
    """Give each recorded case with what :func:`ask` gave for it."""
    tensors, at = load_file(folder / TENSORS), dict.fromkeys(_KINDS, 0)

    def taken(name: str, count: int) -> Array:
        at[name] += count
        found: Array = tensors[name][at[name] - count : at[name]]
        return found

    for one in msgspec.json.decode((folder / CASES).read_bytes(), type=list[RecordedChain]):
        *batch, vocab = one.shape
        rows = batch[0] if batch else 1
        case = Case(
            one.id,
            one.id.split("/")[1].rpartition("-")[0],
            taken("logits", rows * vocab).reshape(one.shape),
            one.parameters,
            seed=one.seed,
            draws=one.draws,
            history=taken("history", rows * one.past).astype(np.int64).reshape(*batch, one.past),
        )
        tokens = list(taken("tokens", rows * one.draws).astype(np.int64).reshape(rows, -1).T)
        seen = []
        for row in np.atleast_2d(case.logits):
            penalized = row if one.parameters.unpenalised else taken("penalized", vocab)
            left: list[Array] = []
            before: Array = np.arange(vocab, dtype=np.int32)
            for size in taken("sizes", len(CUTS)):
                before = before if size == SAME else taken("candidates", int(size))
                left.append(before)
            count = len(before)
            cuts = tuple(left)
            seen.append(ChainSeen(penalized, cuts, taken("scores", count), taken("probs", count)))
        yield case, tokens, seen


def main() -> int:
    """Record; give 2 where the package is not installed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=FIXTURES, help="the fixtures' folder")
    try:
        for path in record_chain(parser.parse_args().out):
            print(path)  # noqa: T201  (a command's output)
    except RecordError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
