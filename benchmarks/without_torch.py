"""Whether the gate says the same without torch: verdicts and stages of the specimens, both ways.

``python -m benchmarks.without_torch [--cases N]`` judges N cases of every specimen in a process
with torch, and in one that cannot import it, where the port stands in its place. Exit status 1
says that a verdict or a stage is not the same.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import msgspec

from sampler_parity.cases.families import FAMILIES, YOURS
from sampler_parity.cases.plan import SERIES, case_of, id_of
from sampler_parity.implementations.reference import capability_here, reference_here
from sampler_parity.implementations.specimens import SPECIMENS
from sampler_parity.judge import compare
from sampler_parity.judge.causes import judge
from sampler_parity.model.case import Case

Verdicts = dict[str, dict[str, str]]
"""Of each specimen, each case's verdict and stage."""

NO_TORCH = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, Missing())
"""
"""A module ``sitecustomize`` after which nothing can import torch."""

SEED = 31


LEFT_OUT = {YOURS, "long-rows", "real-whole", "many-calls", SERIES, "vast-rows"}
"""Families whose cases take long, and that of somebody's own logits."""


def cases_of(samplers: tuple[str, ...]) -> Iterator[Case]:
    """Give cases of some samplers without end, from every family in turn."""
    families = [family for family in FAMILIES if family not in LEFT_OUT]
    for index in count():
        for family in families:
            case = case_of(id_of(family, index, SEED))
            if case.pipeline.name in samplers:
                yield case


def judged(number: int) -> Verdicts:
    """Judge ``number`` cases of each specimen in this process."""
    here, reference = capability_here(), reference_here()
    found: Verdicts = {}
    for name, specimen in SPECIMENS.items():
        sampler = specimen.plug_in
        mine: dict[str, str] = {}
        for case in islice(cases_of(sampler.about.samplers), number):
            expected, outcome = reference.run(case, here), sampler.run(case, here)
            if outcome.declined:
                mine[case.id] = "declined"
                continue
            comparison = compare(case, expected, outcome, sampler.about)
            divergence = judge(case, expected, outcome, comparison, sampler.about)
            mine[case.id] = (
                "equal" if divergence is None else f"{divergence.verdict} at {divergence.stage}"
            )
        found[name] = mine
    return found


def asked(number: int, *, torch: bool) -> tuple[Verdicts, bool]:
    """Judge in a process of its own, with torch or without; say also whether it had it."""
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ)
        if not torch:
            (Path(folder) / "sitecustomize.py").write_text(NO_TORCH, encoding="utf-8")
            environment["PYTHONPATH"] = folder
        command = [sys.executable, "-m", "benchmarks.without_torch", "--here"]
        done = subprocess.run(
            [*command, "--cases", str(number)], env=environment, stdout=subprocess.PIPE, check=True
        )
    return msgspec.json.decode(done.stdout, type=tuple[Verdicts, bool])


def main() -> int:
    """Judge both ways, and compare."""
    parser = argparse.ArgumentParser(description="Judges specimens with torch and without.")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        verdicts = judged(options.cases)
        sys.stdout.buffer.write(msgspec.json.encode((verdicts, "torch" in sys.modules)))
        return 0
    with_torch, had = asked(options.cases, torch=True)
    without, had_too = asked(options.cases, torch=False)
    if not had or had_too:
        raise SystemExit("torch was not there, or it was there in both processes")
    differing = 0
    for name, expected in with_torch.items():
        other = [case for case in expected if without[name].get(case) != expected[case]]
        differing += len(other) + len(without[name].keys() ^ expected.keys())
        counts = Counter(verdict.partition(" ")[0] for verdict in expected.values())
        words = ", ".join(f"{n:,} {verdict}" for verdict, n in counts.most_common())
        print(f"{name}: {len(expected):,} cases, {len(other):,} judged otherwise; {words}")
        for case in other[:3]:
            print(f"  {case}: {expected[case]} with torch, {without[name].get(case)} without")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
