"""Makes a shard of a run: counts what is compared, and keeps divergences with their evidence."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath

import numpy as np

from sampler_parity.cases.case_file import save_case
from sampler_parity.cases.plan import SERIES
from sampler_parity.implementations.reference import torch_is_here
from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import Verdict
from sampler_parity.run.command_words import replay_command
from sampler_parity.run.effort import WHOLE, Effort
from sampler_parity.run.keeping import Keeping
from sampler_parity.run.retrial import Retrial, Retrials, RunBoth, Seen
from sampler_parity.run.run_file import (
    EVIDENCE,
    Against,
    Cell,
    Certificate,
    Explained,
    FoundDivergence,
    Reproducibility,
    Shard,
    Shrunken,
    gravity,
)
from sampler_parity.run.series import SeriesCounter
from sampler_parity.run.waivers import Waiver
from sampler_parity.sandbox.isolated import Limits

LARGER = "that did not come again by themselves"
"""Why a divergent case was not made small."""
EARLIER_FILES = 8
"""Earlier cases of a divergence that depends on them which are kept."""
LONGEST = 1000
"""Tokens of the longest row of a semantic case that is held against what is known: all of that is
run on each."""
READABLE = 64
"""Logits of a shrunken case that are shown in words."""


class ShardBuilder:
    """Counts one implementation's cases at one capability, as they are compared."""

    def __init__(
        self,
        implementation: str,
        about: About,
        capability: str,
        folder: Path,
        home: str = "",
        waivers: tuple[Waiver, ...] = (),
        limits: Limits | None = None,
        reference: str = "",
        effort: Effort = WHOLE,
        *,
        evidence: bool = True,
    ) -> None:
        """Count for ``implementation``, as a command line calls it; reports call it by its name.

        Evidence goes into ``folder``; commands that replay it look for it in ``home``, name the
        ``reference``, and give the candidate the run's ``limits``. Divergent cases are looked at
        closer with as much ``effort``. Without ``evidence``, none is kept nor made small.
        """
        self._implementation = implementation
        self._about = about
        self._capability = capability
        self._folder = folder
        self._home = PurePath(home)
        self._waivers = waivers
        self._limits = limits or Limits()
        self._reference = reference
        self._keeping = Keeping(effort, evidence=evidence)
        self._effort = effort
        self._retrials = Retrials(about, effort)
        self._waiting: list[tuple[Seen, RunBoth | None, Retrial | None]] = []
        self._semantic = 0
        self.covered = [0] * len(waivers)
        self.compared = self.declined = self.divergent = self.accepted = 0
        self.failed_before = self.failed_again = 0
        self.unanswered = 0
        """How many cases in a row, up to the last one, had no answer."""
        self._stages = self._elements = self._tokens = 0
        self._declines: Counter[str] = Counter()
        self._threads: Counter[str] = Counter()
        self._verdicts: Counter[str] = Counter()
        self._cells: Counter[tuple[str, str, str]] = Counter()
        self._decided: Counter[tuple[str, str, str]] = Counter()
        self._divergences: list[FoundDivergence] = []
        self._series: dict[str, SeriesCounter] = {}
        self.semantic: list[tuple[Case, Outcome]] = []
        """The first semantic divergences of short rows, with the candidate's outcomes."""

    @property
    def seen(self) -> int:
        """How many cases were compared or declined."""
        return self.compared + self.declined

    @property
    def found(self) -> int:
        """How many divergent cases were found, those included that wait to be looked at closer."""
        return self.divergent + len(self._waiting)

    def add(
        self,
        case: Case,
        reference: Outcome,
        candidate: Outcome,
        again: RunBoth | None,
        retrial: Retrial | None = None,
    ) -> None:
        """Compare one case.

        ``again`` runs others, to make a divergent one small; ``retrial`` asks it again in another
        process, to see whether it diverges there too.
        """
        self.unanswered = self.unanswered + 1 if candidate.lost else 0
        if candidate.declined:
            self.declined += 1
            self._declines[candidate.declined] += 1
            return
        comparison = compare(case, reference, candidate, self._about)
        self.compared += 1
        if case.family == SERIES and self._about.stream == "torch":
            sampler = case.parameters.sampler
            series = self._series.setdefault(sampler, SeriesCounter(sampler, case.draws))
            series.add(reference.tokens, candidate.tokens)
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
        if divergence is None:
            return
        self._waiting.append((Seen(case, reference, candidate, divergence), again, retrial))
        if not self._effort.afterwards:
            self.look_closer()
        elif retrial is not None:
            retrial.laboratory.begin()

    def look_closer(self, progress: Callable[[int, int], None] = lambda _, __: None) -> None:
        """Ask the divergent cases again that wait for it, and make some small: short ones first.

        ``progress`` is called with how many are done of how many.
        """
        waiting, self._waiting = self._waiting, []
        waiting.sort(key=lambda one: one[0].case.logits.size * one[0].case.draws)
        for done, (seen, again, retrial) in enumerate(waiting):
            progress(done, len(waiting))
            self._diverges(self._settled(seen, retrial), again, retrial)

    def _settled(self, seen: Seen, retrial: Retrial | None) -> Seen:
        if retrial is None:
            return seen
        family, divergence = seen.case.family, seen.divergence
        return self._retrials.settled(
            seen,
            retrial,
            check=self._keeping.listed(family, divergence.stage, divergence.verdict),
            search=self._keeping.listed(family, divergence.stage, Verdict.STATEFUL),
        )

    def _diverges(self, seen: Seen, again: RunBoth | None, retrial: Retrial | None) -> None:
        case, divergence = seen.case, seen.divergence
        self.divergent += 1
        short = case.logits.shape[-1] <= LONGEST and case.logits.ndim > 1
        if divergence.verdict is Verdict.SEMANTIC and short:
            self._semantic += 1
            if len(self.semantic) < self._effort.explained:
                self.semantic.append((case, seen.candidate))
        self._verdicts[divergence.verdict.value] += 1
        self._cells[case.family, divergence.first, "first"] += 1
        self._decided[case.family, divergence.stage, divergence.verdict.value] += 1
        for index, waiver in enumerate(self._waivers):
            # An answer of a wrong form was not compared: there is nothing to accept.
            if divergence.verdict is not Verdict.UNFIT and waiver.covers(case.family, divergence):
                self.covered[index] += 1
                self.accepted += 1
                break
        listed, keep, small = self._keeping.choose(
            case.family, case.logits.size, divergence, spent=self._retrials.spent
        )
        if not listed:
            return
        after = [one.id for one in seen.after]
        evidence = self._keep(case, seen.reference, seen.candidate) if keep else None
        earlier = self._keep_earlier(seen.after, retrial) if keep else ()
        self._divergences.append(
            FoundDivergence(
                case=case.id,
                family=case.family,
                described=case.described(),
                divergence=divergence,
                evidence=evidence,
                replay=self._replay(case.id, after),
                shrunken=self._shrink(seen, again, retrial, earlier) if small and again else None,
                earlier=earlier,
            )
        )

    def shard(
        self,
        planned: int,
        source: Against,
        reason: str = "",
        reproducibility: tuple[Reproducibility, ...] = (),
        explained: Explained | None = None,
        certificate: Certificate | None = None,
    ) -> Shard:
        """Give the counts; ``reason`` says why cases were neither compared nor declined."""
        self.look_closer()
        names = dict.fromkeys(key[:2] for key in (*self._cells, *self._decided))
        decided: dict[tuple[str, str], dict[str, int]] = {}
        for (family, stage, verdict), count in self._decided.items():
            decided.setdefault((family, stage), {})[verdict] = count
        reasons = [f"{count:,} declined: {why}" for why, count in self._declines.most_common()]
        reasons += [reason] if reason else []
        return Shard(
            implementation=self._about.name,
            capability=self._capability,
            source=source,
            planned=planned,
            compared=self.compared,
            not_compared=planned - self.compared if reasons else 0,
            reason="; ".join(reasons),
            declines=dict(self._declines.most_common()),
            why=reason,
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
                    verdicts=decided.get((family, stage), {}),
                )
                for family, stage in names
            ),
            divergences=tuple(sorted(self._divergences, key=gravity)),
            noise=reproducibility,
            verdicts=dict(self._verdicts.most_common()),
            about=self._about,
            accepted=self.accepted,
            streams=tuple(series.counts() for series in self._series.values()),
            explained=explained,
            certificate=certificate,
            failed_before=self.failed_before,
            failed_again=self.failed_again,
            left_out=tuple(self._left_out()) if self._effort.afterwards else (),
        )

    def _left_out(self) -> Iterator[str]:
        """Say what was not done with divergent cases, how often, and why."""
        small = sum(one.shrunken is not None for one in self._divergences)
        if self._keeping.not_small:
            why = ", ".join(
                f"{count:,} {words}" for words, count in self._keeping.not_small.most_common()
            )
            total = self._keeping.not_small.total()
            yield (
                f"{small:,} of {self.divergent:,} divergent cases made small, {total:,} not: {why}"
            )
        asked = self._retrials.checked
        if asked < self.divergent:
            yield (
                f"{asked:,} of {self.divergent:,} divergent cases asked again in a process that "
                "was asked nothing before: up to "
                f"{self._effort.checks_of_a_kind} of a stage and verdict"
            )
        if len(self.semantic) < self._semantic and torch_is_here():
            yield (
                f"{len(self.semantic):,} of {self._semantic:,} semantic cases of short rows held "
                "against the known functions"
            )

    def _replay(self, what: str, after: Sequence[str]) -> str:
        return replay_command(
            what,
            after,
            self._capability,
            self._implementation,
            self._limits,
            self._reference,
            str(self._home),
        )

    def _shrink(
        self, seen: Seen, again: RunBoth, retrial: Retrial | None, earlier: Sequence[str]
    ) -> Shrunken | None:
        found = self._retrials.small(seen, again, retrial)
        if found is None:
            self._keeping.not_small[LARGER] += 1
            return None
        evidence = self._keep(found.case, *found.sides)
        after = [str(self._home / path) for path in earlier] or [one.id for one in seen.after]
        rows = np.atleast_2d(found.case.logits)
        return Shrunken(
            described=found.case.described(),
            logits=tuple(", ".join(map(str, row)) for row in rows if rows.size <= READABLE),
            divergence=found.divergence,
            evidence=evidence,
            replay=self._replay(str(self._home / evidence), after),
            tried=found.tried,
        )

    def _keep_earlier(self, cases: Sequence[Case], retrial: Retrial | None) -> tuple[str, ...]:
        """Keep the cases after which another one diverges, if they are few."""
        if len(cases) > EARLIER_FILES or retrial is None or retrial.reference is None:
            return ()
        return tuple(self._keep(case, retrial.reference(case), None) for case in cases)

    def _keep(self, case: Case, reference: Outcome, candidate: Outcome | None) -> str:
        safe = case.id
        for mark in "@:/":
            safe = safe.replace(mark, "-")
        name = f"{self._capability}-{len(self._divergences):03}-{safe}.safetensors"
        path = f"{EVIDENCE}/{_safe(self._about.name)}/{name}"
        save_case(self._folder / path, case, self._capability, reference, candidate)
        return path


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".") or "candidate"
