"""How much traffic a decision takes: the engine alone, without the cap, beside the figures of the design.

The design's figures were measured with a prototype that shares no code with this one. Ours must agree: its exact
interval of the median (order statistics, a chance of one in a million to miss) must reach the design's figure, give
or take a quarter, which is the noise of those.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from scipy.special import bdtr, logsumexp

from analysis.engine import HARM, PASS, POINTS, Binary, Table, gaussian_log_ratios
from tests.prove.streams import WEIGHTS
from tests.support.rollouts import MISJUDGED, drawn

HARM_NEEDS, PASS_NEEDS = 120.0, 20.0
"""Of a plan with six metrics at alphas of 5 %."""
NOISE = 1.25
"""Of the design's medians, which come from few runs."""
LOOK = 1000
"""Requests of a look, as in the design; more where a decision takes over 250 of them."""


@dataclass(frozen=True)
class Case:
    """A truth, a test, and what the design measured: thousands of requests at the four weights, None for unknown."""

    name: str
    stable: float
    candidate: float
    a: float
    b: float
    side: float
    thousands: tuple[float | None, ...]


CASES = (
    Case("errors 0.1 → 0.2 %, harm, no margin", 0.001, 0.002, 0, 1, HARM, (1714, 337, 168, 73)),
    Case("errors 0.1 → 0.2 %, harm, +20 %", 0.001, 0.002, 0, 1.2, HARM, (None, 566, 326, 138)),
    Case("errors 1 → 1.5 %, harm, no margin", 0.01, 0.015, 0, 1, HARM, (591, 140, 65, 25)),
    Case("errors 1 → 1.5 %, harm, +20 %", 0.01, 0.015, 0, 1.2, HARM, (1705, 377, 193, 78)),
    Case("errors 1 → 1.5 %, harm, +0.2 pp", 0.01, 0.015, 0.002, 1, HARM, (1751, 384, 176, 71)),
    Case("errors 1 → 5 %, harm, +20 %", 0.01, 0.05, 0, 1.2, HARM, (19, 6, 3, 2)),
    Case("errors 1 % unchanged, pass, +20 %", 0.01, 0.01, 0, 1.2, PASS, (1954, 416, 204, 107)),
    Case("errors 1 % unchanged, pass, +0.2 pp", 0.01, 0.01, 0.002, 1, PASS, (None, 400, 224, 92)),
    Case("errors 0.1 % unchanged, pass, +0.1 pp", 0.001, 0.001, 0.001, 1, PASS, (1098, 286, 112, 40)),
    Case("label 30 → 31 %, harm, no margin", 0.30, 0.31, 0, 1, HARM, (None, 552, 305, 119)),
    Case("label 30 → 32 %, harm, 1 pp", 0.30, 0.32, 0.01, 1, HARM, (None, 526, 282, 97)),
    Case("label 30 % unchanged, pass, 2 pp", 0.30, 0.30, 0.02, 1, PASS, (336, 87, 48, 19)),
    Case("wrong 10 % unchanged, pass, 1 pp", 0.10, 0.10, 0.01, 1, PASS, (826, 141, 90, 35)),
)
SCORES = (
    Case("score +0.05 sd, harm, no margin", 0.0, 0.05, 0.0, 1, HARM, (405, 92, 46, 17)),
    Case("score unchanged, pass, 0.05 sd", 0.0, 0.0, 0.05, 1, PASS, (240, 52, 27, 11)),
)
ALL = {case.name: case for case in (*CASES, *SCORES)}


def measure(random: np.random.Generator, case: str, share: float, runs: int) -> list[dict[str, Any]]:
    """The median number of requests until the evidence is enough, and if the design's lies within its interval."""
    subject = ALL[case]
    reference = subject.thousands[WEIGHTS.index(share)]
    if reference is None:
        return []
    per_look = int(max(LOOK, reference * 4))
    took = np.sort(_requests(random, subject, share, runs, per_look, 6e3 * reference))
    low, high = took[rank(runs)], took[runs - 1 - rank(runs)]
    return [
        {
            "group": "power", "what": case, "share": share, "runs": runs, "median": float(np.median(took)),
            "low": float(low), "high": float(high), "reference": 1000.0 * reference,
            "holds": bool(low / NOISE <= 1000.0 * reference <= high * NOISE),
        }
    ]  # fmt: skip


def rank(runs: int) -> int:
    """The place, from either end, beyond which the true median lies with half of MISJUDGED."""
    return max(place for place in range(runs // 2) if place == 0 or bdtr(place - 1, runs, 0.5) <= MISJUDGED / 2)


def _requests(
    random: np.random.Generator, case: Case, share: float, runs: int, per_look: int, most: float
) -> np.ndarray:
    """Requests of both arms until the decision, of each run; `most` where none came."""
    rate = case.name.split()[0] != "score"
    side = np.full(runs, case.side)
    binary = Binary([Table(case.a, case.b, case.side, 0.30 if case.stable > 0.2 else 0.01, 50.0)] * runs)
    total, took = np.zeros((runs, POINTS)), np.full(runs, most)
    needed = log(HARM_NEEDS if case.side == HARM else PASS_NEEDS)
    n, spent = np.full(runs, float(per_look)), 0
    while spent < most and (took == most).any():
        spent += per_look
        n_c = drawn(random, n, share)
        n_s = n - n_c
        if rate:
            total += binary.observe(n_c, drawn(random, n_c, case.candidate), n_s, drawn(random, n_s, case.stable))
            log_e = logsumexp(total, axis=1) - log(POINTS)
        else:
            information = np.where(n_c > 0, n_c * n_s / n, 0.0)
            shift = random.standard_normal(runs) * np.sqrt(information) + information * case.candidate
            total += gaussian_log_ratios(shift, information, np.ones(runs), np.full(runs, case.a), side)
            log_e = logsumexp(total, axis=1) - log(POINTS)
        took[(took == most) & (log_e >= needed)] = spent
    return took
