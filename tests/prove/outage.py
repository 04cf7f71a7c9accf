"""How many failures an outage costs before its version is out: the breaker under the controller's own schedule.

    python -m tests.prove.outage

50 requests/s arrive at random moments, 5 % of them at the candidate. It breaks at a random moment; the breaker looks
0.06 s after each second, as the controller does, and workers have heard of it 0.02 s later (measured by
`tests/system/test_outage.py`). Counted are failures from the first one until then.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.breaker import Breaker
from analysis.summaries import ArmCounts, Grid, Slice

RATE, SHARE = 50, 0.05
LOOK_AFTER_S, HEARD_AFTER_S = 0.06, 0.02
NOTHING = ArmCounts.empty(Grid(buckets=4))


def failures(random: np.random.Generator, rate: float, calm_s: int, errors: float = 0.0) -> int:
    """Failures of one outage, in which this share of the candidate's requests fails, after so long a calm in which
    both versions fail `errors` of theirs."""
    breaker = Breaker(0.20, 0.001)
    for _ in range(calm_s):
        n_c = random.binomial(RATE, SHARE)
        breaker.observe(_second(n_c, random.binomial(n_c, errors), random.binomial(RATE - n_c, errors)))
    begins_s, met = random.uniform(), 0
    for _ in range(3600):
        at_s = random.uniform(size=random.binomial(RATE, SHARE))
        failed = int(np.sum((at_s >= begins_s) & (random.uniform(size=len(at_s)) < rate)))
        met, begins_s = met + failed, 0.0
        if breaker.observe(_second(len(at_s), failed, random.binomial(RATE - len(at_s), errors))):
            late = random.poisson(RATE * SHARE * (LOOK_AFTER_S + HEARD_AFTER_S) * rate)
            return met + int(late)
    return met


def _second(n_c: float, x_c: float, x_s: float) -> Slice:
    stable = replace(NOTHING, answered=float(RATE - n_c), failed=float(x_s))
    candidate = replace(NOTHING, answered=float(n_c), failed=float(x_c))
    return Slice(1, 0.0, 1.0, SHARE, stable, candidate, None, None, False)


def main() -> None:
    """The table of docs/statistics.md."""
    random = np.random.default_rng(7)
    print("fails | calm before | errors of both | failures: median | 90 % | 99 %")
    for rate in (1.0, 0.5):
        for calm_s, errors, runs in ((0, 0.0, 400), (60, 0.0, 400), (600, 0.01, 100), (3600, 0.01, 30)):
            found = [failures(random, rate, calm_s, errors) for _ in range(runs)]
            half, most, nearly_all = np.quantile(found, (0.5, 0.9, 0.99))
            print(f"{rate:.0%} | {calm_s} s | {errors:.0%} | {half:.0f} | {most:.0f} | {nearly_all:.0f}")


if __name__ == "__main__":
    main()
