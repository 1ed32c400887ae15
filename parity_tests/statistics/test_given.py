"""Constructed uniforms before a whole sampler: each planted walk is caught, no sound one is."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from parity_tests.statistics import walkers
from sampler_parity.implementations.plug_in import PlugIn
from sampler_parity.model.case import Case
from sampler_parity.model.implementation import Uniform
from sampler_parity.pipelines import SampleLogits
from sampler_parity.sandbox import wire
from sampler_parity.sandbox.isolated import Isolated, Limits
from sampler_parity.statistics import gate, planning
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.frequencies import frequencies
from sampler_parity.statistics.given import Taking, given, rows, taken_by, untried
from sampler_parity.statistics.planning import DrawCounts
from sampler_parity.statistics.result import StatisticsResult, Uniforms
from sampler_parity.statistics.sources import ImplementationSource, port, torch_reference
from sampler_parity.statistics.words import summary

TINY = DrawCounts(6000, 6000, 4000, 4000, 5000, 5000, 5000, 3, 2000, 4000)


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(planning.SLOW, "quick", TINY)
        yield


def put(candidate: PlugIn, *, planted: bool = False) -> Uniforms:
    return given(Taking(candidate, "default"), inclusive=planted)


def of_type(candidate: PlugIn, uniform: Uniform) -> PlugIn:
    return replace(candidate, about=msgspec.structs.replace(candidate.about, uniform=uniform))


@pytest.mark.parametrize("uniform", ["float32", "float64"])
@pytest.mark.parametrize("walk", [walkers.strict, walkers.descending, walkers.mirrored])
def test_a_sound_walk_in_any_order_has_no_misstep(walk: walkers.Walk, uniform: Uniform) -> None:
    found = put(of_type(walkers.walker(walk), uniform))
    assert found.missteps == ()
    assert found.edges == 4 * (4 + 64 + 1 + 4)


@pytest.mark.parametrize("uniform", ["float32", "float64"])
@pytest.mark.parametrize("walk", [walkers.strict, walkers.descending, walkers.inclusive])
def test_the_planted_mistake_is_caught_in_each(walk: walkers.Walk, uniform: Uniform) -> None:
    assert put(of_type(walkers.walker(walk), uniform), planted=True).missteps


def test_an_inclusive_walk_is_caught_and_each_kind_is_said_once() -> None:
    missteps = put(walkers.faulty).missteps
    first = missteps[0]
    assert first.startswith("uniform 0.0, 4 equal tokens among masked ones, the lower end of")
    assert "token 0 was drawn" in first, "which is masked"
    assert first.endswith("; the like at 3 other edges")
    assert len(missteps) == 4, "one for each row"


@pytest.mark.parametrize(
    ("walk", "words"),
    [
        (walkers.rounded, "one step below the upper end of token"),
        (walkers.to_the_last, "one step below the upper end of token"),
        (walkers.raises, "raised IndexError: off the end"),
        (lambda _shares, _u: 1, "token 1 was drawn for 4 of 4 equal shares"),
        (lambda shares, _u: len(shares) - 1, "token 7 was drawn, which is masked"),
    ],
)
def test_a_mistake_at_an_edge(walk: walkers.Walk, words: str) -> None:
    missteps = put(walkers.walker(walk)).missteps
    assert any(words in misstep for misstep in missteps), missteps
    assert len(missteps) <= 9


def test_every_row_leaves_a_power_of_two() -> None:
    for row in rows():
        shares = len(row.left)
        assert shares & (shares - 1) == 0
        assert row.left == sorted(set(row.left))
        assert 0 not in row.left
        assert len(row.logits) - 1 not in row.left
        probs = walkers.probabilities(row.logits, row.parameters)
        assert probs[row.left].tolist() == [1 / shares] * shares


def test_the_wire_carries_the_uniform() -> None:
    """Each bit of it, and only where one is given: a program that knows none sees no change."""
    plain = Case("a", "a", np.zeros((1, 2), np.float32), SampleLogits(), seed=3)
    for uniform in (None, 0.0, 5e-324, float(np.nextafter(1, 0)), 1 / 3):
        message = wire.ask_of(replace(plain, uniform=uniform), "default")
        line, payload = message.split(b"\n", maxsplit=1)
        assert (b"uniform" in line) == (uniform is not None)
        ask, tensors = wire.decode(line, payload, wire.Ask)
        assert wire.case_of(ask, tensors).uniform == uniform


@pytest.fixture
def no_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the draws: they are other tests' matter, and take seconds."""
    monkeypatch.setattr(gate, "_controls", lambda *_: [])


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.usefixtures("no_controls")
def test_a_run_tries_the_edges_of_a_candidate_that_takes_its_uniform() -> None:
    result = frequencies(
        "parity_tests.statistics.walkers:sound", "quick", 0, Limits(), lambda *_: None
    )
    assert result.status == "holds", result.reasons
    assert result.uniforms == Uniforms(edges=292, missteps=())
    assert result.untried == ""
    [control] = result.controls
    assert (control.name, control.test) == ("<= for < in the walk", "constructed uniforms")
    assert control.holds
    assert control.decision == "rejects"
    assert "  292 constructed uniforms: no kinds of misstep" in list(summary(result))


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.usefixtures("no_controls")
def test_inclusive_diverges_with_the_hook_and_says_what_was_not_tried_without() -> None:
    """Fifteen tests of frequencies pass the mistake: the edges alone show it."""

    def counted(candidate: PlugIn) -> StatisticsResult:
        source = ImplementationSource(candidate, "default")
        return gate.run_statistics(source, samplers=candidate.about.samplers)

    caught = counted(walkers.faulty)
    assert len(caught.tests) == 15
    assert caught.status == "diverges"
    assert {test.decision for test in caught.tests} <= {"passes", "tie_order"}
    assert caught.uniforms is not None
    assert caught.reasons == caught.uniforms.missteps
    assert any("misstep: uniform 0.0" in line for line in summary(caught))

    missed = counted(walkers.faulty_without_a_hook)
    assert missed.status == "holds"
    assert missed.uniforms is None
    assert "constructed uniforms were not tried on walks inclusive: it takes no uniform" in (
        missed.untried
    )
    assert any("no test of frequencies shows it" in line for line in summary(missed))


@pytest.mark.proof
@pytest.mark.parametrize("walk", ["strict", "inclusive"])
def test_a_program_takes_its_uniform(walk: str) -> None:
    command = f"command:{sys.executable} {Path(walkers.__file__)} {walk}"
    with Isolated(command, Limits()) as candidate:
        assert candidate.about.uniform == "float64"
        taking = taken_by(ImplementationSource(candidate, "default"))
        assert taking is not None
        found = given(taking)
        drawn = ImplementationSource(candidate, "default").draws(
            np.zeros(8, np.float32), SampleLogits(), 5, 100
        )
    assert len(set(drawn.tolist())) > 4, "without a uniform it draws with its own generator"
    assert bool(found.missteps) == (walk == "inclusive")


def test_who_takes_no_uniform_is_said() -> None:
    without = ImplementationSource(walkers.faulty_without_a_hook, "default")
    assert taken_by(without) is None
    assert "it takes no uniform" in untried(without)
    for torch_s in (port(), torch_reference()):
        assert taken_by(torch_s) is None
        assert "meant to draw torch's tokens from torch's seeds" in untried(torch_s)
    with pytest.raises(StatisticsError, match="takes no uniform"):
        put(walkers.faulty_without_a_hook)
    declines = replace(walkers.sound, accepts=lambda case: "no masks" if case.uniform else "")
    result_ = ImplementationSource(declines, "default")
    assert taken_by(result_) is not None
    case = Case("a", "a", np.zeros((1, 2), np.float32), SampleLogits(), 0, uniform=0.5)
    assert walkers.faulty_without_a_hook.run(case, "default").declined
