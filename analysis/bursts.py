"""How far a share varies beyond chance: the dispersion that divides the evidence of pairs.

The share of pairs that differ depends on what is asked, and odd requests come together. Two measures, of finished
blocks alone, each 1 on average where pairs are independent; the larger counts, and never less than 1:

- within blocks: the slices around the share of their own block (Pearson's X² over its degrees of freedom, McCullagh,
  Nelder, Generalized Linear Models, section 4.5.2);
- between blocks: each block against the one before (von Neumann, Annals of Mathematical Statistics 12, 1941), without
  the largest difference. A burst differs from what is before and from what is after it, and so is seen; a version that
  begins to differ and goes on differs once, and must not hide itself as noise.

Of two shares that are compared (`Gaps`) it is their difference that is measured so, with the variance that chance gives
it: what both have in common, such as a batch of ambiguous requests, does not count.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from analysis.summaries import FloatArray

_LEAST: Final = 5.0
"""Degrees of freedom from which on a measure speaks."""


class Bursts:
    """The dispersion of some shares of the same pairs."""

    def __init__(self, shares: int) -> None:
        self._block: FloatArray = np.zeros((4, shares))  # of the open block: n, x, sum of x²/n, slices
        self._within: FloatArray = np.zeros((3, shares))  # X², what chance gives, degrees of freedom
        self._last: FloatArray = np.zeros((2, shares))  # n and x of the block before
        self._between: FloatArray = np.zeros((3, shares))  # sum of squared differences, the largest, how many

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        return {"block": self._block, "within": self._within, "last": self._last, "between": self._between}

    def add(self, n: float, x: FloatArray) -> None:
        """Add one slice of n pairs, of which x are bad by each measure."""
        if n > 0:
            self._block += (np.full_like(x, n), x, x * x / n, np.ones_like(x))

    def close(self) -> None:
        """End the block."""
        n, x, squares, slices = self._block
        if n[0] <= 0:
            return
        share = x / n
        free = slices - 1
        self._within += (np.maximum(squares - x * share, 0.0), free * share * (1 - share), free * ((x > 0) & (x < n)))
        n_before, x_before = self._last
        if n_before[0] > 0:
            pooled = (x + x_before) / (n + n_before)
            chance = pooled * (1 - pooled) * (1 / n + 1 / n_before)
            told = chance > 0
            square = np.divide((share - x_before / n_before) ** 2, chance, out=np.zeros_like(x), where=told)
            total, largest, count = self._between
            self._between[:] = total + square, np.maximum(largest, square), count + told
        self._last[:] = n, x
        self._block[:] = 0.0

    def phi(self) -> FloatArray:
        """The dispersion of each share, at least 1."""
        return _phi(self._within, self._between)


class Gaps:
    """The dispersion of the difference of two shares of disjoint requests."""

    def __init__(self) -> None:
        self._block: FloatArray = np.zeros(4)  # of the open block: I, I z, I z², slices
        self._arms: FloatArray = np.zeros((3, 2))  # n, x, sum of I/n of each side
        self._squares: FloatArray = np.zeros(2)  # sum of I²/n of each side
        self._within: FloatArray = np.zeros((3, 1))  # X², what chance gives, degrees of freedom
        self._last: FloatArray = np.zeros(2)  # the difference in the block before, and its variance; 0 before any
        self._between: FloatArray = np.zeros((3, 1))  # sum of squared differences, the largest, how many

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        return {
            "block": self._block,
            "arms": self._arms,
            "squares": self._squares,
            "within": self._within,
            "last": self._last,
            "between": self._between,
        }

    def add(self, n: FloatArray, x: FloatArray) -> None:
        """Add one slice: requests of both sides, and those that are bad."""
        if n.min() <= 0:
            return
        information = n.prod() / n.sum()
        gap = x[0] / n[0] - x[1] / n[1]
        self._block += (information, information * gap, information * gap * gap, 1.0)
        self._arms += (n, x, information / n)
        self._squares += information * information / n

    def close(self) -> None:
        """End the block."""
        information, sum_, squares, slices = self._block
        if information > 0:
            gap, rate = sum_ / information, self._arms[1] / self._arms[0]
            spread = rate * (1 - rate)
            free, chance = slices - 1, float(spread @ self._arms[2])
            self._within[:, 0] += (max(squares - sum_ * gap, 0.0), chance * free / slices, free * (chance > 0))
            variance = float(spread @ self._squares) / information**2
            before, of_before = self._last
            if of_before > 0 and variance > 0:
                square = (gap - before) ** 2 / (variance + of_before)
                total, largest, count = self._between[:, 0]
                self._between[:, 0] = total + square, max(largest, square), count + 1
            self._last[:] = gap, variance
        for sums in (self._block, self._arms, self._squares):
            sums[:] = 0.0

    def phi(self) -> float:
        """The dispersion, at least 1."""
        return float(_phi(self._within, self._between)[0])


def _phi(within: FloatArray, between: FloatArray) -> FloatArray:
    found, chance, free = within
    inside = np.divide(found, chance, out=np.ones_like(found), where=(free >= _LEAST) & (chance > 0))
    total, largest, count = between
    across = np.divide(total - largest, count - 1, out=np.ones_like(total), where=count > _LEAST)
    phi: FloatArray = np.maximum(1.0, np.maximum(inside, across))
    return phi
