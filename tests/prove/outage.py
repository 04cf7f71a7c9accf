"""How many failures an outage costs before its version is out: the breaker under the controller's own schedule.

    python -m tests.prove.outage

50 requests/s arrive at random moments, 5 % of them at the candidate. It breaks with its first request, or after a calm
time at a random moment; the breaker looks 0.06 s after each second and glances ten times a second, as the controller
does, and workers have heard of it 0.02 s later (measured by `tests/system/test_outage.py`). Counted are failures from
the first one until then. The same schedule at the margin is a part of `make prove`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.breaker import Breaker
from analysis.summaries import ArmCounts, Cut, FloatArray, Grid, Slice, SoFar
from proxy.control.evidence.glance import GLANCES
from proxy.control.evidence.tracks import TICK_AFTER_S
from tests.prove.result import alarms
from tests.support.rollouts import ALPHA

RATE, SHARE = 50, 0.05
HEARD_AFTER_S = 0.02
GLANCES_S = [TICK_AFTER_S + number / GLANCES for number in range(1, GLANCES)]
NOTHING = ArmCounts.empty(Grid(buckets=4))
CASES = ((0, 0.0), (60, 0.0), (600, 0.01), (3600, 0.01))
"""Seconds of calm, and the share of errors in both versions in it."""
BAD, EDGE = 0.05, 0.25
"""The share of errors of stable, and the highest that the candidate may have beside it."""
KINDS: Final = {
    "answered at once": (0.0, 0),
    "errors at once, answers after 0.3 s": (0.3, 0),
    "in bouts of 4 s, 8 s of none between": (0.0, 8),
}
"""Of a candidate at the margin: how long an answer takes that is no error, and seconds without any error after each
`BOUT_S` with them."""
BOUT_S: Final = 4


@dataclass(frozen=True, slots=True)
class Second:
    """The requests of one: when they come, whose they are, which fail, when they are answered."""

    at_s: FloatArray
    is_candidate: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    ends_s: FloatArray

    def seen(self, now_s: float, is_candidate: bool) -> SoFar:
        """What one version has of it at a moment."""
        met = (self.at_s < now_s) & (self.is_candidate == is_candidate)
        ended = met & (self.ends_s <= now_s)
        return SoFar(*(float(np.sum(each)) for each in (met, ended & self.failed, met & ~ended)))


def failures(random: np.random.Generator, rate: float, calm_s: int, errors: float = 0.0) -> int:
    """Failures of one outage, in which this share of the candidate's requests fails, after so long a calm in which
    both versions fail `errors` of theirs."""
    breaker = Breaker(0.20, 0.001)
    for _ in range(calm_s):
        n_c = random.binomial(RATE, SHARE)
        x_c, x_s = random.binomial(n_c, errors), random.binomial(RATE - n_c, errors)
        breaker.observe(_slice(SoFar(n_c, x_c, 0.0), SoFar(RATE - n_c, x_s, 0.0)))
    begins_s, met = random.uniform() if calm_s else 0.0, 0
    for _ in range(3600):
        second = drawn(random, errors, rate, begins_s)
        heard_s = out_s(breaker, second)
        is_bad = second.is_candidate & (second.at_s >= begins_s)
        met, begins_s = met + int(np.sum(is_bad & second.failed & (second.at_s < heard_s))), 0.0
        if heard_s < np.inf:
            return met + int(random.poisson(RATE * SHARE * rate * max(0.0, heard_s - 1)))
    return met


def drawn(
    random: np.random.Generator, errors: float, rate: float, begins_s: float = 0.0, takes_s: float = 0.0
) -> Second:
    """A second in which both versions fail `errors`, but the candidate `rate` from a moment on. What is no error takes
    so long."""
    at_s, is_candidate = random.uniform(size=RATE), random.uniform(size=RATE) < SHARE
    failed = random.uniform(size=RATE) < np.where(is_candidate & (at_s >= begins_s), rate, errors)
    return Second(at_s, is_candidate, failed, at_s + np.where(failed, 0.0, takes_s))


def out_s(breaker: Breaker, second: Second, from_s: float = 0.0) -> float:
    """When in a second and the moment after it workers have heard that the candidate is out; it is glanced at from
    when the second before it is complete. What `proxy.control.evidence.glance` does, with no ledger."""
    cut: Cut | None = None
    for glance_s in GLANCES_S:
        ours, theirs = second.seen(glance_s, True), second.seen(glance_s, False)
        if glance_s < from_s or not ours.failed:
            continue
        slice_ = _slice(ours, theirs, cut)
        if breaker.trips([slice_]):
            return glance_s + HEARD_AFTER_S
        if cut is None and breaker.alarms([slice_]):
            cut = Cut(theirs, ours)
    ended_s = max(1.0 + TICK_AFTER_S, float(second.ends_s.max()))
    slice_ = _slice(second.seen(ended_s, True), second.seen(ended_s, False), cut)
    return ended_s + HEARD_AFTER_S if breaker.observe(slice_) else np.inf


def _slice(ours: SoFar, theirs: SoFar, cut: Cut | None = None) -> Slice:
    candidate = replace(NOTHING, answered=float(ours.met), failed=float(ours.failed))
    stable = replace(NOTHING, answered=float(theirs.met), failed=float(theirs.failed + theirs.in_flight))
    return Slice(1, 0.0, 1.0, SHARE, stable, candidate, None, None, False, cut=cut)


def margin(random: np.random.Generator, kind: str, runs: int, seconds: int) -> list[dict[str, Any]]:
    """Candidates that are never beyond the margin: how many are ever taken back, by looks, cuts and glances."""
    takes_s, calm_s = KINDS[kind]
    tripped = 0
    for _ in range(runs):
        breaker, from_s = Breaker(EDGE - BAD, ALPHA), 0.0
        for number in range(seconds):
            is_calm = number % (BOUT_S + calm_s) >= BOUT_S
            second = drawn(random, 0.0, 0.0) if is_calm else drawn(random, BAD, EDGE, takes_s=takes_s)
            if out_s(breaker, second, from_s) < np.inf:
                tripped += 1
                break
            from_s = float(second.ends_s.max()) - 1
    where = {"metric": f"outages, {kind}", "share": SHARE, "looks": seconds * GLANCES}
    return [alarms("breaker", "false aborts", tripped, runs, ALPHA, **where)]


def main() -> None:
    """The table of docs/rollout.md."""
    random = np.random.default_rng(7)
    print("fails | calm before | errors of both | failures: median | 90 % | 99 % | most | of runs")
    for rate in (1.0, 0.5):
        for (calm_s, errors), runs in zip(CASES, (2000, 2000, 400, 200), strict=True):
            # Half of the failures take long: fewer runs of those.
            found = [failures(random, rate, calm_s, errors) for _ in range(runs if rate == 1 else min(runs, 400))]
            half, most, nearly_all = np.quantile(found, (0.5, 0.9, 0.99))
            print(f"{rate:.0%} | {calm_s} s | {errors:.0%} | {half:.0f} | {most:.0f} | {nearly_all:.0f} | "
                  f"{max(found)} | {len(found)}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
