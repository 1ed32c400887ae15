"""Accepted divergences, with how long each waiver lasts."""

from dataclasses import dataclass
from datetime import date, datetime

from sampler_parity.report.words import counted, cut
from sampler_parity.run.run_file import Run


@dataclass(frozen=True, slots=True)
class WaiverRow:
    """A waiver with its age.

    Attributes:
        words: what it accepts.
        owner: who accepted it.
        reason: why.
        expires: its last day.
        left: how long it lasts from the day of the run, in words.
        cases: divergent cases that it covers.
        fails: it has expired, or covers nothing.
    """

    words: str
    owner: str
    reason: str
    expires: str
    left: str
    cases: int
    fails: bool


def waiver_rows(run: Run) -> tuple[WaiverRow, ...]:
    """Show every waiver with how long it still lasts, from the day of the run."""
    try:
        today = datetime.fromisoformat(run.started).date()
    except ValueError:
        today = None
    return tuple(
        WaiverRow(
            words=cut(entry.waiver.words()),
            owner=cut(entry.waiver.owner),
            reason=cut(entry.waiver.reason),
            expires=entry.waiver.expires.isoformat(),
            left=_left(entry.waiver.expires, today),
            cases=entry.cases,
            fails=entry.expired or not entry.cases,
        )
        for entry in run.waivers
    )


def _left(expires: date, today: date | None) -> str:
    if today is None:
        return ""
    days = (expires - today).days
    if days < 0:
        return f"expired {counted(-days, 'day')} before this run"
    return "its last day" if not days else f"{counted(days, 'day')} left"
