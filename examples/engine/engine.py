"""A TTS engine in miniature that records itself: a global phase, a tag, a semantic phase.

    python examples/engine/engine.py --record python.calls

The model's weights are made from a seed, and all of its arithmetic is exact: whatever the order of
its sums, the logits have the same bits. The Rust engine beside this file therefore has the same
logits, and with the same seed the same tokens.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from python_ref import GLOBAL, SEMANTIC, Preset, sample_logits
from sampler_parity.engines import Recorder

VOCABULARY = 12_292
"""The semantic codes, the end, three tags, then the 4,096 global codes."""

WIDTH = 16
"""Numbers in the model's state."""

LARGEST = 511
"""Of the state: the largest sum, 16 * 2,048 * 511, is below 2^24, so that f32 holds each one."""

END = 8_192
PADDING = 0
"""The code that is never drawn: its logit is masked in both phases."""

TEXT = (2, 3, 5, 7, 11, 13)
"""What is spoken: a prompt, which is fed before the first phase."""


@dataclass(frozen=True, slots=True)
class Phase:
    """How a phase of the loop goes.

    Attributes:
        preset: the sampler's parameters, the slice, the longest run and the token that ends it.
        tag: the token that is fed before the phase's first call.
        offset: what is added to a token before it is fed back.
        seed: what is added to the seed where each phase has a generator of its own.
    """

    preset: Preset
    tag: int
    offset: int
    seed: int


PHASES = (
    Phase(GLOBAL, tag=8_195, offset=8_196, seed=100),
    Phase(SEMANTIC, tag=8_194, offset=0, seed=200),
)


class Weights:
    """The weights, whole numbers of [-2,048, 2,047], made from a seed by SplitMix64."""

    def __init__(self, seed: int) -> None:
        """Make the three matrices, one after the other, row by row."""
        count = (2 * VOCABULARY + WIDTH) * WIDTH
        steps = np.arange(1, count + 1, dtype=np.uint64)
        bits = np.uint64(seed) + steps * np.uint64(0x9E37_79B9_7F4A_7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
        bits ^= bits >> np.uint64(31)
        rows = torch.from_numpy((bits >> np.uint64(52)).astype(np.int64) - 2_048).view(-1, WIDTH)
        self.readout = rows[:VOCABULARY].to(torch.float32)
        self.embedding = rows[VOCABULARY : 2 * VOCABULARY]
        self.recurrent = rows[2 * VOCABULARY :]


class Model:
    """A recurrent model: each token that is fed moves its state, and the state gives the logits."""

    def __init__(self, weights: Weights, pace: int) -> None:
        """Begin a generation.

        Args:
            weights: shared by all generations.
            pace: how many tokens raise the end's logit by one; a power of two.
        """
        self._weights = weights
        self._pace = pace
        self._state = torch.zeros(WIDTH, dtype=torch.int64)
        self._fed = 0

    def feed(self, token: int) -> None:
        """Take a token in."""
        moved = self._weights.recurrent @ self._state + 1_536 * self._weights.embedding[token]
        self._state = (moved >> 13).clamp(-LARGEST, LARGEST)
        self._fed += 1

    def logits(self) -> Tensor:
        """Give the logits, f32 [12,292]; the end's rises with every token that was fed."""
        logits = (self._weights.readout @ self._state.to(torch.float32)) * 2.0**-18
        logits[END] = 7.0 + self._fed / self._pace
        return logits


class Engine:
    """The loop around the model."""

    def __init__(self, recorder: Recorder, settings: argparse.Namespace) -> None:
        """Make the weights."""
        self._recorder = recorder
        self._settings = settings
        self._weights = Weights(seed=7)

    def generate(self) -> list[int]:
        """Give the tokens of the next generation, the end included where it is drawn."""
        with self._recorder.generation() as number:
            return self._generate(self._settings.seed + number)

    def _generate(self, seed: int) -> list[int]:
        model = Model(self._weights, self._settings.pace)
        self._feed(model, *TEXT)
        generator = torch.Generator().manual_seed(seed)
        tokens = []
        for phase in PHASES:
            if self._settings.scope == "phase":
                generator = torch.Generator().manual_seed(seed + phase.seed)
            self._feed(model, phase.tag)
            with self._recorder.phase(phase.preset.name):
                tokens += self._speak(phase, model, generator)
        return tokens

    def _speak(self, phase: Phase, model: Model, generator: torch.Generator) -> list[int]:
        preset = phase.preset
        sample = self._recorder.wrap(sample_logits, slice=(0, preset.vocab), vocabulary=VOCABULARY)
        tokens: list[int] = []
        most = self._settings.semantic if phase.preset is SEMANTIC else preset.max_tokens
        while len(tokens) < most:
            logits = model.logits()[: preset.vocab]
            logits[PADDING] = -torch.inf
            token = int(
                sample(
                    logits[None],
                    preset.temperature,
                    preset.top_p,
                    preset.top_k,
                    generator=generator,
                )
            )
            tokens.append(token)
            if token == preset.stop_token:
                break
            self._feed(model, token + phase.offset)
        return tokens

    def _feed(self, model: Model, *tokens: int) -> None:
        for token in tokens:
            model.feed(token)
        self._recorder.fed(tokens)


def power_of_two(text: str) -> int:
    """Read a number that can divide without rounding."""
    number = int(text)
    if number.bit_count() != 1:
        raise ValueError(text)
    return number


def main(arguments: list[str] | None = None) -> None:
    """Generate, record, and say how long each generation is."""
    parser = argparse.ArgumentParser(description="A TTS engine in miniature that records itself.")
    parser.add_argument("--record", type=Path, default=Path("python.calls"), metavar="FILE")
    parser.add_argument("--force", type=Path, metavar="FILE", help="go on with its tokens")
    parser.add_argument("--keep", default="whole", help="whole, top:N or digest")
    parser.add_argument("--seed", type=int, default=42, help="of the first generation")
    parser.add_argument("--generations", type=int, default=1)
    parser.add_argument("--semantic", type=int, default=200, help="the most semantic calls")
    parser.add_argument("--pace", type=power_of_two, default=32, help="larger: speaks longer")
    parser.add_argument(
        "--scope", choices=["generation", "phase"], default="generation", help="of a generator"
    )
    settings = parser.parse_args(arguments)
    about = {"seed": str(settings.seed), "scope": settings.scope}
    recorder = Recorder(
        settings.record, "tts-python", about=about, keep=settings.keep, overwrite=True
    )
    if settings.force is not None:
        recorder.forcing(settings.force)
    with recorder:
        engine = Engine(recorder, settings)
        for number in range(settings.generations):
            tokens = engine.generate()
            print(f"generation {number}: {len(tokens)} tokens, the last {tokens[-1]}")


if __name__ == "__main__":
    main()
