"""The latencies of the past: the stable's, from which thresholds come, and those of both versions, to be shown.

A threshold is the point of the stable's past histogram with exactly 1 - q above it: a bucket and a fraction of that
bucket. It must come from past slices: pooled or current data bias the test.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.still import copied
from analysis.summaries import FloatArray, Grid, Slice

MEMORY_PER_S: Final = 0.98
"""What the stable's histogram keeps from one second to the next: half is forgotten in 34 s, so it follows the load."""
_MEMORY_LEAST: Final = 5000.0
"""Requests that the memory does not fall below by forgetting, so that slow traffic still has a p99."""
_READY: Final = 10.0
"""A quantile q is judged after that many requests over 1 - q of the stable."""


class Threshold(NamedTuple):
    """A bucket, and which fraction of it counts as above."""

    bucket: int
    above: float


class History:
    """The stable's latencies of the past, and both arms' for display, averaged like all differences."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._past: FloatArray = np.zeros(grid.buckets)
        self._seen: FloatArray = np.zeros(1)
        self._shown: FloatArray = np.zeros((2, grid.buckets))  # stable, candidate
        self._shown_below: FloatArray | None = None
        """Its sums from below, where they were found since it last changed."""
        self._points: dict[float, Threshold | None] = {}
        """Thresholds by quantile, where they were found since the past last changed."""
        self._below: FloatArray = np.zeros(grid.buckets)
        self.tails: tuple[FloatArray, FloatArray] = (np.zeros(grid.buckets + 1), np.zeros(grid.buckets + 1))

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        return {"past": self._past, "seen": self._seen, "shown": self._shown}

    def look(self, slice_: Slice) -> None:
        """Sum up the tails of a slice, and the past, once for all quantiles."""
        self.tails = tail(slice_.stable.latency), tail(slice_.candidate.latency)
        self._below = np.cumsum(self._past)
        self._points.clear()

    def threshold(self, quantile: float) -> Threshold | None:
        """The point of the past with 1 - q above it; None before enough requests."""
        if quantile not in self._points:
            ready = self._seen[0] * (1 - quantile) >= _READY
            self._points[quantile] = _point(self._past, self._below, quantile) if ready else None
        return self._points[quantile]

    def learn(self, slice_: Slice) -> None:
        """Take the slice into the past."""
        mass = float(self._past.sum())
        if mass > _MEMORY_LEAST:
            self._past = self._past * max(MEMORY_PER_S**slice_.duration_s, _MEMORY_LEAST / mass)
        self._past = self._past + slice_.stable.latency
        n_s, n_c = float(self.tails[0][0]), float(self.tails[1][0])
        self._seen = self._seen + n_s
        self._points.clear()
        self._shown_below = None
        if n_s > 0 and n_c > 0:
            arms, weights = (slice_.stable.latency, slice_.candidate.latency), (n_c / (n_c + n_s), n_s / (n_c + n_s))
            self._shown = self._shown + [latency * weight for latency, weight in zip(arms, weights, strict=True)]

    def still(self) -> History:
        """The same to be shown later, as it is now."""
        return copied(self)  # nothing that is shown is changed in place

    def stable(self) -> FloatArray:
        """What the stable's latencies have been of late."""
        return self._past

    def quantiles_s(self, quantile: float) -> tuple[float, float] | None:
        """Stable's and candidate's quantile in seconds, to half a percent; None before any slice had both."""
        if self._shown_below is None:
            self._shown_below = np.cumsum(self._shown, axis=1)
        if not self._shown_below[:, -1].any():
            return None
        sums = zip(self._shown, self._shown_below, strict=True)
        points = [_point(shown, below, quantile) for shown, below in sums]
        stable, candidate = (self.grid.lowest_s * self.grid.base ** (at.bucket + 1 - at.above) for at in points)
        return stable, candidate


def tail(histogram: FloatArray) -> FloatArray:
    """How many are in bucket i or above, [buckets + 1]."""
    sums = np.zeros(len(histogram) + 1)
    np.cumsum(histogram[::-1], out=sums[-2::-1])
    return sums


def exceeds(tails: FloatArray, at: Threshold, shift: int) -> float:
    """The same as `exceed` by one shift: numpy takes ten times as long for one number."""
    bucket = min(max(at.bucket + shift, 0), len(tails) - 2)
    higher = tails.item(bucket + 1)
    return higher + at.above * (tails.item(bucket) - higher)


def exceed(tails: FloatArray, at: Threshold, shift: NDArray[np.int64]) -> FloatArray:
    """How many are above the threshold, moved up by whole buckets; the last bucket has no end and stays itself."""
    bucket = np.minimum(np.maximum(at.bucket + shift, 0), len(tails) - 2)
    higher = tails[bucket + 1]
    above: FloatArray = higher + at.above * (tails[bucket] - higher)
    return above


def threshold_of(histogram: FloatArray, quantile: float) -> Threshold:
    """The point of a histogram with exactly 1 - q of its mass above it."""
    return _point(histogram, np.cumsum(histogram), quantile)


def _point(histogram: FloatArray, below: FloatArray, quantile: float) -> Threshold:
    wanted = quantile * float(below[-1])
    bucket = min(int(np.searchsorted(below, wanted, side="left")), len(histogram) - 1)
    inside = float(histogram[bucket])
    above = (float(below[bucket]) - wanted) / inside if inside > 0 else 0.0
    return Threshold(bucket, min(max(above, 0.0), 1.0))
