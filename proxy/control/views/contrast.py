"""How far the two versions of a route are apart, for people: distances of latency, labels and numbers, by metric.

Of the stage that was compared last, like the sums that are shown beside them. Nothing is decided by a distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from analysis.distances import Distances, of_labels, of_values
from analysis.summaries import ArmCounts, FloatArray
from proxy.control.evidence.tracks import GRID, Track

Json = dict[str, Any]
_LATENCIES_S: Final[FloatArray] = np.float64(GRID.lowest_s) * np.float64(GRID.base) ** (np.arange(GRID.buckets) + 0.5)


def distances(tracks: Sequence[Track]) -> list[Json]:
    """By metric, in the order latency, labels, numbers; empty before both versions have answered."""
    for track in reversed(tracks):
        stable, candidate = (track.sums.get(role) for role in track.roles)
        if candidate is None or not candidate.answered:
            candidate = track.sums.get("shadow")
        if track.judged and candidate and stable and candidate is not stable and candidate.answered and stable.answered:
            return [_document(name, found) for name, found in _of(stable, candidate) if found is not None]
    return []


def _of(stable: ArmCounts, candidate: ArmCounts) -> Iterator[tuple[str, Distances | None]]:
    yield "latency", of_values(stable.latency, candidate.latency, _LATENCIES_S)
    for name, labels in stable.labels.items():
        yield f"prediction.{name}", of_labels(labels, candidate.labels.get(name, {}))
    for name, histogram in stable.histograms.items():
        other = candidate.histograms.get(name)
        if other is not None:
            yield f"prediction.{name}", of_values(histogram, other, np.arange(float(len(histogram))))


def _document(name: str, found: Distances) -> Json:
    sizes = asdict(found)
    return {"name": name, "jensenShannon": sizes.pop("jensen_shannon"), **sizes}
