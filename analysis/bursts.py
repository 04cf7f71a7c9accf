"""How far a share varies beyond chance: the dispersion that divides the evidence of pairs.

The share of pairs that differ depends on what is asked, and odd requests come together. Two measures, of finished
blocks alone, each 1 on average where pairs are independent; the larger counts, and never less than 1:

- within blocks: the slices around the share of their own block (Pearson's X² over its degrees of freedom, McCullagh,
  Nelder, Generalized Linear Models, section 4.5.2);
- between blocks: each block against the one before (von Neumann, Annals of Mathematical Statistics 12, 1941), without
  the largest difference. A burst differs from what is before and from what is after it, and so is seen; a version that
  begins to differ and goes on differs once, and must not hide itself as noise.
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
        found, chance, free = self._within
        within = np.divide(found, chance, out=np.ones_like(found), where=(free >= _LEAST) & (chance > 0))
        total, largest, count = self._between
        between = np.divide(total - largest, count - 1, out=np.ones_like(total), where=count > _LEAST)
        phi: FloatArray = np.maximum(1.0, np.maximum(within, between))
        return phi
