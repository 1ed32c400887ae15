"""Two black boxes, of which no probability is known: cells from a pilot, then fresh draws.

The pilot's draws rank the tokens and size the cells, and are used for nothing else. Tokens of one
logit, of which the pilot drew some and not others, are counted together: another order of equal
tokens is no other distribution. Then
:func:`sampler_parity.statistics.kinds_of_test.versus` holds fresh draws of both against each other.
"""

import numpy as np

from sampler_parity.model.pipeline import Parameters
from sampler_parity.statistics.goodness import count
from sampler_parity.statistics.law import Law, Subject, Tie
from sampler_parity.statistics.sources import Logits, Source


def pilot(
    source: Source, name: str, logits: Logits, parameters: Parameters, seed: int, n: int
) -> Subject:
    """Draw ``n`` tokens, and take their frequencies for a law in which every token is possible.

    Args:
        source: one of the two black boxes.
        name: how reports call the subject.
        logits: f32 [V].
        parameters: the sampler's.
        seed: of the pilot; the draws compared later must have others.
        n: draws.

    Raises:
        StatisticsError: there are no draws, or tokens out of range.
    """
    counts = count(source.draws(logits, parameters, seed, n), len(logits))
    shares = counts / counts.sum()
    tied = []
    for value in np.unique(logits):
        equal = np.flatnonzero(logits == value)
        drawn = counts[equal] > 0
        if drawn.any() and not drawn.all():
            shares[equal] = shares[equal].mean()
            tied.append(Tie(equal))
    law = Law(shares / shares.sum(), np.ones(len(logits), np.bool_), tied=tuple(tied))
    return Subject(name, logits, parameters, law)
