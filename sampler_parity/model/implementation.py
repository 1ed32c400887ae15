"""What can run a case, and how much of itself it shows."""

from typing import Literal, Protocol, runtime_checkable

import msgspec

from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome

View = Literal["trace", "probs", "tokens"]
Stream = Literal["torch", "own"]
Effect = Literal["input", "generator"]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What an implementation is, and how much of itself it shows.

    Attributes:
        name: how reports call it.
        version: its own, in any form.
        view: ``trace`` where it gives every stage, ``probs`` where it gives the distribution that
            ``sample_logits`` draws from (``renormalized``), ``tokens`` for a black box.
        stream: ``torch`` where it is meant to draw torch's tokens for torch's seeds; ``own`` where
            it has another generator, whose tokens only have to be possible ones.
        effects: what it shows of what a call leaves behind.
        samplers: which of the two it has.
    """

    name: str
    version: str = ""
    view: View = "trace"
    stream: Stream = "torch"
    effects: tuple[Effect, ...] = ("input", "generator")
    samplers: tuple[str, ...] = ("sample_logits", "simple_batch_sampler")

    def stages(self, case: Case) -> tuple[str, ...]:
        """Name the stages that it shows of ``case``, in order."""
        stages = case.parameters.stages
        if self.view == "trace":
            return stages
        return tuple(s for s in stages if s == "token" or (self.view, s) == ("probs", FINAL))


FINAL = "renormalized"
"""The stage that a view of ``probs`` shows."""


@runtime_checkable
class Implementation(Protocol):
    """Anything that can run a case.

    ``run`` makes ``case.draws`` successive calls on a copy of the logits with one generator:
    the first one traced, the others not. An exception of the sampler is an outcome, not an
    exception of ``run``; a case that it does not take is an outcome that says why.
    """

    @property
    def about(self) -> About:
        """What it is."""

    def run(self, case: Case, capability: str) -> Outcome:
        """Run ``case`` as torch at ``capability`` would."""
