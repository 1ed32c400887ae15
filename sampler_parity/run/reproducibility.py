"""The reference's own reproducibility: torch beside torch at another capability or thread count.

One process has torch at one capability. The port gives every capability's bits, and stands for
torch at the others in a run that has shown it equal to torch at its own.
"""

from collections import Counter

from sampler_parity.implementations.registry import PORT
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.judge.bits import equal
from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome
from sampler_parity.run.run_file import Reproducibility, Shard

BESIDE = {
    "default": ("avx2", "neon"),
    "avx2": ("avx512", "neon"),
    "avx512": ("default", "neon"),
    "neon": ("sve256",),
    "sve256": ("avx512",),
}
"""The capabilities that each one is held against.

On x86, those are every pair of its own once, and each with ``neon``: ``sve256`` has avx2's bits.
"""

SHOWN = ("probs", "top_k_mask", "top_p_mask", "renormalized", "token")


class ReproducibilityCounter:
    """Counts, for one capability, how often the reference differs from itself."""

    def __init__(self, capability: str, *, verify: bool) -> None:
        """Let the port stand for the reference at other capabilities than ``capability``.

        ``verify`` is for runs that do not compare the port anyway: it is held against the
        reference here, and where it differs, nothing is told.
        """
        self._port = RustExt()
        self._capability = capability
        self._verify = verify
        self._differs = False
        self._cases: Counter[str] = Counter()
        self._differing: Counter[tuple[str, str]] = Counter()

    def add(self, case: Case, reference: Outcome) -> None:
        """Compare one case of ``sample_logits`` that the reference accepts."""
        if not case.pipeline.level_dependent or not reference.tokens:
            return
        here, threads = self._capability, case.threads
        if self._verify:
            self._differs |= _differing(reference, self._port.calls(case, here, threads, 1)) != []
        for other in BESIDE[here]:
            self._count(f"at {other}", reference, self._port.calls(case, other, threads, 1))
        if threads > 1 and case.logits.shape[0] == 1:
            self._count("with one thread", reference, self._port.calls(case, here, 1, 1))

    def _count(self, against: str, reference: Outcome, other: Outcome) -> None:
        self._cases[against] += 1
        for stage in _differing(reference, other):
            self._differing[against, stage] += 1

    def counts(self) -> tuple[Reproducibility, ...]:
        """Give the counts; none where the port does not equal torch."""
        if self._differs:
            return ()
        return tuple(
            Reproducibility(
                against=against,
                cases=cases,
                differing={stage: self._differing[against, stage] for stage in SHOWN},
            )
            for against, cases in self._cases.items()
        )


def _differing(reference: Outcome, other: Outcome) -> list[str]:
    found = [
        stage
        for stage in SHOWN[:-1]
        if stage not in other.stages or not equal(reference.stages[stage], other.stages[stage])
    ]
    if not other.tokens or not equal(reference.tokens[0], other.tokens[0]):
        found.append("token")
    return found


def sentences(shards: tuple[Shard, ...]) -> tuple[str, ...]:
    """Say how often torch differs from itself; nothing where the port differs from torch."""
    if any(shard.divergent for shard in shards if shard.implementation == PORT):
        return ()
    return tuple(_sentence(shard.capability, found) for shard in shards for found in shard.noise)


def _sentence(capability: str, found: Reproducibility) -> str:
    sides = f"at {capability} and {found.against}"
    if not found.against.startswith("at "):
        sides = f"at {capability} with two threads and {found.against}"
    counts = ", ".join(f"`{stage}` in {found.differing[stage]:,}" for stage in SHOWN)
    return f"Torch differs from torch {sides}, of {found.cases:,} cases: {counts}."
