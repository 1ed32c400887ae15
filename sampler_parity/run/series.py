"""Series of calls with one generator: for how long they draw torch's tokens."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sampler_parity.run.run_file import Series

WINDOW = 10
"""Calls that are counted together."""

TokensOfCalls = Sequence[npt.NDArray[np.int64]]


class SeriesCounter:
    """Counts the series of one sampler."""

    def __init__(self, sampler: str, calls: int) -> None:
        """Count series of ``calls`` calls each."""
        self._sampler = sampler
        self._first: list[int] = []
        self._agreeing = np.zeros(calls, np.int64)

    def add(self, reference: TokensOfCalls, candidate: TokensOfCalls) -> None:
        """Count a series; the arguments are its tokens, i64 [B], call by call.

        A call without a token, or with tokens for other rows, does not agree.
        """
        agrees = np.zeros(len(self._agreeing), bool)
        for call, (ours, theirs) in enumerate(zip(reference, candidate, strict=False)):
            agrees[call] = np.array_equal(ours, theirs)
        self._agreeing += agrees
        self._first.append(0 if agrees.all() else int(np.argmin(agrees)) + 1)

    def counts(self) -> Series:
        """Give the counts."""
        starts = range(0, len(self._agreeing), WINDOW)
        return Series(
            sampler=self._sampler,
            calls=len(self._agreeing),
            first=tuple(self._first),
            window=WINDOW,
            agreeing=tuple(int(self._agreeing[at : at + WINDOW].sum()) for at in starts),
        )
