"""The extension as users do not get it: with planted faults, and with the specimens."""

from typing import Any

import pytest

from sampler_parity.build.instrumented import instrumented


@pytest.fixture(scope="session")
def extension() -> Any:
    return instrumented()
