"""The planner against the simulated medians of the tests that it plans for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from analysis.history import exceeds, tail, threshold_of
from analysis.latency import shifts
from analysis.plan import Gate, Plan
from analysis.planning import (
    Baseline,
    need,
    requests_for_mean,
    requests_for_quantile,
    requests_for_rate,
    seconds_for,
    spread_between,
)
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


def gate(name: str, kind: str, **margins: float | str) -> Gate:
    return Gate(name, kind, **margins)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "baseline", "share", "median"),
    [
        (gate("e", "errors", margin_absolute=0.002), Baseline(error_rate=0.01), 0.05, 400_000),
        (gate("e", "errors", margin_relative=0.2), Baseline(error_rate=0.01), 0.5, 107_000),
        (gate("e", "errors", margin_absolute=0.001), Baseline(error_rate=0.001), 0.1, 112_000),
        (gate("l", "category", output="l", margin_absolute=0.02), Baseline(label_share=0.3), 0.1, 48_000),
        (gate("s", "number", output="s", margin_sd=0.05), Baseline(), 0.5, 11_000),
        (gate("p", "pair", output="l", margin_absolute=0.002), Baseline(disagreement=0.001), 0.5, 8_000),
        (gate("q", "latency", quantile=0.5, margin_relative=0.05), Baseline(latency_spread={0.5: 0.42}), 0.5, 10_000),
    ],
)
def test_proofs_are_planned_near_the_simulated_medians(
    asked: Gate, baseline: Baseline, share: float, median: float
) -> None:
    """Broken: a margin is called out of reach that is not, or the reverse. Medians by simulation, each metric alone."""
    found = need(asked, Plan((asked,)), share, baseline).prove
    assert found is not None
    assert 0.5 < found.half / median < 2.0
    assert 1.7 < found.most / found.half < 2.9, "nine of ten rollouts take two or three times the median"


@pytest.mark.parametrize(
    ("asked", "baseline", "share", "times", "median"),
    [
        # 1 -> 5 % errors beyond +20 %, and 1 -> 1.5 % beyond +0.2 pp
        (gate("e", "errors", margin_relative=0.2), Baseline(error_rate=0.01), 0.05, 20.0, 6_000),
        (gate("e", "errors", margin_absolute=0.002), Baseline(error_rate=0.01), 0.5, 2.5, 71_000),
        # a label from 30 to 32 % beyond 1 pp
        (gate("l", "category", output="l", margin_absolute=0.01), Baseline(label_share=0.3), 0.1, 2.0, 282_000),
    ],
)
def test_regressions_are_planned_near_the_simulated_medians(
    asked: Gate, baseline: Baseline, share: float, times: float, median: float
) -> None:
    """Broken: people wait for a regression to be found for hours, or do not wait long enough."""
    others = tuple(gate(f"other{i}", "errors", margin_absolute=0.1) for i in range(5))
    found = need(asked, Plan((asked, *others)), share, baseline, times).find
    assert found is not None
    assert 0.4 < found.half / median < 2.0


def test_what_cannot_be_told_has_no_number() -> None:
    """Broken: a division by zero, or a promise that nothing can keep."""
    slow = gate("pair.latency", "slowdown", margin_relative=0.1)
    info = gate("errors", "errors", margin_absolute=0.1, role="info")
    plan = Plan((slow, info))
    assert need(info, plan, 0.5, Baseline()).prove is None
    assert need(info, plan, 0.5, Baseline()).find is None
    assert need(slow, plan, 0.0, Baseline()).prove is not None, "pairs need no share of the live traffic"
    rate = gate("e", "errors", margin_absolute=0.1)
    assert need(rate, Plan((rate,)), 0.0, Baseline()).prove is None
    assert need(rate, Plan((rate,)), 0.5, Baseline(), times=1.0).find is None
    certain = gate("pair.l", "pair", output="l", margin_absolute=0.01)
    assert need(certain, Plan((certain,)), 0.5, Baseline(disagreement=0.02)).prove is None
    assert spread_between((0.5, 1.0), (0.9, 1.0)) is None
    assert Baseline(latency_spread={0.95: 0.3, 0.99: 0.9}).spread(0.999) == 0.9


def test_pairs_beyond_noise_are_planned_near_the_simulated_medians() -> None:
    """Broken: a noisy model is promised the proof that a quiet one has."""
    gate = Gate("pair.label", "pair", output="label", margin_absolute=0.01, repeats=0.1)
    found = need(gate, Plan((gate,)), 0.5, Baseline(noise=0.02), 2.0)
    assert found.prove is not None
    assert found.find is not None
    assert 0.6 < found.prove.half / 25_900 < 1.6
    assert 0.6 < found.find.half / 22_950 < 1.6
    quiet = need(gate, Plan((gate,)), 0.5, Baseline(noise=0.001), 2.0)
    assert quiet.prove is not None
    assert quiet.prove.half < 1500, "pairs alone prove it"


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
def test_a_plan_of_pairs_stands_whatever_the_first_repeat_says(noise: float, share: float) -> None:
    """Broken: the first request that stable is asked twice stops the look, since all or none of one differs."""
    gate = Gate("pair.label", "pair", output="label", margin_absolute=share, repeats=0.01, role="signal")
    found = need(gate, Plan((gate,)), 0.5, Baseline(noise=noise), 2.0).find
    assert found is None or found.half > 0


def test_a_label_is_found_later_than_an_error_rate_of_the_same_numbers() -> None:
    """Broken: the wealth of a category is split over its labels, and the plan promises a label's shift as soon as if
    one label had all of it."""
    shared, doubted = {"margin_absolute": 0.02}, ALPHA_HARM
    others = tuple(gate(f"other{number}", "errors", margin_absolute=0.1) for number in range(5))
    label, rate = gate("l", "category", output="l", **shared), gate("e", "errors", **shared)
    baseline = Baseline(error_rate=0.3, label_share=0.3)
    found = [need(asked, Plan((asked, *others)), 0.1, baseline, 2.0).find for asked in (label, rate)]
    halves = [each.half for each in found if each is not None]
    assert halves[0] / halves[1] == pytest.approx((np.log(8 / doubted) + 2.5) / (np.log(1 / doubted) + 2.5), rel=1e-9)


@pytest.mark.parametrize(("quantile", "margin"), [(0.5, 0.05), (0.95, 0.10)])
def test_slower_latency_is_planned_by_what_lies_above_the_margin(quantile: float, margin: float) -> None:
    """Broken: a regression of the latency is promised in half of the time that it takes, or twice of it.

    By the histograms themselves: the share of a slowed candidate that lies above the margin, over 1 - q.
    """
    spread, times, grid = 0.4, 2.5, Grid()
    seconds = 0.05 * np.exp(spread * ndtri((np.arange(200_000) + 0.5) / 200_000))
    stable, slowed = histogram(seconds), histogram(seconds * (1 + times * margin))
    at = threshold_of(stable, quantile)
    distance = exceeds(tail(slowed), at, shifts(margin, grid.base)[0]) / 200_000 - (1 - quantile)
    asked = gate("latency", "latency", quantile=quantile, margin_relative=margin)
    found = need(asked, Plan((asked,)), 0.2, Baseline(latency_spread={quantile: spread}), times).find
    assert found is not None
    assert found.half == pytest.approx(requests_for_rate(1 - quantile, distance, 0.2, 0.05), rel=0.1)
