"""``rust_ext.Generator`` is ``torch.Generator("cpu")``, and can be handed over in mid-stream."""

import copy
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import python_ref
import rust_ext
from parity_tests.installed_torch import OLDEST

SEEDS = [0, 1, 42, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, -1, -(2**63)]


def state_of(generator: torch.Generator) -> bytes:
    return generator.get_state().numpy().tobytes()


@pytest.mark.parametrize("seed", SEEDS)
def test_seeding(seed: int) -> None:
    reference = torch.Generator().manual_seed(seed)
    port = rust_ext.Generator(seed)
    assert port.get_state() == state_of(reference)
    assert port.initial_seed() == reference.initial_seed()
    assert rust_ext.Generator(5).manual_seed(seed).get_state() == state_of(reference)


@pytest.mark.parametrize("seed", [-(2**63) - 1, 2**64])
def test_seeds_beyond_64_bits(seed: int) -> None:
    with pytest.raises(RuntimeError if OLDEST else ValueError, match="long"):
        torch.Generator().manual_seed(seed)
    with pytest.raises(ValueError, match=f"seed = {seed}"):
        rust_ext.Generator(seed)


@pytest.mark.parametrize("outputs", [0, 1, 5, 623, 624, 625, 1247, 5000])
def test_the_state_moves_as_torchs(outputs: int) -> None:
    reference, port = torch.Generator().manual_seed(9), rust_ext.Generator(9)
    noise = torch.zeros(outputs).uniform_(generator=reference).numpy()
    ours = np.zeros(outputs, np.float32)
    if outputs:
        rust_ext.simple_batch_sampler(ours, generator=port)
    np.testing.assert_array_equal(noise.view(np.uint32), ours.view(np.uint32))
    assert port.get_state() == state_of(reference)


@pytest.mark.parametrize("outputs", [0, 1, 310, 623, 624])
def test_hand_over_in_mid_stream(outputs: int) -> None:
    """torch to the port and back, each continuing where the other stopped."""
    logits = torch.randn(2, 500, generator=torch.Generator().manual_seed(1))
    alone = torch.Generator().manual_seed(7)
    torch.zeros(outputs).uniform_(generator=alone)
    expected = [python_ref.sample_logits(logits, generator=alone).tolist() for _ in range(6)]

    shared, port = torch.Generator().manual_seed(7), rust_ext.Generator(0)
    torch.zeros(outputs).uniform_(generator=shared)
    tokens = []
    for _ in range(3):
        tokens.append(python_ref.sample_logits(logits, generator=shared).tolist())
        port.set_state(state_of(shared))
        tokens.append(rust_ext.sample_logits(logits.numpy(), generator=port).tolist())
        shared.set_state(torch.frombuffer(bytearray(port.get_state()), dtype=torch.uint8))
    assert tokens == expected
    assert state_of(shared) == state_of(alone)


def test_cached_normals_survive() -> None:
    """A state that holds a normal draw torch has in store comes back with it."""
    reference = torch.Generator().manual_seed(3)
    torch.randn(3, generator=reference)
    port = rust_ext.Generator(0)
    port.set_state(state_of(reference))
    assert port.get_state() == state_of(reference)
    port.manual_seed(3)
    assert port.get_state() == state_of(torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        pytest.param(8, 0, id="left=0"),
        pytest.param(8, 625, id="left>624"),
        pytest.param(8, -1, id="left<0"),
        pytest.param(12, 0, id="not seeded"),
        pytest.param(16, 625, id="next>624"),
    ],
)
def test_invalid_states_are_refused(at: int, value: int) -> None:
    port, reference = rust_ext.Generator(1), torch.Generator().manual_seed(1)
    before = port.get_state()
    bad = bytearray(before)
    bad[at : at + 4] = value.to_bytes(4, "little", signed=True)
    with pytest.raises(RuntimeError, match="mt19937"):
        reference.set_state(torch.frombuffer(bad, dtype=torch.uint8))
    with pytest.raises(RuntimeError, match="mt19937"):
        port.set_state(bytes(bad))
    assert port.get_state() == before


def test_states_of_another_length_are_refused() -> None:
    port = rust_ext.Generator(1)
    with pytest.raises(RuntimeError, match="5055 bytes"):
        port.set_state(port.get_state()[:-1])


def test_a_state_that_points_past_its_end_is_refused() -> None:
    """torch takes this one, and would read beyond its array."""
    port = rust_ext.Generator(1)
    bad = bytearray(port.get_state())
    bad[8:12], bad[16:18] = (600).to_bytes(4, "little"), (100).to_bytes(2, "little")
    with pytest.raises(RuntimeError, match="left = 600, next = 100"):
        port.set_state(bytes(bad))


def zero_uniform_state(position: int) -> bytes:
    """A state whose 64-bit output number ``position`` is zero, and no other of the first 300."""
    state = bytearray(torch.Generator().manual_seed(11).get_state().numpy().tobytes())
    state[8:12], state[16:24] = (624).to_bytes(4, "little"), (1).to_bytes(8, "little")
    for word in (1 + 2 * position, 2 + 2 * position):
        state[24 + 8 * word : 32 + 8 * word] = bytes(8)
    return bytes(state)


@pytest.mark.parametrize("position", [0, 1, 57, 98, 99])
@pytest.mark.parametrize("top_k", [0, 3])
def test_a_uniform_of_exactly_zero(position: int, top_k: int) -> None:
    """q = 0: a possible token's ratio is infinite, an impossible one's is 0 / 0 and wins too."""
    logits = torch.randn(1, 100, generator=torch.Generator().manual_seed(2)) * 3
    reference, port = torch.Generator(), rust_ext.Generator(0)
    reference.set_state(
        torch.frombuffer(bytearray(zero_uniform_state(position)), dtype=torch.uint8)
    )
    port.set_state(zero_uniform_state(position))
    expected = python_ref.sample_logits(logits, 1.0, 0.0, top_k, generator=reference)
    assert expected.item() == position
    drawn = rust_ext.sample_logits(logits.numpy(), 1.0, 0.0, top_k, generator=port)
    assert drawn.item() == position
    assert port.get_state() == state_of(reference)


def both() -> tuple[torch.Generator, rust_ext.Generator]:
    """Two in the middle of a stream, with a normal draw in store."""
    reference, port = torch.Generator().manual_seed(3), rust_ext.Generator(0)
    torch.randn(3, generator=reference)
    port.set_state(state_of(reference))
    return reference, port


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda generator: pickle.loads(pickle.dumps(generator)),  # noqa: S301
    "clone_state": lambda generator: generator.clone_state(),
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_a_copy_stands_where_the_generator_does(make: Callable[[Any], Any]) -> None:
    """And goes its own way, as torch's."""
    reference, port = both()
    theirs, ours = make(reference), make(port)
    assert type(ours) is rust_ext.Generator
    assert ours.get_state() == state_of(theirs) == state_of(reference)
    assert ours.initial_seed() == theirs.initial_seed()
    for generator, copied in ((reference, theirs), (port, ours)):
        assert generator == generator  # noqa: PLR0124  (what is tested)
        assert (generator == copied, generator != copied) == (False, True)
        assert hash(generator) != hash(copied)
        assert {generator: 1}[generator] == 1
        if generator is port or not OLDEST:
            assert weakref.ref(generator)() is generator
        with pytest.raises(AttributeError):
            setattr(generator, "other", 1)  # noqa: B010  (types know of no such attribute)
    rust_ext.simple_batch_sampler(np.zeros(5, np.float32), generator=ours)
    assert port.get_state() == state_of(reference) != ours.get_state()


def test_it_says_what_it_is() -> None:
    assert repr(rust_ext.Generator(7)) == "<rust_ext.Generator seeded with 7>"


STATES: dict[str, Callable[[torch.Tensor], Any]] = {
    "bytes": lambda state: state.numpy().tobytes(),
    "bytearray": lambda state: bytearray(state.numpy().tobytes()),
    "memoryview": lambda state: memoryview(state.numpy().tobytes()),
    "numpy": lambda state: state.numpy(),
    "numpy, every second of twice as many": lambda state: state.numpy().repeat(2)[::2],
    "numpy, read only": lambda state: np.frombuffer(state.numpy().tobytes(), np.uint8),
    "tensor": lambda state: state,
    "tensor of two dimensions": lambda state: state.reshape(2, -1),
}


@pytest.mark.parametrize("form", STATES.values(), ids=STATES)
def test_states_of_any_form(form: Callable[[torch.Tensor], Any]) -> None:
    reference, _ = both()
    port = rust_ext.Generator(1)
    assert port.set_state(form(reference.get_state())) is port
    assert port.get_state() == state_of(reference)


@pytest.mark.parametrize(
    "state",
    [
        None,
        5,
        "text",
        [0] * 5056,
        np.zeros(5056, np.int64),
        np.zeros(5056, np.int8),
        torch.zeros(5056),
        torch.zeros(5056, dtype=torch.int64),
    ],
    ids=lambda state: type(state).__name__,
)
def test_other_states_are_refused(state: Any) -> None:
    reference, port = both()
    with pytest.raises(TypeError):
        reference.set_state(state)
    with pytest.raises(
        TypeError, match=r"state must be bytes, or an array or tensor of uint8, not"
    ):
        port.set_state(state)
    assert port.get_state() == state_of(reference)
