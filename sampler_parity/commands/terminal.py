"""What all commands share: where they print, how they show progress, and how they end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EXIT_STATUS = {"holds": 0, "equal": 0, "diverges": 1, "unjudged": 2}

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())

out = Console(highlight=False)
log = Console(stderr=True, highlight=False)


@contextmanager
def showing_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each thing that is told of: what it is, how much is done, and of how much."""
    with Progress(*COLUMNS, TimeRemainingColumn(), console=log, transient=True) as bars:
        tasks = {}

        def progress(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done, total=total)

        yield progress
