"""Seeded traffic whose truth is known: what a slice of each kind of metric holds, for any relation of the arms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from analysis.plan import Gate
from analysis.summaries import RATIO_BASE, RATIO_BUCKETS, ArmCounts, Moments, PairCounts, Repeats, Slice
from tests.support.slices import GRID, arm, hearing, look, told

WEIGHTS = (0.01, 0.05, 0.10, 0.50)
"""Shares of the candidate at which everything is tried."""
_LOG_BASE = np.log(GRID.base)


def latencies(random: np.random.Generator, n: int, slower: float = 1.0, tail: float = 1.0) -> np.ndarray:
    """A histogram of n latencies: a body around 50 ms, and 5 % around 250 ms, which `tail` slows alone."""
    late = random.random(n) < 0.05
    mean = np.where(late, np.log(0.25 * slower * tail), np.log(0.05 * slower))
    logs = mean + np.where(late, 0.25, 0.4) * random.standard_normal(n)
    buckets = np.clip(np.floor((logs - np.log(GRID.lowest_s)) / _LOG_BASE + 1e-9), 0, GRID.buckets - 1)
    return np.bincount(buckets.astype(int), minlength=GRID.buckets).astype(float)


def moments(values: np.ndarray) -> Moments:
    """Count, sum, sum of squares."""
    return Moments(float(len(values)), float(values.sum()), float((values * values).sum()))


def _errors(random: np.random.Generator, n: int, worse: bool) -> ArmCounts:
    return arm(float(n), float(random.binomial(n, 0.012 if worse else 0.010)))


def _latency(random: np.random.Generator, n: int, worse: bool) -> ArmCounts:
    return arm(float(n), latency=latencies(random, n, 1.10 if worse else 1.0))


def _labels(random: np.random.Generator, n: int, worse: bool) -> ArmCounts:
    shares = (0.58, 0.32, 0.10) if worse else (0.60, 0.30, 0.10)
    drawn = random.multinomial(n, shares)
    return arm(float(n), labels={chr(97 + place): float(count) for place, count in enumerate(drawn)})


def _numbers(random: np.random.Generator, n: int, worse: bool) -> ArmCounts:
    return arm(float(n), numbers=moments(random.standard_exponential(n) + (0.05 if worse else 0.0)))


def _twice_asked(random: np.random.Generator, n: int, excess: float) -> Slice:
    """n pairs of a model that gives an odd answer in 2.5 %; a tenth of them the stable was asked again."""
    first, again = random.random(n) < 0.025, random.random(n) < 0.025
    candidate = random.random(n) < 0.025 + excess / 0.95
    odd, noise = first != candidate, first != again
    asked = slice(0, n // 10)
    alone, own, both = (float(each[asked].sum()) for each in (odd & ~noise, noise & ~odd, odd & noise))
    repeats = {"label": Repeats(float(n // 10), alone, own, both)}
    pairs = PairCounts(float(n), {"label": (float(n), float(odd.sum()))}, np.zeros(RATIO_BUCKETS), repeats)
    return replace(look(arm(), arm(), share=0.0), pairs=pairs)


def _told_later(random: np.random.Generator, n: int, share: float, more: float) -> Slice:
    """n truths, a third of them of an earlier stage at a lower weight, whose cases are harder."""
    tables = []
    for stage, of_stage, weight, wrong in ((0, n // 3, share / 5, 0.2), (1, n - n // 3, share, 0.1)):
        n_c = int(random.binomial(of_stage, weight))
        x_s, x_c = random.binomial(of_stage - n_c, wrong), random.binomial(n_c, wrong + more)
        tables.append(told(float(of_stage - n_c), float(x_s), float(n_c), float(x_c), stage))
    return hearing(*tables, stage=1, share=share)


@dataclass(frozen=True)
class Metric:
    """A metric with the truth that lies exactly on its margin."""

    gate: Gate
    serve: Callable[[np.random.Generator, int, bool], ArmCounts] | None
    """What an arm did with n requests, on its margin or as the stable; None for pairs and truths."""

    @property
    def knows_weights(self) -> bool:
        """Whether the candidate's share matters; to pairs it does not."""
        return self.gate.kind not in ("pair", "slowdown")

    def slice(self, random: np.random.Generator, n: int, share: float, *, worse: bool) -> Slice:
        """A look of n requests, or pairs, or truths."""
        if self.gate.kind == "slowdown":
            logs = random.normal(np.log(1.10) if worse else 0.0, 0.3, n) / np.log(RATIO_BASE) + RATIO_BUCKETS // 2
            ratio = np.bincount(np.clip(logs, 0, RATIO_BUCKETS - 1).astype(int), minlength=RATIO_BUCKETS).astype(float)
            return replace(look(arm(), arm(), share=0.0), pairs=PairCounts(float(n), {}, ratio))
        if self.gate.kind == "accuracy":
            return _told_later(random, n, share, 0.02 if worse else 0.0)
        if self.gate.repeats:
            return _twice_asked(random, n, 0.02 if worse else 0.0)
        if self.serve is None:
            rate = self.gate.limit if worse else self.gate.limit / 2
            return look(arm(), arm(), share=0.0, pairs=(float(n), float(random.binomial(n, rate))))
        n_c = int(random.binomial(n, share))
        return look(self.serve(random, n - n_c, False), self.serve(random, n_c, worse), share=share)


METRICS = {
    "errors, +20 %": Metric(Gate("errors", "errors", margin_relative=0.2), _errors),
    "errors, +0.2 pp": Metric(Gate("errors", "errors", margin_absolute=0.002), _errors),
    "errors, the larger of +20 % and +0.2 pp": Metric(
        Gate("errors", "errors", margin_relative=0.2, margin_absolute=0.002), _errors
    ),
    "latency p50, +10 %": Metric(Gate("latency.p50", "latency", quantile=0.5, margin_relative=0.10), _latency),
    "latency p99, +10 %": Metric(Gate("latency.p99", "latency", quantile=0.99, margin_relative=0.10), _latency),
    "labels, 2 pp": Metric(Gate("labels", "category", output="label", margin_absolute=0.02), _labels),
    "numbers, 0.05 sd": Metric(Gate("numbers", "number", output="score", margin_sd=0.05), _numbers),
    "accuracy, 2 pp": Metric(Gate("accuracy", "accuracy", margin_absolute=0.02), None),
    "pairs, latency +10 %": Metric(Gate("slowdown", "slowdown", margin_relative=0.10), None),
    "pairs, 1 %": Metric(Gate("pairs", "pair", output="label", margin_absolute=0.01), None),
    "pairs beyond noise, 2 pp": Metric(Gate("pairs", "pair", output="label", margin_absolute=0.02, repeats=0.1), None),
}


@dataclass(frozen=True)
class Truth:
    """A version for whole verdicts: how it differs from the stable in each metric."""

    errors: float = 0.01
    slower: float = 1.0
    tail: float = 1.0
    label: float = 0.30
    score: float = 0.0

    def serve(self, random: np.random.Generator, n: int) -> ArmCounts:
        """All outputs of n requests."""
        shares = (0.9 - self.label, self.label, 0.06, 0.04)
        labels = {chr(97 + place): float(count) for place, count in enumerate(random.multinomial(n, shares))}
        counts = arm(float(n), float(random.binomial(n, self.errors)), labels=labels)
        return replace(
            counts,
            latency=latencies(random, n, self.slower, self.tail),
            numbers={"score": moments(random.normal(self.score, 1.0, n))},
        )
