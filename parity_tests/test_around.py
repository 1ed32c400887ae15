"""What ``explain`` shows around a cutoff is what torch decided by."""

from dataclasses import replace

import numpy as np
import torch

from sampler_parity.cases.plan import case_of
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.judge.around import WIDTH, neighbours
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines import SampleLogits, SimpleBatch

HERE = capability_here()


def test_sums_and_decisions_are_torch_s() -> None:
    seen = 0
    for family in ("gaussian", "bf16", "top-p-tie", "crossing", "boundary"):
        for index in range(40):
            case = case_of(f"{family}-{index}@2")
            if not isinstance(case.parameters, SampleLogits) or not case.parameters.top_p > 0:
                continue
            outcome = PythonRef().run(case, HERE)
            probs = torch.from_numpy(outcome.stages["probs"])
            masked = probs.masked_fill(~torch.from_numpy(outcome.stages["top_k_mask"]), 0)
            for row in range(len(case.logits)):
                descending = torch.sort(masked[row], descending=True)[0]
                sums = [0.0, *torch.cumsum(descending, dim=-1).tolist()]
                for token in neighbours(case, outcome, outcome, row):
                    seen += 1
                    assert token.before == sums[token.rank - 1]
                    assert token.prob == float(probs[row, token.token])
                    assert token.reference == token.candidate
                    assert token.ulps == 0
                    ranked = bool(outcome.stages["top_k_mask"][row, token.token])
                    below = token.before <= float(np.float32(case.parameters.top_p))
                    assert token.reference == (ranked and (below or token.rank == 1))
    assert seen > 1000


def tie(kept: list[int]) -> tuple[Case, Outcome, Outcome]:
    logits = np.array([[-3.0, 0.0, -3.0, -9.0, -9.0, -9.0, -9.0]], np.float32)
    case = Case("tie", "tie", logits, SampleLogits(1.0, 0.95, 0), seed=0)
    expected = PythonRef().run(case, HERE)
    mask = np.isin(np.arange(7), kept)[None]
    return case, expected, replace(expected, stages={**expected.stages, "top_p_mask": mask})


def test_where_the_sides_disagree_is_shown() -> None:
    case, expected, candidate = tie([1, 2, 6])
    shown = neighbours(case, expected, candidate, 0)
    disagreeing = [token.token for token in shown if token.reference != token.candidate]
    assert disagreeing == [0, 2, 6]
    assert [token.rank for token in shown] == sorted(token.rank for token in shown)
    assert len(shown) <= 3 * WIDTH


def test_what_is_not_shown_is_not_guessed() -> None:
    case, expected, _ = tie([1])
    for stages in ({}, {"probs": np.zeros(3, np.float32), "top_k_mask": np.ones(2, bool)}):
        for token in neighbours(case, expected, Outcome(stages=stages), 0):
            assert token.candidate is None
            assert token.ulps is None
    final = {"renormalized": expected.stages["renormalized"]}
    kept = [token.candidate for token in neighbours(case, expected, Outcome(stages=final), 0)]
    assert True in kept
    assert False in kept


def test_there_is_no_cutoff_in_the_simple_sampler() -> None:
    case = replace(case_of("gaussian-0@2"), parameters=SimpleBatch())
    outcome = RustExt().run(case, HERE)
    assert neighbours(case, outcome, outcome, 0) == ()
