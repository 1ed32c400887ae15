"""A candidate in processes with other histories: which earlier cases its answer depends on."""

import contextlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.outcome import Lost, Outcome
from sampler_parity.model.verdict import Verdict
from sampler_parity.run.effort import WHOLE
from sampler_parity.sandbox.isolated import Isolated, Limits

MOST_EARLIER = 1024
"""How many of the cases before a divergent one are asked again."""

ASKED = 20_000
"""How many cases a run's shard may ask for that."""


class Laboratory:
    """A second process of the candidate, for cases that diverge.

    The one that answers the run's cases is left alone: what it is asked besides would change what
    it answers, if its answers depend on that.

    Attributes:
        processes: how many may still be taken to find a sequence.
        asked: how many cases may still be asked for that.
    """

    def __init__(
        self,
        name: str,
        limits: Limits,
        capability: str,
        recall: Callable[[str], Case],
        alive: Callable[[], None] = lambda: None,
        also: str = "",
        processes: int = WHOLE.processes,
    ) -> None:
        """Start nothing yet.

        The candidate may have the sampler ``also``, see :class:`Isolated`. ``recall`` gives the
        run's case that has an id; ``alive`` is called before every case. A search for earlier cases
        may take as many ``processes``.
        """
        self._name = name
        self._limits = limits
        self._capability = capability
        self._recall = recall
        self._alive = alive
        self._also = also
        self._candidate: Isolated | None = None
        self.processes = processes
        self.asked = ASKED

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._candidate is not None:
            self._candidate.close()

    @property
    def forks(self) -> bool:
        """Whether a new process costs a fork, and no start of the candidate."""
        return self._candidate is not None and self._candidate.forks

    def begin(self) -> None:
        """Start the candidate, and do not wait for it."""
        if self._candidate is None:
            with contextlib.suppress(CannotJudgeError):
                self._candidate = self._start(wait=False)

    def both(self, case: Case, reference: Callable[[Case], Outcome]) -> tuple[Outcome, Outcome]:
        """Run a case on both sides at a time, in whichever process of the candidate there is."""
        candidate = self._started()
        if candidate is None:
            return reference(case), _NO_SECOND
        self._alive()
        candidate.ask(case, self._capability)
        return reference(case), candidate.answer()

    def alone(self, case: Case) -> Outcome:
        """Run a case in a process that was asked nothing before."""
        return self.after((), case)

    def after(self, earlier: Sequence[Case], case: Case) -> Outcome:
        """Run a case in a process that was asked ``earlier`` before, and nothing else."""
        candidate = self._started()
        if candidate is None:
            return _NO_SECOND
        candidate.renew()
        for one in earlier:
            self._alive()
            candidate.run(one, self._capability)
        self._alive()
        return candidate.run(case, self._capability)

    def sequence(
        self, ids: Sequence[str], comes_again: Callable[[Sequence[Case]], bool]
    ) -> list[Case]:
        """Find few of the cases ``ids``, asked before another one, after which it comes again.

        The last one, the last two, the last four are tried, and so on; of the first that will do,
        what can be left out is left out (Zeller and Hildebrandt, "Simplifying and isolating
        failure-inducing input", 2002: ``ddmin``).

        Returns:
            The cases in their order; none where none were found within the budget.
        """

        def shows(earlier: Sequence[Case]) -> bool:
            self.processes -= 1
            self.asked -= len(earlier) + 1
            return comes_again(earlier)

        def affordable(number: int) -> bool:
            return self.processes > 0 and self.asked > number

        cases: list[Case] = []
        count = 1
        while True:
            count = min(count, len(ids), MOST_EARLIER)
            if not count or not affordable(count):
                return []
            fresh = [self._recall(name) for name in ids[len(ids) - count : len(ids) - len(cases)]]
            cases = [*fresh, *cases]
            if shows(cases):
                break
            if count == min(len(ids), MOST_EARLIER):
                return []
            count *= 2
        return _fewest(cases, shows, affordable)

    def _started(self) -> Isolated | None:
        try:
            if self._candidate is None:
                self._candidate = self._start(wait=True)
            self._candidate.wait()
        except CannotJudgeError:
            self._candidate = None
        return self._candidate

    def _start(self, *, wait: bool) -> Isolated:
        return Isolated(self._name, self._limits, also=self._also, wait=wait)


_NO_SECOND = Outcome(
    lost=Lost(Verdict.CRASHED, "no second process of the candidate could be started")
)


def _fewest(
    cases: list[Case],
    shows: Callable[[Sequence[Case]], bool],
    affordable: Callable[[int], bool],
) -> list[Case]:
    parts = 2
    while len(cases) > 1:
        size = -(-len(cases) // parts)
        chunks = [slice(start, start + size) for start in range(0, len(cases), size)]
        one_part = [(cases[chunk], 2) for chunk in chunks]
        all_but_one = [
            (cases[: chunk.start] + cases[chunk.stop :], max(parts - 1, 2)) for chunk in chunks
        ]
        for fewer, then in [*one_part, *all_but_one]:
            if not affordable(len(fewer)):
                return cases
            if shows(fewer):
                cases, parts = fewer, then
                break
        else:
            if size == 1:
                return cases
            parts = min(2 * parts, len(cases))
    return cases
