"""On the margin: the worst truth that each promise covers, for every kind of metric, watched at every look."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np

from analysis.engine import HARM, PASS, Table
from analysis.ratio import FLAG_AT, Ratio
from analysis.stack import Drift, Stack
from analysis.verdict import Judge, Plan
from tests.prove.result import alarms
from tests.prove.streams import METRICS
from tests.support.rollouts import ALPHA, Runs, drawn
from tests.support.slices import arm, look

REQUESTS = 2000
"""Of a look."""


def judged(random: np.random.Generator, metric: str, share: float, runs: int, looks: int) -> list[dict[str, Any]]:
    """The whole Judge, as shipped, asked for its verdict at every look: it must neither abort nor promote."""
    subject = METRICS[metric]
    aborted = promoted = 0
    for _ in range(runs):
        judge = Judge(Plan((subject.gate,), block_s=5.0))
        proven = abort = False
        for _ in range(looks):
            judge.observe(subject.slice(random, REQUESTS, share, worse=True))
            verdict = judge.verdict(0.0)
            proven |= verdict.proven
            abort |= verdict.abort
        aborted += abort
        promoted += proven
    where = {"metric": metric, "share": share, "looks": looks}
    return [
        alarms("judge", "false aborts", aborted, runs, ALPHA, **where),
        alarms("judge", "false promotions", promoted, runs, ALPHA, **where),
    ]


TABLES = {
    "rate 1 %, no margin": (0.0, 1.0, 0.01),
    "rate 1 %, +20 %": (0.0, 1.2, 0.01),
    "rate 0.1 %, +0.1 pp": (0.001, 1.0, 0.001),
    "label 30 %, 2 pp": (0.02, 1.0, 0.30),
}


def bare(random: np.random.Generator, table: str, share: float, runs: int, looks: int) -> list[dict[str, Any]]:
    """The engine alone, without cap and dispersion, which would hide its faults: harm and pass on the boundary."""
    a, b, stable = TABLES[table]
    rollouts = Runs(runs, [Table(a, b, side, 0.01, 50.0) for side in (HARM, PASS)], robust=False)
    n = np.full(runs, 1000.0)
    for _ in range(looks):
        n_c = drawn(random, n, share)
        rollouts.look(n_c, drawn(random, n_c, a + b * stable), n - n_c, drawn(random, n - n_c, stable))
    where = {"metric": table, "share": share, "looks": looks}
    harm, passing = (rollouts.first > 0).sum(axis=1)
    found = [
        alarms("engine", "false aborts", int(harm), runs, ALPHA, **where),
        alarms("engine", "false promotions", int(passing), runs, ALPHA, **where),
    ]
    if (a, b) == (0.0, 1.0):  # the z-test has no margin: only here is its null true
        found.append(alarms("naive", "z-test at every look", int(rollouts.naive.sum()), runs, None, **where))
    return found


def means(random: np.random.Generator, law: str, share: float, runs: int, looks: int) -> list[dict[str, Any]]:
    """Engine B alone, on its margin of 0.05 sd, for values of a law with spread 1."""
    stack = Stack([], [Drift(1.0, 0.05, side) for side in (HARM, PASS) for _ in range(runs)])
    stack.bank._cap = np.inf
    alarmed = np.zeros(2 * runs, dtype=bool)
    for number in range(looks):
        n_c = random.binomial(1000, share, runs).astype(float)
        n_s = 1000 - n_c
        if law == "exponential":
            sums = [random.standard_gamma(np.maximum(n, 1e-9)) for n in (n_c, n_s)]
        else:
            sums = [random.standard_normal(runs) * np.sqrt(n) for n in (n_c, n_s)]
        counts = np.tile(np.stack((n_c, sums[0] + 0.05 * n_c, n_s, sums[1]), axis=1), (2, 1))
        known = number * 1000 * share >= 100  # the Judge waits for a hundred values of each arm
        stack.observe(counts, np.full(2 * runs, float(known)))
        alarmed |= stack.bank.log_evidence() >= log(1 / ALPHA)
    where = {"metric": f"mean of {law} values, 0.05 sd", "share": share, "looks": looks}
    return [
        alarms("engine", kind, int(side.sum()), runs, ALPHA, **where)
        for kind, side in zip(("false aborts", "false promotions"), alarmed.reshape(2, -1), strict=True)
    ]


def split(random: np.random.Generator, share: float, runs: int, looks: int) -> list[dict[str, Any]]:
    """The sample ratio of a split that is right."""
    flagged = 0
    for _ in range(runs):
        ratio = Ratio()
        for n_c in random.binomial(REQUESTS, share, looks):
            ratio.observe(look(arm(float(REQUESTS - n_c)), arm(float(n_c)), share=share))
            if ratio.reading().flagged:
                flagged += 1
                break
    where = {"metric": "sample ratio", "share": share, "looks": looks}
    return [alarms("judge", "false flags", flagged, runs, 1 / FLAG_AT, **where)]
