"""The report: one self-contained HTML page made from a stored run."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sampler_parity.model.files import write_atomically
from sampler_parity.report.words import counted
from sampler_parity.run.run_file import Run

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["REPORT_NAME", "page", "render", "write_report"]

REPORT_NAME = "index.html"

_SCRIPT = "report.js"


def write_report(run: Run, folder: Path) -> Path:
    """Write a run's report atomically, making the folder if needed.

    Args:
        run: the run to show.
        folder: the folder of ``run.json``, to which evidence paths are relative.

    Returns:
        The page's path, ``index.html`` in ``folder``.
    """
    path = folder / REPORT_NAME
    write_atomically(path, render(run, folder).encode("utf-8", "backslashreplace"))
    return path


def render(run: Run, folder: Path | None = None) -> str:
    """Lay out a run as an HTML page.

    Args:
        run: the run to show; everything but the pictures of single cases comes from it.
        folder: where the run's evidence is, from which those pictures are drawn.
    """
    # Here, not above: what has words in common with the report needs none of its pages.
    from sampler_parity.report.content import build

    return page("report.html.j2", report=build(run, folder))


def page(template: str, **values: object) -> str:
    """Lay out a page that may run the report's script, and nothing else."""
    from markupsafe import Markup

    environment = _environment()
    script = environment.loader.get_source(environment, _SCRIPT)[0] if environment.loader else ""
    # What stands between the tags is hashed, to the last character.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        **values,
        script=Markup(script),  # noqa: S704  # our own file
        policy=(
            f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
            "base-uri 'none'; form-action 'none'"
        ),
    )


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sampler_parity.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = "{:,}".format
    environment.filters["counted"] = counted
    environment.filters["plain"] = lambda name: name.replace("_", " ")
    return environment
