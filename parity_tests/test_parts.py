"""The parts of a run, put together, are the run that one machine would have made."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from parity_tests.runs import make_run, make_shard
from sampler_parity.cases.families import YOURS
from sampler_parity.cases.plan import CASE_COUNTS, plan
from sampler_parity.cases.your_logits import YourLogits
from sampler_parity.cli import _part
from sampler_parity.commands.summary import conclusion
from sampler_parity.implementations.python_ref import capability_here
from sampler_parity.model.case import CAPABILITIES
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run import merging
from sampler_parity.run.gate import orders_of, run_gate
from sampler_parity.run.merging import merge, read_parts
from sampler_parity.run.orders import CompareCases
from sampler_parity.run.part_file import PART_NAME, Part, read_part, write_part
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import Explained, Run

HERE = capability_here()


def part(number: int, of: int, **changes: Any) -> Part:
    request = Request(part=(number, of), **changes.pop("request", {}))
    made = Part(
        schema=1,
        request=request,
        results={},
        provenance={"versions": {"torch": "2"}, "machine": {"processor": f"p{number}"}},
        started="",
        seconds=1.0,
    )
    return msgspec.structs.replace(made, **changes)


def stored(folder: Path, *parts: Part) -> list[Path]:
    found = []
    for number, one in enumerate(parts):
        path = folder / str(number)
        path.mkdir()
        write_part(path, one)
        found.append(path)
    return found


def test_a_part_is_read_as_it_was_written(tmp_path: Path) -> None:
    one = part(2, 3, request={"waivers_file": Path("w.toml"), "logits": YourLogits(files=("a",))})
    [folder] = stored(tmp_path, one)
    assert read_part(folder) == one
    (folder / PART_NAME).write_bytes(b'{"schema": 9}')
    with pytest.raises(CannotJudgeError, match="has schema 9, and this version reads 1"):
        read_part(folder)
    (folder / PART_NAME).write_bytes(b"[")
    with pytest.raises(CannotJudgeError, match="is damaged"):
        read_part(folder)
    with pytest.raises(CannotJudgeError, match=r"there is no part of a run in .*--shard I/N"):
        read_part(tmp_path / "nowhere")


def test_all_parts_in_whatever_order(tmp_path: Path) -> None:
    folders = stored(tmp_path, part(2, 3), part(3, 3), part(1, 3))
    found = read_parts(folders)
    assert [one.request.part for one in found.parts] == [(1, 3), (2, 3), (3, 3)]
    assert found.folders == (folders[2], folders[0], folders[1])
    assert found.request == Request()


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ((part(1, 3), part(3, 3)), "part 2 of 3 is missing"),
        ((part(1, 2), part(1, 2)), "part 1 of 2 is there twice"),
        ((part(1, 2), part(2, 3)), "of runs with other numbers of them"),
        ((part(1, 2), part(2, 2, request={"seed": 1})), "of one run: seed is 0 and 1"),
        (
            (part(1, 2), part(2, 2, provenance={"versions": {"torch": "3"}})),
            "of one run: versions, torch: 2 and 3",
        ),
        ((part(1, 2**62),), r"part 2, 3, .* and 4,611,686,018,427,387,883 more of 46116860184273"),
        (
            (part(1, 2, request={"families": ("long-streams", "long-streams")}),),
            "a family is named twice",
        ),
        ((), "no part of a run is named"),
    ],
)
def test_what_is_no_whole_run(tmp_path: Path, parts: tuple[Part, ...], why: str) -> None:
    with pytest.raises(CannotJudgeError, match=why):
        read_parts(stored(tmp_path, *parts))


def test_a_part_that_lacks_what_it_was_to_do(tmp_path: Path) -> None:
    folders = stored(tmp_path, part(1, 2), part(2, 2))
    with pytest.raises(CannotJudgeError, match="0 of 2 parts have rust_ext at default, and 2 must"):
        merge(folders, tmp_path / "merged")
    assert not (tmp_path / "merged" / "run.json").exists()


@pytest.mark.proof
@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_every_order_and_every_case_is_in_one_part(tmp_path: Path, of: int) -> None:
    whole = orders_of(Request(), tmp_path)
    shares = [orders_of(Request(part=(number, of)), tmp_path) for number in range(1, of + 1)]
    others = [order.name for share in shares for order in share if _beside(order)]
    assert sorted(others) == sorted(order.name for order in whole if _beside(order))
    for share in shares:
        assert len([order for order in share if not _beside(order)]) == len(CAPABILITIES)
    counts = CASE_COUNTS["quick-look"]
    ids = [case.id for case in plan(counts, 0)]
    found = [
        [case.id for case in plan(counts, 0, chosen=slice(number, None, of))]
        for number in range(of)
    ]
    assert sorted(one for each in found for one in each) == sorted(ids)


def _beside(order: Any) -> bool:
    return not isinstance(order, CompareCases)


@pytest.mark.parametrize("words", ["2", "a/3", "1/", "/2"])
def test_a_shard_is_i_of_n(words: str) -> None:
    with pytest.raises(CannotJudgeError, match="is not I/N"):
        _part(words)
    assert _part("2/3") == (2, 3)
    assert _part("") is None


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (Request(part=(0, 2)), "part 0 is none of 1 to 2"),
        (Request(part=(3, 2)), "part 3 is none of 1 to 2"),
        (Request(part=(1, 2), profile="quick-look"), "is not for several machines"),
    ],
)
def test_a_part_that_is_none(request_: Request, why: str) -> None:
    with pytest.raises(CannotJudgeError, match=why):
        request_.check()


def test_a_part_says_that_it_is_not_the_gate() -> None:
    run = msgspec.structs.replace(make_run(), part="2/3", status="equal")
    assert conclusion(run).startswith("part 2 of 3, not the gate: nothing differs in it")
    differs = msgspec.structs.replace(run, status="diverges")
    assert "part 2 of 3, not the gate: it found a divergence" in conclusion(differs)


@pytest.mark.parametrize(
    ("cases", "expected"), [((9, 8, 1), ("top-p", 17, 30)), ((6, 1, 7), None), ((), None)]
)
def test_what_explains_less_than_half_of_all_parts_is_not_told(
    cases: tuple[int, ...], expected: tuple[str, int, int] | None
) -> None:
    """As in a run of one piece; each part has found what explains most of its own ten cases."""
    changes = ("top-p", "top-p", "top-k")
    shards = [
        msgspec.structs.replace(
            make_shard(),
            explained=Explained(function="f", change=change, stage="s", cases=n, looked_at=10),
        )
        for n, change in zip(cases, changes, strict=False)
    ]
    found = merging._explained(shards or [make_shard()])
    assert (found and (found.change, found.cases, found.looked_at)) == expected


def alike(run: Run) -> dict[str, Any]:
    """Give a run without what depends on where and when it was made."""
    found: dict[str, Any] = msgspec.to_builtins(run)
    for name in ("command", "started", "seconds", "reasons"):
        del found[name]
    for shard in found["shards"]:
        # Each part holds its own semantic cases against the known functions.
        shard.pop("explained", None)
        for divergence in shard["divergences"]:
            divergence["replay"] = divergence["replay"].split("--run")[0]
            if divergence["shrunken"]:
                divergence["shrunken"]["replay"] = divergence["shrunken"]["replay"].rpartition("/")[
                    2
                ]
    return found


@pytest.mark.proof
@pytest.mark.parametrize("implementation", ["specimen-not-renormalised", "rust_ext"])
def test_parts_put_together_are_the_run(tmp_path: Path, implementation: str) -> None:
    logits = tmp_path / "mine.npy"
    np.save(logits, np.random.default_rng(2).standard_normal((8, 30)).astype(np.float32))
    request = Request(
        implementations=(implementation,),
        capabilities=(HERE,),
        families=(YOURS, "long-streams"),
        logits=YourLogits(files=(str(logits),)),
        folder=tmp_path / "whole",
    )
    whole = run_gate(request)
    folders = []
    for number in (1, 2):
        folders.append(tmp_path / str(number))
        run_gate(replace(request, folder=folders[-1], part=(number, 2)))
    home = tmp_path / "merged"
    merged = merge(folders[::-1], home)
    assert alike(merged) == alike(whole)
    assert merged.shards[-1].compared > 10
    files = [
        sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors"))
        for folder in (home, tmp_path / "whole")
    ]
    assert files[0] == files[1]
    assert bool(files[0]) == bool(whole.shards[-1].divergent)
    kept = [found.evidence for shard in merged.shards for found in shard.divergences]
    assert {path for path in kept if path} <= set(files[0])
    # Where a part's stages are lost, nothing is stored half.
    if files[0]:
        shutil.rmtree(folders[0] / "evidence")
        with pytest.raises(CannotJudgeError, match=r"cannot be read \(No such file"):
            merge(folders, tmp_path / "again")
        assert not (tmp_path / "again" / "run.json").exists()
