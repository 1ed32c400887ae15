"""The command ``identify``: which function a candidate is."""

from typing import Annotated

import typer
from rich.table import Table

from sampler_parity.commands.terminal import out, showing_progress
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.pipelines.references import REFERENCES

SHOWN = 8
"""Matches that are listed."""


def identify(
    implementation: Annotated[
        str, typer.Argument(help="A name that `list` shows, module:object, or command:PROGRAM.")
    ],
    sampler: Annotated[
        str, typer.Option(help="Which of its samplers is meant, if it has several.")
    ] = "",
) -> None:
    """Say which known function a candidate is, or which it is nearest to; exit 1 if it is none."""
    # Here, not above: torch takes seconds to import.
    from sampler_parity.faults.identify import identified, sentence
    from sampler_parity.implementations.reference import capability_here, require_torch
    from sampler_parity.sandbox.isolated import Isolated

    require_torch("`identify`")
    with Isolated(implementation) as candidate, showing_progress() as progress:
        has = [name for name in candidate.about.samplers if name in REFERENCES]
        if not has or (sampler and sampler not in has):
            raise CannotJudgeError(
                f"{implementation} has {', '.join(candidate.about.samplers)}, and none of "
                f"{sampler or ', '.join(REFERENCES)}"
            )
        found = identified(
            candidate,
            candidate.about,
            sampler or has[0],
            capability_here(),
            lambda done, total: progress(f"cases of {implementation}", done, total),
        )
    out.print(f"{implementation}: {sentence(found)}", soft_wrap=True, markup=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("function", "its change", "at stage", "cases agree"):
        table.add_column(heading, overflow="fold")
    for match in [match for match in found if match.cases][:SHOWN]:
        known = match.known
        agreeing = f"{match.agreeing:,} of {match.cases:,}"
        table.add_row(known.pipeline, known.change or "none", known.stage, agreeing)
    out.print(table)
    raise typer.Exit(0 if found[0].agreeing == found[0].cases > 0 else 1)
