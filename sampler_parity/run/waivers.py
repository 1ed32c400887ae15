"""Divergences that somebody has accepted, from a file ``parity.toml``.

.. code-block:: toml

    [[waiver]]
    implementation = "my_sampler"
    family = "bf16"            # or "*"
    stage = "top_p_mask"
    verdict = "tie_order"
    owner = "Ada"
    reason = "our sort is stable, and no token is likelier than another"
    expires = 2027-06-30
"""

import datetime as dt
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from sampler_parity.cases.families import FAMILIES, YOURS
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.verdict import Divergence, Verdict

WAIVERS = Path("parity.toml")
"""Where waivers are read from unless another file is named."""

EVERY = "*"


class Waiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An accepted divergence.

    Attributes:
        implementation: the candidate, as the command line calls it.
        family: the kind of logits, or ``*``.
        stage: the stage of the gravest cause.
        verdict: its kind.
        owner: who accepted it.
        reason: why.
        expires: the last day on which it counts.
    """

    implementation: str
    family: str
    stage: str
    verdict: Verdict
    owner: str
    reason: str
    expires: dt.date

    def covers(self, family: str, divergence: Divergence) -> bool:
        """Whether a case of ``family`` that diverges so is accepted."""
        where = (divergence.stage, divergence.verdict)
        return self.family in {family, EVERY} and where == (self.stage, self.verdict)

    def words(self) -> str:
        """Name it in a sentence."""
        family = "every family" if self.family == EVERY else self.family
        return f"{self.verdict} at {self.stage} in {family}, for {self.implementation}"


class AppliedWaiver(msgspec.Struct, frozen=True, kw_only=True):
    """A waiver in a run.

    Attributes:
        waiver: what was accepted.
        cases: how many divergent cases it covers.
        expired: whether its day has passed; it covers nothing then.
    """

    waiver: Waiver
    cases: int
    expired: bool


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file; ``phase`` and ``engine`` are a contract's, which others read."""

    waiver: tuple[Waiver, ...] = ()
    phase: Any = None
    engine: Any = None


def load_waivers(path: Path) -> tuple[Waiver, ...]:
    """Read a file of waivers.

    Raises:
        CannotJudgeError: it is missing or damaged, a waiver lacks something or names what does
            not exist.
    """
    try:
        content = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), type=_File)
    except (
        OSError,
        UnicodeDecodeError,
        RecursionError,
        tomllib.TOMLDecodeError,
        msgspec.MsgspecError,
    ) as error:
        raise CannotJudgeError(f"waivers {path} cannot be read: {error}") from error
    for waiver in content.waiver:
        if waiver.family not in (EVERY, YOURS, *FAMILIES):
            raise CannotJudgeError(
                f"waivers {path}: family {waiver.family!r} is none of {', '.join(FAMILIES)}"
            )
        for field in ("owner", "reason"):
            if not getattr(waiver, field).strip():
                raise CannotJudgeError(f"waivers {path}: {field} is empty ({waiver.words()})")
    return content.waiver


def waivers_here(root: Path) -> tuple[Waiver, ...]:
    """Give the waivers of the repository ``root``; none where it has no file of them.

    Raises:
        CannotJudgeError: as :func:`load_waivers` does.
    """
    path = root / WAIVERS
    return load_waivers(path) if path.exists() else ()


def expired(waiver: Waiver, today: dt.date) -> bool:
    """Whether the waiver's last day has passed."""
    return today > waiver.expires


def problems(applied: tuple[AppliedWaiver, ...]) -> tuple[str, ...]:
    """Say which waivers fail the gate: those that have expired or no longer happen."""
    found = []
    for entry in applied:
        waiver = entry.waiver
        if entry.expired:
            found.append(
                f"the waiver of {waiver.words()} expired on {waiver.expires}: mend it, or have "
                f"{waiver.owner} renew it"
            )
        elif not entry.cases:
            found.append(f"the waiver of {waiver.words()} covers nothing any more: remove it")
    return tuple(found)
