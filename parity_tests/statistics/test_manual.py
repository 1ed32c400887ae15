"""The Python listings of ``docs/statistics.md`` work as they stand."""

import re
from typing import Any

import pytest

from sampler_parity.build.installation import REPOSITORY
from sampler_parity.statistics import planning
from sampler_parity.statistics.planning import DrawCounts

PAGE = "docs/statistics.md"
MANUAL = (REPOSITORY / PAGE).read_text(encoding="utf-8")
LISTINGS = re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)
TINY = DrawCounts(8000, 20_000, 4000, 4000, 5000, 5000, 5000, 3, 2000, 4000)


@pytest.mark.slow
@pytest.mark.proof
def test_every_listing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With few draws, which is all that differs from a reader's run."""
    for profile in ("quick", "full"):
        monkeypatch.setitem(planning.SLOW, profile, TINY)
    assert LISTINGS
    assert MANUAL.count("```python") == len(LISTINGS)
    names: dict[str, Any] = {}
    for number, listing in enumerate(LISTINGS):
        exec(compile(listing, f"listing {number} of docs/statistics.md", "exec"), names)  # noqa: S102
    result = names["result"]
    assert result.status == "diverges"
    assert any("is outside the mask" in reason for reason in result.reasons)
    assert result.untried == ""
    assert result.uniforms.edges > 100


def test_what_the_manual_names_is_there() -> None:
    """Every file and folder."""
    for path in re.findall(r"`((?:sampler_parity|benchmarks)/[\w/]+(?:\.py)?)`", MANUAL):
        assert (REPOSITORY / path).exists(), path
