"""``sampler-parity power``: how many draws for this difference, and the other way round."""

import enum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.statistics.budget import FAMILY_WISE, Budget
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.escalation import Rule

if TYPE_CHECKING:
    from sampler_parity.statistics.law import Subject

TESTS = 21
"""As many as a run of the gate plans."""
DRAWS = 1_000_000

out = Console(highlight=False)


class What(enum.StrEnum):
    """What is drawn from."""

    semantic = "semantic"
    global_ = "global"
    tempered = "tempered"
    simple = "simple"


def power(
    case: Annotated[What, typer.Option(help="What is drawn from.")] = What.semantic,
    draws: Annotated[
        int | None, typer.Option(min=1, help="Which difference do that many draws show?")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="How many draws for a temperature off by that share (0.01 is 1 %)?"),
    ] = None,
    distance: Annotated[
        float | None, typer.Option(help="How many draws for that share of the mass moved?")
    ] = None,
    budget: Annotated[float, typer.Option(help="The run's error budget.")] = FAMILY_WISE,
    tests: Annotated[int, typer.Option(min=1, help="Tests that share it.")] = TESTS,
) -> None:
    """Say how many draws a difference needs, or which difference draws show."""
    # Here, not above: it takes torch, which takes seconds to import.
    from sampler_parity.statistics.sizing import for_distance, for_temperature

    if sum(given is not None for given in (draws, temperature, distance)) > 1:
        raise CannotJudgeError("name one of --draws, --temperature and --distance")
    try:
        rule = Budget(budget, tests).rule
        subject = _subject(case, rule)
        if temperature is not None:
            draws = for_temperature(subject, temperature, rule)
        elif distance is not None:
            draws = for_distance(subject, distance, rule)
        _print(subject, DRAWS if draws is None else draws, rule)
    except StatisticsError as error:
        raise CannotJudgeError(f"no power can be given: {error}") from error


def _subject(case: What, rule: Rule) -> "Subject":
    from sampler_parity.statistics import subjects

    if case is What.tempered:
        return subjects.tempered()
    if case is What.simple:
        return subjects.noisy()
    return subjects.preset_row(case.value, DRAWS, rule)


def _print(subject: "Subject", draws: int, rule: Rule) -> None:
    from sampler_parity.statistics.sizing import shown_by

    planned = shown_by(subject, draws, rule)
    out.print(
        f"{subject.name}: {draws:,} draws, and {planned.again:,} more where they are marginal",
        f"in {len(planned.cells)} cells ({planned.scheme}),",
        f"at level {rule.alpha:.2g}.",
        soft_wrap=True,
    )
    out.print(planned.catches, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("difference")
    table.add_column("caught with probability", justify="right")
    table.add_column("draws for 0.99", justify="right")
    for each in planned.power:
        needed = "never" if each.draws is None else f"{each.draws:,}"
        table.add_row(each.difference, f"{each.power:.4f}", needed)
    out.print(table)
