"""What docs/torch-versions.md says of each torch, made from ``results/torch-versions.json``.

``python -m benchmarks.readme`` writes it again, and so it does the package's own list of the
versions for which the gate was proved.
"""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
from packaging.version import Version

from sampler_parity.build.installation import REPOSITORY
from sampler_parity.cases.plan import LOOK
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.report.words import moment
from sampler_parity.run.proved import SCHEMA, ProvedTorch, ProvedVersions
from sampler_parity.run.run_file import Run, RunStatus, Shard

PAGE = REPOSITORY / "docs" / "torch-versions.md"
STORED = REPOSITORY / "benchmarks" / "results" / "torch-versions.json"
WIDTH = 100
FEW = 3
"""So many families of logits are named; more are counted."""


PLACES = {"token": "the token drawn", "generator": "the generator's state after the calls alone"}
"""What differs, in words."""

HEADINGS = (
    "torch",
    "the gate",
    "cases compared with it",
    "differ",
    "frequencies",
    "faults named",
    "numpy, Python",
    "measured",
)


class LiveCases(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared with the installed torch itself, at one of its levels.

    Attributes:
        capability: the level.
        planned: cases planned.
        compared: cases compared.
        differing: of those, how many differ.
        accepted: of these, how many a waiver covers.
        reason: why cases were not compared; empty where all were.
    """

    capability: str
    planned: int
    compared: int
    differing: int
    accepted: int
    reason: str


class DifferenceByVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Cases that differ alike.

    Attributes:
        stage: the stage that decides their verdict.
        verdict: of which kind.
        families: the kinds of logits.
        cases: how many, at all levels.
        example: one of them: its id, and both values.
        reason: why it is accepted, by the waiver that covers it; empty where none does.
    """

    stage: str
    verdict: str
    families: tuple[str, ...]
    cases: int
    example: str
    reason: str = ""


class MeasuredTorch(msgspec.Struct, frozen=True, kw_only=True):
    """One torch, and what the gate found with it.

    Attributes:
        torch: its version.
        sources: a hash of everything that shapes the result but torch.
        commit: the last one before the measurement.
        profile: of the gate.
        status: what the gate concluded; ``None`` where it did not come to an end.
        reasons: why it does not hold, or what kept it from running.
        started: time of day, ISO 8601, UTC.
        seconds: how long the gate took.
        versions: of what shapes the result, by name.
        processor: of the machine.
        live: what was compared with this torch, level by level.
        recorded: cases that were compared with the recorded traces of another torch.
        differences: what differs with this torch.
        named: planted faults, and engines told apart, that the gate named.
        planted: all of them.
        passed: tests of frequencies that reject nothing.
        tests: all of them.
        exponentials: five numbers of ``exponential_``, after ``torch.rand(5)`` with the seed 42.
    """

    torch: str
    sources: str
    commit: str
    profile: str
    status: RunStatus | None
    reasons: tuple[str, ...] = ()
    started: str
    seconds: float = 0.0
    versions: dict[str, str] = {}
    processor: str = ""
    live: tuple[LiveCases, ...] = ()
    recorded: int = 0
    differences: tuple[DifferenceByVersion, ...] = ()
    named: int = 0
    planted: int = 0
    passed: int = 0
    tests: int = 0
    exponentials: tuple[float, ...] = ()

    @property
    def compared(self) -> int:
        """How many cases were compared with this torch."""
        return sum(one.compared for one in self.live)

    @property
    def differing(self) -> int:
        """How many of them differ."""
        return sum(one.differing for one in self.live)

    @property
    def accepted(self) -> int:
        """How many of these a waiver covers."""
        return sum(one.accepted for one in self.live)

    @property
    def proved(self) -> bool:
        """Whether the gate holds, and has compared something with this torch itself."""
        return self.status == "holds" and self.compared > 0


class TorchMatrix(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``results/torch-versions.json``.

    Attributes:
        oldest: the oldest torch that is promised.
        measured: every torch, the oldest first.
    """

    oldest: str
    measured: tuple[MeasuredTorch, ...] = ()

    @property
    def promised(self) -> tuple[MeasuredTorch, ...]:
        """Those that are promised, the oldest first."""
        bound = Version(self.oldest)
        return tuple(one for one in self.measured if Version(one.torch) >= bound)

    @property
    def older(self) -> tuple[MeasuredTorch, ...]:
        """Those from before, the oldest first."""
        bound = Version(self.oldest)
        return tuple(one for one in self.measured if Version(one.torch) < bound)


def minor(version: str) -> str:
    """Give ``2.15`` of ``2.15.0``."""
    return ".".join(map(str, Version(version).release[:2]))


def read(path: Path = STORED) -> TorchMatrix:
    """Read a stored result.

    Raises:
        CannotJudgeError: there is none, or it is damaged.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=TorchMatrix)
    except (OSError, msgspec.MsgspecError) as error:
        raise CannotJudgeError(f"{path} is no result of `make torch-matrix`: {error}") from error


def encoded(matrix: TorchMatrix | ProvedVersions) -> bytes:
    """Give the content of a file."""
    return msgspec.json.format(msgspec.json.encode(matrix), indent=1) + b"\n"


def with_one(matrix: TorchMatrix, one: MeasuredTorch) -> TorchMatrix:
    """Put a torch into its place, instead of what was measured of the same minor version."""
    others = (old for old in matrix.measured if minor(old.torch) != minor(one.torch))
    measured = sorted((*others, one), key=lambda each: Version(each.torch))
    return msgspec.structs.replace(matrix, measured=tuple(measured))


def measured_torch(run: Run, *, torch: str, sources: str) -> MeasuredTorch:
    """Read out of a stored run what is said of its torch."""
    live = [shard for shard in run.shards if shard.source == "torch"]
    faults = [fault.killed for fault in run.planted]
    faults += [fault.killed for fault in run.engine_faults]
    tests = [test.decision for counted in run.statistics for test in counted.tests]
    return MeasuredTorch(
        torch=torch,
        sources=sources,
        commit=run.provenance["sources"]["commit"].split()[0],
        profile=run.profile,
        status=run.status,
        reasons=run.reasons,
        started=run.started,
        seconds=run.seconds,
        versions=run.provenance["versions"],
        processor=run.provenance["machine"]["processor"],
        live=tuple(
            LiveCases(
                capability=shard.capability,
                planned=shard.planned,
                compared=shard.compared,
                differing=shard.divergent,
                accepted=shard.accepted,
                reason=shard.reason,
            )
            for shard in live
        ),
        recorded=sum(shard.compared for shard in run.shards if shard.source == "recorded"),
        differences=tuple(_differences(run, live)),
        named=sum(faults),
        planted=len(faults),
        passed=sum(decision in {"passes", "tie_order"} for decision in tests),
        tests=len(tests),
    )


def _differences(run: Run, shards: Sequence[Shard]) -> Iterator[DifferenceByVersion]:
    """Put together what decides the verdict of the divergent cases, the most frequent first."""
    cases: dict[tuple[str, str], dict[str, int]] = {}
    for shard in shards:
        for cell in shard.cells:
            for verdict, count in cell.verdicts.items():
                families = cases.setdefault((cell.stage, verdict), {})
                families[cell.family] = families.get(cell.family, 0) + count
    found = [
        (sum(families.values()), stage, verdict, families)
        for (stage, verdict), families in cases.items()
    ]
    for count, stage, verdict, families in sorted(found, key=lambda one: -one[0]):
        example = next(
            (
                f"{one.case} at {shard.capability}: torch has {one.divergence.reference}, the "
                f"port {one.divergence.candidate}"
                for shard in shards
                for one in shard.divergences
                if (one.divergence.stage, one.divergence.verdict) == (stage, verdict)
            ),
            "",
        )
        reasons = {
            one.waiver.reason
            for one in run.waivers
            if one.cases and (one.waiver.stage, one.waiver.verdict) == (stage, verdict)
        }
        yield DifferenceByVersion(
            stage=stage,
            verdict=verdict,
            families=tuple(families),
            cases=count,
            example=example,
            reason="; ".join(sorted(reasons)),
        )


def proved(matrix: TorchMatrix) -> ProvedVersions:
    """Give what the package says of the versions for which the gate was proved."""
    return ProvedVersions(
        schema=SCHEMA,
        versions=tuple(
            ProvedTorch(
                torch=Version(one.torch).public,
                day=one.started[:10],
                cases=one.compared,
                waived=one.accepted,
                capabilities=tuple(level.capability for level in one.live if level.compared),
            )
            for one in matrix.promised
            if one.proved
        ),
    )


def tables(matrix: TorchMatrix) -> dict[Path, dict[str, str]]:
    """Give what stands between the page's marks."""
    return {PAGE: {"torch-versions": section(matrix), "older-torch": older(matrix)}}


def section(matrix: TorchMatrix) -> str:
    """Lay out every torch that is promised, and what differs with it."""
    lines = [
        f"| {' | '.join(HEADINGS)} |",
        f"| {' | '.join(['---'] * len(HEADINGS))} |",
        *map(_row, matrix.promised),
        "",
        *_wrapped(_caption(matrix.promised)),
    ]
    for words in _remarks(matrix.promised):
        lines += ["", *_wrapped(words)]
    return "\n".join(lines)


def older(matrix: TorchMatrix) -> str:
    """Say what differs with every torch from before, and with which exponentials."""
    if not matrix.older:
        return "None of them was measured."
    lines = []
    for words, versions in _alike((_older_words(one), one.torch) for one in matrix.older).items():
        first, *more = _wrapped(f"torch {', '.join(versions)}: {words}", WIDTH - 2)
        lines += [f"- {first}", *(f"  {line}" for line in more)]
    for newest in matrix.promised[-1:]:
        if newest.exponentials:
            lines += ["", *_wrapped(f"torch {newest.torch} beside them: {_exponentials(newest)}")]
    return "\n".join(lines)


def _older_words(one: MeasuredTorch) -> str:
    if one.status is None:
        return f"not measured: {'; '.join(one.reasons)}."
    how = "a quick look" if one.profile == LOOK else f"the profile `{one.profile}`"
    said = f"{how}, {_levels(one)}: {one.differing:,} differ"
    found = ", ".join(
        f"{each.cases:,} in {PLACES.get(each.stage, f'`{each.stage}`')} (`{each.verdict}`)"
        for each in one.differences
    )
    said += f": {found}." if found else "."
    return f"{said} {_exponentials(one)}" if one.exponentials else said


def _exponentials(one: MeasuredTorch) -> str:
    numbers = ", ".join(f"{number:.4f}" for number in one.exponentials)
    return f"Seed 42, after `torch.rand(5)`, gives the exponentials {numbers}."


def _alike(said: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Put together the versions of which the same is said."""
    found: dict[str, list[str]] = {}
    for words, version in said:
        found.setdefault(words, []).append(version)
    return found


def _row(one: MeasuredTorch) -> str:
    if one.status is None:
        cells = [one.torch, "not measured", *[""] * (len(HEADINGS) - 3), one.started[:10]]
        return f"| {' | '.join(cells)} |"
    verdict = {"holds": "holds", "diverges": "**diverges**"}.get(one.status, "not judged")
    differ = f"{one.differing:,}"
    if one.accepted:
        verdict = f"{verdict}, with waivers"
        differ += f", {one.accepted:,} of them accepted"
    cells = [
        one.torch,
        verdict,
        f"{one.compared:,} of {sum(level.planned for level in one.live):,}",
        differ,
        f"{one.passed:,} of {one.tests:,} tests pass",
        f"{one.named:,} of {one.planted:,}",
        f"{one.versions.get('numpy', '')}, {one.versions.get('python', '')}",
        f"{one.started[:10]}, {one.seconds / 60:.0f} min",
    ]
    return f"| {' | '.join(cells)} |"


def _caption(measured: Sequence[MeasuredTorch]) -> str:
    found = [one for one in measured if one.status is not None]
    if not found:
        return "Nothing was measured."
    machines = ", ".join(dict.fromkeys(one.processor for one in found))
    commits = ", ".join(dict.fromkeys(f"`{one.commit[:12]}`" for one in found))
    sources = ", ".join(dict.fromkeys(f"`{one.sources[:12]}`" for one in found))
    profiles = ", ".join(dict.fromkeys(f"`{one.profile}`" for one in found))
    recorded = max(one.recorded for one in found)
    return (
        f"Measured on {machines}, {moment(found[-1].started)}, at commit {commits} (sources "
        f"{sources}), with the profile {profiles}. The cases are those compared with the installed "
        f"torch itself. Each run also held the port against {recorded:,} recorded cases, whose "
        "torch is the one that recorded them, whichever is installed."
    )


def _remarks(measured: Sequence[MeasuredTorch]) -> Iterator[str]:
    """Say what was not measured or not compared, and what differs."""
    if gaps := _gaps(measured):
        yield f"Not measured: torch {', '.join(gaps)}."
    missing = _alike(
        (f"Not compared at `{level.capability}`: {level.reason}", one.torch)
        for one in measured
        for level in one.live
        if level.compared < level.planned
    )
    for words, versions in missing.items():
        yield f"{words} (torch {', '.join(versions)})."
    for words, versions in _alike((_remark(one), one.torch) for one in measured).items():
        if words:
            yield f"torch {', '.join(versions)}: {words}."


def _gaps(measured: Sequence[MeasuredTorch]) -> list[str]:
    """Name the minor versions between those that were measured."""
    known = [Version(one.torch) for one in measured]
    return [
        f"{before.major}.{number}"
        for before, after in pairwise(known)
        if before.major == after.major
        for number in range(before.minor + 1, after.minor)
    ]


def _remark(one: MeasuredTorch) -> str:
    if one.status is None:
        return f"not measured: {'; '.join(one.reasons)}"
    if one.differing:
        return "; ".join(_differences_in_words(one.differences))
    return "" if one.status == "holds" else f"does not hold: {'; '.join(one.reasons)}"


def _differences_in_words(found: Sequence[DifferenceByVersion]) -> Iterator[str]:
    """Say where it differs; what differs alike but for its verdict is said once."""
    places: dict[tuple[str, tuple[str, ...], str], list[DifferenceByVersion]] = {}
    for one in found:
        places.setdefault((one.stage, one.families, one.reason), []).append(one)
    for (stage, families, reason), together in places.items():
        kinds = " and ".join(f"{one.cases:,} `{one.verdict}`" for one in together)
        named = f"{len(families):,} families"
        if len(families) <= FEW:
            named = f"`{'`, `'.join(families)}`"
        said = f"{kinds} at `{stage}` in {named}"
        said += f", such as {together[0].example}" if together[0].example else ""
        yield f"{said}. Accepted: {reason}" if reason else said


def _levels(one: MeasuredTorch) -> str:
    levels = [level.capability for level in one.live if level.compared]
    return f"{one.compared:,} cases at {' and '.join(levels)}"


def _wrapped(text: str, width: int = WIDTH) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
