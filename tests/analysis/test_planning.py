"""The planner against the simulated medians of the tests that it plans for."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.planning import requests_for_mean, requests_for_quantile, requests_for_rate, seconds_for
from analysis.summaries import Grid
from tests.support.slices import histogram

ALPHA_HARM = 0.05 / 6


@pytest.mark.parametrize(
    ("rate", "distance", "share", "alpha", "median"),
    [
        (0.01, 0.002, 0.05, 0.05, 400_000),
        (0.01, 0.002, 0.5, 0.05, 92_000),
        (0.01, 0.005, 0.05, ALPHA_HARM, 140_000),
        (0.30, 0.02, 0.1, 0.05, 48_000),
        (0.10, 0.01, 0.5, 0.05, 35_000),
    ],
)
def test_rates_are_planned_near_the_simulated_medians(
    rate: float, distance: float, share: float, alpha: float, median: float
) -> None:
    """Broken: a plan is called feasible that is not, or the reverse."""
    assert 0.6 < requests_for_rate(rate, distance, share, alpha) / median < 1.6


def test_means_are_planned_near_the_simulated_medians() -> None:
    """Broken: the same for scores."""
    assert 0.6 < requests_for_mean(0.05, 0.05, 0.05) / 52_000 < 2.0


def test_quantiles_read_their_distance_off_the_histogram() -> None:
    """Broken: the plan for p99 does not know how thin the tail is."""
    random = np.random.default_rng(6)
    latencies = histogram(np.exp(random.normal(np.log(0.05), 0.4, 200_000)))
    wide = requests_for_quantile(latencies, Grid(), 0.99, 0.20, 0.5, 0.05)
    narrow = requests_for_quantile(latencies, Grid(), 0.99, 0.05, 0.5, 0.05)
    assert wide is not None
    assert narrow is not None
    assert narrow > 5 * wide
    assert requests_for_quantile(np.zeros(1620), Grid(), 0.99, 0.1, 0.5, 0.05) is None
    constant = histogram(np.full(1000, 0.05))
    assert requests_for_quantile(constant, Grid(), 0.99, 0.001, 0.5, 0.05) is None, "a margin below one bucket"


def test_no_traffic_takes_no_finite_time() -> None:
    """Broken: a division by zero in a warning."""
    assert seconds_for(1000.0, 0.0) is None
    assert seconds_for(1000.0, 50.0) == 20.0
