"""What is shown: does the interval of a difference ever miss the truth, at any look, for every kind of metric?

Traffic is thin, shares are small or none, values have heavy tails: where an interval made for large counts fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.plan import Gate, Plan
from analysis.readings import MetricReading
from analysis.summaries import RATIO_BASE, RATIO_BUCKETS, ArmCounts, PairCounts, Slice
from analysis.verdict import Judge
from tests.prove.result import alarms
from tests.prove.streams import latencies, moments
from tests.support.rollouts import ALPHA
from tests.support.slices import arm, hearing, look, told

REQUESTS = 500
"""Of a look, of both arms."""
_READ = 5
"""Intervals are read at every fifth look."""

Serve = Callable[[np.random.Generator, int], ArmCounts]


@dataclass(frozen=True)
class Shown:
    """A metric, how both versions behave, and what the difference is in the unit of its reading."""

    gate: Gate
    truth: float
    stable: Serve
    candidate: Serve

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the candidate, at which it is tried."""
        return 0.05, 0.50

    def slice(self, random: np.random.Generator, share: float) -> Slice:
        """A look."""
        n = int(random.poisson(REQUESTS))
        n_c = int(random.binomial(n, share))
        return look(self.stable(random, n - n_c), self.candidate(random, n_c), share=share)


@dataclass(frozen=True)
class Told(Shown):
    """The same of truths: what failed is what was wrong."""

    def slice(self, random: np.random.Generator, share: float) -> Slice:
        """A look."""
        one = super().slice(random, share)
        stable, candidate = one.stable, one.candidate
        return hearing(told(stable.answered, stable.failed, candidate.answered, candidate.failed), share=share)


@dataclass(frozen=True)
class Paired(Shown):
    """The same of pairs, a tenth as many: what failed disagrees, and their latencies have one law."""

    @property
    def shares(self) -> tuple[float, ...]:
        """Any: pairs know none."""
        return (0.50,)

    def slice(self, random: np.random.Generator, share: float) -> Slice:
        """A look."""
        n = int(random.poisson(REQUESTS / 10))
        found = self.candidate(random, n)
        logs = random.normal(0.0, 0.3, n) / np.log(RATIO_BASE) + RATIO_BUCKETS // 2
        ratio = np.bincount(np.clip(logs, 0, RATIO_BUCKETS - 1).astype(int), minlength=RATIO_BUCKETS).astype(float)
        pairs = PairCounts(float(n), {"label": (float(n), found.failed)}, ratio)
        return replace(look(arm(), arm(), share=0.0), pairs=pairs)


def _failing(rate: float) -> Serve:
    return lambda random, n: arm(float(n), float(random.binomial(n, rate)))


def _lacking(rate: float) -> Serve:
    def serve(random: np.random.Generator, n: int) -> ArmCounts:
        lost = int(random.binomial(n, rate))
        return arm(float(n), labels={"a": float(n - lost)}, missing=float(lost))

    return serve


def _labelled(labels: int) -> Serve:
    def serve(random: np.random.Generator, n: int) -> ArmCounts:
        drawn = random.multinomial(n, np.full(labels, 1 / labels))
        return arm(float(n), labels={f"l{place}": float(count) for place, count in enumerate(drawn)})

    return serve


def _valued(draw: Callable[[np.random.Generator, int], np.ndarray]) -> Serve:
    return lambda random, n: arm(float(n), numbers=moments(draw(random, n)))


def _timed(random: np.random.Generator, n: int) -> ArmCounts:
    return arm(float(n), latency=latencies(random, n))


def _heavy(random: np.random.Generator, n: int) -> np.ndarray:
    return np.exp(1.5 * random.standard_normal(n))


def _rare(random: np.random.Generator, n: int) -> np.ndarray:
    return (random.random(n) < 0.01).astype(float)


_ERRORS = Gate("errors", "errors", margin_absolute=0.005)
_LABELS = Gate("labels", "category", output="label", margin_absolute=0.05)
_NUMBERS = Gate("numbers", "number", output="score", margin_sd=0.1)
CASES = {
    "errors, 0 and 0.2 %": Shown(_ERRORS, 0.2, _failing(0.0), _failing(0.002)),
    "errors, 0 and 1 %": Shown(_ERRORS, 1.0, _failing(0.0), _failing(0.01)),
    "errors, 0.5 and 0.5 %": Shown(_ERRORS, 0.0, _failing(0.005), _failing(0.005)),
    "errors, 2 and 0 %": Shown(_ERRORS, -2.0, _failing(0.02), _failing(0.0)),
    "missing values, 0 and 0.5 %": Shown(
        Gate("missing", "unread", output="label", margin_absolute=0.02), 0.5, _lacking(0.0), _lacking(0.005)
    ),
    "accuracy, 5 and 5 % wrong": Told(
        Gate("accuracy", "accuracy", margin_absolute=0.02), 0.0, _failing(0.05), _failing(0.05)
    ),
    "2 labels": Shown(_LABELS, 0.0, _labelled(2), _labelled(2)),
    "20 labels": Shown(_LABELS, 0.0, _labelled(20), _labelled(20)),
    "latency p50": Shown(Gate("p50", "latency", quantile=0.5, margin_relative=0.2), 0.0, _timed, _timed),
    "latency p99": Shown(Gate("p99", "latency", quantile=0.99, margin_relative=0.2), 0.0, _timed, _timed),
    "numbers, lognormal (1.5)": Shown(_NUMBERS, 0.0, _valued(_heavy), _valued(_heavy)),
    "numbers, 1 of 100 is 1": Shown(_NUMBERS, 0.0, _valued(_rare), _valued(_rare)),
    "pairs, 0.2 %": Paired(
        Gate("pairs", "pair", output="label", margin_absolute=0.01), 0.2, _failing(0.0), _failing(0.002)
    ),
    "pairs, latency": Paired(Gate("slowdown", "slowdown", margin_relative=0.1), 0.0, _failing(0.0), _failing(0.0)),
}


def missed(random: np.random.Generator, case: str, share: float, runs: int, looks: int) -> list[dict[str, Any]]:
    """Rollouts in which the interval ever excluded the truth, by the readings of the whole Judge."""
    shown = CASES[case]
    count = 0
    for _ in range(runs):
        judge = Judge(Plan((shown.gate,)))
        wrong = False
        for number in range(looks):
            judge.observe(shown.slice(random, share))
            if number % _READ == _READ - 1:
                wrong |= _misses(judge.verdict(number + 1.0).metrics[0], shown.truth)
        count += wrong
    where = {"metric": case, "share": share, "looks": looks}
    return [alarms("shown", "missed", count, runs, ALPHA, **where)]


def _misses(reading: MetricReading, truth: float) -> bool:
    """Whether an end that is known lies beyond the truth."""
    above = reading.low is not None and reading.low > truth + 1e-9
    return above or (reading.high is not None and reading.high < truth - 1e-9)
