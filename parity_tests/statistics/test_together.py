"""A candidate that draws in several processes draws what it would draw in one."""

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from parity_tests.statistics import walkers
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Lost, Outcome
from sampler_parity.model.verdict import Verdict
from sampler_parity.pipelines import SampleLogits
from sampler_parity.sandbox.isolated import Isolated, Limits
from sampler_parity.sandbox.together import MOST_PROCESSES, Together, processes_for
from sampler_parity.statistics import subjects
from sampler_parity.statistics.escalation import Rule
from sampler_parity.statistics.kinds_of_test import (
    StatisticalTest,
    consecutive_seeds,
    frequencies,
    rows,
    successive,
    uniformity,
    versus,
)
from sampler_parity.statistics.result import Look
from sampler_parity.statistics.sources import (
    Guarded,
    ImplementationSource,
    SamplerFailedError,
    Seeds,
    at_once,
    port,
)
from sampler_parity.statistics.tallies import steps

RULE = Rule(2e-8)
LOGITS = np.random.default_rng(3).normal(0, 1, 20).astype(np.float32)
LOST = Lost(Verdict.CRASHED, "ended by SIGSEGV")


class SeveralAtOnce:
    """Notes how many cases it was asked at a time."""

    def __init__(self, several: int) -> None:
        self.about = walkers.sound.about
        self.at_once = several
        self.asked: list[int] = []

    def run(self, case: Case, capability: str) -> Outcome:
        return walkers.sound.run(case, capability)

    def outcomes(self, cases: Sequence[Case], capability: str) -> list[Outcome]:
        self.asked.append(len(cases))
        return [self.run(case, capability) for case in cases]


def look(test: StatisticalTest, source: ImplementationSource) -> Look:
    """Take a first look as a run does."""
    tally, seeds = test.start(0), Seeds(77)
    for step in steps(test.planned.n, test.draws_a_unit, source):
        tally.add(Guarded(source), seeds, step)
    return tally.look()


@pytest.mark.parametrize("several", [2, 4])
@pytest.mark.parametrize(
    "kind", ["frequencies", "versus", "successive", "seeds", "rows", "uniformity"]
)
def test_the_draws_are_those_of_one_process(kind: str, several: int) -> None:
    tempered = subjects.tempered()
    test = {
        "frequencies": lambda: frequencies(tempered, 5300, RULE),
        "versus": lambda: versus(tempered, 5300, RULE, port()),
        "successive": lambda: successive(tempered, 5, 5100, RULE),
        "seeds": lambda: consecutive_seeds(tempered, 5100, RULE),
        "rows": lambda: rows((tempered, tempered), 5100, RULE),
        "uniformity": lambda: uniformity(7, 4000, RULE, (SampleLogits.sampler,)),
    }[kind]()
    together = SeveralAtOnce(several)
    chunk = 1000 if kind != "uniformity" else 4000
    one = look(test, ImplementationSource(walkers.sound, "default", chunk=chunk))
    found = look(test, ImplementationSource(together, "default", chunk=chunk))
    assert found == one
    assert found.p is not None
    # Batches of rows are drawn one after another.
    assert max(together.asked, default=1) == {"rows": 1, "seeds": 1000 * several}.get(kind, several)


class Answers:
    """A process: answers in its turn, or is lost at the case whose id it is given."""

    def __init__(self, lost_at: str = "", about: About = walkers.sound.about) -> None:
        self.about = about
        self.lost_at = lost_at
        self.open: list[Case] = []
        self.ids: list[str] = []

    def ask(self, case: Case, _: str) -> None:
        assert not self.open, "a process is asked one case at a time"
        self.open.append(case)
        self.ids.append(case.id)

    def answer(self) -> Outcome:
        case = self.open.pop()
        if case.id == self.lost_at:
            return Outcome(lost=LOST)
        return Outcome(tokens=[np.array([int(case.id)])])


def together(*processes: Answers) -> Together:
    return Together("module:object", processes)  # type: ignore[arg-type]


def cases(n: int) -> list[Case]:
    plain = Case("", "a", LOGITS[None], SampleLogits(), 0)
    return [replace(plain, id=str(index)) for index in range(n)]


def test_outcomes_are_in_the_order_of_the_cases() -> None:
    processes = Answers(), Answers(), Answers()
    found = together(*processes).outcomes(cases(8), "default")
    assert [int(outcome.tokens[0][0]) for outcome in found] == list(range(8))
    assert [process.ids for process in processes] == [list("036"), list("147"), list("25")]
    assert together(*processes).outcomes([], "default") == []


@pytest.mark.parametrize("at", range(7))
def test_nothing_is_asked_after_a_case_without_an_answer(at: int) -> None:
    """Neither is an answer that is still to come taken for that to another case."""
    processes = Answers(str(at)), Answers(str(at))
    candidate = together(*processes)
    found = candidate.outcomes(cases(7), "default")
    asked = sum(len(process.ids) for process in processes)
    assert len(found) == 7
    assert at < asked <= at + 2
    assert [outcome.lost for outcome in found] == [
        LOST if index == at or index >= asked else None for index in range(7)
    ]
    assert not any(process.open for process in processes)
    assert candidate.run(cases(1)[0], "default").lost == LOST
    assert sum(len(process.ids) for process in processes) == asked


def test_processes_that_say_different_things_are_not_judged() -> None:
    other = structs.replace(walkers.sound.about, name="another")
    with pytest.raises(CannotJudgeError, match=r"^module:object says in one process .*another"):
        together(Answers(), Answers(about=other))


def test_real_processes_draw_the_same() -> None:
    name = "parity_tests.statistics.walkers:sound"
    with Isolated(name, Limits()) as one, Isolated(name, Limits(), wait=False) as other:
        source = ImplementationSource(Together(name, [one, other]), "default")
        assert at_once(source) == 2
        test = frequencies(subjects.tempered(), 5300, RULE)
        assert look(test, source) == look(test, ImplementationSource(walkers.sound, "default"))
        assert one.earlier
        assert other.earlier


def test_a_crash_ends_the_test() -> None:
    name = "parity_tests.meta.unruly:Segfaults"
    with Isolated(name, Limits()) as one, Isolated(name, Limits()) as other:
        source = ImplementationSource(Together(name, [one, other]), "default")
        with pytest.raises(SamplerFailedError, match="SIGSEGV"):
            look(consecutive_seeds(subjects.tempered(), 5100, RULE), source)
        assert len(one.earlier) + len(other.earlier) <= 1


def test_no_more_processes_than_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [processes_for(jobs) for jobs in (1, 2, 3, 64)] == [1, 2, 3, MOST_PROCESSES]
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert processes_for(None) == 2
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processes_for(None) == 1
