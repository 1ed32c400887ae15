"""Which divergent cases a run keeps one by one, with their stages, and which it makes small."""

from collections import Counter

from sampler_parity.cases.families import importance
from sampler_parity.model.verdict import Divergence, Verdict
from sampler_parity.run.effort import Effort

OF_A_FAMILY = 4
"""Divergences of one family at one stage with one verdict that are kept one by one; the others are
counted."""
ALIKE = "at the stage and with the verdict of another one"
SPENT = "after as many cases as are tried to make others small"
UNKEPT = "of a run without evidence"
"""Why a divergent case was not made small."""


class Keeping:
    """Chooses, divergence by divergence in the order in which they come.

    Attributes:
        not_small: how many were not made small, by the reason.
    """

    def __init__(self, effort: Effort, *, evidence: bool = True) -> None:
        """Choose as much as ``effort`` says; without ``evidence``, no stages and nothing small."""
        self._effort = effort
        self._evidence = evidence
        self._kept: Counter[tuple[str, str, Verdict]] = Counter()
        self._small: Counter[tuple[int, str, Verdict]] = Counter()
        self.not_small: Counter[str] = Counter()

    def listed(self, family: str, stage: str, verdict: Verdict) -> bool:
        """Whether another divergence of this kind is kept one by one."""
        return self._kept[family, stage, verdict] < OF_A_FAMILY

    def choose(
        self, family: str, size: int, divergence: Divergence, *, spent: bool = False
    ) -> tuple[bool, bool, bool]:
        """Say of a case of ``size`` logits whether it is listed, its stages stored, made small.

        Stored are all that are listed on real logits, all that depend on earlier cases, and the
        first of every other family. Where trying is ``spent``, nothing more is made small.
        """
        stage, verdict = divergence.stage, divergence.verdict
        listed = self.listed(family, stage, verdict)
        self._kept[family, stage, verdict] += 1
        if not listed:
            self.not_small[ALIKE] += 1
            return False, False, False
        largest = self._effort.largest
        if not self._evidence or size > largest:
            why = f"of more than {largest:,} logits" if self._evidence else UNKEPT
            self.not_small[why] += 1
            return True, False, False
        matters = importance(family)
        first = self._kept[family, stage, verdict] == 1
        kind = (0 if self._effort.first_only else matters, stage, verdict)
        most = 1 if verdict is Verdict.CRASHED else self._effort.small_of_a_kind
        small = first and self._small[kind] < most
        if not small or spent:
            self.not_small[SPENT if small else ALIKE] += 1
            small = False
        self._small[kind] += small
        if self._effort.first_only:
            return True, small, small
        # Of one that depends on earlier cases, those cases are the evidence.
        return True, first or not matters or verdict is Verdict.STATEFUL, small
