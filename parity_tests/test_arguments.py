"""Arguments of every kind, as torch takes them: the same bits, or the same class of exception."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

import python_ref
import rust_ext
from parity_tests.installed_torch import OLDEST
from sampler_parity.implementations.python_ref import capability_here

ROW = [0.5, -1.0, 2.0, 0.0]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
MANY = [[2**31 - 1, -(2**31), 7, 2**24 + 1, 2**24, 0], [3, -3, 9, -9, 1, 1]]
"""Integers that float32 rounds."""


@dataclass(frozen=True)
class Outcome:
    """What a call gives, or the class of what it raises; and the generator's state."""

    result: object
    state: bytes


def outcome(call: Callable[[], Any], state: Callable[[], bytes]) -> Outcome:
    with warnings.catch_warnings():
        # numpy's, of an array that becomes a number, or that is divided by zero.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            result = call()
        except Exception as error:  # noqa: BLE001  (whatever the reference raises is expected)
            result = type(error).__name__
    return Outcome(result, state())


def named(expected: Outcome, found: Outcome) -> Outcome:
    """Give what is expected of the port: errors of the oldest torch by newer ones' classes."""
    other = expected.result in ("RuntimeError", "IndexError")
    if OLDEST and other and found.result in ("NotImplementedError", "ValueError"):
        return replace(expected, result=found.result)
    return expected


def plain(tokens: Any) -> object:
    return (tuple(tokens.shape), tokens.tolist())


def bits(trace: Any) -> object:
    """Tokens and the distribution that they are drawn from."""
    last = np.asarray(trace.renormalized)
    return (plain(trace.token), str(last.dtype), last.tobytes())


def agrees(logits: Any, reference: Any = None, **arguments: Any) -> Outcome:
    """Compare every form of ``sample_logits`` with the reference; give what it does."""
    array = np.asarray(logits)
    tensor = torch.from_numpy(array.copy()) if reference is None else reference
    theirs = torch.Generator().manual_seed(3)

    def their_state() -> bytes:
        return theirs.get_state().numpy().tobytes()

    expected = outcome(
        lambda: bits(python_ref.trace_sample_logits(tensor, **arguments, generator=theirs)),
        their_state,
    )
    port = rust_ext.Generator(3)
    options: dict[str, Any] = {"generator": port, "capability": capability_here()}
    traced = outcome(
        lambda: bits(rust_ext.trace_sample_logits(array, **arguments, **options)), port.get_state
    )
    port.manual_seed(3)
    drawn = outcome(
        lambda: plain(rust_ext.sample_logits(array, **arguments, **options)), port.get_state
    )
    theirs.manual_seed(3)
    through = outcome(
        lambda: plain(rust_ext.sample_logits_torch(tensor, **arguments, generator=theirs)),
        their_state,
    )
    if isinstance(expected.result, tuple) and expected.result[1] != "float32":
        # One-hot, in the logits' own type: what temperature 0 was meant for.
        assert arguments["zero_temperature"] == "argmax"
        assert isinstance(traced.result, tuple)
        assert traced.result[0] == expected.result[0]
    else:
        expected = named(expected, traced)
        assert traced == expected
    tokens = expected.result[0] if isinstance(expected.result, tuple) else expected.result
    assert drawn == through == Outcome(tokens, expected.state)
    return expected


def ints(dtype: str) -> Any:
    with np.errstate(all="ignore"):
        return np.array(MANY, np.int64).astype(dtype)


@pytest.mark.parametrize("dtype", [*INTEGERS, "bool"])
@pytest.mark.parametrize("temperature", [1.0, 1, True, 0.7, 2, -3.0, 1e9, 0.0, np.nan])
@pytest.mark.parametrize("shape", [(2, 6), (12,), (1, 2, 6), (2, 0), ()])
def test_integer_logits(dtype: str, temperature: float, shape: tuple[int, ...]) -> None:
    values = ints(dtype).reshape(-1)[: int(np.prod(shape))].reshape(shape)
    for top_p in (0.85, 0.0):
        for top_k in (0, 1, 7):
            agrees(values, temperature=temperature, top_p=top_p, top_k=top_k)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_no_rows_of_integers(dtype: str, temperature: float) -> None:
    """Of the other types, torch refuses even none, by operations that it does not come to else."""
    for top_p in (0.85, 0.0):
        for top_k in (0, 1, 7):
            agrees(np.empty((0, 6), dtype), temperature=temperature, top_p=top_p, top_k=top_k)


@pytest.mark.parametrize("dtype", [*INTEGERS, "bool", "float32"])
@pytest.mark.parametrize("shape", [(2, 6), (12,), (1, 2, 6), (0, 6), (2, 0), ()])
def test_argmax_of_any_shape_and_type(dtype: str, shape: tuple[int, ...]) -> None:
    if OLDEST and dtype == "bool" and shape == (0, 6):
        pytest.skip("the oldest torch gives an argmax of no rows of bool, which newer ones refuse")
    values = ints(dtype).reshape(-1)[: int(np.prod(shape))].reshape(shape)
    agrees(values, temperature=0.0, zero_temperature="argmax")
    # More than float32 tells apart.
    if dtype == "int64":
        agrees(np.array([[2**53, 2**53 + 1]]), temperature=0.0, zero_temperature="argmax")


def test_integers_that_float32_rounds() -> None:
    """The division is one of float32 after the rounding."""
    for base in (2**24, 2**31, 2**53, 2**62):
        row = np.array([[base + 1, base, base - base // 2**24, base - 1]])
        agrees(row, temperature=base / 2**22, top_p=0.0)


NUMBERS: dict[str, Any] = {
    "float32": np.float32(0.7),
    "float64": np.float64(0.7),
    "float16": np.float16(0.7),
    "longdouble": np.longdouble(0.7),
    "int": 2,
    "int of 64 bits": 2**64 - 1,
    "int of 65 bits": 2**64,
    "int of 400 digits": 10**400,
    "negative int of 65 bits": -(2**64),
    "int8": np.int8(2),
    "int64": np.int64(2),
    "bool": True,
    "numpy bool": np.bool_(True),
    "array of float32": np.array(0.7, np.float32),
    "array [1] of float32": np.array([0.7], np.float32),
    "array [1, 1] of float32": np.array([[0.7]], np.float32),
    "array of 1": np.array(1.0),
    "array [1] of 1": np.array([1.0]),
    "array of 0": np.array(0.0, np.float32),
    "array [1] of 0": np.array([0.0], np.float32),
    "array of -1": np.array([-1.0], np.float32),
    "array of two": np.array([0.7, 0.8]),
    "array of none": np.array([]),
    "tensor": torch.tensor(0.7),
    "tensor of float64": torch.tensor(0.7, dtype=torch.float64),
    "tensor of int": torch.tensor(2),
    "str": "0.7",
    "None": None,
    "list": [0.7],
}


@pytest.mark.parametrize("name", ["temperature", "top_p"])
@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
def test_numbers(name: str, number: Any) -> None:
    agrees(np.array([ROW, ROW[::-1]], np.float32), **{name: number})


@pytest.mark.parametrize("number", [np.float16(0.7), np.longdouble(0.7)])
def test_reciprocals_of_another_type(number: Any) -> None:
    """numpy takes them in that type; the port has them in float64 and says so."""
    with pytest.raises(TypeError, match="temp must be a number, not numpy"):
        rust_ext.simple_batch_sampler(
            np.array([ROW], np.float32), temp=number, generator=rust_ext.Generator(1)
        )


SIMPLE = [
    (name, kind)
    for name in ("noise", "temp")
    for kind in NUMBERS
    if (name, kind) not in {("temp", "float16"), ("temp", "longdouble")}
]


@pytest.mark.parametrize(("name", "kind"), SIMPLE)
def test_numbers_of_the_simple_sampler(name: str, kind: str) -> None:
    number = NUMBERS[kind]
    simple_agrees(np.array([ROW, ROW[::-1]], np.float32), **{name: number})


def simple_agrees(array: Any, **arguments: Any) -> None:
    """Compare both forms of ``simple_batch_sampler``: tokens, what is left in the logits, state."""
    tensor = torch.from_numpy(array.copy())
    theirs = torch.Generator().manual_seed(3)
    expected = outcome(
        lambda: plain(python_ref.sampler_simple_batch(tensor, **arguments, generator=theirs)),
        lambda: theirs.get_state().numpy().tobytes(),
    )
    for call in (rust_ext.simple_batch_sampler, rust_ext.trace_simple_batch_sampler):
        logits, port = array.copy(), rust_ext.Generator(3)

        def tokens(call: Any = call, logits: Any = logits, port: Any = port) -> object:
            found = call(logits, **arguments, generator=port)
            return plain(found if isinstance(found, np.ndarray) else found.token)

        found = outcome(tokens, port.get_state)
        assert found == named(expected, found)
        assert logits.tobytes() == tensor.numpy().tobytes()


@pytest.mark.parametrize("dtype", [*INTEGERS, "bool", "float32"])
@pytest.mark.parametrize("shape", [(2, 6), (12,), (1, 2, 6), (2, 0), ()])
def test_logits_of_the_simple_sampler(dtype: str, shape: tuple[int, ...]) -> None:
    values = ints(dtype).reshape(-1)[: int(np.prod(shape))].reshape(shape)
    for noise in (1.0, 0.0, -1.0):
        for temp in (1.0, 2, 0.0):
            simple_agrees(values, noise=noise, temp=temp)


COUNTS: dict[str, Any] = {
    "bool": True,
    "False": False,
    "int of 63 bits": 2**63 - 1,
    "int of 64 bits": 2**63,
    "int of 71 bits": 2**70,
    "negative int of 64 bits": -(2**63),
    "negative int of 71 bits": -(2**70),
    "float": 2.0,
    "float 0": 0.0,
    "negative float": -1.5,
    "nan": float("nan"),
    "int64": np.int64(2),
    "int32": np.int32(2),
    "uint64": np.uint64(2),
    "numpy bool": np.bool_(True),
    "numpy False": np.bool_(False),
    "float64": np.float64(2),
    "float32 0": np.float32(0),
    "array": np.array(2),
    "negative array": np.array(-2),
    "array [1]": np.array([2]),
    "negative array [1]": np.array([-2]),
    "array of float": np.array(2.0),
    "array of bool": np.array(True),
    "array of two": np.array([1, 2]),
    "tensor": torch.tensor(2),
    "None": None,
    "str": "2",
}


@pytest.mark.parametrize("count", COUNTS.values(), ids=COUNTS)
def test_top_k(count: Any) -> None:
    agrees(np.array([ROW, ROW[::-1]], np.float32), top_k=count)


@pytest.mark.parametrize("top_p", [0.85, 0.0])
@pytest.mark.parametrize("top_k", [0, 1, 2])
@pytest.mark.parametrize("value", [3.0, float("nan"), float("inf")])
def test_logits_without_dimensions(value: float, top_p: float, top_k: int) -> None:
    agrees(np.array(value, np.float32), top_p=top_p, top_k=top_k)


@pytest.mark.parametrize("shape", [(2, 1, 0), (1, 2, 3), (1, 1, 2, 2)])
@pytest.mark.parametrize("top_p", [0.85, 0.0])
@pytest.mark.parametrize("top_k", [0, 1, 9])
def test_more_dimensions(shape: tuple[int, ...], top_p: float, top_k: int) -> None:
    agrees(np.zeros(shape, np.float32), top_p=top_p, top_k=top_k)


@pytest.mark.parametrize("strides", [(0, 4), (4, 0), (8, 4), (4, 4), (4, 12), (8, 12), (16, 4)])
@pytest.mark.parametrize(("noise", "temp"), [(1.0, 1.0), (1.0, 2.0), (0.0, 2.0), (0.0, 1.0)])
def test_rows_that_overlap(strides: tuple[int, int], noise: float, temp: float) -> None:
    """torch looks for a stride of 0 only; what it makes of others depends on its vectors."""
    shape = (3, 4)
    ours, theirs = np.arange(40, dtype=np.float32), torch.arange(40.0)
    view = np.lib.stride_tricks.as_strided(ours, shape, strides)
    tensor = theirs.as_strided(shape, (strides[0] // 4, strides[1] // 4))
    places = {
        row * strides[0] + token * strides[1]
        for row in range(shape[0])
        for token in range(shape[1])
    }
    port, generator = rust_ext.Generator(3), torch.Generator().manual_seed(3)
    expected = outcome(
        lambda: plain(python_ref.sampler_simple_batch(tensor, noise, temp, generator=generator)),
        lambda: generator.get_state().numpy().tobytes(),
    )
    found = outcome(
        lambda: plain(rust_ext.simple_batch_sampler(view, noise, temp, generator=port)),
        port.get_state,
    )
    overlaps = len(places) < shape[0] * shape[1]
    if overlaps and 0 not in strides and (noise, temp) != (0.0, 1.0):
        assert found.result == "RuntimeError"
        assert ours.tolist() == list(range(40))
    else:
        assert found.result == expected.result
        assert ours.tolist() == theirs.tolist()
    if not overlaps:
        assert found == expected


def test_a_view_that_is_backwards() -> None:
    """torch has none; what numpy has is read, and what cannot be a tensor is not written."""
    logits = np.array([ROW, ROW], np.float32)[::-1, ::-1]
    agrees(logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_tensor_that_is_negated_when_it_is_read(dtype: torch.dtype) -> None:
    values = torch.tensor([ROW, ROW[::-1]], dtype=dtype)
    lazy = torch._neg_view(values)
    assert lazy.is_neg()
    drawn = rust_ext.sample_logits_torch(lazy, generator=torch.Generator().manual_seed(3))
    expected = python_ref.sample_logits(lazy.float(), generator=torch.Generator().manual_seed(3))
    assert torch.equal(drawn, expected)
    imaginary = torch.complex(values.float(), values.float()).conj().imag
    assert imaginary.is_neg()
    drawn = rust_ext.sample_logits_torch(imaginary, generator=torch.Generator().manual_seed(3))
    assert torch.equal(drawn, expected) or dtype is not torch.float32


ARRAY = np.array([ROW], np.float32)
TENSOR = torch.tensor([ROW])


@pytest.mark.parametrize(
    ("call", "logits", "generator", "message"),
    [
        ("sample_logits", [ROW], "ours", "logits must be a numpy array of float32, not list"),
        ("sample_logits", None, "ours", "logits must be a numpy array of float32, not NoneType"),
        ("sample_logits", TENSOR, "ours", "not torch.Tensor: pass tensor.numpy"),
        ("sample_logits", ARRAY, None, "generator must be a rust_ext.Generator, not NoneType"),
        ("sample_logits", ARRAY, 5, "generator must be a rust_ext.Generator, not int"),
        ("sample_logits", ARRAY, "torchs", "not torch._C.Generator: call sample_logits_torch"),
        ("sample_logits_torch", [ROW], "torchs", "logits must be a torch.Tensor .* not list"),
        ("sample_logits_torch", None, "torchs", "logits must be a torch.Tensor .* not NoneType"),
        ("sample_logits_torch", ARRAY, "torchs", "logits must be a torch.Tensor .* numpy.ndarray"),
        ("sample_logits_torch", TENSOR, None, "generator must be a torch.Generator .* NoneType"),
        ("sample_logits_torch", TENSOR, "ours", "rust_ext.Generator: call sample_logits"),
        (
            "sample_logits_torch",
            TENSOR,
            ARRAY,
            "generator must be a torch.Generator .* numpy.ndarray",
        ),
        ("sample_logits_torch", TENSOR.double(), "torchs", "logits must be float32, not float64"),
        ("sample_logits_torch", TENSOR.to("meta"), "torchs", "meta"),
        (
            "simple_batch_sampler",
            [ROW],
            "ours",
            "logits must be a numpy array of float32, not list",
        ),
        ("simple_batch_sampler", ARRAY, "torchs", "generator must be a rust_ext.Generator"),
    ],
)
def test_wrong_objects(call: str, logits: Any, generator: Any, message: str) -> None:
    given = {"ours": rust_ext.Generator(1), "torchs": torch.Generator()}
    made = given[generator] if isinstance(generator, str) else generator
    calls = [getattr(rust_ext, call)]
    calls += [getattr(rust_ext, f"trace_{call}")] if hasattr(rust_ext, f"trace_{call}") else []
    for function in calls:
        with pytest.raises((TypeError, NotImplementedError), match=message):
            function(logits, generator=made)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"temperature": "hot"}, TypeError, "temperature must be a number, not str"),
        ({"top_p": [0.5]}, TypeError, "top_p must be a number, not list"),
        ({"top_k": 2.5}, TypeError, "top_k must be an int, not float"),
        ({"top_k": True}, TypeError, "top_k must be an int, not bool"),
        ({"top_k": 2**70}, ValueError, "top_k = 1180591620717411303424"),
        ({"temperature": 2**64}, OverflowError, "temperature = 18446744073709551616"),
        ({"temperature": np.array(0.7)}, TypeError, "array of float64, torch computes in float64"),
        ({"threads": 0}, ValueError, "threads = 0"),
        ({"threads": -1}, ValueError, "threads = -1"),
        ({"threads": 1.5}, TypeError, "threads must be an int or None, not float"),
        ({"capability": 5}, TypeError, "'capability'"),
        ({"zero_temperature": None}, TypeError, "'zero_temperature'"),
    ],
)
def test_messages_name_the_argument(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        rust_ext.sample_logits(ARRAY, **arguments, generator=rust_ext.Generator(1))
    with pytest.raises(error, match=message):
        rust_ext.sample_logits_torch(TENSOR, **arguments, generator=torch.Generator())


@pytest.mark.parametrize(
    ("n", "error"), [(-1, ValueError), (-(2**70), ValueError), (1.0, TypeError), (None, TypeError)]
)
def test_how_many_tokens(n: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="n "):
        rust_ext.draw(ARRAY[0], n, generator=rust_ext.Generator(1))
    three: Any = np.int64(3)
    assert rust_ext.draw(ARRAY[0], three, generator=rust_ext.Generator(1)).shape == (3,)


@pytest.mark.parametrize("n", [2**47, 2**62, 2**70])
def test_more_tokens_than_memory_holds(n: int) -> None:
    port = rust_ext.Generator(1)
    with pytest.raises(MemoryError, match="no memory"):
        rust_ext.draw(ARRAY[0], n, generator=port)
    assert port.get_state() == rust_ext.Generator(1).get_state()


def test_more_rows_than_memory_holds() -> None:
    """Views of one row, which take no memory themselves."""
    port, rows = rust_ext.Generator(1), np.broadcast_to(ARRAY, (2**45, 4))
    for call in (rust_ext.sample_logits, rust_ext.trace_sample_logits):
        with pytest.raises(MemoryError, match="no memory"):
            call(rows, generator=port)
        with pytest.raises(MemoryError):
            call(np.broadcast_to(np.array([[3, 4]]), (2**45, 2)), 0.5, generator=port)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        tensor = TENSOR.to(dtype).expand(2**45, 4)
        with pytest.raises(MemoryError, match="no memory"):
            rust_ext.sample_logits_torch(tensor, generator=torch.Generator())
    assert port.get_state() == rust_ext.Generator(1).get_state()


def test_rows_without_tokens() -> None:
    """As many as there may be: they take no memory."""
    rows = np.empty((2**60, 0), np.float32)
    port = rust_ext.Generator(1)
    for call in (rust_ext.sample_logits, rust_ext.trace_sample_logits):
        for top_p, error in ((0.85, IndexError), (0.0, RuntimeError)):
            with pytest.raises(error, match="V = 0"):
                call(rows, 1.0, top_p, generator=port)
        with pytest.raises(IndexError, match="V = 0"):
            call(rows, 0.0, zero_temperature="argmax", generator=port)
    for simple in (rust_ext.simple_batch_sampler, rust_ext.trace_simple_batch_sampler):
        with pytest.raises(IndexError, match="V = 0"):
            simple(rows, generator=port)


def test_more_threads_than_there_are() -> None:
    logits = np.zeros((1, 70_000), np.float32)
    one, many = (
        rust_ext.trace_sample_logits(logits, generator=rust_ext.Generator(1), threads=threads)
        for threads in (3, 2**70)
    )
    assert one.token.tolist() == many.token.tolist()
