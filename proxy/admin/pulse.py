"""How routes go of late, and how they went: requests a second, errors and p99 of each version, beside the weight.

Taken from the latencies that are gathered for Prometheus, every few seconds; it decides nothing, and no verdict is made
of it. What happened in the last minute is kept exactly. Before that a course of MOST points at most is kept of each
route: once it is full, every two neighbours become one, so that it reaches back to the start of the controller in fewer
and longer points. That is 30 kB for a route of three versions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf, isnan
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxy.admin.latency import Arm, Histogram
from proxy.admin.surface import Json
from proxy.control.evidence.tracks import GRID
from proxy.ledger.layout import GRACE_S

MOST: Final = 240
"""Points of a course: twenty minutes of five seconds, then forty of ten, and so on. A chart shows no more."""
RECENT: Final = 12
"""Beats that make `now`: a minute."""
_AT, _SECONDS, _WEIGHT, _MIRROR = range(4)
_FINISHED, _FAILED, _P99 = range(3)

Version = tuple[str, str]
"""(backend, role)"""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Beat:
    """What one version finished in a few seconds: counts of the latency buckets that have any."""

    finished: float
    failed: float
    late: float
    buckets: NDArray[np.uint16]
    counts: NDArray[np.float32]


@dataclass(slots=True)
class Course:
    """A route's past. `line` has a row (at, seconds, weight, mirror) for each point, `versions` (finished, failed, p99
    in ms, NaN for none) of the same length; a point gathers `every` beats, and the last one has `filled` of them."""

    line: Floats = field(default_factory=lambda: np.empty((0, 4)))
    versions: dict[Version, Floats] = field(default_factory=dict)
    every: int = 1
    filled: int = 0

    def add(self, row: tuple[float, float, float, float], beats: Mapping[Version, Beat]) -> None:
        """Take in what happened until `row[0]`."""
        self.line = np.vstack((self.line, row))
        figures = {version: (beat.finished, beat.failed, p99_ms([beat])) for version, beat in beats.items()}
        for version in self.versions.keys() | figures.keys():
            past = self.versions.get(version)
            before = _nothing(len(self.line) - 1) if past is None else past
            self.versions[version] = np.vstack((before, np.array(figures.get(version, (0.0, 0.0, None)), dtype=float)))
        if 0 < self.filled < self.every:
            self._join(np.append(np.arange(len(self.line) - 1), len(self.line) - 2))
            self.filled += 1
        else:
            self.filled = 1
        if len(self.line) > MOST:
            self._join(np.arange(len(self.line)) // 2)  # MOST is even: the last one, just begun, stays alone
            self.every *= 2

    def document(self) -> tuple[list[Json], list[Json]]:
        """The points of the weight, and those of each version."""
        lines = [{"at": at, "seconds": s, "weight": w, "mirror": m} for at, s, w, m in self.line.tolist()]
        versions = [
            {
                "backend": backend,
                "role": role,
                "requests": rows[:, _FINISHED].tolist(),
                "failed": rows[:, _FAILED].tolist(),
                "p99Ms": [None if np.isnan(value) else round(value, 3) for value in rows[:, _P99].tolist()],
            }
            for (backend, role), rows in self.versions.items()
            if rows[:, _FINISHED].any()
        ]
        return lines, versions

    def _join(self, places: NDArray[np.intp]) -> None:
        """Make one of the points that have the same place."""
        firsts = np.flatnonzero(np.diff(places, prepend=-1))
        lasts = np.append(firsts[1:], len(places)) - 1
        seconds = np.add.reduceat(self.line[:, _SECONDS], firsts)
        self.line = self.line[lasts]
        self.line[:, _SECONDS] = seconds
        for version, rows in self.versions.items():
            sums = np.add.reduceat(rows[:, :_P99], firsts, axis=0)
            self.versions[version] = np.column_stack((sums, np.fmax.reduceat(rows[:, _P99], firsts)))


class Pulse:
    """The last minute and the course of all routes."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, dict[Arm, Beat]]] = deque(maxlen=RECENT)
        self._courses: dict[str, Course] = {}
        self._at_s: float | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there are routes to be followed."""
        return self._at_s is not None

    @property
    def window_s(self) -> float:
        """How long `now` is of."""
        return sum(seconds for seconds, _ in self._recent)

    def beat(self, at_s: float, gained: Mapping[Arm, Histogram], routes: Iterable[Json]) -> None:
        """Take in what was gained since the last time; `routes` are their summaries now."""
        lines = list(routes)
        seconds = 0.0 if self._at_s is None else max(0.0, at_s - self._at_s)
        self._at_s = at_s if lines else None
        if not seconds:
            return  # what the lanes held when the routes were first known is of nobody knows how long
        beats = {arm: _beat(histogram) for arm, histogram in gained.items()}
        self._recent.append((seconds, beats))
        by_route: dict[str, dict[Version, Beat]] = {}
        for (route, backend, role), beat in beats.items():
            by_route.setdefault(route, {})[backend, role] = beat
        courses, self._courses = self._courses, {}
        for line in lines:
            name = str(line["name"])
            course = self._courses[name] = courses.get(name) or Course()
            course.add((at_s, seconds, line["weight"], line["mirror"]), by_route.get(name, {}))

    def now(self, route: str) -> dict[Version, Json]:
        """How each version of a route went in the last minute; one that had nothing is not there."""
        found: dict[Version, list[Beat]] = {}
        for _, beats in self._recent:
            for (name, backend, role), beat in beats.items():
                if name == route:
                    found.setdefault((backend, role), []).append(beat)
        return {version: self._pace(beats) for version, beats in found.items()}

    def course(self, route: str) -> Course:
        """The course of a route."""
        return self._courses.get(route) or Course()

    def _pace(self, beats: list[Beat]) -> Json:
        finished, failed = sum(beat.finished for beat in beats), sum(beat.failed for beat in beats)
        p99 = p99_ms(beats)
        return {
            "requestsPerSecond": finished / self.window_s,
            "errors": failed / finished if finished else None,
            "p99Ms": None if p99 is None else round(p99, 3),
        }


def p99_ms(beats: Iterable[Beat]) -> float | None:
    """The 99th percentile of what was finished, exact to 0.5 %; None where nothing was.

    Those that were later than the grace are above all others, and told as the grace.
    """
    counts, late = np.zeros(GRID.buckets), 0.0
    for beat in beats:
        counts[beat.buckets] += beat.counts
        late += beat.late
    p99_s = GRID.quantile_s(counts, 0.99, late)
    return None if isnan(p99_s) else 1000 * (p99_s if p99_s < inf else GRACE_S)


def _beat(gained: Histogram) -> Beat:
    buckets = np.flatnonzero(gained.counts)
    counts = gained.counts[buckets]
    finished = float(counts.sum()) + gained.late
    return Beat(finished, gained.failed, gained.late, buckets.astype(np.uint16), counts.astype(np.float32))


def _nothing(points: int) -> Floats:
    return np.tile(np.array((0.0, 0.0, np.nan)), (points, 1))
