"""Two outcomes of one case, stage by stage."""

from sampler_parity.compare.outcomes import Comparison, compare

__all__ = ["Comparison", "compare"]
