"""A soak: its cases, its search, its file, and what it does when workers and schedulers die."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from filelock import FileLock
from rich.console import Console

from parity_tests.clusters import cluster_of_processes
from parity_tests.meta.faulty import FAULT
from sampler_parity import cli
from sampler_parity.build.installation import REPOSITORY, has_sources
from sampler_parity.build.processor import reached
from sampler_parity.commands.soak import conclusion_of_soak, run_soak
from sampler_parity.faults.port import planted
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.model.case import CAPABILITIES
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import Implementation
from sampler_parity.soak import closeness
from sampler_parity.soak.cluster import Ended, WorkCluster
from sampler_parity.soak.kept import Keeper
from sampler_parity.soak.lease import Lease, LeaseOrder, LeaseResult, SoakFinding
from sampler_parity.soak.leasing import Leases
from sampler_parity.soak.measures import MEASURES
from sampler_parity.soak.recipe import Recipe, case_of_recipe
from sampler_parity.soak.search import explores, recipe_of
from sampler_parity.soak.soak_file import SOAK_NAME, SoakBegun, SoakFile, SoakSaid, read_lines
from sampler_parity.soak.soaking import ATTEMPTS, SoakRequest, soak
from sampler_parity.soak.tally import SoakTally
from sampler_parity.soak.version import cases_version
from sampler_parity.soak.work import carry_out, compared

SEED = 3


def soaked(
    candidate: Implementation, cases: int, *, search: bool, size: int = 100
) -> list[LeaseResult]:
    """Compare leases one after the other, as one worker does, until one of them differs."""
    leases = Leases(size, SEED, cases, search=search)
    results: list[LeaseResult] = []
    while not (results and results[-1].findings) and (lease := leases.next()):
        results.append(compared(lease, SEED, candidate))
        leases.finished(results[-1])
    return results


def nearest(results: Sequence[LeaseResult]) -> dict[str, float]:
    found: dict[str, float] = {}
    for call in (call for result in results for call in result.closest):
        found[call.measure] = min(call.distance, found.get(call.measure, np.inf))
    return found


def timeless(result: LeaseResult) -> LeaseResult:
    return msgspec.structs.replace(result, seconds=0.0, cpu=0.0)


def test_a_case_is_made_of_its_recipe_alone() -> None:
    parent = Recipe(root=4, seed=9, temperature=0.7, top_p=0.5, top_k=0, logits=((3, 1.5),))
    recipes = [Recipe(root=4), parent, *(recipe_of(n, SEED, (parent,)) for n in range(1, 30, 2))]
    assert len(set(recipes)) == len(recipes)
    assert any(recipe.root == 4 for recipe in recipes[2:])
    assert any(recipe.root != 4 for recipe in recipes[2:])
    for recipe in recipes:
        stored = msgspec.json.decode(msgspec.json.encode(recipe), type=Recipe)
        one, other = (case_of_recipe(made, 5, SEED) for made in (recipe, stored))
        assert one.id == "soak-5@3"
        assert one.logits.tobytes() == other.logits.tobytes()
        assert (one.parameters, one.seed, one.draws) == (other.parameters, other.seed, 2)
        for token, value in recipe.logits:
            assert one.logits[0, token] == np.float32(value) == value
    raised = case_of_recipe(Recipe(root=4, raised=8.0), 5, SEED).logits
    plain = case_of_recipe(Recipe(root=4), 5, SEED).logits
    assert raised.max() == plain.max() + np.float32(8)
    assert np.array_equal(np.sort(raised)[0, :-1], np.sort(plain)[0, :-1])


@pytest.mark.proof
def test_a_lease_depends_on_what_it_is_handed_and_on_nothing_else() -> None:
    port = RustExt()
    first = compared(Lease(first=0, count=60), SEED, port)
    parents = tuple(call.recipe for call in first.closest)
    lease = Lease(first=60, count=60, parents=parents)
    again = compared(msgspec.json.decode(msgspec.json.encode(lease), type=Lease), SEED, port)
    assert timeless(compared(lease, SEED, port)) == timeless(again)
    assert again.compared == again.equal == 60
    assert again.tokens == 120
    assert again.capability == capability_here()


@pytest.mark.proof
def test_distances_are_of_the_decisions_that_torch_makes() -> None:
    """The sums and ratios that are measured are those from which torch cuts and draws."""
    reference, here = PythonRef(), capability_here()
    measured = dict.fromkeys(MEASURES, 0)
    for number in range(300):
        recipe = Recipe(root=number) if explores(number) else recipe_of(number, SEED, ())
        case = case_of_recipe(recipe, number, SEED)
        outcome = reference.run(case, here)
        [final], [mask] = outcome.stages["renormalized"], outcome.stages["top_p_mask"]
        winners = [int((final / q).argmax()) for q in closeness.noise_of(case)]
        assert winners == [int(token[0]) for token in outcome.tokens]
        cutoffs = closeness.cutoffs_of(case, outcome.stages)
        if cutoffs.top_p > 0:
            at, sums = closeness.turning_point(cutoffs.top_p), cutoffs.sums()
            if (sums != at).all():
                assert mask.sum() == 1 + (sums[:-1] < at).sum()
        for name in closeness.distances(case, outcome):
            measured[name] += 1
    assert min(measured.values()) > 0, measured


@pytest.mark.skipif(not has_sources(), reason="the Rust sources are not here")
def test_bounds_are_those_of_the_port() -> None:
    folder = REPOSITORY / "rust_ext" / "sampler" / "src" / "fast"
    estimate, shortlist = (
        (folder / name).read_text(encoding="utf-8") for name in ("estimate.rs", "shortlist.rs")
    )
    assert f"const ERROR: f64 = 1.0 / {1 / closeness.ESTIMATE_ERROR};" in estimate
    assert f"const LONG: usize = {closeness.ESTIMATED_FROM};" in estimate
    assert f"const LEAST_MASS: f64 = {closeness.LEAST_ESTIMATED_MASS};" in estimate
    margin = f"{int(1 / closeness.LIST_MARGIN):_}.0"
    assert f"const MARGIN: f32 = 1.0 / {margin};" in shortlist
    assert f"const REACH: f32 = {closeness.LIST_REACH};" in shortlist
    assert f"vocab >= {closeness.LISTED_FROM} * k" in shortlist


@pytest.mark.proof
def test_the_search_comes_closer_than_as_many_blind_cases() -> None:
    port = RustExt()
    found = nearest(soaked(port, 600, search=True))
    blind = nearest(soaked(port, 600, search=False))
    assert set(found) == set(MEASURES)
    for measure, distance in blind.items():
        assert found[measure] <= distance / 20, measure
    assert found["top-k"] == 0
    assert found["top-p"] < 1e-3
    assert found["race"] < 2


@pytest.mark.proof
@pytest.mark.skipif(not has_sources(), reason="the Rust sources are not here")
@pytest.mark.parametrize(
    ("fault", "cases"), [("race-last", 600), ("estimate-near", 300), ("race-slack", 1000)]
)
def test_a_fault_that_shows_where_a_decision_is_close_is_found(fault: str, cases: int) -> None:
    with planted(fault) as candidate:
        found = soaked(candidate, cases, search=True)
        taken = sum(result.compared for result in found)
        blind = soaked(candidate, taken, search=False)
    findings = found[-1].findings
    assert findings, f"none in {taken} cases"
    assert sum(result.equal for result in blind) == taken
    assert any(finding.small for finding in findings)
    kinds = [(finding.divergence.stage, finding.divergence.verdict) for finding in findings]
    small = [kind for kind, one in zip(kinds, findings, strict=True) if one.small]
    assert len(small) == len(set(small)), "of each kind one is made small"


def begun(**changes: object) -> SoakBegun:
    made = SoakBegun(
        version="1", seed=0, implementation="rust_ext", size=10, search=True, started="now"
    )
    return msgspec.structs.replace(made, **changes)


def result_of(first: int, count: int = 10) -> LeaseResult:
    return LeaseResult(
        lease=Lease(first=first, count=count),
        capability="default",
        versions={"torch": "2"},
        worker="w",
        compared=count,
        equal=count,
        not_compared={},
        differing={},
        stages=9 * count,
        tokens=2 * count,
        closest=(),
        findings=(),
        seconds=1.0,
        cpu=1.0,
    )


def test_a_cut_costs_one_line(tmp_path: Path) -> None:
    with SoakFile(tmp_path, begun()) as file:
        for first in (0, 20, 10):
            file.add(result_of(first))
    path = tmp_path / SOAK_NAME
    whole = path.read_bytes()
    for cut in range(len(whole) - len(msgspec.json.encode(result_of(10))) + 5, len(whole)):
        path.write_bytes(whole[:cut])
        with SoakFile(tmp_path, begun(started="later")) as file:
            assert file.cut
            assert file.begun == begun()
            assert [result.lease.first for result in file.results()] == [0, 20]
            file.add(result_of(10))
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"seed": 1}, "its seed is 0 and not 1"),
        ({"version": "2"}, "its version is 1 and not 2"),
        ({"implementation": "x"}, "its implementation is rust_ext and not x"),
    ],
)
def test_a_file_of_another_soak_is_left_alone(
    tmp_path: Path, changes: dict[str, object], why: str
) -> None:
    with SoakFile(tmp_path, begun()):
        pass
    before = (tmp_path / SOAK_NAME).read_bytes()
    with pytest.raises(CannotJudgeError, match=why):
        SoakFile(tmp_path, begun(**changes))
    assert (tmp_path / SOAK_NAME).read_bytes() == before


def test_a_damaged_file_is_told_by_its_line(tmp_path: Path) -> None:
    with SoakFile(tmp_path, begun()) as file:
        file.add(SoakSaid(at="now", words="so"))
    with (tmp_path / SOAK_NAME).open("ab") as raw:
        raw.write(b'{"type":"lease"}\n')
    with SoakFile(tmp_path, begun()) as file, pytest.raises(CannotJudgeError, match="line 3 of"):
        list(file.results())
    (tmp_path / SOAK_NAME).write_bytes(b'{"type":"said","at":"now","words":"so"}\n')
    with pytest.raises(CannotJudgeError, match="does not begin as a soak's file"):
        SoakFile(tmp_path, begun())


def test_one_process_writes_a_file(tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / f".{SOAK_NAME}.lock", thread_local=False),
        pytest.raises(CannotJudgeError, match=r"another soak has .* open"),
    ):
        SoakFile(tmp_path, begun())


def test_every_number_is_leased_until_its_lease_has_ended() -> None:
    leases = Leases(10, 0, 60)
    for first in (10, 30):
        assert leases.finished(result_of(first))
    out = [leases.next() for _ in range(4)]
    assert [lease and lease.first for lease in out] == [0, 20, 40, 50]
    assert leases.next() is None
    assert out[1] is not None
    leases.lost(out[1])
    again = leases.next()
    assert again is not None
    assert again.first == 20
    assert leases.finished(result_of(20))
    assert not leases.finished(result_of(20)), "the same lease counts once"
    leases.lost(again)
    assert leases.next() is None


@dataclass
class HereCluster:
    """Carries out orders in this process, when it is asked what has ended.

    Attributes:
        troubles: what befalls task after task, as long as there are some.
    """

    troubles: list[str] = field(default_factory=list)
    workers: int = 1
    waiting: dict[str, bytes] = field(default_factory=dict)
    submitted: int = 0
    dashboard: str = ""
    work: Callable[[bytes], bytes] = carry_out

    def connect(self) -> bool:
        if self.troubles and self.troubles[0] == "no scheduler":
            self.troubles.pop(0)
            return False
        return True

    def threads(self) -> int:
        return self.workers

    def submit(self, name: str, order: bytes) -> str:
        self.submitted += 1
        key = f"{name}-{self.submitted}"
        self.waiting[key] = order
        return key

    def ended(self, seconds: float) -> Ended | None:
        assert seconds > 0
        if not self.waiting:
            return None
        name = next(iter(self.waiting))
        order = self.waiting.pop(name)
        trouble = self.troubles.pop(0) if self.troubles else ""
        if trouble == "lost":
            return Ended(name)
        if trouble == "raises":
            return Ended(name, error=ZeroDivisionError("so"))
        if trouble == "interrupt":
            raise KeyboardInterrupt
        try:
            return Ended(name, self.work(order))
        except CannotJudgeError as error:
            return Ended(name, error=error)

    def close(self) -> None:
        self.waiting.clear()

    def forget(self) -> Sequence[str]:
        names = list(self.waiting)
        self.waiting.clear()
        return names


@dataclass
class Listener:
    """Notes what it is told, and does something at some result."""

    after: dict[int, Callable[[], None]] = field(default_factory=dict)
    at: dict[str, Callable[[], None]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    results: list[LeaseResult] = field(default_factory=list)
    findings: list[SoakFinding] = field(default_factory=list)

    def found(self, finding: SoakFinding) -> None:
        self.findings.append(finding)

    def said(self, words: str) -> None:
        self.words.append(words)
        for begins in [one for one in self.at if words.startswith(one)]:
            self.at.pop(begins)()

    def result(self, result: LeaseResult, _: SoakTally) -> None:
        self.results.append(result)
        if len(self.results) in self.after:
            self.after.pop(len(self.results))()

    def tick(self, _: SoakTally, __: int) -> None:
        pass


def made_up(order: bytes) -> bytes:
    """Answer an order as if all were equal."""
    lease = msgspec.json.decode(order, type=LeaseOrder).lease
    return msgspec.json.encode(result_of(lease.first, lease.count))


def request_in(folder: Path, **changes: object) -> SoakRequest:
    made = SoakRequest("tcp://127.0.0.1:1", 1.0, 60, size=10, folder=folder, seed=SEED)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_what_is_lost_is_leased_again(tmp_path: Path) -> None:
    troubles = ["no scheduler", "lost", "raises", "", "no scheduler", "lost"]
    cluster, listener = HereCluster(troubles, work=made_up), Listener()
    tally = soak(request_in(tmp_path), cluster, listener)
    assert (tally.status, tally.compared, tally.leases) == ("equal", 60, 6)
    assert sorted(one.lease.first for one in listener.results) == list(range(0, 60, 10))
    said = [line.words for line in read_lines(tmp_path / SOAK_NAME) if isinstance(line, SoakSaid)]
    assert said == listener.words
    assert len([words for words in said if words.startswith("no scheduler answers")]) == 2
    assert any(words.endswith("ZeroDivisionError: so") for words in said)


def test_what_raises_again_and_again_is_given_up_and_is_no_pass(tmp_path: Path) -> None:
    cluster = HereCluster(["raises"] * 60, work=made_up)
    tally = soak(request_in(tmp_path, cases=10), cluster, Listener())
    assert cluster.submitted == ATTEMPTS
    assert (tally.status, tally.not_compared) == ("unjudged", {"ZeroDivisionError: so": 10})
    assert "could not judge" in conclusion_of_soak(tally)
    # It is not forgotten: the next one makes it again.
    tally = soak(request_in(tmp_path, cases=10), HereCluster(work=made_up), Listener())
    assert (tally.status, tally.compared) == ("equal", 10)


def test_an_interrupt_leaves_the_file_whole_and_the_soak_goes_on(tmp_path: Path) -> None:
    tally = soak(request_in(tmp_path), HereCluster(["", "", "interrupt"], work=made_up), Listener())
    assert tally.compared == 20
    listener = Listener()
    tally = soak(request_in(tmp_path), HereCluster(work=made_up), listener)
    assert (tally.compared, tally.now) == (60, 40)
    assert listener.words == ["goes on after 20 cases"]
    firsts = [
        line.lease.first
        for line in read_lines(tmp_path / SOAK_NAME)
        if isinstance(line, LeaseResult)
    ]
    assert sorted(firsts) == list(range(0, 60, 10))


def test_without_a_worker_nothing_is_judged(tmp_path: Path) -> None:
    tally = soak(request_in(tmp_path, hours=0.0), HereCluster(workers=0), Listener())
    assert (tally.status, tally.compared) == ("unjudged", 0)
    assert conclusion_of_soak(tally) == "the soak could not judge: no worker compared a case"


def test_a_worker_of_another_version_cannot_judge(tmp_path: Path) -> None:
    order = LeaseOrder(
        lease=Lease(first=0, count=1),
        seed=0,
        implementation="rust_ext",
        limits=request_in(tmp_path).limits,
        version="other",
    )
    with pytest.raises(CannotJudgeError, match=f"{re.escape(cases_version())}, and the soak other"):
        carry_out(msgspec.json.encode(order))
    with pytest.raises(CannotJudgeError, match=r"no_such_module.* could not be loaded"):
        soak(request_in(tmp_path, implementation="no_such_module:x"), HereCluster(), Listener())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--profile", "soak"], "a soak needs a Dask cluster: start one with `dask scheduler`"),
        (["--profile", "soak", "--family", "flat"], "a soak takes no --family"),
        (["--cluster", "tcp://127.0.0.1:1"], "--cluster is for --profile soak"),
        (["--hours", "2"], "--hours is for --profile soak"),
        (
            ["--profile", "soak", "--implementation", "a:b", "--implementation", "c:d"],
            "a soak is of one implementation",
        ),
        (["--profile", "soak", "--cluster", "nowhere"], "--cluster 'nowhere'"),
    ],
)
def test_what_a_soak_takes(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["sampler-parity", "run", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_without_dask_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(CannotJudgeError, match=r"pip install 'sampler-parity\[soak\]'"):
        WorkCluster("tcp://127.0.0.1:1")


@pytest.mark.proof
@pytest.mark.skipif(not has_sources(), reason="the Rust sources are not here")
def test_what_differs_is_told_kept_and_shown_by_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FAULT, "race-last")
    monkeypatch.setattr("sampler_parity.commands.soak.WorkCluster", lambda _: HereCluster())
    request = request_in(
        tmp_path, implementation="parity_tests.meta.faulty:Faulty", size=150, cases=300
    )
    out, log = Console(highlight=False), Console(stderr=True, highlight=False)
    assert run_soak(request, out, log) == 1
    printed = capsys.readouterr()
    assert "the soak found a divergence: " in printed.out
    stored = msgspec.json.decode((tmp_path / "soak.json").read_bytes())
    assert (stored["status"], stored["compared"]) == ("diverges", 300)
    assert stored["equal"] + sum(stored["differing"].values()) == 300
    [[words, command], *_] = stored["findings"]
    assert words in printed.err
    assert command in printed.err
    assert command.split()[2].endswith("-small.safetensors")
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command.replace("-", "_", 1))],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    # Another process goes on, and forgets nothing.
    assert run_soak(replace(request, cases=450), out, log) == 1
    again = msgspec.json.decode((tmp_path / "soak.json").read_bytes())
    assert again["compared"] == 450
    assert again["findings"][: len(stored["findings"])] == stored["findings"]


LEVELS = [name for name in CAPABILITIES[:2] if reached(name) == name]
"""The capabilities of the workers."""


@pytest.mark.slow
@pytest.mark.proof
def test_a_killed_worker_and_a_killed_scheduler_lose_nothing_that_was_finished(
    tmp_path: Path,
) -> None:
    with cluster_of_processes() as processes:

        def start_workers() -> None:
            for number, capability in enumerate(LEVELS[:1] + LEVELS[-1:]):
                processes.start_worker(f"w{number}", capability)
            processes.wait_for_workers()

        def start_again() -> None:
            # One worker is enough to finish: it takes the place of the one that was left, which has
            # finished some at its own level.
            processes.start_scheduler()
            processes.start_worker("w0", LEVELS[-1])
            processes.wait_for_workers()

        start_workers()
        listener = Listener(
            after={
                3: lambda: processes.kill_worker("w1"),
                6: processes.kill_scheduler,
            },
            at={"no scheduler answers": start_again},
        )
        request = SoakRequest(
            processes.address, 0.2, 480, seed=SEED, size=40, folder=tmp_path / "soak"
        )
        with closing(WorkCluster(request.cluster)) as cluster:
            tally = soak(request, cluster, listener)
    assert not listener.after
    assert not listener.at
    assert (tally.status, tally.compared, tally.equal) == ("equal", 480, 480)
    assert set(tally.capabilities) == set(LEVELS)
    path = request.folder / SOAK_NAME
    results = [line for line in read_lines(path) if isinstance(line, LeaseResult)]
    assert results == listener.results
    assert sorted(result.lease.first for result in results) == list(range(0, 480, 40))
    assert any(words.startswith("the scheduler is there") for words in listener.words)
    # What a worker found is found again anywhere at its capability.
    for first in [one for one in results if one.capability == capability_here()][:1]:
        again = timeless(compared(first.lease, SEED, RustExt()))
        assert again == msgspec.structs.replace(timeless(first), worker="")
    replay_closest(request, tally)


def replay_closest(request: SoakRequest, tally: SoakTally) -> None:
    """Run the command that shows the closest call of a soak."""
    path = Keeper(request).summary(tally)
    stored = msgspec.json.decode(path.read_bytes())
    assert stored["status"] == tally.status
    [[_, command], *_] = stored["closest"]["top-p"]
    assert Path(command.split()[2]).is_file()
