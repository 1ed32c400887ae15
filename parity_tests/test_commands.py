"""What other programs, and other repositories, are told of a run."""

import json
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from parity_tests.conftest import Gate
from parity_tests.runs import make_divergence, make_fault, make_run, make_shard
from sampler_parity import cli
from sampler_parity.commands import doctor
from sampler_parity.commands.diff import changed, compare_runs, headline
from sampler_parity.commands.junit import junit
from sampler_parity.commands.outputs import annotations, markdown
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run.command_words import run_command
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import Run, read_run, write_run

HOSTILE = "a%b\r\n::error::c|`<script>\x00]]>\ud800"

EQUAL = make_run(make_shard(), status="holds", planted=(make_fault(),))
DIFFERENT = make_run(make_shard(make_divergence(3), make_divergence(4), divergent=2))


def hostile() -> Run:
    one = msgspec.structs.replace(make_divergence(1), case=HOSTILE, family=HOSTILE, replay=HOSTILE)
    return make_run(make_shard(one, divergent=1, name=HOSTILE))


def test_junit_counts_what_fails() -> None:
    root = ET.fromstring(junit(DIFFERENT))
    gate, shard = root.findall("testsuite")
    assert gate.get("failures") == "1"
    assert (shard.get("tests"), shard.get("failures")) == ("2", "1")
    [failure] = shard.findall("testcase/failure")
    assert failure.get("message") == "2 cases differ: 2 semantic"
    assert "gaussian-3@0 at avx2: semantic at probs" in (failure.text or "")
    passed = ET.fromstring(junit(EQUAL))
    assert [suite.get("failures") for suite in passed] == ["0", "0"]
    assert "a strict cutoff" in {test.get("name") for test in passed.iter("testcase")}


def test_junit_of_nothing_is_an_error() -> None:
    [gate] = ET.fromstring(junit(make_run(status="holds")))
    assert gate.get("errors") == "1"


def test_what_is_hostile_stays_text() -> None:
    root = ET.fromstring(junit(hostile()))
    assert "<script>" in (root[1].get("name") or "")
    text = markdown(hostile())
    assert "<script>" not in text
    assert not [line for line in text.splitlines() if line.startswith("::")]
    [annotation] = annotations(hostile())
    assert "\n" not in annotation
    assert annotation.startswith("::error title=a%25b%0D%0A%3A%3Aerror%3A%3Ac")


def test_annotations_name_case_and_stage() -> None:
    first, second = annotations(DIFFERENT)
    assert first.startswith("::error title=rust_ext at avx2%3A gaussian-4@0%2C probs::")
    assert "gaussian-3@0" in second
    assert annotations(EQUAL) == ()
    assert annotations(make_run(status="unjudged")) == ("::error title=sampler-parity::it differs",)


def test_markdown_has_the_counts_and_the_cases() -> None:
    assert "the gate holds" in markdown(EQUAL)
    assert "1 of 1 planted faults caught." in markdown(EQUAL)
    assert "gaussian-3\\@0" in markdown(DIFFERENT)


def test_diff_says_what_changed() -> None:
    sections = {section.heading: section.changes for section in compare_runs(EQUAL, DIFFERENT)}
    [verdict] = sections["Verdict"]
    assert verdict.better is False
    [count] = sections["Divergent cases"]
    assert (count.before, count.after) == ("0 of 126,972", "2 of 126,972")
    [stage] = sections["Stages"]
    assert (stage.what, stage.after, stage.better) == ("rust_ext, probs", "2", False)
    assert len(sections["Cases that the runs keep"]) == 2
    back = compare_runs(DIFFERENT, EQUAL)
    assert [one.better for section in back for one in section.changes].count(True) >= 3


def test_diff_does_not_weigh_one_implementation_against_another() -> None:
    other = make_run(make_shard(make_divergence(3), divergent=1, name="other"))
    changes = [one for section in compare_runs(DIFFERENT, other) for one in section.changes]
    assert {change.better for change in changes} == {None}
    assert "rust_ext at avx2" in {change.what for change in changes}


def test_diff_of_the_same_results_on_other_versions_is_no_change_of_results() -> None:
    newer = msgspec.structs.replace(EQUAL, provenance={"versions": {"torch": "2.16.0"}})
    sections = compare_runs(EQUAL, newer)
    assert not changed(sections)
    assert headline(sections) == "nothing differs between the results of the two runs"
    assert sections[-1].changes[0].after == "2.16.0"
    assert changed(compare_runs(EQUAL, DIFFERENT))


def test_the_diff_command_writes_a_page(tmp_path: Path) -> None:
    for name, run in (("a", EQUAL), ("b", hostile())):
        (tmp_path / name).mkdir()
        # What JSON cannot hold cannot have been stored.
        write_run(tmp_path / name, msgspec.convert(_storable(run), Run))
    arguments = ["diff", str(tmp_path / "a"), str(tmp_path / "b"), "--html"]
    found = CliRunner().invoke(cli.app, [*arguments, str(tmp_path / "diff.html")])
    assert found.exit_code == 1
    page = (tmp_path / "diff.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    same = CliRunner().invoke(cli.app, ["diff", str(tmp_path / "a"), str(tmp_path / "a")])
    assert same.exit_code == 0


def _storable(run: Run) -> object:
    return json.loads(json.dumps(msgspec.to_builtins(run)).replace("\\ud800", ""))


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"schema": 999}', b"[]", b'{"schema": 3, "status": "<script>"}']
)
def test_a_run_file_that_is_none_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    for command in (["report", str(tmp_path)], ["diff", str(tmp_path), str(tmp_path)]):
        found = CliRunner().invoke(cli.app, command)
        assert isinstance(found.exception, CannotJudgeError)
    with pytest.raises(CannotJudgeError, match=r"run\.json"):
        read_run(tmp_path)


@pytest.fixture
def canned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "run_gate", lambda *_: DIFFERENT)


@pytest.mark.usefixtures("canned")
def test_json_is_all_that_is_on_standard_output(tmp_path: Path) -> None:
    found = CliRunner().invoke(cli.app, ["run", "--json", "--out", str(tmp_path)])
    assert found.exit_code == 1
    assert msgspec.json.decode(found.stdout, type=Run) == DIFFERENT


@pytest.mark.usefixtures("canned")
def test_quiet_says_the_conclusion_and_no_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    files = [f"--junit={tmp_path / 'j.xml'}", f"--markdown={tmp_path / 'm' / 'm.md'}"]
    found = CliRunner().invoke(cli.app, ["run", "--quiet", "--out", str(tmp_path), *files])
    assert found.exit_code == 1
    assert "the gate found a divergence (192 s)" in found.stdout
    assert "cases compared" not in found.stdout
    assert found.stdout.count("::error title=") == 2
    assert "\x1b" not in found.output
    assert ET.parse(tmp_path / "j.xml").getroot().tag == "testsuites"
    assert (tmp_path / "m" / "m.md").read_text(encoding="utf-8").startswith("## ")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--out", "elsewhere/a b", "--jobs", "1", "--seed", "7", "--profile", "full"],
        ["--time-limit", "0.25", "--memory-limit", "0.1", "--waivers", "mine.toml"],
        ["--implementation", "command:x -y", "--family", "flat", "--capability", "avx2"],
    ],
)
def test_a_run_keeps_the_command_that_was_given(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept, given again, asks for the same."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("", encoding="utf-8")
    requests: list[Request] = []

    def asked(request: Request, *_: object) -> Run:
        requests.append(request)
        raise CannotJudgeError("seen")

    monkeypatch.setattr(cli, "run_gate", asked)
    CliRunner().invoke(cli.app, ["run", "--quiet", *arguments])
    program, *again = shlex.split(run_command(requests[0]))
    assert program == "sampler-parity"
    assert set(arguments) <= set(again)
    CliRunner().invoke(cli.app, again)
    first, second = requests
    assert first == second


def test_the_doctor_finds_nothing_here_and_a_stale_extension(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checks = {check.name: check.passed for check in doctor.examine()}
    assert False not in checks.values()

    def stale() -> object:
        raise CannotJudgeError("the extension rust_ext is stale")

    monkeypatch.setattr(doctor, "load_extension", stale)
    found = CliRunner().invoke(cli.app, ["doctor"])
    assert found.exit_code == 2
    assert "the gate cannot judge here: mend extension" in found.stdout


SAMPLER = '''
import numpy as np
from sampler_parity.implementations.plug_in import plug_in


@plug_in("greedy", view="tokens", generator=lambda seed: None, samplers=("sample_logits",))
def greedy(logits, parameters, generator):
    """Take the smallest logit: whatever else is right, this token is not."""
    return {"token": np.array([int(logits.argmin())])}
'''


def scratch(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run pytest in a repository of its own, without a conftest."""
    (folder / "my_sampler.py").write_text(SAMPLER, encoding="utf-8")
    (folder / "test_mine.py").write_text("def test_mine(): pass\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.proof
def test_another_repository_gates_its_sampler(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.arange(12, dtype=np.float32).reshape(2, 6))
    found = scratch(
        tmp_path,
        "--parity-implementation=my_sampler:greedy",
        "--parity-family=long-streams",
        "--parity-family=your-logits",
        "--parity-logits=mine.npy",
        "--parity-capability=default",
    )
    assert found.returncode == 1, found.stdout + found.stderr
    assert "1 failed, 1 passed" in found.stdout
    assert "parity[my_sampler:greedy]" in found.stdout
    assert "the gate found a divergence" in found.stdout
    assert "Traceback" not in found.stdout
    folder = tmp_path / "reports" / "my_sampler-greedy"
    assert (folder / "index.html").exists()
    assert '"family": "your-logits"' in (folder / "run.json").read_text(encoding="utf-8")


def test_another_repositorys_session_passes_with_a_gate_that_holds(gate: Gate) -> None:
    assert gate.status == 0, gate.printed
    assert "2 passed" in gate.printed
    assert (gate.folder / "reports" / "rust_ext" / "index.html").exists()


@pytest.mark.slow
@pytest.mark.proof
def test_another_repositorys_session_fails_without_a_sampler(tmp_path: Path) -> None:
    (tmp_path / "test_run.py").write_text("def test_run(parity_run): pass\n", encoding="utf-8")
    unknown = scratch(tmp_path, "--parity-implementation=nothing")
    assert unknown.returncode == 1
    assert "implementation 'nothing' is unknown" in unknown.stdout
    reference = scratch(tmp_path, "--parity-implementation=rust_ext", "--parity-reference=nobody")
    assert "reference 'nobody' is unknown" in reference.stdout
    without = scratch(tmp_path)
    assert "name a sampler: --parity-implementation=NAME" in without.stdout
