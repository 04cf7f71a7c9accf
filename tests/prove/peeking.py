"""Two equal versions, watched: the tests that people know beside ours, on the very same requests."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.plan import Gate, Plan
from analysis.verdict import Judge
from tests.prove.naive import Peeked
from tests.prove.result import alarms
from tests.prove.streams import latencies
from tests.support.rollouts import ALPHA
from tests.support.slices import GRID, arm, look

GATES = (
    Gate("errors", "errors", margin_absolute=0.0, role="signal"),
    Gate("latency.p50", "latency", quantile=0.5, margin_relative=0.0, role="signal"),
    Gate("latency.p99", "latency", quantile=0.99, margin_relative=0.0, role="signal"),
)
"""No margin at all: the hardest question, and the one that the naive tests answer."""
OURS = "Understudy (errors, p50 and p99 at once)"
MARKS = (1, 2, 3, 5, 8, 12, 20, 32, 50, 80, 125, 200, 320, 500, 1000)
"""Numbers of looks at which the share of false alarms so far is drawn."""


def equal(random: np.random.Generator, share: float, runs: int, looks: int) -> list[dict[str, Any]]:
    """How many of the rollouts each test has stopped, by the number of looks."""
    firsts: dict[str, list[int]] = {}
    for _ in range(runs):
        judge, naive, ours = Judge(Plan(GATES, block_s=5.0)), Peeked(GRID.buckets), 0
        for number in range(1, looks + 1):
            n_c = int(random.binomial(1000, share))
            sizes = n_c, 1000 - n_c
            failed = [float(random.binomial(n, 0.01)) for n in sizes]
            times = [latencies(random, n) for n in sizes]
            judge.observe(
                look(*(arm(float(sizes[k]), failed[k], latency=times[k]) for k in (1, 0)), share=share, duration_s=1.0)
            )
            if not ours and judge.verdict(0.0).abort:
                ours = number
            naive.look((float(sizes[0]), failed[0], float(sizes[1]), failed[1]), times[0], times[1])
        for name, first in {OURS: ours, **naive.first}.items():
            firsts.setdefault(name, []).append(first)
    marks = [mark for mark in MARKS if mark <= looks]
    found = []
    for name, each in firsts.items():
        first = np.array(each)
        curve = [float(((first > 0) & (first <= mark)).mean()) for mark in marks]
        risk = ALPHA if name == OURS else None
        where = {"metric": "nothing differs", "share": share, "looks": looks, "marks": marks, "curve": curve}
        found.append(alarms("peeking", name, int((first > 0).sum()), runs, risk, **where))
    return found
