"""A real model in two engines, transformers and candle: recorded, compared, and said where to look.

``python -m benchmarks.real_engines`` runs SmolLM2 from one GGUF through both (``examples/real``),
each generating from the same tokens, compares their recordings as ``sampler-parity calls`` does,
stores ``results/engines.json`` and writes the table of docs/engines.md. Exit status: 0 when that
is done, whatever differs; 1 if a sampler is not exact on its own logits; 2 if there was nothing to
compare.
"""

import hashlib
import importlib
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import readme
from benchmarks import real_engines_page as page
from benchmarks.programs import build, run
from benchmarks.real_engines_page import Alone, Named, Pair, Result
from benchmarks.rust import CRATE, TARGET, peer
from sampler_parity.commands.calls import judged
from sampler_parity.engines.recording import Recording
from sampler_parity.engines.values import apart
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import write_atomically
from sampler_parity.record.logits import MODEL_PACKAGE, locate_model
from sampler_parity.record.recording import RecordError, versions
from sampler_parity.run.provenance import provenance

PROMPTS = (
    "The lighthouse had been dark for eleven years when, on a windless evening in October,",
    "Sound travels through water more than four times as fast as through air, because",
    "#include <stdio.h>\n\nint main(void) {\n    for (int i = 1; i <= 100; i++) {\n",
    "Packing list for a weekend in the mountains:\n- boots\n- rain jacket\n-",
)
CALLS = 64
SEED = 42
PARAMETERS = {"temperature": 1.0, "top-p": 0.95, "top-k": 50}

WAYS = {
    "of quantised numbers": {},
    "in f32, of dequantised weights": {"CANDLE_DEQUANTIZE_ALL": "1"},
    "in f16, of dequantised weights": {"CANDLE_DEQUANTIZE_ALL_F16": "1"},
}
"""How candle's products are made, and the environment that says so."""

TRANSFORMERS = "transformers"


def tokens_of(model: Path) -> list[str]:
    """Give each prompt's tokens, with commas between, by the tokenizer in the model's file."""
    transformers: Any = importlib.import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        model.parent, gguf_file=model.name, local_files_only=True
    )
    return [",".join(map(str, tokenizer(text).input_ids)) for text in PROMPTS]


def generate(*program: str, record: Path, settings: list[str], **environment: str) -> Path:
    """Have an engine generate and record itself; gives the recording.

    Raises:
        CannotJudgeError: the engine failed, or recorded nothing.
    """
    command = (*program, "--record", str(record), *settings)
    run(*command, **environment)  # type: ignore[arg-type]  # none of them is named cwd
    if not record.exists():
        raise CannotJudgeError(f"{program[0]} recorded nothing")
    return record


def measure(folder: Path) -> Result:
    """Record both engines in a folder, and compare them.

    Raises:
        CannotJudgeError: an engine cannot be built, failed, or recorded nothing sound.
        RecordError: the model, or a package that is needed, is not installed.
    """
    model = locate_model()
    engine = build(CRATE, TARGET, "--package", "real-engine") / "real-engine"
    settings = ["--model", str(model), "--calls", str(CALLS), "--seed", str(SEED)]
    settings += chain.from_iterable(("--prompt", tokens) for tokens in tokens_of(model))
    settings += chain.from_iterable((f"--{key}", str(value)) for key, value in PARAMETERS.items())

    python = (sys.executable, "-m", "examples.real.engine")
    reference = generate(*python, record=folder / "torch.calls", settings=settings)
    pairs, alone = [], [judge_alone(reference, TRANSFORMERS, forced=False)]
    for way, environment in WAYS.items():
        for forced in (False, True):
            more = ["--force", str(reference)] if forced else []
            record = generate(
                str(engine),
                record=folder / "candle.calls",
                settings=settings + more,
                RAYON_NUM_THREADS="1",
                **environment,
            )
            pairs.append(compare(reference, record, way, forced=forced))
            alone.append(judge_alone(record, f"candle, {way}", forced=forced))
    with model.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    wanted = (MODEL_PACKAGE, "torch", TRANSFORMERS)
    found = versions(*wanted)
    return Result(
        model=model.name,
        sha256=sha256,
        versions={name: found[name] for name in wanted} | {"candle": peer().version},
        processor=provenance()["machine"]["processor"],
        generations=len(PROMPTS),
        calls=CALLS,
        seed=SEED,
        parameters=PARAMETERS,
        pairs=tuple(pairs),
        alone=tuple(alone),
    )


def judge_alone(record: Path, engine: str, *, forced: bool) -> Alone:
    """Hold every token of a recording against the reference on the call's own logits."""
    found = judged(record, None, None)
    judged_calls = found.compared - sum(one.calls for one in found.not_compared)
    return Alone(engine, forced, found.status, found.planned, judged_calls)


def compare(reference: Path, record: Path, way: str, *, forced: bool) -> Pair:
    """Compare a recording with that of the reference, and measure how far apart they are.

    Raises:
        CannotJudgeError: a file is no recording, or no call of it can be compared.
    """
    found = judged(reference, record, None)
    ours, theirs = Recording.open(reference), Recording.open(record)
    first_flips: list[int | None] = []
    distances, variations, scale, differing, flips = [], [], 0.0, 0, 0
    steps = {(step.generation, step.call): step for step in found.timeline}
    for generation, calls in sorted(ours.generations().items()):
        others = theirs.generations().get(generation, [])
        flip = None
        for at, (mine, other) in enumerate(zip(calls, others, strict=False)):
            row, its = (one.tensors(i)["logits"] for one, i in ((ours, mine), (theirs, other)))
            distances.append(float(np.abs(row.astype(np.float64) - its).max()))
            scale = max(scale, float(np.abs(row).max()), float(np.abs(its).max()))
            differing += apart(row, its) is not None
            variation = steps[generation, at].variation
            if variation is not None:
                variations.append(variation)
            if ours.calls[mine].token != theirs.calls[other].token:
                flips += 1
                flip = at if flip is None else flip
                if not forced:
                    break
        first_flips.append(flip)
    if not distances or not variations:
        raise CannotJudgeError(f"{record} has no call to compare with {reference}")
    return Pair(
        way=way,
        forced=forced,
        sentence=found.sentence,
        findings=tuple(
            Named(one.kind, one.what, one.words, one.times, one.of)
            for one in found.findings
            if one.kind != "consequence"
        ),
        first_flips=tuple(first_flips),
        flips=flips,
        comparable=len(distances),
        differing=differing,
        apart=(statistics.median(distances), max(distances)),
        scale=scale,
        variation=(statistics.median(variations), max(variations)),
    )


def told(result: Result) -> Iterator[str]:
    """Say in lines what was found."""
    for pair in result.pairs:
        yield f"candle, {pair.way}, {'forced' if pair.forced else 'free'}: {pair.sentence}"
    for one in result.alone:
        how = "forced" if one.forced else "free"
        yield f"{one.engine}, {how}, alone: {one.status}, {one.judged} of {one.calls} calls judged"


def main() -> int:
    """Run, compare, store, and write the table."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = measure(Path(folder))
        write_atomically(page.STORED, page.encoded(result))
        readme.rewrite(page.tables(result))
    except (CannotJudgeError, RecordError) as error:
        print(f"Nothing to compare: {error}", file=sys.stderr)
        return 2
    for line in told(result):
        print(line)
    return 0 if all(one.exact for one in result.alone) else 1


if __name__ == "__main__":
    sys.exit(main())
