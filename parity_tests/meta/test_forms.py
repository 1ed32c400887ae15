"""An answer of a wrong form is never converted: it is ``unfit``, in words, and never equal."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sampler_parity.cases.plan import case_of
from sampler_parity.cli import main
from sampler_parity.implementations.plug_in import Call, PlugIn, plug_in
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome, UnfitError
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.run.comparing import IN_A_ROW
from sampler_parity.run.gate import run_gate
from sampler_parity.run.request import Request
from sampler_parity.sandbox import wire
from sampler_parity.sandbox.isolated import Isolated

CASE = replace(
    case_of("flat-0@0"),
    logits=np.zeros((2, 5), np.float32),
    parameters=SampleLogits(1.0, 0.9, 0),
    draws=3,
    advance=0,
    seed=2**64 - 1,
)
HERE = capability_here()


def plugged(call: Call, **options: Any) -> PlugIn:
    return plug_in("mine", **{"generator": lambda _: None, "view": "probs", **options})(call)


def words(candidate: PlugIn, case: Case = CASE) -> str:
    """Give what is wrong with an answer, after making sure that nothing else is concluded."""
    outcome = candidate.run(case, HERE)
    assert outcome.lost is not None
    reference = PythonRef().run(case, HERE)
    comparison = compare(case, reference, outcome, candidate.about)
    divergence = judge(case, reference, outcome, comparison, candidate.about)
    assert divergence is not None
    assert divergence.verdict is Verdict.UNFIT
    # In a process of its own it is the same.
    line, payload = wire.reply_of(outcome, candidate.about).split(b"\n", 1)
    said = wire.decode(line, payload, wire.Reply)
    with pytest.raises(UnfitError) as caught:
        wire.outcome_of(*said, case, candidate.about)
    assert str(caught.value) == outcome.lost.words
    return outcome.lost.words


EVEN = np.full(5, 0.2, np.float32)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"renormalized": EVEN}, "there is no `token`: the answer has `renormalized`"),
        ({}, "there is no `renormalized`: the answer has nothing"),
        ({"token": 1}, "there is no `renormalized`: the answer has `token`"),
        (1, "there is no `renormalized`: the answer is the token alone"),
        ({"token": 1.0, "renormalized": EVEN}, "`token` is float64 [], and int64 [] is asked for"),
        ({"token": np.float32(1.5), "renormalized": EVEN}, "`token` is float32 []"),
        ({"token": np.int32(1), "renormalized": EVEN}, "`token` is int32 []"),
        ({"token": np.uint64(2**64 - 1), "renormalized": EVEN}, "`token` is uint64 []"),
        ({"token": 2**64 - 1, "renormalized": EVEN}, "`token` is uint64 []"),
        ({"token": 2**70, "renormalized": EVEN}, "`token` is object []"),
        ({"token": True, "renormalized": EVEN}, "`token` is bool []"),
        ({"token": None, "renormalized": EVEN}, "`token` is object []"),
        ({"token": [1, 2], "renormalized": EVEN}, "`token` is int64 [2], and int64 [1]"),
        (
            {"token": 1, "renormalized": EVEN.astype(np.float64)},
            "`renormalized` is float64 [5], and float32 [5] is asked for",
        ),
        ({"token": 1, "renormalized": EVEN[None]}, "`renormalized` is float32 [1, 5], and"),
        ({"token": 1, "renormalized": EVEN[:4]}, "`renormalized` is float32 [4], and"),
        ({"token": 1, "renormalized": EVEN.tolist()}, "`renormalized` is float64 [5], and"),
        (
            {"token": 1, "renormalized": torch.full((5,), 0.2, dtype=torch.bfloat16)},
            "`renormalized` is of type Tensor, and no array",
        ),
        (
            {"token": 1, "renormalized": torch.full((5,), 0.2, requires_grad=True)},
            "`renormalized` is of type Tensor, and no array",
        ),
    ],
)
def test_what_a_callable_hands_over_is_judged_as_it_is(answer: Any, said: str) -> None:
    assert words(plugged(lambda *_: answer)).startswith(said)


@pytest.mark.parametrize(
    "token", [3, np.int64(3), np.array([3]), torch.tensor(3), torch.tensor([3]), np.array([[3]])]
)
def test_one_token_may_come_in_any_form_that_is_one(token: Any) -> None:
    outcome = plugged(lambda *_: token, view="tokens").run(CASE, HERE)
    assert [list(tokens) for tokens in outcome.tokens] == [[3, 3]] * 3
    assert {tokens.dtype for tokens in outcome.tokens} == {np.dtype(np.int64)}


def test_a_batch_has_all_rows() -> None:
    def call(token: Any) -> PlugIn:
        return plugged(lambda *_: token, view="tokens", batched=True)

    for token in (np.array([1, 2]), np.array([[1], [2]]), torch.tensor([[1], [2]])):
        assert [list(row) for row in call(token).run(CASE, HERE).tokens] == [[1, 2]] * 3
    assert words(call(np.array([1]))).startswith("`token` is int64 [1], and int64 [2]")
    assert words(call(np.array([[1, 2]]))).startswith("`token` is int64 [1, 2], and int64 [2]")


def test_masks_are_boolean() -> None:
    def call(logits: Any, parameters: SampleLogits, _: object) -> dict[str, Any]:
        return {stage: np.ones_like(logits) for stage in parameters.stages} | {"token": 1}

    said = "`top_k_mask` is float32 [5], and bool [5] is asked for"
    assert words(plugged(call, view="trace")) == said


def raises(error: Exception) -> Callable[..., Any]:
    def call(*_: object) -> Any:
        raise error

    return call


def test_what_is_given_beside_the_sampler_is_not_the_sampler() -> None:
    """The sampler's own KeyError is compared; a seed that a generator refuses is not."""
    late = replace(CASE, advance=7)
    error = ValueError("Seed must be between 0 and 2**32 - 1")
    said = "raised ValueError: Seed must be between 0 and 2**32 - 1, called with"
    for name, options in (
        ("generator", {"generator": raises(error)}),
        ("advance", {"advance": raises(error)}),
        ("state", {"state": raises(error)}),
    ):
        candidate = plugged(lambda *_: 1, view="tokens", **options)
        assert words(candidate, late).startswith(f"its `{name}` {said}")
    assert words(plugged(lambda *_: 1, generator=raises(error))).endswith(f" {2**64 - 1}")
    outcome = plugged(raises(KeyError("token"))).run(CASE, HERE)
    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.failure.draw) == ("KeyError", 0)


def test_a_sampler_without_memory_has_none() -> None:
    """It is the process' fault, not an error that the reference could raise too."""
    with pytest.raises(MemoryError):
        plugged(raises(MemoryError())).run(CASE, HERE)


def test_a_state_is_torchs_form() -> None:
    candidate = plugged(lambda *_: 1, view="tokens", state=lambda _: b"short")
    message = wire.reply_of(candidate.run(CASE, HERE), candidate.about)
    line, payload = message.split(b"\n", 1)
    with pytest.raises(UnfitError, match=r"`generator` is uint8 \[5\], and uint8 \[5056\]"):
        wire.outcome_of(*wire.decode(line, payload, wire.Reply), CASE, candidate.about)


ANSWERS = """
import json, sys
import numpy as np
from safetensors.numpy import save
about = {"name": "odd", "view": "probs", "stream": "own", "effects": [%s]}
print(json.dumps({"about": about}), flush=True)
even = np.full((2, 5), 0.2, np.float32)
while line := sys.stdin.buffer.readline():
    sys.stdin.buffer.read(json.loads(line)["bytes"])
    tensors = {"token": np.zeros((2, 3), np.int64), "renormalized": even}
    error = None
    %s
    payload = save(tensors)
    print(json.dumps({"bytes": len(payload), "error": error}), flush=True)
    sys.stdout.buffer.write(payload)
    sys.stdout.flush()
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("tensors['token'] = np.float32([[16.5] * 3] * 2)", "`token` is float32 [2, 3], and int64"),
        ("tensors['token'] = np.full((2, 3), 2**64 - 1, np.uint64)", "`token` is uint64 [2, 3]"),
        ("tensors['token'] = np.zeros((2, 3), np.int32)", "`token` is int32 [2, 3], and int64"),
        ("tensors['token'] = np.zeros((3, 2), np.int64)", "`token` is int64 [3, 2], and int64 [2,"),
        ("tensors['token'] = np.zeros(6, np.int64)", "`token` is int64 [6], and int64 [2, 3]"),
        ("tensors['token'] = np.zeros((2, 2), np.int64)", "`token` is int64 [2, 2], and"),
        ("del tensors['token']", "there is no `token`: the answer has `renormalized`"),
        ("tensors = {'token': tensors['token']}", "there is no `renormalized`: the answer has"),
        ("tensors['renormalized'] = even.astype(float)", "`renormalized` is float64 [2, 5], and"),
        ("tensors['renormalized'] = even[0]", "`renormalized` is float32 [5], and float32 [2, 5]"),
        ("error = dict(kind='IndexError', message='', draw=1)", "`token` is int64 [2, 3], and"),
        ("error = dict(kind='IndexError', message='', draw=3)", "call 3 is said to have raised"),
        ("error = dict(kind='IndexError', message='', draw=-1)", "call -1 is said to have raised"),
    ],
)
def test_what_a_program_hands_over_is_judged_as_it_is(
    change: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "program.py"
    path.write_text(ANSWERS % ("", change), encoding="utf-8")
    with Isolated(f"command:{shlex.join([sys.executable, str(path)])}") as candidate:
        for _ in range(2):
            outcome = candidate.run(CASE, HERE)
            assert outcome.lost is not None
            assert outcome.lost.verdict is Verdict.UNFIT
            assert outcome.lost.words.startswith(said)
        # It was understood, and is not ended for it.
        assert len(candidate.earlier) == 2


def test_a_program_shows_the_effects_that_it_names(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(ANSWERS % ("'input'", "pass"), encoding="utf-8")
    with Isolated(f"command:{shlex.join([sys.executable, str(path)])}") as candidate:
        outcome = candidate.run(CASE, HERE)
    assert outcome.lost is not None
    assert outcome.lost.words.startswith("there is no `input`: the answer has")


def test_a_fitting_answer_of_a_program_is_one(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(ANSWERS % ("", "pass"), encoding="utf-8")
    with Isolated(f"command:{shlex.join([sys.executable, str(path)])}") as candidate:
        outcome = candidate.run(CASE, HERE)
        lone = candidate.run(replace(CASE, logits=np.zeros(5, np.float32)), HERE)
    assert outcome.lost is None
    assert lone.lost is not None, "of one row, two were given"
    assert [list(tokens) for tokens in outcome.tokens] == [[0, 0]] * 3


def test_a_dtype_that_numpy_does_not_know() -> None:
    header = b'{"token":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    payload = len(header).to_bytes(8, "little") + header + b"\0\0"
    with pytest.raises(UnfitError, match="a tensor is BF16, which no stage is"):
        wire.decode(b"{}", payload, wire.Reply)


class Casts:
    """Takes the largest logit, and hands it over as a float."""

    about = About(name="casts", view="tokens", stream="own", effects=())

    def run(self, case: Case, _: str) -> Outcome:
        return Outcome(tokens=[case.logits.argmax(axis=-1).astype(np.float32)] * case.draws)


class Forgets(Casts):
    """Has its own mistake where the sampler is called."""

    def run(self, case: Case, _: str) -> Outcome:
        raise KeyError(case.id)


@pytest.mark.slow
@pytest.mark.proof
def test_a_mistake_around_the_sampler_is_unfit() -> None:
    with Isolated("parity_tests.meta.test_forms:Forgets") as candidate:
        found = candidate.run(CASE, HERE).lost
    assert found is not None
    assert found.verdict is Verdict.UNFIT
    assert found.words == "the implementation's `run` raised KeyError: 'flat-0@0'"


@pytest.mark.slow
@pytest.mark.proof
def test_a_run_of_unfit_answers_is_not_judged(tmp_path: Path) -> None:
    """Neither equal nor a divergence of the sampler: exit status 2, with the sentence."""
    run = run_gate(
        Request(
            implementations=("parity_tests.meta.test_forms:Casts",),
            families=("flat",),
            capabilities=(HERE,),
            folder=tmp_path,
        )
    )
    [shard] = run.shards
    assert shard.verdicts == {"unfit": IN_A_ROW}
    assert shard.planned == shard.compared + shard.not_compared
    assert run.status == "unjudged"
    [reason] = [reason for reason in run.reasons if "could not be compared" in reason]
    assert reason.startswith(f"{IN_A_ROW} answers of casts at capability {HERE} could")
    assert "`token` is float32 [16], and int64 [16] is asked for" in reason


@pytest.mark.slow
@pytest.mark.proof
def test_explaining_an_unfit_answer_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["explain", "flat-0@0", "--implementation", "parity_tests.meta.test_forms:Casts"]
    monkeypatch.setattr("sys.argv", ["sampler-parity", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "cannot be compared: `token` is float32 [16]" in capsys.readouterr().err


ONE_SAMPLER = """
import json, sys
about = {"name": "one", "view": "tokens", "stream": "own", "effects": [], "samplers": %r}
print(json.dumps({"about": about}), flush=True)
while line := sys.stdin.buffer.readline():
    ask = json.loads(line)
    sys.stdin.buffer.read(ask["bytes"])
    print(json.dumps({"declined": ask["sampler"]}), flush=True)
"""


@pytest.mark.slow
@pytest.mark.proof
def test_a_program_is_asked_no_case_of_a_sampler_that_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(ONE_SAMPLER % ["sample_logits"], encoding="utf-8")
    with Isolated(f"command:{shlex.join([sys.executable, str(path)])}") as candidate:
        other = replace(CASE, parameters=SimpleBatch())
        assert candidate.run(other, HERE).declined == "one has no simple_batch_sampler"
        assert candidate.earlier == []
        assert candidate.run(CASE, HERE).declined == "sample_logits"
    run = run_gate(
        Request(
            implementations=(f"command:{shlex.join([sys.executable, str(path)])}",),
            families=("flat",),
            capabilities=(HERE,),
            folder=tmp_path / "run",
        )
    )
    [shard] = run.shards
    assert shard.not_compared == shard.planned
    assert "declined: one has no simple_batch_sampler" in shard.reason


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ("'samplers': ['sample_logit']", "says that it has the sampler 'sample_logit', which is"),
        ("'samplers': []", "says that it has no sampler"),
        ("'sampler': ['sample_logits']", "Object contains unknown field `sampler`"),
        ("'effects': ['inputs']", "Invalid enum value 'inputs'"),
        ("'capabilities': 'none'", "Invalid enum value 'none'"),
    ],
)
def test_what_a_candidate_says_of_itself_is_heeded_or_refused(
    about: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "program.py"
    path.write_text(f"import json\nprint(json.dumps({{'about': {{'name': 'x', {about}}}}}))\n")
    with pytest.raises(Exception, match=said):
        Isolated(f"command:{shlex.join([sys.executable, str(path)])}")
