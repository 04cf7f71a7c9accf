"""Errors: the candidate's error rate against `stable + margin` or `stable x (1 + margin)`, whichever is larger."""

from __future__ import annotations

from math import log
from typing import Final

import numpy as np

from analysis.engine import HARM, PASS, Table
from analysis.intervals import INTERVAL_ALPHA, Estimate, half_width
from analysis.limits import difference, share
from analysis.meter import Meter, Wealth
from analysis.plan import Gate
from analysis.stack import Stack
from analysis.summaries import FloatArray, Slice
from analysis.wording import number, percent

_GUESS: Final = 0.01
_STRENGTH: Final = 50.0


class Rates(Meter):
    """The meter of errors: for each bound one row of harm and one of pass.

    With two bounds of which the larger counts, harm is the lesser e-value of the two, pass their mean. Pass is exact
    whatever the stable's rate does. Harm is exact while the same bound is the larger one; where the stable's rate
    drifts across the point at which they change places, a candidate between the two has to beat both to be blamed.
    """

    def __init__(self, gate: Gate) -> None:
        self._bounds: list[tuple[float, float]] = []
        if gate.margin_relative is not None:
            self._bounds.append(self._relative(gate.margin_relative))
        if gate.margin_absolute is not None:
            self._bounds.append((gate.margin_absolute, 1.0))
        sides = [(a, b, side) for a, b in self._bounds for side in (HARM, PASS)]
        super().__init__(gate, tuple(Table(a, b, side, _GUESS, _STRENGTH) for a, b, side in sides))

    def _relative(self, margin: float) -> tuple[float, float]:
        """The line (a, b) of a relative margin."""
        return 0.0, 1.0 + margin

    def counts(self, slice_: Slice) -> FloatArray:
        """Answered and failed of both arms, the same for each row."""
        return np.repeat(error_counts(slice_), len(self.tables), axis=0)

    def group(self, slice_: Slice) -> None:
        """Failures of each group of users."""
        candidate, stable = slice_.candidate, slice_.stable
        self.groups.add(candidate.group_n, candidate.group_failed, stable.group_n, stable.group_failed)

    def wealth(self, log_e: FloatArray) -> Wealth:
        """Harm: the lesser; pass: the mean."""
        passing = float(np.logaddexp.reduce(log_e[1::2])) - log(len(self._bounds))
        return Wealth(float(log_e[0::2].min()), passing)

    def estimate(self, stack: Stack) -> Estimate:
        """In percentage points."""
        return rate_estimate(stack, self.first).scaled(100.0)

    def inside(self, stack: Stack) -> bool | None:
        """Inside either bound, since the larger counts."""
        levels = stack.differences.stage_levels(self.first)
        if levels is None:
            return None
        return any(levels[1] <= a + b * levels[0] + 1e-12 for a, b in self._bounds)

    def margin_words(self) -> str:
        """As it was written."""
        words = []
        if self.gate.margin_relative is not None:
            words.append(f"+{percent(self.gate.margin_relative)}")
        if self.gate.margin_absolute is not None:
            words.append(f"+{number(100 * self.gate.margin_absolute)} pp")
        return " or ".join(words) + (", the larger" if len(words) > 1 else "")

    def effective_words(self, stack: Stack) -> str:
        """In percentage points, at the rate that the stable has."""
        levels = stack.differences.levels(self.first)
        if levels is None:
            return self.margin_words()
        points = max(a + (b - 1) * levels[0] for a, b in self._bounds)
        return f"+{number(100 * points)} pp at the stable's {percent(levels[0])}"


def error_counts(slice_: Slice) -> FloatArray:
    """nC, xC, nS, xS of errors, [1, 4]."""
    stable, candidate = slice_.stable, slice_.candidate
    x_c, x_s = min(candidate.failed, candidate.answered), min(stable.failed, stable.answered)
    return np.array([[candidate.answered, x_c, stable.answered, x_s]])


def rate_estimate(stack: Stack, row: int, alpha: float = INTERVAL_ALPHA) -> Estimate:
    """The difference of two rates as fractions, and its interval: ever wrong with a chance of at most alpha.

    Where phi is above 1 the slices themselves have shown how much the difference varies: the interval is at least as
    wide as that says.
    """
    differences, phi = stack.differences, float(stack.bank.phi[row])
    levels, v_opt = differences.levels(row), differences.v_opt(row)
    if levels is None:
        return Estimate()
    stable, candidate = levels
    effect = candidate - stable
    if v_opt <= 0:
        return Estimate(stable, candidate, effect)
    n_s, n_c = differences.effective(row)
    varies, wider = phi * float(stack.dispersion.variance[row]), 1.0
    if phi > 1:
        # Relative to what chance alone does at these rates, which need not be what phi is relative to.
        of_candidate, of_stable = ((p * n + 0.5) / (n + 1) for p, n in ((candidate, n_c), (stable, n_s)))
        chance = differences.variance(row, of_candidate * (1 - of_candidate), of_stable * (1 - of_stable))
        wider = min(max(varies / chance, 1.0), phi)
    low, high = difference(share(candidate, n_c, alpha, wider), share(stable, n_s, alpha, wider))
    if phi > 1:
        width = half_width(differences.information(row), varies, v_opt, alpha)
        low, high = min(low, effect - width), max(high, effect + width)
    return Estimate(stable, candidate, effect, max(low, -1.0), min(high, 1.0))
