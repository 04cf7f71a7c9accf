"""Latency quantiles as yes or no: the share of requests above the stable's own quantile, known from the past.

No p99 estimate is ever compared. The threshold is the point of the stable's past histogram with exactly 1 - q above
it: a bucket and a fraction of that bucket. The candidate's threshold lies whole buckets higher, the margin rounded up
for harm and down for pass, and Engine A asks if its share above is larger. Requests in the threshold's own bucket
count by the fraction; this is the geometric mean of breaking ties at random, so still an e-value (Jensen), and it
makes constant latencies and coarse clocks harmless.
"""

from __future__ import annotations

from math import ceil, floor, log
from typing import Final

import numpy as np

from analysis.engine import HARM, PASS, Table
from analysis.history import History, exceed, exceeds, threshold_of
from analysis.intervals import INTERVAL_ALPHA, Estimate
from analysis.limits import excludes_nothing, share
from analysis.meter import Meter, Wealth
from analysis.plan import Gate
from analysis.stack import Stack
from analysis.summaries import FloatArray, Slice
from analysis.wording import percent, signed

_STRENGTH: Final = 2000.0
_SHIFTS: Final = np.concatenate((np.arange(-460, -70, 6), np.arange(-70, 141), np.arange(146, 461, 6)))
"""Whole-bucket shifts for which the interval is known: each one up to 0.5 and 4 times, then coarser up to 100 times."""


class Quantile(Meter):
    """The meter of one latency quantile: a row of harm with the margin rounded up, one of pass with it rounded down."""

    def __init__(self, gate: Gate, history: History) -> None:
        table = Table(0.0, 1.0, HARM, 1 - gate.quantile, _STRENGTH)
        super().__init__(gate, (table, table._replace(side=PASS)))
        self._history = history
        self._harm_shift, self._pass_shift = shifts(gate.margin_relative or 0.0, history.grid.base)
        self._words = self._margins()
        self._above: FloatArray = np.zeros(len(_SHIFTS))  # sum of I pC at each shift

    def state(self) -> dict[str, FloatArray]:
        """The shares above at every shift."""
        return {"above": self._above}

    def counts(self, slice_: Slice) -> FloatArray:
        """Requests above the threshold; zeros until the past can tell the quantile."""
        at = self._history.threshold(self.gate.quantile)
        if at is None:
            return np.zeros((2, 4))
        tail_s, tail_c = self._history.tails
        n_s, n_c, x_s = tail_s.item(0), tail_c.item(0), exceeds(tail_s, at, 0)
        both = self._harm_shift, self._pass_shift
        return np.array([[n_c, exceeds(tail_c, at, shift), n_s, x_s] for shift in both])

    def learn(self, slice_: Slice, stack: Stack) -> None:
        """Add up the candidate's share above at every shift, for the interval; the history learns after all meters."""
        at = self._history.threshold(self.gate.quantile)
        tail_s, tail_c = self._history.tails
        if at is not None and tail_s[0] > 0 and tail_c[0] > 0:
            self._above += exceed(tail_c, at, _SHIFTS) * (tail_s[0] / (tail_c[0] + tail_s[0]))

    def group(self, slice_: Slice) -> None:
        """Of each group of users, what was above the arm's own quantile: only how they are spread counts."""
        if slice_.groups is not None:
            stable, candidate = (_above(each.latency, self.gate.quantile) for each in slice_.groups)
            self.groups.set(*candidate, *stable)

    def still(self, history: History, sticky: bool) -> Quantile:
        """Of the latencies that are still as well."""
        other = super().still(history, sticky)
        assert isinstance(other, Quantile)
        other._history = history
        return other

    def wealth(self, log_e: FloatArray) -> Wealth:
        """One row each."""
        return Wealth(float(log_e[0]), float(log_e[1]))

    def estimate(self, stack: Stack) -> Estimate:
        """Levels in seconds, the difference as a change in percent: where the shares above would be equal."""
        levels, shown = stack.differences.levels(self.first), self._history.quantiles_s(self.gate.quantile)
        if levels is None or shown is None:
            return Estimate()
        base = self._history.grid.base
        effect, low, high = (
            None if shift is None else 100 * (base**shift - 1) for shift in self._crossings(stack, levels[0])
        )
        return Estimate(*shown, effect, low, high)

    def _crossings(self, stack: Stack, stable: float) -> tuple[float, float | None, float | None]:
        differences = stack.differences
        information = differences.information(self.first)
        candidate = self._above / information
        gap = candidate - stable  # falls as the shift grows
        last = int(np.searchsorted(-gap, 0.0, side="right")) - 1
        if 0 <= last < len(gap) - 1:
            part = gap[last] / (gap[last] - gap[last + 1])
            effect = float(_SHIFTS[last] + part * (_SHIFTS[last + 1] - _SHIFTS[last]))
        else:
            effect = float(_SHIFTS[max(last, 0)])
        if differences.v_opt(self.first) <= 0:
            return effect, None, None
        (n_s, n_c), phi = differences.effective(self.first), self.phi(stack)
        more, less = excludes_nothing(candidate, n_c, share(stable, n_s, INTERVAL_ALPHA, phi), INTERVAL_ALPHA, phi)
        # The ends are the nearest shifts that are excluded; where none is, the interval is open on that side.
        lower, higher = np.flatnonzero(more), np.flatnonzero(less)
        low = float(_SHIFTS[lower[-1]]) if lower.size else None
        return effect, low, float(_SHIFTS[higher[0]]) if higher.size else None

    def inside(self, stack: Stack) -> bool | None:
        """No more of this stage's requests above the candidate's threshold than of the stable's above its own."""
        levels = stack.differences.stage_levels(self.first + 1)
        return None if levels is None else levels[1] <= levels[0] + 1e-12

    def margin_words(self) -> str:
        """As it was written."""
        return self._words[0]

    def effective_words(self, stack: Stack) -> str:
        """In whole buckets: the margin of harm and that of pass."""
        return self._words[1]

    def _margins(self) -> tuple[str, str]:
        base = self._history.grid.base
        harm, passing = (signed(100 * (base**shift - 1)) for shift in (self._harm_shift, self._pass_shift))
        effective = f"{harm} %" if harm == passing else f"{harm} % for harm, {passing} % for pass"
        return f"+{percent(self.gate.margin_relative or 0.0)}", effective


def shifts(margin: float, base: float) -> tuple[int, int]:
    """A relative margin in whole buckets: rounded up, for harm, and down, for pass.

    >>> shifts(0.10, 1.01), shifts(0.05, 1.01), shifts(0.0, 1.01)
    ((10, 9), (5, 4), (0, 0))
    """
    buckets = log(1 + margin) / log(base)
    return ceil(buckets - 1e-9), floor(buckets + 1e-9)


def _above(latency: FloatArray, quantile: float) -> tuple[FloatArray, FloatArray]:
    """By group: how many there are, and how many above the quantile of all groups together."""
    at = threshold_of(latency.sum(axis=1), quantile)
    return latency.sum(axis=0), latency[at.bucket + 1 :].sum(axis=0) + at.above * latency[at.bucket]
