"""Made-up runs and benchmarks, for the tests of the report and of other programs' outputs."""

import msgspec

from sampler_parity.faults.found import Planted
from sampler_parity.model.case import Described
from sampler_parity.model.verdict import Cause, Divergence, Verdict
from sampler_parity.run.benchmark_file import (
    ALL_THREADS,
    ONE_THREAD,
    Bar,
    Benchmark,
    Peer,
    Ratio,
    Side,
    Timing,
    Work,
)
from sampler_parity.run.benchmark_file import SCHEMA as BENCHMARK_SCHEMA
from sampler_parity.run.run_file import SCHEMA, Cell, FoundDivergence, Run, Shard

STAGES = ("error", "probs", "top_p_mask", "token", "generator")
MADE_FAMILIES = ("gaussian", "zipf")


def described(parameters: dict[str, float | int | str | None], shape: tuple[int, ...]) -> Described:
    """Make the form of a case that a run keeps."""
    return Described(id="made", family="made", parameters=parameters, shape=shape, seed=7)


def make_run(*shards: Shard, status: str = "diverges", planted: tuple[Planted, ...] = ()) -> Run:
    return msgspec.convert(
        {
            "schema": SCHEMA,
            "status": status,
            "reasons": [] if status == "holds" else ["it differs"],
            "started": "2026-11-23T12:54:00+00:00",
            "seconds": 191.7,
            "command": "sampler-parity run",
            "profile": "quick",
            "seed": 0,
            "shards": msgspec.to_builtins(shards),
            "provenance": {"versions": {"torch": "2.15.0"}},
            "planted": msgspec.to_builtins(planted),
        },
        Run,
    )


def make_shard(
    *divergences: FoundDivergence,
    divergent: int = 0,
    name: str = "rust_ext",
    compared: int = 63_486,
) -> Shard:
    """Make a shard whose divergent cases all differ first in ``probs`` of ``gaussian``."""
    families = dict.fromkeys([*MADE_FAMILIES, *(one.family for one in divergences)])
    return Shard(
        implementation=name,
        capability="avx2",
        source="torch",
        planned=compared * len(families),
        compared=compared * len(families),
        not_compared=0,
        reason="",
        stages=5 * compared,
        elements=compared * 4_096,
        tokens=compared,
        divergent=divergent,
        threads={"1": compared},
        cells=tuple(
            Cell(
                family=family,
                stage=stage,
                compared=compared,
                differing=divergent if (family, stage) == ("gaussian", "probs") else 0,
                first=divergent if (family, stage) == ("gaussian", "probs") else 0,
                verdicts={"semantic": divergent}
                if divergent and (family, stage) == ("gaussian", "probs")
                else {},
            )
            for family in families
            for stage in STAGES
        ),
        divergences=divergences,
        verdicts={"semantic": divergent} if divergent else {},
    )


def make_divergence(index: int, verdict: Verdict = Verdict.SEMANTIC) -> FoundDivergence:
    return FoundDivergence(
        case=f"gaussian-{index}@0",
        family="gaussian",
        described=described({"sampler": "sample_logits", "top_p": 0.95}, (1, 4096)),
        divergence=Divergence(
            verdict=verdict,
            stage="probs",
            first="probs",
            index=(0, 17),
            reference="0.1 (0x3dcccccd)",
            candidate="0.10000002 (0x3dccccd0)",
            ulps=index + 1,
            differing=3,
            total=4_096,
            also=("token",),
            causes=(Cause(stage="probs", verdict=verdict, words="for a test"),),
        ),
        evidence=f"evidence/gaussian-{index}.safetensors",
        replay=f"sampler-parity explain gaussian-{index}@0",
    )


def make_fault(*, killed: bool = True) -> Planted:
    return Planted(
        where="port",
        name="a strict cutoff",
        stage="top_p_mask",
        verdict=Verdict.SEMANTIC,
        cases=400,
        caught=12,
        others={"rounding at probs": 3},
        killed=killed,
    )


WORK = Work("sample_logits", 8_193, 80, 0.95)
BUILD = {
    "versions": {"torch": "2.15.0"},
    "machine": {"processor": "a processor, 2 logical cores"},
    "sources": {"commit": "c0ffee"},
    "extension": {"source_hash": "beef"},
}


def make_ratio(median: float) -> Ratio:
    return Ratio(median=median, lowest=median / 2, highest=median * 2)


def make_bar(median: float, bound: float, *, at_least: bool) -> Bar:
    return Bar(
        words="times something",
        work=WORK,
        where="python",
        ratio=make_ratio(median),
        bound=bound,
        at_least=at_least,
    )


def make_benchmark(peer: float = 12.0, *bars: Bar, name: str = "a peer") -> Benchmark:
    """Make one in which a peer takes so many times the port's time."""
    sides = {ONE_THREAD: 60.0, ALL_THREADS: 55.0, name: peer}
    return Benchmark(
        schema=BENCHMARK_SCHEMA,
        started="2026-11-23T12:54:00+00:00",
        seconds=170.0,
        command="python -m benchmarks.side_by_side",
        quick=False,
        capability="avx512",
        threads=2,
        waited=0.001,
        provenance=BUILD,
        peers=(
            Peer(name=name, version="1.2", words="its sampler"),
            Peer(name="candle", version="0.11", words="in Rust"),
            Peer(name="another", version="", words="its sampler", missing="it was not built"),
        ),
        timings=(
            Timing(
                work=WORK,
                where="python",
                rounds=9,
                us=7.25,
                sides=tuple(
                    Side(name=name, us=7.25 * times, ratio=make_ratio(times))
                    for name, times in sides.items()
                ),
            ),
            Timing(
                work=WORK,
                where="rust",
                rounds=9,
                us=6.5,
                sides=(
                    Side(name="twists alone", us=1.3, ratio=make_ratio(0.2)),
                    Side(name="candle", us=65.0, ratio=make_ratio(10.0)),
                ),
            ),
        ),
        bars=bars or (make_bar(60, 40, at_least=True),),
    )
