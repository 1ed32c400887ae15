"""``run --profile soak``: how it is asked for, and what it shows."""

import logging
import time
from collections.abc import Sequence
from contextlib import closing

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sampler_parity.commands.terminal import EXIT_STATUS
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.soak.cluster import WorkCluster
from sampler_parity.soak.kept import Keeper, in_words
from sampler_parity.soak.lease import LeaseResult, SoakFinding
from sampler_parity.soak.measures import MEASURES
from sampler_parity.soak.soaking import SoakRequest, soak
from sampler_parity.soak.tally import SoakTally

EVERY = 60.0
"""Seconds after which a line tells how far a soak is, where no bar is shown."""

OPTIONS = frozenset(
    {
        "profile", "hours", "cluster", "cases", "seed", "implementation", "folder",
        "time_limit", "memory_limit", "start_limit",
    }
)  # fmt: skip
"""What of `run` a soak takes, and of those, what nothing else takes."""
OWN = ("hours", "cluster", "cases")


def check_options(names: Sequence[str], *, soaks: bool) -> None:
    """Refuse an option of `run` that is given and would not be heeded.

    Raises:
        CannotJudgeError: there is one.
    """
    if soaks:
        wrong = [name for name in names if name not in OPTIONS]
        if wrong:
            raise CannotJudgeError(f"a soak takes no --{wrong[0].replace('_', '-')}")
    elif wrong := [name for name in names if name in OWN]:
        raise CannotJudgeError(f"--{wrong[0]} is for --profile soak")


class SoakScreen:
    """Shows a soak while it is made."""

    def __init__(self, keeper: Keeper, log: Console, bars: Progress) -> None:
        """Show on ``log``, and in ``bars`` if it is a terminal."""
        self._keeper = keeper
        self._log = log
        self._bars = bars
        self._task = bars.add_task("soak")
        self._last = time.monotonic()

    def said(self, words: str) -> None:
        """Print it."""
        self._print(f"{time.strftime('%H:%M:%S')} {words}")

    def found(self, finding: SoakFinding) -> None:
        """Print what differs, as it comes, and keep it."""
        self.said(in_words(finding))
        self._print(f"  {self._keeper.finding(finding)}")

    def result(self, _: LeaseResult, tally: SoakTally) -> None:
        """Show how far it is."""
        self._show(progress_in_words(tally))

    def tick(self, tally: SoakTally, threads: int) -> None:
        """Show how far it is, and on how many threads it goes on."""
        who = f"{threads} threads" if threads else "no worker is there"
        self._show(f"{progress_in_words(tally)}, {who}")

    def _show(self, words: str) -> None:
        self._bars.update(self._task, description=words)
        if not self._log.is_terminal and time.monotonic() - self._last >= EVERY:
            self._last = time.monotonic()
            self.said(words)

    def _print(self, words: str) -> None:
        self._log.print(words, soft_wrap=True, markup=False)


def progress_in_words(tally: SoakTally) -> str:
    """Say how many cases were compared, how fast, how many differ, and the closest of each kind."""
    nearest = ", ".join(f"{name} {call.distance:.3g}" for name, call in tally.nearest().items())
    return (
        f"{tally.compared:,} cases, {tally.rate:,.0f}/s, {tally.differing.total():,} differ; "
        f"closest: {nearest or 'none yet'}"
    )


def run_soak(request: SoakRequest, out: Console, log: Console) -> int:
    """Soak, show it, keep what it found; give the exit status.

    Raises:
        CannotJudgeError: see :func:`sampler_parity.soak.soaking.soak`.
    """
    keeper = Keeper(request)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=log, transient=True, disable=not log.is_terminal) as bars:
        screen = SoakScreen(keeper, log, bars)
        with closing(WorkCluster(request.cluster)) as cluster:
            # What befalls the connection is told by the soak itself.
            for name in ("distributed", "distributed.client"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            tally = soak(request, cluster, screen)
    path = keeper.summary(tally)
    show_summary(tally, out)
    out.print(f"summary: {path}", soft_wrap=True, markup=False)
    return EXIT_STATUS[tally.status]


def show_summary(tally: SoakTally, out: Console) -> None:
    """Print what a soak found."""

    def line(words: str) -> None:
        out.print(words, soft_wrap=True, markup=False)

    for capability, count in tally.capabilities.most_common():
        line(f"{count:,} cases compared at {capability}")
    for reason, count in tally.not_compared.most_common():
        line(f"{count:,} cases not compared: {reason}")
    for name, call in tally.nearest().items():
        line(f"closest {name}: {call.distance:.3g} (case {call.number}); {MEASURES[name]}")
    for kind, count in tally.differing.most_common():
        line(f"{count:,} cases differ: {kind}")
    line(conclusion_of_soak(tally))


def conclusion_of_soak(tally: SoakTally) -> str:
    """Say what a soak concludes, in a sentence."""
    if not tally.compared:
        return "the soak could not judge: no worker compared a case"
    hours = tally.seconds / 3600
    took = f"{tally.now:,} now, in {hours:.2f} h, {tally.rate:,.0f} a second"
    if tally.status == "diverges":
        return (
            f"the soak found a divergence: {tally.differing.total():,} of {tally.compared:,} cases "
            f"differ ({took})"
        )
    if tally.status == "unjudged":
        lost = tally.not_compared.total()
        return (
            f"the soak could not judge: {lost:,} cases were not compared, {tally.equal:,} are equal"
        )
    return f"nothing differs in {tally.compared:,} cases ({took}); a soak is not the gate"
