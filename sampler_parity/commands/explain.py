"""One case, stage by stage, in words."""

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from sampler_parity.build.processor import (
    LEVEL,
    architecture_here,
    elsewhere,
    environment_at,
    reached,
)
from sampler_parity.commands.question import Question, found_case
from sampler_parity.implementations.reference import (
    capability_here,
    reference_here,
    require_reference,
)
from sampler_parity.judge import Comparison, compare
from sampler_parity.judge.around import Neighbour, neighbours
from sampler_parity.judge.causes import judge
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.pipeline import values_of
from sampler_parity.model.verdict import Divergence, Verdict
from sampler_parity.run.retrial import alike, stateful
from sampler_parity.sandbox.isolated import Isolated, options_of


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the candidate gave."""

    about: About
    outcome: Outcome
    alone: Outcome | None


def explain(question: Question, started: Isolated, out: Console) -> bool:
    """Run a case on both sides, print every stage, and say whether all of it is equal.

    ``started`` is the question's candidate, which may not have said yet what it is.

    A recorded case is compared with its recording. Any other one is compared with torch, in a
    process of its own where this one's torch is at another capability. Where other cases are asked
    before it, the case is asked alone as well: what it gives only after them is ``stateful``.

    Raises:
        CannotJudgeError: a case is unknown, torch cannot reach the capability here, the candidate
            declines the case, or its answer has not the form that the case asks for.
    """
    here = capability_here()
    case, recorded, kept = found_case(question, question.case, question.capability or here)
    capability = question.capability or kept or here
    if recorded is None and (owner := elsewhere(capability)):
        raise CannotJudgeError(
            f"{capability} is a level of torch on {owner}, and this processor is "
            f"{architecture_here()}: explain the case at a level of this one, or a recorded case"
        )
    if recorded is None:
        require_reference(question.implementation, question.reference)
    if recorded is None and here != capability:
        return _in_another_process(question, capability)
    asked = _ask(question, started, case, capability)
    if asked.outcome.declined:
        raise CannotJudgeError(
            f"{question.implementation} does not take {case.id}: {asked.outcome.declined}"
        )
    reference = reference_here().run(case, capability) if recorded is None else None

    def judged(candidate: Outcome) -> tuple[Outcome, Comparison, Divergence | None]:
        expected = recorded.outcome(candidate) if recorded is not None else reference
        if expected is None:
            raise RuntimeError("a case is recorded or compared with torch")
        comparison = compare(case, expected, candidate, asked.about)
        return expected, comparison, judge(case, expected, candidate, comparison, asked.about)

    expected, comparison, divergence = judged(asked.outcome)
    if divergence is not None and divergence.verdict is Verdict.UNFIT:
        raise CannotJudgeError(
            f"what {question.implementation} answers to {case.id} cannot be compared: "
            f"{divergence.candidate}"
        )
    if divergence is not None and asked.alone is not None:
        alone = judged(asked.alone)[2]
        if not alike(divergence, alone):
            divergence = stateful(divergence, alone, question.after)
    _print(question, case, capability, expected, comparison, out, recorded=recorded is not None)
    row = divergence.index[0] if divergence and len(divergence.index) > 1 else 0
    _print_around(case, neighbours(case, expected, asked.outcome, row), row, out)
    _conclude(divergence, out)
    return divergence is None


def _ask(question: Question, candidate: Isolated, case: Case, capability: str) -> _Asked:
    earlier = [found_case(question, what, capability)[0] for what in question.after]
    alone = candidate.run(case, capability) if earlier else None
    candidate.renew()
    for one in earlier:
        candidate.run(one, capability)
    return _Asked(candidate.about, candidate.run(case, capability), alone)


def _in_another_process(question: Question, capability: str) -> bool:
    environment = environment_at(capability)
    if reached(capability) != capability or os.environ.get(LEVEL) == environment[LEVEL]:
        raise CannotJudgeError(
            f"torch cannot reach capability {capability} here: "
            "explain the case at a lower one, or a recorded case"
        )
    command = [sys.executable, "-m", "sampler_parity", "explain", question.case]
    command += ["--capability", capability, "--implementation", question.implementation]
    command += ["--reference", question.reference] if question.reference else []
    command += ["--run", str(question.run)] if question.run else []
    command += [word for case in question.after for word in ("--after", case)]
    command += options_of(question.limits)
    everything = {**os.environ, **environment}
    status = subprocess.run(command, env=everything, check=False).returncode
    if status not in (0, 1):
        # It has said why, or a signal has ended it.
        sys.exit(2)
    return status == 0


def _print(
    question: Question,
    case: Case,
    capability: str,
    reference: Outcome,
    comparison: Comparison,
    out: Console,
    *,
    recorded: bool,
) -> None:
    words = ", ".join(f"{name} {value}" for name, value in case.describe().items())
    whose = "recorded torch" if recorded else reference_here().about.name
    sides = f"{whose} against {question.implementation}"
    earlier = f", asked after {', '.join(question.after)}" if question.after else ""
    out.print(f"{case.id} at {capability}, {sides}{earlier}", soft_wrap=True)
    out.print(words, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for name in ("stage", "elements", "differ", "reference"):
        table.add_column(name, overflow="fold")
    for stage in comparison.compared:
        found = comparison.differences.get(stage)
        elements, summary = _summary(stage, reference)
        table.add_row(
            stage,
            f"{elements:,}",
            f"{found.differing:,}" if found else "=",
            summary,
            style="red" if found else None,
        )
    out.print(table)


def _print_around(case: Case, tokens: tuple[Neighbour, ...], row: int, out: Console) -> None:
    if not tokens:
        return
    top_p = values_of(case.parameters).get("top_p") or 0
    rule = (
        f"; dropped where the sum before exceeds {np.float32(top_p)!s}" if float(top_p) > 0 else ""
    )
    out.print(f"\nrow {row} around its cutoff, by probability{rule}", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for name in ("rank", "token", "logit", "probability", "ulps", "sum before"):
        table.add_column(name, justify="right")
    table.add_column("reference")
    table.add_column("candidate")
    for found in tokens:
        kept = [_KEPT[side] for side in (found.reference, found.candidate)]
        table.add_row(
            f"{found.rank:,}",
            f"{found.token:,}",
            f"{np.float32(found.logit)!s}",
            f"{np.float32(found.prob)!s}",
            "" if found.ulps is None else f"{found.ulps:,}",
            f"{np.float32(found.before)!s}",
            *kept,
            style="red" if found.candidate not in {None, found.reference} else None,
        )
    out.print(table)
    out.print()


_KEPT = {True: "keeps", False: "drops", None: "not shown"}


def _conclude(divergence: Divergence | None, out: Console) -> None:
    if divergence is None:
        out.print("every stage, token and effect is equal, bit for bit")
        return
    distance = "" if divergence.ulps is None else f", {divergence.ulps:,} ulp apart"
    out.print(
        f"{divergence.verdict} at {divergence.stage}, first divergent stage {divergence.first}; "
        f"{divergence.differing:,} of {divergence.total:,} elements differ\n"
        f"  at index {list(divergence.index)}: reference {divergence.reference}, "
        f"candidate {divergence.candidate}{distance}",
        soft_wrap=True,
    )
    for cause in divergence.causes:
        out.print(f"  cause: {cause.stage}, {cause.verdict}: {cause.words}", soft_wrap=True)
    causes = {cause.stage for cause in divergence.causes}
    consequences = [stage for stage in divergence.also if stage not in causes]
    if consequences:
        out.print(f"  consequences: {', '.join(consequences)}", soft_wrap=True)


def _summary(stage: str, reference: Outcome) -> tuple[int, str]:
    if stage == "error":
        failure = reference.failure
        return 1, "none" if failure is None else f"{failure.kind}: {failure.message}"
    if stage == "generator":
        return 1, f"{len(reference.generator):,} bytes of state"
    if stage == "token":
        tokens = np.stack(reference.tokens, axis=-1)
        return tokens.size, f"first row {_head(tokens[0])}"
    values = reference.input if stage == "input" else reference.stages[stage]
    if values.dtype == np.bool_:
        return values.size, f"{int(values.sum()):,} kept"
    finite = values[np.isfinite(values)]
    if not finite.size:
        return values.size, "nothing finite"
    return values.size, f"from {finite.min():.6g} to {finite.max():.6g}"


def _head(values: npt.NDArray[Any], count: int = 8) -> str:
    words = ", ".join(str(value) for value in values[:count])
    return f"[{words}, ...]" if values.size > count else f"[{words}]"
