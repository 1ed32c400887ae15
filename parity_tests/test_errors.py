"""Input that the reference refuses: the same class, the same effects, a message that says what."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import python_ref
import rust_ext
from parity_tests.installed_torch import OLDEST
from sampler_parity.cases.plan import case_of
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.judge.refusals import CAUSES, cause_of

HERE = capability_here()
NAN, INF = math.nan, math.inf
ROW = [0.5, -1.0, 2.0, 0.0]


def reference_outcome(logits: list[Any], arguments: dict[str, Any]) -> tuple[str, bytes]:
    generator = torch.Generator().manual_seed(1)
    try:
        python_ref.sample_logits(torch.tensor(logits), **arguments, generator=generator)
        kind = "returns"
    except Exception as error:  # noqa: BLE001  (whatever the reference raises is the expectation)
        kind = type(error).__name__
    return kind, generator.get_state().numpy().tobytes()


@pytest.mark.parametrize(
    ("logits", "arguments", "message"),
    [
        pytest.param([ROW], {"temperature": 0.0}, r"temperature = 0", id="temperature 0"),
        pytest.param([ROW], {"temperature": NAN}, r"temperature = NaN", id="temperature nan"),
        pytest.param([ROW], {"temperature": -1.0}, None, id="temperature < 0"),
        pytest.param([ROW], {"temperature": INF}, None, id="temperature inf"),
        pytest.param([[0.0, NAN]], {}, r"logits\[0, 1\] = NaN", id="nan logit"),
        pytest.param([ROW, [0.0, 1.0, INF, 1.0]], {}, r"logits\[1, 2\] = inf", id="inf logit"),
        pytest.param([ROW, [-INF] * 4], {}, r"row 1 of logits", id="a row of -inf"),
        pytest.param([[1.0, -INF]], {"temperature": -1.0}, r"logits\[0, 1\]", id="-inf inverted"),
        pytest.param([ROW], {"top_k": 5}, r"top_k = 5 .* V = 4", id="top_k > V"),
        pytest.param([ROW], {"top_k": -5}, None, id="top_k < 0"),
        pytest.param([ROW], {"top_p": NAN}, None, id="top_p nan"),
        pytest.param([ROW], {"top_p": -0.5}, None, id="top_p < 0"),
        pytest.param([ROW], {"top_p": 2.0}, None, id="top_p > 1"),
        pytest.param(ROW, {}, r"shape \[4\]: top_p = 0.85", id="1-D with top-p"),
        pytest.param(ROW, {"top_p": 0.0}, None, id="1-D without top-p"),
        pytest.param(ROW, {"top_k": 9}, r"top_k = 9", id="1-D with top_k > V"),
        pytest.param([[ROW]], {}, r"shape \[1, 1, 4\]", id="3-D"),
        pytest.param([[ROW]], {"top_p": 0.0}, r"shape \[1, 1, 4\]", id="3-D without top-p"),
        pytest.param([[]], {}, r"V = 0", id="V = 0"),
        pytest.param([[]], {"top_p": 0.0}, r"V = 0", id="V = 0 without top-p"),
        pytest.param([[]], {"top_k": 1}, r"top_k = 1", id="V = 0 with top-k"),
    ],
)
def test_sample_logits(logits: list[Any], arguments: dict[str, Any], message: str | None) -> None:
    kind, state = reference_outcome(logits, arguments)
    port = rust_ext.Generator(1)
    values = np.array(logits, np.float32)
    before = values.copy()
    if message is None:
        assert kind == "returns"
        rust_ext.sample_logits(values, **arguments, generator=port)
    else:
        for call in (rust_ext.sample_logits, rust_ext.trace_sample_logits):
            with pytest.raises(Exception, match=message) as caught:
                call(values, **arguments, generator=port)
            assert type(caught.value).__name__ == kind
    assert port.get_state() == state
    np.testing.assert_array_equal(before.view(np.uint32), values.view(np.uint32))


def test_no_rows() -> None:
    port = rust_ext.Generator(1)
    empty = np.empty((0, 5), np.float32)
    assert python_ref.sample_logits(torch.from_numpy(empty)).shape == (0, 1)
    assert rust_ext.sample_logits(empty, generator=port).shape == (0, 1)
    assert rust_ext.simple_batch_sampler(empty, generator=port).shape == (0, 1)
    assert port.get_state() == rust_ext.Generator(1).get_state()


def test_more_tokens_than_multinomial_takes() -> None:
    logits = np.zeros((1, 2**24 + 1), np.float32)
    with pytest.raises(RuntimeError, match=r"2\^24"):
        python_ref.sample_logits(torch.from_numpy(logits), top_p=0.0)
    with pytest.raises(RuntimeError, match=r"V = 16777217 .* 2\^24"):
        rust_ext.sample_logits(logits, top_p=0.0, generator=rust_ext.Generator(1))


@pytest.mark.parametrize(
    ("noise", "temp", "error", "message"),
    [
        (1.0, 0.0, AssertionError, r"temp = 0"),
        (1.0, -2.0, AssertionError, r"temp = -2"),
        (1.0, NAN, AssertionError, r"temp = NaN"),
        (-1.0, 2.0, RuntimeError, r"noise = -1"),
        (NAN, 2.0, RuntimeError, r"noise = NaN"),
        (INF, 2.0, RuntimeError, r"noise = inf"),
        (1e39, 2.0, RuntimeError, r"noise = 1000000"),
        (-1e-50, 2.0, RuntimeError, r"noise = -0.0000"),
    ],
)
def test_simple_batch_sampler(
    noise: float, temp: float, error: type[Exception], message: str
) -> None:
    """A refused noise has already scaled the logits; a refused temperature has not (finding F9)."""
    reference = torch.tensor([ROW])
    generator = torch.Generator().manual_seed(1)
    with pytest.raises(error):
        python_ref.sampler_simple_batch(reference, noise, temp, generator=generator)
    values, port = np.array([ROW], np.float32), rust_ext.Generator(1)
    with pytest.raises(error, match=message) as caught:
        rust_ext.simple_batch_sampler(values, noise, temp, generator=port)
    assert type(caught.value) is error
    np.testing.assert_array_equal(reference.numpy().view(np.uint32), values.view(np.uint32))
    assert port.get_state() == generator.get_state().numpy().tobytes()


def test_simple_batch_sampler_without_tokens() -> None:
    with pytest.raises(IndexError):
        python_ref.sampler_simple_batch(torch.empty(2, 0))
    with pytest.raises(IndexError, match="V = 0"):
        rust_ext.simple_batch_sampler(np.empty((2, 0), np.float32), generator=rust_ext.Generator(1))


@pytest.mark.parametrize("token", [4, 100, -1])
def test_forbidden_token_out_of_range(token: int) -> None:
    values = np.array([ROW], np.float32)
    with pytest.raises(IndexError, match=f"forbid_token = {token}"):
        rust_ext.simple_batch_sampler(values, generator=rust_ext.Generator(1), forbid_token=token)
    assert values.tolist() == [ROW]


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool"])
def test_integer_logits_say_what_they_are(dtype: str) -> None:
    """torch 2.7 raises RuntimeError, of which the newest torch's NotImplementedError is a kind.

    Where torch takes integers is in ``test_arguments.py``.
    """
    logits: Any = np.ones((1, 4), dtype)
    with pytest.raises(RuntimeError) as refused:
        python_ref.sample_logits(torch.from_numpy(logits))
    assert refused.type is (RuntimeError if OLDEST else NotImplementedError)
    for call in (rust_ext.sample_logits, rust_ext.simple_batch_sampler):
        with pytest.raises(NotImplementedError, match=f"float32, not {dtype}"):
            call(logits, generator=rust_ext.Generator(1))


@pytest.mark.parametrize("dtype", ["float64", "float16", "complex64", ">f4"])
def test_other_dtypes(dtype: str) -> None:
    """The reference computes other floats in their own precision; the port replays float32."""
    for call in (rust_ext.sample_logits, rust_ext.simple_batch_sampler):
        with pytest.raises(TypeError, match="must be float32, not"):
            call(np.ones((1, 4), dtype), generator=rust_ext.Generator(1))


@pytest.mark.parametrize("logits", [[[1.0, 2.0]], None, torch.ones(1, 2)])
def test_not_an_array(logits: Any) -> None:
    with pytest.raises(TypeError, match="logits must be a numpy array of float32, not"):
        rust_ext.sample_logits(logits, generator=rust_ext.Generator(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"capability": "sse2"}, 'capability = "sse2"'),
        ({"threads": 0}, "threads = 0"),
        ({"zero_temperature": "greedy"}, 'zero_temperature = "greedy"'),
    ],
)
def test_arguments_of_the_port(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rust_ext.sample_logits(
            np.ones((1, 4), np.float32), generator=rust_ext.Generator(1), **arguments
        )


def test_draw_takes_one_row() -> None:
    with pytest.raises(ValueError, match=r"shape \[1, 4\]"):
        rust_ext.draw(np.ones((1, 4), np.float32), 3, generator=rust_ext.Generator(1))


def test_a_read_only_array_is_refused_in_place_and_read_elsewhere() -> None:
    logits = np.array([ROW], np.float32)
    logits.flags.writeable = False
    rust_ext.sample_logits(logits, generator=rust_ext.Generator(1))
    port = rust_ext.Generator(1)
    with pytest.raises(ValueError, match="cannot be written in place"):
        rust_ext.simple_batch_sampler(logits, generator=port)
    assert port.get_state() == rust_ext.Generator(1).get_state()


@pytest.mark.promise
def test_both_sides_name_the_same_cause() -> None:
    """So that the gate, which compares causes where it knows both, does compare them."""
    seen = set()
    for family in ("odd-parameters", "odd-logits", "one-dimension"):
        for index in range(150):
            case = case_of(f"{family}-{index}@4")
            failure = PythonRef().run(case, HERE).failure
            if failure is not None:
                ours = RustExt().run(case, HERE).failure
                assert ours is not None
                assert cause_of(failure.message) == cause_of(ours.message) != ""
                seen.add(cause_of(failure.message))
    assert seen == {cause for cause, _ in CAUSES}
