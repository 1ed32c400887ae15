"""Frequencies against any reference: a correct sampler passes, a wrong one is rejected."""

import msgspec
import numpy as np
import pytest

from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.model.case import Case
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.implementation import About
from sampler_parity.model.outcome import Outcome
from sampler_parity.pipelines.references import REFERENCES
from sampler_parity.pipelines.transformers import Transformers
from sampler_parity.statistics import planning
from sampler_parity.statistics.budget import FAMILY_WISE, Budget
from sampler_parity.statistics.law import Law, law_of
from sampler_parity.statistics.of_reference import (
    FEWEST,
    LawSource,
    planted,
    reference_statistics,
    subjects_of,
)
from sampler_parity.statistics.planning import DrawCounts
from sampler_parity.statistics.sources import HISTORY, ImplementationSource, Logits

HERE = capability_here()
SHELF = [name for name in REFERENCES if name not in {"sample_logits", "simple_batch_sampler"}]
FEW = DrawCounts(
    preset=8000, versus=6000, case=8000, costly=2000, pairs=8000, seeds=8000, rows=8000, cases=1,
    case_draws=1, live=6000,
)  # fmt: skip


class _Hot:
    """Draws by the reference's law at another temperature; declines what it was not made for."""

    about = About(name="hot", samplers=("transformers",), stream="own")

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._laws: dict[tuple[bytes, Transformers], Law] = {}

    def run(self, case: Case, capability: str) -> Outcome:
        del capability
        given, rng = case.parameters, np.random.default_rng(case.seed)
        assert isinstance(given, Transformers)
        assert case.history is not None
        assert (case.history == HISTORY).all()
        if given.typical_p < 1:
            return Outcome(declined="typical")
        laws = [self._law(row, given) for row in case.logits]
        return Outcome(
            tokens=[
                np.array([rng.choice(len(law.probabilities), p=law.probabilities) for law in laws])
                for _ in range(case.draws)
            ]
        )

    def _law(self, row: Logits, given: Transformers) -> Law:
        key = row.tobytes(), given
        if key not in self._laws:
            hot = msgspec.structs.replace(given, temperature=given.temperature * self._factor)
            self._laws[key] = law_of(row, hot, HISTORY)
        return self._laws[key]


@pytest.mark.proof
@pytest.mark.parametrize("name", SHELF)
def test_what_moves_the_law_is_planted(name: str) -> None:
    """With power: the mistakes of every stage among it, and each row has a law."""
    kind = REFERENCES[name]
    chosen = subjects_of(kind)
    assert all(len(each.law.drawable) >= FEWEST for each in chosen)
    controls = planted(chosen[0], kind, Budget(FAMILY_WISE, 8).rule)
    assert all(control.power > 1 - 1e-6 for control in controls)
    assert sum(control.name.startswith("at ") for control in controls) > 1
    assert any(control.name.startswith("a generator that repeats") for control in controls)


@pytest.mark.proof
@pytest.mark.parametrize(("factor", "status"), [(1.0, "holds"), (1.6, "diverges")])
def test_a_temperature(monkeypatch: pytest.MonkeyPatch, factor: float, status: str) -> None:
    monkeypatch.setitem(planning.SLOW, "quick", FEW)
    told: list[int] = []
    source = ImplementationSource(_Hot(factor), HERE)
    found = reference_statistics(
        source, Transformers, "quick", 3, lambda _name, done, _total: told.append(done)
    )
    assert found.status == status
    assert [control.name for control in found.controls if not control.holds] == []
    assert told == sorted(told)
    assert found.reference.startswith("The exact law follows from the reference's own stages")
    if status == "diverges":
        assert sum(test.decision == "rejects" for test in found.tests) > 2


def test_parameters_that_are_declined_are_not_drawn_with() -> None:
    source = ImplementationSource(_Hot(1.0), HERE, history=HISTORY)
    for one in subjects_of(Transformers, source.declines):
        assert isinstance(one.parameters, Transformers)
        assert one.parameters.typical_p == 1


def test_a_candidate_that_declines_everything_is_told() -> None:
    class Shy(_Hot):
        def run(self, case: Case, capability: str) -> Outcome:
            del case, capability
            return Outcome(declined="no")

    with pytest.raises(CannotJudgeError, match="of hot against transformers could not be planned"):
        reference_statistics(
            ImplementationSource(Shy(1.0), HERE), Transformers, "quick", 0, lambda *_: None
        )


def test_a_law_is_drawn_from_as_it_is() -> None:
    one = subjects_of(Transformers)[0]
    source = LawSource("law", one.law)
    tokens = source.draws(one.logits, one.parameters, 5, 200_000)
    found = np.bincount(tokens, minlength=len(one.logits)) / len(tokens)
    # Five standard deviations of a share of 200,000 draws.
    assert np.abs(found - one.law.probabilities).max() < 5 * np.sqrt(0.25 / len(tokens))
    assert one.law.possible[tokens].all()
    again = source.batches(np.stack([one.logits] * 3), one.parameters, 5, 10)
    assert again.reshape(-1).tolist() == tokens[:30].tolist()
