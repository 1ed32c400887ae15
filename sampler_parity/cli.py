"""The command line: ``sampler-parity``."""

import enum
import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.progress import Progress, TimeRemainingColumn
from rich.table import Table

from sampler_parity.build.installation import has_sources
from sampler_parity.cases.families import FAMILIES
from sampler_parity.cases.fixtures import FIXTURES
from sampler_parity.cases.manifest import FixtureError
from sampler_parity.cases.plan import LOOK
from sampler_parity.cases.your_logits import YourLogits
from sampler_parity.commands import logits_options
from sampler_parity.commands.calls import calls
from sampler_parity.commands.diff import changed, compare_runs, headline, show
from sampler_parity.commands.doctor import doctor as examine
from sampler_parity.commands.identify import identify
from sampler_parity.commands.outputs import annotations, write_outputs
from sampler_parity.commands.soak import check_options, run_soak
from sampler_parity.commands.summary import before, print_conclusion, summarise
from sampler_parity.commands.terminal import COLUMNS, EXIT_STATUS, log, out, showing_progress
from sampler_parity.implementations.registry import PORT, registered
from sampler_parity.model.errors import CannotJudgeError, not_importable
from sampler_parity.model.files import write_atomically
from sampler_parity.model.pipeline import values_of
from sampler_parity.pipelines.exact import require_long_doubles
from sampler_parity.pipelines.references import REFERENCES
from sampler_parity.record.cases import record_cases
from sampler_parity.record.golden import record_golden
from sampler_parity.record.logits import record_logits
from sampler_parity.record.recording import RecordError
from sampler_parity.record.recordings import record_recordings
from sampler_parity.record.traces import record_traces
from sampler_parity.record.vectors import record_vectors
from sampler_parity.report import page, write_report
from sampler_parity.run.benchmark_file import read_benchmark
from sampler_parity.run.command_words import run_command
from sampler_parity.run.gate import run_gate
from sampler_parity.run.request import (
    LATEST,
    Request,
    diverged_last_time,
    usual_capabilities,
    usual_families,
    usual_folder,
)
from sampler_parity.run.run_file import RUN_NAME, Run, encoded, read_run, write_run
from sampler_parity.run.waivers import load_waivers, waivers_here
from sampler_parity.sandbox.isolated import GIB, Limits
from sampler_parity.sandbox.together import processes_for
from sampler_parity.soak.soaking import SoakRequest
from sampler_parity.statistics.command import power
from sampler_parity.statistics.words import summary

USUAL = Limits()
"""What a candidate may use that nothing else is said of."""

USUAL_LOGITS = YourLogits(files=())
"""What is asked of one's own logits that nothing else is said of."""

TimeLimit = Annotated[
    float, typer.Option(min=0.001, help="Seconds that a candidate may take for a case.")
]
MemoryLimit = Annotated[
    float, typer.Option(min=0.1, help="GiB of memory that a candidate may allocate.")
]
StartLimit = Annotated[
    float, typer.Option(min=0.001, help="Seconds until a candidate has said what it is.")
]

app = typer.Typer(
    help="Proves that a Rust token sampler is its torch reference, bit for bit.\n\n"
    "Exit status: 0 the gate holds, 1 a divergence, 2 it could not be judged.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


JUDGING = frozenset({"run", "calls", "explain", "identify", "frequencies", "record"})
"""The commands that ask the oracle."""


@app.callback()
def look_at_platform(ctx: typer.Context) -> None:
    """Refuse what this platform cannot do."""
    if ctx.invoked_subcommand in JUDGING:
        require_long_doubles()


class Profile(enum.StrEnum):
    """How many cases a run has: of a soak, as many as its hours allow."""

    quick = "quick"
    full = "full"
    soak = "soak"


class Listable(enum.StrEnum):
    """What ``list`` lists."""

    cases = "cases"
    implementations = "implementations"
    specimens = "specimens"
    pipelines = "pipelines"


class Recordable(enum.StrEnum):
    """What ``record`` records."""

    logits = "logits"
    golden = "golden"
    traces = "traces"
    cases = "cases"
    recordings = "recordings"
    vectors = "vectors"
    everything = "all"


@app.command()
def run(
    ctx: typer.Context,
    profile: Annotated[Profile, typer.Option(help="How many cases.")] = Profile.quick,
    quick_look: Annotated[
        bool,
        typer.Option(
            "--quick-look", help="A few cases of every family in seconds; never the gate."
        ),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Run again whenever a candidate's file changes.")
    ] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="Compare what diverged in the stored run first.")
    ] = False,
    implementation: Annotated[
        list[str] | None,
        typer.Option(help="A name that `list` shows, module:object, or command:PROGRAM."),
    ] = None,
    reference: Annotated[
        str, typer.Option(help="A pipeline that `list` shows, or module:OBJECT of your own.")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Every case is generated from it.")] = 0,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Where the run is stored: reports/latest.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes at a time.")] = None,
    capability: Annotated[
        list[str] | None, typer.Option(help="Only this one: for debugging, never a pass.")
    ] = None,
    family: Annotated[
        list[str] | None, typer.Option(help="Only these cases: for debugging, never a pass.")
    ] = None,
    time_limit: TimeLimit = USUAL.seconds,
    memory_limit: MemoryLimit = USUAL.memory / GIB,
    start_limit: StartLimit = USUAL.starting,
    waivers: Annotated[
        Path | None, typer.Option(help="Accepted divergences; parity.toml if it is there.")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress, and only the conclusion.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The run as JSON on standard output, words on error.")
    ] = False,
    benchmarks: Annotated[
        Path | None, typer.Option(help="Show the speeds that `make bench` stored in this file.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write a summary in Markdown to this file.")
    ] = None,
    logits: logits_options.FilesOption = None,
    temperature: logits_options.TemperatureOption = None,
    top_p: logits_options.TopPOption = None,
    top_k: logits_options.TopKOption = None,
    parameter: logits_options.ParameterOption = None,
    sampler: logits_options.SamplerOption = USUAL_LOGITS.sampler,
    rows: logits_options.RowsOption = "0:",
    vocabulary: logits_options.SliceOption = "0:",
    batch: logits_options.BatchOption = USUAL_LOGITS.batch,
    draws: logits_options.DrawsOption = USUAL_LOGITS.draws,
    draw_seed: logits_options.SeedsOption = None,
    shard: Annotated[
        str, typer.Option(help="One part, I/N, of a run that N machines share; then `merge`.")
    ] = "",
    no_evidence: Annotated[
        bool, typer.Option("--no-evidence", help="Keep no case's logits, and make none small.")
    ] = False,
    hours: Annotated[
        float, typer.Option(min=0.0, help="How long a soak lasts.", show_default=False)
    ] = 1.0,
    cluster: Annotated[
        str, typer.Option(help="The address of the Dask scheduler whose workers soak.")
    ] = "",
    cases: Annotated[
        int | None, typer.Option(min=1, help="After how many cases a soak ends, if sooner.")
    ] = None,
) -> None:
    """Feed every case to the reference and the candidates, compare, store, report."""
    soaks = profile is Profile.soak
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    given = [name for name, source in sources.items() if source and source.name != "DEFAULT"]
    check_options(given, soaks=soaks)
    if soaks:
        names = implementation or [PORT]
        if len(names) > 1:
            raise CannotJudgeError("a soak is of one implementation")
        limits = _limits(time_limit, memory_limit, start_limit)
        where = Path("reports/soak") if folder is None else folder
        asked = SoakRequest(cluster, hours, cases, seed, names[0], limits, folder=where)
        raise typer.Exit(run_soak(asked, out, log))
    named = LOOK if quick_look else profile.value
    folder = usual_folder(named) if folder is None else folder
    named_logits = logits_options.asked_for(
        logits,
        {"temperature": temperature, "top_p": top_p, "top_k": top_k},
        parameter,
        rows,
        vocabulary,
        sampler=sampler,
        batch=batch,
        draws=draws,
        seeds=draw_seed,
    )
    request = Request(
        profile=named,
        seed=seed,
        implementations=tuple(implementation or (PORT,)),
        capabilities=tuple(capability or usual_capabilities(named)),
        families=tuple(family or usual_families(named_logits)),
        jobs=jobs,
        folder=folder,
        limits=_limits(time_limit, memory_limit, start_limit),
        reference=reference,
        waivers=waivers_here(Path()) if waivers is None else load_waivers(waivers),
        waivers_file=waivers,
        benchmark=None if benchmarks is None else read_benchmark(benchmarks),
        logits=named_logits,
        evidence=not no_evidence,
        part=_part(shard),
        failed=diverged_last_time(folder) if failed and not watch else (),
    )
    if watch:
        outputs = _outputs(
            quiet=quiet, as_json=as_json, benchmarks=benchmarks, junit=junit, markdown=markdown
        )
        raise typer.Exit(_watch(request, outputs, failed=failed))
    if failed and not quiet:
        log.print(before(request), soft_wrap=True, markup=False)
    try:
        result = run_gate(request) if quiet else _with_progress(request)
    except KeyboardInterrupt:
        raise CannotJudgeError("interrupted: the run was not finished") from None
    write_outputs(result, junit, markdown)
    words = log if as_json else out
    if as_json:
        sys.stdout.write(encoded(result).decode())
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for annotation in annotations(result):
            words.print(annotation, soft_wrap=True, markup=False)
    (print_conclusion if quiet else summarise)(result, words)
    # After the verdict: it takes a second to draw what diverges.
    try:
        path = write_report(result, folder)
    except KeyboardInterrupt:
        raise CannotJudgeError(
            f"interrupted: the report was not written, and `sampler-parity report {folder}` does it"
        ) from None
    words.print(f"report: {path}", soft_wrap=True, markup=False)
    raise typer.Exit(EXIT_STATUS[result.status])


def _part(words: str) -> tuple[int, int] | None:
    if not words:
        return None
    number, slash, of = words.partition("/")
    if not slash or not number.isdecimal() or not of.isdecimal():
        raise CannotJudgeError(f"--shard {words!r} is not I/N")
    return int(number), int(of)


@app.command()
def merge(
    parts: Annotated[list[Path], typer.Argument(help="The folders of all parts, in any order.")],
    folder: Annotated[Path, typer.Option("--out", help="Where the run is stored.")] = LATEST,
    reference: Annotated[
        str, typer.Option(help="module:OBJECT that the parts were held against, if it is your own.")
    ] = "",
) -> None:
    """Put the parts of a run together that `run --shard` has made, and conclude."""
    from sampler_parity.run.merging import merge as put_together

    result = put_together(parts, folder, reference)
    summarise(result, out)
    out.print(f"report: {write_report(result, folder)}", soft_wrap=True, markup=False)
    raise typer.Exit(EXIT_STATUS[result.status])


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A stored run's folder.")],
    benchmarks: Annotated[
        Path | None, typer.Option(help="Store the speeds of this file in the run, and show them.")
    ] = None,
) -> None:
    """Write the HTML report again from a stored run."""
    stored = read_run(folder)
    if benchmarks is not None:
        stored = msgspec.structs.replace(stored, benchmark=read_benchmark(benchmarks))
        write_run(folder, stored)
    out.print(f"report: {write_report(stored, folder)}", soft_wrap=True)


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="A stored run's folder.")],
    after: Annotated[Path, typer.Argument(help="Another one's.")],
    html: Annotated[Path | None, typer.Option(help="Write it as a page to this file.")] = None,
) -> None:
    """Say what changed from one run to another; exit 0 if no result did, 1 if one did."""
    sections = compare_runs(read_run(before), read_run(after))
    show(sections, out)
    if html is not None:
        worse = any(change.better is False for one in sections for change in one.changes)
        content = page(
            "diff.html.j2",
            sections=sections,
            headline=headline(sections),
            tone="diverges" if worse else "unjudged" if changed(sections) else "holds",
            before=str(before),
            after=str(after),
        )
        html.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(html, content.encode("utf-8", "backslashreplace"))
        out.print(f"page: {html}", soft_wrap=True, markup=False)
    raise typer.Exit(1 if changed(sections) else 0)


@app.command()
def doctor() -> None:
    """Check this installation: the extension, torch, fixtures, tools; exit 2 if it cannot judge."""
    raise typer.Exit(0 if examine(out) else 2)


@app.command()
def explain(
    case: Annotated[
        str, typer.Argument(help="A case's id, FAMILY-INDEX@SEED or recorded:ID, or its file.")
    ],
    capability: Annotated[
        str | None, typer.Option(help="torch's dispatch level; the file's or this process' own.")
    ] = None,
    implementation: Annotated[str, typer.Option(help="The candidate.")] = PORT,
    reference: Annotated[
        str, typer.Option(help="module:OBJECT of the pipeline that a case's file or run is for.")
    ] = "",
    after: Annotated[
        list[str] | None,
        typer.Option(help="A case that the candidate's process is asked before; in their order."),
    ] = None,
    stored: Annotated[
        Path | None, typer.Option("--run", help="The stored run of a case of your logits.")
    ] = None,
    time_limit: TimeLimit = USUAL.seconds,
    memory_limit: MemoryLimit = USUAL.memory / GIB,
    start_limit: StartLimit = USUAL.starting,
) -> None:
    """Show one case stage by stage, both sides, with the first divergence."""
    # Torch is imported after the candidate has been started: it takes seconds.
    from sampler_parity.commands.question import Question, begin

    limits = _limits(time_limit, memory_limit, start_limit)
    earlier = tuple(after or ())
    question = Question(case, earlier, capability, implementation, limits, reference, stored)
    with begin(question) as candidate:
        from sampler_parity.commands.explain import explain as explain_case

        equal = explain_case(question, candidate, out)
    raise typer.Exit(0 if equal else 1)


@app.command()
def frequencies(
    implementation: Annotated[str, typer.Argument(help="The candidate.")] = PORT,
    profile: Annotated[Profile, typer.Option(help="How many draws.")] = Profile.quick,
    seed: Annotated[int, typer.Option(min=0, help="Every seed follows from it.")] = 0,
    folder: Annotated[Path, typer.Option("--out", help="Where the result is stored.")] = LATEST,
    stored: Annotated[
        Path | None, typer.Option("--run", help="Draw from the logits of this run as well.")
    ] = None,
    reference: Annotated[
        str, typer.Option(help="A pipeline that `list` shows, or module:OBJECT of your own.")
    ] = "",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes of the candidate that draw at a time.")
    ] = None,
    time_limit: TimeLimit = USUAL.seconds,
    memory_limit: MemoryLimit = USUAL.memory / GIB,
    start_limit: StartLimit = USUAL.starting,
) -> None:
    """Draw from a candidate and count; Ctrl-C keeps what was drawn, which is never a pass."""
    from sampler_parity.run.your_cases import opened
    from sampler_parity.statistics.frequencies import frequencies as count
    from sampler_parity.statistics.your_rows import subjects

    own = None if stored is None else read_run(stored)
    if own is not None and (own.logits is None or own.reference != reference):
        raise CannotJudgeError(f"the run in {stored} has no logits for this reference")
    yours = subjects(opened(own.logits, reference, own.seed)) if own and own.logits else ()
    limits = _limits(time_limit, memory_limit, start_limit)
    with Progress(*COLUMNS, TimeRemainingColumn(), console=log, transient=True) as bars:
        task = bars.add_task(f"draws of {implementation}")

        def progress(name: str, done: int, total: int) -> None:
            bars.update(task, description=name, completed=done, total=total)

        result = count(
            implementation,
            profile.value,
            seed,
            limits,
            progress,
            yours,
            reference,
            processes_for(jobs),
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "statistics.json"
    write_atomically(path, msgspec.json.format(msgspec.json.encode(result), indent=1))
    for line in summary(result):
        out.print(line, soft_wrap=True)
    out.print(f"result: {path}", soft_wrap=True)
    raise typer.Exit(EXIT_STATUS[result.status])


app.command()(power)
app.command()(calls)
app.command()(identify)


@app.command("list")
def list_(what: Annotated[Listable, typer.Argument()]) -> None:
    """List the families of cases, implementations, specimens with their faults, or pipelines."""
    table = Table(box=None, pad_edge=False)
    if what is Listable.cases:
        table.add_column("family")
        table.add_column("cases")
        for name, family in FAMILIES.items():
            table.add_row(name, (family.__doc__ or "").strip())
    elif what is Listable.specimens:
        # Here, not above: they import torch, which takes seconds.
        from sampler_parity.implementations.specimens import SPECIMENS

        for heading in ("specimen", "what is wrong with it", "must be"):
            table.add_column(heading)
        for name, specimen in SPECIMENS.items():
            table.add_row(name, specimen.words, f"{specimen.verdict} at {specimen.stage}")
    elif what is Listable.pipelines:
        for heading in ("pipeline", "stages, in their order", "parameters", "draw"):
            table.add_column(heading, overflow="fold")
        for name, kind in REFERENCES.items():
            pipeline = kind.pipeline
            parameters = ", ".join(f"{key}={value}" for key, value in values_of(kind()).items())
            stages = ", ".join(pipeline.names[:-1])
            table.add_row(name, stages, parameters, pipeline.stages[-1].words)
    else:
        table.add_column("implementation")
        table.add_column("module:object")
        for name, target in sorted(registered().items()):
            table.add_row(name, target)
    out.print(table)


@app.command()
def record(
    what: Annotated[Recordable, typer.Argument()] = Recordable.everything,
    folder: Annotated[Path, typer.Option("--out", help="The fixtures' folder.")] = FIXTURES,
) -> None:
    """Record the fixtures anew: logits (extra `record`), traces, cases, recordings, vectors."""
    if folder == FIXTURES and not has_sources():
        raise CannotJudgeError("an installed package's fixtures stay as they are: name an --out")
    recorders = {
        Recordable.logits: lambda folder: [record_logits(folder)],
        Recordable.golden: record_golden,
        Recordable.traces: record_traces,
        Recordable.cases: record_cases,
        Recordable.recordings: record_recordings,
        Recordable.vectors: record_vectors,
    }
    try:
        for name, recorded in recorders.items():
            if what in (name, Recordable.everything):
                for path in recorded(folder):
                    out.print(path, soft_wrap=True)
    except (RecordError, FixtureError) as error:
        raise CannotJudgeError(str(error)) from error


def _outputs(**given: bool | Path | None) -> list[str]:
    """Give the options of `run` that say what it puts out."""
    options: list[str] = []
    for name, value in given.items():
        option = f"--{name.removeprefix('as_')}"
        if value:
            options += [option] if value is True else [option, str(value)]
    return options


def _watch(request: Request, outputs: list[str], *, failed: bool) -> int:
    from sampler_parity.commands.watch import changes, run_again, run_in_new_process, watched

    request.check()
    what = watched(request.implementations, request.reference)
    arguments = [*shlex.split(run_command(request))[1:], *outputs]

    def run_once() -> int:
        again = failed and (request.folder / RUN_NAME).is_file()
        return run_in_new_process([*arguments, "--failed"] if again else arguments)

    log.print(f"watching {what.words}; Ctrl-C ends it", soft_wrap=True, markup=False)
    return run_again(run_once, changes(what), log)


def _limits(seconds: float, memory: float, starting: float) -> Limits:
    return Limits(seconds=seconds, memory=int(memory * GIB), starting=starting)


def _with_progress(request: Request) -> Run:
    with showing_progress() as progress:
        return run_gate(request, progress)


def main() -> None:
    """Run the command line; exit status 2 with one sentence where nothing can be judged.

    Status 1 is a divergence and nothing else: what nobody expected ends with status 2 as well.
    """
    try:
        app()
    except CannotJudgeError as error:
        _fail(str(error))
    except ImportError as error:
        _fail(not_importable(error))
    except OSError as error:
        _fail(str(error))
    except Exception:  # noqa: BLE001  (a traceback, as it would be without this)
        traceback.print_exc()
        _fail("this is a mistake of the harness: nothing was judged")


def _fail(words: str) -> NoReturn:
    log.print(f"sampler-parity: {words}", soft_wrap=True, markup=False)
    sys.exit(2)


if __name__ == "__main__":
    main()
