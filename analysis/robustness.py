"""What keeps the evidence honest on real traffic: block cap, dispersion and restarts (`groups` adds that of users).

- Cap. Evidence is summed over a block and enters as min(sum / phi, ln 4). The running minimum of an e-process and a
  constant is a supermartingale, so this holds at every look, the open block included. No single incident decides:
  odds of 20 : 1 take three blocks.
- Dispersion phi >= 1, from finished blocks alone: how much more the arms differ from block to block than chance
  within a slice allows, at the odds that the arms had so far (`stack`: an effect brings more variance with it, which is
  no noise). E[e^(l/phi)] <= (E[e^l])^(1/phi) <= 1, so phi never costs validity; it answers noise that hits one arm
  alone. For harm, a candidate that has become worse is not noise: if its effect rose by CHANGE standard
  errors (at the dispersion found without a change) at one of the last marks, phi is that around two effects, one
  before and one after. Else a regression after a calm hour would be divided by its own surprise: errors that doubled
  after 12.5 minutes were found by none of 40 rollouts within 15 minutes, and are now by 19 of 20
  (`python -m tests.prove --only onset`). The price is measured there as well (`--only bursts`, `--only noise`).
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
MARK_BLOCKS: Final = 5
MARKS: Final = 4
"""A change is looked for at each of the last 4 marks, 5 blocks from one to the next: 10 minutes at blocks of 30 s."""
CHANGE: Final = 2.0


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
        each = np.ascontiguousarray(self._wealth().T)  # numpy sums whole rows of rows faster
        highest = each.max(axis=0)
        wealth = highest + np.log(np.exp(each - highest).sum(axis=0) / POINTS)
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
    """How far the rows vary between spans of slices, over what chance within the slices gives.

    `worse` is +1 or -1 for rows in which a change of the differences in that direction is harm, and 0 for the others,
    whose dispersion is that around one effect.
    """

    def __init__(self, worse: FloatArray) -> None:
        rows = len(worse)
        self._harm = np.flatnonzero(worse)
        self._worse = worse[self._harm]
        self._part: FloatArray = np.zeros((2, LEVELS, rows))
        self._sums: FloatArray = np.zeros((5, LEVELS, rows))  # uu, uv, vv, v, number of spans with data
        self.total: FloatArray = np.zeros((2, rows))
        """Sums of u and of v over all slices."""
        self._slices: FloatArray = np.zeros(1)
        self._blocks: FloatArray = np.zeros(1)
        self._marked_sums: FloatArray = np.zeros((MARKS, 3, LEVELS, len(self._harm)))  # newest last; zeros: none yet
        self._marked_total: FloatArray = np.zeros((MARKS, 2, len(self._harm)))

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        counters = {"slices": self._slices, "blocks": self._blocks}
        marks = {"marked sums": self._marked_sums, "marked total": self._marked_total}
        return {"part": self._part, "sums": self._sums, "total": self.total} | counters | marks

    @property
    def variance(self) -> FloatArray:
        """Sum of v over all slices."""
        variance: FloatArray = self.total[1]
        return variance

    def add(self, u: FloatArray, v: FloatArray) -> None:
        """Add one slice: differences u with the variances v that chance gives them."""
        self.total += (u, v)
        self._part[0] += u
        self._part[1] += v
        self._slices += 1
        count = int(self._slices[0])
        ended = min((count & -count).bit_length(), LEVELS)  # levels whose span ends with this slice
        u, v = self._part[0, :ended], self._part[1, :ended]
        for sums, more in zip(self._sums[:, :ended], (u * u, u * v, v * v, v, v > 0), strict=True):
            sums += more
        self._part[:, :ended] = 0.0

    def phi(self) -> FloatArray:
        """The dispersion of each row, centred at the row's own effect, so that a true one does not hide itself."""
        highest = self._highest(_scatter(self._sums[:3], self.total), slice(None))
        if self._blocks[0] >= MARK_BLOCKS and self._harm.size:
            highest[self._harm] = self._changed(highest[self._harm])
        return highest

    def close_block(self) -> None:
        """Count a block, and set a mark after every few."""
        self._blocks += 1
        if self._blocks[0] % MARK_BLOCKS == 0:
            self._marked_sums[:-1], self._marked_total[:-1] = self._marked_sums[1:], self._marked_total[1:]
            self._marked_sums[-1] = self._sums[:3, :, self._harm]
            self._marked_total[-1] = self.total[:, self._harm]

    def _changed(self, alike: FloatArray) -> FloatArray:
        """The dispersion of the rows of harm, where the effect may have changed at a mark; `alike` is that without."""
        lowest, total, sums = alike.copy(), self.total[:, self._harm], self._sums[:3, :, self._harm]
        marks = int(min(self._blocks[0] // MARK_BLOCKS, MARKS))
        for before, known in zip(self._marked_total[-marks:], self._marked_sums[-marks:], strict=True):
            after = total - before
            both = (before[1] > 0) & (after[1] > 0)
            error = alike * (1 / np.where(both, before[1], 1.0) + 1 / np.where(both, after[1], 1.0))
            rise = self._worse * (_effect(after) - _effect(before))
            change = both & (rise > CHANGE * np.sqrt(error))
            if change.any():
                apart = _scatter(known, before) + _scatter(sums - known, after)
                lowest = np.where(change, np.minimum(lowest, self._highest(apart, self._harm)), lowest)
        return lowest

    def _highest(self, scatter: FloatArray, rows: NDArray[np.int64] | slice) -> FloatArray:
        """Of the levels that have spans enough, the largest scatter over what chance gives, at least 1."""
        spread, spans = self._sums[3:, :, rows]
        ready = (spans >= MIN_BLOCKS) & (spread > 0)
        ratio = np.divide(scatter, spread, out=np.ones_like(scatter), where=ready)
        highest: FloatArray = ratio.max(axis=0, initial=1.0)
        return highest


def _effect(total: FloatArray) -> FloatArray:
    """Sum of u over sum of v; 0 where there is none."""
    u, v = total
    effect: FloatArray = np.divide(u, v, out=np.zeros_like(u), where=v > 0)
    return effect


def _scatter(sums: FloatArray, total: FloatArray) -> FloatArray:
    """Sum of (u - theta v)^2 of each level, around the effect theta of the totals."""
    theta = _effect(total)
    uu, uv, vv = sums
    scatter: FloatArray = uu - 2 * theta * uv + theta * theta * vv
    return scatter
