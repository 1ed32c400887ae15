"""Nothing missing passes: exit status 2, and one sentence that says what to do."""

import datetime as dt
import os
import platform
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

import rust_ext
from sampler_parity.build.extension import SOURCES, load_extension
from sampler_parity.build.processor import (
    LEVEL,
    STANDS_AT,
    environment_at,
    level_called,
    reached,
)
from sampler_parity.cases.fixtures import FIXTURES, check_fixtures
from sampler_parity.cli import main
from sampler_parity.engines.findings import EngineFault
from sampler_parity.faults.found import Correct, Planted
from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.model.case import CAPABILITIES, LEVELS
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.verdict import Verdict
from sampler_parity.run.conclusion import conclude
from sampler_parity.run.gate import run_gate
from sampler_parity.run.gathering import Found
from sampler_parity.run.orders import CompareCases, Message
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import Shard, read_run
from sampler_parity.run.waivers import Waiver
from sampler_parity.statistics.result import StatisticsResult

CANNOT_JUDGE = 2
HERE = capability_here()


def command(
    *arguments: str, cwd: Path | None = None, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )


def checkout(repository: Path, folder: Path) -> Path:
    """A copy of what the extension is built from, and of the packages with their fixtures."""
    for source in (*SOURCES, "python_ref", "sampler_parity", "parity_tests", "pyproject.toml"):
        origin, copy = repository / source, folder / source
        copy.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, copy)
        else:
            shutil.copy(origin, copy)
    return folder


@pytest.mark.proof
def test_missing_extension(repository: Path, tmp_path: Path) -> None:
    """A checkout's folder imports as an empty namespace package: that is not the extension."""
    copy = checkout(repository, tmp_path)
    isolated = (
        "import sys, importlib.abc\n"
        "import sampler_parity.build.extension\n"
        "class Absent(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.startswith('rust_ext'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from sampler_parity.cli import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", isolated, "run", "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        cwd=copy,
        check=False,
    )
    assert done.returncode == CANNOT_JUDGE
    assert "rust_ext is not compiled here: build it with `make build`" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.proof
def test_stale_extension(repository: Path, tmp_path: Path) -> None:
    copy = checkout(repository, tmp_path)
    load_extension(copy)
    source = copy / "rust_ext" / "sampler" / "src" / "lib.rs"
    source.write_text(source.read_text() + "\n")
    with pytest.raises(CannotJudgeError, match=r"stale: .* build it with `make build`"):
        load_extension(copy)
    for arguments in (("sampler_parity.cli", "run"), ("pytest", "parity_tests")):
        done = command(*arguments, cwd=copy, PYTHONPATH=str(copy))
        assert done.returncode == CANNOT_JUDGE, done.stdout + done.stderr
        assert "rust_ext is stale" in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.proof
def test_empty_fixture_folder(repository: Path, tmp_path: Path) -> None:
    copy = checkout(repository, tmp_path)
    fixtures = copy / "sampler_parity" / "fixtures"
    check_fixtures(fixtures)
    shutil.rmtree(fixtures)
    fixtures.mkdir()
    with pytest.raises(CannotJudgeError, match="is empty"):
        check_fixtures(fixtures)
    for arguments in (("sampler_parity.cli", "run"), ("pytest", "parity_tests")):
        done = command(*arguments, cwd=copy, PYTHONPATH=str(copy))
        assert done.returncode == CANNOT_JUDGE, done.stdout + done.stderr
        assert "git checkout -- fixtures" in done.stdout + done.stderr


def test_damaged_fixture(tmp_path: Path) -> None:
    copy = tmp_path / "fixtures"
    shutil.copytree(FIXTURES, copy)
    path = copy / "smollm2" / "logits.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CannotJudgeError, match=r"logits\.safetensors"):
        check_fixtures(copy)


@pytest.mark.slow
@pytest.mark.proof
def test_deselected_capability_on_the_command_line(tmp_path: Path) -> None:
    done = command(
        "sampler_parity.cli", "run", "--capability", "avx2", "--family", "flat",
        "--out", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == CANNOT_JUDGE
    assert "capability deselected: default, avx512, neon, sve256" in done.stdout
    assert "run it without --capability" in done.stdout
    assert read_run(tmp_path).status == "unjudged"


@pytest.mark.slow
@pytest.mark.proof
def test_deselected_capability_in_pytest(repository: Path) -> None:
    done = command(
        "pytest", "parity_tests/test_gate.py", "-k", "not avx512", "--collect-only", cwd=repository
    )
    assert done.returncode == CANNOT_JUDGE
    assert "capability deselected: avx512" in done.stdout
    assert "run `pytest parity_tests` without -k" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--implementation", "no_such"], "implementation 'no_such' is unknown"),
        pytest.param(
            ["run", "--family", "flat", "--capability", "avx2", "--implementation", "no:such"],
            "could not be loaded",
            marks=pytest.mark.proof,
        ),
        (["run", "--implementation", "command:'"], "is no command"),
        (["run", "--capability", "sse2"], "capability 'sse2' is none of default, avx2"),
        (["run", "--family", "nothing"], "family 'nothing' is none of"),
        (["explain", "nonsense", "--capability", HERE], "case 'nonsense' is unknown"),
        (["explain", "recorded:nonsense"], "is not recorded"),
        (["report", "no-such-folder"], "there is no run in no-such-folder"),
    ],
)
def test_bad_usage(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["sampler-parity", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == CANNOT_JUDGE
    assert sentence in capsys.readouterr().err


def shard(**changes: object) -> Shard:
    plain = Shard(
        implementation="rust_ext",
        capability="avx2",
        source="torch",
        planned=10,
        compared=10,
        not_compared=0,
        reason="",
        stages=80,
        elements=800,
        tokens=10,
        divergent=0,
        threads={"1": 10},
        cells=(),
        divergences=(),
    )
    return msgspec.structs.replace(plain, **changes)


def shards(**changes: object) -> tuple[Shard, ...]:
    return tuple(
        shard(capability=capability, source=source, **changes)
        for capability in CAPABILITIES
        for source in ("recorded", "torch")
    )


def planted(**changes: object) -> Planted:
    fault = Planted(
        where="plain",
        name="mistake",
        stage="probs",
        verdict=Verdict.SEMANTIC,
        cases=10,
        caught=5,
        others={},
        killed=True,
    )
    return msgspec.structs.replace(fault, **changes)


def engine_fault(**changes: object) -> EngineFault:
    fault = EngineFault(
        name="wrong-sampler",
        words="another sampler is called",
        forced=False,
        expected="sampler: wrong sampler at semantic 0",
        found=("sampler: wrong sampler at semantic 0",),
        calls=64,
        killed=True,
    )
    return msgspec.structs.replace(fault, **changes)


def counted(**changes: object) -> StatisticsResult:
    result = StatisticsResult(
        candidate="rust_ext",
        reference="torch",
        profile="quick",
        seed=0,
        status="holds",
        reasons=(),
        alpha=1e-6,
        budget="",
        tests=(),
        waived=(),
        controls=(),
        ecdf=None,
        uniforms=None,
        draws=1000,
        seconds=1,
        finished=True,
    )
    return msgspec.structs.replace(result, **changes)


def found(shards: tuple[Shard, ...]) -> Found:
    correct = Correct(name="another", cases=10, verdicts={"rounding": 5}, passed=True)
    return Found(
        shards=shards,
        planted=(planted(),),
        engine_faults=(engine_fault(),),
        correct=(correct,),
        statistics=(counted(),),
    )


def test_the_judge_can_say_yes() -> None:
    assert conclude(Request(), found(shards())) == ("holds", ())


def test_a_capability_that_is_not_compared_holds_on_its_recorded_traces() -> None:
    absent = shard(capability="avx512", compared=0, not_compared=10, reason="no AVX-512")
    others = [one for one in shards() if (one.capability, one.live) != ("avx512", True)]
    assert conclude(Request(), found((*others, absent)))[0] == "holds"


def test_a_capability_of_another_architecture_holds_on_its_recorded_traces() -> None:
    """It must have them."""
    kept = [one for one in shards() if one.capability in LEVELS["x86"] or not one.live]
    assert conclude(Request(), found(tuple(kept)))[0] == "holds"
    empty = [
        one if one.capability != "neon" else shard(
            capability="neon", source="recorded", compared=0, not_compared=10, reason="lost"
        )
        for one in kept
    ]  # fmt: skip
    status, reasons = conclude(Request(), found(tuple(empty)))
    assert (status, reasons) == ("unjudged", ("no recorded trace was compared at capability neon",))


@pytest.mark.parametrize(
    ("request_", "given", "sentence"),
    [
        (Request(), (), "nothing was compared"),
        (Request(), shards(planned=0, compared=0), "nothing was compared with torch"),
        (Request(), shards(planned=11), "11 cases planned, 10 compared and 0 not compared"),
        (Request(families=("flat",)), shards(), "family deselected"),
        (Request(capabilities=("avx2",)), shards(), "capability deselected"),
        (
            Request(),
            shards(compared=0, not_compared=10, reason="nothing works"),
            "no recorded trace was compared",
        ),
    ],
)
def test_the_judge_does_not_pass_what_is_missing(
    request_: Request, given: tuple[Shard, ...], sentence: str
) -> None:
    status, reasons = conclude(request_, found(given))
    assert status == "unjudged"
    assert sentence in " ".join(reasons)


@pytest.mark.parametrize(
    ("statistics", "status", "sentence"),
    [
        ((), "unjudged", "the frequencies of an implementation were not counted"),
        (
            (counted(status="unjudged", reasons=("interrupted",)),),
            "unjudged",
            "the frequencies of rust_ext could not be judged: interrupted",
        ),
        (
            (counted(status="diverges", reasons=("rows: p = 1e-9",)),),
            "diverges",
            "the frequencies of rust_ext are not the reference's: rows: p = 1e-9",
        ),
    ],
)
def test_frequencies_are_part_of_the_verdict(
    statistics: tuple[StatisticsResult, ...], status: str, sentence: str
) -> None:
    counts = replace(found(shards()), statistics=statistics)
    assert conclude(Request(), counts) == (status, (sentence,))


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ((), "no fault was planted in an engine"),
        ((engine_fault(killed=False, found=()),), "sampler: wrong sampler at semantic 0 had to be"),
    ],
)
def test_faults_of_engines_are_part_of_the_verdict(
    faults: tuple[EngineFault, ...], sentence: str
) -> None:
    status, (reason,) = conclude(Request(), replace(found(shards()), engine_faults=faults))
    assert status == "unjudged"
    assert sentence in reason


def test_a_divergence_outweighs_what_is_missing() -> None:
    request = Request(capabilities=("avx2",))
    assert conclude(request, found(shards(divergent=1)))[0] == "diverges"


def worker_at(capability: str, asked: CompareCases) -> tuple[Shard, ...]:
    """Give the shards of a worker whose torch is held at ``capability``, whatever it is asked."""
    with subprocess.Popen(
        [sys.executable, "-m", "sampler_parity.run.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "ATEN_CPU_CAPABILITY": capability},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(asked) + b"\n")
        process.stdin.flush()
        said = process.stdout.readlines()
    last = msgspec.json.decode(said[-1], type=Message)
    assert last.result is not None
    return last.result.shards


@pytest.mark.slow
@pytest.mark.proof
def test_a_processor_without_the_capability_is_told_in_words(tmp_path: Path) -> None:
    """Torch held at default, a worker asked for avx2: recorded traces are all it can compare."""
    order = CompareCases(
        implementation="rust_ext",
        capability="avx2",
        profile="quick",
        seed=0,
        families=("flat",),
        folder=str(tmp_path),
    )
    recorded, live = worker_at("default", order)
    assert recorded.compared == recorded.planned > 90
    assert (live.compared, live.not_compared) == (0, live.planned)
    assert "torch reaches capability default on this processor, not avx2" in live.reason
    assert "the recorded traces were compared" in live.reason
    # A candidate that computes as its process does can give nothing to hold against them.
    [live] = worker_at("default", msgspec.structs.replace(order, implementation="python_ref"))
    assert (live.compared, live.not_compared) == (0, live.planned)
    assert live.reason == "torch reaches capability default on this processor, not avx2"


def test_torch_is_never_told_of_more_than_the_processor_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the first of its kernels would end the process with an illegal instruction."""
    for machine, highest, expected in (
        ("x86_64", "default", ["default", "default", "default", "default", "default"]),
        ("x86_64", "avx2", ["default", "avx2", "avx2", "avx2", "avx2"]),
        ("AMD64", "avx512", ["default", "avx2", "avx512", "avx512", "avx512"]),
        ("aarch64", "neon", ["neon", "neon", "neon", "neon", "neon"]),
        ("arm64", "sve256", ["sve256", "sve256", "sve256", "neon", "sve256"]),
    ):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        monkeypatch.setattr(rust_ext, "processor_capability", lambda highest=highest: highest)
        assert [reached(capability) for capability in CAPABILITIES] == expected


def test_a_process_is_told_of_a_level_as_its_torch_calls_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At a level of another architecture, the port stands in torch's place."""
    for machine, highest, expected in (
        ("x86_64", "avx2", [(LEVEL, "default"), (LEVEL, "avx2"), (LEVEL, "avx2")]),
        ("aarch64", "sve256", [(STANDS_AT, name) for name in LEVELS["x86"]]),
    ):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        monkeypatch.setattr(rust_ext, "processor_capability", lambda highest=highest: highest)
        arm = machine == "aarch64"
        expected += [
            (LEVEL, "default") if arm else (STANDS_AT, "neon"),
            (LEVEL, "sve256") if arm else (STANDS_AT, "sve256"),
        ]
        found = [item for name in CAPABILITIES for item in environment_at(name).items()]
        assert found == expected
    for architecture, names in (
        ("x86", {"DEFAULT": "default", "NO AVX": "default", "AVX2": "avx2", "AVX512": "avx512"}),
        ("Arm", {"DEFAULT": "neon", "SVE128": "neon", "SVE256": "sve256"}),
    ):
        assert {name: level_called(name, architecture) for name in names} == names


@pytest.mark.proof
def test_the_processor_s_capability_is_torch_s_own_choice() -> None:
    """As torch chooses where nothing is forced."""
    command = (
        "import torch, rust_ext; from sampler_parity.implementations.python_ref import *;"
        "print(capability_here(), rust_ext.processor_capability())"
    )
    environment = {name: value for name, value in os.environ.items() if name[:5] != "ATEN_"}
    done = subprocess.run(
        [sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True
    )
    torch_s, own = done.stdout.split()
    assert torch_s == own


@pytest.mark.parametrize("name", ["NO AVX", "DEFAULT"])
def test_the_lowest_level_is_known_by_the_name_of_every_torch(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the live cases of that level would not be compared with torch 2.7."""
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: name)
    assert capability_here() == "default"


@pytest.mark.parametrize("size", [1, 1 << 20], ids=["a short order", "more than a pipe holds"])
def test_a_worker_that_dies_is_not_a_pass(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is one that has not read its order: of the long one, it cannot have been given all."""
    monkeypatch.setattr("sampler_parity.run.scheduler.WORKER", ("-c", "raise SystemExit(3)"))
    waiver = Waiver(
        implementation="rust_ext",
        family="flat",
        stage="probs",
        verdict=Verdict.ROUNDING,
        owner="Ada",
        reason="x" * size,
        expires=dt.date(9999, 1, 1),
    )
    request = Request(families=("flat",), folder=tmp_path, waivers=(waiver,))
    with pytest.raises(CannotJudgeError, match=r"worker for rust_ext at .* ended with status 3"):
        run_gate(request)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "damaged"),
        (b'{"schema": 1, "status": "ho', "damaged"),
        (b'{"schema": 99}', "schema 99"),
        (b"[]", "damaged"),
        (b'{"schema": 1}', "damaged"),
    ],
)
def test_a_damaged_run_is_refused(content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(CannotJudgeError, match=sentence):
        read_run(tmp_path)


@pytest.mark.slow
@pytest.mark.proof
def test_ctrl_c_stores_nothing_and_leaves_no_worker(tmp_path: Path) -> None:
    """The run is interrupted while a worker starts, the moment at which one could be lost."""
    driver = (
        "import signal\n"
        # A shell that starts the tests in the background has their processes ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from sampler_parity.run import scheduler\n"
        "start = scheduler._start\n"
        "def announced(*arguments):\n"
        "    process = start(*arguments)\n"
        "    print('started', flush=True)\n"
        "    return process\n"
        "scheduler._start = announced\n"
        "from sampler_parity.cli import main\n"
        "main()"
    )
    (tmp_path / "run.json").write_text("an earlier run")
    process = subprocess.Popen(
        [sys.executable, "-c", driver, "run", "--jobs", "1", "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    # Returns when nobody holds the pipes any more: neither the gate nor a worker.
    _, errors = process.communicate()
    assert process.returncode == CANNOT_JUDGE, errors
    assert "interrupted: the run was not finished" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert (tmp_path / "run.json").read_text() == "an earlier run"
