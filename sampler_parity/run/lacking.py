"""What a run does without for want of a package or a processor, and what it cannot judge then."""

from collections.abc import Iterator

from sampler_parity.build.installation import how_to_install, is_installed
from sampler_parity.model.case import LEVELS
from sampler_parity.model.verdict import Verdict
from sampler_parity.run.gathering import Found
from sampler_parity.run.request import Request

STATISTICS = how_to_install("statistics")
TORCH = how_to_install("torch")


def counts_frequencies() -> bool:
    """Whether frequencies can be counted here: the tests of them are scipy's."""
    return is_installed("scipy")


def lacking(request: Request, found: Found, architecture: str) -> tuple[str, ...]:
    """Say what was left out on a processor of an architecture, a sentence each."""
    return (*_elsewhere(request, architecture), *_lacking(request, found))


def _elsewhere(request: Request, architecture: str) -> Iterator[str]:
    for owner, levels in LEVELS.items():
        asked = [level for level in request.capabilities if level in levels]
        if owner == architecture or not asked:
            continue
        yield (
            f"At {', '.join(asked)}, no case is planned for live torch: torch has that on {owner}, "
            f"and this processor is {architecture}. What was recorded of it is compared with "
            "candidates that compute the bits of any capability."
        )


def _lacking(request: Request, found: Found) -> Iterator[str]:
    if request.whole and not found.statistics and not counts_frequencies():
        yield (
            "Frequencies were not counted, and no fault was planted in an engine: scipy is not "
            f"installed ({STATISTICS})."
        )
    port = [shard for shard in found.shards if shard.source == "port"]
    if any(shard.verdicts.get(Verdict.SEMANTIC) for shard in port):
        yield f"Known functions were not held against it: they are computed by torch ({TORCH})."


def unjudged(found: Found) -> Iterator[str]:
    """Name the candidates of which frequencies alone would tell much: they have their own draws."""
    own = dict.fromkeys(s.implementation for s in found.shards if s.about.stream == "own")
    for name in own:
        yield (
            f"{name} draws from a generator of its own, so that its frequencies must be counted: "
            f"scipy is not installed ({STATISTICS})"
        )
