"""A real model through transformers: reads a GGUF, draws by the reference, records itself.

    python examples/real/engine.py --model FILE.gguf --prompt 504,2180,286 --record torch.calls

The crate beside this file is the same loop, and runs the same file through candle.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from python_ref import sample_logits
from sampler_parity.engines import Recorder


def load(path: Path) -> Any:
    """Read a model: transformers dequantises its weights to f32, and takes its config from it."""
    source = {"gguf_file": path.name, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **source)
    return model.eval()


def generate(
    model: Any, prompt: list[int], recorder: Recorder, settings: argparse.Namespace
) -> None:
    """Feed the prompt, then every token that was drawn but the last."""
    vocabulary = model.config.vocab_size
    sample = recorder.wrap(sample_logits, slice=(0, vocabulary), vocabulary=vocabulary)
    with recorder.generation() as number, recorder.phase("text"), torch.no_grad():
        generator = torch.Generator().manual_seed(settings.seed + number)
        fed, cache = prompt, None
        for _ in range(settings.calls):
            recorder.fed(fed)
            output = model(torch.tensor([fed]), past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            token = sample(
                output.logits[:, -1],
                settings.temperature,
                settings.top_p,
                settings.top_k,
                generator=generator,
            )
            fed = [int(token)]


def tokens(text: str) -> list[int]:
    """Read tokens, with commas between."""
    return [int(token) for token in text.split(",")]


def main() -> None:
    """Generate and record."""
    parser = argparse.ArgumentParser(description="A real model through transformers.")
    parser.add_argument("--model", type=Path, required=True, metavar="FILE.gguf")
    parser.add_argument("--record", type=Path, default=Path("torch.calls"), metavar="FILE")
    parser.add_argument("--force", type=Path, metavar="FILE", help="go on with its tokens")
    parser.add_argument(
        "--prompt", type=tokens, action="append", required=True, help="one for each generation"
    )
    parser.add_argument("--calls", type=int, default=64, help="of a generation")
    parser.add_argument("--seed", type=int, default=42, help="of the first generation")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--top-k", type=int, default=50)
    settings = parser.parse_args()
    # The sum of a long row, and so a sampler's bits, depend on how many threads torch has.
    torch.set_num_threads(1)
    model = load(settings.model)
    recorder = Recorder(settings.record, "transformers", overwrite=True)
    if settings.force is not None:
        recorder.forcing(settings.force)
    with recorder:
        for prompt in settings.prompt:
            generate(model, prompt, recorder, settings)


if __name__ == "__main__":
    main()
