"""The pipeline in Rust is transformers' ``generate``: each step, each order, every token."""

import copy
import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor

import rust_ext
from parity_tests.pipeline_rules import (
    FULL_ORDER,
    PROCESSORS,
    STEPS,
    Found,
    Rows,
    Rule,
    Step,
    compare,
    edges,
    families,
    transformers_scores,
)
from sampler_parity.build.processor import reached
from sampler_parity.cases.fixtures import FIXTURES
from sampler_parity.cases.recorded import load_golden
from sampler_parity.model.case import CAPABILITIES

LIVE = [capability for capability in CAPABILITIES if reached(capability) == capability]
"""Those that torch can have on this processor: it believes whatever it is told."""

VOCAB = 97
GENERATIONS = 20
NEW_TOKENS = 8


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Several would wait for each other over small tensors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def generator(seed: int = 0) -> rust_ext.Generator:
    return rust_ext.Generator(seed)


@pytest.mark.promise
@pytest.mark.parametrize("level", LIVE)
def test_every_step_is_transformers_at_every_capability(level: str) -> None:
    """Each step, all pairs and generate's order, on rows of each kind, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "parity_tests.pipeline_rules"],
        env={**os.environ, "ATEN_CPU_CAPABILITY": level},
        stdout=subprocess.PIPE,
        check=True,
    )
    found = msgspec.json.decode(done.stdout, type=Found)
    assert found.capability == level
    assert found.differing == []
    assert len(found.rows) > 500
    assert found.uncertain < sum(found.rows.values()) / 300


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_the_softmax_is_that_of_the_recorded_traces(capability: str) -> None:
    """At avx512 and on Arm, too, whatever the processor: they were recorded where there is one."""
    golden = FIXTURES / "golden"
    recorded = load_file(golden / f"{capability}.safetensors")
    seen = 0
    for name, case in load_golden(golden):
        probs, digest = (recorded.get(f"{name}.probs{form}") for form in ("", ".sha256"))
        if probs is None and digest is None:
            continue
        parameters: Any = case.parameters
        temperature = parameters.temperature
        # What transformers refuses.
        if not temperature > 0:
            continue
        pipeline = rust_ext.Pipeline([("temperature", temperature)])
        logits: Any = case.logits
        level: Any = capability
        trace = pipeline.trace(logits, generator=generator(), capability=level)
        if probs is not None:
            assert probs.tobytes() == trace.probs.tobytes()
        elif digest is not None:
            assert hashlib.sha256(trace.probs.tobytes()).digest() == digest.tobytes()
        seen += 1
    assert seen > 30


# Rules that are nearly right: each gives other bits on the same rows.


def removed(scores: Tensor, places: Tensor) -> Tensor:
    return scores.masked_fill(places, -torch.inf)


def top_p(
    mass: float,
    *,
    strict: bool = False,
    in_f64: bool = False,
    sums_in_f32: bool = False,
    stable: bool = False,
    unsorted: bool = False,
    keep: int = 1,
) -> Rule:
    """Make transformers' rule, but for what is said."""

    def rule(_: Tensor, scores: Tensor) -> Tensor:
        values, order = torch.sort(scores, stable=stable)
        probs = scores.softmax(-1).gather(-1, order) if unsorted else values.softmax(-1)
        sums = probs.cumsum(-1)
        if sums_in_f32:
            sums = torch.from_numpy(np.cumsum(probs.numpy(), axis=-1, dtype=np.float32))
        if in_f64:
            sums = sums.double()
        places = sums < 1 - mass if strict else sums <= 1 - mass
        places[:, places.shape[1] - keep :] = False
        return removed(scores, places.scatter(1, order, places))

    return rule


def top_p_descending(mass: float) -> Rule:
    def rule(_: Tensor, scores: Tensor) -> Tensor:
        values, order = torch.sort(scores, descending=True)
        places = values.softmax(-1).cumsum(-1) > mass
        places[:, 1:] = places[:, :-1].clone()
        places[:, 0] = False
        return removed(scores, places.scatter(1, order, places))

    return rule


def typical(
    mass: float, *, inclusive: bool = False, at_most: bool = False, shift: float = 1.0
) -> Rule:
    """Make transformers' rule, but for what is said."""

    def rule(_: Tensor, scores: Tensor) -> Tensor:
        normalized = scores.log_softmax(-1)
        entropy = -(normalized * normalized.exp()).nansum(-1, keepdim=True)
        shifted = (-normalized - shift * entropy).abs()
        values, order = torch.sort(shifted)
        sums = scores.gather(-1, order).softmax(-1).cumsum(-1)
        last = ((sums <= mass) if inclusive else (sums < mass)).sum(1).clamp_(max=sums.shape[1] - 1)
        limit = values.gather(1, last.view(-1, 1))
        places = shifted >= limit if at_most else shifted > limit
        return removed(scores, places & (shifted > shifted.amin(-1, keepdim=True)))

    return rule


def eta(cutoff: float, *, root: bool = True, smaller: bool = True, base: float = 1.0) -> Rule:
    """Make transformers' rule, but for what is said."""

    def rule(_: Tensor, scores: Tensor) -> Tensor:
        epsilon = torch.tensor(cutoff)
        law: Any = torch.distributions.Categorical(logits=scores)
        entropy = law.entropy() * base
        limit = (torch.sqrt(epsilon) if root else epsilon) * torch.exp(-entropy)
        limit = torch.min(epsilon, limit) if smaller else limit
        places = scores.softmax(-1) < limit[:, None]
        return removed(scores, places & (scores < scores.amax(-1, keepdim=True)))

    return rule


def penalty(value: float, *, twice: bool = False, sign: bool = True, inverse: bool = False) -> Rule:
    """Make transformers' rule, but for what is said."""

    def rule(history: Tensor, scores: Tensor) -> Tensor:
        found = scores.clone()
        for row, tokens in enumerate(history.tolist()):
            for token in tokens if twice else set(tokens):
                if token < scores.shape[1]:
                    score = found[row, token]
                    quotient = score * (1 / value) if inverse else score / value
                    found[row, token] = score * value if sign and score < 0 else quotient
        return found

    return rule


def min_p(share: float, *, inclusive: bool = False, in_f64: bool = False) -> Rule:
    def rule(_: Tensor, scores: Tensor) -> Tensor:
        probs = scores.softmax(-1)
        probs = probs.double() if in_f64 else probs
        limit = share * probs.amax(-1, keepdim=True)
        places = probs <= limit if inclusive else probs < limit
        return removed(scores, places & (scores < scores.amax(-1, keepdim=True)))

    return rule


def epsilon(cutoff: float, *, inclusive: bool = False, largest: bool = True) -> Rule:
    def rule(_: Tensor, scores: Tensor) -> Tensor:
        probs = scores.softmax(-1)
        places = probs <= cutoff if inclusive else probs < cutoff
        kept = scores < scores.amax(-1, keepdim=True)
        return removed(scores, places & kept if largest else places)

    return rule


def top_k(count: float, *, exactly: bool = False, strict: bool = False, more: int = 0) -> Rule:
    def rule(_: Tensor, scores: Tensor) -> Tensor:
        k = min(int(count) + more, scores.shape[1])
        values, order = scores.topk(k)
        if exactly:
            return torch.full_like(scores, -torch.inf).scatter(1, order, values)
        limit = values[:, -1:]
        return removed(scores, scores <= limit if strict else scores < limit)

    return rule


def temperature(value: float, *, inverse: bool = False, in_f64: bool = False) -> Rule:
    def rule(_: Tensor, scores: Tensor) -> Tensor:
        if in_f64:
            return (scores.double() / value).float()
        return scores * (1 / value) if inverse else scores / value

    return rule


Made = Callable[..., Rule]
WRONG: list[tuple[str, Made, dict[str, Any]]] = [
    ("temperature", temperature, {"inverse": True}),
    ("temperature", temperature, {"in_f64": True}),
    ("repetition_penalty", penalty, {"twice": True}),
    ("repetition_penalty", penalty, {"sign": False}),
    ("repetition_penalty", penalty, {"inverse": True}),
    ("top_k", top_k, {"exactly": True}),
    ("top_k", top_k, {"strict": True}),
    ("top_k", top_k, {"more": 1}),
    ("top_p", top_p, {"strict": True}),
    ("top_p", top_p, {"in_f64": True}),
    ("top_p", top_p, {"sums_in_f32": True}),
    ("top_p", top_p, {"stable": True}),
    ("top_p", top_p, {"unsorted": True}),
    ("top_p", top_p, {"keep": 2}),
    ("top_p", top_p_descending, {}),
    ("min_p", min_p, {"inclusive": True}),
    ("min_p", min_p, {"in_f64": True}),
    ("epsilon_cutoff", epsilon, {"inclusive": True}),
    ("epsilon_cutoff", epsilon, {"largest": False}),
    ("typical_p", typical, {"inclusive": True}),
    ("typical_p", typical, {"at_most": True}),
    ("typical_p", typical, {"shift": 0.0}),
    ("typical_p", typical, {"shift": -1.0}),
    ("eta_cutoff", eta, {"root": False}),
    ("eta_cutoff", eta, {"smaller": False}),
    ("eta_cutoff", eta, {"base": 1 / np.log(2)}),
]


def rows_of(name: str) -> Iterator[tuple[Rows, npt.NDArray[np.int64], Step]]:
    """Make rows for a step, with histories and the step's parameters."""
    random = np.random.default_rng(4)
    for vocab in (4, 16, 60, 1000):
        for _, rows in families(vocab, 2, random):
            history = random.integers(0, vocab + 2, (2, 9))
            yield from ((rows, history, step) for step in STEPS if step[0] == name)
    for vocab in (2, 4, 10, 16, 60, 300, 1000, 3000) * 4:
        for rows, step in edges(vocab, random):
            if step[0] == name:
                yield rows, np.zeros((1, 0), np.int64), step


def after(
    rows: Rows, history: npt.NDArray[np.int64], step: Step, capability: str | None = None
) -> bytes:
    """Give the scores that the port makes, as bytes."""
    made: Any = {} if capability is None else {"capability": capability}
    pipeline = rust_ext.Pipeline([step])
    trace = pipeline.trace(rows, generator=generator(), history=history, **made)
    return trace.scores[0].tobytes()


@pytest.mark.parametrize(
    ("name", "make", "mistake"),
    WRONG,
    ids=[f"{name} {' '.join(mistake) or 'descending'}" for name, _, mistake in WRONG],
)
def test_a_rule_that_is_nearly_right_is_noticed(
    name: str, make: Made, mistake: dict[str, Any]
) -> None:
    """The rule itself gives the port's bits on every row; with one mistake, not on every one."""
    noticed = 0
    for rows, history, step in rows_of(name):
        scores, before = torch.from_numpy(rows), torch.from_numpy(history)
        ours = after(rows, history, step)
        if mistake:
            assert make(step[1])(before, scores).numpy().tobytes() == ours
        assert PROCESSORS[name](step[1])(before, scores).numpy().tobytes() == ours
        noticed += make(step[1], **mistake)(before, scores).numpy().tobytes() != ours
    assert noticed


@pytest.mark.parametrize("name", ["top_p", "min_p", "epsilon_cutoff", "typical_p"])
def test_another_capability_is_noticed(name: str) -> None:
    """Lanes and exponentials of another capability remove other tokens of some row."""
    found = [
        {after(rows, history, step, capability) for capability in CAPABILITIES}
        for rows, history, step in rows_of(name)
    ]
    assert any(len(kinds) > 1 for kinds in found)


def test_the_order_of_steps_is_noticed() -> None:
    random = np.random.default_rng(5)
    rows = (3 * random.standard_normal((4, 200))).astype(np.float32)
    for first, second in (("temperature", "top_p"), ("top_k", "top_p"), ("temperature", "min_p")):
        steps = [step for step in FULL_ORDER if step[0] in {first, second}]
        one, other = (
            rust_ext.Pipeline(order).trace(rows, generator=generator()).scores[1].tobytes()
            for order in (steps, steps[::-1])
        )
        assert one != other


def test_batches_are_their_rows() -> None:
    """But for the generator, and for a row alone whose long sums torch splits between threads."""
    random = np.random.default_rng(6)
    rows = (3 * random.standard_normal((5, 500))).astype(np.float32)
    history = random.integers(0, 500, (5, 40))
    pipeline = rust_ext.Pipeline(FULL_ORDER)
    ours, theirs = generator(1), generator(1)
    tokens = pipeline.sample(rows, generator=ours, history=history)
    assert tokens.shape == (5, 1)
    alone = [
        pipeline.sample(row, generator=theirs, history=before)
        for row, before in zip(rows, history, strict=True)
    ]
    assert np.array_equal(tokens, alone)
    assert ours.get_state() == theirs.get_state()


def test_arrays_may_lie_in_memory_as_they_like() -> None:
    random = np.random.default_rng(7)
    rows = (3 * random.standard_normal((3, 200))).astype(np.float32)
    history = random.integers(0, 200, (3, 8))
    pipeline = rust_ext.Pipeline(FULL_ORDER)
    expected = pipeline.sample(rows, generator=generator(2), history=history)
    for logits, before in (
        (np.asfortranarray(rows), np.asfortranarray(history)),
        (np.repeat(rows, 2, axis=1)[:, ::2], np.repeat(history, 2, axis=0)[::2]),
    ):
        assert np.array_equal(
            expected, pipeline.sample(logits, generator=generator(2), history=before)
        )
    before_call = rows.copy()
    pipeline.trace(rows, generator=generator(2), history=history)
    assert np.array_equal(rows, before_call)


def test_threads_share_a_pipeline() -> None:
    rows = (3 * np.random.default_rng(8).standard_normal((1, 5000))).astype(np.float32)
    pipeline = rust_ext.Pipeline(FULL_ORDER[1:])

    def tokens(seed: int) -> list[int]:
        mine = generator(seed)
        return [int(pipeline.sample(rows, generator=mine).item()) for _ in range(30)]

    expected = [tokens(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(tokens, range(4))) == expected


def test_a_long_row_alone_is_that_of_torchs_threads() -> None:
    """The entropies' sums are split; typical and eta see it, if at all, in what they remove."""
    threads = torch.get_num_threads()
    rows = (3 * np.random.default_rng(9).standard_normal((1, 70_000))).astype(np.float32)
    scores, before = torch.from_numpy(rows), torch.zeros((1, 0), dtype=torch.int64)
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for step in (("typical_p", 0.9), ("eta_cutoff", 3e-4)):
                expected = transformers_scores([step], before, scores)
                trace = rust_ext.Pipeline([step]).trace(rows, generator=generator(), threads=count)
                assert trace.scores[0].tobytes() == expected.numpy().tobytes()
    finally:
        torch.set_num_threads(threads)


# Whole generations.


@pytest.fixture(scope="module")
def llama() -> Any:
    """A small model made from a seed: its logits are as spread as a trained one's."""
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        config = LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            initializer_range=0.4,
            bos_token_id=1,
            eos_token_id=None,
            pad_token_id=0,
        )
        return LlamaForCausalLM(config).eval()


SETTINGS: list[dict[str, Any]] = [
    {},
    {"top_k": 0},
    {"temperature": 0.7, "top_k": 0, "top_p": 0.9},
    {"temperature": 1.3, "repetition_penalty": 1.2},
    {"min_p": 0.05, "typical_p": 0.9, "top_k": 30},
    {"epsilon_cutoff": 0.01, "eta_cutoff": 0.02, "top_p": 0.97},
    {name: int(value) if name == "top_k" else value for name, value in FULL_ORDER},
]


@pytest.mark.promise
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: " ".join(settings) or "default")
def test_generations_are_replayed_token_for_token(llama: Any, settings: dict[str, Any]) -> None:
    """20 generations of three rows each, the first of which is padded on the left."""
    pipeline = rust_ext.Pipeline.transformers(**settings)
    random = np.random.default_rng(12)
    told = set()
    for seed in range(GENERATIONS):
        prompts = torch.from_numpy(random.integers(2, VOCAB, (3, 6)))
        mask = torch.ones_like(prompts)
        prompts[0, :2], mask[0, :2] = 0, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made: Any = llama.generate(
                prompts,
                attention_mask=mask,
                do_sample=True,
                max_new_tokens=NEW_TOKENS,
                return_dict_in_generate=True,
                output_logits=True,
                **settings,
            )
            state = torch.get_rng_state().numpy().tobytes()
        ours = generator(seed)
        # Padding is no token that came before.
        history = torch.where(mask == 1, prompts, VOCAB).numpy()
        for logits in made.logits:
            tokens = pipeline.sample(logits.numpy(), generator=ours, history=history)
            history = np.concatenate([history, tokens], axis=1)
        assert history[:, 6:].tolist() == made.sequences[:, 6:].tolist()
        assert ours.get_state() == state
        told.update(history[:, 6:].ravel().tolist())
    assert len(told) > 20, "tokens are drawn, not fixed"


@pytest.mark.parametrize(
    "settings",
    [
        *SETTINGS,
        {"temperature": 1, "repetition_penalty": 1, "top_p": 1, "typical_p": 1},
        {"temperature": None, "top_k": None, "top_p": None, "min_p": None, "eta_cutoff": None},
        {"top_p": 1.5, "typical_p": 2.0, "epsilon_cutoff": 1.0, "eta_cutoff": -1.0},
        {"top_p": float("nan"), "epsilon_cutoff": float("nan"), "min_p": 0},
        {"top_k": 10**30},
        {"temperature": 2},
        {"repetition_penalty": 2},
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"repetition_penalty": -1.0},
        {"top_k": -1},
        {"top_p": -0.1},
        {"min_p": 1.1},
        {"min_p": float("nan")},
        {"typical_p": 0.0},
    ],
    ids=str,
)
def test_the_steps_are_those_that_generate_makes(llama: Any, settings: dict[str, Any]) -> None:
    """In its order, with what it leaves out, and with what it refuses."""
    from transformers import GenerationConfig

    config: Any = GenerationConfig.from_model_config(llama.config)
    config.do_sample = True
    for name, value in settings.items():
        setattr(config, name, value)
    config, _ = llama._prepare_generation_config(config)
    try:
        processors = llama._get_logits_processor(config, input_ids_seq_length=3, device="cpu")
    except ValueError:
        with pytest.raises(ValueError, match=rf"{next(iter(settings))} = "):
            rust_ext.Pipeline.transformers(**settings)
        return
    names = {type(PROCESSORS[name](value)): name for name, value in FULL_ORDER}
    fields = {
        "repetition_penalty": "penalty",
        "typical_p": "mass",
        "epsilon_cutoff": "epsilon",
        "eta_cutoff": "epsilon",
    }
    expected = []
    for processor in processors:
        name = names[type(processor)]
        value = getattr(processor, fields.get(name, name))
        expected.append((name, float(value)))
    steps = rust_ext.Pipeline.transformers(**settings).steps
    found = [(name, np.float32(value) if name == "eta_cutoff" else value) for name, value in steps]
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (name, value), (_, other) in zip(found, expected, strict=True):
        if name == "top_k":
            assert min(value, 2**63) == min(other, 2**63)
        else:
            assert value == other


# What is refused.


VALUES: list[Any] = [0, -1, 1, 2, True, 0.0, -0.0, 0.5, 1.0, 1.5, -0.5, 1e-300]
VALUES += [float("nan"), float("inf"), np.float32(0.5), np.float64(0.5), np.int64(3)]


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_step_is_refused_where_transformers_refuses_it(name: str) -> None:
    """By the same conditions: what is wrong is named, with its value."""
    refused = 0
    for value in VALUES:
        try:
            PROCESSORS[name](value)
        except ValueError:
            refused += 1
            with pytest.raises(ValueError, match=f"^{name} = "):
                rust_ext.Pipeline([(name, value)])
        else:
            [(found, _)] = rust_ext.Pipeline([(name, value)]).steps
            assert found == name
    assert refused


ROW = np.array([[0.5, 1.5, -1.0]], np.float32)
PENALTY: list[Step] = [("repetition_penalty", 1.2)]


@pytest.mark.parametrize(
    ("steps", "logits", "history", "error", "words"),
    [
        ([], ROW[None], None, ValueError, r"logits have shape \[1, 1, 3\]"),
        ([], ROW.astype(np.float64), None, TypeError, "logits must be a numpy array of float32"),
        ([], ROW.tolist(), None, TypeError, "logits must be a numpy array of float32"),
        ([], torch.from_numpy(ROW), None, TypeError, "logits must be .* pass tensor.numpy"),
        ([], ROW[:, :0], None, RuntimeError, "V = 0"),
        ([], ROW * np.inf, None, RuntimeError, r"logits\[0, 0\] = inf has a score of inf"),
        ([], ROW * np.nan, None, RuntimeError, r"logits\[0, 0\] = NaN has a score of NaN"),
        ([], ROW * 0 - np.inf, None, RuntimeError, "row 0 of logits is masked with -inf"),
        ([("temperature", 1e-45)], ROW, None, RuntimeError, r"logits\[0, 0\] = 0.5 has a score"),
        (PENALTY, ROW, None, ValueError, "history = None"),
        (PENALTY, ROW, [[1]], TypeError, "history must be a numpy array of int64"),
        (PENALTY, ROW, np.zeros((1, 2), np.int32), TypeError, "history must be"),
        (PENALTY, ROW, torch.zeros(1, 2).long(), TypeError, "history .* pass tensor.numpy"),
        (PENALTY, ROW, np.zeros(2, np.int64), ValueError, r"history has shape \[2\]"),
        (PENALTY, ROW, np.zeros((2, 2), np.int64), ValueError, "history has 2 rows"),
        (PENALTY, ROW, np.array([[1, -3]]), RuntimeError, r"history\[0, 1\] = -3 is negative"),
    ],
)
def test_what_is_refused_is_named_and_draws_nothing(
    steps: list[Step], logits: Any, history: Any, error: type[Exception], words: str
) -> None:
    pipeline, mine = rust_ext.Pipeline(steps), generator(3)
    for call in (pipeline.sample, pipeline.trace):
        with pytest.raises(error, match=words):
            call(logits, generator=mine, history=history)
    assert mine.get_state() == generator(3).get_state()


def test_an_error_in_a_later_row_leaves_the_generator_alone() -> None:
    rows = np.zeros((3, 50), np.float32)
    rows[2, 7] = np.nan
    mine = generator(4)
    orders: list[Sequence[Step]] = [[], FULL_ORDER[1:]]
    for steps in orders:
        with pytest.raises(RuntimeError, match=r"logits\[2, 7\]"):
            rust_ext.Pipeline(steps).sample(rows, generator=mine)
    assert mine.get_state() == generator(4).get_state()


def test_other_arguments_are_named() -> None:
    given: Any = rust_ext.Pipeline
    with pytest.raises(ValueError, match='steps name "top_q"'):
        given([("top_q", 0.5)])
    with pytest.raises(ValueError, match="capability"):
        given([]).sample(ROW, generator=generator(), capability="sse")
    with pytest.raises(ValueError, match="threads = 0"):
        given([]).sample(ROW, generator=generator(), threads=0)
    with pytest.raises(TypeError, match=r"generator must be a rust_ext\.Generator"):
        given([]).sample(ROW, generator=torch.Generator())
    with pytest.raises(TypeError, match="top_p must be a number"):
        given([("top_p", "most")])


def test_a_pipeline_is_a_value() -> None:
    pipeline = rust_ext.Pipeline(FULL_ORDER)
    assert pipeline.steps == FULL_ORDER
    assert pipeline == rust_ext.Pipeline(FULL_ORDER) != rust_ext.Pipeline(FULL_ORDER[1:])
    for other in (
        copy.copy(pipeline),
        copy.deepcopy(pipeline),
        pickle.loads(pickle.dumps(pipeline)),  # noqa: S301 - its own
    ):
        assert other == pipeline
    assert repr(rust_ext.Pipeline([("top_k", 3)])) == "rust_ext.Pipeline((('top_k', 3),))"


def test_a_batch_of_no_rows_is_drawn() -> None:
    orders: list[Sequence[Step]] = [[], FULL_ORDER]
    for steps in orders:
        tokens = rust_ext.Pipeline(steps).sample(
            np.zeros((0, 5), np.float32), generator=generator(), history=np.zeros((0, 2), np.int64)
        )
        assert tokens.shape == (0, 1)


@pytest.mark.parametrize("steps", [[], [("temperature", 0.7)]])
def test_a_token_is_that_of_its_trace_where_estimates_decide(steps: list[Step]) -> None:
    rows = (3 * np.random.default_rng(10).standard_normal((1, 20_000))).astype(np.float32)
    ours, theirs = generator(5), generator(5)
    pipeline = rust_ext.Pipeline(steps)
    for _ in range(200):
        trace = pipeline.trace(rows, generator=theirs)
        assert pipeline.sample(rows, generator=ours) == trace.token
    assert ours.get_state() == theirs.get_state()


def test_a_difference_is_found() -> None:
    """What compares the port with transformers can fail: here by another history."""
    rows = np.array([[3.0, 1.0, 2.0]], np.float32)
    history = np.array([[0]])
    assert compare(rows, history, PENALTY, 1) == ("", 0)
    original = PROCESSORS["repetition_penalty"]
    PROCESSORS["repetition_penalty"] = lambda value: (
        lambda _, x: original(value)(torch.ones((1, 1), dtype=torch.int64), x)
    )
    try:
        where, _ = compare(rows, history, PENALTY, 1)
    finally:
        PROCESSORS["repetition_penalty"] = original
    assert where == "the scores after repetition_penalty = 1.2"
