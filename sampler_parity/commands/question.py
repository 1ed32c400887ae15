"""What `explain` is asked, and what can be begun before torch is imported."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampler_parity.build.processor import elsewhere, environment_at, reached
from sampler_parity.cases.case_file import KINDS, load_case
from sampler_parity.cases.plan import case_of
from sampler_parity.cases.recorded import Recorded, recorded_cases
from sampler_parity.cases.your_logits import is_yours
from sampler_parity.implementations.registry import PORT
from sampler_parity.model.case import CAPABILITIES, Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.pipelines.references import reference_of, require_named
from sampler_parity.run.run_file import read_run
from sampler_parity.run.your_cases import opened
from sampler_parity.sandbox.isolated import Isolated, Limits


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be explained.

    Attributes:
        case: a case's id, the file of one (``*.safetensors``), or ``recorded:ID``.
        after: cases that the candidate's process is asked before, in their order, likewise.
        capability: torch's dispatch level; ``None`` for the file's or this process' own.
        implementation: the candidate.
        limits: what it may use.
        reference: ``module:OBJECT`` of the pipeline that a file's case is for, where it is one's
            own; an id names it itself.
        run: the stored run that says where logits are that a case is made of.
    """

    case: str
    after: tuple[str, ...] = ()
    capability: str | None = None
    implementation: str = PORT
    limits: Limits = field(default_factory=Limits)
    reference: str = ""
    run: Path | None = None

    @property
    def kinds(self) -> Any:
        """The parameters that a file's case may have."""
        return reference_of(self.reference) if self.reference else KINDS


def found_case(question: Question, what: str, capability: str) -> tuple[Case, Recorded | None, str]:
    """Find a case by its id, file or recording; with its recording, and its file's capability."""
    if what.startswith("recorded:"):
        return *_recorded(what, capability), ""
    if what.endswith(".safetensors"):
        case, kept = load_case(Path(what), question.kinds)
        return case, None, kept
    if is_yours(what):
        return _yours(question, what), None, ""
    return case_of(what), None, ""


def _yours(question: Question, what: str) -> Case:
    if question.run is None:
        raise CannotJudgeError(f"case {what!r} is of somebody's own logits: name its run, --run")
    run = read_run(question.run)
    if run.logits is None:
        raise CannotJudgeError(f"the run in {question.run} was given no logits: {what!r} is none")
    require_named(run.reference, question.reference, f"the run in {question.run} was")
    return opened(run.logits, run.reference, run.seed).by_id(what)


def _recorded(case_id: str, capability: str) -> tuple[Case, Recorded]:
    for case, recorded in recorded_cases(capability):
        if case.id == case_id:
            return case, recorded
    raise CannotJudgeError(f"case {case_id!r} is not recorded: see fixtures/golden/cases.json")


def begin(question: Question) -> Isolated:
    """Start the question's candidate, and have torch run at the question's capability if it can.

    Both before torch is imported, which takes seconds: the candidate is ready after it.

    Raises:
        CannotJudgeError: the case or the capability is unknown, or the candidate cannot be started.
    """
    if question.capability not in {None, *CAPABILITIES}:
        known = ", ".join(CAPABILITIES)
        raise CannotJudgeError(f"capability {question.capability!r} is none of {known}")
    case, _, kept = found_case(question, question.case, question.capability or CAPABILITIES[0])
    capability = question.capability or kept
    able = capability and (reached(capability) == capability or elsewhere(capability))
    if able and "torch" not in sys.modules:
        os.environ.update(environment_at(capability))
    also = case.parameters.sampler
    return Isolated(question.implementation, question.limits, also=also, wait=False)
