"""A marginal p-value is followed by one look at fresh draws, decided before the first draw.

A test has the level a. With n draws it rejects at once if p1 <= a / 2. If p1 is above that and at
most m, the margin, 4n fresh draws are made with fresh seeds, and it rejects if p2 <= a / (2 m).
Otherwise it passes; there is no third look.

The second look is taken with probability at most m where nothing is wrong, and it is independent of
the first, so the chance of rejecting falsely is at most

    a / 2  +  m * a / (2 m)  =  a.

What makes it worth while: an honest sampler is seldom looked at twice, and for a faulty one
p1 <= m is enough to be looked at with a four times better glass, at a much wider level.

The two looks make one p-value, min(2 p1, 2 m p2) where there was a second and 2 p1 where there was
none; it is at most x with probability at most x for every x, so that Holm's procedure takes it.
"""

from dataclasses import dataclass

from sampler_parity.statistics.errors import StatisticsError

MARGIN = 1e-3
GROWTH = 4


@dataclass(frozen=True, slots=True)
class Rule:
    """What one test does with its p-values.

    Attributes:
        alpha: the test's level, both looks together.
        margin: a first p-value of at most this is looked at again.

    Raises:
        StatisticsError: the level is not within (0, margin].
    """

    alpha: float
    margin: float = MARGIN

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= self.margin <= 1:
            raise StatisticsError(
                f"a level within (0, {self.margin}] is needed, this one is {self.alpha}"
            )

    @property
    def first(self) -> float:
        """The level of the first look."""
        return self.alpha / 2

    @property
    def second(self) -> float:
        """The level of the second look, if there is one."""
        return self.alpha / (2 * self.margin)

    def looks_again(self, p: float) -> bool:
        """Say whether a first p-value asks for fresh draws: marginal, and not yet decisive."""
        return self.first < p <= self.margin

    def combined(self, first: float, second: float | None = None) -> float:
        """Make one p-value of the looks that were taken.

        Raises:
            StatisticsError: a p-value is not within [0, 1], or a second look was taken that the
                first one did not ask for.
        """
        for p in (first, second):
            if p is not None and not 0 <= p <= 1:
                raise StatisticsError(f"{p} is no p-value")
        if (second is not None) and not self.looks_again(first):
            raise StatisticsError("a second look without a marginal first one: never again")
        if second is None:
            return min(1.0, 2 * first)
        return min(1.0, 2 * first, 2 * self.margin * second)
