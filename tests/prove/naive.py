"""The tests that people know, made on the totals at each look: what an alert on a p-value below 5 % does."""

from __future__ import annotations

import numpy as np
from scipy.special import kolmogorov, ndtr

from tests.support.rollouts import ALPHA


class Peeked:
    """Running totals of one rollout, and the first look at which each test said "different" (0: never)."""

    def __init__(self, buckets: int) -> None:
        self.first = {"two proportions (z)": 0, "Kolmogorov-Smirnov": 0, "Mann-Whitney": 0}
        self._counts = np.zeros(4)
        self._latency = np.zeros((2, buckets))
        self._looks = 0

    def look(self, counts: tuple[float, float, float, float], candidate: np.ndarray, stable: np.ndarray) -> None:
        """One more slice: nC, xC, nS, xS and the histograms of latency."""
        self._looks += 1
        self._counts += counts
        self._latency += (candidate, stable)
        found = (proportions(*self._counts), smirnov(*self._latency), ranks(*self._latency))
        for name, p_value in zip(self.first, found, strict=True):
            if p_value < ALPHA and not self.first[name]:
                self.first[name] = self._looks


def proportions(n_c: float, x_c: float, n_s: float, x_s: float) -> float:
    """Two-sided p-value of the z-test of two pooled proportions."""
    if not (n_c and n_s):
        return 1.0
    rate = (x_c + x_s) / (n_c + n_s)
    spread = np.sqrt(rate * (1 - rate) * (1 / n_c + 1 / n_s))
    return float(2 * ndtr(-abs(x_c / n_c - x_s / n_s) / spread)) if spread > 0 else 1.0


def smirnov(candidate: np.ndarray, stable: np.ndarray) -> float:
    """Asymptotic two-sided p-value of the two-sample Kolmogorov-Smirnov test, on histograms."""
    n_c, n_s = candidate.sum(), stable.sum()
    if not (n_c and n_s):
        return 1.0
    distance = np.abs(np.cumsum(candidate) / n_c - np.cumsum(stable) / n_s).max()
    return float(kolmogorov(np.sqrt(n_c * n_s / (n_c + n_s)) * distance))


def ranks(candidate: np.ndarray, stable: np.ndarray) -> float:
    """Two-sided p-value of Mann-Whitney with its correction for ties, on histograms."""
    n_c, n_s, both = candidate.sum(), stable.sum(), candidate + stable
    if not (n_c and n_s):
        return 1.0
    n = n_c + n_s
    below = np.cumsum(stable) - stable
    larger = float((candidate * (below + stable / 2)).sum())
    ties = float((both**3 - both).sum()) / (n * (n - 1))
    spread = np.sqrt(n_c * n_s / 12 * (n + 1 - ties))
    return float(2 * ndtr(-abs(larger - n_c * n_s / 2) / spread)) if spread > 0 else 1.0
