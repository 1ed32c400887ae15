"""A candidate in several processes, which answer cases at the same time."""

import os
from collections import deque
from collections.abc import Sequence
from itertools import cycle

from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.outcome import Lost, Outcome
from sampler_parity.sandbox.isolated import Isolated

MOST_PROCESSES = 4
"""Processes of a candidate, each of which holds what it has loaded: no more than this at a time."""


def processes_for(jobs: int | None) -> int:
    """Give how many processes of a candidate draw at a time; ``None`` for one a processor."""
    return min(MOST_PROCESSES, jobs or os.cpu_count() or 1)


class Together:
    """A candidate in several processes, each of which is asked one case at a time.

    None is asked any more once one has left a case without an answer.

    Attributes:
        about: what the candidate says that it is.
        at_once: how many processes there are.
    """

    def __init__(self, name: str, processes: Sequence[Isolated]) -> None:
        """Wait until each process of the candidate ``name`` has said what it is.

        Raises:
            CannotJudgeError: one cannot be started, or says something else than the first.
        """
        self.about = processes[0].about
        self.at_once = len(processes)
        self._processes = processes
        self._lost: Lost | None = None
        for process in processes:
            if process.about != self.about:
                raise CannotJudgeError(
                    f"{name} says in one process that it is {self.about}, and in another "
                    f"{process.about}"
                )

    def run(self, case: Case, capability: str) -> Outcome:
        """Run one case."""
        return self.outcomes([case], capability)[0]

    def outcomes(self, cases: Sequence[Case], capability: str) -> list[Outcome]:
        """Run every case, and give the outcomes in their order."""
        found: list[Outcome] = []
        asked = deque[Isolated]()
        for case, process in zip(cases, cycle(self._processes), strict=False):
            if len(asked) == self.at_once:
                found.append(self._answer(asked.popleft()))
            if self._lost is not None:
                break
            process.ask(case, capability)
            asked.append(process)
        # Whoever was asked is listened to, or its answer would be taken for that to the next case.
        found += [self._answer(process) for process in asked]
        return found + [Outcome(lost=self._lost)] * (len(cases) - len(found))

    def _answer(self, process: Isolated) -> Outcome:
        outcome = process.answer()
        self._lost = self._lost or outcome.lost
        return outcome
