"""Every reference that comes with the harness is the real package's sampler, bit for bit.

transformers and rwkv are imported and asked the same cases; repetition-aware sampling, of which no
package is at hand, is held against a loop that is written out as its description has it.
"""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sampler_parity.cases.families import FAMILIES
from sampler_parity.cases.plan import case_of
from sampler_parity.faults.mistakes import MISTAKES
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.reference import start_generator
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import HARMLESS
from sampler_parity.pipelines.references import REFERENCES
from sampler_parity.pipelines.repetition_aware import RepetitionAware
from sampler_parity.pipelines.rwkv import Rwkv
from sampler_parity.pipelines.rwkv_generate import UNCOUNTED, RwkvGenerate
from sampler_parity.pipelines.transformers import Transformers

HERE = capability_here()
QUICK = [family for family in FAMILIES if family not in {"vast-rows", "long-streams", "odd-logits"}]
"""Families of logits that are numbers, in rows that a test has the time for."""

LONG = {"long-rows", "real-whole", "real-tts"}
CALLS = 3
"""Calls of a case: every later one is like them."""

Call = Callable[[torch.Tensor, Case, Any], torch.Tensor]


def cases(reference: str, family: str, count: int) -> Iterator[tuple[Case, Outcome]]:
    for index in range(count):
        case = case_of(f"{reference}/{family}-{index}@11")
        case = replace(case, draws=min(case.draws, CALLS))
        yield case, PythonRef().run(case, HERE)


def history_of(case: Case) -> npt.NDArray[np.int64]:
    assert case.history is not None
    return np.atleast_2d(case.history)


def held_against(package: Call, reference: str, family: str) -> int:
    """Compare calls of a family's first cases; give how many tokens were compared."""
    compared, count = 0, 4 if family in LONG else 8
    for case, outcome in cases(reference, family, count):
        torch.set_num_threads(case.threads)
        generator = start_generator(case)
        logits = torch.from_numpy(np.atleast_2d(case.logits.copy()))
        for tokens in outcome.tokens:
            found = package(logits.clone(), case, generator)
            assert found.reshape(-1).tolist() == tokens.tolist(), case.id
            compared += tokens.size
        if outcome.failure is not None:
            with pytest.raises((RuntimeError, ValueError, IndexError)):
                package(logits.clone(), case, generator)
    return compared


def warpers(p: Transformers) -> Iterator[Any]:
    """Give what ``GenerationMixin._get_logits_processor`` makes of these arguments."""
    from transformers import GenerationConfig
    from transformers.generation.utils import GenerationMixin

    class _Model(GenerationMixin):  # type: ignore[misc]  # the package is not looked into
        class config:  # noqa: N801  (the name that the mixin reads)
            is_encoder_decoder = False

    # What is off there is None or another number than here.
    arguments: dict[str, Any] = {name: getattr(p, name) for name in p.__struct_fields__}
    arguments["min_p"] = p.min_p or None
    config = GenerationConfig(do_sample=True, num_beams=1, **arguments)
    yield from _Model()._get_logits_processor(
        generation_config=config, input_ids_seq_length=4, device="cpu"
    )


def by_transformers(logits: torch.Tensor, case: Case, generator: Any) -> torch.Tensor:
    assert isinstance(case.parameters, Transformers)
    history = torch.from_numpy(history_of(case))
    scores = logits
    for warper in warpers(case.parameters):
        scores = warper(history, scores)
    probs = torch.nn.functional.softmax(scores, dim=-1)
    return torch.multinomial(probs, num_samples=1, generator=generator)


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("family", QUICK)
def test_transformers(family: str) -> None:
    assert held_against(by_transformers, "transformers", family) > 3


@contextmanager
def numpys_own(generator: Any) -> Iterator[Callable[[], None]]:
    """Have numpy's global generator, which the package draws from, go on as ``generator``.

    It begins where the caller says so; what it is left at is kept in ``generator``.
    """
    kept = np.random.get_state()  # noqa: NPY002
    try:
        yield lambda: np.random.set_state(generator.get_state())  # noqa: NPY002
        generator.set_state(np.random.get_state())  # noqa: NPY002
    finally:
        np.random.set_state(kept)  # noqa: NPY002


def by_rwkv(logits: torch.Tensor, case: Case, generator: Any) -> torch.Tensor:
    """Call the package's own sampler, which draws from numpy's global generator."""
    from rwkv.utils import PIPELINE

    p = case.parameters
    assert isinstance(p, Rwkv)
    pipeline = object.__new__(PIPELINE)
    with numpys_own(generator) as begin:
        begin()
        tokens = [pipeline.sample_logits(row, p.temperature, p.top_p, p.top_k) for row in logits]
    return torch.tensor(tokens)


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the package's own
@pytest.mark.parametrize("family", QUICK)
def test_rwkv(family: str) -> None:
    assert held_against(by_rwkv, "rwkv", family) > 3


@cache
def rwkv_words() -> Any:
    """Give the package's own tokenizer of its world vocabulary."""
    import rwkv

    folder = Path(str(rwkv.__file__)).parent
    spec = importlib.util.spec_from_file_location("rwkv_words", folder / "rwkv_tokenizer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TRIE_TOKENIZER(str(folder / "rwkv_vocab_v20230424.txt"))


class Replayed:
    """A model that makes the package's ``generate`` draw a history, and then shows logits.

    One token alone has a finite logit at every step of the history; the ban and the case's
    generator ``begin`` after it.
    """

    def __init__(
        self, row: torch.Tensor, history: list[int], begin: Callable[[], None], args: Any
    ) -> None:
        self.row, self.history, self.begin, self.args = row, history, begin, args
        self.banned, args.token_ban = args.token_ban, []
        self.step = 0

    def forward(self, _: list[int], __: Any) -> tuple[torch.Tensor, None]:
        step, self.step = self.step, self.step + 1
        if step == len(self.history):
            self.args.token_ban = self.banned
            self.begin()
            return self.row.clone(), None
        only = torch.full_like(self.row, -float("inf"))
        only[self.history[step]] = 0
        return only, None


def by_rwkv_generate(logits: torch.Tensor, case: Case, generator: Any) -> torch.Tensor:
    """Let the package generate: its last token is that of the case's logits."""
    from rwkv.utils import PIPELINE, PIPELINE_ARGS

    p = case.parameters
    assert isinstance(p, RwkvGenerate)
    pipeline, drawn = object.__new__(PIPELINE), []

    def decoded(tokens: list[int]) -> str:
        drawn.append(tokens[-1])
        # Tokens that the vocabulary does not have are none of those that are not counted.
        known = all(token in rwkv_words().idx2token for token in tokens)
        return str(rwkv_words().decode(tokens)) if known else "x"

    pipeline.encode, pipeline.decode = lambda _: [0], decoded
    tokens = []
    for row, history in zip(logits, history_of(case), strict=True):
        args = PIPELINE_ARGS(
            temperature=p.temperature,
            top_p=p.top_p,
            top_k=p.top_k,
            alpha_presence=p.alpha_presence,
            alpha_frequency=p.alpha_frequency,
            alpha_decay=p.alpha_decay,
            token_ban=[] if p.token_ban is None else [p.token_ban],
        )
        with numpys_own(generator) as begin:
            pipeline.model = Replayed(row, history.tolist(), begin, args)
            pipeline.generate("", token_count=len(history) + 1, args=args)
        tokens.append(drawn[-1])
    return torch.tensor(tokens)


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the package's own
@pytest.mark.parametrize("family", QUICK)
def test_rwkv_generate(family: str) -> None:
    assert held_against(by_rwkv_generate, "rwkv_generate", family) > 3


@pytest.mark.proof
def test_what_rwkv_does_not_count() -> None:
    """Its ``generate`` counts no token whose text is among blanks and digits."""
    words = {token: rwkv_words().decode([token]) for token in rwkv_words().idx2token}
    assert {token for token, text in words.items() if text in " \t0123456789"} == UNCOUNTED


def by_a_loop(logits: torch.Tensor, case: Case, generator: Any) -> torch.Tensor:
    """Draw as the description has it: a nucleus that a loop fills, then perhaps from all."""
    p = case.parameters
    assert isinstance(p, RepetitionAware)
    tokens = []
    for row, history in zip(logits, history_of(case), strict=True):
        probs = row.softmax(dim=0)
        values, order = probs.sort(descending=True, stable=True)
        kept: list[int] = []
        total = torch.zeros(())
        for place in range(len(order)):
            if not (total < p.top_p and len(kept) < p.top_k):
                break
            total = total + values[place]
            kept.append(place)
        first = torch.multinomial(values[kept], 1, replacement=True, generator=generator)
        token = int(order[kept][first])
        recent = history[-p.window :].tolist() if p.window else []
        if recent.count(token) >= p.window * p.tau:
            token = int(torch.multinomial(probs, 1, replacement=True, generator=generator))
        tokens.append(token)
    return torch.tensor(tokens)


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("family", QUICK)
def test_repetition_aware(family: str) -> None:
    assert held_against(by_a_loop, "repetition_aware", family) > 3


def off_by_one(package: Call) -> Call:
    def wrong(logits: torch.Tensor, case: Case, generator: Any) -> torch.Tensor:
        return package(logits * 1.5, case, generator)

    return wrong


@pytest.mark.proof
@pytest.mark.parametrize(
    ("package", "reference"),
    [
        (by_transformers, "transformers"),
        (by_rwkv, "rwkv"),
        (by_rwkv_generate, "rwkv_generate"),
        (by_a_loop, "repetition_aware"),
    ],
)
def test_another_function_is_seen(package: Call, reference: str) -> None:
    with pytest.raises(AssertionError, match=reference):
        held_against(off_by_one(package), reference, "gaussian")


PLANTED = {(mistake.sampler.about.samplers[0], mistake.stage) for mistake in MISTAKES}
"""The stages of the port's two samplers in which plain samplers make mistakes."""


@pytest.mark.parametrize("name", REFERENCES)
def test_no_stage_lacks_anything(name: str) -> None:
    """A stage has words, a reference, a mistake that a run plants; what rounds has its oracle."""
    pipeline = REFERENCES[name].pipeline
    assert pipeline.oracle is not None
    assert set(pipeline.parameters) == set(REFERENCES[name].__struct_fields__)
    assert all(about.words for about in pipeline.parameters.values())
    for stage in pipeline.stages:
        assert stage.words
        assert callable(stage.reference)
        planted = any(variation.verdict not in HARMLESS for variation in stage.variations)
        assert planted or (name, stage.name) in PLANTED, stage.name
        assert stage.kind != "numbers" or stage.truth is not None, stage.name
        assert stage.kind != "mask" or stage.fold or stage.doubt, stage.name


def test_no_two_variations_share_words() -> None:
    """Else what a run says of one is said of the other."""
    for name, kind in REFERENCES.items():
        for stage in kind.pipeline.stages:
            words = [variation.words for variation in stage.variations]
            assert len(set(words)) == len(words), (name, stage.name)


def histories(name: str) -> npt.NDArray[np.int64]:
    found = [case_of(f"{name}/gaussian-{index}@1").history for index in range(60)]
    return np.concatenate([np.atleast_2d(one).reshape(-1) for one in found if one is not None])


def test_histories_repeat_tokens() -> None:
    """Else a penalty for what was seen often would never be one."""
    tokens = histories("transformers")
    assert len(tokens) > 100
    assert len(np.unique(tokens)) < len(tokens) / 2


def test_repetition_aware_adds_one_probability_after_the_other() -> None:
    """In f32, as the loop does: a top_p that is one of these sums ends the nucleus there."""
    case, in_f64 = case_of("repetition_aware/gaussian-6@11"), 0
    logits = case.logits[:1]
    probs = torch.from_numpy(logits)[0].softmax(-1).sort(descending=True, stable=True).values
    total = torch.zeros(())
    for place, p in enumerate(probs[:120], 1):
        total = total + p
        parameters = RepetitionAware(top_p=total.item(), top_k=logits.shape[-1])
        one = replace(case, logits=logits, history=history_of(case)[:1], parameters=parameters)
        assert PythonRef().run(one, HERE).stages["nucleus_mask"].sum() == place
        in_f64 += int((probs.cumsum(-1) < total.item()).sum()) + 1 == place
    assert in_f64 < 100  # of 120: torch's own cumulative sum would end others elsewhere
