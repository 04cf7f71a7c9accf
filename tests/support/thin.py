"""Rollouts on thin traffic, many at once: what is gathered over windows as the Judge does it."""

from __future__ import annotations

import numpy as np

from analysis.engine import Table
from analysis.windows import Pace
from tests.support.rollouts import Runs, drawn

NEVER = 10**9
"""Looks after which `Runs` would end a block by itself; here time does."""


def thin(
    random: np.random.Generator,
    rate: float,
    weight: float,
    table: Table,
    worse: float,
    hours: float,
    runs: int,
    *,
    gather: bool = True,
    drifts: bool = True,
) -> Runs:
    """Rollouts of errors side by side, in windows or by slices of a second.

    `first` of them is in seconds. The stable fails 1.5 % of its requests, and traffic and failures rise and fall over
    the day; without `drifts` it fails 1 %, evenly. `worse` is what the candidate fails beyond that.
    """
    rollouts, pace, block = Runs(runs, table, robust=True, block=NEVER), Pace(), 30
    gathered, none = np.zeros((4, runs)), np.zeros(runs)
    for second in range(round(hours * 3600)):
        day = np.sin(2 * np.pi * second / 86_400)
        now, failing = (rate * (1 + 0.7 * day), 0.015 * (1 - 0.6 * day)) if drifts else (rate, 0.01)
        n_c, n_s = (random.poisson(now * share, runs).astype(float) for share in (weight, 1 - weight))
        gathered += (n_c, drawn(random, n_c, failing + worse), n_s, drawn(random, n_s, failing))
        if pace.ends(now, 1.0, block - second % block) or not gather:
            rollouts.at(second + 1)
            rollouts.look(*gathered)
            gathered[:] = 0.0
        else:
            rollouts.stack.dispersion.add(none, none)
        if second % block == block - 1:
            rollouts.end_block(second // block + 1)
    return rollouts
