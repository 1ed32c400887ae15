"""What is said of each torch is what the gate found with it; no test installs one."""

import datetime as dt
import importlib.metadata
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from benchmarks import torch_matrix, torch_matrix_page
from benchmarks.readme import between
from benchmarks.torch_matrix import (
    accepted,
    exit_status,
    index_options,
    measure,
    newest_of_minors,
)
from benchmarks.torch_matrix_page import (
    PAGE,
    MeasuredTorch,
    TorchMatrix,
    encoded,
    measured_torch,
    minor,
    older,
    proved,
    read,
    section,
    with_one,
)
from parity_tests.runs import make_divergence, make_run, make_shard
from parity_tests.test_findings import NEW, OLD
from sampler_parity.build.installation import REPOSITORY
from sampler_parity.commands import doctor
from sampler_parity.commands.summary import print_conclusion
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.verdict import Verdict
from sampler_parity.report import render
from sampler_parity.run.proved import (
    SCHEMA,
    ProvedTorch,
    ProvedVersions,
    read_proved,
    said_of,
    torch_remark,
    unproved,
)
from sampler_parity.run.run_file import Run
from sampler_parity.run.waivers import AppliedWaiver, Waiver, load_waivers

LISTED = """torch (2.16.0)
Available versions: 2.16.0, 2.15.1+cpu, 2.15.0, 2.10.0, 2.9.1, 2.9.0, 2.4.0, 2.3.1, 1.13.0
  INSTALLED: 2.15.0
  LATEST:    2.16.0
"""
UNKNOWN = "99.1.0"
PROVENANCE = {
    "versions": {"torch": "2.15.0", "numpy": "2.4.6", "python": "3.11.7"},
    "machine": {"processor": "a processor"},
    "sources": {"commit": "c0ffee"},
}


def holding(torch: str = "2.15.0") -> Run:
    """Make a run that holds, of 2 x 100 live cases and 2 x 5 recorded ones."""
    recorded = msgspec.structs.replace(make_shard(compared=5), source="recorded")
    run = make_run(make_shard(compared=100), recorded, status="holds")
    versions = PROVENANCE["versions"] | {"torch": torch}
    return msgspec.structs.replace(run, provenance=PROVENANCE | {"versions": versions})


def diverging(verdict: Verdict = Verdict.SEMANTIC) -> Run:
    shard = make_shard(make_divergence(3, verdict), divergent=7, compared=100)
    return msgspec.structs.replace(make_run(shard), provenance=PROVENANCE)


def measured(torch: str = "2.15.0", run: Run | None = None) -> MeasuredTorch:
    return measured_torch(run or holding(torch), torch=torch, sources="beef")


def missing(torch: str) -> MeasuredTorch:
    return MeasuredTorch(
        torch=torch,
        sources="beef",
        commit="c0ffee",
        profile="quick",
        status=None,
        reasons=("the index is gone",),
        started="2026-11-23T12:54:00+00:00",
    )


def matrix(*found: MeasuredTorch) -> TorchMatrix:
    return TorchMatrix(oldest="2.7", measured=found)


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_newest_patch_of_each_minor_version_is_taken() -> None:
    assert newest_of_minors(LISTED) == ["2.4.0", "2.9.1", "2.10.0", "2.15.1", "2.16.0"]
    assert newest_of_minors(LISTED, "2.10") == ["2.10.0", "2.15.1", "2.16.0"]


@pytest.mark.parametrize("listed", ["", "ERROR: No matching distribution found for torch"])
def test_an_index_without_torch_is_said(listed: str) -> None:
    with pytest.raises(CannotJudgeError, match="lists no versions"):
        newest_of_minors(listed)


def test_a_user_names_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_INDEX_URL", raising=False)
    assert index_options() == []
    monkeypatch.setenv("TORCH_INDEX_URL", "https://example.org/cpu")
    assert index_options() == ["--extra-index-url", "https://example.org/cpu"]


def test_what_is_accepted_depends_on_the_version() -> None:
    [waivers] = accepted("2.7.1")
    assert load_waivers(REPOSITORY / waivers)
    assert accepted("2.15.0") == accepted("2.16.0") == []
    assert f"--waivers {waivers}" in (REPOSITORY / ".github/workflows/ci.yml").read_text()


def test_a_run_says_what_its_torch_did() -> None:
    found = measured()
    assert (found.compared, found.differing, found.recorded, found.proved) == (200, 0, 10, True)
    assert (found.torch, found.profile, found.commit) == ("2.15.0", "quick", "c0ffee")
    found = measured(run=diverging())
    assert (found.compared, found.differing, found.proved) == (200, 7, False)
    [difference] = found.differences
    assert (difference.stage, difference.verdict, difference.cases) == ("probs", "semantic", 7)
    assert difference.families == ("gaussian",)
    assert difference.example.startswith("gaussian-3@0 at avx2: torch has 0.1 ")
    assert difference.reason == ""


def test_a_run_that_compared_nothing_proves_nothing() -> None:
    shard = msgspec.structs.replace(make_shard(compared=5), source="recorded")
    run = msgspec.structs.replace(make_run(shard, status="holds"), provenance=PROVENANCE)
    assert not measured(run=run).proved
    assert exit_status([measured(run=run)]) == 2


def test_a_waived_difference_is_told_with_its_reason() -> None:
    waiver = Waiver(
        implementation="rust_ext",
        family="gaussian",
        stage="probs",
        verdict=Verdict.SEMANTIC,
        owner="Ada",
        reason="for a test",
        expires=dt.date(2030, 1, 1),
    )
    run = diverging()
    shards = tuple(msgspec.structs.replace(shard, accepted=7) for shard in run.shards)
    applied = (AppliedWaiver(waiver=waiver, cases=7, expired=False),)
    run = msgspec.structs.replace(run, status="holds", reasons=(), shards=shards, waivers=applied)
    found = measured(run=run)
    assert found.proved
    told = words(section(matrix(found)))
    assert "| holds, with waivers | 200 of 200 | 7, 7 of them accepted |" in told
    assert "torch 2.15.0: 7 `semantic` at `probs` in `gaussian`, such as " in told
    assert ". Accepted: for a test." in told
    [said] = proved(matrix(found)).versions
    assert said_of("2.15.0", (said,)) == "proved (200 cases, 7 differ and are accepted, 2026-11-23)"


def test_the_table_says_what_was_found() -> None:
    told = section(matrix(measured("2.9.1"), measured("2.10.0", diverging()), missing("2.11.0")))
    rows = [line for line in told.splitlines() if line.startswith("| 2.")]
    assert [row.split(" | ")[:4] for row in rows] == [
        ["| 2.9.1", "holds", "200 of 200", "0"],
        ["| 2.10.0", "**diverges**", "200 of 200", "7"],
        ["| 2.11.0", "not measured", "", ""],
    ]
    assert len({row.count(" | ") for row in rows}) == 1
    told = words(told)
    assert "torch 2.10.0: 7 `semantic` at `probs`" in told
    assert "torch 2.11.0: not measured: the index is gone." in told
    assert "against 10 recorded cases" in told


def test_what_was_not_compared_is_said() -> None:
    shard = msgspec.structs.replace(
        make_shard(compared=0), capability="avx512", planned=9, not_compared=9, reason="too new"
    )
    run = make_run(make_shard(compared=100), shard, status="holds")
    run = msgspec.structs.replace(run, provenance=PROVENANCE)
    found = measured(run=run)
    assert "Not compared at `avx512`: too new (torch 2.15.0)." in section(matrix(found))
    assert proved(matrix(found)).versions[0].capabilities == ("avx2",)


def test_a_minor_version_that_is_missing_is_said() -> None:
    told = section(matrix(measured("2.9.1"), measured("2.12.0"), measured("2.14.0")))
    assert "Not measured: torch 2.10, 2.11, 2.13." in told
    assert "Not measured" not in section(matrix(measured("2.9.1"), measured("2.10.0")))


def test_older_versions_stand_apart() -> None:
    first = msgspec.structs.replace(
        measured("2.6.0", diverging()), exponentials=(0.25, 0.5), profile="quick-look"
    )
    last = msgspec.structs.replace(measured("2.15.0"), exponentials=(0.75,))
    everything = matrix(missing("2.5.1"), first, last)
    told = words(older(everything))
    assert "torch 2.5.1: not measured: the index is gone." in told
    assert "torch 2.6.0: a quick look, 200 cases at avx2: 7 differ: 7 in `probs`" in told
    assert "Seed 42, after `torch.rand(5)`, gives the exponentials 0.2500, 0.5000." in told
    assert told.endswith("torch 2.15.0 beside them: Seed 42, after `torch.rand(5)`, gives the "
                         "exponentials 0.7500.")  # fmt: skip
    assert "2.6.0" not in section(everything)
    assert [one.torch for one in proved(everything).versions] == ["2.15.0"]


def test_a_new_measurement_takes_the_place_of_its_minor_version() -> None:
    found = matrix(measured("2.9.0"), measured("2.15.0"))
    found = with_one(found, measured("2.10.0"))
    found = with_one(found, missing("2.9.1"))
    assert [one.torch for one in found.measured] == ["2.9.1", "2.10.0", "2.15.0"]
    assert found.measured[0].status is None


def test_the_exit_status_says_the_gravest() -> None:
    good, bad, none = measured(), measured(run=diverging()), missing("2.11.0")
    assert exit_status([good]) == 0
    assert exit_status([good, none]) == 2
    assert exit_status([good, none, bad]) == 1


def test_an_older_torch_is_installed_beside_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra ``torch`` would ask for a newer one."""
    asked: list[tuple[tuple[str, ...], Path | None]] = []

    def pip(*arguments: str, python: Path | None = None) -> str:
        asked.append((arguments, python))
        return ""

    monkeypatch.setattr(torch_matrix, "pip", pip)
    python = torch_matrix.environment(tmp_path / "venv", "2.6.0", Path("made.whl"))
    assert python.exists()
    [(arguments, where)] = asked
    assert where == python
    assert {"torch==2.6.0", "made.whl[charts,statistics]"} < set(arguments)


def test_what_cannot_be_installed_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Path:
        raise CannotJudgeError("pip failed:\nno space left")

    monkeypatch.setattr(torch_matrix, "environment", refuse)
    found = measure("2.9.1", "quick", Path("no.whl"))
    assert (found.torch, found.status, found.reasons) == ("2.9.1", None, ("no space left",))


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the program store into a folder, and ask an index that has three versions."""
    monkeypatch.setattr(torch_matrix_page, "STORED", tmp_path / "torch-versions.json")
    monkeypatch.setattr(torch_matrix_page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(torch_matrix, "PROVED", tmp_path / "proved_torch.json")
    (tmp_path / "page.md").write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")

    def pip(command: str, *arguments: str, python: Path | None = None) -> str:
        if command == "index":
            return "Available versions: 2.9.0, 2.8.0, 2.7.1"
        [folder] = [Path(one) for one in arguments if Path(one).name.startswith("torch-matrix")]
        assert python is None
        (folder / "made.whl").touch()
        return ""

    monkeypatch.setattr(torch_matrix, "pip", pip)
    monkeypatch.setattr(torch_matrix, "sources", lambda: "beef")
    return tmp_path


def test_an_interrupted_run_loses_one_version(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def answer(torch: str, profile: str, wheel: Path) -> MeasuredTorch:
        assert (profile, wheel.name) == ("quick", "made.whl")
        asked.append(torch)
        if asked == ["2.7.1", "2.8.0"]:
            raise KeyboardInterrupt
        return measured(torch)

    monkeypatch.setattr(torch_matrix, "measure", answer)
    monkeypatch.setattr("sys.argv", ["torch_matrix"])
    assert torch_matrix.main() == 2
    assert "what was measured before is stored" in capsys.readouterr().err
    assert [one.torch for one in read(kept / "torch-versions.json").measured] == ["2.7.1"]
    # The next one goes on; the one after it has nothing to do, unless it is asked again.
    for arguments, more in (
        ([], ["2.8.0", "2.9.0"]),
        ([], []),
        (["--only", "2.8", "--again"], ["2.8.0"]),
    ):
        asked[:] = ["before"]
        monkeypatch.setattr("sys.argv", ["torch_matrix", *arguments])
        assert torch_matrix.main() == 0
        assert asked == ["before", *more]
    assert [one.torch for one in read_proved(kept / "proved_torch.json")] == [
        "2.7.1",
        "2.8.0",
        "2.9.0",
    ]
    assert "| 2.9.0 | holds |" in (kept / "page.md").read_text(encoding="utf-8")


def test_other_sources_are_measured_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = matrix(*(measured(torch) for torch in ("2.7.1", "2.8.0", "2.9.0")))
    (kept / "torch-versions.json").write_bytes(encoded(stored))
    monkeypatch.setattr(torch_matrix, "sources", lambda: "other")
    asked: list[str] = []

    def answer(torch: str, *_: object) -> MeasuredTorch:
        asked.append(torch)
        return measured(torch, diverging())

    monkeypatch.setattr(torch_matrix, "measure", answer)
    monkeypatch.setattr("sys.argv", ["torch_matrix"])
    assert torch_matrix.main() == 1
    assert asked == ["2.7.1", "2.8.0", "2.9.0"]


def test_the_sources_are_those_that_shape_a_result(tmp_path: Path) -> None:
    with pytest.raises(CannotJudgeError, match="checkout"):
        torch_matrix.sources(tmp_path)
    for name in ("rust_ext/build.rs", "python_ref/a.py", "sampler_parity/b.py", "other/c.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1", encoding="utf-8")
    for name in torch_matrix.SHAPING:
        if not (tmp_path / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    hashes = [torch_matrix.sources(tmp_path)]
    for name in ("other/c.py", "sampler_parity/b.py", "python_ref/a.py"):
        (tmp_path / name).write_text("2", encoding="utf-8")
        hashes.append(torch_matrix.sources(tmp_path))
    assert hashes[0] == hashes[1]
    assert len(set(hashes[1:])) == 3


def test_the_page_says_what_is_stored() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert between(text, "torch-versions")[1] == section(read())
    assert between(text, "older-torch")[1] == older(read())


def test_the_package_says_what_is_stored() -> None:
    assert read_proved() == proved(read()).versions


def test_what_is_stored_is_sound() -> None:
    """Every version that is promised is proved, the oldest among them; those from before differ."""
    stored = read()
    assert stored.oldest == doctor.OLDEST_TORCH == minor(stored.promised[0].torch)
    assert all(one.proved for one in stored.promised)
    assert all(0 < one.differing < one.compared for one in stored.older)
    # What finding F8 shows of the two generators.
    assert all(numbers(one) in ([], OLD) for one in stored.older)
    assert all(numbers(one) in ([], NEW) for one in stored.promised)


def numbers(one: MeasuredTorch) -> list[str]:
    return [f"{number:.4f}" for number in one.exponentials]


def test_a_stored_result_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "torch-versions.json"
    found = matrix(measured(run=diverging()), missing("2.11.0"))
    path.write_bytes(encoded(found))
    assert read(path) == found
    path.write_bytes(b"{}")
    with pytest.raises(CannotJudgeError, match="no result of `make torch-matrix`"):
        read(path)
    with pytest.raises(CannotJudgeError, match="no result of `make torch-matrix`"):
        read(tmp_path / "none.json")


def made(torch: str, *, waived: int = 0) -> ProvedTorch:
    return ProvedTorch(
        torch=torch, day="2026-11-23", cases=1234, waived=waived, capabilities=("avx2",)
    )


def test_a_version_is_proved_or_not_among_those_that_are() -> None:
    both = (made("2.7.1"), made("2.15.0"))
    for version in ("2.15.0", "2.15.0+cpu"):
        assert said_of(version, both) == "proved (1,234 cases, 0 differ, 2026-11-23)"
    apart = "not among the versions proved (2.7.1, 2.15.0)"
    for version in (UNKNOWN, "2.15.1", "2.15.0rc1", "2.15.0.dev20261123", "a\0version"):
        assert said_of(version, both) == apart
    assert said_of("2.7.1", both[1:]) == "not among the versions proved (2.15.0)"
    assert said_of("2.7.1", ()) == "not among the versions proved, of which there are none"


def test_the_list_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "proved_torch.json"
    with pytest.raises(CannotJudgeError, match="cannot be read"):
        read_proved(path)
    path.write_bytes(encoded(ProvedVersions(schema=SCHEMA, versions=(made("2.7.1"),))))
    assert read_proved(path) == (made("2.7.1"),)
    path.write_bytes(encoded(ProvedVersions(schema=SCHEMA + 1, versions=())))
    with pytest.raises(CannotJudgeError, match="schema"):
        read_proved(path)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say that a torch is installed that nobody has proved."""
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: UNKNOWN if name == "torch" else real(name)
    )


@pytest.mark.usefixtures("installed")
def test_the_doctor_says_that_a_torch_was_not_proved() -> None:
    [check] = [check for check in doctor.examine() if check.name == "torch"]
    assert check.passed
    assert check.found.startswith(f"{UNKNOWN}: not among the versions proved (")


def test_a_run_with_a_torch_that_was_not_proved_holds_all_the_same() -> None:
    run = holding(UNKNOWN)
    remark = torch_remark(run)
    assert remark.startswith(f"torch {UNKNOWN}: not among the versions proved (")
    assert remark.endswith("). In this run, the gate holds with it.")
    out = StringIO()
    print_conclusion(run, Console(file=out, width=500))
    verdict, said = out.getvalue().splitlines()
    assert verdict.startswith("the gate holds")
    assert said.strip() == unproved(run)[0]
    page = render(run)
    assert remark in page
    assert "The gate holds" in page


def test_a_run_with_a_torch_that_was_proved_says_so() -> None:
    last = read_proved()[-1]
    run = holding(last.torch)
    assert unproved(run) == ()
    assert torch_remark(run) == f"torch {last.torch}: {said_of(last.torch, read_proved())}."
    assert torch_remark(run) in render(run)
    assert torch_remark(msgspec.structs.replace(run, provenance={})) == ""
