"""The likelihood ratios of all tests: stratified safe 2x2 (Engine A) and Gaussian increments (Engine B).

Engine A guarantees P(E ever reaches 1/alpha) <= alpha under its null, with no approximation: choose an arm with
probability n_g/n and then its outcome, and the null is a convex set of distributions; its point nearest to the
alternative in Kullback-Leibler distance makes the mean likelihood ratio at most 1 for every point of the null, and so
the mean of the slice's factor. Base rates and weights may change from slice to slice in any way, since the
alternative is chosen from the past and only the relation of the arms within a slice is tested. Holds if, within a
slice, all requests have the same chance to meet the candidate. Source: Turner, Ly, Grunwald, arXiv 2106.02693;
Turner, Grunwald, arXiv 2302.11401.

Engine B is asymptotic: the difference of two means is taken for Gaussian with a spread known from the past.

All e-processes of a rollout go through numpy together, as [rows, POINTS] arrays: the cost is that of a few dozen
array operations, whatever the number of rows or of samples.
"""

from __future__ import annotations

from math import inf
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from analysis.summaries import FloatArray

POINTS: Final = 12
"""Alternatives of each test, from hardly to grossly beyond the margin; E is the mean over them."""
LOG_ODDS: Final[FloatArray] = np.float64(0.01) * np.float64(1.7) ** np.arange(POINTS)
"""Distance of Engine A's alternatives from the margin, in log odds: 0.01 to 3.4."""
DRIFTS: Final[FloatArray] = np.float64(0.005) * np.float64(1.7) ** np.arange(POINTS)
"""Distance of Engine B's alternatives from the margin, in standard deviations: 0.005 to 1.7."""

HARM: Final = 1.0
PASS: Final = -1.0

_PLAIN_STEPS: Final = 4
"""All rows take as many together; the few that need more, of rates near 0, go on by themselves."""
_CLOSE: Final = 1e-9
"""A step of Newton's method that is this small, relative to the root, ends within rounding of it."""
_NEWTON_STEPS: Final = 80
"""A step that leaves its bracket becomes a bisection, and 80 of those are exact."""
_EXACT: Final = 1e-14
_FEW: Final = 24
"""Roots that are found sooner one by one than as arrays: an operation of numpy costs as much as thirty of Python."""


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
            a, b, side = self._a[live, None], self._b[live, None], self._side[live, None]
            t_s = theta[live, None]
            t_c = alternatives(edge[live, None], t_s, side)
            n_c, x_c, n_sl, x_sl = (each[live, None] for each in (n_c, x_c, n_s, x_s))
            log_e[live] = log_ratios(n_c, x_c, n_sl, x_sl, t_c, t_s, a, b)
        self.past_n += n_s
        self.past_x += x_s
        return log_e


def alternatives(edge: FloatArray, t_s: FloatArray, side: FloatArray) -> FloatArray:
    """The candidate's rates to bet on: LOG_ODDS beyond the edge of the null.

    With an edge at or above 1 no candidate can break the margin. The pass test then bets between the stable's rate
    and 1, and so proves at the stable's own speed that the edge is there, where taking it for granted from the
    estimated rate would be a claim without a proof.
    """
    inner = np.where(edge < 1, edge, (1 + t_s) / 2)
    rates: FloatArray = expit(logit(inner) + side * LOG_ODDS)
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
        + (n_c - x_c) * (np.log1p(-t_c) - np.log1p(-q_c))
        + x_s * np.log(t_s / q_s)
        + (n_s - x_s) * (np.log1p(-t_s) - np.log1p(-q_s))
    )
    return ratios


def project(
    n_c: FloatArray, n_s: FloatArray, t_c: FloatArray, t_s: FloatArray, a: FloatArray, b: FloatArray
) -> FloatArray:
    """qS of the point (qS, a + b qS) that minimises nC KL(tC||qC) + nS KL(tS||qS).

    For the null "no worse" (a, b) = (0, 1) that is the pooled rate, else the root of a cubic.
    """
    facts = n_c, n_s, t_c, t_s, a, b
    bent = (a != 0) | (b != 1)
    if bent.all():
        return _root(*facts)
    shape = np.broadcast_shapes(*(each.shape for each in facts))
    pooled: FloatArray = np.broadcast_to((n_c * t_c + n_s * t_s) / (n_c + n_s), shape).copy()
    if not bent.any():
        return pooled
    if all(each.ndim == 2 and len(each) == shape[0] for each in facts) and bent.shape[1] == 1:
        rows = np.flatnonzero(bent)
        pooled[rows] = _root(*(each[rows] for each in facts))
        return pooled
    bent = np.broadcast_to(bent, shape)
    pooled[bent] = _root(*(np.broadcast_to(each, shape)[bent] for each in facts))
    return pooled


def _root(
    n_c: FloatArray, n_s: FloatArray, t_c: FloatArray, t_s: FloatArray, a: FloatArray, b: FloatArray
) -> FloatArray:
    """The root of nC b (c - tC) s(1-s) + nS (s - tS) c(1-c) with c = a + b s, between tS and where c is tC.

    From the pooled rate Newton's method needs three or four steps nearly everywhere; where a step leaves the bracket
    or is still large after them, the bracket is halved instead.
    """
    crossing = (t_c - a) / b
    low = np.maximum(np.minimum(t_s, crossing), np.maximum(0.0, -a / b))
    high = np.minimum(np.maximum(t_s, crossing), np.minimum(1.0, (1 - a) / b))
    s = (n_c * np.minimum(np.maximum(crossing, low), high) + n_s * t_s) / (n_c + n_s)
    left: NDArray[np.bool_] | None = None
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_PLAIN_STEPS):
            height, slope = _curve(s, n_c, n_s, t_c, t_s, a, b)
            step = height / slope
            left = ~(np.abs(step) <= _CLOSE * s)
            s = np.minimum(np.maximum(s - step, low), high)
            if not left.any():
                break
        else:
            facts = (np.broadcast_to(each, s.shape)[left] for each in (low, high, n_c, n_s, t_c, t_s, a, b))
            s[left] = _bracketed(*facts)
    return np.minimum(np.maximum(s, 1e-300), 1 - 1e-16)


def _curve(
    s: FloatArray, n_c: FloatArray, n_s: FloatArray, t_c: FloatArray, t_s: FloatArray, a: FloatArray, b: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Height and slope of the cubic at s."""
    c = a + b * s
    spread_c, spread_s = c * (1 - c), s * (1 - s)
    weight = n_c * b
    pull_c, pull_s = weight * (c - t_c), n_s * (s - t_s)
    height = pull_c * spread_s + pull_s * spread_c
    slope = (weight * spread_s + pull_s * (1 - 2 * c)) * b + pull_c * (1 - 2 * s) + n_s * spread_c
    return height, slope


def _bracketed(low: FloatArray, high: FloatArray, *facts: FloatArray) -> FloatArray:
    """Newton's method that halves its bracket instead of leaving it."""
    if low.size <= _FEW:
        roots = map(_bracketed_root, *(each.tolist() for each in (low, high, *facts)))
        return np.array([*roots])
    s = (low + high) / 2
    for _ in range(_NEWTON_STEPS):
        height, slope = _curve(s, *facts)
        low, high = np.where(height < 0, s, low), np.where(height < 0, high, s)
        then = s - height / slope
        then = np.where((then >= low) & (then <= high), then, (low + high) / 2)
        done = np.all(np.abs(then - s) <= _EXACT * s)
        s = then
        if done:
            break
    return s


def _bracketed_root(
    low: float, high: float, n_c: float, n_s: float, t_c: float, t_s: float, a: float, b: float
) -> float:
    """The same for one root, in plain numbers."""
    s = (low + high) / 2
    for _ in range(_NEWTON_STEPS):
        c = a + b * s
        spread_c, spread_s = c * (1 - c), s * (1 - s)
        pull_c, pull_s = n_c * b * (c - t_c), n_s * (s - t_s)
        height = pull_c * spread_s + pull_s * spread_c
        slope = (n_c * b * spread_s + pull_s * (1 - 2 * c)) * b + pull_c * (1 - 2 * s) + n_s * spread_c
        low, high = (s, high) if height < 0 else (low, s)
        then = s - height / slope if slope else inf
        before, s = s, then if low <= then <= high else (low + high) / 2
        if abs(s - before) <= _EXACT * before:
            break
    return s


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
