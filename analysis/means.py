"""Numbers: the shift of the candidate's mean, either way or one way, in standard deviations.

Engine B: asymptotic, so values must be clipped to a range before they come here, and there is no evidence before 100
values of each arm. The standard deviation is that within slices, of both arms, from past slices. Each direction has a
row of harm and one of pass: harm is the mean over directions, pass the least.

Answers without a number (not there, NaN, of another type) have no part in a mean, and could hide any shift. So a stage
is not inside its margin where the candidate leaves out more of them than the stable, by more than what a shift of the
whole margin moves across the median of a normal value: 2 pp for 0.05 sd.
"""

from __future__ import annotations

from math import log, sqrt
from typing import Final

import numpy as np
from scipy.special import ndtr

from analysis.engine import HARM, PASS
from analysis.intervals import Estimate
from analysis.meter import Meter, Wealth
from analysis.plan import Gate
from analysis.stack import Drift, Stack
from analysis.summaries import GROUPS, FloatArray, Moments, Slice
from analysis.wording import number

_BURN_IN: Final = 100.0
_NOTHING: Final = Moments(0.0, 0.0, 0.0)


class Means(Meter):
    """The meter of one numeric output."""

    def __init__(self, gate: Gate, directions: tuple[float, ...] = (1.0, -1.0)) -> None:
        self._margin, self._directions = gate.margin_sd or 0.0, directions
        rows = [(direction, self._margin, side) for direction in directions for side in (HARM, PASS)]
        super().__init__(gate, drifts=tuple(Drift(*row) for row in rows))
        self._past: FloatArray = np.zeros((2, 3))  # candidate, stable: n, scatter within slices, its degrees of freedom
        self._unread: FloatArray = np.zeros((2, 2))  # candidate, stable, of this stage: answers, those without a number
        self._stage: FloatArray = np.full(1, -1.0)
        self._known: float | None = None
        """The variance of one value, where it was found since the past last changed."""

    def state(self) -> dict[str, FloatArray]:
        """The spread of the past, and what had no number."""
        return {"past": self._past, "unread": self._unread, "stage": self._stage}

    def counts(self, slice_: Slice) -> FloatArray:
        """Values and their sum of both arms, the same for each row."""
        return self._rows(*self._tables(slice_)[0])

    def _rows(self, candidate: Moments, stable: Moments) -> FloatArray:
        return np.array([(candidate.n, candidate.total, stable.n, stable.total)] * len(self.drifts))

    def variance(self) -> FloatArray:
        """Of one value; 0 before the burn-in, or if the values do not vary."""
        return np.full(len(self.drifts), self._variance())

    def _variance(self) -> float:
        if self._known is None:
            (n_c, scatter_c, freedom_c), (n_s, scatter_s, freedom_s) = self._past.tolist()
            ready = min(n_c, n_s) >= _BURN_IN and freedom_c + freedom_s > 0
            self._known = (scatter_c + scatter_s) / (freedom_c + freedom_s) if ready else 0.0
        return self._known

    def learn(self, slice_: Slice, stack: Stack) -> None:
        """Take the slice into the past."""
        for table in self._tables(slice_):
            self._past += [(moments.n, moments.scatter, max(moments.n - 1, 0.0)) for moments in table]
        self._known = None
        self._learn_unread(slice_)

    def _learn_unread(self, slice_: Slice) -> None:
        if slice_.stage != self._stage[0]:
            self._unread[:], self._stage[:] = 0.0, slice_.stage
        output = self.gate.output
        arms = slice_.candidate, slice_.stable
        unread = [arm.missing.get(output, 0.0) + arm.invalid.get(output, 0.0) for arm in arms]
        self._unread += [(arm.numbers.get(output, _NOTHING).n + n, n) for arm, n in zip(arms, unread, strict=True)]

    def _leaves_out(self) -> bool:
        """Whether the candidate has no number more often than the stable, by more than the margin is worth."""
        of_candidate, of_stable = (unread / n if n > 0 else 0.0 for n, unread in self._unread)
        return bool(of_candidate - of_stable > float(ndtr(self._margin)) - 0.5)

    def group(self, slice_: Slice) -> None:
        """Sums of each group of users."""
        if slice_.groups is not None:
            nothing = np.zeros((2, GROUPS))
            stable, candidate = (each.numbers.get(self.gate.output, nothing) for each in slice_.groups)
            self.groups.set(*candidate, *stable)

    def design_effects(self) -> FloatArray:
        """Over the variance of single values."""
        variances = self._past[:, 1:2] / np.maximum(self._past[:, 2:3], 1.0)
        return np.broadcast_to(self.groups.effects(variances), len(self.drifts))

    def wealth(self, log_e: FloatArray) -> Wealth:
        """Harm: the mean over directions; pass: the least."""
        harm = float(np.logaddexp.reduce(log_e[0::2])) - log(len(self._directions))
        return Wealth(harm, float(log_e[1::2].min()))

    def estimate(self, stack: Stack) -> Estimate:
        """Levels in the output's own unit, the shift in standard deviations."""
        variance = self._variance()
        levels = stack.differences.levels(self.first)
        if levels is None or variance <= 0:
            return Estimate() if levels is None else Estimate(*levels)
        of_candidate, of_stable = (scatter / max(freedom, 1.0) for _, scatter, freedom in self._past)
        least = self.phi(stack) * variance * float(stack.dispersion.variance[self.first])
        return stack.differences.estimate(self.first, of_candidate, of_stable, least).scaled(1 / sqrt(variance))

    def inside(self, stack: Stack) -> bool | None:
        """The shift of this stage within the margin, in each direction that counts."""
        levels, variance = stack.differences.stage_levels(self.first), self._variance()
        if levels is None or variance <= 0:
            return None
        if self._leaves_out():
            return False
        shift, limit = levels[1] - levels[0], self._margin * sqrt(variance)
        return all(direction * shift <= limit for direction in self._directions)

    def margin_words(self) -> str:
        """As it was written."""
        ways = "up or down" if len(self._directions) == 2 else "up" if self._directions[0] > 0 else "down"
        return f"{number(self._margin)} sd, {ways}"

    def effective_words(self, stack: Stack) -> str:
        """In the output's own unit."""
        sd = sqrt(self._variance())
        return f"{self.margin_words()} (sd {number(sd)})" if sd > 0 else self.margin_words()

    def _tables(self, slice_: Slice) -> list[tuple[Moments, Moments]]:
        """Candidate and stable, of the slice's own stage first."""
        output = self.gate.output
        return [(slice_.candidate.numbers.get(output, _NOTHING), slice_.stable.numbers.get(output, _NOTHING))]
