"""Counts what was compared, and keeps divergences with their evidence."""

import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Literal

import numpy as np

from sampler_parity.cases.case_file import save_case
from sampler_parity.cases.plan import STREAMS
from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.judge.shrink import BUDGET, shrink
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import SEVERITY, Divergence, Verdict
from sampler_parity.run.run_file import EVIDENCE, Cell, FoundDivergence, Noise, Shard, Shrunken
from sampler_parity.run.streams import StreamTally
from sampler_parity.run.waivers import Waiver

OF_A_FAMILY = 4
"""Divergences of one family at one stage with one verdict that are kept one by one; the others are
counted."""
FILES_OF_A_KIND = 12
"""Divergences at one stage with one verdict whose stages are kept."""
SMALL_OF_A_KIND = 3
"""Divergences at one stage with one verdict that are made small."""
BUDGET_OF_CRASHES = 40
"""Cases that are tried to make one small in which the candidate crashes: each costs a process."""
READABLE = 64
"""Logits of a shrunken case that are shown in words."""

Run = Callable[[Case], tuple[Outcome, Outcome]]
"""Runs a case on both sides: the reference's outcome and the candidate's."""


class Tally:
    """One implementation at one capability."""

    def __init__(
        self,
        implementation: str,
        about: About,
        capability: str,
        folder: Path,
        home: str = "",
        waivers: tuple[Waiver, ...] = (),
    ) -> None:
        """Count for ``implementation``, as a command line calls it; reports call it by its name.

        Evidence goes into ``folder``; commands that replay it look for it in ``home``.
        """
        self._implementation = implementation
        self._about = about
        self._capability = capability
        self._folder = folder
        self._home = PurePath(home)
        self._waivers = waivers
        self.covered = [0] * len(waivers)
        self.compared = self.declined = self.divergent = self.accepted = 0
        self.unanswered = 0
        """How many cases in a row, up to the last one, had no answer."""
        self._stages = self._elements = self._tokens = 0
        self._declines: Counter[str] = Counter()
        self._threads: Counter[str] = Counter()
        self._verdicts: Counter[str] = Counter()
        self._cells: Counter[tuple[str, str, str]] = Counter()
        self._kept: Counter[tuple[str, str, Verdict]] = Counter()
        self._files: Counter[tuple[str, Verdict]] = Counter()
        self._divergences: list[FoundDivergence] = []
        self._streams: dict[str, StreamTally] = {}

    @property
    def seen(self) -> int:
        """How many cases were compared or declined."""
        return self.compared + self.declined

    def add(self, case: Case, reference: Outcome, candidate: Outcome, again: Run | None) -> None:
        """Compare one case; ``again`` runs others, to make a divergent one small."""
        self.unanswered = self.unanswered + 1 if candidate.lost else 0
        if candidate.declined:
            self.declined += 1
            self._declines[candidate.declined] += 1
            return
        comparison = compare(case, reference, candidate, self._about)
        self.compared += 1
        if case.family == STREAMS and self._about.stream == "torch":
            sampler = case.parameters.sampler
            stream = self._streams.setdefault(sampler, StreamTally(sampler, case.draws))
            stream.add(reference.tokens, candidate.tokens)
        self._threads[str(case.threads)] += 1
        self._stages += len(comparison.compared)
        self._elements += comparison.elements
        if "token" in comparison.compared:
            self._tokens += sum(tokens.size for tokens in reference.tokens)
        for stage in comparison.compared:
            self._cells[case.family, stage, "compared"] += 1
        for stage in comparison.differences:
            self._cells[case.family, stage, "differing"] += 1
        divergence = judge(case, reference, candidate, comparison, self._about)
        if divergence is not None:
            self._diverges(case, reference, candidate, divergence, again)

    def _diverges(
        self,
        case: Case,
        reference: Outcome,
        candidate: Outcome,
        divergence: Divergence,
        again: Run | None,
    ) -> None:
        self.divergent += 1
        self._verdicts[divergence.verdict.value] += 1
        self._cells[case.family, divergence.first, "first"] += 1
        for index, waiver in enumerate(self._waivers):
            if waiver.covers(case.family, divergence):
                self.covered[index] += 1
                self.accepted += 1
                break
        kind = (divergence.stage, divergence.verdict)
        self._kept[case.family, *kind] += 1
        if self._kept[case.family, *kind] > OF_A_FAMILY:
            return
        self._files[kind] += 1
        keep = self._files[kind] <= FILES_OF_A_KIND
        most = 1 if divergence.verdict is Verdict.CRASHED else SMALL_OF_A_KIND
        small = self._files[kind] <= most
        self._divergences.append(
            FoundDivergence(
                case=case.id,
                family=case.family,
                parameters=case.describe(),
                divergence=divergence,
                evidence=self._keep(case, reference, candidate) if keep else None,
                replay=self._replay(case.id),
                shrunken=self._shrink(case, divergence, again) if small and again else None,
            )
        )

    def shard(
        self,
        planned: int,
        source: Literal["torch", "recorded"],
        waiver: str = "",
        noise: tuple[Noise, ...] = (),
    ) -> Shard:
        """Give the counts; ``waiver`` says why cases were neither compared nor declined."""
        names = dict.fromkeys((family, stage) for family, stage, _ in self._cells)
        reasons = [f"{count:,} declined: {why}" for why, count in self._declines.most_common()]
        reasons += [waiver] if waiver else []
        return Shard(
            implementation=self._about.name,
            capability=self._capability,
            source=source,
            planned=planned,
            compared=self.compared,
            waived=planned - self.compared if reasons else 0,
            waiver="; ".join(reasons),
            stages=self._stages,
            elements=self._elements,
            tokens=self._tokens,
            divergent=self.divergent,
            threads=dict(sorted(self._threads.items())),
            cells=tuple(
                Cell(
                    family=family,
                    stage=stage,
                    compared=self._cells[family, stage, "compared"],
                    differing=self._cells[family, stage, "differing"],
                    first=self._cells[family, stage, "first"],
                )
                for family, stage in names
            ),
            divergences=tuple(sorted(self._divergences, key=_gravity)),
            noise=noise,
            verdicts=dict(self._verdicts.most_common()),
            about=self._about,
            accepted=self.accepted,
            streams=tuple(stream.counts() for stream in self._streams.values()),
        )

    def _replay(self, what: str) -> str:
        command = ["sampler-parity", "explain", what, "--capability", self._capability]
        if self._implementation != "rust_ext":
            command += ["--implementation", self._implementation]
        return shlex.join(command)

    def _shrink(self, case: Case, divergence: Divergence, again: Run) -> Shrunken | None:
        if divergence.verdict is Verdict.TIMED_OUT:
            # Every case that is tried would take the whole of its time.
            return None

        def alike(smaller: Case, reference: Outcome, candidate: Outcome) -> Divergence | None:
            if candidate.declined:
                return None
            comparison = compare(smaller, reference, candidate, self._about)
            found = judge(smaller, reference, candidate, comparison, self._about)
            kind = (divergence.stage, divergence.verdict)
            return found if found is not None and (found.stage, found.verdict) == kind else None

        def still(smaller: Case) -> bool:
            return alike(smaller, *again(smaller)) is not None

        budget = BUDGET_OF_CRASHES if divergence.verdict is Verdict.CRASHED else BUDGET
        smallest, tried = shrink(case, still, budget)
        sides = again(smallest)
        found = alike(smallest, *sides)
        if found is None:
            return None
        evidence = self._keep(smallest, *sides)
        rows = np.atleast_2d(smallest.logits)
        return Shrunken(
            parameters=smallest.describe(),
            logits=tuple(", ".join(map(str, row)) for row in rows if rows.size <= READABLE),
            divergence=found,
            evidence=evidence,
            replay=self._replay(str(self._home / evidence)),
            tried=tried,
        )

    def _keep(self, case: Case, reference: Outcome, candidate: Outcome) -> str:
        safe = case.id
        for mark in "@:/":
            safe = safe.replace(mark, "-")
        name = f"{self._capability}-{len(self._divergences):03}-{safe}.safetensors"
        path = f"{EVIDENCE}/{_safe(self._about.name)}/{name}"
        save_case(self._folder / path, case, self._capability, reference, candidate)
        return path


def _gravity(found: FoundDivergence) -> tuple[int, bool]:
    return -SEVERITY[found.divergence.verdict], found.shrunken is None


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".") or "candidate"
