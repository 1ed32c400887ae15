"""The statistical gate: what frequencies can tell, and what they would have caught."""

from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.gate import plan, run_statistics
from sampler_parity.statistics.result import StatisticsResult
from sampler_parity.statistics.sources import (
    ImplementationSource,
    PortSource,
    Source,
    port,
    torch_reference,
)

__all__ = [
    "ImplementationSource",
    "PortSource",
    "Source",
    "StatisticsError",
    "StatisticsResult",
    "plan",
    "port",
    "run_statistics",
    "torch_reference",
]
