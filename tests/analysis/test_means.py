"""Means: the shift in standard deviations of the past."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from analysis.means import Means
from analysis.plan import Gate
from analysis.stack import Stack
from analysis.summaries import Moments
from tests.analysis.test_intervals import widened
from tests.support.slices import arm, look

GATE = Gate("prediction.score", "number", output="score", margin_sd=0.05)


class Bench:
    """One numeric metric with a stack of its own; every slice is a block."""

    def __init__(self) -> None:
        self.meter = Means(GATE)
        self.stack = Stack([], list(self.meter.drifts))

    def observe(self, stable: np.ndarray, candidate: np.ndarray) -> None:
        moments = [Moments(float(len(each)), float(each.sum()), float(each @ each)) for each in (stable, candidate)]
        slice_ = look(*(arm(each.n, numbers=each) for each in moments))
        self.stack.observe(self.meter.counts(slice_), self.meter.variance())
        self.meter.learn(slice_, self.stack)
        self.stack.close(np.ones(4))

    def run(self, shift: float, slices: int = 100, sd: float = 3.0) -> tuple[float, float]:
        random = np.random.default_rng(2)
        for _ in range(slices):
            self.observe(random.normal(100.0, sd, 400), random.normal(100.0 + shift * sd, sd, 400))
        return self.meter.wealth(self.stack.bank.log_evidence())


@pytest.mark.parametrize("shift", [0.12, -0.12])
def test_a_shift_either_way_is_harm(shift: float) -> None:
    """Broken: scores that moved by twice the margin, up or down, go by."""
    bench = Bench()
    harm, passing = bench.run(shift)
    assert harm > log(120)
    assert passing < 0
    estimate = bench.meter.estimate(bench.stack)
    assert estimate.effect == pytest.approx(shift, abs=0.03)
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low < shift < estimate.high
    assert bench.meter.inside(bench.stack) is False


def test_equal_means_are_proven() -> None:
    """Broken: unchanged scores cannot be promoted."""
    bench = Bench()
    harm, passing = bench.run(0.0)
    assert harm < 0.5
    assert passing > log(20)
    assert bench.meter.inside(bench.stack) is True
    assert bench.meter.effective_words(bench.stack).startswith("0.05 sd, up or down (sd ")


def test_no_evidence_before_a_hundred_values_of_each_arm() -> None:
    """Broken: the Gaussian approximation is used where it does not hold."""
    bench = Bench()
    random = np.random.default_rng(3)
    for _ in range(4):
        bench.observe(random.normal(0, 1, 1000), random.normal(50, 1, 25))
    assert bench.meter.wealth(bench.stack.bank.log_evidence()) == pytest.approx((0.0, 0.0))
    bench.observe(random.normal(0, 1, 1000), random.normal(50, 1, 25))
    assert bench.meter.wealth(bench.stack.bank.log_evidence())[0] > 0.3


def test_constant_values_are_no_evidence() -> None:
    """Broken: a division by a spread of zero, or a spread made of rounding."""
    bench = Bench()
    for _ in range(50):
        bench.observe(np.full(300, 0.1), np.full(300, 0.1))
    assert bench.meter.variance()[0] == 0.0
    assert bench.meter.wealth(bench.stack.bank.log_evidence()) == pytest.approx((0.0, 0.0))
    assert bench.meter.inside(bench.stack) is None


def test_a_shift_just_beyond_the_margin_is_found() -> None:
    """Broken: no alternative lies near the margin, so that a shift by a sixth more than was allowed stays in traffic,
    however many millions of requests show it."""
    bench, n, sd = Bench(), 50_000.0, 3.0
    for _ in range(80):
        arms = (arm(n, numbers=Moments(n, n * mean, n * (sd**2 + mean**2))) for mean in (0.0, 0.058 * sd))
        slice_ = look(*arms)
        bench.stack.observe(bench.meter.counts(slice_), bench.meter.variance())
        bench.meter.learn(slice_, bench.stack)
        bench.stack.close(np.ones(4))
    assert bench.meter.wealth(bench.stack.bank.log_evidence())[0] > log(120)


def test_noise_widens_the_interval_of_a_mean() -> None:
    """Broken: scores that wander with the time of the day are shown with an interval that misses the truth."""
    bench = Bench()
    bench.run(0.0, slices=30)
    assert 2.0 < widened(bench.meter, bench.stack) < 4.0, "by about the root of nine"
