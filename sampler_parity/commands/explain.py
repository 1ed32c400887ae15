"""One case, stage by stage, in words."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from sampler_parity.cases.case_file import load_case
from sampler_parity.cases.plan import case_of
from sampler_parity.cases.recorded import Recorded, recorded_cases
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.judge import Comparison, compare
from sampler_parity.judge.around import Neighbour, neighbours
from sampler_parity.judge.causes import judge
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.model.verdict import Divergence
from sampler_parity.pipelines import SampleLogits
from sampler_parity.sandbox.isolated import Isolated


def explain(what: str, capability: str | None, implementation: str, out: Console) -> bool:
    """Run a case on both sides, print every stage, and say whether all of it is equal.

    ``what`` is a case's id, the file of one (``*.safetensors``, whose own capability is the
    default), or ``recorded:ID``, which is compared with its recording. Any other one is compared
    with torch, in a process of its own where this one's torch is at another capability.

    Raises:
        CannotJudgeError: the case is unknown, or torch cannot reach the capability here.
    """
    here = capability_here()
    if what.startswith("recorded:"):
        capability = capability or here
        case, recorded = _recorded(what, capability)
        about, candidate = _run(case, capability, implementation)
        reference = recorded.outcome(candidate)
    else:
        if what.endswith(".safetensors"):
            case, kept = load_case(Path(what))
            capability = capability or kept
        else:
            case, capability = case_of(what), capability or here
        if here != capability:
            return _in_another_process(what, capability, implementation)
        about, candidate = _run(case, capability, implementation)
        reference = PythonRef().run(case, capability)
    if candidate.declined:
        raise CannotJudgeError(f"{implementation} does not take {case.id}: {candidate.declined}")
    comparison = compare(case, reference, candidate, about)
    divergence = judge(case, reference, candidate, comparison, about)
    _print(case, capability, implementation, reference, comparison, out)
    row = divergence.index[0] if divergence and len(divergence.index) > 1 else 0
    _print_around(case, neighbours(case, reference, candidate, row), row, out)
    _conclude(divergence, out)
    return divergence is None


def _run(case: Case, capability: str, implementation: str) -> tuple[About, Outcome]:
    with Isolated(implementation) as candidate:
        return candidate.about, candidate.run(case, capability)


def _recorded(case_id: str, capability: str) -> tuple[Case, Recorded]:
    for case, recorded in recorded_cases(capability):
        if case.id == case_id:
            return case, recorded
    raise CannotJudgeError(f"case {case_id!r} is not recorded: see fixtures/golden/cases.json")


_FORCED = "SAMPLER_PARITY_EXPLAINING"


def _in_another_process(what: str, capability: str, implementation: str) -> bool:
    if os.environ.get(_FORCED) == capability:
        raise CannotJudgeError(
            f"torch cannot reach capability {capability} on this processor: "
            "explain the case at a lower one, or a recorded case"
        )
    command = [sys.executable, "-m", "sampler_parity.cli", "explain", what]
    command += ["--capability", capability, "--implementation", implementation]
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability, _FORCED: capability}
    status = subprocess.run(command, env=environment, check=False).returncode
    if status not in (0, 1):
        sys.exit(status)
    return status == 0


def _print(
    case: Case,
    capability: str,
    implementation: str,
    reference: Outcome,
    comparison: Comparison,
    out: Console,
) -> None:
    words = ", ".join(f"{name} {value}" for name, value in case.describe().items())
    out.print(f"{case.id} at {capability}, python_ref against {implementation}", soft_wrap=True)
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
    if not tokens or not isinstance(case.parameters, SampleLogits):
        return
    top_p = case.parameters.top_p
    rule = f"; dropped where the sum before exceeds {np.float32(top_p)!s}" if top_p > 0 else ""
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
