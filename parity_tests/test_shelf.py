"""Stages of the shelf that no reference has: pipelines made of them are judged as references are.

A pipeline of one's own is made of the stages; each mistake that they know is planted in it and must
be named at its stage, and what is right in other arithmetic must not be called wrong in any view.
"""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from benchmarks.reference_evidence import Evidence, ports
from sampler_parity.cases.plan import case_of
from sampler_parity.faults.kill import ExpectedCases
from sampler_parity.faults.staged import accepted_cases, plant_in_stages, try_variations
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.pipeline import (
    InverseCdf,
    NoisyArgmax,
    Parameter,
    Parameters,
    Pipeline,
    Stage,
    values_of,
)
from sampler_parity.pipelines import penalties, stages
from sampler_parity.pipelines.numpy_stream import NUMPY, PCG64
from sampler_parity.pipelines.oracle import folding_pipeline
from sampler_parity.pipelines.references import name_of

HERE = capability_here()
MANY = 20
"""Tokens that a case draws: more take their time, and show no other mistake."""


class Chosen(Parameters, frozen=True, tag="chosen"):
    """Penalties by count, a list of forbidden tokens, and numpy's ``Generator``."""

    sampler: ClassVar[str] = "chosen"
    pipeline: ClassVar[Pipeline]

    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    forbid_token: int | None = None
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


_PARAMETERS = {
    "presence_penalty": Parameter("for what occurred", usual=(0.0, 0.5, 1.5, -0.5)),
    "frequency_penalty": Parameter("for every time", usual=(0.0, 0.3, 1.0, -0.2)),
    "decay": Parameter("of a count", usual=(0.996, 0.9), accepts=lambda x: 0 < x <= 1),
    "forbid_token": Parameter("never drawn", usual=(None, 0), of_vocabulary="token"),
    # Its reciprocal must be a number of f32.
    "temperature": Parameter("divisor", usual=(1.0, 0.8, 1.7), accepts=lambda x: x > 1e-30),
    "top_k": Parameter("k", usual=(0, 5, 20), of_vocabulary="count", accepts=lambda x: x >= 0),
    "top_p": Parameter("mass", usual=(1.0, 0.9, 0.5), accepts=lambda x: 0 <= x <= 1),
    "noise": Parameter("upper end", usual=(1.0, 0.3, 3.0, 0.0), accepts=lambda x: x >= 0),
}


def about(kind: type[Parameters]) -> dict[str, Parameter]:
    return {name: _PARAMETERS[name] for name in kind.__struct_fields__}


def cut(nucleus: Any, scores: str, exactly: Any = None) -> tuple[Any, ...]:
    masks = ("top_k_mask", "top_p_mask")
    return (
        stages.top_k(scores, exactly=exactly),
        nucleus,
        stages.softmax(scores, masks, name="renormalized"),
    )


Chosen.pipeline = folding_pipeline(
    Chosen,
    (
        stages.forbid(tokens=(1,)),
        penalties.occurrences(reads="allowed"),
        stages.temperature(reads="less_frequent", by_reciprocal=True),
        *cut(
            stages.nucleus("scaled_logits", ("top_k_mask",), crosses=">", whole=True),
            "scaled_logits",
            "first",
        ),
        stages.choice("renormalized"),
    ),
    InverseCdf(of="renormalized"),
    about(Chosen),
    stream=PCG64,
)


class Walked(Parameters, frozen=True, tag="walked"):
    """Penalties that decay, an unshifted nucleus, and an f32 walk."""

    sampler: ClassVar[str] = "walked"
    pipeline: ClassVar[Pipeline]

    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    decay: float = 0.996
    top_k: int = 0
    top_p: float = 1.0


Walked.pipeline = folding_pipeline(
    Walked,
    (
        penalties.occurrences(decay="decay", uncounted=(0, 2)),
        *cut(
            stages.nucleus("less_frequent", ("top_k_mask",), shifted=False), "less_frequent", "last"
        ),
        stages.walk("renormalized"),
    ),
    InverseCdf(of="renormalized"),
    about(Walked),
)


class Noised(Parameters, frozen=True, tag="noised"):
    """The largest of what top-k and top-p leave, with noise."""

    sampler: ClassVar[str] = "noised"
    pipeline: ClassVar[Pipeline]

    forbid_token: int | None = None
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    noise: float = 1.0


Noised.pipeline = folding_pipeline(
    Noised,
    (
        stages.forbid(),
        stages.temperature(reads="allowed"),
        stages.top_k("scaled_logits"),
        stages.nucleus("scaled_logits", ("top_k_mask",)),
        stages.masked("scaled_logits", ("top_k_mask", "top_p_mask")),
        stages.noise("masked"),
        stages.largest("noised"),
    ),
    NoisyArgmax(of="masked", noise="noise", temperature="temperature"),
    about(Noised),
)


class Unshifted(Parameters, frozen=True, tag="unshifted"):
    """A nucleus on the whole row's mass, ``>`` and unshifted, drawn by ``RandomState``."""

    sampler: ClassVar[str] = "unshifted"
    pipeline: ClassVar[Pipeline]

    top_k: int = 0
    top_p: float = 1.0


Unshifted.pipeline = folding_pipeline(
    Unshifted,
    (
        *cut(
            stages.nucleus("logits", ("top_k_mask",), crosses=">", shifted=False, whole=True),
            "logits",
        ),
        stages.choice("renormalized"),
    ),
    InverseCdf(of="renormalized"),
    about(Unshifted),
    stream=NUMPY,
)

MADE = [Chosen, Walked, Noised, Unshifted]


def made_of(path: Path) -> set[str]:
    """Give the names of the shelf's functions that a file calls."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return {
        call.func.attr
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in {"stages", "penalties"}
    }


def test_every_stage_is_in_a_pipeline() -> None:
    """No stage of the shelf is left out of the pipelines whose mistakes must be named."""
    shelf = {
        name
        for module in (stages, penalties)
        for name, made in inspect.getmembers(module, inspect.isfunction)
        if made.__annotations__.get("return") is Stage and not name.startswith("_")
    }
    pipelines = Path(str(stages.__file__)).parent.glob("*.py")
    assert len(shelf) > 15
    assert shelf == set.union(*map(made_of, [Path(__file__), *pipelines])) & shelf


HISTORY = torch.tensor([[3, 1, 3, 0, 3, 1], [2, 2, 2, 2, 2, 2]])


@pytest.mark.parametrize("decay", [1.0, 0.996])
def test_penalties_are_those_of_a_loop(decay: float) -> None:
    """OpenAI's formula, and the one of RWKV's scripts, where counts decay at every step."""
    logits = torch.linspace(-3, 3, 10).reshape(2, 5)
    stage = penalties.occurrences(decay="decay")
    p = Walked(presence_penalty=0.4, frequency_penalty=0.3, decay=decay)
    found = stage.reference({"logits": logits, "history": HISTORY}, p, None)
    for row, tokens, penalised in zip(logits, HISTORY.tolist(), found, strict=True):
        occurrence: dict[int, float] = {}
        for token in tokens:
            for known in occurrence:
                occurrence[known] *= decay
            occurrence[token] = occurrence.get(token, 0.0) + 1
        expected = row.clone()
        for token, count in occurrence.items():
            expected[token] -= 0.4 + count * 0.3
        assert penalised.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, 2),
        ({"crosses": ">"}, 3),
        ({"shifted": False}, 1),
        ({"crosses": ">", "shifted": False}, 2),
    ],
)
def test_where_a_nucleus_ends(options: dict[str, Any], kept: int) -> None:
    """Of four equal probabilities, two sum to exactly 0.5."""
    stage = stages.nucleus("logits", **options)
    mask = stage.reference({"logits": torch.zeros(1, 4)}, Walked(top_p=0.5), None)
    assert mask.tolist() == [[place < kept for place in range(4)]]


@pytest.mark.parametrize(("whole", "kept"), [(False, 1), (True, 2)])
def test_on_which_mass(whole: bool, kept: int) -> None:
    """Of four equal tokens two are left: each is a half of that, and a quarter of all."""
    given = {"logits": torch.zeros(1, 4), "m": torch.tensor([[True, True, False, False]])}
    mask = stages.nucleus("logits", ("m",), whole=whole).reference(given, Walked(top_p=0.5), None)
    assert mask.tolist() == [[place < kept for place in range(4)]]


@pytest.mark.parametrize(("exactly", "kept"), [("first", [0, 1]), ("last", [0, 3])])
def test_which_of_tied_tokens_stay(exactly: Any, kept: list[int]) -> None:
    given = {"logits": torch.tensor([[2.0, 1.0, 1.0, 1.0]])}
    mask = stages.top_k("logits", exactly=exactly).reference(given, Walked(top_k=2), None)
    assert mask[0].nonzero().flatten().tolist() == kept


def test_a_generator_of_numpy_goes_on_from_its_state() -> None:
    generator = PCG64.start(5, 3, b"")
    assert generator.bytes(12) == np.random.default_rng(5).bytes(24)[12:]
    again = PCG64.start(0, 0, PCG64.state(generator))
    assert again.bytes(8) == generator.bytes(8)
    assert again.random() == generator.random()


def test_numpy_chooses_from_its_own_stream() -> None:
    probs = np.full((1, 8), 0.125, np.float32)
    stage = stages.choice("p")
    given = {"p": torch.from_numpy(probs)}
    for generator, own in (
        (PCG64.start(3, 0, b""), np.random.default_rng(3)),
        (NUMPY.start(3, 0, b""), np.random.RandomState(3)),
    ):
        token = stage.reference(given, Walked(), generator)
        assert token.tolist() == [[own.choice(8, p=probs[0])]]


def telling_cases(kind: type[Parameters]) -> ExpectedCases:
    """Give some cases of every family, and more where a nucleus ends at exactly its mass.

    ``>`` for ``>=`` shows nowhere else; every other mistake shows in the first dozens.
    """
    cases = accepted_cases(name_of(kind), HERE, 15)
    short = (one for one in cases if len(one[0].logits) * one[0].draws <= MANY)
    some = list(islice(short, 45))
    return some + [one for one in short if "boundary" in one[0].id]


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("kind", MADE)
def test_every_mistake_is_named(kind: type[Parameters]) -> None:
    cases = telling_cases(kind)
    planted = list(plant_in_stages(kind, cases, HERE, lambda: None))
    assert [(fault.stage, fault.name, fault.others) for fault in planted if not fault.killed] == []
    assert len(planted) > 10
    correct = list(try_variations(kind, cases, HERE, lambda: None))
    assert [sampler for sampler in correct if not sampler.passed] == []
    assert correct


FAMILIES = ("gaussian", "zipf", "bf16", "top-k-tie", "top-p-tie", "boundary", "crossing", "masked")


def asked(kind: type[Parameters], count: int) -> Iterator[tuple[Case, Outcome]]:
    for index in range(count):
        for family in FAMILIES:
            case = case_of(f"{name_of(kind)}/{family}-{index}@5")
            if case.logits.shape[-1] > 2000 or len(case.logits) > MANY // 3:
                continue
            case = replace(case, draws=3, advance=0)
            outcome = PythonRef().run(case, HERE)
            if outcome.failure is None:
                yield case, outcome


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("kind", MADE)
def test_no_other_arithmetic_is_called_wrong(kind: type[Parameters]) -> None:
    """In any view: as a trace, as a distribution, and as tokens, over several calls."""
    evidence = Evidence()
    for case, expected in asked(kind, 6):
        for words, changed in ports(kind):
            other = replace(case, parameters=changed(**values_of(case.parameters)))
            evidence.add(case, expected, words, PythonRef().run(other, HERE))
    assert evidence.done > 60
    assert evidence.wrong == 0, evidence.words
    assert evidence.verdicts["rounding"] > 10


@pytest.mark.parametrize(
    ("kind", "case"), [(Chosen, "top-k-tie-16"), (Noised, "boundary-0"), (Noised, "boundary-18")]
)
def test_what_does_not_show_is_not_wrong(kind: type[Parameters], case: str) -> None:
    """Of exactly k, some have a probability that rounds to 0; of what is left, there is nothing."""
    asked_of = replace(case_of(f"{name_of(kind)}/{case}@1"), advance=0)
    evidence, expected = Evidence(), PythonRef().run(asked_of, HERE)
    for words, changed in ports(kind):
        other = replace(asked_of, parameters=changed(**values_of(asked_of.parameters)))
        evidence.add(asked_of, expected, words, PythonRef().run(other, HERE))
    assert evidence.done > 1
    assert evidence.wrong == 0, evidence.words
