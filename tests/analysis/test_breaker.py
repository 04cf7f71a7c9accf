"""The breaker: outages in seconds, at any time of a rollout, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.breaker import Breaker
from tests.support.slices import errors


def trip(rate: float, random: np.random.Generator, seconds: int, fine_s: int = 0) -> float | None:
    """Candidate requests from the outage to the trip, at 50 requests/s and a weight of 5 %; None if it never trips."""
    breaker = Breaker(0.20, 0.001)
    met = 0.0
    for second in range(fine_s + seconds):
        n = random.poisson(50)
        n_c = random.binomial(n, 0.05)
        broken = second >= fine_s
        met += n_c if broken else 0.0
        if breaker.observe(errors(n - n_c, 0.0, n_c, random.binomial(n_c, rate if broken else 0.0))):
            return met
    return None


@pytest.mark.parametrize(("rate", "at_most"), [(1.0, 12), (0.5, 70)])
def test_an_outage_is_out_after_a_few_requests(rate: float, at_most: float) -> None:
    """Broken: a dead version keeps its traffic until capped blocks have passed. Median of 21 seeded runs."""
    random = np.random.default_rng(1)
    met = sorted(trip(rate, random, 120) or 1e9 for _ in range(21))
    assert met[10] <= at_most


def test_an_outage_after_a_long_calm_is_out_as_soon() -> None:
    """Broken: half an hour of "all fine" has to be lost first."""
    random = np.random.default_rng(2)
    assert (trip(1.0, random, 120, fine_s=1800) or 1e9) <= 40


@pytest.mark.parametrize("rate", [0.0, 0.2])
def test_it_does_not_trip_at_its_margin(rate: float) -> None:
    """Broken: errors inside the margin trip the breaker (chance 0.001 for each of 10 runs)."""
    random = np.random.default_rng(3)
    assert [trip(rate, random, 200) for _ in range(10)] == [None] * 10


def test_it_says_what_it_saw() -> None:
    """Broken: an abort in seconds that nobody can explain afterwards."""
    breaker = Breaker(0.20, 0.001)
    reason = ""
    while not reason:
        reason = breaker.observe(errors(95, 1, 5, 5))
    assert "100 % of the candidate's recent requests failed, 1.05 % of the stable's" in reason
    assert "more than 20 pp above" in reason
    assert "1,000 : 1 trips it" in reason


def test_a_stable_that_fails_as_well_is_no_outage_of_the_candidate() -> None:
    """Broken: a dead database behind both versions aborts the candidate."""
    breaker = Breaker(0.20, 0.001)
    assert not any(breaker.observe(errors(950, 950, 50, 50)) for _ in range(50))
    assert not any(breaker.observe(errors(0, 0, 50, 50)) for _ in range(50)), "with nothing to compare it with"
