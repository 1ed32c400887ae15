"""The report: one self-contained HTML page made from a stored run."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from sampler_parity.manifest import write_atomically
from sampler_parity.report.view import build
from sampler_parity.run_file import Run

__all__ = ["REPORT_NAME", "render", "write_report"]

REPORT_NAME = "index.html"


def write_report(run: Run, folder: Path) -> Path:
    """Write a run's report atomically, making the folder if needed.

    Args:
        run: the run to show.
        folder: the folder of ``run.json``, to which evidence paths are relative.

    Returns:
        The page's path, ``index.html`` in ``folder``.
    """
    path = folder / REPORT_NAME
    write_atomically(path, render(run).encode("utf-8", "backslashreplace"))
    return path


def render(run: Run) -> str:
    """Lay out a run as an HTML page; depends on nothing but the run."""
    return _environment().get_template("report.html.j2").render(report=build(run))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sampler_parity.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = "{:,}".format
    return environment
