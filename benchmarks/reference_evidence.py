"""Measures what the judge promises of correct ports of the other references.

    python -m benchmarks.reference_evidence [--cases 100000] [--seed 1] [--reference NAME ...]

Of all references, or of those that are named, ``module:OBJECT`` of one's own among them: each is
computed in other arithmetic: one stage of it, or all stages at once, in f64 or by
a reciprocal. Each case of a family is judged as a trace, as a distribution and as tokens; none may
be called worse than ``tie_order``. A case counts once for each such port.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

from sampler_parity.cases.families import FAMILIES
from sampler_parity.cases.plan import OF, case_of
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import About, View
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.pipeline import Parameters, computed_by, values_of
from sampler_parity.model.verdict import HARMLESS
from sampler_parity.pipelines import PIPELINES
from sampler_parity.pipelines.references import REFERENCES, reference_of

OTHERS = tuple(name for name in REFERENCES if name not in PIPELINES)
"""Every reference but the port's two."""

VIEWS: tuple[View, ...] = ("trace", "probs", "tokens")
LONGEST = 10_000
"""Tokens of the longest row."""

LEFT_OUT = {"vast-rows", "long-streams", "odd-logits"}
"""Families whose rows are too long for so many ports, or are refused by the references."""
SHOWN = 20


def ports(kind: type[Parameters]) -> Iterator[tuple[str, type[Parameters]]]:
    """Give the reference with one stage in other arithmetic, and with all of them."""
    together = kind.pipeline
    for stage in kind.pipeline.stages:
        harmless = [v for v in stage.variations if v.verdict in HARMLESS]
        for variation in harmless:
            one = kind.pipeline.replace(stage.name, reference=variation.reference)
            yield f"{stage.name} {variation.words}", computed_by(kind, one)
        if harmless:
            together = together.replace(stage.name, reference=harmless[-1].reference)
    yield "all stages", computed_by(kind, together)


class Evidence:
    """What was judged.

    Attributes:
        done: how many cases.
        wrong: how many verdicts call a correct port wrong.
        verdicts: how many of each.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.done = self.wrong = 0
        self.verdicts: Counter[str] = Counter()

    def add(self, case: Case, expected: Outcome, words: str, outcome: Outcome) -> None:
        """Judge one port's outcome in every view."""
        self.done += 1
        if outcome.failure is not None:
            # The reciprocal of a temperature may be no number of f32.
            self.verdicts["error"] += 1
            return
        for view in VIEWS:
            about = About(name="port", samplers=(case.parameters.sampler,), view=view)
            comparison = compare(case, expected, outcome, about)
            found = judge(case, expected, outcome, comparison, about)
            self.verdicts[found.verdict.value if found else "exact"] += 1
            if found is not None and found.verdict not in HARMLESS:
                self.wrong += 1
                if self.wrong <= SHOWN:
                    print(case.id, words, view, found.stage, found.verdict, found.causes[0].words)

    @property
    def words(self) -> str:
        """Say it."""
        return f"{self.done:,} cases, {self.wrong:,} false alarms, {dict(self.verdicts)}"


def cases(names: Sequence[str], seed: int) -> Iterator[Case]:
    """Give cases of every reference, family by family, without end."""
    for index in count():
        for family in FAMILIES:
            for name in names if family not in LEFT_OUT else ():
                case = replace(case_of(f"{name}{OF}{family}-{index}@{seed}"), advance=0)
                if case.logits.shape[-1] <= LONGEST:
                    yield case


def main() -> int:
    """Judge ports until so many cases are done; give 1 where one was called wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reference", action="append", help="one of these, or module:OBJECT")
    arguments = parser.parse_args()
    names = arguments.reference or list(OTHERS)
    here, runner, evidence = capability_here(), PythonRef(), Evidence()
    kinds = [reference_of(name) for name in names]
    candidates = {kind.sampler: list(ports(kind)) for kind in kinds}
    for number, case in enumerate(cases(names, arguments.seed)):
        if evidence.done >= arguments.cases:
            break
        expected = runner.run(case, here)
        if expected.failure is not None:
            continue
        for words, kind in candidates[case.parameters.sampler]:
            asked = replace(case, parameters=kind(**values_of(case.parameters)))
            evidence.add(case, expected, words, runner.run(asked, here))
        if number % 500 == 0:
            print(evidence.words, flush=True)
    print(evidence.words)
    return 1 if evidence.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
