"""What real traffic does: drift with a ramp, bursts and noise of one arm, sticky heavy users, late regressions.

Drift is covered by the promise. Bursts, noise of one arm and sticky users are not: nothing can promise anything
there. Their figures are measured, and held to what was measured when the method was designed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from analysis.engine import HARM, Table
from analysis.plan import Gate, Plan
from analysis.robustness import RESTART_BLOCKS
from analysis.stack import Stack
from analysis.summaries import GROUPS, Slice
from analysis.verdict import Judge
from tests.prove.power import HARM_NEEDS, NOISE, rank
from tests.prove.result import alarms, tempted
from tests.support.rollouts import ALPHA, Runs, drawn
from tests.support.slices import arm, look

EQUAL = Table(0.0, 1.0, HARM, 0.01, 50.0)
BLOCK_S = 30
"""As shipped; a look is a second."""
TWENTY = Table(0.0, 1.2, HARM, 0.01, 50.0)


def _three(what: str, where: dict[str, Any], runs: dict[str, Runs], risk: float | None) -> list[dict[str, Any]]:
    """As shipped, without cap and dispersion, and the z-test."""
    shipped, raw = runs["shipped"], runs["raw"]
    n = len(shipped.naive)
    return [
        alarms("hazard", f"{what}: as shipped", int(shipped.alarmed.sum()), n, risk, **where),
        alarms("hazard", f"{what}: no cap, no dispersion", int(raw.alarmed.sum()), n, None, **where),
        alarms("hazard", f"{what}: z-test at every look", int(shipped.naive.sum()), n, None, **where),
    ]


def drift(random: np.random.Generator, runs: int, seconds: int) -> list[dict[str, Any]]:
    """Errors of both arms rise from 0.2 to 2 % while the weight goes 1, 10, 50 %."""
    both = {"shipped": Runs(runs, EQUAL, robust=True, block=BLOCK_S), "raw": Runs(runs, EQUAL, robust=False)}
    for second in range(seconds):
        share, rate = (0.01, 0.10, 0.50)[3 * second // seconds], 0.002 + 0.018 * second / seconds
        n = np.full(runs, 1000.0)
        n_c = drawn(random, n, share)
        counts = n_c, drawn(random, n_c, rate), n - n_c, drawn(random, n - n_c, rate)
        for each in both.values():
            each.look(*counts)
    where = {"metric": "errors, no margin", "share": "1, 10, 50 %", "looks": seconds}
    found = _three("drift with a ramp", where, both, ALPHA)
    return [*found[:2], tempted("hazard", found[2]["what"], found[2]["count"], runs, 0.9, **where)]


def bursts(random: np.random.Generator, share: float, runs: int, seconds: int) -> list[dict[str, Any]]:
    """Each arm on its own fails 40 times as often for 10 s, every 200 s or so."""
    both = {"shipped": Runs(runs, EQUAL, robust=True, block=BLOCK_S), "raw": Runs(runs, EQUAL, robust=False)}
    left = np.zeros((2, runs))
    for _ in range(seconds):
        left = np.maximum(left - 1, np.where(random.random((2, runs)) < 1 / 200, 10.0, 0.0))
        p_c, p_s = np.where(left > 0, 0.2, 0.005)
        n_c = np.full(runs, 1000.0 * share)
        n_s = 1000 - n_c
        counts = n_c, drawn(random, n_c, p_c), n_s, drawn(random, n_s, p_s)
        for each in both.values():
            each.look(*counts)
    where = {"metric": "errors, no margin", "share": share, "looks": seconds}
    return _three("bursts of each arm alone", where, both, ALPHA)


def noise(random: np.random.Generator, table: Table, share: float, runs: int, seconds: int) -> list[dict[str, Any]]:
    """The error rate of each arm wanders by itself: sd 0.3 of its logarithm, with a memory of 20 s."""
    both = {"shipped": Runs(runs, table, robust=True, block=BLOCK_S), "raw": Runs(runs, table, robust=False)}
    keep = np.exp(-1 / 20)
    wander = 0.3 * random.standard_normal((2, runs))
    for _ in range(seconds):
        wander = keep * wander + 0.3 * np.sqrt(1 - keep**2) * random.standard_normal((2, runs))
        p_c, p_s = 0.01 * np.exp(wander)
        n_c = np.full(runs, 1000.0 * share)
        n_s = 1000 - n_c
        counts = n_c, drawn(random, n_c, p_c), n_s, drawn(random, n_s, p_s)
        for each in both.values():
            each.look(*counts)
    margin = "no margin" if table.b == 1 else f"+{100 * (table.b - 1):.0f} %"
    where = {"metric": f"errors, {margin}", "share": share, "looks": seconds}
    return _three("noise of each arm alone", where, both, None)


def sticky(random: np.random.Generator, users: int, share: float, runs: int, looks: int) -> list[dict[str, Any]]:
    """Users keep their version; 2 % of them cause most errors. Told of the users, and (for contrast) not."""
    gate = Gate("errors", "errors", margin_absolute=0.0, role="signal")
    aborted = {True: 0, False: 0}
    for _ in range(runs):
        failing = np.where(random.random(users) < 0.02, 0.4, 0.002)
        candidate = random.random(users) < share
        group = random.integers(0, GROUPS, users)
        judges = {told: Judge(Plan((gate,), block_s=20.0)) for told in aborted}
        for _ in range(looks):
            asked = random.integers(0, users, 2000)
            failed = random.random(2000) < failing[asked]
            for told, judge in judges.items():
                judge.observe(_of_users(candidate[asked], failed, group[asked], share, told))
        for told, judge in judges.items():
            aborted[told] += judge.verdict(0.0).abort
    where = {"metric": "errors, no margin", "share": share, "looks": looks, "users": users}
    name = f"sticky users ({users:,})"
    return [
        alarms("hazard", f"{name}: as shipped", aborted[True], runs, ALPHA, **where),
        alarms("hazard", f"{name}: requests taken for independent", aborted[False], runs, None, **where),
    ]


def _of_users(candidate: np.ndarray, failed: np.ndarray, group: np.ndarray, share: float, told: bool) -> Slice:
    arms = []
    for mine in (~candidate, candidate):
        n = np.bincount(group[mine], minlength=GROUPS).astype(float)
        x = np.bincount(group[mine & failed], minlength=GROUPS).astype(float)
        counts = arm(float(n.sum()), float(x.sum()))
        arms.append(replace(counts, group_n=n, group_failed=x) if told else counts)
    return look(*arms, share=share, duration_s=2.0, sticky=told)


VARIANTS = {
    "as shipped": (True, True),
    "no dispersion": (False, True),
    "no dispersion, no restarts": (False, False),
}
"""With the dispersion of finished blocks, and with restarts."""
_LATE_S = 900
"""How long a late regression is waited for."""


def onset(random: np.random.Generator, at: int, rate: float, runs: int, design: float | None) -> list[dict[str, Any]]:
    """Seconds from the moment at which the candidate becomes worse to the abort.

    `design` is the median that the design measured with restarts and no dispersion, if it did: ours must reach it.
    """
    delays = {name: _delays(random, at, rate, runs, *variant) for name, variant in VARIANTS.items()}
    medians = {name: float(np.median(delay)) if np.median(delay) < _LATE_S else None for name, delay in delays.items()}
    late = np.sort(delays["no dispersion"])
    low, high = late[rank(runs)], late[runs - 1 - rank(runs)]
    where = {"metric": "errors, +20 %", "share": 0.05, "at": at, "rate": rate, "delays": medians, "design": design}
    found = int((delays["as shipped"] < _LATE_S).sum())
    first = tempted("late", f"found within {_LATE_S // 60} minutes", found, runs, 0.6, **where)
    first["holds"] = bool(first["holds"] and (design is None or low / NOISE <= design <= high * NOISE))
    return [first]


def _delays(
    random: np.random.Generator, at: int, rate: float, runs: int, dispersion: bool, restarts: bool
) -> np.ndarray:
    stack = Stack([TWENTY] * runs, [])
    if not restarts:
        stack.bank._restarts[:] = False
        stack.bank.closed[:] = 0.0
    delay = np.full(runs, float(_LATE_S))
    for second in range(at + _LATE_S):
        n_c, n_s = np.full(runs, 50.0), np.full(runs, 950.0)
        x_c = drawn(random, n_c, rate if second >= at else 0.01)
        stack.observe(np.stack((n_c, x_c, n_s, drawn(random, n_s, 0.01)), axis=1), np.zeros(0))
        harmed = stack.bank.log_evidence() >= np.log(HARM_NEEDS)
        delay[(delay == _LATE_S) & harmed & (second >= at)] = second - at
        if (second + 1) % BLOCK_S == 0:
            if dispersion:
                stack.close(np.ones(runs))
            else:
                stack.bank.close(np.ones(runs))
            if restarts and (second + 1) % (BLOCK_S * RESTART_BLOCKS) == 0:
                stack.bank.restart()
    return delay
