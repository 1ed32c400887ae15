"""Many calls that draw with one uniform, or with one vector of exponentials, for ever.

Each class follows the calls whose random numbers would be the same. At each call some tokens are
still possible: those for which there is a random number that fits them and all tokens before. The
law gives their probability together, before the token is looked at. Where draws are independent,
the product of one over these probabilities, as long as every token was possible, is a martingale of
mean 1; so a row of n calls that all fit has at most the product of the probabilities as its
probability, whatever the laws and whenever one stops (Ville, 1939). That product is the p-value.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Tokens = npt.NDArray[np.int64]

BLUR = 1e-6
"""A cumulative sum in f32 is taken to be within this of the exact one: some ulp of 1."""
NEAR = 2.0**-20
"""A quotient in f32 is taken to be within this factor, as is an exponential."""
ENOUGH = 256.0
"""Bits of evidence beyond which a race's bounds are no longer narrowed: to be still possible is
then asked of every token, and no more evidence is counted."""


HOPELESS = -16.0
"""Bits at which a race is given up: its tokens fit independent draws better by so much."""


class Walked:
    """Calls that walk along the cumulative sum with one uniform; several such rows at once.

    Args:
        rows: how many rows of calls, each with its own uniform.
    """

    def __init__(self, rows: int = 1) -> None:
        self.low, self.high = np.zeros(rows), np.ones(rows)
        self.bits, self.calls = np.zeros(rows), 0

    def step(self, edges: Floats, places: Tokens) -> bool:
        """Take the next call; say whether the token of every row was possible.

        Args:
            edges: f64 [n + 1], the cumulative sum of the tokens' probabilities in the order of the
                walk, 0 first.
            places: i64 [rows], where each row's token stands in that order.
        """
        first = np.searchsorted(edges[1:], self.low - BLUR, side="right")
        last = np.searchsorted(edges[:-1], self.high + BLUR, side="left")
        if not ((first <= places) & (places < last)).all():
            return False
        self.bits -= np.log2(np.minimum(edges[last] - edges[first], 1.0))
        self.calls += 1
        np.maximum(self.low, edges[places] - BLUR, out=self.low)
        np.minimum(self.high, edges[places + 1] + BLUR, out=self.high)
        return True


class Raced:
    """Calls that take the largest of p / q with one vector q of exponentials.

    With x = log q, a token t that wins says x[t] - x[s] <= log p[t] - log p[s] for each rival s. A
    system of such differences has a solution if no cycle of them is negative. Only winners begin
    an edge: ``_direct`` has their edges, one row each, and ``_closed`` the shortest paths among
    winners.

    Where few tokens are common to two calls, most remain possible, and what is possible alone says
    little. So each possible token counts with the reciprocal of the value of q that is expected of
    it: a token that has won has a small one, and wins again where it can. Any weights that are
    fixed before the token is looked at give a martingale.
    """

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._direct = np.empty((0, 0))
        self._closed = np.empty((0, 0))
        self._rates = np.empty(0)
        self._least = np.empty(0)
        self.bits, self.calls = 0.0, 0

    def possible(self, tokens: Tokens, logs: Floats) -> npt.NDArray[np.bool_]:
        """Say which tokens could win, bool [n]."""
        found = np.ones(len(tokens), bool)
        direct = self._direct[: len(self._rows), tokens]
        for at, row in self._winners(tokens):
            reach = self._closed[row]
            ways = np.flatnonzero(reach < np.inf)
            bounds = (reach[ways, None] + direct[ways]).min(axis=0)
            found &= logs - logs[at] + bounds >= -NEAR
        return found

    def step(self, tokens: Tokens, logs: Floats, place: int) -> bool:
        """Take the next call; say whether the token was possible.

        Args:
            tokens: i64 [n], ascending: those that can be drawn.
            logs: f64 [n], their log-probabilities.
            place: where the token stands among them.
        """
        self._widen(int(tokens[-1]) + 1)
        possible = self.possible(tokens, logs)
        if not possible[place] or self.bits < HOPELESS:
            return False
        self.calls += 1
        if self.bits < ENOUGH:
            p = np.exp(logs)
            weights = np.where(possible, self._rates[tokens] / (1 + self._least[tokens]), 0.0)
            self.bits += float(np.log2(weights[place] / (weights @ p)))
            self._narrow(tokens, logs, place)
            self._expect(tokens, p, place)
        return True

    def _winners(self, tokens: Tokens) -> list[tuple[int, int]]:
        """Give the place and the row of each token that has won before."""
        rows = self._rows
        return [(at, rows[token]) for at, token in enumerate(tokens.tolist()) if token in rows]

    def _widen(self, vocab: int) -> None:
        more = vocab - len(self._rates)
        if more > 0:
            self._direct = np.pad(self._direct, ((0, 0), (0, more)), constant_values=np.inf)
            self._rates = np.pad(self._rates, (0, more), constant_values=1.0)
            self._least = np.pad(self._least, (0, more))

    def _narrow(self, tokens: Tokens, logs: Floats, place: int) -> None:
        token = int(tokens[place])
        if token not in self._rows:
            self._enter(token)
        own = self._rows[token]
        gaps = logs[place] - logs + NEAR
        self._direct[own, tokens] = np.minimum(self._direct[own, tokens], gaps)
        self._direct[own, token] = np.inf
        reached = np.full(len(self._rows), np.inf)
        for at, row in self._winners(tokens):
            if row != own:
                np.minimum(reached, gaps[at] + self._closed[row], out=reached)
        reached[own] = 0.0
        np.minimum(self._closed, self._closed[:, own, None] + reached[None, :], out=self._closed)

    def _enter(self, token: int) -> None:
        """Begin the row of a token's first win; earlier winners may reach it already."""
        own = len(self._rows)
        self._rows[token] = own
        into = (self._closed + self._direct[:own, token][None, :]).min(axis=1, initial=np.inf)
        self._closed = np.pad(self._closed, ((0, 1), (0, 1)), constant_values=np.inf)
        self._closed[:own, own] = into
        self._closed[own, own] = 0.0
        if own == len(self._direct):
            self._direct = np.pad(self._direct, ((0, own + 1), (0, 0)), constant_values=np.inf)

    def _expect(self, tokens: Tokens, p: Floats, place: int) -> None:
        """Learn from a win: of q given it won a race of exponentials, and of the losers' q.

        A token of probability p wins with the chance exp(-q (1 - p) / p) if the others' values are
        fresh; so with the prior Exp(1) the rates add up. The losers' values are above the
        winner's, times the ratio of the probabilities.
        """
        token = int(tokens[place])
        self._rates[token] += (1 - p[place]) / p[place]
        least = p / p[place] / self._rates[token]
        least[place] = 0.0
        self._least[tokens] = np.maximum(self._least[tokens], least)
