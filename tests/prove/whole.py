"""Whole rollouts: 5, 25, 50 %, ten minutes each, a horizon of 45 minutes, all metrics at once, the Judge as shipped."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.plan import Gate, Plan
from analysis.verdict import Judge
from tests.prove.result import alarms, tempted
from tests.prove.streams import Truth
from tests.support.rollouts import ALPHA
from tests.support.slices import look

GATES = (
    Gate("errors", "errors", margin_absolute=0.002),
    Gate("latency.p50", "latency", quantile=0.5, margin_relative=0.05),
    Gate("latency.p99", "latency", quantile=0.99, margin_relative=0.10),
    Gate("prediction.label", "category", output="label", margin_absolute=0.01),
    Gate("prediction.score", "number", output="score", margin_sd=0.05),
)
SLICE_S, HORIZON_S, STAGE_S, MIN_S = 5.0, 2700.0, 600.0, 300.0
RATE = 1000
"""Requests/s."""

TRUTHS: dict[str, tuple[Truth, str]] = {
    "nothing differs": (Truth(), "promoted"),
    "errors 1 → 1.1 %, inside the margin": (Truth(errors=0.011), "promoted or waiting"),
    "errors 1 → 1.2 %, exactly on the margin": (Truth(errors=0.012), "neither"),
    "errors 1 → 1.5 %": (Truth(errors=0.015), "aborted"),
    "p99 +25 %, the tail alone": (Truth(tail=1.25), "aborted"),
    "p99 +50 %, the tail alone": (Truth(tail=1.5), "aborted"),
    "all latency +10 %": (Truth(slower=1.10), "aborted"),
    "a label 30 → 32 %": (Truth(label=0.32), "aborted"),
    "score +0.1 sd": (Truth(score=0.1), "aborted"),
}


def verdicts(random: np.random.Generator, truth: str, runs: int) -> list[dict[str, Any]]:
    """How many rollouts of one truth ended how, and when."""
    candidate, due = TRUTHS[truth]
    ends = [_rollout(random, candidate) for _ in range(runs)]
    count = {end: sum(one == end for one, _, _ in ends) for end in ("aborted", "promoted", "inconclusive")}
    times = {end: [at for one, at, _ in ends if one == end] for end in count}
    blamed = sorted({by for _, _, by in ends if by})
    where = {
        "metric": truth, "looks": int(HORIZON_S / SLICE_S), "ends": count, "blamed": blamed,
        "medians": {end: float(np.median(each)) if each else None for end, each in times.items()},
    }  # fmt: skip
    match due:
        case "aborted":
            found = [tempted("whole", "aborted", count["aborted"], runs, 0.75, **where)]
            return [*found, alarms("whole", "false promotions", count["promoted"], runs, ALPHA, **where)]
        case "neither":
            wrong = [("false aborts", "aborted"), ("false promotions", "promoted")]
            return [alarms("whole", name, count[end], runs, ALPHA, **where) for name, end in wrong]
        case "promoted":
            found = [tempted("whole", "promoted", count["promoted"], runs, 0.75, **where)]
            return [*found, alarms("whole", "false aborts", count["aborted"], runs, ALPHA, **where)]
        case _:
            return [alarms("whole", "false aborts", count["aborted"], runs, ALPHA, **where)]


def _rollout(random: np.random.Generator, candidate: Truth) -> tuple[str, float, str]:
    """How it ended, after how many seconds, and which metric decided."""
    judge, stable = Judge(Plan(GATES, horizon_s=HORIZON_S)), Truth()
    for number in range(int(HORIZON_S / SLICE_S)):
        at_s = number * SLICE_S
        stage = min(int(at_s / STAGE_S), 2)
        share = (0.05, 0.25, 0.50)[stage]
        n = int(RATE * SLICE_S)
        n_c = int(random.binomial(n, share))
        arms = stable.serve(random, n - n_c), candidate.serve(random, n_c)
        judge.observe(look(*arms, stage=stage, share=share, at_s=at_s, duration_s=SLICE_S))
        now_s = at_s + SLICE_S
        verdict = judge.verdict(now_s)
        if verdict.abort:
            return "aborted", now_s, verdict.decided_by
        if verdict.proven and now_s >= 2 * STAGE_S + MIN_S:
            return "promoted", now_s, ""
    return "inconclusive", HORIZON_S, ""
