"""What keeps the evidence honest on real traffic: block cap, dispersion and restarts (`groups` adds that of users).

- Cap. Evidence is summed over a block and enters as min(sum / phi, ln 4). The running minimum of an e-process and a
  constant is a supermartingale, so this holds at every look, the open block included. No single incident decides:
  odds of 20 : 1 take three blocks.
- Dispersion phi >= 1, from finished blocks alone: how much more the arms differ from block to block than chance
  within a slice allows. E[e^(l/phi)] <= (E[e^l])^(1/phi) <= 1, so phi never costs validity; it answers noise that
  hits one arm alone.
- Restarts, for harm. A bet that collected "all fine" for an hour would need as long to turn round, so the wealth is
  split over bets that start anew every RESTART_BLOCKS blocks, with weights 1/(j(j+1)), which sum to 1; a bet that has
  not started keeps its stake. All bets of a row share their increments, so the sum of all of them is one number for
  each alternative, and restarts need not end after some number (nine banks held singly would cover 40 minutes).
"""

from __future__ import annotations

from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.engine import POINTS
from analysis.summaries import FloatArray

BLOCK_CAP: Final = log(4.0)
RESTART_BLOCKS: Final = 10
"""Blocks with data between two restarts: 5 minutes at blocks of 30 s."""
LEVELS: Final = 8
"""Dispersion is watched over sums of 1, 2, 4 … 128 slices."""
MIN_BLOCKS: Final = 5
"""A level of the dispersion speaks once it has that many sums."""


class Bank:
    """The wealth of all rows: log E of each alternative, capped by blocks, with restarts where a row asks for them."""

    def __init__(self, restarts: NDArray[np.bool_], cap: float = BLOCK_CAP) -> None:
        self._restarts = restarts
        self._cap = cap
        rows = len(restarts)
        self.closed: FloatArray = np.where(restarts, log(0.5), 0.0)[:, None] * np.ones(POINTS)
        self.open: FloatArray = np.zeros((rows, POINTS))
        self.phi: FloatArray = np.ones(rows)
        self.starts: FloatArray = np.ones(1)

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        return {"closed": self.closed, "open": self.open, "phi": self.phi, "starts": self.starts}

    def add(self, log_ratios: FloatArray) -> None:
        """Add one slice, [rows, POINTS], to the open block."""
        self.open += log_ratios

    def log_evidence(self) -> FloatArray:
        """ln E of each row now, the open block included."""
        each = self._wealth()
        highest = each.max(axis=1)
        wealth = highest + np.log(np.exp(each - highest[:, None]).mean(axis=1))
        waiting = -np.log1p(self.starts[0])  # the stakes not yet placed: 1 - sum of 1/(j(j+1)) = 1/(starts + 1)
        total: FloatArray = np.where(self._restarts, np.logaddexp(wealth, waiting), wealth)
        return total

    def close(self, phi: FloatArray) -> None:
        """End the block; `phi` divides the next one."""
        self.closed = self._wealth()
        self.open[:] = 0.0
        self.phi[:] = np.maximum(phi, 1.0)

    def restart(self) -> None:
        """Place the next stake; only between two blocks."""
        self.starts += 1
        stake = log(restart_weight(int(self.starts[0])))
        self.closed = np.where(self._restarts[:, None], np.logaddexp(self.closed, stake), self.closed)

    def _wealth(self) -> FloatArray:
        wealth: FloatArray = self.closed + np.minimum(self.open / self.phi[:, None], self._cap)
        return wealth


def restart_weight(start: int) -> float:
    """The stake of the start of that number, from 1.

    >>> sum(restart_weight(start) for start in range(1, 9)) + 1 / 9
    1.0
    """
    return 1.0 / (start * (start + 1))


class Dispersion:
    """How far the rows vary between spans of slices, over what chance within the slices gives."""

    def __init__(self, rows: int) -> None:
        self._part: FloatArray = np.zeros((2, LEVELS, rows))
        self._sums: FloatArray = np.zeros((5, LEVELS, rows))  # uu, uv, vv, v, number of spans with data
        self._total: FloatArray = np.zeros((2, rows))
        self._slices: FloatArray = np.zeros(1)

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        return {"part": self._part, "sums": self._sums, "total": self._total, "slices": self._slices}

    @property
    def variance(self) -> FloatArray:
        """Sum of v over all slices."""
        variance: FloatArray = self._total[1]
        return variance

    def add(self, u: FloatArray, v: FloatArray) -> None:
        """Add one slice: differences u with the variances v that chance gives them."""
        self._total += (u, v)
        self._part[0] += u
        self._part[1] += v
        self._slices += 1
        count = int(self._slices[0])
        ended = min((count & -count).bit_length(), LEVELS)  # levels whose span ends with this slice
        u, v = self._part[0, :ended], self._part[1, :ended]
        self._sums[:, :ended] += (u * u, u * v, v * v, v, v > 0)
        self._part[:, :ended] = 0.0

    def phi(self) -> FloatArray:
        """The dispersion of each row, centred at the row's own effect, so that a true one does not hide itself."""
        u, v = self._total
        theta = np.divide(u, v, out=np.zeros_like(u), where=v > 0)
        uu, uv, vv, spread, spans = self._sums
        excess = uu - 2 * theta * uv + theta * theta * vv
        ready = (spans >= MIN_BLOCKS) & (spread > 0)
        ratio = np.divide(excess, spread, out=np.ones_like(excess), where=ready)
        highest: FloatArray = ratio.max(axis=0, initial=1.0)
        return highest
