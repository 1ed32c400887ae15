"""A small engine of two phases, with every fault of ``docs/engines.md`` behind a switch.

Its model is a hash: what it was fed decides the logits. It exists to show, in every whole run, that
attribution names each fault; ``examples/engine`` is the engine to copy from.
"""

import hashlib
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sampler_parity.build.extension import load_extension
from sampler_parity.engines.findings import Kind
from sampler_parity.engines.recorder import Recorder
from sampler_parity.engines.stream import WALK
from sampler_parity.engines.values import rounded

Logits = npt.NDArray[np.float32]

GLOBAL, SEMANTIC = "global", "semantic"
GLOBAL_CALLS, SEMANTIC_CALLS = 6, 10
GLOBAL_TOKENS, SEMANTIC_TOKENS, VOCABULARY = 200, 301, 512
END, TAG, MASKED, OFFSET = 300, 302, 7, 303
"""The token that ends the semantic phase; the tag that begins it; a token that may never come; and
what is added to a global token when it is fed."""

LATER = 4
"""The semantic call from which faults show that do not show at the first one."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake of an engine, seen in public code or told by its users.

    Attributes:
        words: what the engine does.
        kind: what a comparison must call it.
        what: which fault of that kind.
        phase: where it is first seen.
        call: at which call of that phase; ``None`` for the first one whose token it moves.
        base: how the engine without the fault is set up, where not as usual.
    """

    words: str
    kind: Kind
    what: str
    phase: str
    call: int | None
    base: frozenset[str] = frozenset()


PER_PHASE, WALKS = "a generator for each phase", "a walk along the cumulative sum"

FAULTS: dict[str, Fault] = {
    "wrong-sampler": Fault(
        "the noisy argmax is called instead of sample_logits",
        "sampler", "wrong sampler", SEMANTIC, 0,
    ),
    "wrong-parameters": Fault(
        "the parameters of the other phase are passed",
        "parameters", "wrong parameters", SEMANTIC, 0,
    ),
    "short-slice": Fault(
        "the slice ends before the end token, which can never be drawn",
        "vocabulary", "short slice", SEMANTIC, 0,
    ),
    "long-slice": Fault(
        "the whole vocabulary is passed instead of the phase's",
        "vocabulary", "long slice", SEMANTIC, 0,
    ),
    "mask-missing": Fault(
        "a token that may never come is not masked",
        "vocabulary", "mask missing", SEMANTIC, 0,
    ),
    "mask-extra": Fault("the end token is masked", "vocabulary", "mask extra", SEMANTIC, 0),
    "reseeded-each-call": Fault(
        "a generator is made anew from one seed for every call",
        "stream", "reseeded call", SEMANTIC, 0,
    ),
    "reseeded-each-phase": Fault(
        "each phase has a generator of its own", "stream", "reseeded phase", SEMANTIC, 0
    ),
    "shared-generator": Fault(
        "the phases share a generator", "stream", "shared", SEMANTIC, 0, frozenset({PER_PHASE})
    ),
    "extra-draw": Fault(
        "a token is refused and drawn again", "stream", "extra draw", SEMANTIC, LATER
    ),
    "foreign-draw": Fault(
        "somebody else draws from the generator between two calls",
        "stream", "foreign draw", SEMANTIC, LATER,
    ),
    "feedback-offset": Fault(
        "a token is fed to the model without its offset", "loop", "fed", GLOBAL, 2
    ),
    "stale-logits": Fault(
        "the logits of the step before are passed again", "logits", "stale", SEMANTIC, LATER
    ),
    "late-start": Fault(
        "the first call has the logits of before the tag was fed", "logits", "other", SEMANTIC, 0
    ),
    "stop-rule": Fault(
        "the phase goes on beyond its last call", "loop", "extra calls", SEMANTIC, SEMANTIC_CALLS
    ),
    "not-renormalised": Fault(
        "a walk along masses that are not renormalised falls off its end",
        "arithmetic", "walk", SEMANTIC, None, frozenset({WALKS}),
    ),
    "half-logits": Fault(
        "logits are rounded to bf16 on the way to the sampler",
        "logits", "coarser grid", SEMANTIC, 0,
    ),
    "model": Fault("the model's sums are rounded otherwise", "logits", "rounding", GLOBAL, 0),
}  # fmt: skip
"""The faults by the names that ``docs/engines.md`` gives them."""


@dataclass(slots=True)
class SmallEngine:
    """The engine.

    Attributes:
        switched: the faults that are on, and what is set up otherwise.
        seed: of each generation's generator: ``seed`` plus its number.
    """

    switched: frozenset[str] = frozenset()
    seed: int = 100
    _port: Any = field(default_factory=load_extension)
    _fed: list[int] = field(default_factory=list)
    _generator: Any = None
    _recorded: dict[tuple[str, int], Any] = field(default_factory=dict)
    _walk: np.random.Generator = field(default_factory=np.random.default_rng)

    def run(self, path: Path, generations: int = 2, forced: Path | None = None) -> None:
        """Generate, and record it in ``path``, forced to go on with another recording's tokens.

        Where the other recording ends earlier, the engine goes on with its own tokens.
        """
        recorder = Recorder(path, "small engine", overwrite=True)
        self._recorded = {}
        if forced is not None:
            recorder.forcing(forced)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            with recorder:
                for number in range(generations):
                    with recorder.generation():
                        self._generation(number, recorder)

    def on(self, switch: str) -> bool:
        """Whether a fault, or another way to be set up, is switched on."""
        return switch in self.switched

    def _generation(self, number: int, recorder: Recorder) -> None:
        self._fed = [number]
        self._walk = np.random.default_rng(self.seed + number)
        self._generator = self._made(number)
        with recorder.phase(GLOBAL):
            for call in range(GLOBAL_CALLS):
                token = self._draw(recorder, self._logits(), GLOBAL)
                lost = self.on("feedback-offset") and call == FAULTS["feedback-offset"].call
                self._feed(recorder, token if lost else token + OFFSET)
        own = self.on(PER_PHASE) and not self.on("shared-generator")
        if own or self.on("reseeded-each-phase"):
            self._generator = self._made(number)
        with recorder.phase(SEMANTIC):
            self._semantic(recorder)

    def _semantic(self, recorder: Recorder) -> None:
        before = self._logits()
        self._feed(recorder, TAG)
        calls = SEMANTIC_CALLS + 2 * self.on("stop-rule")
        for call in range(calls):
            logits = self._logits()
            stale = call == LATER and self.on("stale-logits")
            late = call == 0 and self.on("late-start")
            if self.on("reseeded-each-call"):
                self._generator = self._port.Generator(self.seed)
            if call == LATER and self.on("foreign-draw"):
                self._port.simple_batch_sampler(np.zeros(3, np.float32), generator=self._generator)
            token = self._draw(recorder, before if stale or late else logits, SEMANTIC)
            if call == LATER and self.on("extra-draw"):
                token = self._draw(recorder, logits, SEMANTIC)
            before = logits
            if token == END:
                break
            self._feed(recorder, token)

    def _made(self, number: int) -> Any:
        return self._port.Generator(self.seed + number)

    def _feed(self, recorder: Recorder, token: int) -> None:
        self._fed.append(token)
        recorder.fed(token)

    def _logits(self) -> Logits:
        """Give the model's logits, f32 [VOCABULARY]: a hash of all that it was fed."""
        digest = hashlib.sha256(",".join(map(str, self._fed)).encode()).digest()
        values = np.random.default_rng(np.frombuffer(digest, np.uint32)).standard_normal(VOCABULARY)
        values = 2.5 * values
        # An end that comes late, whatever the model says.
        values[END] = -4.0
        if self.on("model"):
            values *= 1 + 2e-7
        return values.astype(np.float32)

    def _draw(self, recorder: Recorder, logits: Logits, phase: str) -> int:
        """Call a sampler, as the phase does."""
        semantic = phase == SEMANTIC
        last = SEMANTIC_TOKENS if semantic else GLOBAL_TOKENS
        if semantic and self.on("short-slice"):
            last = END
        if semantic and self.on("long-slice"):
            last = VOCABULARY
        passed = logits[:last].copy()
        if not (semantic and self.on("mask-missing")):
            passed[MASKED] = -np.inf
        if semantic and self.on("mask-extra") and last > END:
            passed[END] = -np.inf
        if semantic and self.on("half-logits"):
            passed = rounded(passed, "bf16")
        top_k = 80 if semantic and not self.on("wrong-parameters") else 20
        if semantic and self.on("wrong-sampler"):
            recorded = self._sampler(recorder, "simple_batch_sampler", last)
            return int(recorded(passed[None], 1.0, 1.0, generator=self._generator).item())
        if self.on(WALKS):
            return self._walked(recorder, passed[None], phase, top_k)
        recorded = self._sampler(recorder, "sample_logits", last)
        return int(recorded(passed[None], 1.0, 0.95, top_k, generator=self._generator).item())

    def _sampler(self, recorder: Recorder, name: str, last: int) -> Any:
        """Give a function of the port that is recorded: wrapped once, as engines do."""
        key = (name, last)
        if key not in self._recorded:
            function = getattr(self._port, name)
            cut = (0, last)
            self._recorded[key] = recorder.wrap(function, slice=cut, vocabulary=VOCABULARY)
        return self._recorded[key]

    def _walked(self, recorder: Recorder, logits: Logits, phase: str, top_k: int) -> int:
        """Draw as engines in Rust do: one f32 uniform, and a walk along the cumulative sum."""
        parameters = {"temperature": 1.0, "top_p": 0.95, "top_k": top_k}
        trace = self._port.trace_sample_logits(
            logits, **parameters, generator=self._port.Generator(0)
        )
        kept = trace.top_k_mask & trace.top_p_mask
        masses = np.where(kept, trace.probs, np.float32(0)).reshape(-1)
        if not (phase == SEMANTIC and self.on("not-renormalised")):
            masses = trace.renormalized.reshape(-1)
        uniform = self._walk.random(dtype=np.float32)
        with recorder.call(
            "sample_logits", logits, parameters=parameters, drawn=[uniform], source=WALK
        ) as call:
            beyond = np.flatnonzero(np.cumsum(masses) > uniform)
            token = int(beyond[0] if beyond.size else np.flatnonzero(kept.reshape(-1))[-1])
            return (call.returned(token) or (token,))[0]
