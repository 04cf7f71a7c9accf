"""Forecasts and futility."""

from __future__ import annotations

from math import inf, log

import numpy as np
import pytest

from analysis.progress import Progress

NEEDED = log(20)


def grown(*log_e: float, block_s: float = 30.0) -> Progress:
    progress = Progress(1)
    for number, value in enumerate(log_e, start=1):
        progress.close(np.array([value]), number * block_s, NEEDED)
    return progress


def test_forecast_is_what_is_missing_over_the_growth_of_five_blocks() -> None:
    """Broken: the forecast is not about the present growth."""
    progress = grown(-9, -9, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    assert progress.forecasts(np.array([0.5]), NEEDED) == pytest.approx([(NEEDED - 0.5) / (0.1 / 30)])
    assert progress.forecasts(np.array([NEEDED + 1]), NEEDED) == [0.0]


def test_no_forecast_without_growth_or_history() -> None:
    """Broken: a forecast from nothing, or a division by zero."""
    assert Progress(1).forecasts(np.array([0.0]), NEEDED) == [inf]
    assert grown(1.0).forecasts(np.array([1.0]), NEEDED) == [inf]
    assert grown(1.0, 0.5).forecasts(np.array([0.5]), NEEDED) == [inf]


def test_futile_is_five_checks_running_beyond_the_horizon() -> None:
    """Broken: a rollout that cannot decide runs on, or one bad block ends it."""
    stuck = grown(*[0.0] * 10)
    assert stuck.futile(300.0, 300.0, 400.0) is True
    assert stuck.futile(300.0, 300.0, 4000.0) is False, "most of the horizon is still to come"
    assert grown(*[0.0] * 4).futile(120.0, 300.0, 400.0) is False
    growing = grown(*[0.0] * 5, 1.0, 2.5)
    assert growing.futile(210.0, 210.0, 400.0) is False


def test_the_growth_of_older_blocks_still_counts() -> None:
    """Broken: a forecast that hangs on the last two blocks tells five minutes, then never, then five minutes."""
    progress = grown(-9, -9, 0.0, 0.4, 0.8, 1.2, 1.2, 1.2)
    assert progress.forecasts(np.array([1.2]), NEEDED) == pytest.approx([(NEEDED - 1.2) / (1.2 / 150)])
