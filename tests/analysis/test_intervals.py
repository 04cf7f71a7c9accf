"""Intervals against published numbers, and the weights behind the differences shown."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from analysis.intervals import Differences, Estimate, bound, evidence, log_mixture, tuning
from analysis.meter import Meter
from analysis.stack import Stack


def test_normal_mixture_matches_published_numbers() -> None:
    """Broken: the mixture differs from that of confseq (Howard et al. 2021)."""
    both, one = tuning(100.0, 0.05), tuning(100.0, 0.05, sides=1)
    assert both == pytest.approx(12.60056, abs=5e-6)
    assert log_mixture(10.0, 100.0, both) == pytest.approx(-0.6510052, abs=5e-8)
    assert log_mixture(10.0, 100.0, one, sides=1) == pytest.approx(-0.06502391, abs=5e-9)
    assert bound(100.0, both, 0.05) == pytest.approx(30.35209, abs=5e-6)
    assert log_mixture(30.35209, 100.0, both) == pytest.approx(log(20), abs=1e-5)
    assert log_mixture(27.66071, 100.0, one, sides=1) == pytest.approx(log(20), abs=1e-5)
    assert log_mixture(60.0, 400.0, 20.0, sides=1) == pytest.approx(3.4548913926, abs=1e-9)


def drawn(random: np.random.Generator, looks: int, runs: int) -> tuple[Differences, int]:
    """Runs as rows, 1 % against 1.3 %; how many ever had an interval that missed the truth."""
    differences = Differences(runs)
    missed = np.zeros(runs, dtype=bool)
    for number in range(looks):
        n_c, n_s = np.full(runs, 50.0), np.full(runs, 450.0)
        rates = random.binomial(50, 0.013, runs) / 50, random.binomial(450, 0.01, runs) / 450
        differences.add(n_c, rates[0], n_s, rates[1], np.full(runs, 0.01))
        if number % 10 == 9:
            for row in range(runs):
                found = differences.estimate(row, 0.013, 0.01)
                missed[row] |= found.low is not None and not found.low <= 0.003 <= (found.high or 0.0)
    return differences, int(missed.sum())


@pytest.mark.slow
def test_intervals_hold_at_every_look() -> None:
    """Broken: the interval shown misses the truth at some look in more than 5 % of rollouts (60 runs; limit 13 fails
    a build with exactly 5 % less than once in a million)."""
    differences, missed = drawn(np.random.default_rng(8), looks=300, runs=60)
    assert missed <= 13
    found = differences.estimate(0, 0.013, 0.01)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low < 0.01


def test_differences_do_not_mix_stages() -> None:
    """Broken: Simpson's paradox: two stages of equal arms show a difference, since load and weight changed together."""
    differences = Differences(1)
    for n_c, n_s, rate in ((10.0, 990.0, 0.01), (900.0, 100.0, 0.10)):
        differences.begin_stage()
        differences.add(*(np.array([each]) for each in (n_c, rate, n_s, rate, 0.01)))
    stable, candidate = differences.levels(0) or (0.0, 1.0)
    assert candidate == pytest.approx(stable)
    assert differences.stage_levels(0) == pytest.approx((0.10, 0.10))
    assert differences.samples(0) == (1090.0, 910.0)


def test_no_interval_before_the_burn_in_and_none_from_nothing() -> None:
    """Broken: an interval from a handful of requests, or a number where there is no data."""
    differences = Differences(1)
    assert differences.estimate(0, 0.01, 0.01) == Estimate()
    differences.add(*(np.array([each]) for each in (50.0, 0.0, 950.0, 0.0, 0.01)))
    early = differences.estimate(0, 0.01, 0.01)
    assert (early.effect, early.low) == (0.0, None)
    differences.add(*(np.array([each]) for each in (50.0, 0.0, 950.0, 0.0, 0.01)))
    assert differences.estimate(0, 0.01, 0.01).low is not None


def test_evidence_for_people_is_finite() -> None:
    """Broken: infinity in JSON."""
    assert evidence(1e9) == 1e15
    assert evidence(-1e9) == 0.0


def ripe(looks: float) -> Differences:
    """Of so many times the burn-in, 1 % against 1 %."""
    differences = Differences(1)
    for _ in range(round(looks)):
        differences.add(*(np.array([each]) for each in (100.0, 0.01, 900.0, 0.01, 0.0099)))
    return differences


def width_of(found: Estimate) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


def widened(meter: Meter, stack: Stack) -> float:
    """How many times as wide a metric's interval is where it varies nine times as much as chance alone would."""
    widths = []
    for phi in (1.0, 9.0):
        stack.bank.phi[:] = phi
        widths.append(width_of(meter.estimate(stack)))
    return widths[1] / widths[0]


def test_the_interval_is_the_published_one_at_five_percent() -> None:
    """Broken: "between" on the dashboard misses the truth in one rollout of five, not in one of twenty."""
    differences = ripe(30)
    information, variance = differences.information(0), differences.variance(0, 0.0099, 0.0099)
    rho = tuning(differences.v_opt(0), 0.05)
    half = np.sqrt((variance + rho) * (log((variance + rho) / rho) + 2 * log(1 / 0.05))) / information
    assert width_of(differences.estimate(0, 0.0099, 0.0099)) == pytest.approx(2 * half, rel=0.05)


def test_the_interval_is_narrowest_some_time_after_the_burn_in() -> None:
    """Broken: the interval is at its best when it first appears, and wider than it need be while people wait for it."""
    differences = ripe(10)
    variance = differences.variance(0, 0.0099, 0.0099)
    best = min(float(bound(variance, rho, 0.05)) for rho in np.geomspace(variance / 100, variance, 200))
    assert width_of(differences.estimate(0, 0.0099, 0.0099)) == pytest.approx(
        2 * best / differences.information(0), rel=0.03
    )


def test_the_interval_is_at_least_as_wide_as_the_noise_asks() -> None:
    """Broken: what noise there is between seconds divides the evidence, and the interval beside it knows nothing."""
    differences = ripe(30)
    chance = differences.variance(0, 0.0099, 0.0099)
    plain, same, noisy = (
        width_of(differences.estimate(0, 0.0099, 0.0099, least)) for least in (0.0, chance / 2, 9 * chance)
    )
    assert plain == same
    assert 2.0 < noisy / plain < 4.0
