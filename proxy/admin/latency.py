"""The latency histogram since start, gathered from the ledger's lanes.

The ledger keeps latencies by slice for the last 16 seconds, since evidence needs no more. Prometheus wants a
histogram that only grows. `Latencies` reads the lanes every few seconds and adds what each gained since it was last
read: a request counts once, as soon as it is finished, and nothing is written back.

Bucket edges are exact to 1 %, the width of a ledger bucket; the sum is exact to 0.5 %, since a bucket counts at its
geometric middle. Requests that took longer than the grace of 10 s count above all edges, and as 10 s in the sum.
Rows that are given back are read for as long as they rest, so the end of a stage is not lost. Histograms start again
with the controller, at what the lanes then hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxy.admin.surface import RowView
from proxy.ledger.layout import (
    GRACE_S,
    L_FAILED,
    L_LATE,
    L_LATE_FAILED,
    L_LATENCY,
    L_ON_TIME,
    LANES,
    LATENCY_BASE,
    LATENCY_BUCKETS,
    LATENCY_LOWEST_S,
    latency_bucket,
)
from proxy.ledger.reader import Reader

GATHER_EVERY_S: Final = 5.0
"""Lanes are cleared after 16 s: this may be missed twice before anything is lost."""

EDGES_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_FIRST_ABOVE: Final = tuple(latency_bucket(edge) for edge in EDGES_S)
_MIDDLES_S: Final = LATENCY_LOWEST_S * LATENCY_BASE ** (np.arange(LATENCY_BUCKETS) + 0.5)

Arm = tuple[str, str, str]
"""(route, backend, role)"""


@dataclass(slots=True)
class Histogram:
    """Latencies of one arm: counts by ledger bucket, how many were late, and how many of all failed."""

    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(LATENCY_BUCKETS))
    late: float = 0.0
    failed: float = 0.0

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper edge in seconds, `+Inf` last, as Prometheus wants them."""
        below = np.concatenate(([0.0], np.cumsum(self.counts)))
        edges = [(repr(edge), float(below[first])) for edge, first in zip(EDGES_S, _FIRST_ABOVE, strict=True)]
        return [*edges, ("+Inf", float(below[-1]) + self.late)]

    def add(self, gained: NDArray[np.float64]) -> None:
        """Add the cells that lanes gained."""
        self.counts += gained[L_LATENCY:]
        self.late += float(gained[L_LATE])
        self.failed += float(gained[L_FAILED] + gained[L_LATE_FAILED])

    def total_s(self) -> float:
        """Sum of all latencies in seconds."""
        return float(self.counts @ _MIDDLES_S) + self.late * GRACE_S


class Latencies:
    """Histograms of all arms since start. `monotonic_s` is the clock by which slices are numbered."""

    def __init__(self, reader: Reader, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._monotonic_s = monotonic_s
        self._arms: dict[Arm, Histogram] = {}
        self._gained: dict[Arm, Histogram] = {}
        self._seen: dict[tuple[int, int, int], dict[int, NDArray[np.float64]]] = {}

    def gather(self, rows: Sequence[RowView]) -> dict[Arm, Histogram]:
        """Add what the rows gained since the last time; the histograms of all arms so far."""
        newest = int(self._monotonic_s())
        seen = self._seen
        self._seen = {}
        for row in rows:
            arm = (row.route, row.backend, row.role)
            self._arms.setdefault(arm, Histogram())
            for worker in self._reader.workers():
                key = (worker, row.index, row.tenant)
                self._seen[key] = self._gather_row(key, seen.get(key, {}), newest, arm)
        return self._arms

    def take(self) -> dict[Arm, Histogram]:
        """What was gathered since the last time that this was asked; arms without any are not there."""
        gained, self._gained = self._gained, {}
        return gained

    def _gather_row(
        self, key: tuple[int, int, int], seen: dict[int, NDArray[np.float64]], newest: int, arm: Arm
    ) -> dict[int, NDArray[np.float64]]:
        # The oldest lane is left out: its writer may clear it for the next slice while it is read.
        now: dict[int, NDArray[np.float64]] = {}
        for slice_ in range(newest - LANES + 2, newest + 1):
            lane = self._reader.lane(*key, slice_)
            if lane is None:
                continue
            cells = np.array(lane[: L_LATENCY + LATENCY_BUCKETS])
            before = seen.get(slice_)
            now[slice_] = cells
            if before is not None and before[L_ON_TIME] == cells[L_ON_TIME] and before[L_LATE] == cells[L_LATE]:
                now[slice_] = before  # what is half written now counts when its ON_TIME says that it is whole
                continue
            gained = cells if before is None else cells - before
            if gained[L_ON_TIME] or gained[L_LATE]:
                self._arms[arm].add(gained)
                self._gained.setdefault(arm, Histogram()).add(gained)
        return now
