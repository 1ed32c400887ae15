"""What the workers of a run are told to do."""

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from sampler_parity.model.case import CAPABILITIES
from sampler_parity.run import gate
from sampler_parity.run.gate import orders_of
from sampler_parity.run.orders import (
    CompareCases,
    CountFrequencies,
    Order,
    PlantInPlain,
    PlantInPort,
    PlantInStages,
)
from sampler_parity.run.request import Request

KINDS = set(get_args(Order))
TWO = ("rust_ext", "command:x -y")


@pytest.mark.parametrize("request_", [Request(), Request(implementations=TWO)])
def test_a_whole_run_has_every_kind_of_order(request_: Request, tmp_path: Path) -> None:
    orders = orders_of(request_, tmp_path)
    assert {type(order) for order in orders} == KINDS - {PlantInStages}
    names = [order.name for order in orders]
    assert len(set(names)) == len(names), "the gate knows a worker by its order's name"
    for order in orders:
        assert msgspec.json.decode(msgspec.json.encode(order), type=Order) == order


def test_a_run_against_another_reference_plants_faults_in_its_stages(tmp_path: Path) -> None:
    request = Request(implementations=("command:x",), reference="transformers")
    orders = orders_of(request, tmp_path)
    assert {type(order) for order in orders} == {CompareCases, CountFrequencies, PlantInStages}
    for order in orders:
        assert msgspec.json.decode(msgspec.json.encode(order), type=Order) == order


@pytest.mark.parametrize(
    "request_", [Request(families=("flat",)), Request(capabilities=CAPABILITIES[:1])]
)
def test_a_narrowed_run_only_compares(request_: Request, tmp_path: Path) -> None:
    """It can never pass, so it plants nothing."""
    assert {type(order) for order in orders_of(request_, tmp_path)} == {CompareCases}


def test_without_sources_faults_are_planted_in_plain_samplers_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "has_sources", lambda: False)
    orders = orders_of(Request(), tmp_path)
    assert not [order for order in orders if isinstance(order, PlantInPort)]
    [plain] = [order for order in orders if isinstance(order, PlantInPlain)]
    assert not plain.specimens
