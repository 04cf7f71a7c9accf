"""The point of a null that is nearest to an alternative: what keeps the mean of Engine A at or below 1.

The null is a line pC = a + b pS, the alternative a point (tC, tS) off it. Nearest is the point (a + b s, s) with the
least nC KL(tC||pC) + nS KL(tS||pS): the one place between tS and where the line is at tC at which

    f(s) = nC b (c - tC) s(1-s) + nS (s - tS) c(1-c),   c = a + b s

changes its sign. For the null "no worse", (a, b) = (0, 1), that is the pooled rate, else the root of a cubic.

All roots are found together. In powers of s the cubic takes half the operations that it takes as it stands above, and
is as exact as long as s is small; so where the stable's rate is above one half, the complements take the place of the
rates. From the pooled rate two steps of Halley's method (Householder, The Numerical Treatment of a Single Nonlinear
Equation, 1970, section 4.4), which triple the digits each, reach nine in ten; the others get more steps of their own,
and the few that still have none, a bracket.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.summaries import FloatArray

_STEPS: Final = 2
"""Of all roots together."""
_MORE_STEPS: Final = 3
"""Of those that are not there by then, where a rate is near 0 and the pooled one far from the root."""
_CLOSE: Final = 3e-5
"""Where the last step of Newton's method would have been that small, relative to the root, Halley's has left an error
of its cube: rounding."""
_BRACKET_STEPS: Final = 80
"""A step that leaves its bracket becomes a bisection, and 80 of those are exact."""
_EXACT: Final = 1e-13


class _Cubic(NamedTuple):
    """Cubics by their coefficients, and between which bounds their roots are; arrays that broadcast."""

    c3: FloatArray
    c2: FloatArray
    c1: FloatArray
    c0: FloatArray
    low: FloatArray
    high: FloatArray

    def of(self, places: NDArray[np.intp], shape: tuple[int, ...]) -> _Cubic:
        """Those at some places of all roots, which have that shape, as one row."""
        return _Cubic(*(_at(each, places, shape) for each in self))


def project(
    n_c: FloatArray, n_s: FloatArray, t_c: FloatArray, t_s: FloatArray, a: FloatArray, b: FloatArray
) -> FloatArray:
    """pS of the nearest point; any shapes that broadcast, the fastest where the rows are the last axis.

    >>> point = project(*(np.array([each]) for each in (50.0, 950.0, 0.02, 0.01, 0.0, 1.2)))
    >>> round(point.item(), 11)
    0.01039682388
    """
    if not ((a != 0) | (b != 1)).any():
        pooled: FloatArray = (n_c * t_c + n_s * t_s) / (n_c + n_s)
        return pooled
    turned = t_s > 0.5
    sign = np.where(turned, -1.0, 1.0)
    above = (t_c - np.where(turned, a + b, a)) * sign  # tC - a, of the rates or of their complements
    t_s = np.where(turned, 1 - t_s, t_s)
    a = np.where(turned, 1 - a - b, a)
    lowest, highest = np.maximum(0.0, -a / b), np.minimum(1.0, (1 - a) / b)
    crossing = np.minimum(np.maximum(above / b, lowest), highest)
    inside = np.minimum(np.maximum(t_s, lowest), highest)
    bounds = np.minimum(inside, crossing), np.maximum(inside, crossing)
    s = _solved(_cubic(n_c, n_s, above, t_s, a, b, bounds), (n_c * crossing + n_s * inside) / (n_c + n_s))
    return np.minimum(np.maximum(turned + sign * s, 1e-300), 1 - 1e-16)


def _cubic(
    n_c: FloatArray,
    n_s: FloatArray,
    above: FloatArray,
    t_s: FloatArray,
    a: FloatArray,
    b: FloatArray,
    bounds: tuple[FloatArray, FloatArray],
) -> _Cubic:
    """f in powers of s: c(1-c) is a(1-a) + b(1-2a) s - b² s², and c - tC is b s - above."""
    weight = n_c * b
    flat, tilt, bend = n_s * (a * (1 - a)), n_s * (b * (1 - 2 * a)), n_s * b * b
    pull = weight * above
    c2 = pull + (weight * b + tilt + bend * t_s)
    return _Cubic(-(weight * b + bend), c2, (flat - tilt * t_s) - pull, -flat * t_s, *bounds)


def _solved(cubic: _Cubic, s: FloatArray) -> FloatArray:
    """The roots, from a first guess."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        s, far = _stepped(cubic, s, _STEPS)
        if far.size:
            rest = cubic.of(far, s.shape)
            some, still = _stepped(rest, np.take(s, far), _MORE_STEPS)
            if still.size:
                some[still] = _bracketed(rest.of(still, some.shape))
            s = np.asarray(s)  # of rows without an axis numpy makes numbers
            np.put(s, far, some)
    return s


def _at(each: FloatArray, places: NDArray[np.intp], shape: tuple[int, ...]) -> FloatArray:
    if each.shape == shape:
        return np.take(each, places)
    if each.shape == shape[-1:]:
        return np.take(each, places % shape[-1])
    return np.take(np.broadcast_to(each, shape), places)


def _stepped(cubic: _Cubic, s: FloatArray, steps: int) -> tuple[FloatArray, NDArray[np.intp]]:
    """The roots after some steps, and the places of those that are not to be trusted yet."""
    for _ in range(steps):
        height, slope, bend = _curve(cubic, s)
        before, s = s, s - height * slope / (slope * slope - height * bend)
        s = np.minimum(np.maximum(s, cubic.low), cubic.high)
    # By Newton's step: Halley's is small as well where the curve is level, and no root is near.
    return s, np.flatnonzero(~(np.abs(height) <= slope * before * _CLOSE))


def _curve(cubic: _Cubic, s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Height, slope and half the second derivative at s, by Horner's rule."""
    lead = cubic.c3 * s
    second = lead + cubic.c2
    first = second * s + cubic.c1
    bend = lead + second
    return first * s + cubic.c0, bend * s + first, lead + bend


def _bracketed(cubic: _Cubic) -> FloatArray:
    """Newton's method that halves its bracket instead of leaving it."""
    low, high = cubic.low, cubic.high
    s = (low + high) / 2
    for _ in range(_BRACKET_STEPS):
        height, slope, _bend = _curve(cubic, s)
        low, high = np.where(height < 0, s, low), np.where(height < 0, high, s)
        then = s - height / slope
        then = np.where((then >= low) & (then <= high), then, (low + high) / 2)
        done = np.all(np.abs(then - s) <= _EXACT * s)
        s = then
        if done:
            break
    return s
