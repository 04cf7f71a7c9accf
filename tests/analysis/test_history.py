"""The latencies of the past: what is kept of them."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.history import History
from tests.support.slices import GRID, arm, histogram, look


def past_of(length_s: float, seconds: int = 240) -> float:
    """What is kept of 1,000 requests a second, in slices of that length."""
    history = History(GRID)
    for _ in range(round(seconds / length_s)):
        latency = histogram(np.full(round(1000 * length_s), 0.05))
        slice_ = look(arm(latency.sum(), latency=latency), arm(), duration_s=length_s)
        history.look(slice_)
        history.learn(slice_)
    return float(history.stable().sum())


def test_the_past_fades_by_time_and_not_by_slices() -> None:
    """Broken: with looks of ten seconds half of the threshold is six minutes behind a load that drifts, and not half a
    minute; where thin traffic is compared by the half minute it is seventeen."""
    assert past_of(1.0) == pytest.approx(1000 / (1 - 0.98), rel=0.02)
    assert past_of(10.0) == pytest.approx(10_000 / (1 - 0.98**10), rel=0.02)
