"""What the gate made of what was planted, and of what must not be called wrong."""

import msgspec

from sampler_parity.model.verdict import Verdict


class Planted(msgspec.Struct, frozen=True, kw_only=True):
    """A planted fault, and what the gate made of it.

    Attributes:
        where: ``shipped`` for what users run, ``port`` for the stages that define what it must
            give, or ``plain`` for a plain sampler; ``specimen`` for one whose fault was not planted
            but found.
        name: the mistake in words.
        stage: where the gate must find it.
        verdict: of which kind.
        cases: how many cases were compared with the fault in place.
        caught: in how many of them the gate found it, as declared.
        others: what else it found: stage and verdict, with the number of cases.
        killed: whether that is the declared stage and verdict, and nothing that contradicts them.
        path: the way that a call takes to come by it.
        file: the file of the port's crate that it was planted in, for ``shipped``.
        missed: how probable it is, at most, that no case shows it; ``None`` where it is not known.
    """

    where: str
    name: str
    stage: str
    verdict: Verdict
    cases: int
    caught: int
    others: dict[str, int]
    killed: bool
    path: str = ""
    file: str = ""
    missed: float | None = None

    @property
    def words(self) -> str:
        """Say what the fault had to be, in how many cases it was, and what else was found."""
        place = f"{self.file}: {self.path}" if self.file else f"the {self.where}"
        others = "".join(f"; {count:,} {kind}" for kind, count in self.others.items())
        return (
            f"{self.name} (in {place}) had to be {self.verdict} at {self.stage}, and was so in "
            f"{self.caught:,} of {self.cases:,} cases{others}"
        )


class Correct(msgspec.Struct, frozen=True, kw_only=True):
    """A sampler without a mistake whose bits are not the reference's.

    Attributes:
        name: what it computes in.
        cases: how many cases were compared.
        verdicts: how many of them have each verdict.
        passed: whether it differs, and only by rounding and the order of ties.
    """

    name: str
    cases: int
    verdicts: dict[str, int]
    passed: bool
