"""Where cases come from: seeded families of synthetic logits, and recorded real ones."""

from sampler_parity.cases.families import FAMILIES, Family
from sampler_parity.cases.plan import CASE_COUNTS, CaseCounts, case_of, plan

__all__ = ["CASE_COUNTS", "FAMILIES", "CaseCounts", "Family", "case_of", "plan"]
