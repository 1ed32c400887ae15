"""Puts the parts of a run together: field by field the run that one machine would have made."""

import shlex
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path, PurePath

import msgspec

from sampler_parity.build.processor import architecture_of
from sampler_parity.cases.plan import CASE_COUNTS, SERIES, case_of, generated, id_of
from sampler_parity.cases.recorded import recorded_cases
from sampler_parity.cases.your_logits import is_yours
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.pipelines.references import require_named
from sampler_parity.run.effort import WHOLE
from sampler_parity.run.gate import orders_of, replace_evidence, run_of
from sampler_parity.run.gathering import gather
from sampler_parity.run.keeping import Keeping
from sampler_parity.run.orders import CompareCases, Order, Result
from sampler_parity.run.part_file import PART_NAME, Part, read_part
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import (
    EVIDENCE,
    Against,
    Cell,
    Explained,
    FoundDivergence,
    Reproducibility,
    Run,
    Series,
    Shard,
    gravity,
    write_run,
)
from sampler_parity.run.your_cases import opened

MISSING = 20
"""How many missing parts are named, or some more."""

SAME = ("versions", "sources", "fixtures", "extension")
"""Headings of a provenance in which all parts must be alike: they are of one run."""


@dataclass(frozen=True, slots=True)
class Parts:
    """All parts of a run.

    Attributes:
        folders: where they are, the first part first.
        parts: what they hold.
    """

    folders: tuple[Path, ...]
    parts: tuple[Part, ...]

    @property
    def request(self) -> Request:
        """What the whole run was asked for."""
        return replace(self.parts[0].request, part=None)


def read_parts(folders: Sequence[Path]) -> Parts:
    """Read every part, in whatever order the folders are named.

    Raises:
        CannotJudgeError: one is missing, there twice, of another run, or made with something else.
    """
    found: dict[int, tuple[Path, Part]] = {}
    for folder in folders:
        part = read_part(folder)
        try:
            part.request.check_names()
        except CannotJudgeError as error:
            raise CannotJudgeError(f"{folder / PART_NAME} is damaged: {error}") from error
        number, of = part.request.part or (1, 1)
        if number in found:
            twin = found[number][0]
            raise CannotJudgeError(f"part {number} of {of} is there twice: {twin} and {folder}")
        found[number] = (folder, part)
    if not found:
        raise CannotJudgeError("no part of a run is named")
    ordered = [found[number] for number in sorted(found)]
    first, one = ordered[0]
    for place, other in ordered[1:]:
        _alike(first, one, place, other)
    of = (one.request.part or (1, 1))[1]
    if len(found) < of:
        # As many numbers as may be looked through: there may be any number of parts.
        missing = [number for number in range(1, len(found) + 1 + MISSING) if number not in found]
        named = [str(number) for number in missing if number <= of]
        more = of - len(found) - len(named)
        others = f" and {more:,} more" if more else ""
        raise CannotJudgeError(f"part {', '.join(named)}{others} of {of} is missing")
    return Parts(tuple(folder for folder, _ in ordered), tuple(part for _, part in ordered))


def _alike(first: Path, one: Part, folder: Path, other: Part) -> None:
    """Look whether two parts are of one run.

    Raises:
        CannotJudgeError: they are not.
    """
    for heading in SAME:
        ours, theirs = one.provenance.get(heading, {}), other.provenance.get(heading, {})
        for name in ours.keys() | theirs.keys():
            if ours.get(name) != theirs.get(name):
                raise CannotJudgeError(
                    f"{first} and {folder} are no parts of one run: {heading}, {name}: "
                    f"{ours.get(name)} and {theirs.get(name)}"
                )
    if (one.request.part or (1, 1))[1] != (other.request.part or (1, 1))[1]:
        raise CannotJudgeError(f"{first} and {folder} are parts of runs with other numbers of them")
    ours_asked, theirs_asked = (_asked(part.request) for part in (one, other))
    for name, value in ours_asked.items():
        if value != theirs_asked[name]:
            raise CannotJudgeError(
                f"{first} and {folder} are no parts of one run: {name} is {value!r} and "
                f"{theirs_asked[name]!r}"
            )


def _asked(request: Request) -> dict[str, object]:
    left_out = {"part", "folder", "jobs", "today", "benchmark"}
    return {
        name: getattr(request, name)
        for name in Request.__dataclass_fields__
        if name not in left_out
    }


def merge(folders: Sequence[Path], home: Path, reference: str = "") -> Run:
    """Put the parts in ``folders`` together, and store the run in ``home``.

    Args:
        folders: where the parts are, in any order.
        home: where the run is stored.
        reference: ``module:OBJECT`` that the parts were held against, where that is one's own: it
            is imported, and no file decides what is.

    Raises:
        CannotJudgeError: see :func:`read_parts` and :func:`merged_results`; or a part is damaged,
            or the parts name another reference of one's own.
    """
    parts = read_parts(folders)
    request = replace(parts.request, folder=home)
    require_named(request.reference, reference, "the parts were")
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".run-", dir=home) as staging:
        system = parts.parts[0].provenance.get("machine", {}).get("system", "")
        orders = orders_of(request, Path(staging), architecture_of(system))
        try:
            results = merged_results(parts, orders, home, Path(staging))
            run = run_of(
                request,
                gather(request, orders, results),
                min(part.started for part in parts.parts),
                round(sum(part.seconds for part in parts.parts), 1),
                _provenance(parts.parts),
            )
        except (LookupError, ValueError, ArithmeticError) as error:
            raise CannotJudgeError(
                f"the parts do not fit together ({error}): one of "
                f"{', '.join(map(str, parts.folders))} is damaged, run it again"
            ) from error
        replace_evidence(home, Path(staging))
        write_run(home, run)
    return run


def _provenance(parts: Sequence[Part]) -> dict[str, dict[str, str]]:
    """Give what all parts have in common, and each part's machine where they differ."""
    found = {heading: dict(values) for heading, values in parts[0].provenance.items()}
    machines = [part.provenance.get("machine", {}) for part in parts]
    found["machine"] = {
        name: " and ".join(dict.fromkeys(machine.get(name, "") for machine in machines))
        for name in machines[0]
    }
    return found


def merged_results(
    parts: Parts, orders: Sequence[Order], home: Path, staging: Path
) -> list[Result]:
    """Give the result of every order of the whole run; its evidence goes into ``staging``.

    Args:
        parts: all of them.
        orders: the whole run's.
        home: where the run will be, as commands that replay a case name it.
        staging: a folder in which ``evidence/`` is made.

    Raises:
        CannotJudgeError: a part lacks what it was to do, or a file.
        LookupError: a name in a part is none of the run's.
        ValueError: counts in a part are not of the run's length, or a command in it is none.
    """
    found = []
    for order in orders:
        own = [
            (number, part.results[order.name])
            for number, part in enumerate(parts.parts)
            if order.name in part.results
        ]
        wanted = len(parts.parts) if isinstance(order, CompareCases) else 1
        if len(own) != wanted:
            raise CannotJudgeError(
                f"{len(own)} of {len(parts.parts)} parts have {order.name}, and {wanted} must"
            )
        if isinstance(order, CompareCases):
            results = [result for _, result in own]
            found.append(_Comparison(parts, order, home, staging).merged(results))
        else:
            found.append(own[0][1])
    return found


@dataclass(frozen=True, slots=True)
class _Comparison:
    """One candidate at one capability, in parts."""

    parts: Parts
    order: CompareCases
    home: Path
    staging: Path

    def merged(self, results: Sequence[Result]) -> Result:
        sources = list(dict.fromkeys(one.source for result in results for one in result.shards))
        covered = tuple(map(sum, zip(*(result.covered for result in results), strict=True)))
        if len(covered) != len(self.order.waivers):
            raise ValueError("counts of other waivers")
        return Result(
            shards=tuple(self._shard(source, results) for source in sources), covered=covered
        )

    def _shard(self, source: Against, results: Sequence[Result]) -> Shard:
        shards = [{shard.source: shard for shard in result.shards}[source] for result in results]
        declines = _sum(shard.declines for shard in shards)
        reasons = [f"{count:,} declined: {why}" for why, count in _most(declines).items()]
        reasons += dict.fromkeys(shard.why for shard in shards if shard.why)
        compared, planned = (sum(getattr(s, n) for s in shards) for n in ("compared", "planned"))
        return Shard(
            implementation=shards[0].implementation,
            capability=shards[0].capability,
            source=shards[0].source,
            planned=planned,
            compared=compared,
            not_compared=planned - compared if reasons else 0,
            reason="; ".join(reasons),
            why="; ".join(dict.fromkeys(shard.why for shard in shards if shard.why)),
            declines=_most(declines),
            stages=sum(shard.stages for shard in shards),
            elements=sum(shard.elements for shard in shards),
            tokens=sum(shard.tokens for shard in shards),
            divergent=sum(shard.divergent for shard in shards),
            threads=dict(sorted(_sum(shard.threads for shard in shards).items())),
            cells=_cells(shards, self.order.families),
            divergences=self._divergences(shards),
            noise=_noise(shards),
            verdicts=_most(_sum(shard.verdicts for shard in shards)),
            about=shards[0].about,
            accepted=sum(shard.accepted for shard in shards),
            certificate=shards[0].certificate,
            streams=self._streams(shards),
            explained=_explained(shards),
        )

    def _divergences(self, shards: Sequence[Shard]) -> tuple[FoundDivergence, ...]:
        """Keep those, and of those as much, as a run in one piece keeps."""
        place = self._places(shards[0].source)
        all_found = sorted(
            ((found, folder, number)
             for number, (shard, folder) in enumerate(zip(shards, self.parts.folders, strict=True))
             for found in shard.divergences),
            key=lambda one: place(one[0].case),
        )  # fmt: skip
        keeping = Keeping(WHOLE, evidence=self.order.evidence)
        kept: list[FoundDivergence] = []
        for found, folder, number in all_found:
            size = prod(found.described.shape)
            listed, stored, small = keeping.choose(found.family, size, found.divergence)
            if listed:
                home = self.parts.parts[number].request.folder
                kept.append(self._moved(found, folder, home, len(kept), stored=stored, small=small))
        return tuple(sorted(kept, key=gravity))

    def _moved(
        self,
        found: FoundDivergence,
        folder: Path,
        home: Path,
        number: int,
        *,
        stored: bool,
        small: bool,
    ) -> FoundDivergence:
        """Move a divergence's files to where a run in one piece has them."""
        shrunken = found.shrunken if small else None
        files = [*found.earlier, found.evidence] if stored else []
        files += [shrunken.evidence] if shrunken else []
        names: dict[str, str] = {}
        for path in files:
            if path is None:
                continue
            place, _, name = path.rpartition("/")
            _, _, rest = name.removeprefix(f"{self.order.capability}-").partition("-")
            names[path] = f"{place}/{self.order.capability}-{number:03}-{rest}"
            _copy(folder, path, self.staging / names[path])

        places = {str(home / old): str(self.home / new) for old, new in names.items()}
        places[str(home)] = str(self.home)

        def renamed(command: str) -> str:
            return shlex.join(places.get(word, word) for word in shlex.split(command))

        if shrunken is not None:
            shrunken = msgspec.structs.replace(
                shrunken,
                evidence=names[shrunken.evidence],
                replay=renamed(shrunken.replay),
            )
        return msgspec.structs.replace(
            found,
            evidence=names.get(found.evidence or "") if stored else None,
            earlier=tuple(names[path] for path in found.earlier) if stored else (),
            replay=renamed(found.replay),
            shrunken=shrunken,
        )

    def _places(self, source: str) -> Callable[[str], tuple[int, int]]:
        """Give where a case stands in the run."""
        if source == "recorded":
            recorded = [case.id for case, _ in recorded_cases(self.order.capability)]
            return lambda case_id: (0, recorded.index(case_id))
        families = list(self.order.families)

        def place(case_id: str) -> tuple[int, int]:
            name = case_id.rpartition("/")[2].partition("@")[0]
            family, _, index = name.rpartition("-")
            return (-1 if is_yours(case_id) else families.index(family)), int(index)

        return place

    def _streams(self, shards: Sequence[Shard]) -> tuple[Series, ...]:
        """Put series of calls in the order in which one run has them."""
        ours = [{one.sampler: one for one in shard.streams} for shard in shards]
        if not any(ours):
            return ()
        left = [{name: list(series.first) for name, series in one.items()} for one in ours]
        first: dict[str, list[int]] = {}
        for part, sampler in self._samplers_of_series(len(shards)):
            # A series that the candidate declined is not among them.
            if left[part].get(sampler):
                first.setdefault(sampler, []).append(left[part][sampler].pop(0))
        return tuple(
            msgspec.structs.replace(
                next(one[sampler] for one in ours if sampler in one),
                first=tuple(firsts),
                agreeing=_added([one[sampler].agreeing for one in ours if sampler in one]),
            )
            for sampler, firsts in first.items()
        )

    def _samplers_of_series(self, parts: int) -> Iterable[tuple[int, str]]:
        """Give, for each series in the run's order, its part and its sampler."""
        counts, order = CASE_COUNTS[self.order.profile], self.order
        number = self._yours
        for family in generated(order.families):
            for index in counts.indices(family):
                if family == SERIES:
                    case = case_of(id_of(family, index, order.seed, order.reference))
                    yield number % parts, case.parameters.sampler
                number += 1

    @property
    def _yours(self) -> int:
        """How many cases of somebody's own logits come before the others."""
        if self.order.logits is None:
            return 0
        return len(opened(self.order.logits, self.order.reference, self.order.seed))


def _copy(folder: Path, path: str, target: Path) -> None:
    """Copy a file of a part, and none from elsewhere, whatever the part's names and links say.

    Raises:
        CannotJudgeError: it is none of the part's, or cannot be read.
    """
    home, file = folder.resolve(), (folder / path).resolve()
    parts = PurePath(path).parts
    if ".." in parts or not parts or not file.is_relative_to(home / EVIDENCE):
        raise CannotJudgeError(f"{folder} is damaged: {path!r} is no file of its evidence")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CannotJudgeError(
            f"{folder} is damaged: {path} cannot be read ({error.strerror})"
        ) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def _added(counts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return tuple(sum(each) for each in zip(*counts, strict=True))


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in counts:
        found.update(one)
    return found


def _most(counts: Counter[str]) -> dict[str, int]:
    return dict(counts.most_common())


def _cells(shards: Sequence[Shard], families: Sequence[str]) -> tuple[Cell, ...]:
    every = [cell for shard in shards for cell in shard.cells]
    names = dict.fromkeys((cell.family, cell.stage) for cell in every)
    rank = {family: number for number, family in enumerate(families)}
    found = []
    for family, stage in sorted(names, key=lambda name: rank.get(name[0], len(rank))):
        own = [cell for cell in every if (cell.family, cell.stage) == (family, stage)]
        found.append(
            Cell(
                family=family,
                stage=stage,
                compared=sum(cell.compared for cell in own),
                differing=sum(cell.differing for cell in own),
                first=sum(cell.first for cell in own),
                verdicts=dict(_sum(cell.verdicts for cell in own)),
            )
        )
    return tuple(found)


def _noise(shards: Sequence[Shard]) -> tuple[Reproducibility, ...]:
    every = [one for shard in shards for one in shard.noise]
    return tuple(
        Reproducibility(
            against=against,
            cases=sum(one.cases for one in every if one.against == against),
            differing=dict(_sum(one.differing for one in every if one.against == against)),
        )
        for against in dict.fromkeys(one.against for one in every)
    )


def _explained(shards: Sequence[Shard]) -> Explained | None:
    """Give what explains most, and at least half, of the cases that the parts have looked at."""
    every = [shard.explained for shard in shards if shard.explained is not None]
    counts: Counter[tuple[str, str, str]] = Counter()
    for one in every:
        counts[one.function, one.change, one.stage] += one.cases
    if not counts:
        return None
    looked_at = sum(one.looked_at for one in every)
    (function, change, stage), cases = counts.most_common(1)[0]
    if cases * 2 < looked_at:
        return None
    return Explained(
        function=function, change=change, stage=stage, cases=cases, looked_at=looked_at
    )
