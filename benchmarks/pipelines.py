"""How fast the pipeline in Rust is beside transformers' own processors, and whether it is them.

``python -m benchmarks.pipelines [--json FILE] [--real]`` times both in turn, round by round, after
checking that they draw the same tokens and leave their generators in the same state. Both have one
thread, and the time that it has of the processor counts, whatever else the machine does. ``--real``
then has SmolLM2 generate 20 times in transformers, and replays every token from its logits. Exit
status: 0 every bar is reached and every token is replayed, 1 one is not, 2 there was nothing to
time.
"""

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import rust_ext
from benchmarks.gaussian import SEED, gaussian
from benchmarks.timing import Budget, Contestant, measure, ratio
from benchmarks.workloads import Rows, distinct
from benchmarks.workloads import real as real_rows
from sampler_parity.build.extension import load_extension
from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import write_atomically
from sampler_parity.record.logits import locate_model
from sampler_parity.record.recording import RecordError, versions
from sampler_parity.run.benchmark_file import Ratio
from sampler_parity.run.provenance import provenance

VOCAB = 49_152
HISTORY = 200
CHECKED = 16
BAR = 10.0
GENERATIONS = 20
NEW_TOKENS = 32

Steps = tuple[tuple[str, float], ...]

PENALTY, TEMPERATURE, TOP_K, TOP_P, MIN_P, TYPICAL, EPSILON, ETA = (
    ("repetition_penalty", 1.1),
    ("temperature", 0.7),
    ("top_k", 50),
    ("top_p", 0.95),
    ("min_p", 0.05),
    ("typical_p", 0.9),
    ("epsilon_cutoff", 3e-4),
    ("eta_cutoff", 3e-4),
)
WORKS: tuple[Steps, ...] = (
    (),
    (TEMPERATURE,),
    (TOP_K,),
    (TOP_P,),
    (MIN_P,),
    (TYPICAL,),
    (EPSILON,),
    (ETA,),
    (TEMPERATURE, TOP_K, TOP_P),
    (PENALTY, TEMPERATURE, TOP_K, TOP_P, MIN_P),
    (PENALTY, TEMPERATURE, TOP_K, TOP_P, MIN_P, TYPICAL, EPSILON, ETA),
)
CLASSES = {
    "repetition_penalty": "RepetitionPenaltyLogitsProcessor",
    "temperature": "TemperatureLogitsWarper",
    "top_k": "TopKLogitsWarper",
    "top_p": "TopPLogitsWarper",
    "min_p": "MinPLogitsWarper",
    "typical_p": "TypicalLogitsWarper",
    "epsilon_cutoff": "EpsilonLogitsWarper",
    "eta_cutoff": "EtaLogitsWarper",
}


class PipelineTiming(msgspec.Struct, frozen=True):
    """One pipeline beside transformers' processors, both with one thread.

    Attributes:
        steps: names and parameters.
        logits: which kind.
        us: microseconds of the processor a token, of the port.
        transformers_us: the same of transformers.
        ratio: how many times the port's time that is, round by round.
        bar: what the ratio's median must reach.
    """

    steps: Steps
    logits: str
    us: float
    transformers_us: float
    ratio: Ratio
    bar: float

    @property
    def reached(self) -> bool:
        """Whether the bar is reached."""
        return self.ratio.median >= self.bar


class Replayed(msgspec.Struct, frozen=True):
    """Generations of a real model that were replayed from their logits.

    Attributes:
        model: its file.
        generations: how many, each from another seed.
        settings: what ``generate`` was called with, for the first generations and so on, in turn.
        tokens: how many tokens were drawn.
        same: how many of them the port drew, too.
        same_states: how many generations left both generators in the same state.
    """

    model: str
    generations: int
    settings: list[dict[str, float]]
    tokens: int
    same: int
    same_states: int

    @property
    def exact(self) -> bool:
        """Whether every token was replayed."""
        return self.tokens > 0 and self.same == self.tokens and self.same_states == self.generations


class Pipelines(msgspec.Struct, frozen=True):
    """What was measured, and on what."""

    vocab: int
    capability: str
    versions: dict[str, str]
    provenance: dict[str, Any]
    timings: tuple[PipelineTiming, ...]
    replayed: Replayed | None


def processors(steps: Steps) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Put transformers' own processors together, as ``generate`` does."""
    transformers: Any = importlib.import_module("transformers")
    made: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = transformers.LogitsProcessorList(
        [getattr(transformers, CLASSES[name])(value) for name, value in steps]
    )
    return made


def compare(steps: Steps, logits: str, batches: list[Rows], budget: Budget) -> PipelineTiming:
    """Check both sides, then time them.

    Raises:
        CannotJudgeError: they do not draw the same tokens.
    """
    history = np.random.default_rng(SEED).integers(0, VOCAB, (1, HISTORY))
    tensors, before = [torch.from_numpy(batch) for batch in batches], torch.from_numpy(history)
    theirs, ours = torch.Generator().manual_seed(SEED), rust_ext.Generator(SEED)
    process, pipeline = processors(steps), rust_ext.Pipeline(steps)

    def reference(number: int) -> Callable[[], torch.Tensor]:
        scores = tensors[number % len(tensors)]
        return lambda: torch.multinomial(
            torch.softmax(process(before, scores), -1), 1, generator=theirs
        )

    def port(number: int) -> Callable[[], Any]:
        batch = batches[number % len(batches)]
        return lambda: pipeline.sample(batch, generator=ours, history=history)

    torch.set_num_threads(1)
    same = all(reference(call)().item() == port(call)().item() for call in range(CHECKED))
    if not same or theirs.get_state().numpy().tobytes() != ours.get_state():
        raise CannotJudgeError(f"{steps}, {logits} logits: the tokens differ")
    rounds = measure(
        [Contestant("transformers", reference, 1, 1), Contestant("port", port, 1, 1)],
        budget,
        torch.set_num_threads,
        clock=time.process_time_ns,
    )
    return PipelineTiming(
        steps=steps,
        logits=logits,
        us=round(statistics.median(rounds["port"]), 1),
        transformers_us=round(statistics.median(rounds["transformers"]), 1),
        ratio=ratio(rounds["transformers"], rounds["port"]),
        bar=BAR,
    )


def replay(log: Console) -> Replayed:
    """Have SmolLM2 generate, and draw every token again from its logits.

    Raises:
        RecordError: the model, or a package that is needed, is not installed.
    """
    transformers: Any = importlib.import_module("transformers")
    path = locate_model()
    source = {"gguf_file": path.name, "local_files_only": True}
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, **source)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, dtype=torch.float32, **source
    ).eval()
    prompts = ("The lighthouse had been dark for", "def main() -> None:\n", "Dear Sir or Madam,")
    settings: list[dict[str, float]] = [
        {},
        {"temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.1},
        {"top_k": 0, "min_p": 0.05, "temperature": 1.2},
        {"top_k": 0, "top_p": 0.95},
        {"top_k": 0, "typical_p": 0.9, "epsilon_cutoff": 1e-4, "eta_cutoff": 1e-3},
    ]
    count = same = states = 0
    for seed in range(GENERATIONS):
        own = settings[seed % len(settings)]
        prompt = tokenizer(prompts[seed % len(prompts)], return_tensors="pt").input_ids
        torch.manual_seed(seed)
        made = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=True,
            max_new_tokens=NEW_TOKENS,
            return_dict_in_generate=True,
            output_logits=True,
            **own,
        )
        pipeline = rust_ext.Pipeline.transformers(**own)  # type: ignore[arg-type]
        generator, history = rust_ext.Generator(seed), prompt.numpy()
        for logits in made.logits:
            token = pipeline.sample(logits.numpy(), generator=generator, history=history)
            history = np.concatenate([history, token], axis=1)
        drawn = made.sequences.numpy()
        count += len(made.logits)
        same += int((history == drawn)[:, prompt.shape[1] :].sum())
        states += torch.get_rng_state().numpy().tobytes() == generator.get_state()
        log.print(f"generation {seed}, {own}: {same} of {count} tokens so far")
    return Replayed(path.name, GENERATIONS, settings, count, same, states)


def show(result: Pipelines, out: Console) -> None:
    """Print what was measured."""
    table = Table(
        title=f"V = {result.vocab:,}, B = 1, one thread: microseconds of the processor a token"
    )
    for heading in ("steps", "logits", "port", "transformers", "times"):
        table.add_column(heading)
    for one in result.timings:
        table.add_row(
            ", ".join(name for name, _ in one.steps) or "none",
            one.logits,
            f"{one.us:,.0f}",
            f"{one.transformers_us:,.0f}",
            f"{one.ratio.median:.1f}" + ("" if one.reached else " MISSED"),
        )
    out.print(table)
    if (real := result.replayed) is not None:
        out.print(
            f"{real.model}: {real.same} of {real.tokens} tokens of {real.generations} generations "
            f"replayed; {real.same_states} generators in torch's state"
        )


def main() -> int:
    """Measure, replay and judge."""
    parser = argparse.ArgumentParser(description="Times the pipeline beside transformers.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the result")
    parser.add_argument("--real", action="store_true", help="replay generations of SmolLM2")
    arguments = parser.parse_args()
    log = Console(stderr=True, highlight=False)
    try:
        load_extension()
        budget = Budget(rounds=9, seconds=3.0)
        timings = []
        for logits, batches in (
            ("Gaussian", gaussian(VOCAB, 1, distinct(1))),
            ("real", real_rows(VOCAB)),
        ):
            for steps in WORKS:
                log.print(f"{logits}: {steps}")
                timings.append(compare(steps, logits, batches, budget))
        found = versions("torch", "transformers")
        result = Pipelines(
            vocab=VOCAB,
            capability=capability_here(),
            versions={name: found[name] for name in ("torch", "transformers")},
            provenance={name: it for name, it in provenance().items() if name != "fixtures"},
            timings=tuple(timings),
            replayed=replay(log) if arguments.real else None,
        )
    except (CannotJudgeError, RecordError) as error:
        print(f"Nothing to time: {error}.", file=sys.stderr)
        return 2
    show(result, Console(highlight=False, width=160))
    if arguments.json:
        encoded = msgspec.json.format(msgspec.json.encode(result), indent=1)
        write_atomically(arguments.json, encoded + b"\n")
    exact = result.replayed is None or result.replayed.exact
    return 0 if exact and all(one.reached for one in result.timings) else 1


if __name__ == "__main__":
    sys.exit(main())
