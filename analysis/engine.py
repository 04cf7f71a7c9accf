"""The likelihood ratios of all tests: stratified safe 2x2 (Engine A) and Gaussian increments (Engine B).

Engine A guarantees P(E ever reaches 1/alpha) <= alpha under its null, with no approximation: choose an arm with
probability n_g/n and then its outcome, and the null is a convex set of distributions; its point nearest to the
alternative in Kullback-Leibler distance makes the mean likelihood ratio at most 1 for every point of the null, and so
the mean of the slice's factor. Base rates and weights may change from slice to slice in any way, since the
alternative is chosen from the past and only the relation of the arms within a slice is tested. Holds if, within a
slice, all requests have the same chance to meet the candidate. Source: Turner, Ly, Grunwald, arXiv 2106.02693;
Turner, Grunwald, arXiv 2302.11401.

Engine B is asymptotic: the difference of two means is taken for Gaussian with a spread known from the past.

All e-processes of a rollout go through numpy together: the cost is that of a few dozen array operations, whatever the
number of rows or of samples. What is known of a row goes along the last axis, where numpy is fastest.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from analysis.projection import project
from analysis.summaries import FloatArray

POINTS: Final = 12
"""Alternatives of each test, from hardly to grossly beyond the margin; E is the mean over them."""
LOG_ODDS: Final[FloatArray] = np.float64(0.01) * np.float64(1.7) ** np.arange(POINTS)
"""Distance of Engine A's alternatives from the margin, in log odds: 0.01 to 3.4."""
DRIFTS: Final[FloatArray] = np.float64(0.005) * np.float64(1.7) ** np.arange(POINTS)
"""Distance of Engine B's alternatives from the margin, in standard deviations: 0.005 to 1.7."""

HARM: Final = 1.0
PASS: Final = -1.0


class Table(NamedTuple):
    """One row of Engine A: null pC <= a + b pS (HARM) or pC >= a + b pS (PASS), and a first guess of pS."""

    a: float
    b: float
    side: float
    guess: float
    strength: float
    """How many requests the guess is worth: 50, and 2000 for a quantile, whose exceedance is known."""


class Binary:
    """Engine A for a fixed list of tables; remembers of the stable what the next alternatives are chosen from."""

    def __init__(self, tables: list[Table]) -> None:
        columns = np.array(tables, dtype=np.float64).reshape(-1, len(Table._fields)).T
        self._a, self._b, self._side = columns[0], columns[1], columns[2]
        self.past_n: FloatArray = columns[4].copy()
        self.past_x: FloatArray = columns[3] * columns[4]

    def stable(self) -> FloatArray:
        """The stable's rate of each row, from past slices alone."""
        return self.past_x / self.past_n

    def guess(self, row: int, rate: float, strength: float) -> None:
        """Start the memory of a row anew (its label has just been chosen from the past)."""
        self.past_n[row] = strength
        self.past_x[row] = rate * strength

    def observe(self, n_c: FloatArray, x_c: FloatArray, n_s: FloatArray, x_s: FloatArray) -> FloatArray:
        """Log likelihood ratios of one slice, [rows, POINTS]; 0 where an arm is empty."""
        log_e = np.zeros((len(self._a), POINTS))
        theta = self.stable()
        edge = self._a + self._b * theta
        # A boundary at or above 1 makes every candidate harmless: no evidence of harm can come from that slice.
        live = np.flatnonzero((n_c > 0) & (n_s > 0) & ((edge < 1) | (self._side < 0)))
        if live.size:
            some = n_c[live], x_c[live], n_s[live], x_s[live]
            t_s = theta[live]
            t_c = alternatives(edge[live], t_s, self._side[live])
            log_e[live] = log_ratios(*some, t_c, t_s, self._a[live], self._b[live]).T
        self.past_n += n_s
        self.past_x += x_s
        return log_e


def alternatives(edge: FloatArray, t_s: FloatArray, side: FloatArray) -> FloatArray:
    """The candidate's rates to bet on, [POINTS, rows]: LOG_ODDS beyond the edge of the null.

    With an edge at or above 1 no candidate can break the margin. The pass test then bets between the stable's rate
    and 1, and so proves at the stable's own speed that the edge is there, where taking it for granted from the
    estimated rate would be a claim without a proof.
    """
    inner = np.where(edge < 1, edge, (1 + t_s) / 2)
    odds = inner / (1 - inner) * np.exp(np.multiply.outer(LOG_ODDS, side))
    rates: FloatArray = odds / (1 + odds)
    return rates


def log_ratios(
    n_c: FloatArray,
    x_c: FloatArray,
    n_s: FloatArray,
    x_s: FloatArray,
    t_c: FloatArray,
    t_s: FloatArray,
    a: FloatArray,
    b: FloatArray,
) -> FloatArray:
    """Log likelihood ratio of the alternative (t_c, t_s) to the null point nearest to it; any shapes that broadcast.

    >>> one = np.ones(1)
    >>> round(log_ratios(one, one, one, 0 * one, 0.9 * one, 0.1 * one, 0 * one, one).item(), 6)
    1.175573
    """
    return against((n_c, x_c, n_s, x_s), t_c, t_s, project(n_c, n_s, t_c, t_s, a, b), a, b)


def against(
    counts: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    t_c: FloatArray,
    t_s: FloatArray,
    q_s: FloatArray,
    a: FloatArray,
    b: FloatArray,
) -> FloatArray:
    """Log likelihood ratio of the alternative (t_c, t_s) to the null point (a + b q_s, q_s); counts as `log_ratios`."""
    n_c, x_c, n_s, x_s = counts
    q_c = np.minimum(a + b * q_s, 1 - 1e-16)
    ratios: FloatArray = (
        x_c * np.log(t_c / q_c)
        + (n_c - x_c) * np.log((1 - t_c) / (1 - q_c))
        + x_s * np.log(t_s / q_s)
        + (n_s - x_s) * np.log((1 - t_s) / (1 - q_s))
    )
    return ratios


def gaussian_log_ratios(
    difference: FloatArray, information: FloatArray, direction: FloatArray, margin: FloatArray, side: FloatArray
) -> FloatArray:
    """Log likelihood ratios of Engine B, [rows, POINTS].

    Args:
        difference: U = I (meanC - meanS) in standard deviations, one for each row.
        information: I = nC nS/(nC + nS); 0 gives no evidence.
        direction: +1 for a shift up, -1 for a shift down.
        margin: in standard deviations.
        side: HARM or PASS.
    """
    z = side * (direction * difference - margin * information)
    ratios: FloatArray = z[:, None] * DRIFTS - information[:, None] * (DRIFTS * DRIFTS / 2)
    return ratios
