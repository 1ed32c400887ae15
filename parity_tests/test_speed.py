"""A stored benchmark is shown as what it is: where and when, missed bars, faster peers, its age."""

import re
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from benchmarks import instructions
from benchmarks.readme import STORED, between, excerpt, floor, rewrite, table, tables
from benchmarks.side_by_side import CORES_WORKS, REFERENCE_BARS
from parity_tests.runs import BUILD, make_bar, make_benchmark, make_run, make_shard
from sampler_parity.cli import app
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.report import render
from sampler_parity.run.benchmark_file import (
    MOST_BYTES,
    SCHEMA,
    Benchmark,
    encoded,
    faster_peers,
    read_benchmark,
)
from sampler_parity.run.gate import run_of
from sampler_parity.run.gathering import Found
from sampler_parity.run.request import Request
from sampler_parity.run.run_file import Run, read_run, write_run


def run_with(benchmark: Benchmark | None) -> Run:
    run = make_run(make_shard(), status="holds")
    return msgspec.structs.replace(run, benchmark=benchmark, provenance=BUILD)


def section(page: str) -> str:
    """Give the words of the report's section."""
    found = re.search(r'<section id="speed".*?</section>', page, re.DOTALL)
    assert found
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split())


def test_a_stored_benchmark_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    path.write_bytes(encoded(make_benchmark()))
    assert read_benchmark(path) == make_benchmark()


def changed(**fields: object) -> bytes:
    return msgspec.json.encode(msgspec.to_builtins(make_benchmark()) | fields)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no sound benchmark"),
        (b"\xff\xfe", "no sound benchmark"),
        (b"[1]", "no sound benchmark"),
        (b'{"schema": "1"}', "no sound benchmark"),
        (b'{"schema": 1}', "no sound benchmark"),
        (b'{"schema": ' + b"[" * 100_000, "no sound benchmark"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b', "schema": 1}', "no sound benchmark"),
        (changed(schema=SCHEMA + 1), f"schema {SCHEMA + 1}, and this version reads {SCHEMA}"),
        (changed(schema=0), "schema 0"),
        (changed(seconds=-1.0), "no sound benchmark"),
        (changed(timings=[]), "no sound benchmark"),
        (changed(capability="x" * 1_000), "no sound benchmark"),
        (encoded(make_benchmark()).replace(b"7.25", b"0.0"), "no sound benchmark"),
        (encoded(make_benchmark()).replace(b"7.25", b"NaN"), "no sound benchmark"),
        (encoded(make_benchmark()).replace(b"7.25", b"1e999"), "no sound benchmark"),
        (b" " * (MOST_BYTES + 1), "more than"),
    ],
)
def test_a_file_that_is_none_is_one_clear_error(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "speed.json"
    path.write_bytes(content)
    with pytest.raises(CannotJudgeError, match=words) as caught:
        read_benchmark(path)
    assert str(path) in str(caught.value)


def test_a_folder_or_nothing_is_one_clear_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.json"):
        with pytest.raises(CannotJudgeError, match="there is no benchmark in"):
            read_benchmark(path)


def test_a_bar_is_reached_from_its_own_side() -> None:
    assert make_bar(40, 40, at_least=True).reached
    assert not make_bar(39.9, 40, at_least=True).reached
    assert make_bar(1.5, 1.5, at_least=False).reached
    assert not make_bar(1.51, 1.5, at_least=False).reached


def test_a_faster_peer_is_named_and_the_floor_is_none() -> None:
    assert not faster_peers(make_benchmark())
    [sentence] = faster_peers(make_benchmark(peer=0.8))
    assert sentence.startswith("a peer is 1.25 times faster than the port in `sample_logits`")


def test_the_report_has_the_section_only_where_there_is_a_benchmark() -> None:
    assert 'id="speed"' not in render(run_with(None))
    page = render(run_with(make_benchmark()))
    words = section(page)
    assert '<a href="#speed">' in page
    assert "23 November 2026" in words
    assert "a processor, 2 logical cores" in words
    assert "Bars: 1 of 1 reached" in words
    assert "60 (30 to 120)" in words
    assert "another not measured: it was not built" in words
    assert "missed" not in words
    assert "faster" not in words.replace("is faster than the port", "")
    assert "<svg" in page[page.index('id="speed"') :]


def test_missed_bars_come_first_and_faster_peers_are_marked() -> None:
    kept, missed = make_bar(60, 40, at_least=True), make_bar(2, 1.5, at_least=False)
    words = section(render(run_with(make_benchmark(0.8, kept, missed))))
    assert "Bars: 1 of 2 reached" in words
    assert words.index("missed") < words.index("at least 40")
    assert "a peer is 1.25 times faster than the port" in words
    assert "0.8 (0.4 to 1.6) faster" in words


@pytest.mark.parametrize(
    ("heading", "name", "words"),
    [
        ("extension", "source_hash", "not measured with the extension that this run judged"),
        ("sources", "commit", "measured at another commit, other, from the same Rust sources"),
        ("versions", "torch", "with another torch: other; this run has 2.15.0"),
        ("machine", "processor", "on another machine: other"),
    ],
)
def test_a_benchmark_of_something_else_is_said_to_be_so(
    heading: str, name: str, words: str
) -> None:
    assert words not in section(render(run_with(make_benchmark())))
    provenance = BUILD | {heading: {name: "other"}}
    other = msgspec.structs.replace(make_benchmark(), provenance=provenance)
    assert words in section(render(run_with(other)))


def test_a_benchmark_beside_other_work_is_said_to_be_rough() -> None:
    busy = msgspec.structs.replace(make_benchmark(), waited=0.38)
    for shown, quiet in (
        (section(render(run_with(busy))), section(render(run_with(make_benchmark())))),
        (table(busy), table(make_benchmark())),
    ):
        words = "Other work had the machine's cores for 38% of the time"
        assert words in " ".join(shown.split()).replace("&#39;", "'")
        assert "Other work" not in quiet
    assert not msgspec.structs.replace(busy, waited=None).disturbed


def test_a_benchmark_that_does_not_say_its_build_is_not_believed() -> None:
    unknown = msgspec.structs.replace(make_benchmark(), provenance={})
    assert "not measured with the extension" in section(render(run_with(unknown)))


def test_names_from_a_file_cannot_become_markup() -> None:
    content = encoded(make_benchmark()).replace(b"a peer", b"<script>alert(1)</script>")
    page = render(run_with(msgspec.json.decode(content, type=Benchmark)))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_report_stores_the_benchmark_in_the_run(tmp_path: Path) -> None:
    folder, path = tmp_path / "run", tmp_path / "speed.json"
    write_run(folder, run_with(None))
    path.write_bytes(encoded(make_benchmark()))
    arguments = ["report", str(folder), "--benchmarks", str(path)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert read_run(folder).benchmark == make_benchmark()
    page = (folder / "index.html").read_bytes()
    path.unlink()
    assert CliRunner().invoke(app, ["report", str(folder)]).exit_code == 0
    assert (folder / "index.html").read_bytes() == page


def test_a_run_keeps_the_benchmark_that_it_was_given() -> None:
    request = Request(benchmark=make_benchmark())
    run = run_of(request, Found(), "2026-01-01T00:00:00+00:00", 1.0, {})
    assert run.benchmark == make_benchmark()
    assert run.status == "unjudged"


@pytest.mark.parametrize("command", ["run", "report"])
def test_a_bad_benchmark_stops_a_command_before_it_writes(tmp_path: Path, command: str) -> None:
    folder, path = tmp_path / "run", tmp_path / "speed.json"
    before = write_run(folder, run_with(None)).read_bytes()
    path.write_bytes(changed(schema=SCHEMA + 1))
    place = [str(folder)] if command == "report" else ["--out", str(folder)]
    result = CliRunner().invoke(app, [command, *place, "--benchmarks", str(path)])
    assert isinstance(result.exception, CannotJudgeError)
    assert [file.name for file in folder.iterdir()] == ["run.json"]
    assert (folder / "run.json").read_bytes() == before


def test_a_run_that_was_stored_before_there_were_benchmarks_is_read(tmp_path: Path) -> None:
    path = write_run(tmp_path, run_with(None))
    fields = msgspec.json.decode(path.read_bytes())
    del fields["benchmark"]
    path.write_bytes(msgspec.json.encode(fields))
    assert read_run(tmp_path) == run_with(None)


def test_a_run_with_a_benchmark_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, run_with(make_benchmark()))
    fields = msgspec.json.decode(path.read_bytes())
    fields["benchmark"]["schema"] = SCHEMA + 1
    path.write_bytes(msgspec.json.encode(fields))
    with pytest.raises(CannotJudgeError, match=r"benchmark\.schema"):
        read_run(tmp_path)


def test_every_table_is_what_is_stored() -> None:
    """Else ``python -m benchmarks.readme`` writes them again."""
    stored, counts = read_benchmark(STORED), instructions.read(instructions.STORED)
    pages = tables(stored, counts)
    assert sum(map(len, pages.values())) == 4
    for path, inside in pages.items():
        for name, expected in inside.items():
            assert between(path.read_text(encoding="utf-8"), name)[1] == expected
    assert excerpt(stored).count("\n") == 4
    assert floor(stored).count("| V = ") == sum(bar.bound == 1.5 for bar in stored.bars)


def test_the_readme_names_the_fastest_other_sampler_and_needs_its_three_calls() -> None:
    stored = read_benchmark(STORED)
    ratio = msgspec.structs.replace(stored.timings[0].sides[0].ratio, median=0.5)
    sped = tuple(
        msgspec.structs.replace(
            timing,
            sides=tuple(
                msgspec.structs.replace(side, ratio=ratio) if side.name == "rwkv" else side
                for side in timing.sides
            ),
        )
        for timing in stored.timings
    )
    assert excerpt(msgspec.structs.replace(stored, timings=sped)).count("**0.5x** (rwkv)") == 3
    with pytest.raises(CannotJudgeError, match=r"no `sample_logits` of V = 65,536, k = 0"):
        excerpt(make_benchmark())


def test_the_stored_benchmark_measured_everything_that_is_asked_for() -> None:
    stored = read_benchmark(STORED)
    assert not stored.quick
    works = {
        (timing.work.vocab, timing.work.batch)
        for timing in stored.timings
        if timing.where == "python" and timing.work.function == "sample_logits"
    }
    vocabs = (4_096, 8_193, 32_000, 49_152, 65_536, 128_256, 151_936)
    assert works == {(vocab, batch) for vocab in vocabs for batch in (1, 8, 64)}
    held = {(bar.work.function, bar.work.vocab) for bar in stored.bars if bar.bound >= 10}
    assert held == set(REFERENCE_BARS)
    assert {bar.work for bar in stored.bars if bar.work.batch > 1} == set(CORES_WORKS)
    assert {bar.work.vocab for bar in stored.bars if bar.bound == 1.5} == set(vocabs[1:])
    [drawn] = [bar.work.drawn for bar in stored.bars if bar.work.function == "draw"]
    assert drawn == 1_000_000


def test_the_table_marks_a_faster_peer_and_says_what_was_missed() -> None:
    text = table(make_benchmark(0.8, make_bar(2, 1.5, at_least=False)))
    assert "| **0.8x** |" in text
    assert "- a peer is 1.25 times faster" in text
    assert "- another was not measured: it was not built." in text
    assert "`make bench` holds 1 of the measured ratios to a bound: 0 keep it." in text
    assert "- Missed: `sample_logits`" in text
    assert "**" not in table(make_benchmark())


def test_rewriting_leaves_the_rest_of_a_page_alone(tmp_path: Path) -> None:
    path, other = tmp_path / "page.md", tmp_path / "other.md"
    marks = "<!-- {0}: written by benchmarks/readme.py -->\n{1}\n<!-- /{0} -->"
    page = f"before\n{marks}\nbetween\n{marks.replace('0', '2').replace('1', '3')}\nafter\n"
    path.write_text(page.format("a", "old", "b", "older"), encoding="utf-8")
    rewrite({path: {"b": "new b", "a": "new a"}})
    assert path.read_text(encoding="utf-8") == page.format("a", "new a", "b", "new b")
    other.write_text("no marks", encoding="utf-8")
    with pytest.raises(CannotJudgeError, match="the page has no <!-- a: written by"):
        rewrite({path: {"a": "newer"}, other: {"a": "newer"}})
    assert path.read_text(encoding="utf-8") == page.format("a", "new a", "b", "new b")
