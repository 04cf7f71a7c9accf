"""Distances of the versions that were compared last."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.summaries import ArmCounts
from proxy.control.evidence.tracks import GRID, Track
from proxy.control.views.contrast import distances
from tests.support.slices import arm, histogram


def served(seconds: float, label: str, low: bool) -> ArmCounts:
    scores = np.zeros(64)
    scores[10 if low else 50] = 100.0
    made = arm(100.0, 0.0, histogram(np.full(100, seconds)), {label: 100.0})
    return replace(made, histograms={"score": scores})


def track(judged: bool = True, **sums: ArmCounts) -> Track:
    return Track(1, 0.1, judged, False, (), 0, sums=sums)


def test_distances_are_of_the_comparison() -> None:
    """Reports would set stable beside itself, or beside traffic of another time."""
    one, other = served(0.05, "a", True), served(0.5, "b", False)
    found = distances((track(stable=one, canary=one), track(stable=one, canary=other), track(False, stable=other)))
    assert [each["name"] for each in found] == ["latency", "prediction.label", "prediction.score"]
    assert all(each["jensenShannon"] == 1.0 for each in found)
    assert [each["ks"] for each in found] == [1.0, None, 1.0]
    same = distances((track(stable=one, shadow=one),))
    assert all(each["jensenShannon"] == each["psi"] == 0.0 for each in same)


def test_nothing_is_told_of_one_version_alone() -> None:
    """Reports would divide by nothing."""
    assert distances(()) == []
    assert distances((track(stable=served(0.05, "a", True)),)) == []
    assert distances((track(stable=served(0.05, "a", True), canary=ArmCounts.empty(GRID)),)) == []
