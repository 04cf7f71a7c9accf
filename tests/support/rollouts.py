"""Many rollouts at once, each a row of one stack; and what counts as too many wrong answers among them."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
from scipy.special import bdtr, bdtrc, ndtri

from analysis.engine import Table
from analysis.robustness import RESTART_BLOCKS
from analysis.stack import Stack

ALPHA = 0.05
BLOCK = 10
"""Looks of a block, where nothing else is said."""
MISJUDGED = 1e-6
"""How often a check may fail a build that is right."""


def limit(runs: int, risk: float = ALPHA) -> int:
    """More alarms than that come once in a million from a build with exactly that risk."""
    return next(count for count in range(runs + 1) if bdtrc(count, runs, risk) < MISJUDGED)


def least(runs: int, power: float) -> int:
    """Fewer finds than that come once in a million from a build with exactly that power."""
    return next(count for count in range(runs + 1) if bdtr(count, runs, power) >= MISJUDGED)


def drawn(random: np.random.Generator, n: np.ndarray, p: float | np.ndarray) -> np.ndarray:
    """How many of n happened."""
    return random.binomial(n.astype(int), p).astype(float)


class Runs:
    """Rollouts side by side: did they ever alarm, at any look, by each of the tables?

    `first` is the number of the look at which a test first reached 1/ALPHA, [tables, runs], 0 if never; `naive_first`
    is the same for a one-sided z-test of two pooled proportions, as a dashboard with a p-value makes it.
    """

    def __init__(self, runs: int, table: Table | Sequence[Table], robust: bool, block: int = BLOCK) -> None:
        tables = [table] if isinstance(table, Table) else list(table)
        self.stack = Stack([each for each in tables for _ in range(runs)], [])
        self.robust = robust
        self._block = block
        if not robust:
            self.stack.bank._cap = np.inf
        self.first = np.zeros((len(tables), runs), dtype=int)
        self.naive_first = np.zeros(runs, dtype=int)
        self._pooled = np.zeros((4, runs))
        self._looks = 0

    @property
    def alarmed(self) -> np.ndarray:
        """Of each run: whether any table did."""
        return (self.first > 0).any(axis=0)

    @property
    def naive(self) -> np.ndarray:
        """The same of the z-test."""
        return self.naive_first > 0

    def look(
        self,
        n_c: np.ndarray,
        x_c: np.ndarray,
        n_s: np.ndarray,
        x_s: np.ndarray,
        *earlier: tuple[np.ndarray, ...],
    ) -> None:
        """One slice of all rollouts, or a window of several; `earlier` are what it tells of earlier stages, in tables
        of their own."""
        self._looks += 1
        counts, *told = (
            np.tile(np.stack(table, axis=1), (len(self.first), 1)) for table in ((n_c, x_c, n_s, x_s), *earlier)
        )
        self.stack.observe(counts, np.zeros(0), told)
        log_e = self.stack.bank.log_evidence().reshape(self.first.shape)
        self.first[(self.first == 0) & (log_e >= log(1 / ALPHA))] = self._looks
        if self.robust and self._looks % self._block == 0:
            self.end_block(self._looks // self._block)
        self._pooled += (n_c, x_c, n_s, x_s)
        self._naive_look()

    def at(self, look: int) -> None:
        """The next look is that of this number."""
        self._looks = look - 1

    def end_block(self, number: int) -> None:
        """End a block, the first of which is number 1."""
        self.stack.close(np.ones(self.stack.rows))
        if number % RESTART_BLOCKS == 0:
            self.stack.bank.restart()

    def _naive_look(self) -> None:
        n_c, x_c, n_s, x_s = self._pooled
        some = (n_c > 0) & (n_s > 0)
        n_c, n_s = np.where(some, n_c, 1.0), np.where(some, n_s, 1.0)
        rate = (x_c + x_s) / (n_c + n_s)
        spread = np.sqrt(np.maximum(rate * (1 - rate) * (1 / n_c + 1 / n_s), 1e-12))
        worse = some & ((x_c / n_c - x_s / n_s) / spread > ndtri(1 - ALPHA))
        self.naive_first[(self.naive_first == 0) & worse] = self._looks
