"""When a ramp reaches its weights, before it begins: a candidate without fault, at a traffic that is known or assumed.

The path is that of the means: each slice has as many requests and failures as are expected of it, and fractions of them
count. Chance makes real ones slower, by a fifth where a failure or two matter (`python -m tests.prove.ramp`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from analysis.plan import Plan
from analysis.ramp import Spending
from analysis.summaries import ArmCounts, Grid, Slice

_FINE_S: Final = 300.0
"""So long slices last a second, and after that a part of what has gone: a ramp of a day costs no more than one of
minutes."""
_COARSER: Final = 100.0
_NOTHING: Final = ArmCounts.empty(Grid(buckets=1))


@dataclass(frozen=True, slots=True)
class Rung:
    """A weight (a fraction), and when it begins."""

    share: float
    at_s: float


def climb(plan: Plan, per_second: float, error_rate: float, until_s: float) -> tuple[Rung, ...]:
    """The weights of a ramp, in order, as far as it comes in that time.

    Args:
        per_second: requests of the route.
        error_rate: of both versions, as a fraction.
    """
    assert plan.budget is not None
    spending, found, now_s, share = Spending(plan), list[Rung](), 0.0, 0.0
    while now_s < until_s and share < plan.budget.shares[-1]:
        length_s = max(1.0, (now_s - _FINE_S) / _COARSER)
        requests = per_second * length_s
        arms = (_arm(requests * (1 - share), error_rate), _arm(requests * share, error_rate))
        spending.observe(Slice(len(found), now_s, length_s, share, *arms, None, None, False))
        now_s += length_s
        allowed = spending.reading().allowed
        if allowed > share:
            share = allowed
            found.append(Rung(share, now_s))
    return tuple(found)


def _arm(n: float, error_rate: float) -> ArmCounts:
    return replace(_NOTHING, assigned=n, recorded=n, answered=n, failed=n * error_rate)
