"""Who finds that a test takes seconds must say of what it is; nothing else is left out."""

from pathlib import Path

import pytest

from parity_tests import conftest
from sampler_parity.cli import main
from sampler_parity.run import scheduler


@pytest.fixture
def collected(request: pytest.FixtureRequest) -> list[pytest.Item]:
    """Collect this very test once more, without its markers."""
    node = request.node
    return [pytest.Function.from_parent(node.parent, name=node.name, callobj=node.obj)]


def sorted_out(config: pytest.Config, items: list[pytest.Item]) -> set[str]:
    conftest.pytest_collection_modifyitems(config, items)
    return {mark.name for item in items for mark in item.own_markers}


def test_a_promise_is_slow(collected: list[pytest.Item], pytestconfig: pytest.Config) -> None:
    collected[0].add_marker("promise")
    assert "slow" in sorted_out(pytestconfig, collected)


def test_a_proof_need_not_be_slow(
    collected: list[pytest.Item], pytestconfig: pytest.Config
) -> None:
    collected[0].add_marker("proof")
    assert "slow" not in sorted_out(pytestconfig, collected)


@pytest.mark.parametrize("markers", [("slow",), ("promise", "proof"), ("slow", "promise", "proof")])
def test_what_is_slow_is_either(
    markers: tuple[str, ...], collected: list[pytest.Item], pytestconfig: pytest.Config
) -> None:
    for marker in markers:
        collected[0].add_marker(marker)
    with pytest.raises(pytest.UsageError, match="is slow: mark it `promise` or `proof`"):
        conftest.pytest_collection_modifyitems(pytestconfig, collected)


def test_a_quick_test_starts_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert scheduler.WORKER[0] == "-c"
    arguments = ["run", "--family", "flat", "--capability", "avx2", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["sampler-parity", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == conftest.CANNOT_JUDGE
    assert conftest.UNMARKED in capfd.readouterr().err
