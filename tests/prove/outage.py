"""How many failures an outage costs before its version is out: the breaker under the controller's own schedule.

    python -m tests.prove.outage

50 requests/s arrive at random moments, 5 % of them at the candidate. It breaks with its first request, or after a calm
time at a random moment; the breaker looks 0.06 s after each second and glances five times a second, as the controller
does, and workers have heard of it 0.02 s later (measured by `tests/system/test_outage.py`). Counted are failures from
the first one until then.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.breaker import Breaker
from analysis.summaries import ArmCounts, FloatArray, Grid, Slice

RATE, SHARE = 50, 0.05
LOOK_AFTER_S, HEARD_AFTER_S = 0.06, 0.02
GLANCES_S = (0.26, 0.46, 0.66, 0.86)
NOTHING = ArmCounts.empty(Grid(buckets=4))
CASES = ((0, 0.0), (60, 0.0), (600, 0.01), (3600, 0.01))
"""Seconds of calm, and the share of errors in both versions in it."""


def failures(random: np.random.Generator, rate: float, calm_s: int, errors: float = 0.0) -> int:
    """Failures of one outage, in which this share of the candidate's requests fails, after so long a calm in which
    both versions fail `errors` of theirs."""
    breaker = Breaker(0.20, 0.001)
    for _ in range(calm_s):
        n_c = random.binomial(RATE, SHARE)
        breaker.observe(_slice(n_c, random.binomial(n_c, errors), RATE - n_c, random.binomial(RATE - n_c, errors)))
    begins_s, met = random.uniform() if calm_s else 0.0, 0
    for _ in range(3600):
        at_s, is_candidate = random.uniform(size=RATE), random.uniform(size=RATE) < SHARE
        is_bad = is_candidate & (at_s >= begins_s)
        failed = random.uniform(size=RATE) < np.where(is_bad, rate, errors)
        heard_s = out_s(breaker, at_s, is_candidate, failed)
        met, begins_s = met + int(np.sum(is_bad & failed & (at_s < heard_s))), 0.0
        if heard_s < np.inf:
            return met + int(random.poisson(RATE * SHARE * rate * max(0.0, heard_s - 1)))
    return met


def out_s(breaker: Breaker, at_s: FloatArray, is_candidate: np.ndarray, failed: np.ndarray) -> float:
    """When in a second and the moment after it workers have heard that the candidate is out."""
    for glance_s in (*GLANCES_S, 1.0):
        c, s = is_candidate & (at_s < glance_s), ~is_candidate & (at_s < glance_s)
        slice_ = _slice(*(float(np.sum(each)) for each in (c, c & failed, s, s & failed)))
        if glance_s == 1.0:
            return 1 + LOOK_AFTER_S + HEARD_AFTER_S if breaker.observe(slice_) else np.inf
        if slice_.candidate.failed and breaker.trips([slice_]):
            return glance_s + HEARD_AFTER_S
    raise AssertionError("a second ends")


def _slice(n_c: float, x_c: float, n_s: float, x_s: float) -> Slice:
    stable = replace(NOTHING, answered=float(n_s), failed=float(x_s))
    candidate = replace(NOTHING, answered=float(n_c), failed=float(x_c))
    return Slice(1, 0.0, 1.0, SHARE, stable, candidate, None, None, False)


def main() -> None:
    """The table of docs/rollout.md."""
    random = np.random.default_rng(7)
    print("fails | calm before | errors of both | failures: median | 90 % | 99 % | most | of runs")
    for rate in (1.0, 0.5):
        for (calm_s, errors), runs in zip(CASES, (2000, 400, 100, 50), strict=True):
            # Half of the failures take long: fewer runs of those.
            found = [failures(random, rate, calm_s, errors) for _ in range(runs if rate == 1 else min(runs, 100))]
            half, most, nearly_all = np.quantile(found, (0.5, 0.9, 0.99))
            print(f"{rate:.0%} | {calm_s} s | {errors:.0%} | {half:.0f} | {most:.0f} | {nearly_all:.0f} | "
                  f"{max(found)} | {len(found)}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
