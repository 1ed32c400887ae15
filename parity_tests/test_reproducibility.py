"""How often torch differs from itself stands in every run, and is what torch itself shows."""

from dataclasses import replace

import pytest
import torch

from sampler_parity.cases.plan import case_of
from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.judge.bits import difference
from sampler_parity.model.case import CAPABILITIES, LEVELS
from sampler_parity.run.reproducibility import BESIDE, SHOWN, ReproducibilityCounter
from sampler_parity.run.run_file import Run

HERE = capability_here()


def test_every_pair_of_capabilities_is_compared_once() -> None:
    """On x86, where the others of Arm have the bits of one of these; each with Arm's lowest too."""
    pairs = [frozenset({one, other}) for one, others in BESIDE.items() for other in others]
    assert set(BESIDE) == set(CAPABILITIES)
    assert len(set(pairs)) == len(pairs)
    levels = (*LEVELS["x86"], "neon")
    wanted = {frozenset({one, other}) for one in levels for other in levels if one != other}
    assert wanted <= set(pairs)


def test_a_run_tells_it(gate_run: Run) -> None:
    live = [
        shard for shard in gate_run.shards if shard.source == "torch" and not shard.not_compared
    ]
    for shard in live:
        by_side = {found.against: found for found in shard.noise}
        others = {f"at {other}" for other in BESIDE[shard.capability]}
        assert set(by_side) == {*others, "with one thread"}
        for found in by_side.values():
            assert found.cases > 1000
            assert set(found.differing) == set(SHOWN)
    assert len(gate_run.findings) == sum(1 + len(BESIDE[shard.capability]) for shard in live)
    assert all("Torch differs from torch" in sentence for sentence in gate_run.findings)
    bits = sum(found.differing["probs"] for shard in live for found in shard.noise)
    assert bits > 1000, "capabilities do differ in bits"


@pytest.mark.promise
def test_what_one_thread_changes_is_what_torch_itself_shows() -> None:
    """The port stands for torch with one thread; here torch with one thread says the same."""
    itself, expected, threads = (
        ReproducibilityCounter(HERE, verify=True),
        0,
        torch.get_num_threads(),
    )
    cases = [case_of(f"long-rows-{index}@4") for index in range(1, 40, 2)]
    for case in cases:
        reference = PythonRef().run(case, HERE)
        itself.add(case, reference)
        if "renormalized" in reference.stages and case.logits.shape[0] == 1:
            alone = PythonRef().run(replace(case, threads=1), HERE).stages["renormalized"]
            expected += difference(reference.stages["renormalized"], alone) is not None
    torch.set_num_threads(threads)
    [found] = [one for one in itself.counts() if one.against == "with one thread"]
    assert found.differing["renormalized"] == expected > 0
