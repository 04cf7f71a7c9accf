"""Thin traffic: promises on the margin over a day that rises and falls, and how much sooner windows decide."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from analysis.engine import HARM, PASS, Table
from tests.prove.power import rank
from tests.prove.result import alarms
from tests.support.rollouts import ALPHA
from tests.support.thin import thin

MARGIN = 0.01
RATES = (0.5, 1.0, 3.0, 10.0)
SHARES = (0.05, 0.10, 0.50)
GOALS = {"find 1 → 5 %": (HARM, 0.04, (5.0, 1.0)), "prove 1 pp": (PASS, 0.0, (12.0, 2.0))}
"""Side, what the candidate fails beyond the stable, and hours that are looked at, at 1/s and at 10/s."""


def margin(random: np.random.Generator, rate: float, share: float, side: float, runs: int) -> list[dict[str, Any]]:
    """Wrong answers on the margin, ever in so many hours."""
    hours = min(24.0, 12.0 / rate)
    found = thin(random, rate, share, Table(MARGIN, 1.0, side, 0.01, 50.0), MARGIN, hours, runs)
    what = "aborted" if side == HARM else "promoted"
    metric = f"{rate:g} requests/s, {hours:g} h"
    return [alarms("thin", what, int(found.alarmed.sum()), runs, ALPHA, metric=metric, share=share)]


def sooner(random: np.random.Generator, goal: str, rate: float, runs: int) -> list[dict[str, Any]]:
    """Seconds to a decision, by slices of a second and by windows.

    It fails where windows are slower for certain: the exact intervals of both medians lie apart, the wrong way round.
    """
    side, worse, hours = GOALS[goal]
    table, found, ends = Table(MARGIN, 1.0, side, 0.01, 50.0), {}, {}
    for gather in (False, True):
        rollouts = thin(random, rate, 0.1, table, worse, hours[rate > 1], runs, gather=gather, drifts=False)
        took = np.sort(np.where(rollouts.first[0] > 0, rollouts.first[0], inf))
        found[gather] = [float(took[round(part * (runs - 1))]) for part in (0.5, 0.9)]
        ends[gather] = float(took[rank(runs)]), float(took[runs - 1 - rank(runs)])
    told = {key: [None if each == inf else each for each in value] for key, value in found.items()}
    return [
        {"group": "sooner", "what": goal, "share": 0.1, "rate": rate, "runs": runs,
         "slices": told[False], "windows": told[True], "holds": ends[True][0] <= ends[False][1]}
    ]  # fmt: skip
