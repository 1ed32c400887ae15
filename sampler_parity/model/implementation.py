"""What can run a case, and how much of itself it shows."""

from typing import Literal, Protocol, runtime_checkable

import msgspec

from sampler_parity.model.case import Case
from sampler_parity.model.outcome import Outcome

View = Literal["trace", "probs", "tokens"]
Stream = Literal["torch", "own"]
Effect = Literal["input", "generator"]
Uniform = Literal["", "float32", "float64"]
Capabilities = Literal["asked", "all", "one"]

SAMPLERS = ("sample_logits", "simple_batch_sampler")

LONGEST_ROW = 1 << 21
"""Tokens of the longest row that an implementation takes if it does not say: 8 MB of logits, of
which a trace has several times as much."""


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an implementation is, and how much of itself it shows.

    Attributes:
        name: how reports call it.
        version: its own, in any form.
        view: ``trace`` where it gives every stage, ``probs`` where it gives the distribution that
            ``sample_logits`` draws from (``renormalized``), ``tokens`` for a black box.
        stream: ``torch`` where it is meant to draw torch's tokens for torch's seeds; ``own`` where
            it has another generator, whose tokens only have to be possible ones.
        effects: what it shows of what a call leaves behind.
        samplers: which it has, by the names of their pipelines; it is asked no case of another.
        uniform: the type of the number of [0, 1) that ``sample_logits`` draws a token with, where
            the implementation takes one that is given, :attr:`Case.uniform`; empty where it takes
            none.
        longest_row: tokens of the longest row that it takes; ``None`` for any. The gate does not
            compare longer ones, and says how many those were.
        capabilities: ``one`` where its answers do not depend on the capability that a case names:
            it is then compared at the first one of the run, and the cases of the others are not
            compared. ``all`` where it follows its process' capability, as torch does: it is not
            asked for more than the processor has. ``asked`` where it computes as the capability
            that a case names, on any processor.
    """

    name: str
    version: str = ""
    view: View = "trace"
    stream: Stream = "torch"
    effects: tuple[Effect, ...] = ("input", "generator")
    samplers: tuple[str, ...] = SAMPLERS
    uniform: Uniform = ""
    longest_row: int | None = LONGEST_ROW
    capabilities: Capabilities = "all"

    def too_long(self, case: Case) -> str:
        """Say why ``case`` has longer rows than this implementation takes; nothing if not."""
        length = case.logits.shape[-1]
        if self.longest_row is None or length <= self.longest_row:
            return ""
        return f"the rows are longer than the {self.longest_row:,} tokens that {self.name} takes"

    def stages(self, case: Case) -> tuple[str, ...]:
        """Name the stages that it shows of ``case``, in order."""
        stages = case.parameters.stages
        if self.view == "trace":
            return stages
        shown = {stages[-1]} | ({case.pipeline.final} if self.view == "probs" else set())
        return tuple(stage for stage in stages if stage in shown)


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
