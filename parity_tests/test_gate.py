"""The promise: every case, every stage, every capability, not one bit."""

from itertools import chain
from pathlib import Path

import pytest

from sampler_parity.build.processor import architecture_here, levels_here
from sampler_parity.cases.families import FAMILIES
from sampler_parity.model.case import (
    CAPABILITIES,
    EFFECTS,
    LEVELS,
)
from sampler_parity.pipelines import PIPELINES
from sampler_parity.run.run_file import Run, Shard, read_run, write_run


def live(run: Run, capability: str) -> Shard:
    [shard] = [s for s in run.shards if s.capability == capability and s.source == "torch"]
    return shard


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_no_bit_differs(gate_run: Run, capability: str) -> None:
    divergences = [
        (shard.source, found)
        for shard in gate_run.shards
        if shard.capability == capability
        for found in shard.divergences[:5]
    ]
    assert divergences == []
    assert all(shard.divergent == 0 for shard in gate_run.shards)


@pytest.mark.parametrize("capability", levels_here())
def test_everything_planned_was_compared(gate_run: Run, capability: str) -> None:
    shard = live(gate_run, capability)
    assert shard.planned == shard.compared + shard.not_compared
    assert shard.planned >= 20_000
    if not shard.not_compared:
        stages = {*chain(*(p.names for p in PIPELINES.values())), *EFFECTS, "error"}
        assert {cell.family for cell in shard.cells} == set(FAMILIES)
        assert {cell.stage for cell in shard.cells if cell.compared} == stages
        assert set(shard.threads) == {"1", "2"}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_recorded_traces_were_compared(gate_run: Run, capability: str) -> None:
    [shard] = [s for s in gate_run.shards if s.capability == capability and s.source == "recorded"]
    assert shard.planned == shard.compared > 90
    assert set(shard.threads) == {"1", "2", "4"}


def test_what_another_architecture_has_is_said_once(gate_run: Run) -> None:
    """Its recorded traces are compared, and no case is planned beside them."""
    for owner, levels in LEVELS.items():
        shards = [shard for shard in gate_run.shards if shard.capability in levels]
        said = [words for words in gate_run.lacking if f"torch has that on {owner}" in words]
        here = owner == architecture_here()
        assert {shard.source for shard in shards} == {"recorded", *(["torch"] if here else [])}
        assert len(said) == (0 if here else 1)
        assert all(level in words for words in said for level in levels)


def test_the_gate_holds(gate_run: Run) -> None:
    assert (gate_run.status, gate_run.reasons) == ("holds", ())


def test_the_run_survives_storing(gate_run: Run, tmp_path: Path) -> None:
    write_run(tmp_path, gate_run)
    assert read_run(tmp_path) == gate_run
