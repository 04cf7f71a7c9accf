"""Differences to show, with intervals that hold at every look at once.

Those of means come from the normal mixture: P(some t: |S_t| >= bound(V_t)) <= alpha. They are asymptotic, since V is
estimated; what is shown of rates comes from `limits`. All are for the eye, no decision is made with them. Source:
Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon, arXiv 1810.08240, Proposition 5 and section 3.5; Waudby-Smith et al.,
arXiv 2103.06476.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import Final, Literal, TypeVar

import numpy as np
from scipy.special import log_ndtr

from analysis.summaries import FloatArray

Number = TypeVar("Number", float, FloatArray)

INTERVAL_ALPHA: Final = 0.05
BURN_IN: Final = 100.0
"""Requests of each arm before an interval is shown; its tuning is frozen there."""
_TUNED_FOR: Final = 10.0
"""Intervals are narrowest at that many times the information of the burn-in."""


def tuning(v_opt: float, alpha: float, sides: Literal[1, 2] = 2) -> float:
    """The rho with the narrowest bound at v_opt.

    >>> round(tuning(100.0, 0.05), 5)
    12.60056
    """
    doubt = log(1 / (alpha if sides == 2 else 2 * alpha))
    return v_opt / (2 * doubt + log(1 + 2 * doubt))


def log_mixture(s: float, v: float, rho: float, sides: Literal[1, 2] = 2) -> float:
    """ln of the normal mixture's wealth at sum s and variance v.

    >>> round(log_mixture(60.0, 400.0, 20.0, sides=1), 10)
    3.4548913926
    """
    two_sided = 0.5 * log(rho / (v + rho)) + s * s / (2 * (v + rho))
    return two_sided if sides == 2 else two_sided + log(2) + float(log_ndtr(s / sqrt(v + rho)))


def bound(v: Number, rho: float, alpha: float) -> Number:
    """What |S| stays below at every v at once, with probability 1 - alpha.

    >>> float(bound(100.0, tuning(100.0, 0.05), 0.05).round(5))
    30.35209
    """
    width: Number = np.sqrt((v + rho) * (np.log((v + rho) / rho) + 2 * log(1 / alpha)))
    return width


@dataclass(frozen=True, slots=True)
class Estimate:
    """A difference (candidate minus stable) and its interval; None where nothing can be said."""

    stable: float | None = None
    candidate: float | None = None
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    subject: str = ""
    """The label that it is about, of a category; else empty."""

    def scaled(self, factor: float) -> Estimate:
        """The same with the difference (not the two levels) in another unit."""
        effect, low, high = (None if each is None else each * factor for each in (self.effect, self.low, self.high))
        return Estimate(self.stable, self.candidate, effect, low, high, self.subject)


class Differences:
    """For each row: both arms' levels, averaged over slices with the weight I = nC nS/(nC + nS).

    These weights make the difference of the averages the average of the differences, whatever load and weights did.
    """

    def __init__(self, rows: int) -> None:
        self._sums: FloatArray = np.zeros((7, rows))  # nC, nS, I, I mC, I mS, I²/nC, I²/nS
        self._stage: FloatArray = np.zeros((3, rows))  # I, I mC, I mS of this stage
        self._v_opt: FloatArray = np.zeros(rows)

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        return {"sums": self._sums, "stage": self._stage, "v_opt": self._v_opt}

    def begin_stage(self) -> None:
        """Forget the sums of the stage before."""
        self._stage[:] = 0.0

    def add(
        self,
        n_c: FloatArray,
        m_c: FloatArray,
        n_s: FloatArray,
        m_s: FloatArray,
        variance: FloatArray,
        present: bool = True,
    ) -> FloatArray:
        """Add one slice of means. Returns I.

        Args:
            variance: of one value, as known from the past; it tunes the intervals.
            present: whether it is of the present stage, and not told later of an earlier one.
        """
        added, n = np.empty_like(self._sums), np.maximum(n_c + n_s, 1e-300)  # of nothing 0 is what there is to be told
        information: FloatArray = n_c * n_s / n
        added[0], added[1], added[2] = n_c, n_s, information
        np.multiply(information, m_c, out=added[3])
        np.multiply(information, m_s, out=added[4])
        np.multiply(information, n_s / n, out=added[5])
        np.multiply(information, n_c / n, out=added[6])
        self._sums += added
        if present:
            self._stage += added[2:5]
        ripe = (self._v_opt == 0) & (np.minimum(self._sums[0], self._sums[1]) >= BURN_IN)
        if ripe.any():
            self._v_opt[ripe] = (_TUNED_FOR * variance * self._sums[2])[ripe]
        return information

    def samples(self, row: int) -> tuple[float, float]:
        """Samples of a row: stable, candidate."""
        return float(self._sums[1, row]), float(self._sums[0, row])

    def effective(self, row: int) -> tuple[float, float]:
        """What the levels of a row are worth as plain means: samples of stable, of candidate; 0 before any slice.

        (sum b)²/(sum b²) of the samples' weights b (Kish 1965): all of them where the arms' shares never changed.
        """
        information, of_candidate, of_stable = self._sums[[2, 5, 6], row].tolist()
        if information <= 0:
            return 0.0, 0.0
        return information * information / of_stable, information * information / of_candidate

    def totals(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Of each row: samples of stable and candidate, levels of both; 0 where there are none."""
        of_candidate, of_stable, information, candidate, stable = self._sums[:5]
        safe = np.where(information > 0, information, 1.0)
        return of_stable, of_candidate, stable / safe, candidate / safe

    def information(self, row: int) -> float:
        """Sum of I of a row."""
        return float(self._sums[2, row])

    def v_opt(self, row: int) -> float:
        """Where a row's interval is narrowest; 0 before the burn-in."""
        return float(self._v_opt[row])

    def variance(self, row: int, of_candidate: Number, of_stable: float) -> Number:
        """Variance of a row's sum of I (mC - mS), from the variance of one value of each arm."""
        return of_candidate * float(self._sums[5, row]) + of_stable * float(self._sums[6, row])

    def levels(self, row: int) -> tuple[float, float] | None:
        """Averages of a row: stable, candidate; None before any slice had both arms."""
        return _levels(*self._sums[2:5, row])

    def stage_levels(self, row: int) -> tuple[float, float] | None:
        """The same for the present stage alone."""
        return _levels(*self._stage[:, row])

    def gaps(self, rows: slice) -> FloatArray:
        """Candidate minus stable of some rows; NaN before any slice had both arms."""
        return _gaps(*self._sums[2:5, rows])

    def stage_gaps(self, rows: slice) -> FloatArray:
        """The same for the present stage alone."""
        return _gaps(*self._stage[:, rows])

    def estimate(self, row: int, of_candidate: float, of_stable: float, least: float = 0.0) -> Estimate:
        """The row's difference with its interval; `least` is a lower limit of the variance of its sum."""
        levels = self.levels(row)
        if levels is None:
            return Estimate()
        stable, candidate = levels
        effect = candidate - stable
        spread = max(self.variance(row, of_candidate, of_stable), least)
        width = float(half_width(self.information(row), spread, self.v_opt(row)))
        if width == inf:
            return Estimate(stable, candidate, effect)
        return Estimate(stable, candidate, effect, effect - width, effect + width)


def half_width(information: float, variance: float, v_opt: float, alpha: float = INTERVAL_ALPHA) -> float:
    """Half the interval of U/I, where `variance` is that of U; infinite before the burn-in."""
    if v_opt <= 0 or information <= 0:
        return inf
    return float(bound(variance, tuning(v_opt, alpha), alpha)) / information


def evidence(log_e: float) -> float:
    """An e-value for people: finite, at most 10^15.

    >>> evidence(0.0), evidence(1e6), evidence(-1e6)
    (1.0, 1000000000000000.0, 0.0)
    """
    return min(exp(min(log_e, 40.0)), 1e15)


def _gaps(information: FloatArray, candidate: FloatArray, stable: FloatArray) -> FloatArray:
    return np.divide(candidate - stable, information, out=np.full_like(information, np.nan), where=information > 0)


def _levels(information: float, candidate: float, stable: float) -> tuple[float, float] | None:
    if information <= 0:
        return None
    return float(stable / information), float(candidate / information)
