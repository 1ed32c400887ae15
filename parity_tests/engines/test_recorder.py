"""The recorder: what an engine does is what the recording holds, and the engine goes on."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import python_ref
import rust_ext
from sampler_parity.engines import Recorder, Recording, RecordingError

LOGITS = torch.from_numpy(np.random.default_rng(3).standard_normal((1, 50)).astype(np.float32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "engine.calls"


def test_a_wrapped_sampler(path: Path) -> None:
    generator = torch.Generator().manual_seed(7)
    before = generator.get_state().numpy().tobytes()
    with Recorder(path, "made-up", engine_version="2", about={"model": "none"}) as recorder:
        sample = recorder.wrap(
            python_ref.sample_logits, phase="semantic", slice=(10, 60), vocabulary=70
        )
        token = sample(LOGITS, top_k=5, generator=generator)
        recorder.fed(token + 10)
    recording = Recording.open(path)
    assert recording.ending.kind == "closed"
    assert recording.header.about == {"model": "none"}
    [call] = recording.calls
    assert (call.generation, call.phase, call.call, call.sampler) == (
        0,
        "semantic",
        0,
        "sample_logits",
    )
    assert call.parameters == {
        "temperature": 1.0,
        "top_p": 0.85,
        "top_k": 5,
        "zero_temperature": "raise",
    }
    assert (call.shape, call.dtype, call.slice, call.vocabulary) == ((1, 50), "F32", (10, 60), 70)
    assert call.site.startswith(f"{__file__}:")
    assert call.site.endswith("test_a_wrapped_sampler")
    assert call.token == (int(token),)
    assert call.random is not None
    assert (call.random.source, call.random.generator, call.random.seed) == ("torch", 0, 7)
    tensors = recording.tensors(0)
    assert np.array_equal(tensors["logits"], LOGITS.numpy())
    assert tensors["state_before"].tobytes() == before
    assert tensors["state_after"].tobytes() == generator.get_state().numpy().tobytes()
    assert recording.fed[0].tokens == (int(token) + 10,)
    assert recording.fed[0].after == 0


def test_it_is_recorded_as_it_was_passed(path: Path) -> None:
    """An in-place sampler spoils its logits; what it was given is what counts."""
    logits = LOGITS.clone()
    with Recorder(path) as recorder:
        recorder.wrap(python_ref.sampler_simple_batch)(logits, 1.0, 0.5)
    recording = Recording.open(path)
    assert not torch.equal(logits, LOGITS)
    assert np.array_equal(recording.tensors(0)["logits"], LOGITS.numpy())
    assert recording.calls[0].parameters == {"noise": 1.0, "temp": 0.5}
    random = recording.calls[0].random
    assert random is not None
    assert random.source == "torch", "the default generator"


def largest(
    logits: Any, temperature: Any = 1.0, rng: Any = None, seen: Any = (), **more: Any
) -> int:
    del temperature, rng, seen, more
    return int(np.argmax(np.asarray(logits)))


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        ([0.25, 3.0], "F64"),
        (np.array([[0.25, 3.0]], np.float16), "F16"),
        (torch.tensor([[0.25, 3.0]], dtype=torch.float64), "F64"),
        (torch.tensor([[0.25, 3.0]], dtype=torch.bfloat16), "BF16"),
        (torch.tensor([[0.25, 3.0]], requires_grad=True), "F32"),
    ],
    ids=["list", "f16", "f64", "bf16", "grad"],
)
def test_logits_of_every_kind(path: Path, given: Any, dtype: str) -> None:
    with Recorder(path) as recorder, recorder.call("mine", given) as call:
        call.returned(1)
    recording = Recording.open(path)
    assert recording.calls[0].dtype == dtype
    assert recording.tensors(0)["logits"].reshape(-1).tolist() == [0.25, 3.0]


@pytest.mark.parametrize(
    ("generator", "source"),
    [
        (np.random.RandomState(3), "numpy.RandomState"),
        (np.random.default_rng(3), "numpy.Generator"),
        (rust_ext.Generator(3), "torch"),
        (object(), "builtins.object"),
    ],
    ids=["RandomState", "Generator", "port", "unknown"],
)
def test_generators_of_every_kind(path: Path, generator: Any, source: str) -> None:
    with Recorder(path) as recorder:
        sample = recorder.wrap(largest, generator="rng", history="seen")
        sample(LOGITS, rng=generator, seen=[4, 2], min_p=np.float32(0.5), odd=float("nan"))
    recording = Recording.open(path)
    [call] = recording.calls
    assert call.random is not None
    assert call.random.source == source
    assert call.parameters == {"temperature": 1.0, "min_p": 0.5, "odd": "nan"}
    tensors = recording.tensors(0)
    assert tensors["history"].tolist() == [4, 2]
    assert ("state_before" in tensors) == (source != "builtins.object")


def test_states_are_read_as_the_page_says(path: Path) -> None:
    old, new = np.random.RandomState(5), np.random.default_rng(5)
    with Recorder(path) as recorder:
        for generator in (old, new):
            recorder.wrap(largest, generator="rng")(LOGITS, rng=generator)
    recording = Recording.open(path)
    words = np.frombuffer(recording.tensors(0)["state_before"].tobytes(), "<u4")
    again = np.random.RandomState()
    again.set_state(("MT19937", words[:624], int(words[624]), 0, 0.0))
    assert again.random_sample() == old.random_sample()
    import json

    other = np.random.default_rng()
    other.bit_generator.state = json.loads(recording.tensors(1)["state_before"].tobytes())
    assert other.random() == new.random()


def test_a_generator_made_anew_has_another_number(path: Path) -> None:
    with Recorder(path) as recorder:
        sample = recorder.wrap(largest, generator="rng")
        kept = np.random.default_rng(1)
        for generator in (kept, np.random.default_rng(1), kept, np.random.default_rng(1)):
            sample(LOGITS, rng=generator)
    numbers = [call.random and call.random.generator for call in Recording.open(path).calls]
    assert numbers == [0, 1, 0, 2]


def test_phases_and_generations(path: Path) -> None:
    with Recorder(path) as recorder:
        sample = recorder.wrap(largest)
        for _ in range(2):
            with recorder.generation():
                with recorder.phase("global"):
                    sample(LOGITS)
                with recorder.phase("semantic"):
                    sample(LOGITS)
    places = [(c.generation, c.phase, c.call) for c in Recording.open(path).calls]
    assert places == [(0, "global", 0), (0, "semantic", 1), (1, "global", 0), (1, "semantic", 1)]


def test_threads(path: Path) -> None:
    """Each thread's generation is its own, and no record is torn."""
    with Recorder(path) as recorder:
        sample = recorder.wrap(largest)

        def work() -> None:
            with recorder.generation(), recorder.phase("global"):
                for _ in range(20):
                    sample(LOGITS)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    recording = Recording.open(path)
    assert recording.ending.kind == "closed"
    assert {
        number: len(calls) for number, calls in recording.generations().items()
    } == dict.fromkeys(range(8), 20)


def test_what_a_sampler_raises_is_recorded_and_raised(path: Path) -> None:
    with Recorder(path) as recorder:
        sample = recorder.wrap(python_ref.sample_logits)
        with pytest.raises(RuntimeError):
            sample(LOGITS, top_k=51)
        sample(LOGITS)
    calls = Recording.open(path).calls
    assert calls[0].error is not None
    assert calls[0].error.kind == "RuntimeError"
    assert calls[0].token == ()
    assert calls[1].error is None


def test_top_n_keeps_the_largest_and_the_mass_of_the_rest(path: Path) -> None:
    row = np.array([[1.0, 3.0, 3.0, -np.inf, 2.0, 0.0]], np.float32)
    with Recorder(path, keep="top:3") as recorder:
        recorder.wrap(largest)(row)
        recorder.wrap(largest)(row[:, :2])
    recording = Recording.open(path)
    tensors = recording.tensors(0)
    assert tensors["tokens"].tolist() == [[1, 2, 4]]
    assert tensors["logits"].tolist() == [[3.0, 3.0, 2.0]]
    assert tensors["rest"][0] == pytest.approx(np.log(np.exp(1.0) + np.exp(0.0)), abs=1e-15)
    assert recording.tensors(1)["tokens"].tolist() == [[1, 0]]
    assert recording.tensors(1)["rest"].tolist() == [-np.inf]


def test_a_digest_keeps_nothing_else(path: Path) -> None:
    import hashlib

    with Recorder(path, keep="digest") as recorder:
        recorder.wrap(largest)(LOGITS)
    recording = Recording.open(path)
    assert recording.calls[0].digest == hashlib.sha256(LOGITS.numpy().tobytes()).hexdigest()
    assert "logits" not in recording.tensors(0)


@pytest.mark.parametrize(
    "returned", [3, np.int64(3), np.array([[3]]), torch.tensor([[3]]), [3], [[3]]]
)
def test_forced(path: Path, returned: Any) -> None:
    """The engine goes on with the other's token, in the form in which its sampler gives one."""
    other = path.with_name("other.calls")
    with Recorder(other) as recorder, recorder.call("theirs", LOGITS) as call:
        call.returned(8)
    recorder = Recorder(path).forcing(other)
    sample = recorder.wrap(lambda logits: returned if logits is LOGITS else None)
    tokens = [sample(LOGITS), sample(LOGITS)]
    with pytest.warns(RuntimeWarning, match="has no token for call 1 of generation 0"):
        recorder.close()
    assert type(tokens[0]) is type(returned)
    assert np.asarray(tokens[0]).shape == np.asarray(returned).shape
    assert [int(np.asarray(token).reshape(-1)[0]) for token in tokens] == [8, 3]
    calls = Recording.open(path).calls
    assert [(c.token, c.continued) for c in calls] == [((3,), (8,)), ((3,), None)]
    assert calls[0].went_on_with == (8,)


def test_an_engine_goes_on_where_recording_cannot(path: Path) -> None:
    """Logits that no recording holds: recording stops, the engine does not; the end says why."""
    recorder = Recorder(path)
    sample = recorder.wrap(largest)
    assert sample(LOGITS) == int(LOGITS.argmax())
    assert sample(np.array([["a", "b"]])) == 1
    assert sample(LOGITS) == int(LOGITS.argmax())
    recorder.fed(3)
    with pytest.warns(RuntimeWarning, match="logits are <U1"):
        recorder.close()
    assert sample(LOGITS) == int(LOGITS.argmax()), "a closed recorder is out of the way"
    recording = Recording.open(path)
    assert len(recording.calls) == 1
    assert recording.ending.kind == "closed"
    assert (
        "recording stopped before the engine did: ValueError: logits are" in recording.ending.words
    )


def test_a_full_disk(tmp_path: Path) -> None:
    full = tmp_path / "full.calls"
    full.symlink_to("/dev/full")
    recorder = Recorder(full, overwrite=True)
    assert recorder.wrap(largest)(LOGITS) == int(LOGITS.argmax())
    with pytest.warns(RuntimeWarning, match="cannot be written: No space left on device"):
        recorder.close()


def test_nothing_is_lost(path: Path) -> None:
    Recorder(path).close()
    with pytest.raises(RecordingError, match="exists already"):
        Recorder(path)
    Recorder(path, overwrite=True).close()
    with pytest.raises(RecordingError, match="cannot be written: No such file"):
        Recorder(path.parent / "missing" / "engine.calls")


def test_wrong_arguments(path: Path) -> None:
    for keep in ("top:0", "top:", "most", "top:-1"):
        with pytest.raises(ValueError, match="keep = "):
            Recorder(path, keep=keep)
    recorder = Recorder(path)
    with pytest.raises(ValueError, match="has no parameter 'scores'"):
        recorder.wrap(largest, logits="scores")
    recorder.close()


def test_it_needs_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from sampler_parity.engines import Recorder, Recording\n"
        "import numpy as np\n"
        "with Recorder('a.calls') as recorder:\n"
        "    recorder.wrap(lambda logits: int(np.argmax(logits)))(np.ones(3, np.float32))\n"
        "assert Recording.open('a.calls').calls[0].token == (0,)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
    assert done.returncode == 0
