"""Forecasts from the growth of the evidence, and futility. Neither is binding, so neither costs any alpha."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

import numpy as np

from analysis.summaries import FloatArray

GROWTH_BLOCKS: Final = 5
FUTILE_CHECKS: Final = 5
FUTILE_AFTER: Final = 0.5
"""No rollout is futile before that part of its horizon: evidence grows faster in later stages, and starts below 1."""
_NEVER: Final = 1e18


class Progress:
    """ln E of pass of each guardrail at the ends of the last blocks that held data.

    `told_later` says of which guardrails the data come in their own time, as truths do, at night perhaps: that they
    do not grow now says nothing of what comes, so they make no rollout futile before its horizon.
    """

    def __init__(self, guardrails: int, told_later: Sequence[bool] = ()) -> None:
        self._told_later = tuple(told_later) or (False,) * guardrails
        self._log_e: FloatArray = np.zeros((GROWTH_BLOCKS + 1, guardrails))  # newest last
        self._clock: FloatArray = np.zeros(GROWTH_BLOCKS + 1)
        self._checks: FloatArray = np.zeros((FUTILE_CHECKS, 2))  # clock, longest forecast; newest last
        self._count: FloatArray = np.zeros(1)

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        return {"log_e": self._log_e, "clock": self._clock, "checks": self._checks, "count": self._count}

    def close(self, log_e: FloatArray, clock_s: float, needed: float) -> None:
        """Add the end of a block, at that time of the rollout's own clock."""
        for kept in (self._log_e, self._clock, self._checks):
            kept[:-1] = kept[1:]
        self._log_e[-1], self._clock[-1] = log_e, clock_s
        self._count += 1
        waits = zip(self.forecasts(log_e, needed), self._told_later, strict=True)
        longest = max((wait for wait, told_later in waits if not told_later), default=0.0)
        self._checks[-1] = clock_s, min(longest, _NEVER)

    def forecasts(self, log_e: FloatArray, needed: float) -> list[float]:
        """Seconds until each guardrail's ln E reaches `needed`; infinite where it does not grow."""
        kept = min(int(self._count[0]), GROWTH_BLOCKS + 1)
        if kept < 2:
            return [0.0 if value >= needed else inf for value in log_e]
        span = max(float(self._clock[-1] - self._clock[-kept]), 1e-9)
        growth = (self._log_e[-1] - self._log_e[-kept]) / span
        return [_wait(needed - float(value), float(each)) for value, each in zip(log_e, growth, strict=True)]

    def futile(self, clock_s: float, elapsed_s: float, horizon_s: float) -> bool:
        """Whether at each of the last checks the forecast went beyond the horizon."""
        if self._count[0] < FUTILE_CHECKS + 1 or elapsed_s < FUTILE_AFTER * horizon_s:
            return False
        left = horizon_s - elapsed_s + (clock_s - self._checks[:, 0])
        return bool(np.all(self._checks[:, 1] > left))


def _wait(missing: float, growth_per_s: float) -> float:
    if missing <= 0:
        return 0.0
    return missing / growth_per_s if growth_per_s > 1e-9 else inf
