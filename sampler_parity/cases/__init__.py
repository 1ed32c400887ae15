"""Where cases come from: seeded families of synthetic logits, and recorded real ones."""

from sampler_parity.cases.families import FAMILIES, Family
from sampler_parity.cases.plan import PROFILES, Profile, case_of, plan

__all__ = ["FAMILIES", "PROFILES", "Family", "Profile", "case_of", "plan"]
