"""Somebody's own logits become cases like any other: as the file has them, and found again."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file
from typer.testing import CliRunner

import python_ref
from sampler_parity.cases.draws import round_bf16
from sampler_parity.cases.families import FAMILIES, YOURS
from sampler_parity.cases.your_logits import YourCases, YourLogits
from sampler_parity.cli import app
from sampler_parity.commands.explain import explain
from sampler_parity.commands.logits_options import asked_for
from sampler_parity.commands.question import Question, begin
from sampler_parity.engines import Recorder
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.model.bfloat16 import from_bf16
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.pipeline import values_of
from sampler_parity.pipelines import SampleLogits, SimpleBatch
from sampler_parity.record.recording import RecordError
from sampler_parity.record.your_logits import LogitsDump
from sampler_parity.run.command_words import options_of_logits
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import read_run
from sampler_parity.run.your_cases import opened
from sampler_parity.statistics.planning import plan
from sampler_parity.statistics.sources import port
from sampler_parity.statistics.your_rows import SUBJECTS, subjects

ROWS = np.random.default_rng(17).standard_normal((5, 40)).astype(np.float32) * 3


def cases(path: Path, reference: str = "", seed: int = 0, **asked: Any) -> YourCases:
    return opened(YourLogits(files=(str(path),), **asked), reference, seed)


def stored(path: Path, values: Any, **beside: Any) -> Path:
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, logits=values, **beside)
    else:
        save_file({"logits": values, **{k: np.asarray(v) for k, v in beside.items()}}, path)
    return path


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_every_form_gives_its_numbers(tmp_path: Path, suffix: str, dtype: type) -> None:
    values: Any = ROWS.astype(dtype)
    path = stored(tmp_path / f"mine.{suffix}", values)
    found = cases(path)
    assert len(found) == len(values)
    for case, row in zip(found, values, strict=True):
        assert case.logits.dtype == np.float32
        assert np.array_equal(case.logits, row[None].astype(np.float32))
        assert case.parameters == SampleLogits()
        assert case.family == YOURS


def test_bfloat16_is_widened(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_torch_file({"logits": torch.from_numpy(ROWS).bfloat16()}, path)
    assert np.array_equal(np.concatenate([case.logits for case in cases(path)]), round_bf16(ROWS))
    bits = torch.from_numpy(ROWS).bfloat16().view(torch.int16).numpy().view(np.uint16)
    assert np.array_equal(from_bf16(bits), round_bf16(ROWS))


def test_float64_is_taken_where_nothing_is_lost(tmp_path: Path) -> None:
    path = stored(tmp_path / "mine.npy", ROWS.astype(np.float64))
    assert np.array_equal(cases(path)[2].logits[0], ROWS[2])
    stored(path, ROWS.astype(np.float64) + 1e-12)
    with pytest.raises(CannotJudgeError, match=r"not all of them are float32 .* \.astype"):
        cases(path)[0]


def test_one_row_and_batches(tmp_path: Path) -> None:
    path = stored(tmp_path / "mine.npy", ROWS[0])
    assert [case.logits.shape for case in cases(path)] == [(1, 40)]
    stored(path, ROWS[:4].reshape(2, 2, 40))
    assert [case.logits.shape for case in cases(path)] == [(2, 40)] * 2
    with pytest.raises(CannotJudgeError, match=r"holds batches, \[2, 2, 40\]: leave --batch out"):
        cases(path, batch=2)


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (lambda path: path.write_bytes(b"nothing"), "cannot be read as logits"),
        (lambda path: np.save(path, ROWS.astype(np.int64)), "are int64, and not float32"),
        (lambda path: np.save(path, np.empty((0, 7), np.float32)), r"shape \[0, 7\]"),
        (lambda path: np.save(path, np.float32(3)), r"shape \[\], and not \[V\]"),
        (lambda path: np.save(path, np.array([{}]), allow_pickle=True), "Python objects"),
    ],
)
def test_no_logits(tmp_path: Path, write: Callable[[Path], Any], why: str) -> None:
    path = tmp_path / "mine.npy"
    write(path)
    with pytest.raises(CannotJudgeError, match=why):
        cases(path)[0]


def test_what_a_file_lacks_or_has_too_many_of(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, one=ROWS, other=ROWS)
    with pytest.raises(CannotJudgeError, match="no array 'logits', but one, other"):
        cases(path)
    stored(path, ROWS, temperature=[0.5, 0.7])
    with pytest.raises(CannotJudgeError, match=r"temperature has shape \[2\], and not one value"):
        cases(path)
    stored(path, ROWS, min_p=0.5)
    with pytest.raises(CannotJudgeError, match="sample_logits has no parameter 'min_p', but temp"):
        cases(path)
    stored(path, ROWS, top_k=2.5)
    with pytest.raises(CannotJudgeError, match="row 0: parameters of sample_logits: "):
        cases(path)
    with pytest.raises(CannotJudgeError, match="cannot be read as logits: its name ends in none"):
        cases(tmp_path / "mine.txt")
    with pytest.raises(CannotJudgeError, match=r"cannot be read as logits: .*no-such"):
        cases(tmp_path / "no-such.npy")


def test_parameters_of_the_file_and_of_the_request(tmp_path: Path) -> None:
    each = [0.5, 0.5, 0.5, 0.7, 0.7]
    path = stored(tmp_path / "mine.npz", ROWS, temperature=each, top_k=20, seed=[1, 2, 3, 4, 5])
    found = list(cases(path))
    assert [values_of(case.parameters)["temperature"] for case in found] == each
    assert {values_of(case.parameters)["top_k"] for case in found} == {20}
    assert [case.seed for case in found] == [1, 2, 3, 4, 5]
    given = cases(path, parameters={"temperature": 2, "top_p": 0.25})
    assert given[0].parameters == SampleLogits(temperature=2.0, top_p=0.25, top_k=20)
    # A batch holds rows of one set of parameters.
    assert [len(case.logits) for case in cases(path, batch=2)] == [2, 1, 2]
    assert [case.seed for case in cases(path, batch=2)] == [1, 3, 4]


def test_the_sampler_that_is_named(tmp_path: Path) -> None:
    path = stored(tmp_path / "mine.npz", ROWS, noise=0.5)
    found = cases(path, sampler="simple_batch_sampler", parameters={"temp": 0.7})
    assert found[0].parameters == SimpleBatch(noise=0.5, temp=0.7)
    with pytest.raises(CannotJudgeError, match="'bogus' is unknown"):
        cases(path, sampler="bogus")


def test_seeds(tmp_path: Path) -> None:
    path = stored(tmp_path / "mine.npy", ROWS)
    twice = cases(path, seeds=(3, 9))
    assert [case.seed for case in twice] == [3, 9] * 5
    assert np.array_equal(twice[0].logits, twice[1].logits)
    ones, others = ([case.seed for case in cases(path, seed=seed)] for seed in (0, 1))
    assert not set(ones) & set(others)
    assert len(set(ones)) == len(ROWS)
    # numpy's generator has fewer seeds: those made for it fit, those given must.
    assert all(case.seed < 2**32 for case in cases(path, "rwkv"))
    with pytest.raises(CannotJudgeError, match=f"row 0: seed {2**40} is none of 0 to {2**32 - 1}"):
        cases(path, "rwkv", seeds=(2**40,))[0]


def test_rows_and_tokens_that_are_asked_for(tmp_path: Path) -> None:
    path = stored(tmp_path / "mine.npy", ROWS)
    found = cases(path, rows=(1, 4), vocabulary=(10, 30))
    assert np.array_equal(np.concatenate([case.logits for case in found]), ROWS[1:4, 10:30])
    with pytest.raises(
        CannotJudgeError, match="row 0, has 40 logits a row: there is no slice 8:50"
    ):
        cases(path, vocabulary=(8, 50))[0]
    with pytest.raises(CannotJudgeError, match="no row of logits is left to compare"):
        cases(path, rows=(5, None))
    for bad, why in (({"rows": (3, 3)}, "rows 3:3 is empty"), ({"draws": 0}, "draws is 0")):
        with pytest.raises(CannotJudgeError, match=why):
            cases(path, **bad)


def test_a_case_is_found_again_or_said_to_have_changed(tmp_path: Path) -> None:
    path = stored(tmp_path / "mine.npy", ROWS)
    found = cases(path)
    ids = [case.id for case in found]
    assert len(set(ids)) == len(ROWS)
    for case in found:
        again = cases(path).by_id(case.id)
        assert replace(again, logits=case.logits) == case
        assert np.array_equal(again.logits, case.logits)
    with pytest.raises(CannotJudgeError, match=r"is not there any more.*your-logits-2 is now"):
        cases(path, draws=7).by_id(ids[2])
    changed = ROWS.copy()
    changed[2, 5] = np.nextafter(changed[2, 5], np.float32(9))
    stored(path, changed)
    assert [case.id == before for case, before in zip(cases(path), ids, strict=True)] == [
        True,
        True,
        False,
        True,
        True,
    ]
    with pytest.raises(CannotJudgeError, match="is not there any more"):
        cases(path).by_id(ids[2])
    with pytest.raises(CannotJudgeError, match=r"is unknown: .* your-logits-0 to your-logits-4"):
        cases(path).by_id("your-logits-5@00")


def test_a_history(tmp_path: Path) -> None:
    history = np.arange(15).reshape(5, 3)
    path = stored(tmp_path / "mine.npz", ROWS, history=history)
    found = cases(path, "transformers", parameters={"repetition_penalty": 1.3}, batch=2)
    assert found[0].id.startswith("transformers/your-logits-0@")
    assert np.array_equal(np.asarray(found[1].history), history[2:4])
    assert cases(path)[0].history is None
    without = stored(tmp_path / "mine.npy", ROWS)
    assert np.asarray(cases(without, "transformers")[0].history).shape == (1, 0)


def test_a_recording_s_calls_draw_the_tokens_that_they_drew(tmp_path: Path) -> None:
    path = tmp_path / "engine.calls"
    generator = torch.Generator().manual_seed(3)
    with Recorder(path) as recorder:
        sample = recorder.wrap(python_ref.sample_logits)
        simple = recorder.wrap(python_ref.sampler_simple_batch)
        for row in ROWS:
            sample(torch.from_numpy(row[None].copy()), 0.9, 0.8, 12, generator=generator)
        simple(torch.from_numpy(ROWS[:1].copy()), 1.0, 0.5)
    found = cases(path, draws=1)
    assert [type(case.parameters) for case in found] == [SampleLogits] * 5 + [SimpleBatch]
    recorded = [call.token for call in opened_calls(path)]
    for case, tokens in zip(found, recorded[:5], strict=False):
        outcome = PythonRef().run(case, capability_here())
        assert tuple(outcome.tokens[0].tolist()) == tokens
    # Parameters that are asked for count before the calls' own, and are one sampler's.
    asked = cases(path, parameters={"top_k": 3})
    assert [case.parameters for case in asked] == [SampleLogits(0.9, 0.8, 3)] * 5 + [
        SampleLogits(top_k=3)
    ]


def opened_calls(path: Path) -> Any:
    from sampler_parity.engines import Recording

    return Recording.open(path).calls


def test_calls_that_keep_less_are_counted(tmp_path: Path) -> None:
    whole, digest = tmp_path / "whole.calls", tmp_path / "digest.calls"
    for path, keep in ((whole, "whole"), (digest, "digest")):
        with Recorder(path, keep=keep) as recorder:
            recorder.wrap(python_ref.sample_logits)(torch.from_numpy(ROWS[:1].copy()))
    with pytest.raises(CannotJudgeError, match="no row of logits is left"):
        cases(digest)
    both = opened(YourLogits(files=(str(digest), str(whole))))
    assert len(both) == 1
    words = both.words()
    assert words[str(digest)].startswith("1 calls left out, the first: call 0 of generation 0")
    assert words[str(whole)] == "cases your-logits-0 to 0, logits of shape [1, 40]"


def test_a_command_that_is_stored_asks_for_the_same() -> None:
    asked = YourLogits(
        files=("a.npy", "b c.calls"),
        parameters={"temperature": 0.25, "top_k": 7, "forbid_token": None, "mode": "argmax"},
        sampler="simple_batch_sampler",
        rows=(2, None),
        vocabulary=(0, 9),
        batch=3,
        seeds=(4, 5),
        draws=9,
    )
    words = options_of_logits(asked)
    given: dict[str, list[str]] = {}
    for option, value in zip(words[::2], words[1::2], strict=True):
        given.setdefault(option, []).append(value)
    again = asked_for(
        given["--logits"],
        {},
        given["--parameter"],
        given["--rows"][0],
        given["--slice"][0],
        sampler=given["--sampler"][0],
        batch=int(given["--batch"][0]),
        draws=int(given["--draws"][0]),
        seeds=[int(seed) for seed in given["--draw-seed"]],
    )
    assert again == asked
    assert options_of_logits(YourLogits(files=("a.npy",))) == ["--logits", "a.npy"]
    assert msgspec.json.decode(msgspec.json.encode(asked), type=YourLogits) == asked


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--temperature", "1"], "name --logits"),
        (["--logits", "no.npy", "--rows", "x"], "--rows 'x' is not FIRST:END"),
        (["--logits", "no.npy", "--parameter", "x"], "--parameter 'x' is not NAME=VALUE"),
    ],
)
def test_options_that_are_none(arguments: list[str], why: str) -> None:
    with pytest.raises(CannotJudgeError, match=why):
        CliRunner().invoke(app, ["run", *arguments], catch_exceptions=False)


def test_logits_that_would_not_be_compared_are_refused() -> None:
    asked = YourLogits(files=("a.npy",))
    with pytest.raises(CannotJudgeError, match="given, and not compared: add --family your-logits"):
        Request(logits=asked).check()
    with pytest.raises(CannotJudgeError, match="family 'your-logits' is none of"):
        Request(families=(YOURS,)).check()
    Request(logits=asked, families=(YOURS, *FAMILIES)).check()


def test_the_dump(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    with LogitsDump(path, temperature=0.5, top_k=3, seed=8) as dump:
        dump.add(torch.from_numpy(ROWS[:2]).bfloat16())
        dump.add(ROWS[2])
        with pytest.raises(RecordError, match=r"shape \[1, 7\]: \[V\] or \[B, V\], V = 40"):
            dump.add(np.zeros(7, np.float32))
    found = list(cases(path))
    assert [case.seed for case in found] == [8] * 3
    assert found[0].parameters == SampleLogits(temperature=0.5, top_k=3)
    got = np.concatenate([case.logits for case in found])
    assert np.array_equal(got, np.concatenate([round_bf16(ROWS[:2]), ROWS[2:3]]))
    with LogitsDump(tmp_path / "none.safetensors"):
        pass
    assert not (tmp_path / "none.safetensors").exists()


def test_an_engine_that_fails_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"

    def engine() -> None:
        with LogitsDump(path) as dump:
            dump.add(ROWS[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine()
    assert len(cases(path)) == 1


@pytest.mark.proof
def test_rows_that_are_drawn_from(tmp_path: Path) -> None:
    peaked = ROWS.copy()
    peaked[0], peaked[0, 3] = -np.inf, 0
    peaked[1, 4] = np.nan
    path = stored(tmp_path / "mine.npy", np.concatenate([peaked, ROWS]))
    chosen = subjects(cases(path, parameters={"top_k": 0, "top_p": 0.0}))
    names = [each.name for each in chosen]
    assert len(chosen) == SUBJECTS
    assert not {"your logits, your-logits-0", "your logits, your-logits-1"} & set(names)
    usual = plan("quick", port(), port())
    more = plan("quick", port(), port(), yours=chosen)
    assert len(more.tests) == len(usual.tests) + SUBJECTS
    assert more.budget.tests == usual.budget.tests + SUBJECTS
    assert [test.planned.name for test in more.tests[-SUBJECTS:]] == [
        f"frequencies: {name}" for name in names
    ]


@pytest.mark.proof
@pytest.mark.parametrize("kept", [True, False])
def test_a_mistake_on_your_logits_is_named(tmp_path: Path, kept: bool) -> None:
    path = stored(tmp_path / "mine.npz", ROWS, top_p=0.9, top_k=30)
    folder = tmp_path / "run"
    command = [
        "run",
        "--quick-look",
        "--family",
        YOURS,
        "--logits",
        str(path),
        "--out",
        str(folder),
    ]
    command += ["--implementation", "specimen-not-renormalised"]
    done = CliRunner().invoke(app, [*command, *([] if kept else ["--no-evidence"])])
    assert done.exit_code == 1
    run = read_run(folder)
    [shard] = run.shards
    assert (shard.planned, shard.compared) == (5, 5)
    assert shard.verdicts["semantic"] > 0
    assert run.provenance["your logits"] == {
        str(path): "cases your-logits-0 to 4, logits of shape [1, 40]"
    }
    found = next(one for one in shard.divergences if one.divergence.verdict == "semantic")
    assert found.replay.endswith(f"--run {folder}")
    assert (found.evidence is not None) is kept
    assert (found.shrunken is not None) is kept
    assert (folder / "evidence").exists() is kept
    out = Console(file=io.StringIO(), width=200)
    question = Question(found.case, implementation="specimen-not-renormalised", run=folder)
    with begin(question) as started:
        assert not explain(question, started, out)
    assert "semantic at renormalized" in out.file.getvalue()  # type: ignore[attr-defined]  # above
