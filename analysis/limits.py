"""How small and how large a rate may be, by so many of so many, at every look at once and for small counts too.

A share p is excluded while the wealth of a beta-binomial mixture against it is 1/alpha or more. Against the true share
that ever happens with a probability of at most alpha, whatever the counts (Ville's inequality): of none in n the upper
limit is 4 to 5 in n, where a variance estimated from the count itself would say 2. Every p has a mixture of its own,
alternatives from Beta(1/4 + k p, 1/4 + k (1 - p)): with k pseudo-requests around p the limits of large counts are those
of the normal mixture, with its tuning, and the quarter keeps them narrow where k p is next to nothing. Holds for
independent outcomes with a share that stays; for one that drifts it is the average that is meant, about.

The limits of a difference come from those of both arms, which are independent: the distances from the estimates add as
squares, as standard errors do. Where one arm has (next to) no failures the limits are those of the other, and where
both have many those of the normal mixture. In between it is no theorem but has been measured: `make prove`.

Source: Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon, arXiv 1810.08240; Newcombe, Statistics in Medicine 17 (1998),
873 (method 10); Zou, Donner, Statistics in Medicine 27 (2008), 1693.
"""

from __future__ import annotations

from math import asin, cos, hypot, lgamma, log, log1p, pi, sin, sqrt
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from analysis.summaries import FloatArray

CONCENTRATION: Final = 126.0
"""Pseudo-requests around each hypothesis: limits are narrowest at about 1,000 requests, ten times the burn-in."""
_SHAPE: Final = 0.25
_PRECISE: Final = 0.01
"""In ln of the wealth: a limit's distance from the estimate is right to about 0.1 %."""
_STEPS: Final = 30
_NEARLY: Final = 0.9
"""From so much of the way on, as an angle, a limit is at the end: it would be less than a hundredth of the rate."""
_LEAST: Final = 1e-15

Flags: TypeAlias = NDArray[np.bool_]


class Share(NamedTuple):
    """An arm's rate with its limits."""

    rate: float
    low: float
    high: float


def log_wealth(p: FloatArray, x: FloatArray, n: float) -> FloatArray:
    """ln of the wealth against a share of p, by x of n.

    >>> log_wealth(np.array([0.01, 0.02]), np.array([10.0, 10.0]), 1000.0).round(6).tolist()
    [-1.083546, 1.748646]
    """
    p = np.clip(p, _LEAST, 1 - _LEAST)
    a, b = _SHAPE + CONCENTRATION * p, _SHAPE + CONCENTRATION * (1 - p)
    found: FloatArray = betaln(a + x, b + n - x) - betaln(a, b) - x * np.log(p) - (n - x) * np.log1p(-p)
    return found


def share(rate: float, n: float, alpha: float, phi: float = 1.0) -> Share:
    """The limits of a share that was seen at this rate in n; with a fractional n, such as of a weighted mean, as well.

    They are as far away as standard errors are where outcomes vary by phi times more than independent ones.

    >>> [round(1000 * each, 2) for each in share(0.01, 1000.0, 0.05)], round(1000 * share(0.0, 1000.0, 0.05).high, 2)
    ([10.0, 3.18, 22.66], 4.88)
    """
    rate = min(max(rate, 0.0), 1.0)
    below, above = (sqrt(phi) * abs(_limit(rate, n, alpha, side) - rate) for side in (-1, 1))
    return Share(rate, max(0.0, rate - below), min(1.0, rate + above))


def difference(candidate: Share, stable: Share) -> tuple[float, float]:
    """The limits of candidate minus stable, which are never further apart than those of both arms.

    >>> difference(Share(1.0, 0.9, 1.0), Share(0.0, 0.0, 0.0))
    (0.9, 1.0)
    """
    effect = candidate.rate - stable.rate
    below = hypot(candidate.rate - candidate.low, stable.high - stable.rate)
    above = hypot(candidate.high - candidate.rate, stable.rate - stable.low)
    return effect - below, effect + above


def excludes_nothing(rates: FloatArray, n: float, stable: Share, alpha: float, phi: float = 1.0) -> tuple[Flags, Flags]:
    """For many rates of a candidate, whether `difference` would be above 0, and below 0; without finding its limits."""
    gap = rates - stable.rate
    below, above = stable.high - stable.rate, stable.rate - stable.low
    lowest = rates - np.sqrt(np.maximum(gap * gap - below * below, 0.0) / phi)
    highest = rates + np.sqrt(np.maximum(gap * gap - above * above, 0.0) / phi)
    proven = log_wealth(np.where(gap > 0, lowest, highest), rates * n, n) >= log(1 / alpha)
    return proven & (gap > below), proven & (gap < -above)


def _limit(rate: float, n: float, alpha: float, side: int) -> float:
    """The share furthest from the rate, above or below it, that is not excluded.

    Looked for by angle (p = sin²), on which the wealth is close to a parabola whatever the rate, so that its root is
    close to a line: a secant through the normal mixture's answer, with its wealth at the rate. One to four evaluations.
    """
    inner, end = asin(sqrt(rate)), pi / 2 if side > 0 else 0.0
    room = abs(end - inner)
    if n <= 0 or room <= 0:
        return float(side > 0)
    x, doubt = rate * n, log(1 / alpha)
    bottom = -0.5 * log1p(n / CONCENTRATION)
    needed = sqrt(doubt - bottom)
    before, at_before = 0.0, 0.0
    width = sqrt((1 + CONCENTRATION / n) / (2 * n)) * needed
    for _ in range(_STEPS):
        if width > room:
            width = room
        wealth = _log_wealth(inner + side * width, x, n)
        if wealth < doubt and width >= _NEARLY * room:
            return float(side > 0)
        if -_PRECISE < wealth - doubt < _PRECISE:
            break
        found = sqrt(wealth - bottom) if wealth > bottom else 0.0
        slope = (found - at_before) / (width - before) if found > at_before or width < before else found / width
        before, at_before = width, found
        further = (needed - found) / slope if slope > 0 else width
        width = width + further if further > -0.5 * width else 0.5 * width
    return sin(inner + side * width) ** 2


def _log_wealth(angle: float, x: float, n: float) -> float:
    """The same as `log_wealth`, of one share at an angle: seven times as fast as arrays of one."""
    p, q = sin(angle) ** 2 + _LEAST, cos(angle) ** 2 + _LEAST
    a, b = _SHAPE + CONCENTRATION * p, _SHAPE + CONCENTRATION * q
    before = lgamma(a) + lgamma(b) - lgamma(a + b)
    return lgamma(a + x) + lgamma(b + n - x) - lgamma(a + b + n) - before - x * log(p) - (n - x) * log(q)
