"""A run of the statistical gate: planned, drawn, judged."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from sampler_parity.statistics import subjects, support
from sampler_parity.statistics.budget import FAMILY_WISE, holm
from sampler_parity.statistics.controls import PlannedControl, faults, itself
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.given import DeclinedError, given, taken_by, untried
from sampler_parity.statistics.kinds_of_test import SAMPLERS, StatisticalTest
from sampler_parity.statistics.law import Subject
from sampler_parity.statistics.planning import Plan, plan
from sampler_parity.statistics.result import (
    Control,
    DecidedTest,
    Decision,
    Ecdf,
    Look,
    Planned,
    StatisticsResult,
    Status,
    Uniforms,
)
from sampler_parity.statistics.sources import (
    Guarded,
    SamplerFailedError,
    Seeds,
    Source,
    port,
    torch_reference,
)
from sampler_parity.statistics.tallies import Tally, UniformityTally, steps
from sampler_parity.statistics.uniformity import ecdf
from sampler_parity.statistics.uniforms import Inclusive, Walk, walked
from sampler_parity.statistics.words import MARGINAL, grouped

__all__ = ["plan", "run_statistics"]

Progress = Callable[[str, int, int], None]
"""Called with what is being drawn, and how many draws of the run are done of how many."""

FAULTS_SHOW_AT = 1_000_000
"""Draws that the controls' row of real logits is chosen for."""
STANDS_IN = (
    "The port draws where the reference's own draws are needed: the bit-exact gate shows that they "
    "are the same for every seed. torch itself draws in the control that names it."
)


def run_statistics(
    source: Source,
    profile: str = "quick",
    seed: int = 0,
    progress: Progress = lambda *_: None,
    *,
    alpha: float = FAMILY_WISE,
    reference: Source | None = None,
    live: Source | None = None,
    samplers: Sequence[str] = SAMPLERS,
    walk: Walk | None = None,
    yours: Sequence[Subject] = (),
) -> StatisticsResult:
    """Plan every test, draw, and judge; an interruption (Ctrl-C) keeps what was drawn.

    Args:
        source: the candidate.
        profile: ``quick`` or ``full``.
        seed: every seed follows from it, but for the consecutive seeds 0, 1, 2, ...
        progress: told after every chunk of draws.
        alpha: the error budget of the run.
        reference: what draws for the reference, and carries the planted faults; the port if
            ``None``.
        live: what must pass as the reference itself; torch if ``None``.
        samplers: those that the candidate has; the tests of others are not planned.
        walk: the candidate's draw from given probabilities and a given uniform, if it has one. A
            candidate that takes its uniform, as its ``about`` says, needs none.
        yours: rows of somebody's own logits, from each of which is drawn as well.

    Raises:
        CannotJudgeError: there is no such profile or sampler, or the extension is missing or stale.
        StatisticsError: the budget is none.
    """
    reference = port() if reference is None else reference
    live = torch_reference() if live is None else live
    planned = plan(profile, source, reference, alpha=alpha, samplers=samplers, yours=yours)
    return carry_out(
        source, planned, _controls(planned, reference, live), profile, seed, progress, walk=walk
    )


def carry_out(
    source: Source,
    planned: Plan,
    controls: list[PlannedControl],
    profile: str,
    seed: int,
    progress: Progress,
    *,
    walk: Walk | None = None,
    stands_in: str = STANDS_IN,
) -> StatisticsResult:
    """Draw what is planned, put the controls, and judge; Ctrl-C keeps what was drawn."""
    started = time.monotonic()
    run = _Run(source, Seeds.of_run(seed), planned, progress)
    run.expect(controls)
    try:
        run.put_uniforms(walk)
        for test in planned.tests:
            run.carry_out(test)
        for control in controls:
            run.put(control)
    except KeyboardInterrupt:
        run.finished = False
    found = run.conclude(profile, seed, controls, time.monotonic() - started)
    return msgspec.structs.replace(found, reference=stands_in)


def _both(one: Uniforms | None, other: Uniforms | None) -> Uniforms | None:
    if one is None or other is None:
        return one or other
    return Uniforms(edges=one.edges + other.edges, missteps=one.missteps + other.missteps)


def _controls(planned: Plan, reference: Source, live: Source) -> list[PlannedControl]:
    rule, sizes = planned.budget.rule, planned.sizes
    row = subjects.preset_row("global", FAULTS_SHOW_AT, rule)
    return [
        *faults(row, reference, rule),
        *itself(row, subjects.tempered(), reference, live, (sizes.versus, sizes.live), rule),
    ]


@dataclass
class _Outcome:
    """What a test came to, before all of them are judged together."""

    test: StatisticalTest
    looks: list[Look] = field(default_factory=list)
    p: float | None = None
    reason: str = ""
    decision: Decision = "unfinished"
    failed: bool = False
    marginal: bool = False
    tie: str = ""
    tally: Tally | None = None

    @property
    def planned(self) -> Planned:
        return self.test.planned

    @property
    def draws(self) -> int:
        return sum(look.n for look in self.looks) * self.test.draws_a_unit

    def check_support(self) -> None:
        """Reject for a token outside the mask or left out, whether or not the look was finished."""
        strays = {token: n for look in self.looks for token, n in look.outside.items()}
        missing = {token: n for look in self.looks for token, n in look.missing.items()}
        tied = [
            each for each in support.together(self.looks) if each.others or support.too_many(each)
        ]
        if strays:
            token, times = next(iter(strays.items()))
            self._reject(f"token {token} is outside the mask and was drawn {times:,} times")
        for each in tied:
            if support.too_many(each):
                self._reject(support.in_words(each))
            else:
                self.tie = support.in_words(each)
        if missing and self.test.subject is not None:
            self._reject(support.omission(self.test.subject, missing))

    def _reject(self, reason: str) -> None:
        self.decision = "rejects"
        self.reason = f"{self.reason}; {reason}" if self.reason else reason


@dataclass
class _Run:
    source: Source
    seeds: Seeds
    planned: Plan
    progress: Progress
    uniforms: Uniforms | None = None
    untried: str = ""
    outcomes: list[_Outcome] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    planted: int = 0
    done: int = 0
    total: int = 0
    finished: bool = True

    def expect(self, controls: list[PlannedControl]) -> None:
        tests = [*self.planned.tests, *(control.test for control in controls)]
        self.total = sum(test.planned.draws for test in tests)

    def put_uniforms(self, walk: Walk | None) -> None:
        """Put the candidate before constructed uniforms, and the same with a planted mistake."""
        taking, faulty = taken_by(self.source), None
        if walk is not None:
            self.uniforms, faulty = walked(walk), walked(Inclusive(walk))
        if taking is None:
            self.untried = "" if walk is not None else untried(self.source)
        else:
            try:
                self.uniforms = _both(self.uniforms, given(taking))
                faulty = _both(faulty, given(taking, inclusive=True))
            except DeclinedError as error:
                self.untried = untried(self.source, f"it declined one, {error}")
        if faulty is not None:
            decision: Decision = "rejects" if faulty.missteps else "passes"
            self.controls.append(
                Control(
                    name="<= for < in the walk",
                    test="constructed uniforms",
                    draws=faulty.edges,
                    should="rejects",
                    power=1.0,
                    decision=decision,
                    p=None,
                    looks=1,
                    holds=decision == "rejects",
                )
            )
            self.planted += 1

    def carry_out(self, test: StatisticalTest) -> None:
        outcome = _Outcome(test)
        # Whoever is rejected is so whatever a second look says.
        again = not self._rejected()
        self.outcomes.append(outcome)
        self._test(test, Guarded(self.source), outcome, again=again)

    def _rejected(self) -> bool:
        """Whether a test has rejected the candidate for sure, whatever is still to come."""
        level = self.planned.budget.rule.alpha
        return any(
            outcome.decision == "rejects" or (outcome.p is not None and outcome.p <= level)
            for outcome in self.outcomes
        )

    def put(self, control: PlannedControl) -> None:
        outcome = _Outcome(control.test)
        self._test(control.test, control.source, outcome, again=True)
        # A fault that could not be drawn from was not caught.
        decision: Decision = "unfinished" if outcome.failed else outcome.decision
        if outcome.p is not None and decision == "unfinished":
            rejects = outcome.p <= self.planned.budget.rule.alpha
            decision = "rejects" if rejects else "tie_order" if outcome.tie else "passes"
        self.controls.append(
            Control(
                name=control.name,
                test=outcome.planned.name,
                draws=outcome.planned.draws,
                should=control.should,
                power=control.power,
                decision=decision,
                p=outcome.p,
                looks=len(outcome.looks),
                holds=decision == control.should,
            )
        )

    def _test(
        self, test: StatisticalTest, source: Source, outcome: _Outcome, *, again: bool
    ) -> None:
        """Take the first look, and the second where the rule asks for it and ``again`` allows it.

        Without the second look a test rejects falsely more seldom than the rule says.
        """
        rule = self.planned.budget.rule
        try:
            first = self._look(test, 0, source, outcome)
            outcome.marginal = first.p is not None and rule.looks_again(first.p) and not again
            if first.p is not None and rule.looks_again(first.p) and again:
                self.total += test.planned.again * test.draws_a_unit
                second = self._look(test, 1, source, outcome)
                if second.p is not None:
                    outcome.p = rule.combined(first.p, second.p)
            elif first.p is not None:
                outcome.p = rule.combined(first.p)
        except (StatisticsError, SamplerFailedError) as error:
            outcome.failed, outcome.decision, outcome.reason = True, "rejects", str(error)
            return
        except KeyboardInterrupt:
            # What was drawn so far is kept, without a p-value.
            if outcome.tally is not None:
                outcome.looks.append(outcome.tally.look(finished=False))
            outcome.check_support()
            raise
        outcome.check_support()

    def _look(self, test: StatisticalTest, index: int, source: Source, outcome: _Outcome) -> Look:
        units = test.planned.again if index else test.planned.n
        tally = outcome.tally = test.start(index)
        for step in steps(units, test.draws_a_unit, source):
            tally.add(source, self.seeds, step)
            self.done += step * test.draws_a_unit
            self.progress(test.planned.name, self.done, self.total)
        look = tally.look()
        outcome.looks.append(look)
        if not isinstance(tally, UniformityTally):
            outcome.tally = None
        return look

    def conclude(
        self, profile: str, seed: int, controls: list[PlannedControl], seconds: float
    ) -> StatisticsResult:
        for test in self.planned.tests[len(self.outcomes) :]:
            self.outcomes.append(_Outcome(test, reason="not begun"))
        tests = self._judge()
        status, reasons = self._status(tests, len(controls) + self.planted)
        return StatisticsResult(
            candidate=self.source.name,
            reference="",
            profile=profile,
            seed=seed,
            status=status,
            reasons=reasons,
            alpha=self.planned.budget.alpha,
            budget=self.planned.sentence(),
            tests=tests,
            waived=self.planned.not_planned,
            controls=tuple(self.controls),
            ecdf=self._ecdf(),
            uniforms=self.uniforms,
            untried=self.untried,
            draws=sum(outcome.draws for outcome in self.outcomes),
            seconds=round(seconds, 1),
            finished=self.finished,
        )

    def _judge(self) -> tuple[DecidedTest, ...]:
        """Judge all tests together: a rejection without a p-value counts as one of p = 0."""
        p_values = [
            outcome.p if outcome.p is not None else float(outcome.decision != "rejects")
            for outcome in self.outcomes
        ]
        # The controls that must pass have their share of the budget, and the largest p-values
        # that Holm's procedure could meet.
        shares = self.planned.budget.tests - len(p_values)
        adjusted, rejected = holm([*p_values, *[1.0] * shares], self.planned.budget.nominal)
        found = []
        for outcome, level, rejects in zip(self.outcomes, adjusted, rejected, strict=False):
            decision, reason = outcome.decision, outcome.reason
            if outcome.p is not None and (rejects or decision != "rejects"):
                undecided = outcome.marginal and not rejects
                words = (_in_words(outcome, level), reason, outcome.tie)
                reason = "; ".join(word for word in (*words, MARGINAL * undecided) if word)
                passes: Decision = "tie_order" if outcome.tie else "passes"
                decision = "rejects" if rejects else "unfinished" if undecided else passes
            elif decision == "unfinished" and not reason:
                reason = "interrupted: what was drawn so far is kept, and decides nothing"
            has_p = outcome.p is not None
            found.append(
                DecidedTest(
                    planned=outcome.planned,
                    looks=tuple(outcome.looks),
                    p=outcome.p,
                    adjusted=level if has_p else None,
                    decision=decision,
                    reason=reason,
                )
            )
        return tuple(found)

    def _status(
        self, tests: tuple[DecidedTest, ...], controls: int
    ) -> tuple[Status, tuple[str, ...]]:
        rejected = [test for test in tests if test.decision == "rejects"]
        missteps = () if self.uniforms is None else self.uniforms.missteps
        if rejected or missteps:
            return "diverges", (*grouped(rejected), *missteps)
        reasons = [
            f"control: {each.name} should be decided as {each.should!r}, it was {each.decision!r}"
            for each in self.controls
            if not each.holds
        ]
        open_tests = sum(test.decision == "unfinished" for test in tests)
        if open_tests or not self.finished:
            reasons.append(
                f"interrupted: {open_tests} of {len(tests)} tests and "
                f"{controls - len(self.controls)} of {controls} controls were not finished"
            )
        return ("unjudged", tuple(reasons)) if reasons else ("holds", ())

    def _ecdf(self) -> Ecdf | None:
        for outcome in self.outcomes:
            tally = outcome.tally
            if isinstance(tally, UniformityTally) and tally.p_values and not tally.stray:
                return ecdf(tally.p_values)
        return None


def _in_words(outcome: _Outcome, adjusted: float) -> str:
    looks = " and ".join(f"p = {look.p:.3g} of {look.n:,}" for look in outcome.looks)
    return f"{looks} {outcome.planned.unit}; {adjusted:.3g} after adjusting for all tests"
