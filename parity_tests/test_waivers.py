"""An accepted divergence has an owner, a reason and an end, and it happens."""

import datetime as dt
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from parity_tests.conftest import Shared
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.verdict import Verdict
from sampler_parity.run.conclusion import conclude
from sampler_parity.run.gate import run_gate
from sampler_parity.run.gathering import Found
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import Run, read_run
from sampler_parity.run.waivers import AppliedWaiver, Waiver, expired, load_waivers

TODAY = dt.date(2026, 6, 1)
TEXT = """
[[waiver]]
implementation = "specimen-rwkv-pip"
family = "zipf"
stage = "renormalized"
verdict = "semantic"
owner = "Ada"
reason = "top-p before top-k is what our models were tuned with"
expires = 2026-06-01
"""


def loaded(text: str, folder: Path) -> tuple[Waiver, ...]:
    path = folder / "parity.toml"
    path.write_text(text)
    return load_waivers(path)


def test_a_file_is_read(tmp_path: Path) -> None:
    [waiver] = loaded(TEXT, tmp_path)
    assert (waiver.verdict, waiver.expires, waiver.owner) == (Verdict.SEMANTIC, TODAY, "Ada")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[waiver]", "cannot be read"),
        (TEXT.replace('owner = "Ada"', ""), "missing required field `owner`"),
        (TEXT.replace("Ada", " "), "owner is empty"),
        (TEXT.replace('"semantic"', '"harmless"'), "Invalid enum value 'harmless'"),
        (TEXT.replace("zipf", "zpif"), "family 'zpif' is none of"),
        (TEXT.replace("2026-06-01", '"next year"'), "Invalid RFC3339"),
        (TEXT.replace("2026-06-01", "2026-06-01\nseverity = 3"), "unknown field `severity`"),
        (TEXT.replace("[[waiver]]", "[[wavier]]"), "unknown field `wavier`"),
    ],
)
def test_a_bad_file_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CannotJudgeError, match=sentence):
        loaded(text, tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotJudgeError, match="cannot be read"):
        load_waivers(tmp_path / "none.toml")


def test_a_waiver_of_what_is_not_run_is_refused(tmp_path: Path) -> None:
    request = Request(waivers=loaded(TEXT, tmp_path), folder=tmp_path)
    with pytest.raises(CannotJudgeError, match="for an implementation that is not run"):
        run_gate(request)


EVERY_KIND = TEXT + "".join(
    TEXT.replace('"semantic"', f'"{verdict}"').replace('"renormalized"', f'"{stage}"')
    for stage, verdict in (("renormalized", "rounding"), ("input", "effect"))
)


@pytest.fixture(scope="module")
def run(shared: Shared) -> Run:
    """A run in which two of three waivers cover what diverges."""
    return read_run(shared.once("accepted", run_with_waivers))


def run_with_waivers(folder: Path) -> None:
    found = run_gate(
        Request(
            implementations=("specimen-rwkv-pip",),
            families=("zipf",),
            capabilities=("avx2",),
            folder=folder,
            waivers=loaded(EVERY_KIND, folder),
            today=TODAY,
        )
    )
    assert read_run(folder) == found


def reasons(run: Run, waivers: tuple[AppliedWaiver, ...]) -> tuple[str, ...]:
    """Why a whole run with these waivers would not hold, faults apart."""
    found = Found(shards=run.shards, waivers=waivers)
    status, why = conclude(Request(), found)
    return (
        tuple(reason for reason in why if not re.search("fault|frequencies", reason))
        if status != "holds"
        else ()
    )


@pytest.mark.proof
def test_what_is_waived_passes(run: Run) -> None:
    [shard] = run.shards
    semantic, rounding, _ = run.waivers
    assert semantic.cases > 10
    assert rounding.cases > 10
    assert semantic.cases + rounding.cases == shard.accepted == shard.divergent
    assert reasons(run, (semantic, rounding)) == ()


@pytest.mark.proof
def test_what_no_longer_happens_fails(run: Run) -> None:
    [unused] = [applied for applied in run.waivers if not applied.cases]
    assert run.status == "diverges"
    [reason] = run.reasons
    assert reason.startswith("the waiver of effect at input in zipf, for specimen-rwkv-pip")
    assert reason.endswith("covers nothing any more: remove it")
    assert reasons(run, (unused,)) == (reason,)


@pytest.mark.proof
def test_a_waiver_has_its_day(run: Run) -> None:
    waivers = tuple(applied.waiver for applied in run.waivers)
    late = Request(waivers=waivers, today=TODAY + dt.timedelta(days=1))
    assert late.waivers_of("specimen-rwkv-pip") == ()
    assert replace(late, today=TODAY).waivers_of("specimen-rwkv-pip") == waivers
    applied = AppliedWaiver(waiver=waivers[0], cases=0, expired=expired(waivers[0], late.today))
    [reason] = reasons(run, (applied,))
    assert reason.endswith("expired on 2026-06-01: mend it, or have Ada renew it")


@pytest.mark.proof
def test_a_divergence_that_is_not_waived_fails(run: Run) -> None:
    shard = msgspec.structs.replace(run.shards[0], accepted=run.shards[0].divergent - 1)
    status, [reason] = conclude(Request(), Found(shards=(shard,)))
    assert status == "diverges"
    assert f"{shard.accepted:,} are waived" in reason


@pytest.mark.proof
def test_a_waiver_covers_its_family_stage_and_verdict_only(run: Run) -> None:
    waiver = run.waivers[0].waiver
    found = {f.divergence.verdict: f.divergence for f in run.shards[0].divergences}
    semantic, rounding = found[Verdict.SEMANTIC], found[Verdict.ROUNDING]
    assert waiver.covers("zipf", semantic)
    assert not waiver.covers("bf16", semantic)
    assert not waiver.covers("zipf", rounding)
    assert not msgspec.structs.replace(waiver, stage="probs").covers("zipf", semantic)
    assert msgspec.structs.replace(waiver, family="*").covers("bf16", semantic)
