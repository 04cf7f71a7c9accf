"""How far two distributions are apart: sizes for people, never a test and never a gate.

A distance has no margin of error: between two halves of one stable version it is above 0, and the more so the fewer
values there are. Each is read beside the verdict, which is made of e-values alone. Where values are in many buckets,
PSI and Jensen-Shannon are of ten bins, the deciles of the stable.

numpy and `scipy.special` alone: loading `scipy.stats` costs a controller half a second and 40 MB; the tests hold these
to what `scipy.stats` and `scipy.spatial` give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log, sqrt
from typing import Final

import numpy as np
from scipy.special import rel_entr

from analysis.summaries import FloatArray

_BINS: Final = 10
_LEAST_SHARE: Final = 1e-4
"""What a bin without values counts as in a logarithm, as is usual for the PSI."""


@dataclass(frozen=True, slots=True)
class Distances:
    """Between stable and candidate; None where values have no order."""

    psi: float
    """Population stability index; below 0.1 is usually called stable, above 0.2 a shift (Siddiqi, Credit Risk
    Scorecards, 2006, chapter 9)."""
    jensen_shannon: float
    """The Jensen-Shannon distance to base 2, 0 to 1 (Lin, IEEE Trans. Information Theory 37, 1991; its square root is a
    metric: Endres, Schindelin, 2003)."""
    wasserstein: float | None
    """How far values move on average, in standard deviations of stable (Vallender, Theory Prob. Appl. 18, 1974)."""
    ks: float | None
    """Kolmogorov-Smirnov: the largest difference of the two distribution functions, 0 to 1 (Smirnov 1948)."""


def of_labels(stable: Mapping[str, float], candidate: Mapping[str, float]) -> Distances | None:
    """Of two tables of labels; None where one of them is empty."""
    labels = sorted({*stable, *candidate})
    s, c = (np.array([arm.get(label, 0.0) for label in labels]) for arm in (stable, candidate))
    if s.sum() <= 0 or c.sum() <= 0:
        return None
    return Distances(psi(s, c), jensen_shannon(s, c), None, None)


def of_values(stable: FloatArray, candidate: FloatArray, values: FloatArray) -> Distances | None:
    """Of two histograms over buckets that stand for ascending values; None where one of them is empty.

    >>> same = np.array([1.0, 2.0, 1.0])
    >>> of_values(same, 3 * same, np.arange(3.0))
    Distances(psi=0.0, jensen_shannon=0.0, wasserstein=0.0, ks=0.0)
    """
    if stable.sum() <= 0 or candidate.sum() <= 0:
        return None
    s, c = _deciles(stable, candidate)
    spread = _sd(stable, values)
    moved = wasserstein(stable, candidate, values)
    return Distances(psi(s, c), jensen_shannon(s, c), moved / spread if spread > 0 else None, ks(stable, candidate))


def psi(stable: FloatArray, candidate: FloatArray) -> float:
    """Sum of (c - s) ln(c / s) over bins.

    >>> round(psi(np.array([50.0, 50.0]), np.array([60.0, 40.0])), 6)
    0.040547
    """
    s, c = (np.maximum(each / each.sum(), _LEAST_SHARE) for each in (stable, candidate))
    return float(((c - s) * np.log(c / s)).sum())


def jensen_shannon(stable: FloatArray, candidate: FloatArray) -> float:
    """The root of the mean divergence from the middle of both, in bits.

    >>> jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 5.0]))
    1.0
    """
    s, c = stable / stable.sum(), candidate / candidate.sum()
    middle = (s + c) / 2
    divergence = float((rel_entr(s, middle) + rel_entr(c, middle)).sum()) / 2 / log(2)
    return sqrt(min(max(divergence, 0.0), 1.0))


def wasserstein(stable: FloatArray, candidate: FloatArray, values: FloatArray) -> float:
    """The area between the two distribution functions, in the unit of the values.

    >>> wasserstein(np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([2.0, 5.0]))
    3.0
    """
    return float((np.abs(_gap(stable, candidate))[:-1] * np.diff(values)).sum())


def ks(stable: FloatArray, candidate: FloatArray) -> float:
    """The largest difference of the two distribution functions.

    >>> ks(np.array([1.0, 1.0, 0.0]), np.array([0.0, 1.0, 1.0]))
    0.5
    """
    return float(np.abs(_gap(stable, candidate)).max())


def _gap(stable: FloatArray, candidate: FloatArray) -> FloatArray:
    gap: FloatArray = np.cumsum(candidate / candidate.sum()) - np.cumsum(stable / stable.sum())
    gap[-1] = 0.0
    return gap


def _sd(histogram: FloatArray, values: FloatArray) -> float:
    share = histogram / histogram.sum()
    mean = float(share @ values)
    return sqrt(max(float(share @ (values - mean) ** 2), 0.0))


def _deciles(stable: FloatArray, candidate: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both in bins that hold a tenth of the stable each, as far as its buckets allow."""
    below = np.cumsum(stable) / stable.sum()
    bins = np.minimum((np.concatenate(((0.0,), below[:-1])) * _BINS + 1e-9).astype(int), _BINS - 1)
    kept = np.unique(bins, return_inverse=True)[1]
    s: FloatArray = np.bincount(kept, stable).astype(np.float64)
    c: FloatArray = np.bincount(kept, candidate).astype(np.float64)
    return s, c
