"""Two recordings: every fault of engines is named, at its first call, alone and in pairs."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

import python_ref
from sampler_parity.engines import Recorder, Recording, drawing, given, turns, values
from sampler_parity.engines import own as own_calls
from sampler_parity.engines.attribution import attribute
from sampler_parity.engines.contract import NONE, Contract, Engine, Phase
from sampler_parity.engines.findings import EQUAL, Attribution
from sampler_parity.engines.planted import judged, plant
from sampler_parity.engines.small_engine import FAULTS, GLOBAL, PER_PHASE, SEMANTIC, SmallEngine

PAIRS = [
    ("wrong-sampler", "feedback-offset"),
    ("wrong-sampler", "mask-missing"),
    ("wrong-sampler", "foreign-draw"),
    ("wrong-parameters", "reseeded-each-call"),
    ("wrong-parameters", "late-start"),
    ("wrong-parameters", "stop-rule"),
    ("short-slice", "reseeded-each-phase"),
    ("short-slice", "half-logits"),
    ("long-slice", "stale-logits"),
    ("long-slice", "extra-draw"),
    ("mask-missing", "mask-extra"),
    ("mask-missing", "not-renormalised"),
    ("mask-extra", "model"),
    ("reseeded-each-call", "foreign-draw"),
    ("reseeded-each-call", "stop-rule"),
    ("reseeded-each-phase", "extra-draw"),
    ("shared-generator", "feedback-offset"),
    ("shared-generator", "half-logits"),
    ("extra-draw", "foreign-draw"),
    ("foreign-draw", "model"),
    ("feedback-offset", "stop-rule"),
    ("stale-logits", "stop-rule"),
    ("late-start", "half-logits"),
    ("not-renormalised", "wrong-parameters"),
    ("model", "half-logits"),
]


def compared(first: Path, second: Path, contract: Contract = NONE) -> Attribution:
    return attribute(Recording.open(first), Recording.open(second), contract)


def pair(folder: Path, *switched: str, forced: bool = False, generations: int = 2) -> Attribution:
    """Compare the small engine with the same one with faults."""
    base = frozenset[str]().union(*(FAULTS[name].base for name in switched if name in FAULTS))
    clean, faulty = folder / "clean.calls", folder / "faulty.calls"
    SmallEngine(base).run(clean, generations)
    SmallEngine(base | set(switched)).run(faulty, generations, clean if forced else None)
    return compared(clean, faulty)


def own(found: Attribution) -> list[tuple[str, str, str, int]]:
    """List the findings that are causes."""
    return [
        (one.kind, one.what, one.phase, one.call)
        for one in found.findings
        if one.kind != "consequence"
    ]


@pytest.mark.proof
@pytest.mark.parametrize("name", [EQUAL, *FAULTS])
def test_every_fault_alone(tmp_path: Path, name: str) -> None:
    for planted in plant(tmp_path, [name]):
        assert planted.killed, f"{planted.expected} was expected, and {planted.found} found"


@pytest.mark.proof
@pytest.mark.parametrize("names", PAIRS, ids="+".join)
def test_two_faults_when_forced(tmp_path: Path, names: tuple[str, str]) -> None:
    found = pair(tmp_path, *names, forced=True)
    expected = {(FAULTS[name].kind, FAULTS[name].what) for name in names}
    assert {(kind, what) for kind, what, _, _ in own(found)} == expected
    for name in names:
        fault = FAULTS[name]
        place = next((p, c) for k, w, p, c in own(found) if (k, w) == (fault.kind, fault.what))
        assert place[0] == fault.phase
        assert fault.call is None or place[1] == fault.call


def test_a_fault_that_is_not_there_is_missed(tmp_path: Path) -> None:
    """The check can fail: another fault than the one expected, or none."""
    found = pair(tmp_path, "wrong-parameters")
    assert not judged("wrong-sampler", found, forced=False).killed
    assert not judged(EQUAL, found, forced=False).killed
    assert not judged("wrong-parameters", pair(tmp_path), forced=False).killed


BLIND: dict[str, tuple[object, str, object]] = {
    "half-logits": (values, "apart", lambda *_: None),
    "mask-extra": (values, "masks", lambda *_: values.Masks(np.empty(0, int), np.empty(0, int))),
    "wrong-parameters": (given, "differing", lambda *_: {}),
    "reseeded-each-call": (drawing, "_entries", lambda *_, **__: None),
    "extra-draw": (turns, "again", lambda *_, **__: False),
    "not-renormalised": (own_calls, "fits", lambda *_: True),
}
"""For a fault, what notices it, and a blind one in its place."""


@pytest.mark.parametrize("name", BLIND)
def test_a_blind_comparison_is_seen(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever part of the comparison stops to look, a planted fault tells."""
    monkeypatch.setattr(*BLIND[name])
    assert not any(planted.killed for planted in plant(tmp_path, [name]))


@pytest.mark.proof
def test_equal_engines_over_twenty_generations(tmp_path: Path) -> None:
    found = pair(tmp_path, generations=20)
    assert found.status == "holds"
    assert found.findings == ()
    assert found.not_compared == ()
    assert (found.planned, found.compared) == (640, 640)
    assert found.sentence == (
        "A and B are equal at each of 320 calls of 20 generations: sampler, parameters, "
        "vocabulary, logits, random numbers and tokens."
    )
    assert {step.variation for step in found.timeline} == {0.0}


def test_the_sentence(tmp_path: Path) -> None:
    found = pair(tmp_path, "wrong-sampler", "stop-rule", forced=True, generations=1)
    first, *others = found.sentence.split(". ")
    assert first == (
        "At call 0 of the semantic phase B calls simple_batch_sampler(noise=1.0, temp=1.0) where A "
        "calls sample_logits(temperature=1.0, top_p=0.95, top_k=80) (10 of 18 calls); nothing "
        "before it differs"
    )
    assert others[0].startswith("Alone it moves the law by 0.")
    assert others[1] == (
        "With that put right, the next difference is: at call 10 of the semantic phase B makes 2 "
        "calls that A does not make."
    )


def test_what_one_ingredient_does_alone(tmp_path: Path) -> None:
    """The law's move is the total variation of the reference's own laws, taken from torch."""
    found = pair(tmp_path, "wrong-parameters", generations=1)
    (finding,) = [one for one in found.findings if one.kind == "parameters"]
    assert finding.alone is not None
    clean = Recording.open(tmp_path / "clean.calls")
    index = next(i for i, call in enumerate(clean.calls) if call.phase == SEMANTIC)
    logits = torch.from_numpy(clean.tensors(index)["logits"].copy())
    laws = [
        python_ref.trace_sample_logits(logits, 1.0, 0.95, top_k).renormalized.double()
        for top_k in (80, 20)
    ]
    moved = float((laws[0] - laws[1]).abs().sum() / 2)
    assert finding.alone.variation == pytest.approx(moved, abs=1e-6)
    assert finding.alone.repairs is True
    step = next(one for one in found.timeline if one.phase == SEMANTIC)
    assert step.variation == pytest.approx(moved, abs=1e-6)


CONTRACT = Contract(
    phase=(
        Phase(
            name=SEMANTIC,
            sampler="sample_logits",
            parameters={"temperature": 1.0, "top_p": 0.95, "top_k": 80},
        ),
        Phase(name=GLOBAL, sampler="sample_logits"),
    ),
    name="small engine",
)


def test_a_contract_says_who_is_right(tmp_path: Path) -> None:
    pair(tmp_path, "wrong-parameters", forced=True)
    clean, faulty = tmp_path / "clean.calls", tmp_path / "faulty.calls"
    for one, other, side in ((clean, faulty, "B"), (faulty, clean, "A"), (faulty, faulty, "both")):
        found = compared(one, other, CONTRACT)
        (finding,) = [one for one in found.findings if one.kind == "parameters"]
        assert (finding.side, finding.phase, finding.call) == (side, SEMANTIC, 0)
        assert found.status == "diverges"
    assert compared(clean, clean, CONTRACT).status == "holds"


def engine(
    path: Path, draw: Callable[[np.ndarray], int], *, source: str = "", keep: str = "whole"
) -> None:
    """Record 40 calls of a sampler on logits that depend on nothing but their number."""
    with Recorder(path, "mine", keep=keep, overwrite=True) as recorder, recorder.phase(SEMANTIC):
        for number in range(40):
            logits = (2 * np.random.default_rng(number).standard_normal(50)).astype(np.float32)
            parameters = {"temperature": 1.0, "top_p": 0.0, "top_k": 0}
            with recorder.call(
                "sample_logits", logits[None], parameters=parameters, source=source
            ) as call:
                call.returned(draw(logits))
            recorder.fed(number)


def by_chance(seed: int) -> Callable[[np.ndarray], int]:
    generator = np.random.default_rng(seed)

    def draw(logits: np.ndarray) -> int:
        p = np.exp(logits.astype(np.float64))
        return int(generator.choice(len(p), p=p / p.sum()))

    return draw


@pytest.mark.proof
def test_streams_that_differ_by_design(tmp_path: Path) -> None:
    one, other = tmp_path / "one.calls", tmp_path / "other.calls"
    engine(one, by_chance(1), source="StdRng")
    engine(other, by_chance(2), source="cupy")
    found = compared(one, other)
    assert ("stream", "another source", SEMANTIC, 0) in own(found)
    asked = Contract(engine=Engine(streams="own"))
    found = compared(one, other, asked)
    assert found.status == "holds"
    assert [finding.kind for finding in found.findings] == ["consequence"]


@pytest.mark.proof
def test_a_token_that_its_own_call_cannot_give(tmp_path: Path) -> None:
    one, other = tmp_path / "one.calls", tmp_path / "other.calls"
    engine(one, by_chance(1), source="StdRng")
    engine(other, lambda _: 60, source="StdRng")
    found = compared(one, other, Contract(engine=Engine(streams="own")))
    assert own(found) == [("arithmetic", "semantic", SEMANTIC, 0)]
    assert next(iter(found.findings)).side == "B"


@pytest.mark.parametrize("keep", ["digest", "top:5"])
def test_sparing_recordings(tmp_path: Path, keep: str) -> None:
    """What is kept is compared; what is not is said, and is no finding."""
    one, other = tmp_path / "one.calls", tmp_path / "other.calls"
    engine(one, lambda _: 3, source="StdRng", keep=keep)
    engine(other, lambda _: 3, source="StdRng", keep=keep)
    found = compared(one, other)
    assert found.findings == ()
    assert any("cannot be told" in one.reason for one in found.not_compared)
    engine(other, lambda _: 3, source="StdRng")
    reasons = [one.reason for one in compared(one, other).not_compared]
    assert any(reason.startswith("A keeps logits as") for reason in reasons)


def test_a_generation_that_one_side_lacks(tmp_path: Path) -> None:
    SmallEngine().run(tmp_path / "two.calls", 2)
    SmallEngine().run(tmp_path / "three.calls", 3)
    found = compared(tmp_path / "three.calls", tmp_path / "two.calls")
    assert own(found) == [("loop", "missing calls", GLOBAL, 0)]
    assert found.findings[0].generation == 2
    assert found.planned - found.compared == 16
    assert [one.reason for one in found.not_compared] == ["B has no generation 2"]


def test_generations_that_are_interleaved(tmp_path: Path) -> None:
    """Calls are laid beside one another by generation, whatever their order in the file."""
    SmallEngine().run(tmp_path / "apart.calls", 2)
    recording = Recording.open(tmp_path / "apart.calls")
    lines = (tmp_path / "apart.calls").read_bytes()
    records = []
    at = 0
    while at < len(lines):
        end = lines.index(b"\n", at) + 1
        size = msgspec.json.decode(lines[at:end]).get("bytes", 0)
        records.append(lines[at : end + size])
        at = end + size
    header, *middle, last = records
    of = [msgspec.json.decode(one.split(b"\n", 1)[0]).get("generation") for one in middle]
    first = [one for one, number in zip(middle, of, strict=True) if number == 0]
    second = [one for one, number in zip(middle, of, strict=True) if number == 1]
    mixed = [record for both in zip(first, second, strict=True) for record in both]
    (tmp_path / "mixed.calls").write_bytes(b"".join([header, *mixed, last]))
    assert len(Recording.open(tmp_path / "mixed.calls").calls) == len(recording.calls)
    found = compared(tmp_path / "apart.calls", tmp_path / "mixed.calls")
    assert found.status == "holds"
    assert found.findings == ()


def test_a_prefix_is_never_a_pass(tmp_path: Path) -> None:
    """Wherever a file is cut, what is left is judged, and the status says that it is not whole."""
    SmallEngine().run(tmp_path / "whole.calls", 1)
    content = (tmp_path / "whole.calls").read_bytes()
    cut = tmp_path / "cut.calls"
    rng = np.random.default_rng(7)
    sizes = [len(content) - 1, len(content) - 30, *rng.integers(200, len(content), 25).tolist()]
    for size in sizes:
        cut.write_bytes(content[:size])
        found = compared(tmp_path / "whole.calls", cut)
        assert found.status == "unjudged", f"cut at byte {size}"
        assert found.findings == ()
        assert found.planned == found.compared + sum(
            one.calls for one in found.not_compared if "has no" in one.reason
        )


def test_a_recording_without_calls(tmp_path: Path) -> None:
    SmallEngine().run(tmp_path / "none.calls", 0)
    found = compared(tmp_path / "none.calls", tmp_path / "none.calls")
    assert (found.status, found.sentence) == ("unjudged", "No call was compared.")


def test_logits_that_are_not_finite(tmp_path: Path) -> None:
    for name, value in (("one", np.nan), ("other", np.inf)):
        path = tmp_path / f"{name}.calls"
        with Recorder(path, "mine") as recorder:
            logits = np.full((1, 8), value, np.float32)
            with recorder.call("sample_logits", logits, parameters={"top_p": 0.0}) as call:
                call.returned(0)
    found = compared(tmp_path / "one.calls", tmp_path / "other.calls")
    assert ("logits", "other", "", 0) in own(found)


def test_shared_generators_need_their_own_base() -> None:
    assert FAULTS["shared-generator"].base == frozenset({PER_PHASE})


def one_call(path: Path, logits: np.ndarray, history: list[int] | None = None) -> None:
    with Recorder(path, "mine", overwrite=True) as recorder:
        parameters = {"temperature": 1.0, "top_p": 0.0, "top_k": 1}
        with recorder.call(
            "sample_logits", logits, parameters=parameters, source="x", history=history
        ) as call:
            call.returned(3)


def test_one_row_is_one_row(tmp_path: Path) -> None:
    """Some engines pass [V], some [1, V]."""
    row = np.arange(4, dtype=np.float32)
    one_call(tmp_path / "one.calls", row)
    one_call(tmp_path / "other.calls", row[None])
    found = compared(tmp_path / "one.calls", tmp_path / "other.calls")
    assert found.findings == ()


def test_what_a_sampler_looks_back_on(tmp_path: Path) -> None:
    row = np.arange(4, dtype=np.float32)
    one_call(tmp_path / "one.calls", row, history=[1, 2])
    one_call(tmp_path / "other.calls", row, history=[1, 3])
    found = compared(tmp_path / "one.calls", tmp_path / "other.calls")
    assert own(found) == [("parameters", "history", "", 0)]


def test_both_break_their_contract_alike(tmp_path: Path) -> None:
    SmallEngine().run(tmp_path / "one.calls")
    asked = Contract(phase=(Phase(name=GLOBAL, calls=5),), name="five")
    found = compared(tmp_path / "one.calls", tmp_path / "one.calls", asked)
    loops = [one for one in found.findings if one.what == "extra calls"]
    assert [(one.side, one.call) for one in loops] == [("both", 5)]


def test_what_is_fed_wrongly_is_marked_on_the_timeline(tmp_path: Path) -> None:
    found = pair(tmp_path, "feedback-offset", generations=1)
    marked = [(s.phase, s.call) for s in found.timeline if "loop" in s.kinds]
    assert marked == [(GLOBAL, 2)]


def test_a_noise_that_many_tokens_are_within(tmp_path: Path) -> None:
    """A law that cannot be computed is not known, and nothing else goes wrong."""
    for name, noise in (("one", 50.0), ("other", 60.0)):
        with Recorder(tmp_path / f"{name}.calls", "mine") as recorder:
            logits = np.zeros((1, 600), np.float32)
            parameters = {"noise": noise, "temp": 1.0}
            with recorder.call("simple_batch_sampler", logits, parameters=parameters) as call:
                call.returned(3)
    found = compared(tmp_path / "one.calls", tmp_path / "other.calls")
    assert own(found) == [("parameters", "wrong parameters", "", 0)]
    assert found.findings[0].alone is not None
    assert found.findings[0].alone.variation is None
