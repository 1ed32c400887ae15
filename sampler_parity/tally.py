"""Counts what was compared, and keeps the divergences with their evidence."""

import shlex
from collections import Counter
from pathlib import Path
from typing import Literal

from sampler_parity.case import Case
from sampler_parity.case_file import save_case
from sampler_parity.compare import Comparison, compare
from sampler_parity.compare.causes import judge
from sampler_parity.outcome import Outcome
from sampler_parity.run_file import EVIDENCE, Cell, FoundDivergence, Noise, Shard

KEPT = 200
"""Divergences of a shard that are kept one by one; the others are counted."""
FILES = 50
"""Divergences of a shard whose stages are kept."""


class Tally:
    """One implementation at one capability."""

    def __init__(self, implementation: str, name: str, capability: str, folder: Path) -> None:
        """Count for ``implementation`` (what a command line calls it; reports say ``name``)."""
        self._implementation = implementation
        self._name = name
        self._capability = capability
        self._folder = folder
        self.compared = 0
        self.divergent = 0
        self._stages = self._elements = self._tokens = 0
        self._threads: Counter[str] = Counter()
        self._verdicts: Counter[str] = Counter()
        self._cells: Counter[tuple[str, str, str]] = Counter()
        self._divergences: list[FoundDivergence] = []

    def add(self, case: Case, reference: Outcome, candidate: Outcome) -> Comparison:
        """Compare one case."""
        comparison = compare(case, reference, candidate)
        self.compared += 1
        self._threads[str(case.threads)] += 1
        self._stages += len(comparison.compared)
        self._elements += comparison.elements
        self._tokens += sum(tokens.size for tokens in reference.tokens)
        for stage in comparison.compared:
            self._cells[case.family, stage, "compared"] += 1
        for stage in comparison.differences:
            self._cells[case.family, stage, "differing"] += 1
        divergence = judge(case, reference, candidate, comparison)
        if divergence is not None:
            self.divergent += 1
            self._verdicts[divergence.verdict.value] += 1
            self._cells[case.family, divergence.first, "first"] += 1
            if len(self._divergences) < KEPT:
                self._divergences.append(
                    FoundDivergence(
                        case=case.id,
                        family=case.family,
                        parameters=case.describe(),
                        divergence=divergence,
                        evidence=self._keep(case, reference, candidate),
                        replay=self._replay(case),
                    )
                )
        return comparison

    def shard(
        self,
        planned: int,
        source: Literal["torch", "recorded"],
        waiver: str = "",
        noise: tuple[Noise, ...] = (),
    ) -> Shard:
        """Give the counts."""
        names = dict.fromkeys((family, stage) for family, stage, _ in self._cells)
        return Shard(
            implementation=self._name,
            capability=self._capability,
            source=source,
            planned=planned,
            compared=self.compared,
            waived=planned - self.compared if waiver else 0,
            waiver=waiver,
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
            divergences=tuple(self._divergences),
            noise=noise,
            verdicts=dict(self._verdicts.most_common()),
        )

    def _replay(self, case: Case) -> str:
        command = ["sampler-parity", "explain", case.id, "--capability", self._capability]
        if self._implementation != "rust_ext":
            command += ["--implementation", self._implementation]
        return shlex.join(command)

    def _keep(self, case: Case, reference: Outcome, candidate: Outcome) -> str | None:
        if len(self._divergences) >= FILES:
            return None
        safe = case.id.replace("@", "-").replace(":", "-").replace("/", "-")
        path = f"{EVIDENCE}/{self._capability}-{len(self._divergences):03}-{safe}.safetensors"
        save_case(self._folder / path, case, self._capability, reference, candidate)
        return path
