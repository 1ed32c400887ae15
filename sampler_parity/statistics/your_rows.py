"""Rows of somebody's own logits that are drawn from."""

import numpy as np

from sampler_parity.cases.your_logits import YourCases
from sampler_parity.statistics.errors import StatisticsError
from sampler_parity.statistics.law import Subject, subject
from sampler_parity.statistics.sources import history_of

SUBJECTS = 4
"""Rows that are drawn from: each takes its share of the run's error budget, and of its draws."""

LOOKED_AT = 40
"""Cases among which they are looked for."""


def subjects(yours: YourCases) -> tuple[Subject, ...]:
    """Choose rows to draw from: at most :data:`SUBJECTS`, evenly over all cases.

    A row that leaves one token, or that the reference refuses, has no frequencies to count. Where
    the reference looks back, the rows come after the same tokens as all that are drawn from.
    """
    found = []
    for index in np.linspace(0, len(yours) - 1, min(len(yours), LOOKED_AT)).astype(int):
        case = yours[int(index)]
        name = f"your logits, {case.id.partition('@')[0]}"
        try:
            history = history_of(case.pipeline)
            one = subject(name, np.atleast_2d(case.logits)[0].copy(), case.parameters, history)
            if len(one.law.ranked) > 1:
                found.append(one)
        except StatisticsError:
            continue
    spread = np.linspace(0, len(found) - 1, min(len(found), SUBJECTS)).astype(int)
    return tuple(found[index] for index in spread)
