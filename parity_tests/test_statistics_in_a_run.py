"""Frequencies are part of every whole run, and say what they would have caught."""

from sampler_parity.run.run_file import Run


def test_the_port_s_frequencies_are_the_reference_s(gate_run: Run) -> None:
    [counted] = gate_run.statistics
    assert (counted.candidate, counted.status) == ("rust_ext", "holds")
    assert counted.draws > 1_000_000
    assert {test.decision for test in counted.tests} == {"passes"}
    assert all(control.holds for control in counted.controls)


def test_they_would_have_caught_a_temperature_off_by_a_percent(gate_run: Run) -> None:
    [counted] = gate_run.statistics
    smallest = {
        test.planned.name: test.planned.smallest_temperature
        for test in counted.tests
        if test.planned.smallest_temperature is not None
    }
    for preset in ("global", "semantic"):
        caught = [error for name, error in smallest.items() if f"{preset} preset" in name]
        assert min(caught) <= 0.01
