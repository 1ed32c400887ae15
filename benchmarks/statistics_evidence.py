"""Measures what the statistical gate promises; about ten minutes of one core.

    python benchmarks/statistics_evidence.py [--repetitions 200] [--comparisons 2000]

Self-comparisons of the reference, uniformity of their p-values, power on the presets, and every
planted fault again and again. The port draws for the reference: the bit-exact gate shows that they
give the same tokens. torch itself is compared with its law in the last block.
"""

import argparse
import resource

import numpy as np
from scipy import stats

from sampler_parity.statistics import subjects
from sampler_parity.statistics.budget import Budget
from sampler_parity.statistics.controls import SURE, PlannedControl, faults
from sampler_parity.statistics.escalation import GROWTH, Rule
from sampler_parity.statistics.goodness import Goodness, goodness, homogeneity
from sampler_parity.statistics.kinds_of_test import StatisticalTest, frequencies, small_cases
from sampler_parity.statistics.sources import PortSource, Seeds, Source, port, torch_reference
from sampler_parity.statistics.tallies import drawn
from sampler_parity.statistics.uniformity import ecdf

TESTS = 21
"""As many as a run of the gate plans."""
SHORT = 300
"""The longest row that torch draws from here: it takes a tenth of a millisecond for each."""
DRAWS = 10_000


def main() -> None:
    """Print one block of measurements after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--comparisons", type=int, default=2000)
    given = parser.parse_args()
    sound, seeds = port(), Seeds.of_run(20_260_403)
    rule = Budget(1e-6, TESTS).rule
    print(f"level of a lone test: {rule.alpha:.2g}, both looks together")
    self_comparisons(sound, seeds, given.comparisons, rule)
    presets(sound, seeds, rule)
    controls(sound, seeds, given.repetitions, rule)
    torch_itself(seeds, given.comparisons // 10, rule)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"processor time: {used.ru_utime + used.ru_stime:.0f} s")


def self_comparisons(sound: PortSource, seeds: Seeds, comparisons: int, rule: Rule) -> None:
    """Hold the reference against its law, and against itself, with fresh seeds."""
    cases = small_cases(DRAWS)
    print(f"\n{comparisons:,} self-comparisons of {DRAWS:,} draws on {len(cases)} cases")

    def against_law(index: int, draws: int) -> Goodness:
        subject, cells = cases[index % len(cases)]
        counts = cells.counts(drawn(sound, subject, seeds.take(), draws))
        return goodness(counts, cells.probabilities)

    def against_itself(index: int, draws: int) -> Goodness:
        subject, cells = cases[index % len(cases)]
        one, other = (cells.counts(drawn(sound, subject, seeds.take(), draws)) for _ in range(2))
        return homogeneity(one, other)

    for name, compare in (("its law", against_law), ("itself", against_itself)):
        p_values, rejected, marginal = [], 0, 0
        for index in range(comparisons):
            found = compare(index, DRAWS)
            p_values.append(found.pearson_p)
            second = None
            if rule.looks_again(found.p):
                marginal += 1
                second = compare(index, GROWTH * DRAWS).p
            rejected += rule.combined(found.p, second) <= rule.alpha
        uniform = ecdf(p_values)
        print(
            f"  against {name}: {rejected} rejected, {marginal} looked at again; p-values at most "
            f"{uniform.largest:.4f} from uniform, band of {uniform.level:.0%} {uniform.band:.4f}, "
            f"Kolmogorov-Smirnov p = {stats.kstest(p_values, 'uniform').pvalue:.3f}, "
            f"smallest {min(p_values):.2g}"
        )


def presets(sound: PortSource, seeds: Seeds, rule: Rule) -> None:
    """Draw a million tokens of each TTS preset."""
    print()
    for preset in ("global", "semantic"):
        test = frequencies(subjects.preset_row(preset, 1_000_000, rule), 1_000_000, rule)
        p = look(test, sound, seeds)
        print(f"{test.planned.name}: 1,000,000 draws, p = {p:.3f}\n  {test.planned.catches}")


def look(test: StatisticalTest, source: Source, seeds: Seeds, index: int = 0) -> float:
    """Take one look, and give its p-value: 0 for a token outside the mask."""
    tally = test.start(index)
    units = test.planned.again if index else test.planned.n
    step = max(1, source.chunk)
    for start in range(0, units, step):
        tally.add(source, seeds, min(step, units - start))
    p = tally.look().p
    return 0.0 if p is None else p


def decides(control: PlannedControl, seeds: Seeds, rule: Rule) -> bool:
    """Carry the test out as a run does; true where it rejects."""
    first = look(control.test, control.source, seeds)
    second = look(control.test, control.source, seeds, 1) if rule.looks_again(first) else None
    return rule.combined(first, second) <= rule.alpha


def controls(sound: PortSource, seeds: Seeds, repetitions: int, rule: Rule) -> None:
    """Repeat every planted fault, as planned and with as few draws as a power of 0.99 takes."""
    subject = subjects.preset_row("global", 1_000_000, rule)
    for power in (SURE, 0.99):
        print(f"\neach fault planted {repetitions} times on {subject.name}, power {power} at least")
        for control in faults(subject, sound, rule, power):
            caught = sum(decides(control, seeds, rule) for _ in range(repetitions))
            unlikely = stats.binom.cdf(caught, repetitions, control.power)
            print(
                f"  {control.name}, {control.test.planned.n:,} draws: caught {caught} of "
                f"{repetitions}, declared {control.power:.4f} (as few or fewer: p = {unlikely:.2g})"
            )


def torch_itself(seeds: Seeds, comparisons: int, rule: Rule) -> None:
    """Hold torch's own draws against the law."""
    live, draws = torch_reference(), 2000
    cases = [case for case in small_cases(draws) if len(case[0].logits) <= SHORT]
    p_values = []
    for index in range(comparisons):
        subject, cells = cases[index % len(cases)]
        counts = cells.counts(drawn(live, subject, seeds.take(), draws))
        p_values.append(goodness(counts, cells.probabilities).pearson_p)
    uniform = ecdf(p_values)
    print(
        f"\ntorch itself, {comparisons} times {draws:,} draws: {uniform.largest:.3f} from uniform "
        f"(band {uniform.band:.3f}), {int((np.array(p_values) <= rule.first).sum())} rejected"
    )


if __name__ == "__main__":
    main()
