"""Two outcomes of one case, stage by stage."""

from sampler_parity.judge.outcomes import Comparison, compare

__all__ = ["Comparison", "compare"]
