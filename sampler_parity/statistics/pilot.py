"""Two black boxes, of which no probability is known: cells from a pilot, then fresh draws.

The pilot's draws rank the tokens and size the cells, and are used for nothing else; then
:func:`sampler_parity.statistics.checks.versus` holds fresh draws of both against each other.
"""

import numpy as np

from sampler_parity.statistics.goodness import count
from sampler_parity.statistics.law import Law, Parameters, Subject
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
    law = Law(counts / counts.sum(), np.ones(len(logits), np.bool_))
    return Subject(name, logits, parameters, law)
